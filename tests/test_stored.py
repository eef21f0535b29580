"""Rows that are not in memory: files and Dask's arrays, read a block at a time."""

import subprocess
import sys
import uuid

import h5py
import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose, assert_array_equal

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._backend.program import aligned
from skae._data import sources
from skae._data import stored as of_stored
from skae._data.dask import blocks_of
from skae._data.rows import Rows
from skae._data.stored import StoredRows, rows_of
from skae._starts.pca import fit_pca
from skae.networks import DenseNetwork, SequenceNetwork

RNG = np.random.default_rng(0)
N_FEATURES = 12
X = np.tanh(RNG.standard_normal((3000, 3)) @ RNG.standard_normal((3, N_FEATURES)))
X = (X + 0.1 * RNG.standard_normal(X.shape)).astype(np.float32)
X = X[np.argsort(X[:, 0])] + 5
SMALL = DenseNetwork(hidden_layer_sizes=(16,))


class Reader:
    """The least that an X has to have; remembers how many rows each read was of."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.read = []

    def __getitem__(self, some):
        assert isinstance(some, slice)
        found = self.values[some]
        self.read.append(len(found))
        return found


def memory_map(values, folder):
    np.save(folder / "X.npy", values)
    return np.load(folder / "X.npy", mmap_mode="r")


def hdf5(values, folder):
    file = h5py.File(folder / f"{uuid.uuid4()}.h5", "w")
    chunks = (min(70, len(values)), *values.shape[1:])
    return file.create_dataset("X", data=values, chunks=chunks)


def zarr_array(values, folder):
    found = zarr.create_array(
        folder / "X.zarr",
        shape=values.shape,
        chunks=(70, *values.shape[1:]),
        dtype=values.dtype,
    )
    found[:] = values
    return found


STORES = [memory_map, hdf5, zarr_array, lambda values, folder: Reader(values)]
STORES = pytest.mark.parametrize("store", STORES, ids=["map", "hdf5", "zarr", "other"])


@pytest.fixture
def little_memory(monkeypatch):
    """Blocks and windows so small that the rows of a test are many."""
    monkeypatch.setattr(sources, "IN_MEMORY", 1000)
    monkeypatch.setattr(sources, "BLOCK_VALUES", 50 * N_FEATURES)
    monkeypatch.setattr(of_stored, "WINDOW_VALUES", 500 * N_FEATURES)


def stored(values):
    return blocks_of(Reader(values), np.arange(0, len(values) + 1, 50))


# -- what a fit finds


@STORES
@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(3, max_iter=0),
        AutoencoderTransformer(3, max_iter=0, loss="binary_crossentropy"),
        AutoencoderTransformer(0.9, max_iter=0),
        DenoisingAutoencoder(3, max_iter=0),
        DenoisingAutoencoder(3, max_iter=0, noise="masking"),
        VAETransformer(3, max_iter=0),
        VAETransformer(3, max_iter=0, likelihood="gaussian_diag"),
    ],
    ids=["ae", "logistic", "share", "dae", "masking", "vae", "diagonal"],
)
def test_the_start_is_that_of_the_array(estimator, store, tmp_path, little_memory):
    values = X if estimator.get_params().get("loss") != "binary_crossentropy" else X > 5
    values = values.astype(np.float64)
    wanted = estimator.fit(values).transform(values)
    spread = wanted.std()
    estimator.fit(store(values, tmp_path))
    tolerance = 1e-2 if "diag" in str(estimator) else 1e-8  # where its rounds end
    assert_allclose(estimator.transform(values), wanted, atol=tolerance * spread)


@STORES
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_training_is_as_good_on_sorted_rows(kind, store, tmp_path, little_memory):
    of_pca = kind(3, max_iter=0).fit(X).score(X)
    estimator = kind(3, network=SMALL, random_state=0, max_iter=30)
    gain = estimator.fit(X).score(X) - of_pca
    estimator.fit(store(X, tmp_path))
    assert estimator.score(X) - of_pca > 0.7 * gain > 0  # others draw .5 to 1.1
    assert estimator.n_samples_ == len(X)


def test_the_same_seed_gives_the_same_bits(tmp_path, little_memory):
    estimator = AutoencoderTransformer(3, network=SMALL, random_state=0, max_iter=3)
    wanted = estimator.fit(hdf5(X, tmp_path)).transform(X)
    # all stores of the same chunks
    assert_array_equal(estimator.fit(zarr_array(X, tmp_path)).transform(X), wanted)


@STORES
def test_what_is_asked_of_stored_rows(store, tmp_path, little_memory):
    estimator = VAETransformer(3, network=SMALL, random_state=0, max_iter=2).fit(X)
    rows = store(X, tmp_path)
    for method in ("transform", "reconstruct", "score_samples", "score_features"):
        wanted, found = getattr(estimator, method)(X), getattr(estimator, method)(rows)
        assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    denoiser = DenoisingAutoencoder(3, network=SMALL, max_iter=1).fit(rows)
    assert_allclose(denoiser.score(rows), denoiser.score(X), rtol=1e-5)


def test_no_read_is_of_more_than_a_block(little_memory):
    rows = Reader(X)
    AutoencoderTransformer(3, network=SMALL, max_iter=2).fit(rows).transform(rows)
    assert max(rows.read) <= 50


def test_small_ones_are_read_whole():
    rows = Reader(X)
    found = AutoencoderTransformer(3, network=SMALL, random_state=0, max_iter=2).fit(rows)
    assert rows.read == [len(X)]
    wanted = AutoencoderTransformer(3, network=SMALL, random_state=0, max_iter=2).fit(X)
    assert_array_equal(found.transform(X), wanted.transform(X))


def test_whole_numbers_and_half_precision(tmp_path, little_memory):
    for dtype in (np.uint8, np.float16, ">f8"):
        values = (X * 20).astype(dtype)
        wanted = AutoencoderTransformer(3, max_iter=0).fit(values).transform(values)
        found = AutoencoderTransformer(3, max_iter=0).fit(hdf5(values, tmp_path))
        assert_allclose(found.transform(values), wanted, atol=1e-5)
        assert found.transform(values).dtype == np.float64


@pytest.mark.slow
def test_pairs_and_weights(tmp_path, little_memory):
    noisy = X + RNG.standard_normal(X.shape).astype(np.float32)
    weight = RNG.integers(0, 3, len(X))
    model = DenoisingAutoencoder(3, max_iter=0)
    wanted = model.fit(noisy, X_clean=X, sample_weight=weight).transform(X)
    rows, clean = hdf5(noisy, tmp_path), memory_map(X, tmp_path)
    model.fit(rows, X_clean=clean, sample_weight=weight)
    assert_allclose(model.transform(X), wanted, atol=1e-5)
    model = DenoisingAutoencoder(3, network=SMALL, max_iter=2, random_state=0)
    held_out = {"X_val": noisy[1:], "X_val_clean": X[1:]}
    model.fit(rows, X_clean=clean, sample_weight=weight, **held_out)
    assert model.history_["val_loss"][-1] < model.history_["val_loss"][0] * 1.01
    with pytest.raises(ValueError, match="X_clean must have the shape of X"):
        model.fit(rows, X_clean=X[:-1])


@pytest.mark.slow
def test_holes_and_series(tmp_path, little_memory):
    holes = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    wanted = VAETransformer(3, max_iter=0).fit(holes).score(holes)
    model = VAETransformer(3, max_iter=0).fit(hdf5(holes, tmp_path))
    assert model.score(holes) == pytest.approx(wanted, abs=0.01)
    model.set_params(max_iter=30, network=SMALL, random_state=0)
    model.fit(memory_map(holes, tmp_path))
    assert model.score(holes) > wanted + 2
    series = X.reshape(-1, 4, 3).copy()
    series[::3, 2:] = np.nan
    network = SequenceNetwork(input_shape=(4, 3), units=2)
    model = AutoencoderTransformer(2, network=network, max_iter=1)
    model.fit(Reader(series.astype(np.float32)))
    assert model.reconstruct(Reader(series)).shape == series.shape
    with pytest.raises(ValueError, match="where a series has not ended"):
        model.fit(Reader(np.where(series > 6.2, np.nan, series)))


def test_bad_values_are_refused_as_those_of_arrays(tmp_path, little_memory):
    for value, says in ((np.inf, "Input X contains infinity"), (1e200, "too large")):
        bad = X.astype(np.float64)
        bad[2000, 3] = value
        for rows in (bad, hdf5(bad, tmp_path)):
            model = AutoencoderTransformer(3)
            with pytest.raises(ValueError, match=says):
                model.fit(rows)
            assert not hasattr(model, "n_features_in_")
    model = AutoencoderTransformer(3, max_iter=0).fit(X)
    with pytest.raises(ValueError, match="X has 11 features"):
        model.transform(hdf5(X[:, 1:], tmp_path))


def test_wide_rows(tmp_path, little_memory):
    wide = RNG.standard_normal((30, 400)) @ RNG.standard_normal((400, 400))
    wanted = AutoencoderTransformer(5, max_iter=0).fit(wide).transform(wide)
    cubes = wide.reshape(30, 10, 8, 5)
    model = AutoencoderTransformer(5, max_iter=0).fit(hdf5(cubes, tmp_path))
    assert_allclose(model.transform(cubes), wanted, atol=1e-8 * wanted.std())


def test_passes_find_the_axes_of_rows_that_are_many_and_wide(monkeypatch):
    from skae._starts import scatter

    monkeypatch.setattr(scatter, "GRAM_SIDE", 8)
    low = RNG.standard_normal((2000, 5)) * [9, 7, 5, 3, 2]
    values = low @ RNG.standard_normal((5, 60)) + RNG.standard_normal((2000, 60))
    for weight in (None, RNG.uniform(1, 2, 2000)):
        blocks = stored(values).weighted(weight)
        found, wanted = (fit_pca(rows, 3, weight) for rows in (blocks, values))
        assert_allclose(found.explained_variance_, wanted.explained_variance_, rtol=1e-6)
        assert_allclose(found.components_, wanted.components_, atol=1e-5)


# -- how they are read


def test_an_epoch_sees_each_row_once(little_memory):
    rows = rows_of(stored(np.arange(1230 * N_FEATURES).reshape(1230, -1)[:, :1]))
    training, held_out = rows.split(0.1, seed=3)
    assert isinstance(held_out, Rows)
    assert not isinstance(held_out, StoredRows)
    seen = epoch_of(training, np.random.default_rng(0))
    others = held_out.dense(len(held_out)).ravel()
    assert len(others) == 120
    assert len(seen) % 16 == 0
    first, rest = seen[: len(training)], seen[len(training) :]
    assert_array_equal(np.sort([*first, *others]), np.arange(1200) * N_FEATURES)
    assert_array_equal(rest, first[: len(rest)])
    assert not np.array_equal(seen, epoch_of(training, np.random.default_rng(1)))
    assert_array_equal(epoch_of(rows, None)[:1200], np.arange(1200) * N_FEATURES)


def epoch_of(rows, rng):
    array = aligned((5, 16, rows.n_features), "float64")
    chunks = rows.chunks(rows.order(rng), 16, {"rows": array})
    return np.concatenate([array[:n].reshape(-1).copy() for n in chunks])


def test_windows_mix_rows_from_everywhere(monkeypatch):
    monkeypatch.setattr(of_stored, "WINDOW_VALUES", 500)
    rows = rows_of(stored(np.arange(5000.0)[:, None]))
    window = epoch_of(rows, np.random.default_rng(0))[:500]
    assert np.ptp(window) > 2500
    assert np.abs(np.diff(window)).mean() > 500  # 1 in their own order


def test_an_interrupted_epoch_leaves_no_reader_behind(little_memory):
    class Broken(Reader):
        def __getitem__(self, some):
            if len(self.read) > 500:
                raise OSError("the disk is gone")
            return super().__getitem__(some)

    rows = Broken(X)
    with pytest.raises(OSError, match="the disk is gone"):
        AutoencoderTransformer(3, network=SMALL, max_iter=50).fit(rows)
    rows.read = []
    AutoencoderTransformer(3, max_iter=0).fit(rows)


LITTLE = """
import sys, numpy as np
from skae import AutoencoderTransformer
from skae.networks import DenseNetwork

def own():
    "Memory in MB that is the process's own, not the file's."
    text = open("/proc/self/status").read()
    return int(text.split("RssAnon:")[1].split()[0]) / 1024

X = np.load(sys.argv[1], mmap_mode="r")
model = AutoencoderTransformer(4, network=DenseNetwork(hidden_layer_sizes=(8,)), max_iter=1)
model.fit(np.array(X[:2000]))
before = own()
import threading, time
most, ended = [before], False
def watch():
    while not ended:
        most.append(own()); time.sleep(0.01)
thread = threading.Thread(target=watch); thread.start()
model.fit(X)
ended = True; thread.join()
print(max(most) - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_that_of_some_blocks(tmp_path):
    rows = np.lib.format.open_memmap(
        tmp_path / "X.npy", "w+", np.float32, shape=(3_000_000, 64)
    )
    for start in range(0, len(rows), 100_000):
        rows[start : start + 100_000] = RNG.standard_normal((100_000, 64))
    del rows  # 768 MB
    command = [sys.executable, "-c", LITTLE, str(tmp_path / "X.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 350
