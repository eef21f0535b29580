"""The networks: shapes, starts, what they learn, and what they leave alone."""

import copy
import json
import math
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skae import AutoencoderTransformer, VAETransformer
from skae._model.components import Coordinates
from skae._model.graph import Specification, build
from skae._model.objectives import Reconstruction
from skae._model.raw import raw
from skae.likelihoods import SquaredError
from skae.networks import (
    ConvNetwork,
    CustomNetwork,
    DenseNetwork,
    SequenceNetwork,
)

DIGITS = load_digits().data[:300] / 16


def sines(n_samples, timesteps, seed, noise=0.1):
    """Series of different frequency and phase, plus noise."""
    rng = np.random.default_rng(seed)
    cycles = rng.uniform(0.5, 3, (n_samples, 1)) * np.arange(timesteps) / timesteps
    phase = rng.uniform(0, 1, (n_samples, 1))
    X = np.sin(2 * np.pi * (cycles + phase))
    return X + noise * rng.normal(size=X.shape)


def models(network, n_components, row_shape, dtype="float64", linear=None, seed=0):
    """The Keras models of a network that is not fitted."""
    specification = Specification(
        network=network,
        objective=Reconstruction(SquaredError(), network.allows_missing),
        row_shape=row_shape,
        n_components=n_components,
        code_activation="linear",
        linear=n_components is not None if linear is None else linear,
        seed=seed,
    )
    graph = build(specification, dtype)
    size = graph.decoder.input_shape[-1]
    zeros, ones = np.zeros(specification.n_features), np.ones(specification.n_features)
    return raw(graph, Coordinates(zeros, 1.0, ones, np.eye(size), np.zeros(size)))


def custom(x):
    """A body with a residual block, normalisation, attention and dropout in it."""
    x = layers.Dense(8, activation="relu")(x)
    x = layers.Add()([x, layers.Dense(8)(layers.BatchNormalization()(x))])
    x = layers.Reshape((4, 2))(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 2)(x, x)])
    return layers.Dropout(0.1)(x)


def custom_model(n_inputs):
    x = keras.Input((n_inputs,))
    model = keras.Model(x, custom(x))
    model.compile("adam", "mse")
    return model


CONV = ConvNetwork((8, 8, 1), filters=(4, 2))
NETWORKS = {
    "max_pooling": CONV,
    "strides": ConvNetwork((8, 8, 1), filters=(4, 2), downsampling="strides"),
    "1-D": ConvNetwork((64, 1), filters=(4, 2)),
    "lstm": SequenceNetwork((8, 8), units=4),
    "gru": SequenceNetwork((8, 8), units=4, cell="gru", bidirectional=True),
    "recurrent": SequenceNetwork((8, 8), units=4, head="recurrent"),
    "functions": CustomNetwork(custom, custom, jit_compile=False),
    "models": CustomNetwork(custom_model(64), custom_model(2), jit_compile=False),
}
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
#: Those of which test_contract.py has no like.
OTHERS = ["strides", "lstm", "gru", "recurrent", "functions", "models"]
others = pytest.mark.parametrize("network", [NETWORKS[k] for k in OTHERS], ids=OTHERS)


# -- every network


@networks
def test_starts_at_pca(network):
    pca = PCA(2).fit(DIGITS)
    model = AutoencoderTransformer(2, network=network, max_iter=0).fit(DIGITS)
    assert_allclose(model.transform(DIGITS), pca.transform(DIGITS), atol=1e-9)


@networks
@pytest.mark.parametrize(
    ("init", "dtype"),
    [("auto", "float32"), pytest.param("random", "float64", marks=pytest.mark.slow)],
)
def test_lowers_the_loss(network, init, dtype, without_xla):
    X = DIGITS.astype(dtype)
    model = AutoencoderTransformer(
        2, network=network, init=init, max_iter=8, batch_size=20, random_state=0,
        learning_rate_init=1e-2, early_stopping=False,
    ).fit(X)  # fmt: skip
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.transform(X).dtype == dtype
    assert model.reconstruct(X).dtype == dtype


