"""ONNX files of outlier detectors give the scores and labels that detectors give."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.likelihoods import Poisson
from skae.networks import ConvNetwork, CustomNetwork, DenseNetwork, SequenceNetwork
from skae.onnx import register_converters
from skae.outliers import ReconstructionOutlierDetector

pytest.importorskip("onnx")
skl2onnx = pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")

DTYPES = [np.float32, np.float64]
RNG = np.random.default_rng(0)
SMALL = DenseNetwork((6,))
QUICK = {"network": SMALL, "max_iter": 2, "n_splits": 1, "random_state": 0}

X, y = load_breast_cancer(return_X_y=True)
SCALED = StandardScaler().fit(X[y == 1]).transform(X)
BENIGN, FRESH = SCALED[y == 1][:250], np.r_[SCALED[y == 1][250:], SCALED[y == 0]]
DIGITS = load_digits().data[:240] / 16
COUNTS = np.round(10 * DIGITS[:, 18:22])
CLASSES = np.eye(3)[RNG.integers(3, size=240)]
MIXED = np.c_[COUNTS, DIGITS[:, 10:12], DIGITS[:, 13:15] > 0.5, CLASSES]
PAIRS = [
    ("poisson", slice(0, 4)),
    ("gaussian_diag", [4, 5]),
    ("bernoulli", [6, 7]),
    ("categorical", [8, 9, 10]),
]
SERIES = DIGITS.reshape(-1, 8, 8).copy()
SERIES[::3, 5:] = np.nan


def with_holes(X, share=0.1):
    return np.where(np.random.default_rng(1).random(X.shape) < share, np.nan, X)


@pytest.fixture(autouse=True)
def registered(without_xla):
    register_converters()


def session(detector, X, **options):
    """onnxruntime, on the file that skl2onnx makes of a detector, or of a Pipeline."""
    last = detector[-1] if hasattr(detector, "steps") else detector
    options = {id(last): {"score_samples": True} | options}
    written = skl2onnx.to_onnx(detector, X[:1], options=options).SerializeToString()
    return onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])


def assert_same(detector, X, served=None):
    """Labels, decisions and scores of rows, and of one row, are the detector's."""
    served = session(detector, X) if served is None else served
    wanted = detector.score_samples(X)
    for rows in (X, X[:1]):
        found = served.run(["label", "scores", "score_samples"], {"X": rows})
        assert [one.shape for one in found] == [(len(rows), 1)] * 3
        dtypes = [one.dtype for one in found]
        assert dtypes == [np.int64, X.dtype, X.dtype]
        label, decision, scores = (one.ravel() for one in found)
        tolerance = {"rtol": 1e-5, "atol": 1e-5 * wanted.std()}
        assert_allclose(scores, wanted[: len(rows)], **tolerance)
        assert_allclose(
            decision, (wanted - threshold(detector))[: len(rows)], **tolerance
        )
        assert_array_equal(label, np.where(decision < 0, -1, 1))
        sure = np.abs(decision) > tolerance["atol"]
        assert_array_equal(label[sure], detector.predict(rows)[sure])


def threshold(detector):
    return (detector[-1] if hasattr(detector, "steps") else detector).offset_


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"contamination": "auto"},
        {"contamination": 0.3, "novelty": False},
        {"contamination": "auto", "novelty": False},
        {"score_by": "model"},
    ],
    ids=str,
)
def test_every_setting_gives_the_same(params):
    model = AutoencoderTransformer(4, network=SMALL, max_iter=0)
    detector = ReconstructionOutlierDetector(model, **params).fit(BENIGN)
    for dtype in DTYPES:
        assert_same(detector, FRESH.astype(dtype))
    assert {-1, 1} == {*detector.predict(FRESH)}


