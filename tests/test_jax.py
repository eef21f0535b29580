"""Keras on JAX: what the fits of a fresh process promise, next to TensorFlow's here."""

import json
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork

pytest.importorskip("jax")
pytestmark = pytest.mark.slow

X = load_digits().data[:400]
KINDS = [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]

PRELUDE = """
import json, pickle, sys, warnings
from pathlib import Path
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
import skae
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
warnings.simplefilter("ignore")
folder, X, SMALL = Path(sys.argv[1]), load_digits().data[:400], DenseNetwork((16,))
kinds = [skae.AutoencoderTransformer, skae.DenoisingAutoencoder, skae.VAETransformer]
"""


def on_jax(folder, script):
    """What a script in a process of its own prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(folder)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


#: What one process is asked, in turn; the last leaves a setting of JAX's behind.
QUESTIONS = """
import traceback

def fits():
    found = {}
    for kind in kinds:
        start = kind(4, network=SMALL, max_iter=0, random_state=0).fit(X)
        some = {"network": SMALL, "max_iter": 5, "n_splits": 1, "random_state": 0}
        one, other = (kind(4, **some).fit(X) for _ in range(2))
        name = kind.__name__
        one.save(folder / f"{name}.skae")
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(one))
        np.save(folder / f"{name}.npy", one.transform(X))
        pca = PCA(4).fit(X)
        found[name] = {
            "start": start.score(X),
            "pca": float(abs(start.transform(X) - pca.transform(X)).max()),
            "likelihood": pca.score(X),
            "trained": one.score(X),
            "same": one.transform(X).tobytes() == other.transform(X).tobytes(),
            "narrow": str(one.transform(X.astype("f")).dtype),
        }
    found["tensorflow"] = "tensorflow" in sys.modules
    import jax
    found["x64"] = jax.config.jax_enable_x64
    return found

def of_tensorflow():
    found = []
    for kind in kinds:
        model = skae.load(folder / f"{kind.__name__}-tensorflow.skae")
        codes = np.load(folder / f"{kind.__name__}-tensorflow.npy")
        error = float(abs(model.transform(X) - codes).max())
        found.append([error, model.score(X), model.partial_fit(X).score(X)])
    return found

def rows():
    from skae._backend.inference import kept_inference
    kept_inference.items.clear()
    holes = X.copy()
    holes[::7, 3:9] = np.nan
    model = skae.VAETransformer(4, network=SMALL, max_iter=3, random_state=0).fit(holes)
    worst = 0.0
    for method in (model.transform, model.score_samples, model.score_features):
        whole = method(holes)
        for n in (1, 2, 15, 16, 17, 100, 399):
            worst = max(worst, float(abs(method(holes[:n]) / whole[:n] - 1).max()))
    (inference,) = kept_inference.items.values()
    sizes = inference.concrete("encode")._cache_size()
    rng = np.random.default_rng(0)  # in float32, of which XLA has got sums wrong
    many = np.tanh(rng.normal(size=(1024, 3)) @ rng.normal(size=(3, 12)))
    many = (many + 0.1 * rng.normal(size=many.shape)).astype("f")
    model = skae.VAETransformer(3, network=SMALL, max_iter=2, random_state=0).fit(many)
    narrow = model.score_features(many), model.score_features(many[:16])
    narrow = float(abs(narrow[0][:16] - narrow[1]).max())
    return [worst, sizes, narrow]

def networks():
    import keras
    from skae.networks import CustomNetwork
    def encode(x):
        x = keras.layers.Dropout(0.1)(keras.layers.Dense(16)(x))
        x = keras.layers.BatchNormalization()(x)
        return keras.layers.ActivityRegularization(l2=1e-3)(x)
    networks = [
        CustomNetwork(encode, lambda z: keras.layers.Dense(16)(z)),
        ConvNetwork(input_shape=(8, 8, 1), filters=(4, 4)),
        SequenceNetwork(input_shape=(8, 8), units=8),
    ]
    found = []
    for network in networks:
        some = {"network": network, "n_splits": 1, "max_iter": 3, "random_state": 0}
        model = skae.AutoencoderTransformer(4, init="random", **some).fit(X)
        statistics = [
            float(abs(value).max())
            for path, value in model._state.weights.items()
            if path.endswith("moving_mean")
        ]
        found.append([model.loss_curve_[0], model.loss_curve_[-1], statistics])
    return found

