"""Keras models of a fit that leave the process: saved, exported, at a checkpoint."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import (
    ConvNetwork,
    CustomNetwork,
    DenseNetwork,
    SequenceNetwork,
)

DIGITS = load_digits().data[:90] + 1000  # far from zero, in standard deviations
IMAGES = DIGITS.reshape(-1, 8, 8)
SERIES = IMAGES.copy()
SERIES[::3, 6:] = np.nan


def body(x):
    from keras import layers

    return layers.Dense(5, activation="relu")(layers.Dropout(0.1)(x))


CASES = {
    "dense": (AutoencoderTransformer(2, network=DenseNetwork((6,))), DIGITS),
    "whitened": (
        AutoencoderTransformer(
            2, network=DenseNetwork((6,), batch_normalization=True), whiten=True
        ),
        DIGITS,
    ),
    "conv": (
        AutoencoderTransformer(2, network=ConvNetwork((8, 8, 1), filters=(2, 3))),
        IMAGES,
    ),
    "conv-code": (
        AutoencoderTransformer(
            None, network=ConvNetwork((16, 4), filters=(2,), downsampling="strides")
        ),
        DIGITS,
    ),
    "conv-3d": (
        VAETransformer(2, network=ConvNetwork((4, 4, 4, 1), filters=(2,))),
        DIGITS,
    ),
    "sequence": (
        AutoencoderTransformer(2, network=SequenceNetwork((8, 8), units=3)),
        SERIES,
    ),
    "sequence-both-ways": (
        AutoencoderTransformer(
            2,
            network=SequenceNetwork((8, 8), units=3, bidirectional=True, cell="gru"),
            init="random",
        ),
        SERIES,
    ),
    "vae": (
        VAETransformer(2, network=DenseNetwork((6,)), likelihood="gaussian_diag"),
        DIGITS * [0, *np.ones(62), 1e-9],  # a constant feature, and a tiny one
    ),
    "custom": (
        DenoisingAutoencoder(2, network=CustomNetwork(body, body, jit_compile=False)),
        DIGITS,
    ),
    "bernoulli": (
        VAETransformer(2, network=DenseNetwork((6,)), likelihood="bernoulli"),
        (DIGITS - 1000) / 16,
    ),
}


def run(script, *args):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, args)],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


#: A fresh process in which skae can't be imported.
LOAD = """if True:
    import sys, warnings
    from pathlib import Path
    import numpy as np
    sys.modules["skae"] = None
    warnings.filterwarnings("ignore", "__array__ implementation")
    import keras
    folder = Path(sys.argv[1])
    for path in folder.glob("*.keras"):
        model = keras.models.load_model(path)
        given = np.load(path.with_suffix(".given.npy"))
        np.save(path.with_suffix(".kept.npy"), np.asarray(model(given)))
        if path.with_suffix("").exists():
            import tensorflow as tf
            exported = tf.saved_model.load(path.with_suffix(""))
            np.save(path.with_suffix(".served.npy"), exported.serve(given).numpy())
