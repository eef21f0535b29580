"""Features that work together: one cell for each pair, and in each a right value.

A cell is a test that computes the value in another way, a refusal by name, or the reason
why the two are independent. The guide's page is printed from it:
`python tests/test_crossings.py`.
"""

import ast
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.stats import multivariate_t
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, VAETransformer
from skae._data import sources
from skae.networks import CustomNetwork, DenseNetwork
from skae.outliers import ReconstructionOutlierDetector

HERE = Path(__file__).resolve()
PAGE = HERE.parents[1] / "docs" / "user_guide" / "crossings.rst"

FEATURES = {
    "missing": "Missing values",
    "weights": "Sample weights",
    "kinds": "Kinds of columns",
    "tables": "Mixed tables",
    "wide": "Wide tables",
    "sparse": "Sparse matrices",
    "stored": "Stored and Dask data",
    "stream": "``partial_fit``",
    "threads": "Threads",
    "files": "``save`` and ``load``",
    "onnx": "ONNX",
    "jax": "JAX",
    "detector": "Outlier detector",
    "own": "Constraints",
    "float32": "float32",
}

# -- one fit of each feature: an estimator, rows and weights

RNG = np.random.default_rng(0)
WINE = StandardScaler().fit_transform(load_wine().data)
COUNTS = load_digits().data[:178, 18:20]
MIXED = np.hstack([WINE[:, :4], np.eye(3)[load_wine().target], WINE[:, 4:6] > 0, COUNTS])
PAIRS = [
    ("gaussian_diag", [0, 1, 2, 3]),
    ("categorical", [4, 5, 6]),
    ("bernoulli", [7, 8]),
    ("poisson", [9, 10]),
]
TABLE = pd.DataFrame(WINE[:, :4], columns=list("abcd")).assign(
    cultivar=np.array(["Barbera", "Barolo", "Grignolino"])[load_wine().target],
    strong=WINE[:, 4] > 0,
)
HOLES = np.where(RNG.random(WINE.shape) < 0.15, np.nan, WINE)
TIMES = RNG.integers(1, 4, len(WINE))
WIDE = RNG.normal(size=(30, 3)) @ RNG.normal(size=(3, 60)) + RNG.normal(size=(30, 60))
SPARSE = sparse.csr_array(np.where(np.abs(WINE) > 1, WINE, 0))
SMALL = DenseNetwork((5,))


def constrained(x):
    kernel = keras.constraints.NonNeg()
    return keras.layers.Dense(5, "relu", kernel_constraint=kernel, name="parts")(x)


def own(**more):
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    network = CustomNetwork(constrained, constrained)
    more = {"max_iter": 3, "random_state": 0, "optimizer": optimizer} | more
    return AutoencoderTransformer(2, network=network, **more)


def linear(kind=AutoencoderTransformer, **more):
    return kind(2, network=SMALL, max_iter=0, random_state=0, **more)


FITS = {
    "missing": (linear(VAETransformer), HOLES, None),
    "weights": (linear(), WINE, TIMES),
    "kinds": (linear(VAETransformer, likelihood=PAIRS), MIXED, None),
    "tables": (linear(VAETransformer), TABLE, None),
    "wide": (linear(), WIDE, None),
    "sparse": (linear(), SPARSE, None),
    "float32": (linear(), WINE.astype(np.float32), None),
    "own": (own(), WINE, None),
}


def fitted(feature, **more):
    estimator, X, weight = FITS[feature]
    return clone(estimator).set_params(**more).fit(X, sample_weight=weight)


def outputs(feature, model):
    X = FITS[feature][1]
    found = [model.transform(X), model.score_samples(X)]
    return found if sparse.issparse(X) else [*found, model.impute(X)]


def call_by_call(feature, n_calls=5, **more):
    estimator, X, weight = FITS[feature]
    stream = clone(estimator).set_params(**more)
    for some in np.array_split(np.arange(X.shape[0]), n_calls):
        counts = None if weight is None else weight[some]
        stream.partial_fit(X[some], sample_weight=counts)
    return stream


# -- the checks; each is a cell for whatever it is asked of


