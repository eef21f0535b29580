"""Bad input: an error that names the parameter, what it wants and what it got."""

import numpy as np
import pytest
from scipy import sparse

from skae import AutoencoderTransformer
from skae.networks import DenseNetwork

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
