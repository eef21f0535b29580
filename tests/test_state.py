"""State: plain arrays that pickle to the same bytes and give the same bits anywhere."""

import functools
import inspect
import io
import pickle
import pickletools
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer
from skae.networks import CustomNetwork, DenseNetwork
from skae.networks._custom import _StoredModel

X = load_digits(return_X_y=True)[0]


@functools.cache
def fitted_with(code_activation):
    return AutoencoderTransformer(
        5,
        network=DenseNetwork((16,), batch_normalization=True),
        code_activation=code_activation,
        max_iter=3,
        random_state=0,
    ).fit(X)


@pytest.fixture(params=["linear", "relu"])
def fitted(request):
    return fitted_with(request.param)


@pytest.mark.parametrize(
    "copied",
    [
        lambda estimator, path: joblib.load(joblib.dump(estimator, path)[0]),
        lambda estimator, path: joblib.load(
            joblib.dump(estimator, path)[0], mmap_mode="r"
        ),
    ],
    ids=["joblib", "memory map"],
)
def test_copies_give_the_same_bits(fitted, copied, tmp_path, keras_in_float64):
    expected = fitted.transform(X)
    other = copied(fitted, tmp_path / "fitted.joblib")
    assert_array_equal(other.transform(X), expected)
    assert_array_equal(other.reconstruct(X), fitted.reconstruct(X))
    assert_array_equal(other.encoder_(X), fitted.encoder_(X))


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_bits(tmp_path):
    path, fits = tmp_path / "fitted.pickle", [fitted_with("linear"), fitted_with("relu")]
    path.write_bytes(pickle.dumps(fits))
    script = (
        "import pickle, sys\n"
        "from sklearn.datasets import load_digits\n"
        f"fits = pickle.load(open({str(path)!r}, 'rb'))\n"
        "assert 'keras' not in sys.modules\n"
        "X = load_digits(return_X_y=True)[0]\n"
        "for fitted in fits:\n"
        "    sys.stdout.buffer.write(fitted.transform(X).tobytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"".join(fitted.transform(X).tobytes() for fitted in fits)


def test_pickles_are_byte_equal_and_hold_nothing_of_keras(fitted):
    first = pickle.dumps(fitted)
    fitted.transform(X), fitted.autoencoder_
    assert pickle.dumps(fitted) == first
    names = [str(arg) for _, arg, _ in pickletools.genops(first) if isinstance(arg, str)]
    modules = {name.split(".")[0] for name in names}
    assert not modules & {"keras", "tensorflow"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_keras_models_agree_with_the_methods(dtype, keras_in_float64):
    import keras

    rows = X.astype(dtype)
    skae = AutoencoderTransformer(4, max_iter=3, random_state=0).fit(rows)
    codes = skae.transform(rows)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    assert isinstance(skae.encoder_, keras.Model)
    assert_allclose(skae.encoder_(rows), codes, atol=tolerance)
    assert_allclose(skae.decoder_(codes), skae.inverse_transform(codes), atol=tolerance)
    assert_allclose(skae.autoencoder_(rows), skae.reconstruct(rows), atol=tolerance)


def test_a_keras_model_can_be_saved_and_loaded_safely(fitted, tmp_path, keras_in_float64):
    import keras

    path = tmp_path / "autoencoder.keras"
    fitted.autoencoder_.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    # Keras' BatchNormalization computes in float32 on JAX
    exact = keras.backend.backend() == "tensorflow"
    assert_allclose(loaded(X), fitted.reconstruct(X), atol=1e-10 if exact else 1e-5)


class Careful(pickle.Unpickler):
    """Takes nothing but arrays and estimators."""

    def find_class(self, module, name):
        assert module.split(".")[0] in {"skae", "sklearn", "numpy"}, (module, name)
        return super().find_class(module, name)


def test_unpickling_needs_no_code_but_arrays_and_estimators(fitted):
    Careful(io.BytesIO(pickle.dumps(fitted))).load()


@pytest.mark.slow
def test_no_code_in_a_pickle_runs_until_one_says_so(tmp_path):
    """A Lambda layer's code, which makes a file, comes as bytes in a configuration."""
    import keras

    mark, path = tmp_path / "mark", tmp_path / "fitted.pickle"
    code = eval(f"lambda x: (open({str(mark)!r}, 'w').close(), x)[1]")
    encoder = keras.Sequential([keras.layers.Lambda(code)])
    decoder = keras.Sequential([keras.layers.Dense(3)])
    network = CustomNetwork(encoder, decoder, jit_compile=False)
    fitted = AutoencoderTransformer(2, network=network, max_iter=0).fit(X)
    path.write_bytes(pickle.dumps(fitted))
    mark.unlink()
    script = f"""if True:
        import os, pickle, sys
        from sklearn.base import clone
        from sklearn.datasets import load_digits
        X = load_digits(return_X_y=True)[0]
        {textwrap.indent(inspect.getsource(Careful), " " * 8).strip()}
        fitted = Careful(open({str(path)!r}, "rb")).load()
        repr(fitted), fitted.get_params(), clone(fitted)
        assert not {{"keras", "tensorflow"}} & set(sys.modules)
        said = ""
        for use in (fitted.transform, clone(fitted).fit):
            try:
                use(X)
            except ValueError as error:
                said = str(error)
            assert "enable_unsafe_deserialization" in said
        assert not os.path.exists({str(mark)!r})
        import keras
        keras.config.enable_unsafe_deserialization()
        fitted.transform(X)
        assert os.path.exists({str(mark)!r})
        """
    subprocess.run([sys.executable, "-c", script], check=True)


def test_only_layers_take_part_in_a_stored_model():
    stored = _StoredModel('{"config": {"name": "body"}}', [], {"body": np.load})
    with pytest.raises(ValueError, match=r"body.*no Keras layer"):
        stored.restored()