@pytest.mark.parametrize("feature", ["weights", "kinds", "wide", "sparse", "float32"])
def test_stream(feature):
    """The calls of a stream come to the fit of all rows at once."""
    found, wanted = call_by_call(feature), fitted(feature)
    tolerance = 1e-4 if feature == "float32" else 1e-7
    for one, other in zip(outputs(feature, found), outputs(feature, wanted), strict=True):
        assert_allclose(one, other, atol=tolerance * max(1, np.abs(other).max()))


def test_stream_of_constrained_layers(without_xla):
    stream = call_by_call("own", 2)
    kernels = [w for p, w in stream._state.weights.items() if "parts/kernel" in p]
    assert stream.n_iter_ == 2
    assert min(kernel.min() for kernel in kernels) >= 0


@pytest.mark.parametrize("feature", FITS)
def test_threads(feature, without_xla):
    """Six fits in threads have the bits of one alone."""
    wanted = outputs(feature, fitted(feature))
    with ThreadPoolExecutor(6) as pool:
        for model in pool.map(lambda _: fitted(feature), range(6)):
            for one, other in zip(outputs(feature, model), wanted, strict=True):
                assert_array_equal(one, other)


def test_threads_of_streams_files_and_detectors(tmp_path, without_xla):
    def stream(_):
        return call_by_call("missing", 3).transform(HOLES)

    def file(i):
        fitted("kinds").save(tmp_path / f"{i % 2}.skae")  # two write the same
        return skae.load(tmp_path / f"{i % 2}.skae").transform(MIXED)

    def detector(_):
        return (
            ReconstructionOutlierDetector(linear(VAETransformer))
            .fit(HOLES)
            .predict(HOLES)
        )

    for work in (stream, file, detector):
        wanted = work(0)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(work, range(8)):
                assert_array_equal(found, wanted)


def test_threads_read_the_same_file(stored):
    rows, wanted = stored(HOLES), fitted("missing").transform(HOLES)
    with ThreadPoolExecutor(4) as pool:
        for model in pool.map(lambda _: linear(VAETransformer).fit(rows), range(4)):
            assert_allclose(model.transform(HOLES), wanted, atol=1e-5)


LOADED = ["missing", "kinds", "wide", "float32"]


def test_files(tmp_path):
    """A fresh process that loads a file gives the same bits."""
    for feature in LOADED:
        model = fitted(feature)
        model.save(tmp_path / f"{feature}.skae")
        np.save(tmp_path / f"{feature}.npy", FITS[feature][1])
        np.savez(tmp_path / feature, *outputs(feature, model))
    script = f"""if True:
        import sys
        import numpy as np
        import skae
        for feature in {LOADED}:
            model = skae.load(f"{{sys.argv[1]}}/{{feature}}.skae")
            X = np.load(f"{{sys.argv[1]}}/{{feature}}.npy")
            wanted = np.load(f"{{sys.argv[1]}}/{{feature}}.npz")
            found = model.transform(X), model.score_samples(X), model.impute(X)
            for one, name in zip(found, wanted.files, strict=True):
                np.testing.assert_array_equal(one, wanted[name])
        """
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_files_hold_no_objects_of_keras(tmp_path, without_xla):
    with pytest.raises(TypeError, match=r"(?s)network.* can't be saved"):
        fitted("own").save(tmp_path / "own.skae")


@pytest.mark.parametrize("feature", [*LOADED, "stream", "loaded"])
def test_onnx(feature, tmp_path):
    """onnxruntime gives the codes that `transform` gives, of odd rows too."""
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from skae.onnx import register_converters

    register_converters()
    of = feature if feature in FITS else "missing"
    model = call_by_call(of) if feature == "stream" else fitted(of)
    if feature == "loaded":
        model.save(tmp_path / "model.skae")
        model = skae.load(tmp_path / "model.skae")
    X = FITS[of][1][:40].copy()
    if feature == "kinds":
        X[:5, 4:7], X[5:9, 4:7], X[9, 0] = 0, np.nan, np.nan
    written = skl2onnx.to_onnx(model, X[:1]).SerializeToString()
    served = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    (found,) = served.run(None, {"X": X})
    assert_allclose(found, model.transform(X), atol=1e-5)