@others
def test_same_seed_same_bits_and_pickled_without_keras(network, without_xla):
    model = AutoencoderTransformer(2, network=network, max_iter=2, random_state=0)
    Z = model.fit_transform(DIGITS)
    assert_array_equal(clone(model).fit_transform(DIGITS), Z)
    state = pickle.dumps(model)
    assert b"_unpickle_model" not in state
    assert_array_equal(pickle.loads(state).transform(DIGITS), Z)


@networks
def test_copies_build_the_same_network(network):
    for copied in (clone(network), copy.deepcopy(network)):
        assert copied._key() == network._key()
        hash(copied._key())


@networks
def test_rows_of_another_length_are_refused(network):
    if isinstance(network, CustomNetwork):
        network = clone(network).set_params(input_shape=(8, 8))
    with pytest.raises(ValueError, match=r"input_shape=\(.*\) holds 64 .* 63 features"):
        AutoencoderTransformer(2, network=network, max_iter=1).fit(DIGITS[:, :63])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (ConvNetwork((8, 8, 1), filters=(4, 0)), r"filters must be .* Got \[4, 0\]"),
        (ConvNetwork((64,)), r"input_shape must be .* Got \(64,\)"),
        (ConvNetwork((64,), downsampling="no"), "'downsampling' parameter of Conv"),
        (SequenceNetwork((8, 8, 1)), r"input_shape must be .* Got \(8, 8, 1\)"),
        (SequenceNetwork((8, 8), cell="rnn"), "'cell' parameter of SequenceNetwork"),
        (SequenceNetwork((8, 8), units=0), "'units' parameter of SequenceNetwork"),
        (CustomNetwork(custom, 3), "'decoder' parameter of CustomNetwork"),
    ],
)
def test_parameters_are_refused_by_name(network, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(2, network=network).fit(DIGITS)


def test_grid_search_over_parameters_of_the_network():
    model = AutoencoderTransformer(2, network=CONV, max_iter=1)
    grid = {"network__filters": [(2,), (2, 2)], "network__downsampling": ["strides"]}
    search = GridSearchCV(model, grid, cv=2).fit(DIGITS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_needs_no_tensorflow_before_fit():
    code = """if True:
        import pickle, sys
        from sklearn.base import clone
        from skae import networks
        for network in (
            networks.ConvNetwork((8, 8, 1)),
            networks.SequenceNetwork((8, 8)),
            networks.CustomNetwork(len, len),
        ):
            clone(network).set_params(**network.get_params())
            repr(network), network._key(), network._validate_params()
            pickle.loads(pickle.dumps(network))
        assert not {"keras", "tensorflow"} & set(sys.modules)
        """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_decoder_layer_as_wide_as_the_rows_is_not_the_output(keras_in_float64):
    network = DenseNetwork((64,), activation="relu")
    built = models(network, 2, (64,), linear=False)
    assert built.decoder.get_layer("decoder_network").layers[-1].name == "output"


# -- ConvNetwork


@pytest.mark.parametrize(
    ("filters", "maps"), [((16, 8, 8), (4, 4, 8)), ((32, 32), (7, 7, 32))]
)
@pytest.mark.parametrize("downsampling", ["max_pooling", "strides"])
def test_feature_maps_are_the_tutorials(filters, maps, downsampling, keras_in_float64):
    network = ConvNetwork((28, 28, 1), filters=filters, downsampling=downsampling)
    built = models(network, None, (784,))
    folded = built.encoder.get_layer("encoder_network").get_layer("features").input
    assert folded.shape[1:] == maps
    assert built.encoder.output_shape == (None, math.prod(maps))
    assert not any(
        isinstance(layer, layers.Dense)
        for layer in built.decoder.get_layer("decoder_network").layers
    )


@pytest.mark.parametrize(
    "shape", [(7, 2), (7, 9, 1), (1, 5, 3), (5, 6, 7, 1)], ids=lambda shape: f"{shape}"
)
@pytest.mark.parametrize("downsampling", ["max_pooling", "strides"])
@pytest.mark.parametrize("n_components", [None, 3])
def test_any_size_comes_back(shape, downsampling, n_components, keras_in_float64):
    X = np.random.default_rng(0).normal(size=(20, *shape))
    network = ConvNetwork(shape, filters=(3, 2), downsampling=downsampling)
    built = models(network, n_components, shape)
    assert built.autoencoder(X).shape == X.shape
    assert built.autoencoder.dtype_policy.name == "float64"
    flat = models(network, n_components, (math.prod(shape),))
    assert flat.autoencoder(X.reshape(20, -1)).shape == (20, math.prod(shape))


def test_images_come_back_in_the_shape_they_came_in():
    images = DIGITS.reshape(-1, 8, 8, 1)
    model = AutoencoderTransformer(None, network=CONV, max_iter=1, random_state=0)
    Z = model.fit_transform(images)
    assert Z.shape == (len(images), 2 * 2 * 2)
    assert model.reconstruct(images).shape == images.shape
    assert_array_equal(clone(model).fit_transform(DIGITS), Z)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_convolution_with_one_filter_is_keras_own(n_axes, kernel_size, keras_in_float64):
    from skae.networks import _layers

    shape = (2, *(5, 6, 4)[:n_axes], 3)
    x = np.random.default_rng(0).normal(size=shape)
    both = []
    for library, kind in ((layers, "Conv"), (_layers, "OneFilterConv")):
        layer = getattr(library, f"{kind}{n_axes}D")(
            1, kernel_size, padding="same", dtype="float64", bias_initializer="ones"
        )
        layer.build(shape)
        both.append(layer)
    both[1].set_weights(both[0].get_weights())
    assert_allclose(both[1](x), both[0](x), atol=1e-12)


def test_convolutions_compile_without_xla():
    assert not CONV.jit_compile
    assert SequenceNetwork((8, 8)).jit_compile


# -- SequenceNetwork


@pytest.mark.slow
def test_reconstructs_unseen_series_better_than_pca():
    train, test = sines(600, 20, seed=0), sines(300, 20, seed=1)
    model = AutoencoderTransformer(
        4, network=SequenceNetwork((20, 1), units=16), batch_size=50, max_iter=20,
        learning_rate_init=5e-3, random_state=0,
    ).fit(train)  # fmt: skip
    pca = PCA(4).fit(train)
    rest = test - pca.inverse_transform(pca.transform(test))
    assert model.score(test) > -0.7 * np.mean(np.sum(rest**2, axis=1))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_after_the_end_are_not_read(cell, bidirectional, dtype, keras_in_float64):
    network = SequenceNetwork((6, 2), units=3, cell=cell, bidirectional=bidirectional)
    X = np.random.default_rng(0).normal(size=(4, 6, 2)).astype(dtype)
    X[:, 4:] = np.nan
    long = models(network, None, (6, 2), dtype)
    short = models(clone(network).set_params(input_shape=(4, 2)), None, (4, 2), dtype)
    Z = np.asarray(long.encoder(X))
    assert Z.dtype == dtype
    assert_allclose(Z, short.encoder(X[:, :4]), rtol=1e-5)


@pytest.mark.parametrize("init", ["auto", "random"])
def test_series_of_different_lengths(init, without_xla):
    X = sines(200, 12, seed=0)[:, :, None]
    ends = np.random.default_rng(0).integers(6, 13, len(X))
    X[np.arange(12) >= ends[:, None]] = np.nan
    model = AutoencoderTransformer(
        3, network=SequenceNetwork((12, 1), units=8), init=init, batch_size=20,
        max_iter=15, learning_rate_init=1e-2, random_state=0,
    ).fit(X)  # fmt: skip
    output = model.reconstruct(X)
    assert output.shape == X.shape
    assert np.isfinite(output).all()
    assert np.nanmean((output - X) ** 2) < 0.9 * np.nanvar(X)


def test_missing_steps_are_holes_to_other_networks():
    X = sines(20, 8, seed=0)[:, :, None]
    X[0, -1] = np.nan
    model = AutoencoderTransformer(2, network=ConvNetwork((8, 1)), max_iter=1).fit(X)
    assert np.isfinite(model.impute(X)).all()


# -- CustomNetwork


def shared(n_inputs):
    layer = layers.Dense(3)
    layer.build((None, n_inputs))
    return layer


class Block(keras.Model):
    """A model that is not registered with Keras, of layers of its own."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dense = Doubled(width)
        self.normalization = layers.BatchNormalization()

    def call(self, x, training=False):
        return self.normalization(self.dense(x), training=training)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


class Doubled(layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


BODIES = {
    "functional": lambda: custom_model(64),
    "sequential": lambda: keras.Sequential(
        [layers.Dense(5, "relu", kernel_initializer=keras.initializers.HeNormal(seed=1))]
    ),
    "subclassed": lambda: Block(4),
    "nested": lambda: keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten(), Block(4)]
    ),
    "layer": lambda: Doubled(4),
}
bodies = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


@bodies
def test_models_are_copied_with_fresh_weights(body, keras_in_float64):
    body = body()
    body.set_weights([np.full(w.shape, 0.5, w.dtype) for w in body.get_weights()])
    before = [np.array(w) for w in body.get_weights()]
    network = CustomNetwork(body, custom)
    drawn = []
    for seed in (0, 0, 1):
        encoder = models(network, 2, (64,), seed=seed).encoder
        encoder = encoder.get_layer("encoder_network")
        model = encoder.get_layer("encoder_model")
        assert {w.dtype for w in model.trainable_variables} == {"float64"}
        drawn.append(next(w for w in model.get_weights() if w.ndim > 1))
    assert_array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])
    assert not np.allclose(drawn[0], 0.5)
    assert len(body.get_weights()) == len(before)
    for now, then in zip(body.get_weights(), before, strict=True):
        assert_array_equal(now, then)


def test_models_are_not_trained():
    encoder = custom_model(64)
    before = encoder.get_weights()
    network = CustomNetwork(encoder, custom, jit_compile=False)
    model = AutoencoderTransformer(2, network=network, max_iter=1).fit(DIGITS)
    assert network.encoder is model.network.encoder is encoder
    for now, then in zip(encoder.get_weights(), before, strict=True):
        assert_array_equal(now, then)


@bodies
def test_models_are_pickled_as_plain_data_and_restored(body):
    body = body()
    network = CustomNetwork(body, custom)
    state = network.__getstate__()["encoder"]
    json.loads(state.config)
    loaded = pickle.loads(pickle.dumps(network))
    loaded = pickle.loads(pickle.dumps(clone(loaded)))
    assert loaded._key() == network._key()
    restored = loaded.encoder.restored()
    assert type(restored) is type(body)
    for value, original in zip(restored.get_weights(), body.get_weights(), strict=True):
        assert_array_equal(value, original)


def test_stored_models_take_the_place_of_models():
    network = CustomNetwork(custom_model(64), custom_model(2), jit_compile=False)
    given = {"max_iter": 1, "random_state": 0}
    fitted = AutoencoderTransformer(2, network=network, **given).fit(DIGITS)
    stored = copy.copy(network)
    stored.__setstate__(network.__getstate__())
    again = AutoencoderTransformer(2, network=stored, **given).fit(DIGITS)
    assert_array_equal(again.transform(DIGITS), fitted.transform(DIGITS))
    assert "stored Keras model" in repr(again)
    assert again.set_params(warm_start=True).fit(DIGITS).n_iter_ == 2


def test_clones_share_the_models():
    network = NETWORKS["models"]
    assert clone(network).encoder is network.encoder


def test_models_inside_of_models_compute_in_the_dtype_of_the_fit(keras_in_float64):
    cell = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    rows = keras.Input((8, 8))
    inner = keras.Model(rows, layers.Flatten()(layers.TimeDistributed(cell)(rows)))
    body = keras.Sequential([layers.Reshape((8, 8)), inner])
    inner.compile("adam", loss=lambda y, output: keras.ops.mean(y - output))
    encoder = models(CustomNetwork(body, custom), 2, (64,)).encoder
    encoder = encoder.get_layer("encoder_network").get_layer("encoder_model")
    one, other = encoder(DIGITS[:9]), encoder(DIGITS[:9] * (1 + 1e-12))
    assert not np.array_equal(one, other)


def test_normalisation_follows_the_data():
    normalization = layers.BatchNormalization(momentum=0.5, name="normalization")
    network = CustomNetwork(keras.Sequential([normalization]), custom, jit_compile=False)
    model = AutoencoderTransformer(
        2, network=network, max_iter=10, early_stopping=False, batch_size=300
    ).fit(DIGITS)
    fitted = model.encoder_.get_layer("encoder_network").get_layer("encoder_model")
    unit = model.encoder_.get_layer("standardize_scale").kernel
    variance = DIGITS.var(axis=0) * np.square(unit)
    assert_allclose(fitted.layers[0].moving_variance, variance, atol=1e-2)


def test_output_in_any_shape_is_the_output(keras_in_float64):
    image = lambda z: layers.Reshape((8, 8, 1))(layers.Dense(64)(z))  # noqa: E731
    built = models(CustomNetwork(custom, image), 2, (64,), linear=False)
    assert built.decoder.get_layer("decoder_network").layers[-1].name == "unfold"


def test_model_tells_the_shape_that_it_takes():
    decoder = keras.Sequential([keras.Input((2, 2, 1)), layers.Conv2D(3, 2)])
    encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    network = CustomNetwork(encoder, decoder)
    AutoencoderTransformer(4, network=network, max_iter=1).fit(DIGITS)
    with pytest.raises(ValueError, match=r"decoder .*shape=\(3,\), .*=\(2, 2, 1\)"):
        AutoencoderTransformer(3, network=network, max_iter=1).fit(DIGITS)


def test_functions_make_their_own_layers():
    layer = shared(64)
    for function in (layer.__call__, lambda x: layer(x)):
        network = CustomNetwork(function, custom)
        with pytest.raises(ValueError, match="encoder must make its layers each time"):
            AutoencoderTransformer(2, network=network, max_iter=1).fit(DIGITS)


def test_functions_return_tensors():
    network = CustomNetwork(lambda x: None, custom)
    with pytest.raises(TypeError, match=r"encoder must return .*\. Got NoneT"):
        AutoencoderTransformer(2, network=network, max_iter=1).fit(DIGITS)


def test_models_without_a_configuration_are_refused():
    class Opaque(keras.Model):
        def __init__(self, function):
            super().__init__()

    network = CustomNetwork(Opaque(lambda x: x), custom)
    with pytest.raises(
        ValueError, match=r"(?s)encoder must be .* def encoder\(x\):.* return Opaque\("
    ):
        AutoencoderTransformer(2, network=network, max_iter=1).fit(DIGITS)


def test_series_of_different_lengths_start_with_a_logistic_decoder(without_xla):
    X = np.random.default_rng(0).random((60, 6, 2))
    X[:20, 4:] = np.nan
    network = SequenceNetwork(input_shape=(6, 2), units=4)
    skae = AutoencoderTransformer(
        2, loss="binary_crossentropy", network=network, max_iter=1, random_state=0
    ).fit(X)
    assert np.isfinite(skae.loss_)
    assert np.isfinite(skae.reconstruct(X)).all()


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="TensorFlow's pooling of three axes knows float32 only, JAX's does not",
)
def test_a_layer_that_knows_float32_only_is_told_before_training():
    network = CustomNetwork(
        lambda x: layers.MaxPooling3D(2)(layers.Conv3D(2, 3, padding="same")(x)),
        lambda z: layers.Dense(64)(z),
        input_shape=(4, 4, 4, 1),
        jit_compile=False,
    )
    epochs = []
    counts = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: epochs.append(e))
    estimator = AutoencoderTransformer(
        4, network=network, max_iter=2, callbacks=[counts], random_state=0
    )
    with pytest.raises(ValueError, match=r"float64.*X\.astype\('float32'\)"):
        estimator.fit(DIGITS)
    assert epochs == []
    assert np.isfinite(estimator.fit(DIGITS.astype("float32")).loss_)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
@pytest.mark.parametrize("offset", [0.0, 1e4])  # near zero one product is the encoder
def test_codes_of_a_linear_encoder_are_those_of_its_keras_model(
    kind, offset, keras_in_float64
):
    network = DenseNetwork((8,), encoder_layer_sizes=())
    X = DIGITS + offset
    skae = kind(3, network=network, max_iter=2, random_state=0).fit(X)
    atol = 1e-9 * max(1.0, offset)
    assert_allclose(skae.transform(X), np.asarray(skae.encoder_(X)), atol=atol)
    if offset:
        return
    assert_allclose(skae.transform(sparse.csr_matrix(X)), skae.transform(X), atol=1e-9)
    holes = X.copy()
    holes[1, 20] = np.nan
    completed = skae._fitted(holes.dtype).imputed(holes)
    assert_allclose(skae.transform(holes), skae.transform(completed), atol=1e-9)
    assert np.abs(skae.transform(holes) - skae.transform(X))[1].max() > 1e-6
