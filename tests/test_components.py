"""What PCA's users find: components, whitening, the covariance, Minka's number."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork
from skae.noise import GaussianNoise

SMALL = DenseNetwork(hidden_layer_sizes=(8,))
TRAINED = {
    "network": SMALL,
    "max_iter": 8,
    "early_stopping": False,
    "learning_rate_init": 1e-2,
    "random_state": 0,
}
DIGITS = load_digits().data[:400]
WINE = StandardScaler().fit_transform(load_wine().data)
ATTRIBUTES = [
    *("components_", "explained_variance_", "explained_variance_ratio_"),
    *("singular_values_", "noise_variance_", "mean_", "n_components_", "n_samples_"),
]


def assert_same_as_pca(model, pca, tolerance=1e-10):
    for name in ATTRIBUTES:
        expected = getattr(pca, name)
        size = tolerance * max(1, np.abs(expected).max())
        assert_allclose(getattr(model, name), expected, rtol=0, atol=size, err_msg=name)


# -- the attributes


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize("X", [DIGITS, DIGITS[:40], WINE], ids=["tall", "wide", "wine"])
def test_without_training_they_are_pcas(X, offset, whiten):
    X = X + offset
    pca = PCA(6, svd_solver="full").fit(X)
    model = AutoencoderTransformer(6, whiten=whiten, max_iter=0).fit(X)
    assert_same_as_pca(model, pca, 1e-10 + 1e-14 * offset)


@pytest.mark.parametrize("whiten", [False, True])
def test_of_a_denoiser_without_noise_they_are_pcas(whiten):
    noise = GaussianNoise(0.0)
    model = DenoisingAutoencoder(6, noise=noise, whiten=whiten, max_iter=0).fit(DIGITS)
    assert_same_as_pca(model, PCA(6, svd_solver="full").fit(DIGITS))


def test_what_is_discarded_is_nothing_where_all_components_are_kept():
    model = AutoencoderTransformer(13, max_iter=0).fit(WINE)
    assert model.noise_variance_ == 0
    with pytest.warns(UserWarning, match="more than the rank"):
        model = AutoencoderTransformer(20, max_iter=0).fit(WINE)
    assert model.noise_variance_ == 0


@pytest.mark.parametrize(
    ("likelihood", "linear"), [("gaussian", PCA), ("gaussian_diag", FactorAnalysis)]
)
def test_of_a_vae_that_is_not_trained_they_are_the_loadings(likelihood, linear):
    vae = VAETransformer(4, likelihood=likelihood, max_iter=0).fit(WINE)
    noise = vae.noise_variance_ * np.eye(WINE.shape[1])
    covariance = vae.components_.T @ vae.components_ + noise
    assert_allclose(covariance, linear(4).fit(WINE).get_covariance(), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "model",
    [
        AutoencoderTransformer(4),
        AutoencoderTransformer(4, whiten=True),
        AutoencoderTransformer(4, init="random"),
        AutoencoderTransformer(4, code_activation="relu"),
        AutoencoderTransformer(4, loss="binary_crossentropy"),
        AutoencoderTransformer(4, loss="binary_crossentropy", max_iter=0),
        DenoisingAutoencoder(4),
        VAETransformer(4),
        VAETransformer(4, max_iter=0),
        VAETransformer(4, likelihood="bernoulli", beta=0.1),
    ],
    ids=str,
)
def test_components_are_the_slopes_of_the_reconstruction(model, dtype):
    X = (DIGITS / 16).astype(dtype)
    model = clone(model).set_params(**{**TRAINED, "max_iter": min(model.max_iter, 8)})
    codes = model.fit_transform(X).astype(np.float64)
    codes = np.column_stack([codes - codes.mean(axis=0), np.ones(len(X))])
    slopes = np.linalg.lstsq(codes, model.reconstruct(X), rcond=None)[0][:-1]
    if getattr(model, "whiten", False):
        slopes /= np.sqrt(model.explained_variance_)[:, None]
    assert model.components_.dtype == dtype
    tolerance = 1e-8 if dtype == np.float64 else 2e-3
    assert_allclose(model.components_, slopes, atol=tolerance * np.abs(slopes).max())


def test_singular_values_are_the_lengths_of_the_components():
    model = AutoencoderTransformer(4, **TRAINED).fit(WINE)
    lengths = np.linalg.norm(model.transform(WINE), axis=0)
    assert_allclose(model.singular_values_, lengths)
    left = np.square(WINE - model.reconstruct(WINE)).sum() / (len(WINE) - 1)
    assert model.noise_variance_ == pytest.approx(left / (13 - 4))
    with pytest.raises(AttributeError, match="not fitted"):
        getattr(AutoencoderTransformer(), "singular_values_")  # noqa: B009


# -- whitening


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("init", ["auto", "random"])
def test_whitened_codes_have_a_variance_of_one(init, dtype, keras_in_float64):
    X, tolerance = WINE.astype(dtype), 1e-4 if dtype == np.float32 else 1e-9
    plain = AutoencoderTransformer(4, init=init, **TRAINED).fit(X)
    model = clone(plain).set_params(whiten=True).fit(X)
    codes = model.transform(X)
    assert codes.dtype == dtype
    assert_allclose(np.cov(codes, rowvar=False), np.eye(4), atol=tolerance)
    assert_allclose(codes * np.sqrt(model.explained_variance_), plain.transform(X),
                    atol=10 * tolerance)  # fmt: skip
    assert_allclose(model.reconstruct(X), plain.reconstruct(X), atol=10 * tolerance)
    assert_allclose(model.components_, plain.components_, atol=10 * tolerance)
    assert_allclose(model.encoder_(X), codes, atol=10 * tolerance)
    assert_allclose(model.decoder_(codes), plain.reconstruct(X), atol=10 * tolerance)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.transform(X), codes)


def test_directions_without_variance_are_not_divided_by_it():
    X = WINE[:, :3] @ np.ones((3, 8))
    for n_components in (2, 5):
        model = AutoencoderTransformer(n_components, whiten=True, max_iter=0).fit(X)
        codes = model.transform(X)
        assert_allclose(codes[:, 0].var(ddof=1), 1)
        assert_allclose(codes[:, 1:], 0, atol=1e-10)
        assert_allclose(model.inverse_transform(codes), X, atol=1e-10)


def test_a_whitened_fit_goes_on_as_one_that_is_not():
    plain = AutoencoderTransformer(4, warm_start=True, **TRAINED)
    white = clone(plain).set_params(whiten=True)
    for _ in range(2):
        plain.fit(WINE)
        white.fit(WINE)
    expected = plain.transform(WINE) / np.sqrt(plain.explained_variance_)
    assert_allclose(white.transform(WINE), expected, atol=1e-8)
    assert_allclose(white.components_, plain.components_, atol=1e-8)
    before = white.transform(WINE)
    codes = white.partial_fit(WINE).transform(WINE)
    assert_allclose(
        np.cov(codes.T), np.eye(4), atol=1e-6
    )  # described by these rows again
    assert np.corrcoef(before[:, 0], codes[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize(
    "parameters", [{"code_activation": "relu"}, {"n_components": None}]
)
def test_whitening_takes_a_linear_code(parameters):
    with pytest.raises(ValueError, match="whiten=True needs a linear code"):
        AutoencoderTransformer(whiten=True).set_params(**parameters).fit(WINE)


def test_components_of_whitened_codes_are_drawn_by_their_own_spread():
    pytest.importorskip("matplotlib").use("agg")
    from skae.plotting import ComponentsDisplay

    drawn = [
        ComponentsDisplay.from_estimator(
            AutoencoderTransformer(2, whiten=whiten, max_iter=0).fit(WINE)
        ).rows
        for whiten in (False, True)
    ]
    assert_allclose(*drawn, atol=1e-8)


# -- the number of components


@pytest.mark.parametrize("estimator", [AutoencoderTransformer, VAETransformer])
def test_minkas_number_is_pcas(estimator):
    theirs = PCA("mle", svd_solver="full").fit(WINE).n_components_
    model = estimator("mle", network=SMALL, max_iter=0).fit(WINE)
    assert model.n_components_ == model.transform(WINE).shape[1] == theirs
    with pytest.raises(ValueError, match="n_samples >= n_features"):
        estimator("mle", max_iter=0).fit(WINE[:10])


def test_a_share_that_some_components_reach_exactly_takes_one_more():
    shares = AutoencoderTransformer(13, max_iter=0).fit(WINE).explained_variance_ratio_
    for n, share in enumerate(np.cumsum(shares)[:-1], start=1):
        model = AutoencoderTransformer(float(share), max_iter=0).fit(WINE)
        assert model.n_components_ == n + 1


# -- the covariance


@pytest.mark.parametrize("n_components", [3, 13])
def test_while_it_is_pca_it_has_pcas_covariance(n_components):
    pca = PCA(n_components).fit(WINE)
    for whiten in (False, True):
        model = AutoencoderTransformer(n_components, whiten=whiten, max_iter=0).fit(WINE)
        assert_allclose(model.get_covariance(), pca.get_covariance(), atol=1e-10)
        assert_allclose(model.get_precision(), pca.get_precision(), atol=1e-9)


def test_training_that_does_not_help_leaves_the_covariance():
    X = np.random.default_rng(0).normal(size=(60, 5))  # nothing to find
    params = {"network": SMALL, "n_splits": 1, "max_iter": 5, "random_state": 0}
    model = AutoencoderTransformer(2, **params).fit(X)
    assert model.n_iter_ > 0
    assert_allclose(model.get_covariance(), PCA(2).fit(X).get_covariance(), atol=1e-10)


@pytest.mark.parametrize(
    "model",
    [
        AutoencoderTransformer(**TRAINED),
        AutoencoderTransformer(init="random", max_iter=0),
        AutoencoderTransformer(loss="binary_crossentropy", max_iter=0),
        DenoisingAutoencoder(max_iter=0),
    ],
    ids=str,
)
def test_other_models_have_no_covariance(model):
    assert not hasattr(model, "get_covariance")
    with pytest.raises((NotFittedError, AttributeError)):
        model.get_precision()
    model.fit(DIGITS / 16)
    assert not hasattr(model, "get_covariance")
    assert not hasattr(model, "get_precision")


# -- a linear encoder


def residual_of_lines(X, Y):
    """The largest error of the best affine map from X to Y."""
    design = np.column_stack([X, np.ones(len(X))])
    return np.abs(Y - design @ np.linalg.lstsq(design, Y, rcond=None)[0]).max()


@pytest.mark.parametrize("init", ["auto", "random"])
def test_an_encoder_without_layers_is_linear(init):
    network = DenseNetwork((16,), encoder_layer_sizes=())
    model = AutoencoderTransformer(3, **{**TRAINED, "network": network, "init": init})
    codes = model.fit_transform(WINE)
    assert residual_of_lines(WINE, codes) < 1e-8
    assert residual_of_lines(codes, model.reconstruct(WINE)) > 1e-3  # not the decoder
    start = clone(model).set_params(max_iter=0, init="auto").fit(WINE)
    assert_same_as_pca(start, PCA(3, svd_solver="full").fit(WINE))


def test_components_of_a_linear_model_are_all_of_it():
    network = DenseNetwork((), encoder_layer_sizes=())
    model = AutoencoderTransformer(3, **{**TRAINED, "network": network}).fit(WINE)
    codes = model.transform(WINE)
    middle = model.inverse_transform(np.zeros((1, 3)))
    assert_allclose(
        model.reconstruct(WINE), codes @ model.components_ + middle, atol=1e-9
    )


@pytest.mark.parametrize(
    ("given", "expected"), [(None, [12, 6]), (5, [5]), ([7, 3], [7, 3]), ((), [])]
)
def test_the_encoder_may_have_sizes_of_its_own(given, expected):
    network = DenseNetwork((12, 6), encoder_layer_sizes=given)
    model = VAETransformer(2, network=network, max_iter=0).fit(WINE)
    for side, sizes in (("encoder", expected), ("decoder", [6, 12])):
        layers = getattr(model, f"{side}_").get_layer(f"{side}_network").layers
        found = [layer.units for layer in layers if f"{side}_dense" in layer.name]
        assert found == sizes


def test_sizes_are_numbers_of_units():
    network = DenseNetwork((8,), encoder_layer_sizes=(0,))
    with pytest.raises(ValueError, match="encoder_layer_sizes must be integers"):
        AutoencoderTransformer(network=network, max_iter=0).fit(WINE)
