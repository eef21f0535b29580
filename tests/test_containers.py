"""Containers: what X says beside its bare values is heard, or refused by name."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._data import sources
from skae.networks import ConvNetwork, CustomNetwork, SequenceNetwork
from skae.outliers import ReconstructionOutlierDetector

RNG = np.random.default_rng(0)
NAMES = list("abcde")
X = (RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 5)) * 4).round(2)
WHOLE = (10 * X).astype(int)
GONE = RNG.random(X.shape) < 0.1
HOLES = np.where(GONE, np.nan, X)
WHOLE_HOLES = np.where(GONE, np.nan, WHOLE)


def frame(values, dtype=None):
    found = pd.DataFrame(values, columns=NAMES)
    return found if dtype is None else found.astype(dtype)


def lists(values):
    return [[None if np.isnan(v) else float(v) for v in row] for row in values]


MISSING = {
    "masked": (np.ma.masked_array(np.where(GONE, -999, X), GONE), HOLES),
    "masked, float32": (
        np.ma.masked_array(np.where(GONE, 1e36, X).astype("f4"), GONE),
        HOLES,
    ),
    "masked, whole": (np.ma.masked_array(np.where(GONE, -9, WHOLE), GONE), WHOLE_HOLES),
    "nullable": (frame(np.where(GONE, 0, WHOLE), "Int64").mask(GONE), WHOLE_HOLES),
    "nullable floats": (frame(np.where(GONE, 0, X), "Float64").mask(GONE), HOLES),
    "arrow": (frame(np.where(GONE, 0, X), "float64[pyarrow]").mask(GONE), HOLES),
    "objects": (frame(HOLES).astype(object).where(~GONE, None), HOLES),
    "lists": (lists(HOLES), HOLES),
    "polars": (pl.DataFrame(lists(HOLES), NAMES, orient="row"), HOLES),
    "dask, masked": (
        da.ma.masked_array(da.from_array(np.where(GONE, -999, X), chunks=(20, 5)), GONE),
        HOLES,
    ),
    "dask, nullable": (
        dd.from_pandas(
            frame(np.where(GONE, 0, WHOLE), "Int64").mask(GONE), npartitions=3
        ),
        WHOLE_HOLES,
    ),
}
COMPLETE = {
    "masked nowhere": (np.ma.masked_array(X), X),
    "big-endian": (X.astype(">f8"), X),
    "big-endian float32": (X.astype(">f4"), X),
    "big-endian whole": (WHOLE.astype(">i4"), WHOLE),
    "half": (X.astype("f2").astype("f8").astype("f2"), X.astype("f2").astype("f8")),
    "columns first": (np.asfortranarray(X), X),
    "every second": (np.repeat(X, 2, axis=0)[::2], X),
    "backwards": (X[::-1][::-1], X),
    "pandas sparse": (frame(X, pd.SparseDtype(float, 0.0)), X),
    "twice the same place": (
        sparse.coo_array(
            (
                np.r_[X.ravel() / 2, X.ravel() / 2],
                np.tile(np.indices(X.shape).reshape(2, -1), 2),
            )
        ),
        X,
    ),
    **{
        kind: (getattr(sparse, f"{kind}_array")(X * (np.abs(X) > 3)), X * (np.abs(X) > 3))
        for kind in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    },
}


@pytest.mark.parametrize("name", COMPLETE)
def test_complete_rows_are_pca_whatever_holds_them(name):
    rows, values = COMPLETE[name]
    found = AutoencoderTransformer(2, max_iter=0).fit(rows)
    assert_allclose(found.explained_variance_, PCA(2).fit(values).explained_variance_)


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_what_is_missing_is_missing_whatever_holds_it(name, kind):
    rows, values = MISSING[name]
    wanted = kind(2, max_iter=0).fit(values)
    found = kind(2, max_iter=0).fit(rows)
    assert_allclose(found.explained_variance_, wanted.explained_variance_, rtol=1e-6)
    fill = np.asarray(found.impute(rows))
    assert_allclose(fill, wanted.impute(values), rtol=1e-4, atol=1e-4)


class Variable:
    """As those of netCDF4 are: slices of rows are masked arrays."""

    ndim = 2

    def __init__(self, rows, gone):
        self.rows, self.gone = rows, gone
        self.shape, self.dtype = rows.shape, rows.dtype

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, some):
        return np.ma.masked_array(self.rows[some], self.gone[some])


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("values", [X, X.astype("f4"), WHOLE])
def test_masked_slices_of_a_file_are_missing(values, in_memory, monkeypatch):
    if not in_memory:
        monkeypatch.setattr(sources, "IN_MEMORY", 0)
        monkeypatch.setattr(sources, "BLOCK_VALUES", 5 * 25)
    fill = -999 if values.dtype.kind == "i" else 9.97e36
    rows = Variable(np.where(GONE, fill, values).astype(values.dtype), GONE)
    holes = np.where(GONE, np.nan, values)
    wanted = AutoencoderTransformer(2, max_iter=0).fit(holes).explained_variance_
    found = AutoencoderTransformer(2, max_iter=0).fit(rows)
    assert_allclose(found.explained_variance_, wanted, rtol=1e-5)
    assert np.isfinite(found.score(rows))


def test_masks_are_refused_where_nothing_may_be_missing():
    model = AutoencoderTransformer(2, init="random", max_iter=0).fit(X)
    with pytest.raises(ValueError, match="X contains NaN"):
        model.transform(np.ma.masked_array(X, GONE))


def test_records_and_sparse_chunks_are_refused_by_name():
    records = frame(X).to_records(index=False)
    with pytest.raises(TypeError, match=r"structured array.*pandas.DataFrame\(X\)"):
        AutoencoderTransformer(2, max_iter=0).fit(records)
    chunks = da.from_array(X, chunks=(20, 5)).map_blocks(sparse.csr_array)
    with pytest.raises(TypeError, match=r"sparse matrices.*toarray"):
        AutoencoderTransformer(2, max_iter=0).fit(chunks)


# -- blocks


class Store(Variable):
    def __init__(self, rows, chunks):
        super().__init__(rows, None)
        self.chunks = chunks

    def __getitem__(self, some):
        return self.rows[some]


@pytest.fixture
def nothing_in_memory(monkeypatch):
    monkeypatch.setattr(sources, "IN_MEMORY", 0)
    monkeypatch.setattr(sources, "BLOCK_VALUES", 5 * 25)


@pytest.mark.usefixtures("nothing_in_memory")
def test_a_chunk_of_no_size_and_a_block_of_another_than_promised():
    found = AutoencoderTransformer(2, max_iter=0).fit(Store(X, (0, 5)))
    assert_allclose(found.explained_variance_, PCA(2).fit(X).explained_variance_)
    for n_rows in (0, 1):
        with pytest.raises(ValueError, match=rf"{n_rows} sample\(s\)"):
            AutoencoderTransformer(2, max_iter=0).fit(Store(X[:n_rows], (5, 5)))

    class Short(Store):
        def __getitem__(self, some):
            return self.rows[some][:3]

    with pytest.raises(ValueError, match=r"read as an array of shape \(3, 5\): 25 rows"):
        AutoencoderTransformer(2, max_iter=0).fit(Short(X, (25, 5)))


def test_chunks_without_rows_are_passed_over():
    many = RNG.normal(size=(400, 5)).astype("f4")
    later = da.arange(400, chunks=50) >= 100
    rows = da.from_array(many, chunks=(50, 5))[later]
    wanted = AutoencoderTransformer(2, max_iter=0).fit(many[100:])
    found = AutoencoderTransformer(2, max_iter=0).fit(rows)
    assert_allclose(found.explained_variance_, wanted.explained_variance_, rtol=1e-5)
    assert_allclose(
        found.transform(rows).compute(), wanted.transform(many[100:]), atol=1e-4
    )
    assert found.score(rows) == pytest.approx(wanted.score(many[100:]), rel=1e-5)
    marked = frame(many)
    marked.loc[:99, "a"] = -1e9
    table = dd.from_pandas(marked, npartitions=8)
    table = table[table.a > -1e8]
    of_table = AutoencoderTransformer(2, max_iter=0).fit(table)
    assert_allclose(of_table.explained_variance_, wanted.explained_variance_, rtol=1e-5)
    codes = of_table.transform(table).compute()
    assert list(codes.index) == list(range(100, 400))


# -- axes


@pytest.mark.parametrize(
    ("network", "shape", "order"),
    [
        (ConvNetwork((16, 12, 3), filters=(2,)), (3, 16, 12), "(0, 2, 3, 1)"),
        (ConvNetwork((20, 4), filters=(2,)), (4, 20), "(0, 2, 1)"),
        (SequenceNetwork((20, 2), units=2), (2, 20), "(0, 2, 1)"),
        (
            CustomNetwork(lambda x: x, lambda z: z, input_shape=(8, 2)),
            (2, 8),
            "(0, 2, 1)",
        ),
    ],
    ids=["images", "signals", "series", "custom"],
)
def test_axes_in_another_order_are_refused_with_the_order_that_fits(
    network, shape, order
):
    rows = RNG.random((10, *shape))
    with pytest.raises(
        ValueError, match=r"X has rows of shape .* network takes"
    ) as error:
        AutoencoderTransformer(2, network=network, max_iter=0).fit(rows)
    assert str(error.value).endswith(f"X.transpose{order}.")
    right = rows.transpose(*eval(order))
    assert right.shape[1:] == tuple(network.input_shape)
    with pytest.raises(ValueError, match=r"network takes rows of shape \(16, 12, 3\)\.$"):
        AutoencoderTransformer(
            2, network=ConvNetwork((16, 12, 3), filters=(2,)), max_iter=0
        ).fit(RNG.random((10, 8, 24, 3)))


def test_rows_without_these_axes_are_folded():
    network = ConvNetwork((6, 4, 1), filters=(2,))
    flat = RNG.random((20, 24))
    wanted = AutoencoderTransformer(2, network=network, max_iter=0).fit(flat)
    for rows in (flat.reshape(20, 6, 4), flat.reshape(20, 6, 4, 1)):
        found = AutoencoderTransformer(2, network=network, max_iter=0).fit(rows)
        assert_array_equal(found.transform(rows), wanted.transform(flat))


def test_a_signal_as_wide_as_it_is_long_is_warned_of():
    network = ConvNetwork((8, 8), filters=(2,))
    with pytest.warns(
        UserWarning, match=r"signal of 8 steps with 8 channels.*\(8, 8, 1\)"
    ):
        AutoencoderTransformer(2, network=network, max_iter=0).fit(RNG.random((20, 64)))


# -- scores of features in the container of set_output


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize(
    "kind", [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]
)
def test_scores_of_features_heed_set_output(kind, container):
    table = frame(X).set_index(np.arange(100, 160))
    model = kind(2, max_iter=0).fit(table)
    scores = model.score_features(table)
    assert type(scores) is np.ndarray
    found = model.set_output(transform=container).score_features(table)
    assert type(found).__module__.partition(".")[0] == container
    assert list(found.columns) == NAMES
    assert_array_equal(found.to_numpy(), scores)
    assert_allclose(found.to_numpy().sum(axis=1), model.score_samples(table))
    if container == "pandas":
        assert list(found.index) == list(table.index)
    model.fit(X)
    assert list(model.score_features(X).columns) == [f"x{i}" for i in range(5)]


def test_scores_of_features_of_a_mixed_table_have_its_columns():
    table = frame(X).assign(kind=np.where(X[:, 0] > 0, "up", "down"))
    model = VAETransformer(2, max_iter=0).fit(table)
    scores = model.score_features(table)
    found = model.set_output(transform="pandas").score_features(table)
    assert list(found.columns) == [*NAMES, "kind"]
    assert_array_equal(found.to_numpy(), scores)
    assert list(found.index) == list(table.index)


def test_scores_of_features_of_images_stay_arrays():
    images = X[:, :4].reshape(-1, 2, 2)
    model = AutoencoderTransformer(2, max_iter=0).set_output(transform="pandas")
    assert model.fit(images).score_features(images).shape == images.shape


def test_a_detector_reads_scores_in_frames():
    table = frame(X)
    model = AutoencoderTransformer(2, max_iter=0)
    detectors = [
        ReconstructionOutlierDetector(one, score_by="model").fit(table)
        for one in (model, clone(model).set_output(transform="pandas"))
    ]
    found = [detector.score_features(table) for detector in detectors]
    assert_array_equal(*found)