"""


#: In float32, where the layers are the same, one of each kind is enough.
SINGLE = ["dense", "conv", "sequence"]
EXPORTED = [*SINGLE, "custom"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "names", "tolerance"),
    [("float32", SINGLE, 2e-3), ("float64", [*CASES], 1e-10)],
)
def test_models_load_without_skae(
    tmp_path, without_xla, dtype, names, tolerance, keras_in_float64
):
    wanted = {}
    for name in names:
        estimator, X = CASES[name]
        X = X.astype(dtype)
        estimator = clone(estimator).set_params(max_iter=2, random_state=0).fit(X)
        codes = estimator.transform(X)
        rows = estimator.inverse_transform(codes)
        models = {"autoencoder": (X, rows)}
        if name in SINGLE:
            models |= {"encoder": (X, codes), "decoder": (codes, rows)}
        for side, (given, wanted_of_it) in models.items():
            path = tmp_path / f"{name}-{side}.keras"
            model = getattr(estimator, f"{side}_")
            model.save(path)
            if name in EXPORTED and keras.backend.backend() == "tensorflow":
                model.export(path.with_suffix(""), verbose=False)
            np.save(path.with_suffix(".given.npy"), given)
            wanted[path] = wanted_of_it
    run(LOAD, tmp_path)
    for path, expected in wanted.items():
        for kind in ("kept", "served")[: 1 + path.with_suffix("").exists()]:
            found = np.load(path.with_suffix(f".{kind}.npy"))
            assert found.dtype == dtype
            assert found.shape == expected.shape
            some = tolerance
            if "whitened" in path.name and keras.backend.backend() != "tensorflow":
                some = 1e-6  # Keras' BatchNormalization computes in float32 on JAX
            assert_allclose(found, expected, rtol=0, atol=some, err_msg=path.name)


@pytest.mark.slow
def test_a_checkpoint_loads_without_skae(tmp_path, without_xla):
    import keras

    path, X = tmp_path / "best.keras", DIGITS.astype(np.float32)
    estimator = AutoencoderTransformer(
        2,
        network=DenseNetwork((6,)),
        max_iter=3,
        early_stopping=False,
        random_state=0,
        callbacks=[keras.callbacks.ModelCheckpoint(path)],
    ).fit(X)
    np.save(path.with_suffix(".given.npy"), X)
    run(LOAD, tmp_path)
    found = np.load(path.with_suffix(".kept.npy"))
    assert_allclose(found, estimator.reconstruct(X), atol=2e-3)


def test_layers_have_names_of_their_own(without_xla):
    fitted = AutoencoderTransformer(
        2, network=SequenceNetwork((8, 8), units=3), max_iter=0
    ).fit(SERIES)
    names = [[layer.name for layer in model.layers] for model in
             (fitted.encoder_, fitted.decoder_, fitted.autoencoder_)]  # fmt: skip
    assert [" ".join(some) for some in names] == [
        "rows flatten standardize standardize_scale encoder_network rotate",
        "code rotate_back decoder_network output_activation unstandardize unflatten",
        "rows encoder decoder",
    ]
    assert not any(v.trainable for v in fitted.encoder_.get_layer("rotate").variables)


def test_a_convolution_with_one_filter_is_saved_as_a_convolution():
    from keras import layers, saving

    from skae.networks import _layers

    for n in (1, 2, 3):
        ours = getattr(_layers, f"OneFilterConv{n}D")(1, kernel_size=3, padding="same")
        again = saving.deserialize_keras_object(saving.serialize_keras_object(ours))
        assert type(again) is getattr(layers, f"Conv{n}D")


LITE = """
import json, sys
import numpy as np, tensorflow as tf
assert "skae" not in sys.modules
for name in json.loads(sys.argv[1]):
    x, expected = np.load(f"{name}_x.npy"), np.load(f"{name}_expected.npy")
    lite = tf.lite.Interpreter(model_path=f"{name}.tflite")
    (given,), (found,) = lite.get_input_details(), lite.get_output_details()
    lite.resize_tensor_input(given["index"], x.shape)
    lite.allocate_tensors()
    lite.set_tensor(given["index"], x.astype(np.float32))
    lite.invoke()
    found = lite.get_tensor(found["index"])
    np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)
"""


def in_float32(model, path):
    model.save_weights(path)
    text = model.to_json().replace("float64", "float32")
    copy = keras.models.model_from_json(text.replace('"unroll": false', '"unroll": true'))
    copy.load_weights(path)
    return copy


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow writes LiteRT's files"
)
def test_models_run_on_litert(tmp_path):
    """All three of fits to float32 rows, and encoders of fits to float64 rows."""
    rows = load_digits().data[:90] / 16
    images, series = rows.reshape(-1, 8, 8, 1), rows.reshape(-1, 8, 8)
    conv = ConvNetwork((8, 8, 1), filters=(2, 3))
    models = {
        "dense": (AutoencoderTransformer(2), rows),
        "conv": (AutoencoderTransformer(None, network=conv), images),
        "vae": (VAETransformer(2), rows),
        "series": (AutoencoderTransformer(2, network=SequenceNetwork((8, 8))), series),
    }
    names = []
    for kind, (model, X) in models.items():
        for dtype in ("float32", "float64"):
            model.set_params(max_iter=1, random_state=0).fit(X.astype(dtype))
            inputs = X[:5].astype(dtype)
            files = {"encoder": (model.encoder_, inputs, model.transform(inputs))}
            if dtype == "float32" and kind != "series":
                codes = files["encoder"][2]
                decoded = model.inverse_transform(codes)
                files["decoder"] = (model.decoder_, codes, decoded)
                files["autoencoder"] = (model.autoencoder_, inputs, decoded)
            for part, (keras_model, x, expected) in files.items():
                name = f"{kind}-{dtype}-{part}"
                if dtype == "float64" or kind == "series":
                    keras_model = in_float32(keras_model, tmp_path / f"{name}.weights.h5")
                path = tmp_path / f"{name}.tflite"
                keras_model.export(path, format="litert", verbose=False)
                np.save(tmp_path / f"{name}_x.npy", x)
                np.save(tmp_path / f"{name}_expected.npy", expected)
                names.append(name)
    command = [sys.executable, "-c", LITE, json.dumps(names)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
