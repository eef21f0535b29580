"""AutoencoderTransformer: PCA at its start, better after training, PCA's conventions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skae import AutoencoderTransformer
from skae.networks import DenseNetwork

SMALL = DenseNetwork(hidden_layer_sizes=(16,))


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)[0]


@pytest.fixture(scope="module")
def wine():
    return StandardScaler().fit_transform(load_wine(return_X_y=True)[0])


def mean_squared_error(X, X_reconstructed):
    return np.mean(np.sum((X - X_reconstructed) ** 2, axis=1))


# -- the start


@pytest.mark.parametrize("n_components", [1, 5])
@pytest.mark.parametrize("factor", [1, 1e6])
@pytest.mark.parametrize("offset", [0, 1e6])
def test_without_training_it_is_pca(digits, n_components, factor, offset):
    X = digits * factor + offset
    pca = PCA(n_components, svd_solver="full").fit(X)
    skae = AutoencoderTransformer(n_components, max_iter=0, random_state=0).fit(X)
    codes = pca.transform(X)
    tolerance = 1e-7 * np.abs(codes).max()
    assert_allclose(skae.transform(X), codes, atol=tolerance)
    assert_allclose(
        skae.inverse_transform(codes), pca.inverse_transform(codes), atol=tolerance
    )
    assert_allclose(skae.explained_variance_ratio_, pca.explained_variance_ratio_)
    assert_allclose(skae.explained_variance_, pca.explained_variance_)
    assert_allclose(skae.mean_, pca.mean_)


@pytest.mark.parametrize("offset", [0, 1e3])
def test_without_training_it_is_pca_in_float32(wine, offset):
    X = (wine + offset).astype(np.float32)
    pca = PCA(4).fit(X.astype(np.float64))
    skae = AutoencoderTransformer(4, max_iter=0, random_state=0).fit(X)
    codes = skae.transform(X)
    assert codes.dtype == skae.inverse_transform(codes).dtype == np.float32
    tolerance = 1e-5 + 1e-6 * offset
    assert_allclose(codes, pca.transform(X), atol=tolerance)
    assert_allclose(
        skae.reconstruct(X), pca.inverse_transform(pca.transform(X)), atol=tolerance
    )
    assert_allclose(
        skae.explained_variance_ratio_, pca.explained_variance_ratio_, rtol=1e-4
    )


def test_a_share_of_variance_takes_as_many_components_as_pca(digits):
    skae = AutoencoderTransformer(0.9, max_iter=0, random_state=0).fit(digits)
    assert skae.n_components_ == PCA(0.9).fit(digits).n_components_
    assert skae.transform(digits).shape[1] == skae.n_components_


@pytest.mark.parametrize("shape", [(30, 4), (6, 20)])
def test_more_components_than_features_or_samples(shape):
    X = np.random.default_rng(0).normal(size=shape)
    with pytest.warns(UserWarning, match="more than the rank"):
        skae = AutoencoderTransformer(10, max_iter=0, random_state=0).fit(X)
    assert skae.transform(X).shape == (shape[0], 10)
    assert_allclose(skae.reconstruct(X), X, atol=1e-10)


def test_binary_crossentropy_starts_at_pca_with_a_logistic_decoder(digits):
    X = digits / 16
    skae = AutoencoderTransformer(4, loss="binary_crossentropy", max_iter=0).fit(X)
    pca = PCA(4).fit(X)
    assert_allclose(skae.transform(X), pca.transform(X), atol=1e-10)
    P = skae.reconstruct(X)
    assert 0 <= P.min() < P.max() <= 1

    def crossentropy(P):
        P = np.clip(P, 1e-3, 1 - 1e-3)
        return -np.mean(X * np.log(P) + (1 - X) * np.log(1 - P))

    assert crossentropy(P) < crossentropy(pca.inverse_transform(pca.transform(X)))


# -- training


def test_it_beats_pca_on_rows_it_has_not_seen(digits):
    X, X_test = train_test_split(digits, random_state=0)
    skae = AutoencoderTransformer(8, max_iter=60, random_state=0).fit(X)
    pca = PCA(8).fit(X)
    error = mean_squared_error(X_test, pca.inverse_transform(pca.transform(X_test)))
    assert mean_squared_error(X_test, skae.reconstruct(X_test)) < 0.75 * error
    assert skae.score(X_test) == pytest.approx(
        -mean_squared_error(X_test, skae.reconstruct(X_test))
    )


def test_training_that_does_not_help_leaves_pca():
    X = np.random.default_rng(0).normal(size=(60, 5))  # nothing to find
    skae = AutoencoderTransformer(2, n_splits=1, max_iter=20, random_state=0).fit(X)
    assert skae.n_iter_ > 0
    assert_allclose(skae.transform(X), PCA(2).fit_transform(X), atol=1e-10)


@pytest.mark.parametrize("init", ["auto", "linear", "random"])
def test_a_linear_code_has_pcas_conventions(digits, init):
    skae = AutoencoderTransformer(6, init=init, max_iter=15, random_state=0).fit(digits)
    codes = skae.transform(digits)
    covariance = np.cov(codes, rowvar=False)
    assert_allclose(codes.mean(axis=0), 0, atol=1e-8)
    assert_allclose(covariance, np.diag(skae.explained_variance_), atol=1e-8)
    assert (np.diff(skae.explained_variance_) <= 0).all()
    if init == "linear":  # the signs are those of the component that each started as
        assert np.sum(codes[:, 0] * PCA(6).fit_transform(digits)[:, 0]) > 0
    explained = 1 + skae.score(digits) / digits.var(axis=0).sum()
    assert skae.explained_variance_ratio_.sum() == pytest.approx(explained)


def test_scale_and_offset_do_not_change_what_is_learned(wine):
    skae = AutoencoderTransformer(3, max_iter=10, early_stopping=False, random_state=0)
    expected = clone(skae).fit(wine).reconstruct(wine)
    moved = clone(skae).fit(wine * 1e6 + 1e6).reconstruct(wine * 1e6 + 1e6)
    assert_allclose((moved - 1e6) / 1e6, expected, atol=1e-3)


def test_the_sparse_penalty_does_not_depend_on_the_batch_size(digits):
    X = digits / 16
    losses = []
    for batch_size in (8, 64):
        skae = AutoencoderTransformer(
            16,
            network=DenseNetwork(hidden_layer_sizes=()),
            code_activation="relu",
            loss="binary_crossentropy",
            activity_l1=0.5,
            learning_rate_init=1e-12,
            alpha=0,
            early_stopping=False,
            max_iter=1,
            batch_size=batch_size,
            random_state=0,
        ).fit(X[:1792])
        losses.append(skae.loss_)
        P = skae.reconstruct(X[:1792])
        entropy = -np.sum(X[:1792] * np.log(P) + (1 - X[:1792]) * np.log(1 - P), axis=1)
        penalty = 0.5 * skae.transform(X[:1792]).sum(axis=1)
        assert skae.loss_ == pytest.approx(np.mean(entropy + penalty), rel=1e-4)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_penalty_makes_the_code_sparse(digits):
    def active(activity_l1):
        skae = AutoencoderTransformer(
            32,
            network=DenseNetwork(hidden_layer_sizes=()),
            code_activation="relu",
            loss="binary_crossentropy",
            init="random",
            activity_l1=activity_l1,
            max_iter=20,
            random_state=0,
        ).fit(digits / 16)
        return np.mean(skae.transform(digits / 16) > 1e-3)

    assert active(0.3) < 0.7 * active(0.0)


@pytest.mark.parametrize(
    "network",
    [
        DenseNetwork(hidden_layer_sizes=()),
        DenseNetwork(hidden_layer_sizes=(12, 8), activation="relu"),
    ],
    ids=["simple", "deep"],
)
def test_the_tutorials_dense_models(digits, network):
    skae = AutoencoderTransformer(
        16,
        network=network,
        code_activation="relu",
        loss="binary_crossentropy",
        init="random",
        max_iter=10,
        batch_size=32,
        random_state=0,
    ).fit(digits / 16)
    assert skae.history_["val_loss"][-1] < 0.9 * skae.history_["val_loss"][0]
    assert (skae.transform(digits / 16) >= 0).all()


def test_alpha_shrinks_the_networks_weights(digits):
    def size(alpha):
        skae = AutoencoderTransformer(
            4,
            network=SMALL,
            alpha=alpha,
            early_stopping=False,
            max_iter=10,
            random_state=0,
        ).fit(digits)
        layer = skae.encoder_.get_layer("encoder_network").get_layer("encoder_dense_0")
        return float(np.linalg.norm(layer.kernel))

    assert size(1e5) < 0.8 * size(0)


# -- going on


def test_warm_start_refuses_another_model(digits):
    skae = AutoencoderTransformer(4, network=SMALL, max_iter=1, warm_start=True)
    skae.fit(digits)
    with pytest.raises(ValueError, match="warm_start"):
        skae.set_params(n_components=5).fit(digits)


# -- in scikit-learn's company


@pytest.mark.slow
def test_grid_search_gives_the_same_scores_in_one_process_and_in_two(digits):
    X = digits[:300]
    pipeline = make_pipeline(
        MinMaxScaler(), AutoencoderTransformer(max_iter=5, random_state=0)
    )
    grid = {
        "autoencodertransformer__n_components": [2, 6],
        "autoencodertransformer__network": [SMALL, DenseNetwork()],
        "autoencodertransformer__network__hidden_layer_sizes": [(8,), (16, 8)],
    }
    scores = []
    for n_jobs in (1, 2):
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs).fit(X)
        scores.append(search.cv_results_["mean_test_score"])
    assert_array_equal(*scores)
    assert search.best_params_["autoencodertransformer__n_components"] == 6


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_in_and_out(wine, library):
    module = pytest.importorskip(library)
    names = [f"feature {i}" for i in range(wine.shape[1])]
    frame = module.DataFrame(dict(zip(names, wine.T, strict=True)))
    skae = AutoencoderTransformer(2, network=SMALL, max_iter=1, random_state=0)
    skae.set_output(transform=library).fit(frame)
    out = skae.transform(frame)
    assert list(out.columns) == ["autoencodertransformer0", "autoencodertransformer1"]
    assert_array_equal(skae.feature_names_in_, names)
    assert_array_equal(skae.get_feature_names_out(), list(out.columns))
    with pytest.raises(ValueError, match="feature names"):
        skae.transform(frame[names[::-1]])


def test_rows_of_any_shape_come_back_in_it(digits):
    X = digits.reshape(-1, 8, 8)
    skae = AutoencoderTransformer(3, network=SMALL, max_iter=2, random_state=0).fit(X)
    flat = clone(skae).fit(digits)
    assert skae.reconstruct(X).shape == X.shape
    assert_allclose(skae.transform(X), flat.transform(digits))
    assert_allclose(skae.reconstruct(X).reshape(-1, 64), flat.reconstruct(digits))
    assert skae.encoder_.input_shape == (None, 8, 8)
