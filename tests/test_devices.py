"""A fit over several devices is the fit on one of them, but for rounding."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="TensorFlow's strategies"
    ),
]

HEAD = """
import json, sys, threading, warnings
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
logical = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
tf.config.set_logical_device_configuration(cpu, logical)
import keras, numpy as np
from keras import layers
from sklearn.datasets import load_digits
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._backend import pool
from skae.networks import ConvNetwork, CustomNetwork, DenseNetwork, SequenceNetwork
warnings.simplefilter("ignore")
X = load_digits().data[:300] / 16
holes = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
weight = np.random.default_rng(1).random(300)
small = DenseNetwork(hidden_layer_sizes=(16,))
flat, folded = {"network": small}, {"n_components": None}
models = {
    "autoencoder": (AutoencoderTransformer(4, **flat), X, {}),
    "float32, weighted": (AutoencoderTransformer(4, **flat), X.astype("f"),
        {"sample_weight": weight}),
    "holes, alpha": (AutoencoderTransformer(4, alpha=0.1, **flat), holes, {}),
    "denoiser": (DenoisingAutoencoder(4, **flat), X, {}),
    "masking": (DenoisingAutoencoder(4, noise="masking", **flat), X, {}),
    "VAE": (VAETransformer(4, **flat), X, {}),
    "VAE, holes": (VAETransformer(4, **flat), holes, {}),
    "sparse": (AutoencoderTransformer(8, code_activation="relu", activity_l1=1e-2,
        init="random", **flat), X, {}),
    "convolutional": (AutoencoderTransformer(None,
        network=ConvNetwork(input_shape=(8, 8, 1), filters=(2,))), X, {}),
    "sequence": (AutoencoderTransformer(4,
        network=SequenceNetwork(input_shape=(8, 8), units=4)), X, {}),
    "clipped": (AutoencoderTransformer(4, optimizer=keras.optimizers.SGD(1e-3,
        clipnorm=0.1), **flat), X, {}),
    "by XLA": (AutoencoderTransformer(4, batch_size=6, **flat), X, {}),
}
names = [f"CPU:{i}" for i in range(int(sys.argv[1]))]
# without collective operations, of which fits in two threads would mix up theirs
reduction = tf.distribute.ReductionToOneDevice()
strategy = tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)
DenseNetwork.jit_work = 18_000  # which the last alone reaches
def fit(name, strategy=strategy):
    model, rows, beside = models[name]
    model.set_params(max_iter=4, n_splits=1, shuffle=True, random_state=0)
    with strategy.scope():
        model.fit(rows, **beside)
    return [model.history_["loss"], model.history_["val_loss"]]
"""

ALL = """
found = {name: fit(name) for name in models if name != "clipped"}  # which is refused
found["parts"] = [p.n_parts for p in pool.programs.items.values()]
found["XLA"] = [p.jit_compile for p in pool.programs.items.values()]
"""

TELL = """
print(json.dumps(found))
"""


def run(script, n_devices):
    command = [sys.executable, "-c", script, str(n_devices)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


THREADS = """
pool.programs.items.clear()
sides = {}
alone = {name: fit(name) for name in ("autoencoder", "VAE", "denoiser")}
def keep(name):
    sides[name] = fit(name)
threads = [threading.Thread(target=keep, args=[name]) for name in alone]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert sides == alone, (sides, alone)
def encode(x):
    x = layers.BatchNormalization()(layers.Dense(8, activation="relu")(x))
    return layers.Dropout(0.2)(x)
def decode(z):
    return layers.Dense(8, activation="relu")(z)
def noise(x, seed):
    return x + keras.random.normal(keras.ops.shape(x), seed=seed)
own = DenoisingAutoencoder(
    4, network=CustomNetwork(encode, decode), noise=noise, max_iter=3, random_state=0
)
own.fit(X).partial_fit(X)
assert own.score(X) > DenoisingAutoencoder(4, noise=noise, max_iter=0).fit(X).score(X) * 3
found["again"] = own.history_["loss"] == own.fit(X).history_["loss"] + [0]
"""

SCOPES = """
pool.programs.items.clear()
def parts(strategy, name="autoencoder"):
    return fit(name, strategy), [*pool.programs.items.values()][-1].n_parts
alone = parts(tf.distribute.OneDeviceStrategy("CPU:0"))
assert alone[1] == 1, alone
assert parts(tf.distribute.MirroredStrategy(["CPU:1"])) == alone
several, n_parts = parts(tf.distribute.MirroredStrategy(["CPU:0", "CPU:2"]))
assert n_parts == 2
np.testing.assert_allclose(several, alone[0], rtol=2e-4)
refusals = found["refusals"] = {}
def refused(strategy, name, batch_size="auto"):
    try:
        with strategy.scope():
            models[name][0].set_params(batch_size=batch_size).fit(X)
    except ValueError as error:
        refusals[name] = str(error)
three = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1", "CPU:2"])
refused(three, "clipped")
refused(three, "denoiser", 2)
refused(tf.distribute.MultiWorkerMirroredStrategy(), "VAE")
"""


@pytest.fixture(scope="module")
def of_devices():
    """What processes with one, two and three devices find."""
    return {
        1: run(HEAD + ALL + TELL, 1),
        2: run(HEAD + ALL + THREADS + TELL, 2),
        3: run(HEAD + ALL + SCOPES + TELL, 3),
    }


@pytest.mark.parametrize("n_devices", [2, 3])  # 32 rows in parts of 16, and of 10 and 11
def test_losses_do_not_depend_on_the_number_of_devices(of_devices, n_devices):
    alone, several = of_devices[1], of_devices[n_devices]
    assert set(several["parts"]) == {n_devices}
    assert set(alone["parts"]) == {1}
    assert several["XLA"] == alone["XLA"]
    assert sum(alone["XLA"]) == 1
    names = alone.keys() - {"parts", "XLA"}
    for name in names:
        np.testing.assert_allclose(several[name], alone[name], rtol=2e-4, err_msg=name)
    some = [np.array_equal(several[name], alone[name]) for name in names]
    assert not all(some)  # the sums were taken in parts


def test_fits_over_several_devices_may_be_in_threads_and_have_layers_of_ones_own(
    of_devices,
):
    assert "again" in of_devices[2]


def test_the_scope_of_a_strategy_names_the_devices(of_devices):
    found = of_devices[3]["refusals"]
    assert found["VAE"].startswith("fit spreads rows over the devices of one machine")
    assert found["VAE"].endswith("Got that of CollectiveAllReduceStrategy.")
    assert found["denoiser"].startswith("batch_size must be at least the number of devic")
    assert found["denoiser"].endswith("fit is called, 3. Got 2.")
    assert found["clipped"].startswith("optimizer must not have clipnorm")
