"""ONNX files of estimators and Pipelines give what `transform` gives, without TensorFlow."""

import itertools
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import ConvNetwork, CustomNetwork, DenseNetwork, SequenceNetwork
from skae.onnx import register_converters
from skae.onnx._convert import OLDEST_OPSET

onnx = pytest.importorskip("onnx")
skl2onnx = pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")

DIGITS = load_digits().data[:90] / 16
IMAGES = DIGITS.reshape(-1, 8, 8)
SERIES = IMAGES.copy()
SERIES[::3, 5:] = np.nan
HOLES = np.where(np.random.default_rng(0).random(DIGITS.shape) < 0.1, np.nan, DIGITS)
COUNTS = np.round(10 * DIGITS[:, 20:24])
MIXED = np.c_[
    COUNTS, DIGITS[:, 10:12], DIGITS[:, 13:15] > 0.5, np.eye(3)[::2].repeat(45, 0)
]

DENSE = DenseNetwork((6,))
CONV = ConvNetwork((8, 8, 1), filters=(3, 2))
ESTIMATORS = [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]


@pytest.fixture(autouse=True)
def registered(without_xla):
    register_converters()


def session(model, X, **options):
    """onnxruntime, on the file that skl2onnx makes of a model."""
    options = {id(model): options} if options else None
    written = skl2onnx.to_onnx(model, X[:1], options=options).SerializeToString()
    return onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])


def assert_same(served, X, wanted):
    (found,) = served.run(None, {"X": X})
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert_allclose(found, wanted, rtol=0, atol=1e-5 * wanted.std())


@pytest.mark.parametrize(
    "network",
    [DENSE, CONV, SequenceNetwork((8, 8), units=3)],
    ids=["dense", "conv", "sequence"],
)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_pipeline_gives_the_same_codes(estimator, network):
    last = estimator(3, network=network, init="random", max_iter=1, random_state=0)
    last.set_params(early_stopping=False)
    pipeline = make_pipeline(StandardScaler(), last).fit(DIGITS)
    for X in (DIGITS, DIGITS.astype(np.float32)):
        assert_same(session(pipeline, X), X, pipeline.transform(X))


def body(x):
    """Layers that a network of one's own may have, along one axis and two."""
    from keras import layers, ops

    y = layers.Reshape((8, 8, 1))(layers.LayerNormalization()(x))
    y = layers.ZeroPadding2D(((1, 0), (2, 1)))(y)
    y = layers.Conv2D(4, (3, 2), dilation_rate=(1, 2), padding="same")(y)
    y = layers.Conv2D(4, 3, groups=2, activation="elu")(y)
    y = layers.AveragePooling2D((2, 3), padding="same")(y)
    y = layers.Cropping2D(((0, 1), (1, 0)))(layers.LeakyReLU()(y))
    y = layers.Flatten()(layers.Permute((3, 1, 2))(y))
    steps = layers.Conv1D(3, 3, padding="causal")(layers.Reshape((16, 4))(x))
    lstm = layers.LSTM(2, return_sequences=True)
    steps = layers.Bidirectional(lstm)(steps)
    steps = layers.GRU(3, reset_after=False, use_bias=False, return_sequences=True)(steps)
    steps = layers.Concatenate()([steps, steps * 2 - 1])
    means = layers.GlobalAveragePooling1D()(ops.maximum(steps, 0))
    return layers.Concatenate()([layers.Dense(3)(y), layers.SimpleRNN(2)(steps), means])


def way_back(z):
    from keras import Sequential, layers

    y = layers.Reshape((4, 2, 2))(layers.Dense(16)(z))
    y = layers.Conv2DTranspose(3, (3, 1), strides=(2, 3), padding="same")(y)
    y = layers.Conv2DTranspose(2, 4, strides=3)(y)
    y = layers.Flatten()(layers.UpSampling2D((1, 2))(y))
    gate = Sequential([layers.Dense(5, activation="silu"), layers.Dense(y.shape[-1])])
    return layers.Softmax()(layers.Multiply()([y, gate(y)]))