@pytest.mark.slow
def test_jax(tmp_path):
    """A process on JAX comes to the closed forms that TensorFlow comes to here."""
    pytest.importorskip("jax")
    code = f"""if True:
        import json, sys
        import numpy as np
        sys.path.insert(0, {str(HERE.parent)!r})
        import test_crossings as here
        from skae.outliers import ReconstructionOutlierDetector
        import skae
        found = {{}}
        for feature in {[f for f in FITS if f != "own"]}:
            found[feature] = float(here.outputs(feature, here.fitted(feature))[1].mean())
        found["stream"] = float(here.call_by_call("missing").score(here.HOLES))
        rows = np.load(sys.argv[1] + "/rows.npy", mmap_mode="r")
        here.sources.IN_MEMORY = 0
        found["stored"] = float(here.linear().fit(rows).score(here.WINE))
        detector = ReconstructionOutlierDetector(here.linear()).fit(here.WINE)
        found["detector"] = float(detector.score_samples(here.WINE).mean())
        found["files"] = float(skae.load(sys.argv[1] + "/kinds.skae").score(here.MIXED))
        own = here.fitted("own")
        kernels = [w for p, w in own._state.weights.items() if "parts/kernel" in p]
        found["own"] = min(float(kernel.min()) for kernel in kernels)
        with here.ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(lambda _: here.fitted("missing").transform(here.HOLES), range(4)))
        found["threads"] = max(float(abs(c - codes[0]).max()) for c in codes)
        print(json.dumps(found))
        """
    np.save(tmp_path / "rows.npy", WINE)
    fitted("kinds").save(tmp_path / "kinds.skae")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for feature in FITS:
        if feature != "own":
            wanted = outputs(feature, fitted(feature))[1].mean()
            assert found[feature] == pytest.approx(wanted, rel=1e-4), feature
    assert found["stream"] == pytest.approx(
        call_by_call("missing").score(HOLES), rel=1e-6
    )
    assert found["stored"] == pytest.approx(linear().fit(WINE).score(WINE), rel=1e-6)
    detector = ReconstructionOutlierDetector(linear()).fit(WINE)
    wanted = detector.score_samples(WINE).mean()
    assert found["detector"] == pytest.approx(wanted, rel=1e-6)
    assert found["files"] == pytest.approx(fitted("kinds").score(MIXED), rel=1e-6)
    assert found["own"] >= 0
    assert found["threads"] == 0


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Rows as a memory map that is read block by block."""
    monkeypatch.setattr(sources, "IN_MEMORY", 0)
    monkeypatch.setattr(sources, "BLOCK_VALUES", 13 * 50)

    def write(X):
        np.save(tmp_path / "rows.npy", X)
        return np.load(tmp_path / "rows.npy", mmap_mode="r")

    return write


@pytest.mark.parametrize(
    "feature", ["missing", "weights", "kinds", "wide", "float32", "own"]
)
def test_stored(feature, stored, without_xla):
    """Rows of a file come to what the array comes to."""
    estimator, X, weight = FITS[feature]
    model = clone(estimator).fit(stored(X), sample_weight=weight)
    if feature == "own":  # the blocks' order is another one
        kernels = [w for p, w in model._state.weights.items() if "parts/kernel" in p]
        assert min(kernel.min() for kernel in kernels) >= 0
        return
    tolerance = 1e-3 if feature in ("float32", "kinds") else 1e-5
    wanted = outputs(feature, fitted(feature))
    for one, other in zip(outputs(feature, model), wanted, strict=True):
        assert_allclose(one, other, atol=tolerance * max(1, np.abs(other).max()))


def test_stored_rows_in_calls_and_in_a_detector(stored):
    rows = stored(WINE)
    stream = linear().partial_fit(rows[:90]).partial_fit(rows[90:])
    assert_allclose(
        stream.transform(WINE), fitted("weights").fit(WINE).transform(WINE), atol=1e-8
    )
    found = ReconstructionOutlierDetector(linear()).fit(rows)
    wanted = ReconstructionOutlierDetector(linear()).fit(WINE)
    assert_allclose(found.score_samples(rows), wanted.score_samples(WINE), rtol=1e-6)


def test_stored_rows_of_an_unknown_class_are_refused(stored):
    unknown = MIXED.copy()
    unknown[7, 4:7] = 0
    with pytest.raises(ValueError, match=r"columns \[4, 5, 6\].* not in memory"):
        linear(VAETransformer, likelihood=PAIRS).fit(stored(unknown))


def test_sparse_rows_lack_nothing():
    rows = SPARSE.copy()
    rows.data[0] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN in sparse rows.*dense"):
        linear().fit(rows)


@pytest.mark.parametrize("feature", ["missing", "wide", "sparse", "float32", "own"])
def test_detector(feature, without_xla):
    """Scores are of errors relative to usual ones and of codes, as computed here."""
    estimator, X, _ = FITS[feature]
    detector = ReconstructionOutlierDetector(clone(estimator)).fit(X)
    model, dense = detector.estimator_, X.toarray() if sparse.issparse(X) else X
    errors = np.square(np.float64(dense) - model.reconstruct(dense))
    least = 1e-3 * np.nanmean(np.square(dense - np.nanmean(dense, axis=0)))
    usual = np.nanmean(errors, axis=0) + least
    codes = np.float64(model.transform(dense))
    mixture = detector.code_weights_, detector.code_means_, detector.code_covariances_
    density = sum(
        weight * multivariate_t(mean, covariance, df=4).pdf(codes)
        for weight, mean, covariance in zip(*mixture, strict=True)
    )
    wanted = np.log(density) - np.log1p(errors / usual).sum(axis=1)
    whole = ~np.isnan(wanted)
    assert_allclose(detector.score_samples(X)[whole], wanted[whole], rtol=1e-4)
    assert np.mean(detector.predict(X) == -1) == pytest.approx(0.08, abs=0.06)


def test_detector_is_refused_what_it_does_not_have():
    detector = ReconstructionOutlierDetector(linear())
    with pytest.raises(AttributeError, match="partial_fit"):
        _ = detector.partial_fit


def test_wide_columns_of_several_kinds():
    """A fit of 20 rows with more columns than these, in any order of rows."""
    X = np.hstack([MIXED[:20], WIDE[:20, :30]])
    pairs = [*PAIRS, ("gaussian_diag", list(range(11, 41)))]
    model = linear(VAETransformer, likelihood=pairs).fit(X)
    order = np.random.default_rng(1).permutation(20)
    again = linear(VAETransformer, likelihood=pairs).fit(X[order])
    assert np.isfinite(model.score_samples(X)).all()
    assert_allclose(again.score_samples(X), model.score_samples(X), rtol=1e-5)


def test_wide_mixed_tables():
    """A table of 20 rows with more columns than these, in any order of rows."""
    df = pd.concat([TABLE[:20], pd.DataFrame(WIDE[:20, :30]).add_prefix("x")], axis=1)
    model = linear(VAETransformer).fit(df)
    again = linear(VAETransformer).fit(df.sample(frac=1, random_state=1))
    assert np.isfinite(model.score_samples(df)).all()
    assert_allclose(again.score_samples(df), model.score_samples(df), rtol=1e-5)


def test_categories_of_sparse_and_stored_rows_are_refused(stored):
    for rows in (SPARSE, stored(WINE)):
        with pytest.raises(ValueError, match=r"rows in memory .* not sparse, or a frame"):
            linear(categorical_features=[0]).fit(rows)


def test_mixed_tables_have_no_onnx_model():
    skl2onnx = pytest.importorskip("skl2onnx")
    from skae.onnx import register_converters

    register_converters()
    with pytest.raises(ValueError, match="a mixed table, which has no ONNX model"):
        skl2onnx.to_onnx(fitted("tables"), TABLE[:1])


def test_wide_rows_of_float32_are_pca():
    rows = WIDE.astype(np.float32)
    found, wanted = linear().fit(rows), PCA(2).fit(WIDE)
    assert_allclose(found.explained_variance_, wanted.explained_variance_, rtol=1e-5)
    assert_allclose(
        np.abs(found.transform(rows)), np.abs(wanted.transform(WIDE)), atol=1e-3
    )


def test_sparse_rows_of_float32_are_pca():
    rows = SPARSE.astype(np.float32)
    found, wanted = linear().fit(rows), PCA(2).fit(SPARSE.toarray())
    assert_allclose(found.explained_variance_, wanted.explained_variance_, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constraints_hold_with_missing_values(dtype, without_xla):
    model = own().fit(HOLES.astype(dtype))
    kernels = [w for p, w in model._state.weights.items() if "parts/kernel" in p]
    assert min(kernel.min() for kernel in kernels) >= 0
    assert model.transform(HOLES.astype(dtype)).dtype == dtype


# -- the table

THIS = "test_crossings"
BEFORE = "The loss is weighted before the optimizer uses its gradients."
FITTED = "A fitted model does not depend on it."
SHAPES = "Both concern the network's weights, which do not depend on the data."

#: For each pair of features: "works", "refused" or "apart", a note for users, and the
#: test that shows it, or None if they are independent.
CELLS = {
    "missing weights": ("works", "", "test_laws::test_order_weights_and_seeds_do_not_matter"),
    "missing kinds": ("works", "All columns of a missing class are NaN.", "test_kinds::test_shares_and_classes_of_which_a_part_is_missing_are_right"),
    "missing tables": ("works", "", "test_tables::test_missing_values_are_imputed_and_nothing_else_is_changed"),
    "missing wide": ("works", "", "test_missing::test_any_shape_of_table_is_completed_as_by_plain_em"),
    "missing sparse": ("refused", "Pass dense arrays: sparse matrices can't have missing values.", f"{THIS}::test_sparse_rows_lack_nothing"),
    "missing stored": ("works", "The linear initialisation uses some 20,000 samples.", f"{THIS}::test_stored"),
    "missing stream": ("works", "Linear models use some 2,000 samples.", "test_stream::test_a_stream_with_missing_values_is_that_of_all_rows"),
    "missing threads": ("works", "", f"{THIS}::test_threads"),
    "missing files": ("works", "", f"{THIS}::test_files"),
    "missing onnx": ("works", "", f"{THIS}::test_onnx"),
    "missing jax": ("works", "", f"{THIS}::test_jax"),
    "missing detector": ("works", "Scores of incomplete samples are comparable with those of others.", "test_kinds::test_rows_of_few_values_are_flagged_as_often_as_others"),
    "missing own": ("works", "", f"{THIS}::test_constraints_hold_with_missing_values"),
    "missing float32": ("works", "", "test_laws::test_float32_and_sparse_rows_and_single_ones_are_the_same"),
    "weights kinds": ("works", "", "test_laws::test_order_weights_and_seeds_do_not_matter"),
    "weights tables": ("works", "", "test_tables::test_weights_count_rows"),
    "weights wide": ("works", "", "test_weights::test_a_weight_is_so_many_rows_where_the_fit_is_a_closed_form"),
    "weights sparse": ("works", "", "test_weights::test_a_weight_is_so_many_rows_where_the_fit_is_a_closed_form"),
    "weights stored": ("works", "", f"{THIS}::test_stored"),
    "weights stream": ("works", "", f"{THIS}::test_stream"),
    "weights threads": ("works", "", f"{THIS}::test_threads"),
    "weights files": ("apart", FITTED, None),
    "weights onnx": ("apart", FITTED, None),
    "weights jax": ("works", "", f"{THIS}::test_jax"),
    "weights detector": ("works", "They weight the threshold too, and reach models that take them.", "test_outliers::test_weights_are_how_often_samples_count"),
    "weights own": ("apart", BEFORE, None),
    "weights float32": ("works", "", "test_laws::test_float32_and_sparse_rows_and_single_ones_are_the_same"),
    "kinds tables": ("works", "Pairs have names of columns; the others have what suits them.", "test_tables::test_each_kind_has_what_suits_it"),
    "kinds wide": ("works", "", f"{THIS}::test_wide_columns_of_several_kinds"),
    "kinds sparse": ("works", "Samples with an unknown class become dense.", "test_kinds::test_sparse_rows_may_have_an_unknown_class_too"),
    "kinds stored": ("works", "A sample without a class is refused: set it to NaN.", f"{THIS}::test_stored_rows_of_an_unknown_class_are_refused"),
    "kinds stream": ("works", "Linear models use some 2,000 samples.", f"{THIS}::test_stream"),
    "kinds threads": ("works", "", f"{THIS}::test_threads"),
    "kinds files": ("works", "", f"{THIS}::test_files"),
    "kinds onnx": ("works", "An unknown class is a missing value there, too.", f"{THIS}::test_onnx"),
    "kinds jax": ("works", "", f"{THIS}::test_jax"),
    "kinds detector": ("works", "An unknown class makes a sample abnormal.", "test_kinds::test_rows_of_an_unknown_class_are_outliers_more_often"),
    "kinds own": ("apart", SHAPES, None),
    "kinds float32": ("works", "", "test_laws::test_float32_and_sparse_rows_and_single_ones_are_the_same"),
    "tables wide": ("works", "", f"{THIS}::test_wide_mixed_tables"),
    "tables sparse": ("refused", "Pass a frame: sparse matrices have no categories.", f"{THIS}::test_categories_of_sparse_and_stored_rows_are_refused"),
    "tables stored": ("works", "Dask frames work. Memory maps, HDF5 and Zarr have no categories.", "test_tables::test_dask_frames_are_their_pandas_frame"),
    "tables stream": ("works", "The first call, or the dtype of a column, has its categories.", "test_tables::test_calls_that_do_not_train_are_one_fit"),
    "tables threads": ("works", "", f"{THIS}::test_threads"),
    "tables files": ("works", "", "test_tables::test_files_and_pickles_hold_the_table"),
    "tables onnx": ("refused", "Encode the table by a ColumnTransformer, in a Pipeline.", f"{THIS}::test_mixed_tables_have_no_onnx_model"),
    "tables jax": ("works", "", f"{THIS}::test_jax"),
    "tables detector": ("works", "", "test_tables::test_the_detector_scores_columns"),
    "tables own": ("apart", SHAPES, None),
    "tables float32": ("works", "", "test_table::test_numbers_are_in_float32_if_that_is_exact"),
    "wide sparse": ("works", "", "test_weights::test_a_weight_is_so_many_rows_where_the_fit_is_a_closed_form"),
    "wide stored": ("works", "", f"{THIS}::test_stored"),
    "wide stream": ("works", "", f"{THIS}::test_stream"),
    "wide threads": ("works", "", f"{THIS}::test_threads"),
    "wide files": ("works", "", f"{THIS}::test_files"),
    "wide onnx": ("works", "", f"{THIS}::test_onnx"),
    "wide jax": ("works", "", f"{THIS}::test_jax"),
    "wide detector": ("works", "", f"{THIS}::test_detector"),
    "wide own": ("apart", SHAPES, None),
    "wide float32": ("works", "", f"{THIS}::test_wide_rows_of_float32_are_pca"),
    "sparse stored": ("refused", "Convert chunks to dense arrays: ``X.map_blocks``.", "test_containers::test_records_and_sparse_chunks_are_refused_by_name"),
    "sparse stream": ("works", "", f"{THIS}::test_stream"),
    "sparse threads": ("works", "", f"{THIS}::test_threads"),
    "sparse files": ("apart", FITTED, None),
    "sparse onnx": ("apart", "An ONNX model takes dense rows.", None),
    "sparse jax": ("works", "", f"{THIS}::test_jax"),
    "sparse detector": ("works", "", f"{THIS}::test_detector"),
    "sparse own": ("apart", SHAPES, None),
    "sparse float32": ("works", "", f"{THIS}::test_sparse_rows_of_float32_are_pca"),
    "stored stream": ("works", "", f"{THIS}::test_stored_rows_in_calls_and_in_a_detector"),
    "stored threads": ("works", "", f"{THIS}::test_threads_read_the_same_file"),
    "stored files": ("apart", FITTED, None),
    "stored onnx": ("apart", FITTED, None),
    "stored jax": ("works", "", f"{THIS}::test_jax"),
    "stored detector": ("works", "Its scores are computed in memory.", f"{THIS}::test_stored_rows_in_calls_and_in_a_detector"),
    "stored own": ("works", "", f"{THIS}::test_stored"),
    "stored float32": ("works", "", f"{THIS}::test_stored"),
    "stream threads": ("works", "", f"{THIS}::test_threads_of_streams_files_and_detectors"),
    "stream files": ("works", "", "test_stream::test_a_look_in_between_changes_nothing"),
    "stream onnx": ("works", "", f"{THIS}::test_onnx"),
    "stream jax": ("works", "", f"{THIS}::test_jax"),
    "stream detector": ("refused", "The detector has no ``partial_fit``.", f"{THIS}::test_detector_is_refused_what_it_does_not_have"),
    "stream own": ("works", "", f"{THIS}::test_stream_of_constrained_layers"),
    "stream float32": ("works", "", f"{THIS}::test_stream"),
    "threads files": ("works", "", f"{THIS}::test_threads_of_streams_files_and_detectors"),
    "threads onnx": ("apart", "onnxruntime has threads of its own.", None),
    "threads jax": ("works", "", f"{THIS}::test_jax"),
    "threads detector": ("works", "", f"{THIS}::test_threads_of_streams_files_and_detectors"),
    "threads own": ("works", "", f"{THIS}::test_threads"),
    "threads float32": ("works", "", f"{THIS}::test_threads"),
    "files onnx": ("works", "", f"{THIS}::test_onnx"),
    "files jax": ("works", "A file from one backend can be loaded on the other.", f"{THIS}::test_jax"),
    "files detector": ("works", "Around an estimator of skae.", "test_outliers::test_a_file_holds_a_detector"),
    "files own": ("refused", "Files contain no Keras objects: pickle it.", f"{THIS}::test_files_hold_no_objects_of_keras"),
    "files float32": ("works", "", f"{THIS}::test_files"),
    "onnx jax": ("works", "", "test_onnx::test_a_pipeline_gives_the_same_codes"),
    "onnx detector": ("works", "Around an estimator of skae.", "test_onnx_detector::test_every_model_gives_the_same"),
    "onnx own": ("apart", FITTED, None),
    "onnx float32": ("works", "", f"{THIS}::test_onnx"),
    "jax detector": ("works", "", f"{THIS}::test_jax"),
    "jax own": ("works", "", f"{THIS}::test_jax"),
    "jax float32": ("works", "", f"{THIS}::test_jax"),
    "detector own": ("works", "", f"{THIS}::test_detector"),
    "detector float32": ("works", "", f"{THIS}::test_detector"),
    "own float32": ("works", "", f"{THIS}::test_constraints_hold_with_missing_values"),
}  # fmt: skip


def test_no_cell_is_empty():
    wanted = {" ".join(pair) for pair in itertools.combinations(FEATURES, 2)}
    assert wanted == CELLS.keys()


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_says_how_it_is_known(cell):
    verdict, note, test = CELLS[cell]
    assert verdict in ("works", "refused", "apart")
    assert note or verdict == "works"
    assert (test is None) == (verdict == "apart")
    if test is not None:
        file, name = test.split("::")
        tree = ast.parse((HERE.parent / f"{file}.py").read_text())
        assert name in {node.name for node in tree.body if hasattr(node, "name")}


SIGNS = {"works": "yes", "refused": "no", "apart": "\\-"}
HEAD = """.. Printed by tests/test_crossings.py, which holds it against the code.

