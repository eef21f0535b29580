"""set_params with nested names acts on the object that None or a name stands for."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.impute import AutoencoderImputer
from skae.likelihoods import Gaussian, Huber
from skae.networks import ConvNetwork, DenseNetwork
from skae.noise import GaussianNoise, MaskingNoise
from skae.outliers import ReconstructionOutlierDetector

X = np.random.default_rng(0).normal(size=(60, 6))


@pytest.mark.parametrize(
    ("estimator", "params", "expected"),
    [
        (
            AutoencoderTransformer(),
            {"network__hidden_layer_sizes": (8,)},
            {"network": DenseNetwork((8,))},
        ),
        (
            AutoencoderTransformer(network=(32, 16)),
            {"network__activation": "relu"},
            {"network": DenseNetwork((32, 16), activation="relu")},
        ),
        (
            AutoencoderTransformer(network=[32]),
            {"network__dropout": 0.1},
            {"network": DenseNetwork((32,), dropout=0.1)},
        ),
        (AutoencoderTransformer(loss="huber"), {"loss__delta": 2}, {"loss": Huber(2)}),
        (
            AutoencoderTransformer(),  # the name comes with it, in whatever order
            {"loss__delta": 2, "loss": "huber"},
            {"loss": Huber(2)},
        ),
        (
            DenoisingAutoencoder(),
            {"noise__level": 0.2, "network__dropout": 0.1},
            {"noise": GaussianNoise(0.2), "network": DenseNetwork(dropout=0.1)},
        ),
        (
            DenoisingAutoencoder(noise="masking"),
            {"noise__level": 0.2},
            {"noise": MaskingNoise(0.2)},
        ),
        (
            VAETransformer(),
            {"likelihood__per_feature": True},
            {"likelihood": Gaussian(per_feature=True)},
        ),
        (
            VAETransformer(network=ConvNetwork((6, 1))),
            {"network": None, "network__dropout": 0.5},
            {"network": DenseNetwork(dropout=0.5)},
        ),
        (
            ReconstructionOutlierDetector(),
            {"estimator__n_components": 3, "estimator__network__dropout": 0.5},
            {
                "estimator": VAETransformer(
                    3, network=DenseNetwork(dropout=0.5), random_state=0
                )
            },
        ),
        (
            AutoencoderImputer(),
            {"estimator__n_components": 3},
            {"estimator": VAETransformer(3)},
        ),
    ],
    ids=str,
)
def test_a_default_is_replaced_with_its_object(estimator, params, expected):
    before = clone(estimator).get_params(deep=False)
    estimator = clone(estimator)
    assert estimator.set_params(**params) is estimator
    found = estimator.get_params(deep=False)
    for name, value in found.items():
        assert repr(value) == repr(expected.get(name, before[name]))
        assert type(value) is type(expected.get(name, before[name]))
    again = clone(estimator).get_params()
    assert {name: again[name] for name in params if "__" in name} == {
        name: value for name, value in params.items() if "__" in name
    }


def test_each_name_stands_for_its_own_object():
    vae = VAETransformer(likelihood="gaussian_diag").set_params(
        likelihood__per_feature=True
    )
    assert repr(vae.likelihood) == repr(Gaussian(per_feature=True))
    with pytest.raises(
        ValueError, match=r"Invalid parameter 'n' for estimator Bernoulli"
    ):
        VAETransformer(likelihood="bernoulli").set_params(likelihood__n=1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"network__hidden": 3},
            r"Invalid parameter 'hidden' for estimator DenseNetwork",
        ),
        ({"networks__hidden": 3}, "Invalid parameter 'networks' for estimator"),
        ({"loss": "mse", "loss__delta": 2}, "loss__delta needs an object .*loss='mse'"),
        (
            {"loss": [("huber", [0])], "loss__delta": 2},
            "loss__delta needs an object .* or its name",
        ),
    ],
    ids=str,
)
def test_a_wrong_name_is_said_and_changes_no_default(params, message):
    estimator = AutoencoderTransformer()
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**params)
    assert estimator.network is None


def test_an_object_is_not_replaced():
    network = DenseNetwork((8,))
    estimator = AutoencoderTransformer(network=network)
    assert estimator.set_params(network__dropout=0.2).network is network
    assert network.dropout == 0.2


def test_a_grid_search_varies_the_default_network():
    search = GridSearchCV(
        make_pipeline(
            StandardScaler(), AutoencoderTransformer(2, max_iter=1, n_splits=1)
        ),
        {"autoencodertransformer__network__hidden_layer_sizes": [(4,), (8, 4)]},
        cv=2,
        error_score="raise",
    ).fit(X)
    fitted = search.best_estimator_[-1].network_
    assert fitted.hidden_layer_sizes in [(4,), (8, 4)]
    assert search.estimator[-1].network is None


# -- network=(64, 32)


@pytest.mark.parametrize("sizes", [(8, 4), [8, 4], (np.int64(8), 4), ()])
def test_numbers_are_the_sizes_of_a_dense_network(sizes, tmp_path):
    given = {"max_iter": 2, "n_splits": 1, "random_state": 0}
    short = AutoencoderTransformer(2, network=sizes, **given)
    assert clone(short).network == sizes
    network = DenseNetwork(tuple(map(int, sizes)))
    long = AutoencoderTransformer(2, network=network, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(short.fit_transform(X), long.fit_transform(X))
    assert repr(short.network_) == repr(network)
    short.save(tmp_path / "short")
    loaded = skae.load(tmp_path / "short")
    assert loaded.network == sizes
    assert type(loaded.network) is type(sizes)
    np.testing.assert_array_equal(loaded.transform(X), short.transform(X))


def test_a_grid_search_varies_sizes():
    grid = {"network": [(4,), (8, 4), None]}
    estimator = AutoencoderTransformer(2, max_iter=1, n_splits=1)
    search = GridSearchCV(estimator, grid, cv=2, error_score="raise").fit(X)
    assert search.best_params_["network"] in grid["network"]
    assert repr(AutoencoderTransformer(network=(8, 4))) == (
        "AutoencoderTransformer(network=(8, 4))"
    )


@pytest.mark.parametrize("sizes", [(0,), ("a",), (2.5,), (-1, 3)])
def test_other_numbers_are_refused(sizes):
    with pytest.raises(ValueError, match="network must be integers of at least 1"):
        AutoencoderTransformer(network=sizes).fit(X)
    with pytest.raises(
        ValueError, match=r"'network' parameter .* must be an instance of"
    ):
        AutoencoderTransformer(network=64).fit(X)