CASES = {
    "batch-normalised": (
        AutoencoderTransformer(
            2,
            network=DenseNetwork((6,), batch_normalization=True, dropout=0.1),
            whiten=True,
        ),
        DIGITS + 10,
    ),
    "strides": (
        AutoencoderTransformer(
            2,
            network=ConvNetwork((16, 4), filters=(3, 2), downsampling="strides"),
            init="random",
        ),
        DIGITS,
    ),
    "volumes": (
        VAETransformer(2, network=ConvNetwork((4, 4, 4, 1), filters=(2,)), init="random"),
        DIGITS,
    ),
    "feature-maps": (AutoencoderTransformer(None, network=CONV), IMAGES),
    "series": (
        AutoencoderTransformer(2, network=SequenceNetwork((8, 8), units=3)),
        SERIES,
    ),
    "series-both-ways": (
        AutoencoderTransformer(
            2,
            network=SequenceNetwork((8, 8), units=3, bidirectional=True, cell="gru"),
            init="random",
        ),
        SERIES,
    ),
    "holes": (DenoisingAutoencoder(2, network=DENSE), HOLES),
    "counts": (
        VAETransformer(2, network=DENSE, likelihood="negative_binomial", init="random"),
        COUNTS,
    ),
    "by-column": (
        VAETransformer(
            2,
            network=DENSE,
            likelihood=[
                ("poisson", slice(0, 4)),
                ("gaussian_diag", [4, 5]),
                ("bernoulli", [6, 7]),
                ("categorical", [8, 9, 10]),
            ],
        ),
        MIXED,
    ),
    "custom": (
        AutoencoderTransformer(2, network=CustomNetwork(body, way_back), init="random"),
        DIGITS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_method_gives_the_same(name):
    if name == "custom" and keras.backend.backend() == "jax":
        pytest.skip("Keras' SimpleRNN knows no float64 on JAX")
    estimator, X = CASES[name]
    estimator.set_params(max_iter=1, early_stopping=False, random_state=0)
    codes = estimator.fit_transform(X)
    for method, given in (("reconstruct", X), ("inverse_transform", codes)):
        served = session(estimator, given, method=method)
        assert_same(served, given, getattr(estimator, method)(given))
    for given in (X, X.astype(np.float32)):
        assert_same(session(estimator, given), given, estimator.transform(given))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations(dtype, keras_in_float64):
    """All in a model, side by side."""
    from keras import Input, Model, layers

    from skae.onnx._activations import ACTIVATIONS
    from skae.onnx._layers import walked
    from skae.onnx._nodes import Nodes, Value

    x = Input((4,), dtype=dtype)
    parts = [layers.Activation(name, dtype=dtype)(x) for name in ACTIVATIONS]
    model = Model(x, layers.Concatenate(axis=0, dtype=dtype)(parts))
    given = np.linspace(-7, 7, 40, dtype=dtype).reshape(-1, 4)
    names = (f"value_{i}" for i in itertools.count())
    nodes = Nodes(dtype, lambda kind: next(names))
    (y,) = walked(nodes, model, Value("X"))
    graph = nodes.graph("activations", [(y, dtype)], [(Value("X", (None, 4)), dtype)])
    opset = onnx.helper.make_opsetid("", OLDEST_OPSET)
    written = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    (found,) = onnxruntime.InferenceSession(written.SerializeToString()).run(
        None, {"X": given}
    )
    found, wanted = (y.reshape(len(parts), -1) for y in (found, np.asarray(model(given))))
    for name, *both in zip(ACTIVATIONS, found, wanted, strict=True):
        assert_allclose(*both, rtol=1e-5, atol=1e-6, err_msg=name)


LONELY = """if True:
    import sys, resource
    for name in ("tensorflow", "keras", "skae", "sklearn", "skl2onnx", "onnx"):
        sys.modules[name] = None
    import numpy as np
    from onnxruntime import InferenceSession
    model, rows, codes = sys.argv[1:]
    (found,) = InferenceSession(model).run(None, {"X": np.load(rows)})
    np.save(codes, found)
    loaded = [name for name, module in sys.modules.items() if module is not None]
    assert not {"tensorflow", "keras", "skae"} & {name.split(".")[0] for name in loaded}
"""


def test_a_process_without_tensorflow_or_skae_serves_a_pipeline(tmp_path):
    X = DIGITS.astype(np.float32)
    autoencoder = AutoencoderTransformer(2, max_iter=1, random_state=0)
    pipeline = make_pipeline(StandardScaler(), autoencoder).fit(X)
    model, rows, codes = (tmp_path / name for name in ("m.onnx", "X.npy", "Z.npy"))
    model.write_bytes(skl2onnx.to_onnx(pipeline, X[:1]).SerializeToString())
    np.save(rows, X)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LONELY, model, rows, codes],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    wanted = pipeline.transform(X)
    assert_allclose(np.load(codes), wanted, rtol=0, atol=1e-5 * wanted.std())


@pytest.fixture(scope="module")
def pooled():
    """Without a linear start, which would tell what to expect where a value is missing."""
    estimator = AutoencoderTransformer(None, network=CONV, max_iter=0, random_state=0)
    return estimator.fit(DIGITS.astype(np.float32))


def test_a_missing_value_that_nothing_is_known_of_gives_nan(pooled):
    X = DIGITS[:8].astype(np.float32)
    served = session(pooled, X)
    for i in range(8):  # max-pooling forgets some
        X[i, i] = np.nan
    X[3, 3] = 0
    (found,) = served.run(None, {"X": X})
    assert np.isnan(found).all(axis=1).tolist() == [i != 3 for i in range(8)]


def test_integers_are_taken_as_float32(pooled):
    (found,) = session(pooled, np.ones((1, 64), int)).run(
        None, {"X": np.ones((1, 64), int)}
    )
    wanted = pooled.transform(np.ones((1, 64), np.float32))
    assert_allclose(found, wanted, atol=1e-5 * wanted.std())


@pytest.mark.parametrize(
    ("estimator", "X", "kwargs", "error", "message"),
    [
        (None, DIGITS[:, :5], {}, ValueError, r"rows of shape \(None, 64\). Got .*5"),
        (None, DIGITS, {"target_opset": 16}, ValueError, "at least 17. Got 16"),
        (AutoencoderTransformer(), DIGITS, {}, NotFittedError, "not fitted"),
    ],
)
def test_what_cannot_be_declared_is_refused(pooled, estimator, X, kwargs, error, message):
    with pytest.raises(error, match=message):
        skl2onnx.to_onnx(estimator or pooled, X[:1], **kwargs)


def square(x):
    return x * x


def wave(x):
    from keras import ops

    return ops.sin(x)


def attentive(x):
    from keras import layers

    y = layers.Reshape((8, 8))(x)
    return layers.Flatten()(layers.Attention(name="looks")([y, y]))


def masked(x):
    from keras import layers, ops

    y = layers.Reshape((8, 8))(x)
    return layers.GRU(3, name="reads")(
        y, mask=ops.logical_not(ops.all(ops.isnan(y), axis=-1))
    )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (DenseNetwork((4,), activation=square), "'encoder_activation_0'.*'square'"),
        (CustomNetwork(wave, wave), "'sin', of the class Sin, has no conversion"),
        (CustomNetwork(attentive, wave), "'looks', of the class Attention"),
        (CustomNetwork(masked, wave), "'reads', of the class GRU, is given a mask"),
    ],
    ids=["activation", "operation", "layer", "mask"],
)
def test_an_unknown_layer_is_refused_by_name(network, message):
    X = DIGITS.astype(np.float32)
    estimator = AutoencoderTransformer(2, network=network, init="random", max_iter=0)
    with pytest.raises(ValueError, match=message):
        skl2onnx.to_onnx(estimator.fit(X), X[:1])


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'skae\[onnx\]'"):
        register_converters()


@pytest.mark.slow
def test_a_backend_that_has_no_program_is_refused_by_name(tmp_path):
    model = AutoencoderTransformer(2, max_iter=0).fit(DIGITS)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    script = """
import pickle
import numpy as np
from skl2onnx import to_onnx
from skae.onnx import register_converters
register_converters()
with open("model.pickle", "rb") as file:
    model = pickle.load(file)
try:
    to_onnx(model, np.zeros((1, 64)))
except ImportError as error:
    print(error)
"""
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("skae runs on Keras' backends 'tensorflow' and 'jax'")
