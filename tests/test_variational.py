"""The variational autoencoder: known answers, bounds, generation, health."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skae import VAETransformer
from skae._data.rows import Rows
from skae._starts.glm import latent_start
from skae._starts.linear import ppca_start
from skae.likelihoods import Bernoulli
from skae.likelihoods._base import bounded, unbounded
from skae.networks import ConvNetwork, CustomNetwork, DenseNetwork, SequenceNetwork

SMALL = DenseNetwork(hidden_layer_sizes=(8,))

DIGITS = load_digits().data
WINE = load_wine().data
DIABETES = StandardScaler().fit_transform(load_diabetes().data)


def small(n_components=2, **parameters):
    """A VAE with a small network and three epochs."""
    defaults = {"network": SMALL, "max_iter": 3, "random_state": 0}
    return VAETransformer(n_components, **defaults | parameters)


@pytest.fixture(scope="module")
def trained():
    vae = small(4, max_iter=30, early_stopping=False, n_iter_no_change=np.inf, alpha=0.0)
    return vae.fit(DIABETES)


# -- the start


@pytest.mark.parametrize(
    "X", [DIGITS, WINE, DIABETES * 1e6], ids=["digits", "wine", "1e6"]
)
@pytest.mark.parametrize("k", [1, 4])
def test_the_start_is_probabilistic_pca(X, k):
    vae, pca = small(k, max_iter=0).fit(X), PCA(k).fit(X)
    assert_allclose(vae.elbo(X), pca.score_samples(X), atol=1e-6)
    assert_allclose(vae.score_samples(X), pca.score_samples(X), atol=1e-6)
    assert vae.score(X) == pytest.approx(pca.score(X), abs=1e-6)
    assert vae.noise_variance_ == pytest.approx(pca.noise_variance_)
    assert_allclose(vae.explained_variance_, pca.explained_variance_)
    assert_allclose(vae.explained_variance_ratio_, pca.explained_variance_ratio_)


def test_the_start_has_the_posterior_of_probabilistic_pca():
    k, X = 3, DIABETES
    vae, pca = small(k, max_iter=0).fit(X), PCA(k).fit(X)
    noise = pca.noise_variance_
    W = (pca.components_ * np.sqrt(pca.explained_variance_ - noise)[:, None]).T
    M = W.T @ W + noise * np.eye(k)
    expected = (X - pca.mean_) @ W @ np.linalg.inv(M)
    mean, std = vae.posterior(X)
    assert_allclose(mean, expected, atol=1e-8)
    assert_allclose(vae.transform(X), expected, atol=1e-8)
    assert_allclose(std**2, np.tile(np.diag(noise * np.linalg.inv(M)), (len(X), 1)))
    assert_allclose(vae.reconstruct(X), expected @ W.T + pca.mean_, atol=1e-8)
    assert_allclose(vae.kl_per_component_, np.log(np.diag(M) / noise) / 2, rtol=0.01)


@pytest.mark.parametrize("k", [10, 14])
def test_the_start_keeps_the_density_when_nothing_is_discarded(k):
    vae = small(k, max_iter=0).fit(DIABETES)
    assert_allclose(vae.elbo(DIABETES), PCA(10).fit(DIABETES).score_samples(DIABETES))
    assert vae.noise_variance_ > 0
    assert vae.n_active_components_ == 10


def test_a_start_without_noise_is_finite():
    vae = small(50, max_iter=0).fit(DIGITS[:20])
    assert np.isfinite(vae.score(DIGITS))
    assert vae.noise_variance_ > 0


@pytest.mark.parametrize(
    ("X", "k"),
    [(DIGITS[:300], 4), (WINE, 1), (WINE, 4), (WINE, 20)],
    ids=["digits", "wine 1", "wine 4", "wine 20"],
)
def test_the_start_of_gaussian_diag_is_factor_analysis(X, k):
    vae = small(k, likelihood="gaussian_diag", max_iter=0).fit(X)
    width = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    factors = FactorAnalysis(k).fit(X / width)
    scores = factors.score_samples(X / width) - np.log(width).sum()
    assert_allclose(vae.elbo(X), scores, atol=1e-6)
    assert_allclose(vae.score_samples(X), scores, atol=1e-6)
    covariance = factors.get_covariance() * np.outer(width, width)
    if k < X.shape[1]:
        assert vae.score(X) > FactorAnalysis(k).fit(X).score(X) - 1e-5
        assert_allclose(vae.noise_variance_, factors.noise_variance_ * width**2)
    sampled = np.cov(vae.sample(20_000, random_state=0).T)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.abs((sampled - covariance) / (scale + 1e-6)).max() < 0.1


@pytest.mark.parametrize("beta", [0.3, 1.0, 3.0])
def test_no_linear_model_has_a_better_weighted_bound_than_the_start(beta):
    X = DIABETES - DIABETES.mean(axis=0)
    start = ppca_start(PCA(4).fit(X), 4, beta)

    def loss(encoder, decoder, log_posterior, log_noise):
        codes, noise = X @ encoder, np.exp(log_noise)
        error = ((X - codes @ decoder) ** 2).sum(axis=1).mean()
        error += np.exp(log_posterior) @ (decoder**2).sum(axis=1)
        kl = (codes**2).mean(axis=0) + np.exp(log_posterior) - 1 - log_posterior
        return (error / noise + X.shape[1] * log_noise + beta * kl.sum()) / 2

    best = [
        start.encoder,
        start.decoder,
        np.log(start.posterior_variance),
        np.log(start.noise_variance * (1 - 1 / len(X))),
    ]
    rng = np.random.default_rng(0)
    for _ in range(50):
        moved = [value + 0.02 * rng.standard_normal(np.shape(value)) for value in best]
        assert loss(*moved) > loss(*best)


def test_the_bernoulli_start_has_a_better_bound_than_independent_features():
    X = DIGITS / 16
    p = X.mean(axis=0).clip(1e-6, 1 - 1e-6)
    independent = (X * np.log(p) + (1 - X) * np.log(1 - p)).sum(axis=1).mean()
    vae = small(4, likelihood="bernoulli", max_iter=0).fit(X)
    assert vae.elbo(X).mean() > independent + 1.5
    assert vae.noise_variance_ is None
    start = latent_start(Bernoulli(), Rows(X), 4)
    codes = (X - start.mean) @ start.encoder
    assert_allclose(np.abs(vae.transform(X)), np.abs(codes), atol=1e-8)


@pytest.mark.slow
def test_bernoulli_is_not_worse_than_a_random_start():
    X = DIGITS / 16
    scores = {
        init: small(4, likelihood="bernoulli", init=init, max_iter=15).fit(X).score(X)
        for init in ("auto", "random")
    }
    assert scores["auto"] > scores["random"]


# -- the bounds


def test_the_importance_weighted_bound_is_near_the_likelihood_behind_a_wrong_encoder():
    k, X = 3, DIABETES
    vae, pca = small(k, max_iter=0).fit(X), PCA(k).fit(X)
    exact = pca.score_samples(X)
    _, std = vae.posterior(X)
    shift = 0.5
    bias = vae._state.weights["encoder/linear_code/bias"]
    bias += shift * std[0, 0]
    vae._built = {}
    vae.n_importance_samples = 5000
    gap = shift**2 * (std[0, 0] ** 2 / std[0] ** 2).sum() / 2  # KL of two normals
    assert_allclose(vae.elbo(X), exact - gap, atol=0.05)
    assert_allclose(vae.score_samples(X), exact, atol=0.05)


def test_scores_do_not_depend_on_other_rows_or_calls(trained):
    scores = trained.score_samples(DIABETES)
    assert_array_equal(scores, trained.score_samples(DIABETES))
    assert_allclose(trained.score_samples(DIABETES[5:6]), scores[5:6])
    assert (scores >= trained.elbo(DIABETES)).all()
    assert trained.score(DIABETES) == pytest.approx(scores.mean())


def test_bernoulli_scores_do_not_depend_on_other_rows():
    X = DIGITS[:300] / 16
    vae = small(4, likelihood="bernoulli").fit(X)
    order = np.random.default_rng(0).permutation(len(X))
    for method in (vae.score_samples, vae.elbo, vae.transform):
        assert_allclose(method(X[order[:7]]), method(X)[order[:7]])


def test_draws_may_take_several_calls(trained, monkeypatch):
    expected = trained.score_samples(DIABETES)
    monkeypatch.setattr("skae._variational.DRAWS_AT_ONCE", 10)
    assert_allclose(trained.score_samples(DIABETES), expected)


def test_training_raises_the_score(trained):
    assert trained.score(DIABETES) > PCA(4).fit(DIABETES).score(DIABETES)


def test_history_is_in_nats(trained):
    names = {"loss", "reconstruction", "kl"}
    assert set(small().fit(WINE).history_) == {*names, "val_loss"}
    history = trained.history_
    assert set(history) == names
    sums = np.add(history["reconstruction"], history["kl"])
    assert_allclose(history["loss"], sums, rtol=1e-5)
    assert abs(history["loss"][-1] + trained.elbo(DIABETES).mean()) < 0.5
    assert history["kl"][-1] == pytest.approx(trained.kl_per_component_.sum(), rel=0.2)


def test_the_divergence_has_the_weight_beta():
    vae = small(3, beta=0.5, alpha=0.0, max_iter=3, early_stopping=False).fit(DIABETES)
    weights = np.subtract(vae.history_["loss"], vae.history_["reconstruction"])
    assert_allclose(weights / vae.history_["kl"], 0.5, rtol=1e-3)


def test_nothing_is_compiled_again_for_another_beta():
    from skae._backend.pool import programs

    def traces():
        return sum(program.n_traces for program in programs.items.values())

    small(3).fit(DIABETES)
    before = traces()
    small(3, beta=0.7, learning_rate_init=1e-4, alpha=0.1).fit(DIABETES)
    assert traces() == before


def test_grid_search_chooses_components_by_the_likelihood():
    search = GridSearchCV(small(max_iter=0), {"n_components": [1, 8]}, cv=3)
    assert search.fit(DIABETES).best_params_ == {"n_components": 8}


# -- components


def test_components_are_ordered_by_divergence(trained):
    assert (np.diff(trained.kl_per_component_) <= 0).all()
    mean, std = trained.posterior(DIABETES)
    assert_allclose(mean, trained.transform(DIABETES))
    kl = (mean**2 + std**2 - 1 - np.log(std**2)).mean(axis=0) / 2
    assert_allclose(trained.kl_per_component_, kl)
    codes = mean - mean.mean(axis=0)
    loadings = codes.T @ DIABETES
    assert (loadings[range(4), np.abs(loadings).argmax(axis=1)] > 0).all()


def test_the_code_may_be_the_networks_own():
    vae = small(None).fit(DIABETES)
    assert vae.transform(DIABETES).shape == (len(DIABETES), 8)
    assert vae.kl_per_component_.shape == (8,)


# -- generation


def test_samples_have_the_models_covariance():
    vae, pca = small(3, max_iter=0).fit(DIABETES), PCA(3).fit(DIABETES)
    X = vae.sample(50_000, random_state=0)
    assert_allclose(np.cov(X.T), pca.get_covariance(), atol=0.03)
    means = vae.sample(50_000, random_state=0, add_noise=False)
    noise = np.cov(X.T) - np.cov(means.T)
    assert_allclose(noise, pca.noise_variance_ * np.eye(10), atol=0.03)


def test_samples_are_seeded_and_shaped():
    vae = small(likelihood="bernoulli").fit(DIGITS.reshape(-1, 8, 8) / 16)
    X = vae.sample(5, random_state=0, add_noise=False)
    assert X.shape == (5, 8, 8)
    assert_array_equal(X, vae.sample(5, random_state=0, add_noise=False))
    assert ((X > 0) & (X < 1)).all()
    assert set(np.unique(vae.sample(5, random_state=0))) == {0, 1}
    z = np.random.RandomState(0).standard_normal((5, 2))
    assert_allclose(vae.inverse_transform(z), X)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_the_linear_model_has_pcas_covariance(beta):
    vae, pca = small(3, max_iter=0, beta=beta).fit(DIABETES), PCA(3).fit(DIABETES)
    if beta == 1:
        assert_allclose(vae.get_covariance(), pca.get_covariance(), atol=1e-9)
    residual = DIABETES - DIABETES.mean(axis=0)
    covariance, precision = vae.get_covariance(), vae.get_precision()
    assert_allclose(covariance @ precision, np.eye(10), atol=1e-8)
    nats = -np.einsum("ij,jk,ik->i", residual, precision, residual) / 2
    nats -= (np.linalg.slogdet(covariance)[1] + 10 * np.log(2 * np.pi)) / 2
    vae.set_params(n_importance_samples=2000)
    assert_allclose(vae.score_samples(DIABETES), nats, atol=1e-6 if beta == 1 else 0.3)


def test_the_linear_model_has_factor_analysis_covariance():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6))
    X = (X + rng.normal(size=X.shape)) * [1, 2, 3, 4, 5, 6]
    vae = small(2, max_iter=0, likelihood="gaussian_diag").fit(X)
    covariance = vae.get_covariance()
    # of the maximum likelihood the variances are those of the samples
    assert_allclose(np.diag(covariance), X.var(axis=0), rtol=5e-3)
    density = stats.multivariate_normal(X.mean(axis=0), covariance)
    assert_allclose(vae.score_samples(X), density.logpdf(X), atol=1e-6)
    scale = X.std(axis=0)
    factors = FactorAnalysis(2).fit(X / scale).score(X / scale) - np.log(scale).sum()
    assert vae.score(X) > factors - 1e-3
    counts = small(2, max_iter=0, likelihood="poisson").fit(np.abs(X).round())
    assert not hasattr(counts, "get_covariance")


# -- health


@pytest.mark.parametrize("seed", range(10))
def test_components_of_low_rank_data_survive(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 50))
    X = StandardScaler().fit_transform(X)
    vae = small(5, max_iter=20, random_state=seed).fit(X)
    assert vae.n_active_components_ == 5
    assert np.isfinite(vae.score(X))


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag", "bernoulli"])
def test_a_collapsed_code_warns(likelihood):
    X = MinMaxScaler(clip=True).fit_transform(DIABETES)
    with pytest.warns(ConvergenceWarning, match="Lower beta"):
        vae = small(beta=1000, likelihood=likelihood).fit(X)
    assert vae.n_active_components_ == 0
    # one epoch is no end of training: nothing is said of it yet
    vae = small(beta=1000, likelihood=likelihood).partial_fit(X)
    assert vae.n_active_components_ == 0


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
@pytest.mark.parametrize(
    "X",
    [
        np.column_stack([DIABETES, np.full(len(DIABETES), 3.0)]),
        DIABETES[:, :1],
        DIABETES * 1e6,
        DIABETES * 1e-6 + 1.0,
        DIABETES[:3],
    ],
    ids=["constant feature", "one feature", "1e6", "1e-6", "three rows"],
)
def test_unusual_data_give_finite_scores(X, likelihood, without_xla):
    vae = small(likelihood=likelihood).fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(vae.transform(X)).all()
    assert np.isfinite(vae.sample(3, random_state=0)).all()


def test_one_sample_is_an_error():
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        small().fit(DIABETES[:1])


def test_bernoulli_needs_the_unit_interval():
    with pytest.raises(ValueError, match=r"likelihood='bernoulli'.*its maximum 16"):
        small(likelihood="bernoulli").fit(DIGITS)


# -- what the bound is made of


def test_draws_have_the_posteriors_mean_and_variance():
    from skae._utils.seed import Seed

    z = 2 + 0.5 * np.asarray(Seed(0).normal((20_000,)))
    assert stats.kstest(z, "norm", (2, 0.5)).pvalue > 0.01


def bounded_and_slope(value):
    import keras

    if keras.backend.backend() == "jax":
        import jax

        found = jax.value_and_grad(bounded)(value)
    else:
        import tensorflow as tf

        x = tf.Variable(value)
        with tf.GradientTape() as tape:
            log_variance = bounded(x)
        found = log_variance, tape.gradient(log_variance, x)
    return [float(part) for part in found]


@pytest.mark.parametrize("value", [-1e6, -40.0, 0.0, 40.0, 1e6])
def test_log_variances_are_bounded_and_keep_gradients(value):
    from keras import ops

    log_variance, gradient = bounded_and_slope(np.float32(value))
    assert abs(log_variance) < 32
    assert np.isfinite(float(ops.exp(log_variance) - log_variance))
    assert np.isfinite(gradient)
    assert gradient != 0


def test_the_bound_is_inverted():
    x = np.linspace(-31, 31, 11)
    assert_allclose(bounded(unbounded(x)), x)
    assert np.isfinite(unbounded(np.array([-np.inf, np.inf]))).all()


# -- what the base gives


@pytest.mark.parametrize(
    "network",
    [
        ConvNetwork(input_shape=(8, 8, 1), filters=(4,)),
        pytest.param(
            SequenceNetwork(input_shape=(8, 8), units=4), marks=pytest.mark.slow
        ),
        CustomNetwork(encoder=lambda x: x, decoder=lambda z: z),
    ],
    ids=lambda network: type(network).__name__,
)
def test_every_network_has_a_bernoulli_head(network, without_xla):
    X = DIGITS[:200] / 16
    vae = small(network=network, likelihood="bernoulli").fit(X)
    assert vae.transform(X).shape == (200, 2)
    assert vae.reconstruct(X).shape == X.shape
    assert np.isfinite(vae.score(X))


@pytest.mark.slow
def test_series_that_have_ended_are_scored_by_the_steps_they_have():
    X = np.random.default_rng(0).standard_normal((50, 6, 2))
    short = X.copy()
    short[:10, 4:] = np.nan
    network = SequenceNetwork(input_shape=(6, 2), units=4)
    vae = small(network=network).fit(short)
    scores = vae.score_samples(short)
    assert np.isfinite(scores).all()
    assert scores[:10].mean() > scores[10:].mean()


def test_the_posterior_of_float32_rows_is_float32():
    vae = small(max_iter=0).fit(np.float32(DIABETES))
    assert {a.dtype for a in vae.posterior(np.float32(DIABETES))} == {np.dtype("f4")}


def test_warm_start_goes_on_with_another_beta():
    warm = small(3, warm_start=True, early_stopping=False).fit(DIABETES)
    warm.set_params(beta=2.0).fit(DIABETES)
    assert warm.n_iter_ == 6
    added = np.subtract(warm.history_["loss"], warm.history_["reconstruction"])
    assert_allclose(added / warm.history_["kl"], [1] * 3 + [2] * 3, rtol=1e-2)


def test_keras_callbacks_see_the_losses():
    import keras

    seen = []

    class Recorder(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(logs)

    vae = small(3, callbacks=[Recorder()]).fit(DIABETES)
    assert [set(logs) for logs in seen] == [
        {"loss", "reconstruction", "kl", "val_loss"}
    ] * 3
    assert seen[-1]["kl"] == vae.history_["kl"][-1]


def test_keras_models_save_and_load(tmp_path, trained):
    import keras

    for model, rows in (
        (trained.encoder_, DIABETES),
        (trained.decoder_, trained.transform(DIABETES)),
    ):
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert_allclose(loaded(rows), model(rows))