MODELS = {
    "vae": VAETransformer(0.8, **QUICK),
    "closed form": VAETransformer(0.8, max_iter=0),
    "gaussian_diag": VAETransformer(3, likelihood="gaussian_diag", **QUICK),
    "autoencoder": AutoencoderTransformer(3, **QUICK),
    "whitened": AutoencoderTransformer(3, whiten=True, **QUICK),
    "random": AutoencoderTransformer(3, init="random", **QUICK),
    "denoising": DenoisingAutoencoder(3, **QUICK),
    "huber": DenoisingAutoencoder(3, loss="huber", **QUICK),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_the_same(name):
    detector = ReconstructionOutlierDetector(MODELS[name]).fit(BENIGN)
    for dtype in DTYPES:
        assert_same(detector, FRESH.astype(dtype))


CASES = {
    "bernoulli": (VAETransformer(2, likelihood="bernoulli", **QUICK), DIGITS),
    "cross-entropy": (
        AutoencoderTransformer(2, loss="binary_crossentropy", **QUICK),
        DIGITS,
    ),
    "counts": (VAETransformer(2, likelihood="negative_binomial", **QUICK), COUNTS),
    "counts of a total": (
        VAETransformer(2, likelihood=Poisson(total=20), **QUICK),
        COUNTS,
    ),
    "by column": (VAETransformer(2, likelihood=PAIRS, **QUICK), MIXED),
    "losses by column": (
        AutoencoderTransformer(
            2,
            loss=[
                ("poisson", [0, 1, 2, 3]),
                ("squared_error", [4, 5, 6, 7]),
                ("categorical_crossentropy", [8, 9, 10]),
            ],
            **QUICK,
        ),
        MIXED,
    ),
    "images": (
        AutoencoderTransformer(
            2, **QUICK | {"network": ConvNetwork((8, 8, 1), filters=(3, 2))}
        ),
        DIGITS.reshape(-1, 8, 8, 1),
    ),
    "feature maps": (
        AutoencoderTransformer(
            None, **QUICK | {"network": ConvNetwork((8, 8, 1), filters=(2, 1))}
        ),
        DIGITS.reshape(-1, 8, 8),
    ),
    "flat images": (
        VAETransformer(2, **QUICK | {"network": ConvNetwork((8, 8, 1), filters=(3, 2))}),
        DIGITS,
    ),
    "series": (
        AutoencoderTransformer(
            2, **QUICK | {"network": SequenceNetwork((8, 8), units=3)}
        ),
        SERIES,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_of_every_kind_give_the_same(name):
    model, rows = CASES[name]
    detector = ReconstructionOutlierDetector(model).fit(rows[:160])
    for dtype in DTYPES:
        assert_same(detector, rows[80:].astype(dtype))


@pytest.mark.parametrize("where", ["both", "new rows"])
@pytest.mark.parametrize(
    "detector",
    [
        ReconstructionOutlierDetector(VAETransformer(0.8, max_iter=0)),
        ReconstructionOutlierDetector(AutoencoderTransformer(3, **QUICK)),
        ReconstructionOutlierDetector(DenoisingAutoencoder(3, **QUICK)),
        ReconstructionOutlierDetector(
            AutoencoderTransformer(3, **QUICK), score_by="model"
        ),
    ],
    ids=["closed form", "autoencoder", "denoising", "by errors"],
)
def test_incomplete_rows_give_the_same(detector, where):
    rows = with_holes(BENIGN) if where == "both" else BENIGN
    detector = clone(detector).fit(rows)
    fresh = with_holes(FRESH, 0.4)
    fresh[:5], fresh[5:60] = np.nan, FRESH[5:60]  # nothing, and everything is there
    for dtype in DTYPES:
        assert_same(detector, fresh.astype(dtype))


@pytest.mark.parametrize("total", [None, 20])
def test_missing_and_unknown_classes_and_counts_give_the_same(total):
    pairs = [(Poisson(total=total), slice(0, 4)), *PAIRS[1:]]
    model = VAETransformer(2, likelihood=pairs, network=SMALL, max_iter=0)
    fresh = MIXED[80:].copy()
    fresh[:5, 8:] = 0  # unknown
    fresh[5:10, 8:] = np.nan
    fresh[10:15, [8, 10]] = np.nan  # known, or not, by the column that is left
    fresh[15:30, 2:6], fresh[28:30] = np.nan, np.nan
    detector = ReconstructionOutlierDetector(model).fit(MIXED[:160])
    assert_same(detector, fresh)
    served = skl2onnx.to_onnx(detector.estimator_, fresh[:1]).SerializeToString()
    (codes,) = onnxruntime.InferenceSession(served).run(None, {"X": fresh})
    assert_allclose(codes, detector.estimator_.transform(fresh), atol=1e-8)


def test_an_unknown_class_counts_where_nothing_is_imputed():
    model = VAETransformer(2, likelihood=PAIRS, init="random", **QUICK)
    detector = ReconstructionOutlierDetector(model).fit(MIXED[:160])
    fresh = MIXED[80:].copy()
    fresh[:5, 8:] = 0
    assert_same(detector, fresh)


@pytest.mark.parametrize("score_by", ["robust", "model"])
def test_rows_that_have_no_score_are_no_inliers(score_by):
    """`score_samples` refuses them."""
    model = AutoencoderTransformer(3, init="random", **QUICK)
    detector = ReconstructionOutlierDetector(model, score_by=score_by).fit(BENIGN)
    fresh = FRESH[:2].copy()
    fresh[1, 3] = np.nan
    label, decision, _ = session(detector, fresh).run(None, {"X": fresh})
    assert label[1] == -1
    assert np.isnan(decision).ravel().tolist() == [False, True]


def test_no_rows_have_no_labels():
    detector = ReconstructionOutlierDetector(VAETransformer(3, max_iter=0)).fit(BENIGN)
    found = session(detector, FRESH).run(None, {"X": FRESH[:0]})
    assert [one.shape for one in found] == [(0, 1)] * 3


def test_labels_at_the_threshold():
    """A score on it is an inlier's, and the number below it is an outlier's."""
    detector = ReconstructionOutlierDetector(VAETransformer(3, max_iter=0)).fit(BENIGN)
    scores = session(detector, FRESH).run(["score_samples"], {"X": FRESH})[0].ravel()
    for place in (0, 300):
        for offset in (scores[place], np.nextafter(scores[place], np.inf)):
            detector.offset_ = offset
            for dtype in DTYPES:
                rows = FRESH.astype(dtype)
                label, decision, _ = session(detector, rows).run(None, {"X": rows})
                assert_array_equal(label, np.where(decision < 0, -1, 1))
            label, decision, _ = session(detector, FRESH).run(None, {"X": FRESH})
            assert label[place] == (1 if offset == scores[place] else -1)


def test_a_loaded_detector_gives_the_same(tmp_path):
    model = VAETransformer(3, network=SMALL, max_iter=0)
    ReconstructionOutlierDetector(model).fit(with_holes(BENIGN)).save(tmp_path / "d")
    assert_same(skae.load(tmp_path / "d"), with_holes(FRESH))


def test_outputs_are_those_of_skl2onnx_detectors():
    forest = IsolationForest(n_estimators=2, random_state=0).fit(BENIGN)
    detector = ReconstructionOutlierDetector(VAETransformer(3, max_iter=0)).fit(BENIGN)
    rows, opsets = BENIGN[:1].astype(np.float32), {"": 18, "ai.onnx.ml": 3}
    for option in ({}, {"score_samples": True}):
        theirs, ours = (
            skl2onnx.to_onnx(
                model, rows, options={id(model): option}, target_opset=opsets
            ).graph.output
            for model in (forest, detector)
        )
        assert [one.name for one in ours] == [one.name for one in theirs]
        for one, other in zip(ours[:2], theirs[:2], strict=True):
            assert one.type == other.type


@pytest.mark.parametrize("opset", [17, 21])
def test_opsets(opset):
    model = VAETransformer(3, network=SMALL, max_iter=0)
    detector = ReconstructionOutlierDetector(model).fit(with_holes(BENIGN))
    options = {id(detector): {"score_samples": True}}
    rows = with_holes(FRESH)
    written = skl2onnx.to_onnx(
        detector, rows[:1], options=options, target_opset={"": opset, "ai.onnx.ml": 3}
    )
    assert_same(detector, rows, onnxruntime.InferenceSession(written.SerializeToString()))


LONELY = """if True:
    import sys
    for name in ("tensorflow", "keras", "skae", "sklearn", "skl2onnx", "onnx", "scipy"):
        sys.modules[name] = None
    import numpy as np
    from onnxruntime import InferenceSession
    model, rows, found = sys.argv[1:]
    np.savez(found, *InferenceSession(model).run(None, {"X": np.load(rows)}))
    loaded = [name for name, module in sys.modules.items() if module is not None]
    assert not {"tensorflow", "keras", "skae"} & {name.split(".")[0] for name in loaded}
"""


def test_a_process_without_tensorflow_or_skae_serves_a_pipeline(tmp_path):
    detector = ReconstructionOutlierDetector(VAETransformer(0.8, **QUICK))
    pipeline = make_pipeline(StandardScaler(), detector).fit(X[y == 1])
    rows, model, found = (tmp_path / name for name in ("X.npy", "m.onnx", "found.npz"))
    model.write_bytes(skl2onnx.to_onnx(pipeline, X[:1]).SerializeToString())
    np.save(rows, X)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LONELY, model, rows, found],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    label, decision = np.load(found).values()
    wanted = pipeline.decision_function(X)
    assert_allclose(decision.ravel(), wanted, rtol=1e-5, atol=1e-4 * wanted.std())
    assert_array_equal(label.ravel(), pipeline.predict(X))


def test_a_pipeline_imputes_and_takes_integers():
    model = VAETransformer(3, network=SMALL, max_iter=0)
    detector = ReconstructionOutlierDetector(model)
    pipeline = make_pipeline(StandardScaler(), detector).fit(with_holes(X[y == 1]))
    assert_same(pipeline, with_holes(X))
    wine = load_wine().data.round().astype(int)
    detector = ReconstructionOutlierDetector(model).fit(wine)
    _, decision, _ = session(detector, wine).run(None, {"X": wine})
    wanted = detector.decision_function(wine)
    assert_allclose(decision.ravel(), wanted, rtol=1e-4, atol=1e-3 * wanted.std())


def wave(x):
    from keras import ops

    return ops.sin(x)


@pytest.mark.parametrize(
    ("model", "params", "rows", "message"),
    [
        (PCA(2), {}, BENIGN, r"an estimator of skae.* Got PCA\(n_components=2\)"),
        (
            make_pipeline(StandardScaler(), AutoencoderTransformer(2, max_iter=0)),
            {},
            BENIGN,
            r"(?s)Got Pipeline.*transformers before the detector",
        ),
        (KernelDensity(), {}, BENIGN, r"Got KernelDensity\(\)"),
        (
            VAETransformer(2, max_iter=0),
            {"score_by": "model"},
            BENIGN,
            r"score_by='robust'.* Got score_by='model' and VAETransformer",
        ),
        (
            AutoencoderTransformer(2, loss="huber", max_iter=0),
            {"score_by": "model"},
            BENIGN,
            r"squared error\. Got score_by='model' and .*huber",
        ),
        (
            AutoencoderTransformer(
                2, network=CustomNetwork(wave, wave), init="random", max_iter=0
            ),
            {},
            BENIGN,
            "'sin', of the class Sin, has no conversion",
        ),
        (
            AutoencoderTransformer(2, max_iter=0),
            {},
            load_breast_cancer(as_frame=True).data.assign(kind=np.array(list("ab"))[y]),
            "a mixed table, which has no ONNX model",
        ),
    ],
    ids=["pca", "pipeline", "density", "vae", "loss", "layer", "table"],
)
def test_what_has_no_onnx_model_is_refused_by_name(model, params, rows, message):
    detector = ReconstructionOutlierDetector(model, **params).fit(rows)
    with pytest.raises(ValueError, match=message):
        skl2onnx.to_onnx(detector, BENIGN[:1])


def test_what_cannot_be_declared_is_refused():
    detector = ReconstructionOutlierDetector(VAETransformer(2, max_iter=0))
    with pytest.raises(NotFittedError, match="not fitted"):
        skl2onnx.to_onnx(detector, BENIGN[:1])
    detector.fit(BENIGN)
    with pytest.raises(ValueError, match=r"rows of shape \(None, 30\). Got .*7"):
        skl2onnx.to_onnx(detector, BENIGN[:1, :7])
    with pytest.raises(ValueError, match=r"at least 17\. Got 16"):
        skl2onnx.to_onnx(detector, BENIGN[:1], target_opset=16)
