"""Settings of Keras' and TensorFlow's that hold for a whole process change nothing."""

import subprocess
import sys

import keras
import pytest

SETTINGS = {
    "channels_first": "keras.config.set_image_data_format('channels_first')",
    "mixed_float16": "keras.config.set_dtype_policy('mixed_float16')",
    "float64": "keras.config.set_floatx('float64')",
    "check_numerics": "tf.debugging.enable_check_numerics()",
    "numpy_behavior": "tf.experimental.numpy.experimental_enable_numpy_behavior()",
    "eager": "tf.config.run_functions_eagerly(True)",
    "determinism": "tf.config.experimental.enable_op_determinism()",
}

SCRIPT = """
import warnings
import keras, tensorflow as tf
import numpy as np
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
warnings.simplefilter("ignore")
X = np.random.default_rng(0).standard_normal((60, 16))
networks = [
    DenseNetwork(hidden_layer_sizes=(4,)),
    ConvNetwork(input_shape=(4, 4, 1), filters=(2,)),
    SequenceNetwork(input_shape=(4, 4), units=2),
]
kinds = [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]
def shown():
    return [
        kind(2, network=network, max_iter=2, init="random", random_state=0).fit(X).score(X)
        for kind, network in zip(kinds, networks, strict=True)
    ]
before = shown()
from skae._backend import inference, pool
pool.programs.items.clear(); inference.kept_inference.items.clear()
{setting}
np.testing.assert_allclose(shown(), before, rtol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="settings of TensorFlow's own"
)
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_setting_of_the_process_changes_no_fit(setting):
    script = SCRIPT.replace("{setting}", setting)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
