"""Settings of Keras' and TensorFlow's that hold for a whole process change nothing."""

import json
import subprocess
import sys

import keras
import pytest
from numpy.testing import assert_allclose

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="settings of TensorFlow's own"
    ),
]

#: How each is made and taken back; the last two can't be, and end the process.
SETTINGS = {
    "channels_first": (
        "keras.config.set_image_data_format('channels_first')",
        "keras.config.set_image_data_format('channels_last')",
    ),
    "mixed_float16": (
        "keras.config.set_dtype_policy('mixed_float16')",
        "keras.config.set_dtype_policy('float32')",
    ),
    "float64": (
        "keras.config.set_floatx('float64')",
        "keras.config.set_floatx('float32')",
    ),
    "check_numerics": (
        "tf.debugging.enable_check_numerics()",
        "tf.debugging.disable_check_numerics()",
    ),
    "eager": (
        "tf.config.run_functions_eagerly(True)",
        "tf.config.run_functions_eagerly(False)",
    ),
    "numpy_behavior": (
        "tf.experimental.numpy.experimental_enable_numpy_behavior()",
        "",
    ),
    "determinism": ("tf.config.experimental.enable_op_determinism()", ""),
}

SCRIPT = """
import json, sys, warnings
import keras, tensorflow as tf
import numpy as np
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._backend import inference, pool
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
warnings.simplefilter("ignore")
X = np.random.default_rng(0).standard_normal((60, 16))
networks = [
    DenseNetwork(hidden_layer_sizes=(4,)),
    ConvNetwork(input_shape=(4, 4, 1), filters=(2,)),
    SequenceNetwork(input_shape=(4, 4), units=2),
]
kinds = [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]
def scores():
    pool.programs.items.clear(); inference.kept_inference.items.clear()
    return [
        kind(2, network=network, max_iter=2, init="random", random_state=0).fit(X).score(X)
        for kind, network in zip(kinds, networks, strict=True)
    ]
found = {"none": scores()}
for name, (make, take_back) in json.loads(sys.argv[1]).items():
    exec(make)
    try:
        found[name] = scores()
    except Exception as error:
        found[name] = repr(error)
    exec(take_back)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    """The scores with each setting, of one process that makes them in turn."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(SETTINGS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_the_process_changes_no_fit(setting, found):
    assert not isinstance(found[setting], str), found[setting]
    assert_allclose(found[setting], found["none"], rtol=1e-5)
