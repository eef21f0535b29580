"""Little data, and data that drifts or is too large: learned from, or refused by name."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork

X = load_digits().data / 16
TRAIN, TEST = X[:1600], X[1600:]
KINDS = [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]

pytestmark = pytest.mark.usefixtures("without_xla")


def streamed(kind, n_first, n_passes=12, **parameters):
    """A model that has seen all rows some times, and these few before."""
    model = kind(8, network=DenseNetwork(()), batch_size=32, random_state=0, **parameters)
    model.partial_fit(TRAIN[:n_first])
    for _ in range(n_passes):
        for start in range(0, len(TRAIN), 400):
            model.partial_fit(TRAIN[start : start + 400])
    return model


def error(model):
    return np.square(model.reconstruct(TEST) - TEST).sum(axis=1).mean()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_recovers_from_a_first_call_of_two_rows(kind):
    """A linear network has nothing but the linear path to learn by."""
    few, many = streamed(kind, 2), streamed(kind, len(TRAIN))
    assert error(few) < 1.2 * error(many)


@pytest.mark.slow
def test_a_stream_recovers_from_rows_that_are_all_the_same():
    model = AutoencoderTransformer(8, network=DenseNetwork(()), random_state=0)
    model.partial_fit(np.repeat(TRAIN[:1], 3, axis=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the mean
        for _ in range(30):
            model.partial_fit(TRAIN)
    assert error(model) < 1.2 * error(streamed(AutoencoderTransformer, len(TRAIN)))


def test_a_first_call_of_two_rows_reconstructs_them():
    model = AutoencoderTransformer(
        8, network=DenseNetwork(()), learning_rate_init=1e-9, random_state=0
    ).partial_fit(TRAIN[:2])
    assert_allclose(model.reconstruct(TRAIN[:2]), TRAIN[:2], atol=1e-4)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag", "bernoulli"])
def test_two_rows_make_a_vae(likelihood):
    model = VAETransformer(
        4, likelihood=likelihood, network=DenseNetwork((8,)), max_iter=2, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no component needs to be active
        model.fit(X[:2])
    assert np.isfinite(model.score(X[:2]))
    if likelihood != "bernoulli":
        assert_allclose(model.reconstruct(X[:2]), X[:2], atol=0.05)


# -- values too large


SMALL = {"network": DenseNetwork((8,)), "max_iter": 2, "random_state": 0}
LARGEST = np.where(np.arange(64) % 2, 3e38, -3e38).astype(np.float32)[None]


@pytest.mark.parametrize("n_components", [2, 0.9, "mle", None])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_values_too_large_to_square_are_refused_first(n_components, method):
    for kind in KINDS:
        with pytest.raises(ValueError, match=r"X's values are too large.* up to 1e\+200"):
            getattr(kind(n_components, **SMALL), method)(TRAIN[:50] * 1e200)


@pytest.mark.parametrize("size", [1e30, 1e200])
def test_rows_beside_x_that_are_too_large_are_refused(size):
    few, large = TRAIN[:50], TRAIN[:50] * size
    with pytest.raises(ValueError, match="X_val's values are too large"):
        AutoencoderTransformer(**SMALL).fit(few, X_val=large)
    denoiser = DenoisingAutoencoder(**SMALL)
    with pytest.raises(ValueError, match="X_clean's values are too large"):
        denoiser.fit(few, X_clean=large)
    with pytest.raises(ValueError, match="X_val_clean's values are too large"):
        denoiser.fit(few, X_clean=few, X_val=few, X_val_clean=large)
    model = AutoencoderTransformer(**SMALL).fit(few)
    state = dict(vars(model))
    with pytest.raises(ValueError, match="X's values are too large"):
        model.partial_fit(large)
    assert vars(model) == state


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score", "impute"])
def test_rows_too_large_to_encode_are_refused(method):
    model = AutoencoderTransformer(**SMALL).fit(TRAIN[:50].astype(np.float32))
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match="X's values are too large: in float32"),
    ):
        getattr(model, method)(LARGEST)
    with pytest.raises(ValueError, match="X's values are too large"):
        getattr(model, method)(TRAIN[:2] * 1e200)


# -- a mean that drifts


def test_a_drifting_mean_is_warned_of():
    model = AutoencoderTransformer(**SMALL).partial_fit(TRAIN[:100])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation")  # Keras' own
        model.partial_fit(TRAIN[100:200]).partial_fit(TRAIN[:1])
    with pytest.warns(UserWarning, match=r"mean of X is \d+\.\d standard") as caught:
        model.partial_fit(TRAIN[:100] + 10 * TRAIN[:100].std(axis=0).mean())
    found = [warning for warning in caught if "mean of X" in str(warning.message)]
    assert [warning.filename for warning in found] == [__file__]