.. _crossings:

===========================
Features that work together
===========================

Two features that are each tested alone can still fail in combination. For each pair of the features below, a test
computes the right value in another way, or expects an error that names the unsupported feature. "yes" works, "no"
is refused, and "\\-" means that the two are independent. Mixed tables are frames with strings, categories or dates; wide
tables have more features than samples; constraints are those of custom layers, with custom optimizers.
"""


def page():
    """The guide's page of the table."""
    names = list(FEATURES)
    lines = [HEAD, ".. list-table::", "   :class: narrow"]
    lines += ["   :header-rows: 1", "   :stub-columns: 1", ""]
    rows = [["", *(str(i + 1) for i in range(len(names) - 1))]]
    for i, one in enumerate(names):
        cells = [SIGNS[CELLS[f"{other} {one}"][0]] for other in names[:i]]
        rows.append([f"{i + 1}. {FEATURES[one]}", *cells, *[""] * (len(names) - 1 - i)])
    for row in rows:
        lines += [
            f"   {'*' if i == 0 else ' '} - {cell}".rstrip() for i, cell in enumerate(row)
        ]
    lines += ["", "Notes on some of them:", ""]
    for key, (verdict, note, _) in CELLS.items():
        if note and verdict != "apart":
            one, other = (FEATURES[name] for name in key.split())
            other = other[0].lower() + other[1:] if other[1].islower() else other
            lines.append(f"- {one} with {other}: {note}")
    return "\n".join(lines) + "\n"


def test_the_guide_shows_the_table():
    assert PAGE.read_text() == page(), "run: python tests/test_crossings.py"


if __name__ == "__main__":
    PAGE.write_text(page())