def precision():
    import jax, keras
    seen = set()
    def spy(x):
        seen.add(jax.config.jax_default_matmul_precision)
        return keras.ops.tanh(x)
    def wishes(call, *arguments):
        seen.clear()
        call(*arguments)
        return sorted(map(str, seen))
    rows = X.astype("f")
    network = DenseNetwork((16,), activation=spy)
    model = skae.AutoencoderTransformer(4, network=network, max_iter=1)
    found = [wishes(model.fit, rows), wishes(model.transform, rows[:100])]
    jax.config.update("jax_default_matmul_precision", "bfloat16")
    found.append(wishes(model.transform, rows[:100]))
    return found

found = {}
for question in (fits, of_tensorflow, rows, networks, precision):
    try:
        found[question.__name__] = question()
    except Exception:
        found[question.__name__] = traceback.format_exc()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of fits: those on TensorFlow, and, once it has answered, those on JAX."""
    folder = tmp_path_factory.mktemp("jax")
    for kind in KINDS:
        model = kind(4, network=DenseNetwork((16,)), random_state=0)
        for _ in range(2):
            model.partial_fit(X)
        model.save(folder / f"{kind.__name__}-tensorflow.skae")
        np.save(folder / f"{kind.__name__}-tensorflow.npy", model.transform(X))
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    return on_jax(folder, QUESTIONS)


@pytest.fixture
def answer(answers):
    """The answer to a question, or what went wrong there."""

    def answer(question):
        found = answers[question]
        assert not isinstance(found, str), found
        return found

    return answer


def test_tensorflow_is_not_imported_and_no_setting_of_jax_changes(answer):
    assert not answer("fits")["tensorflow"]
    assert not answer("fits")["x64"]


def test_it_starts_at_pca_exactly(answer):
    assert answer("fits")["AutoencoderTransformer"]["pca"] < 1e-9
    of_vae = answer("fits")["VAETransformer"]
    assert_allclose(of_vae["start"], of_vae["likelihood"], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_better_and_the_same_again(answer, kind):
    found = answer("fits")[kind.__name__]
    assert found["trained"] > found["start"]
    assert found["same"]
    assert found["narrow"] == "float32"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_on_jax_gives_the_same_codes_on_tensorflow(answer, folder, kind):
    assert kind.__name__ in answer("fits")
    codes = np.load(folder / f"{kind.__name__}.npy")
    loaded = skae.load(folder / f"{kind.__name__}.skae")
    pickled = pickle.loads((folder / f"{kind.__name__}.pickle").read_bytes())
    assert codes.dtype == np.float64
    assert_allclose(
        loaded.transform(X), codes, atol=1e-7
    )  # gelu: TensorFlow rounds sqrt(2)
    assert_array_equal(loaded.transform(X), pickled.transform(X))


def test_a_fit_on_tensorflow_gives_the_same_codes_on_jax_and_goes_on_there(answer):
    for error, before, after in answer("of_tensorflow"):
        assert error < 1e-7
        assert np.isfinite(after)
        assert after > before - 0.1 * abs(before)


def test_rows_do_not_depend_on_their_number(answer):
    """Numbers of rows are rounded up to few, and what is added changes nothing."""
    worst, sizes, narrow = answer("rows")
    assert worst < 1e-6
    assert narrow < 1e-3
    assert sizes <= 6  # 16, 32, 64, 128, 256, 512


def test_layers_that_change_as_they_train_and_networks_of_all_kinds(answer):
    found = answer("networks")
    assert all(last < first for first, last, _ in found)
    assert found[0][2][0] > 0


def test_all_digits_of_products_are_asked_for_where_codes_and_losses_are_computed(answer):
    """A GPU computes three of them otherwise; here the wish is all that can be seen."""
    of_fit, of_transform, when_set = answer("precision")
    assert of_fit == ["None", "highest"]  # training is left alone, validation is not
    assert of_transform == ["highest"]
    assert when_set == ["bfloat16"]


def test_without_jax_the_error_says_how_to_install_it(tmp_path):
    found = on_jax(
        tmp_path,
        """
        sys.modules["jax"] = None  # as if it were not there
        try:
            skae.AutoencoderTransformer().fit(X)
        except ImportError as error:
            print(json.dumps(str(error)))
        """,
    )
    assert "`pip install jax`" in found


def test_mixed_tables_have_the_values_of_tensorflow():
    """The tests of tables that compute values by hand, in a process of JAX."""
    tables = os.path.join(os.path.dirname(__file__), "test_tables.py")
    options = ["-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    chosen = "famd or balanced_loss or nats_of_each or clean_rows or keeps_classes"
    done = subprocess.run(
        [sys.executable, *options, tables, "-k", chosen],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
