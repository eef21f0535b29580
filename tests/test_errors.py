"""Bad input: an error that names the parameter, what it wants and what it got."""

import warnings

import keras
import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._backend.pool import Program
from skae.networks import ConvNetwork, CustomNetwork, DenseNetwork, SequenceNetwork

X = np.random.default_rng(0).normal(size=(40, 6))
SMALL = DenseNetwork((8,))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (sparse.csr_array(np.where(X > 2, np.nan, X)), "NaN in sparse rows"),
        (np.where(X > 2, np.inf, X), "infinity"),
        (X[:0], "0 sample"),
        (X[:1], "1 sample"),
        (X[:, :0], "0 feature"),
        (np.full((4, 3), "a"), "could not convert string to float"),
        (X + 1j, "Complex data not supported"),
    ],
    ids=["NaN", "infinity", "empty", "one", "no feature", "strings", "complex"],
)
def test_rows_that_are_none(rows, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(network=SMALL).fit(rows)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"n_components": 1.5}, "n_components"),
        ({"network": "dense"}, "network"),
        ({"network": DenseNetwork(dropout=2)}, "dropout"),
        ({"network": DenseNetwork(hidden_layer_sizes=(0,))}, "hidden_layer_sizes"),
        ({"network": DenseNetwork(activation="nonsense")}, "nonsense"),
        ({"code_activation": "nonsense"}, "nonsense"),
        ({"loss": "mse"}, "loss"),
        ({"init": "best"}, "init"),
        ({"init": "linear", "code_activation": "relu"}, "dense, linear code"),
        ({"init": "linear", "n_components": None}, "dense, linear code"),
        ({"optimizer": "nonsense"}, "optimizer must be the name of a Keras optimizer"),
        ({"learning_rate_init": 0}, "learning_rate_init"),
        ({"batch_size": 0}, "batch_size"),
        ({"max_iter": -1}, "max_iter"),
        ({"validation_fraction": 0.0}, "validation_fraction=0.0 of 40 samples"),
        ({"validation_fraction": 0.99}, "validation_fraction=0.99 of 40 samples"),
        ({"callbacks": "all"}, "callbacks"),
    ],
    ids=str,
)
def test_parameters_that_are_none(parameters, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(**{"network": SMALL} | parameters).fit(X)


def test_data_outside_the_unit_interval():
    skae = AutoencoderTransformer(network=SMALL, loss="binary_crossentropy")
    with pytest.raises(ValueError, match=r"minimum is -.*maximum.*MinMaxScaler"):
        skae.fit(X)


def test_rows_and_codes_of_another_width():
    skae = AutoencoderTransformer(network=SMALL, max_iter=0).fit(X)
    with pytest.raises(ValueError, match=r"X has 5 features, but .* expecting 6"):
        skae.transform(X[:, :5])
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 2"):
        skae.inverse_transform(X[:, :3])
    with pytest.raises(ValueError, match="rows of shape"):
        skae.transform(X.reshape(40, 6, 1))


def test_constant_rows_are_reconstructed():
    rows = np.full((20, 3), 7.0)
    skae = AutoencoderTransformer(network=SMALL, max_iter=2, random_state=0).fit(rows)
    np.testing.assert_allclose(skae.reconstruct(rows), rows)
    assert np.isfinite(skae.explained_variance_ratio_).all()


# -- what Keras and TensorFlow would refuse in words of their own


def dense(x):
    return keras.layers.Dense(4)(x)


def nothing(x):
    return None


def convolution(x):
    return keras.layers.Conv2D(2, 3)(x)


def unlike_xla(x):
    """Its first layer has a size that depends on the values."""

    import tensorflow as tf

    def first(v):
        return v + tf.unique(tf.reshape(v, [-1]))[0][:1]

    return keras.layers.Lambda(first, output_shape=(6,))(x)


LAYER = keras.layers.Dense(4)


def custom(encoder=dense, decoder=dense, **parameters):
    return {"network": CustomNetwork(encoder, decoder, **parameters)}


def noise(function):
    return {"noise": function}


BAD = [
    ("activation", {"network": DenseNetwork((8,), activation="nonsense")}),
    ("activation", {"network": ConvNetwork((6, 1), activation="nonsense")}),
    ("activation", {"network": DenseNetwork((8,), activation=lambda: 1)}),
    ("activation", {"network": DenseNetwork((8,), activation=nothing)}),
    ("code_activation", {"code_activation": "nonsense"}),
    ("noise", noise(lambda: 1)),
    ("noise", noise(lambda x: x)),
    ("noise", noise(lambda x, seed: None)),
    ("noise", noise(lambda x, seed: "noisy")),
    ("noise", noise(lambda x, seed: x[:, :3])),
    ("noise", noise(lambda x, seed: x * np.nan)),
    ("noise", noise(lambda x, seed: np.asarray(x) + 1)),
    ("encoder", custom(nothing)),
    ("encoder", custom(lambda x: np.zeros(3))),
    ("encoder", custom(lambda x: (x, x))),
    ("encoder", custom(lambda: 1)),
    ("encoder", custom(convolution)),
    ("encoder", custom(lambda x: LAYER(x))),
    ("decoder", custom(dense, nothing)),
    ("decoder", custom(dense, convolution)),
    ("input_shape", custom(input_shape=(7, 1))),
    pytest.param(
        "jit_compile=False",
        custom(unlike_xla),
        marks=pytest.mark.skipif(
            keras.backend.backend() != "tensorflow",
            reason="a layer of TensorFlow's that XLA can't compile",
        ),
    ),
    ("n_components", {"n_components": 2**40}),
    ("n_components", {"n_components": 10**6}),
    ("hidden_layer_sizes", {"network": DenseNetwork((2**40,))}),
    ("filters", {"network": ConvNetwork((6, 1), filters=2**40)}),
    ("units", {"network": SequenceNetwork((6, 1), units=2**40)}),
    ("kernel_size", {"network": ConvNetwork((6, 1), kernel_size=(3, 3))}),
    ("optimizer", {"optimizer": keras.optimizers.Adam}),
    ("optimizer", {"optimizer": "nonsense"}),
    ("optimizer", {"optimizer": 3}),
    (
        "learning_rate_init",
        {"learning_rate_init": keras.optimizers.schedules.CosineDecay},
    ),
    ("callbacks", {"callbacks": [keras.callbacks.EarlyStopping]}),
    ("network", {"network": DenseNetwork}),
    ("network", {"network": keras.Sequential([keras.layers.Dense(3)])}),
]


@pytest.mark.parametrize(("name", "parameters"), BAD)
def test_the_message_names_the_parameter_before_any_training(
    name, parameters, monkeypatch, with_xla
):
    epochs, epoch = [], Program.epoch
    monkeypatch.setattr(
        Program, "epoch", lambda *args: epochs.append(epoch(*args)) or epochs[-1]
    )
    kind = DenoisingAutoencoder if "noise" in parameters else AutoencoderTransformer
    with pytest.raises((ValueError, TypeError), match=name):
        kind(**{"network": SMALL, "max_iter": 1} | parameters).fit(X)
    assert epochs == []


def test_a_function_that_compiles_is_a_noise_without_a_linear_start_too():
    denoiser = DenoisingAutoencoder(
        noise=lambda x, seed: x * np.nan, init="random", network=SMALL
    )
    with pytest.raises(ValueError, match="noise must return finite rows"):
        denoiser.fit(X)


def test_lambdas_of_a_model_keep_what_they_know():
    """Their code alone, which is all that a configuration has, knows no globals."""
    layers = keras.layers

    def model(factor):
        scaled = layers.Lambda(lambda x: keras.ops.relu(x) * factor)
        return keras.Sequential([layers.Dense(8), scaled])

    def fitted(factor):
        network = CustomNetwork(model(factor), dense, jit_compile=False)
        return AutoencoderTransformer(
            4, network=network, max_iter=2, init="random", random_state=0
        ).fit(X)

    one, other = fitted(1.0), fitted(2.0)
    assert one.loss_ != other.loss_
    keras_codes = np.asarray(one.encoder_(X))
    np.testing.assert_allclose(one.transform(X), keras_codes, atol=1e-6)


# -- more components than the rank


@pytest.mark.parametrize("max_iter", [0, 1])
@pytest.mark.parametrize(
    ("rows", "n_components", "rank"),
    [(X, 7, 6), (X[:4], 5, 4), (np.float32(X), 8, 6)],
)
def test_components_above_the_rank_are_warned_of(rows, n_components, rank, max_iter):
    message = f"n_components={n_components} is more than the rank .* {rank}: {len(rows)}"
    model = AutoencoderTransformer(n_components, max_iter=max_iter, network=SMALL)
    with pytest.warns(UserWarning, match=message):
        model.fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.set_params(n_components=rank).fit(rows)


@pytest.mark.parametrize(
    "model",
    [
        DenoisingAutoencoder(8),
        VAETransformer(8),
        AutoencoderTransformer(8, activity_l1=0.1),
        AutoencoderTransformer(8, init="random"),
        AutoencoderTransformer(8, code_activation="relu"),
        AutoencoderTransformer(None),
        AutoencoderTransformer(0.9999),
        AutoencoderTransformer("mle"),
    ],
    ids=str,
)
def test_codes_that_are_meant_to_be_larger_are_not(model):
    model.set_params(max_iter=1, network=SMALL).fit(X)
