"""Likelihoods: true densities and masses, by column, that training only improves."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.likelihoods import (
    Bernoulli,
    ByColumn,
    Categorical,
    Gaussian,
    Huber,
    NegativeBinomial,
    Poisson,
    from_transformer,
)
from skae.likelihoods._counts import log_gamma
from skae.networks import DenseNetwork

SMALL = DenseNetwork((8,))
pytestmark = pytest.mark.usefixtures("without_xla")

WINE = load_wine()
NUMBERS = StandardScaler().fit_transform(WINE.data)
COUNTS = load_digits().data[:400]
CLASSES = np.eye(3)[WINE.target]
MIXED = np.c_[
    CLASSES[:, :2], NUMBERS, CLASSES[:, 2], NUMBERS[:, :1] > 0, COUNTS[:178, 20]
]
BY_COLUMN = [
    ("categorical", [0, 1, 15]),
    ("gaussian_diag", slice(2, 15)),
    ("bernoulli", [16]),
    ("poisson", [17]),
]
RNG = np.random.default_rng(0)


def numpys(tensor):
    return np.asarray(tensor, np.float64)


# -- densities and masses


def test_log_gamma(keras_in_float64):
    x = np.r_[1e-4, 1e-2, 0.5, 1, 1.5, 2, 10, 1e3, 1e6]
    assert_allclose(numpys(log_gamma(x)), special.gammaln(x), rtol=1e-9, atol=1e-9)


def test_masses_are_scipys(keras_in_float64):
    x, output = COUNTS[:20], RNG.normal(size=(20, 64))
    found = -numpys(Poisson().per_sample(x, output))
    assert_allclose(found, stats.poisson(np.exp(output)).logpmf(x).sum(axis=1))
    noise = RNG.normal(size=(1, 64))
    found = -numpys(NegativeBinomial().per_sample(x, output, noise))
    shape = np.exp(-noise)
    nbinom = stats.nbinom(shape, shape / (shape + np.exp(output)))
    assert_allclose(found, nbinom.logpmf(x).sum(axis=1), rtol=1e-8)
    found = -numpys(Categorical().per_sample(CLASSES, output[:1, :3]))
    chances = np.log(special.softmax(output[0, :3]))
    assert_allclose(found, chances[WINE.target])


def test_a_total_makes_rates_relative(keras_in_float64):
    x, output = COUNTS[:20] + 1, RNG.normal(size=(20, 64))
    rate = np.exp(output) * x.sum(axis=1, keepdims=True) / 50
    found = -numpys(Poisson(total=50).per_sample(x, output))
    assert_allclose(found, stats.poisson(rate).logpmf(x).sum(axis=1))
    assert_allclose(Poisson(total=50).seen(x), Poisson(total=50).seen(3 * x))


def test_by_column_is_the_sum_of_its_parts(keras_in_float64):
    n = MIXED.shape[1]
    output, noise = RNG.normal(size=(178, n)), RNG.normal(size=(1, 13))
    likelihood = ByColumn(
        [
            (Categorical(), np.array([0, 1, 15])),
            (Gaussian(per_feature=True), np.arange(2, 15)),
            (Bernoulli(), np.array([16])),
            (Poisson(), np.array([17])),
        ]
    )
    expected = sum(
        numpys(one.per_sample(MIXED[:, c], output[:, c], noise if len(c) == 13 else None))
        for one, c in likelihood.pairs
    )
    assert_allclose(numpys(likelihood.per_sample(MIXED, output, noise)), expected)
    mean = numpys(likelihood.mean(output))
    assert_allclose(mean[:, [0, 1, 15]].sum(axis=1), 1)
    assert_allclose(mean[:, 2:15], output[:, 2:15])
    assert_allclose(mean[:, 17], np.exp(output[:, 17]))


def test_huber_is_squared_then_absolute():
    loss = Huber(2.0)
    errors = np.array([[0.5], [2.0], [5.0]])
    assert_allclose(numpys(loss.per_sample(errors, 0 * errors)), [0.125, 2.0, 8.0])


def test_the_score_is_a_log_likelihood_in_nats():
    """Importance-weighted, against the integral over a code of one dimension."""
    vae = VAETransformer(1, likelihood="poisson", max_iter=0, n_importance_samples=20_000)
    vae.fit(COUNTS)
    grid = np.linspace(-6, 6, 2001)
    rates = vae.inverse_transform(grid[:, None])
    log_prior = stats.norm.logpdf(grid)
    for row, score in zip(COUNTS[:5], vae.score_samples(COUNTS[:5]), strict=True):
        joint = stats.poisson(np.maximum(rates, 1e-300)).logpmf(row).sum(1) + log_prior
        exact = special.logsumexp(joint) + np.log(grid[1] - grid[0])
        assert abs(score - exact) < 0.2


def test_units_of_columns_play_no_part_where_each_has_a_noise():
    units = 10.0 ** np.arange(-6, 7)
    plain = VAETransformer(
        3, likelihood="gaussian_diag", network=SMALL, max_iter=10, random_state=0
    )
    score = plain.fit(NUMBERS).score_samples(NUMBERS)
    scaled = plain.fit(NUMBERS * units).score_samples(NUMBERS * units)
    assert_allclose(scaled + np.log(units).sum(), score, atol=0.05)


# -- fits


@pytest.mark.parametrize(
    ("likelihood", "X"),
    [
        ("poisson", COUNTS),
        ("negative_binomial", COUNTS),
        (Poisson(total=100.0), COUNTS),
        ("categorical", CLASSES[:, [0, 1, 2]]),
        (BY_COLUMN, MIXED),
    ],
    ids=["poisson", "negative_binomial", "total", "categorical", "by column"],
)
def test_training_only_improves_on_the_start(likelihood, X):
    start = VAETransformer(2, likelihood=likelihood, max_iter=0).fit(X[::2])
    means = VAETransformer(2, likelihood=likelihood, max_iter=0, beta=1e6)
    with pytest.warns(UserWarning, match="No component is active"):
        means.fit(X[::2])
    trained = VAETransformer(
        2, likelihood=likelihood, network=SMALL, max_iter=12, random_state=0
    ).fit(X[::2])
    scores = [model.score(X[1::2]) for model in (means, start, trained)]
    # of one class alone the means are the best there is
    least = 1e-4 if likelihood == "categorical" else 0
    assert scores[0] - least < scores[1] < scores[2] + 0.02
    drawn = trained.sample(50, random_state=0)
    if likelihood is BY_COLUMN:
        assert_array_equal(drawn[:, [0, 1, 15]].sum(axis=1), 1)
        assert set(np.unique(drawn[:, [0, 1, 15, 16]])) == {0, 1}
        assert np.isnan(trained.noise_variance_).sum() == 5
        drawn = drawn[:, [17]]
    assert_array_equal(drawn, np.round(drawn))
    assert (drawn >= 0).all()


def test_holes_in_columns_of_several_kinds():
    missing = RNG.random(MIXED.shape) < 0.1
    missing[:, [1, 15]] = missing[:, :1]  # a class is missing as a whole
    holes = np.where(missing, np.nan, MIXED)
    vae = VAETransformer(
        3, likelihood=BY_COLUMN, network=SMALL, max_iter=5, random_state=0
    ).fit(holes)
    imputed = vae.impute(holes)
    assert_array_equal(imputed[~missing], MIXED[~missing])
    assert_allclose(imputed[:, [0, 1, 15]].sum(axis=1), 1, atol=1e-6)
    assert (vae.score_samples(holes) > -np.inf).all()
    guess = np.broadcast_to(MIXED.mean(axis=0), MIXED.shape)
    error = np.abs(imputed - MIXED)[missing].mean()
    assert error < 0.9 * np.abs(guess - MIXED)[missing].mean()


@pytest.mark.parametrize("kind", [AutoencoderTransformer, DenoisingAutoencoder])
@pytest.mark.parametrize(
    "loss",
    [
        "absolute_error",
        "huber",
        "poisson",
        [
            ("squared_error", slice(0, 15)),
            ("categorical_crossentropy", [15, 16]),
            ("poisson", [17]),
        ],
    ],
    ids=["absolute_error", "huber", "poisson", "by column"],
)
def test_losses_fall(kind, loss):
    X = np.abs(MIXED) if loss == "poisson" else MIXED.copy()
    X[:, 16] = 1 - X[:, 15]
    model = kind(3, loss=loss, network=SMALL, max_iter=8, random_state=0)
    if kind is AutoencoderTransformer:
        model.set_params(smoothing=0)
    model.fit(X)  # as they are: a few draws from around them have losses of their own
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert np.isfinite(model.reconstruct(X)).all()


def test_absolute_errors_are_in_the_units_of_x():
    model = AutoencoderTransformer(
        2, loss="absolute_error", network=SMALL, max_iter=1, n_splits=1, alpha=0
    )
    loss = model.set_params(random_state=0).fit(NUMBERS).loss_curve_[0]
    assert_allclose(model.fit(1000 * NUMBERS).loss_curve_[0], 1000 * loss, rtol=1e-3)


def test_heavy_tails_move_absolute_errors_less():
    X = NUMBERS.copy()
    X[::10, 0] += 40
    settings = {"network": SMALL, "max_iter": 40, "random_state": 0}
    errors = [
        np.abs(AutoencoderTransformer(2, loss=loss, **settings).fit(X).reconstruct(X) - X)
        for loss in ("squared_error", "absolute_error")
    ]
    assert np.median(errors[1]) < np.median(errors[0])


# -- columns by name


def test_columns_as_a_column_transformer_takes_them():
    frame = pd.DataFrame(MIXED, columns=[f"c{i}" for i in range(18)])
    by_name = [
        ("categorical", ["c0", "c1", "c15"]),
        ("gaussian_diag", slice("c2", "c14")),
        ("bernoulli", np.arange(18) == 16),
        ("poisson", "c17"),
    ]
    settings = {"max_iter": 0, "random_state": 0}
    named = VAETransformer(2, likelihood=by_name, **settings).fit(frame)
    numbered = VAETransformer(2, likelihood=BY_COLUMN, **settings).fit(MIXED)
    assert_array_equal(named.transform(frame), numbered.transform(MIXED))


def test_the_list_of_a_fitted_column_transformer():
    frame = pd.DataFrame(NUMBERS[:, :3], columns=["a", "b", "c"])
    frame["kind"] = WINE.target
    frame["two"] = (NUMBERS[:, 5] > 0).astype(int)
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False, drop="if_binary"), ["kind", "two"]),
        (make_pipeline(StandardScaler()), ["a", "b", "c"]),
    )
    pairs = from_transformer(columns.fit(frame))
    assert pairs == [
        ("gaussian_diag", [4, 5, 6]),
        ("categorical", [0, 1, 2]),
        ("bernoulli", [3]),
    ]
    vae = VAETransformer(likelihood=pairs, max_iter=0)
    search = GridSearchCV(
        make_pipeline(columns, vae),
        {"vaetransformer__n_components": [1, 2]},
        cv=KFold(2, shuffle=True, random_state=0),
    )
    assert np.isfinite(search.fit(frame).best_score_)
    drops = make_column_transformer((OneHotEncoder(drop="first"), ["kind"])).fit(frame)
    with pytest.raises(ValueError, match="drops one of 3 classes"):
        from_transformer(drops)


@pytest.mark.parametrize(
    ("likelihood", "match"),
    [
        ([("gaussian", [0, 1])], "must have each column of X in one pair.*: \\[2, 3"),
        ([("gaussian", slice(None)), ("bernoulli", [0])], "or in several: \\[0\\]"),
        ([("normal", slice(None))], "likelihood knows .*Got 'normal'"),
        (["gaussian"], r"list of \(likelihood, columns\) pairs. Got 'gaussian'"),
        ([("gaussian", ["a"])], "are no columns of X"),
        ([("gaussian", [99])], "are no columns of X"),
        ("poisson", "needs X in \\[0, inf\\]"),
        ([("poisson", slice(0, 15)), ("gaussian", [15, 16, 17])], "needs X in"),
    ],
)
def test_columns_that_are_none(likelihood, match):
    with pytest.raises(ValueError, match=match):
        VAETransformer(likelihood=likelihood).fit(MIXED)


@pytest.mark.parametrize(
    ("likelihood", "X"),
    [("gaussian", NUMBERS), ("gaussian_diag", 9 * NUMBERS), (BY_COLUMN, MIXED)],
    ids=["gaussian", "gaussian_diag", "by column"],
)
def test_features_share_the_score(likelihood, X):
    holes = X.copy()
    holes[::2, 2] = np.nan
    vae = VAETransformer(
        2, likelihood=likelihood, network=SMALL, max_iter=2, random_state=0
    ).fit(X)
    shares = vae.score_features(holes)
    assert_allclose(shares.sum(axis=1), vae.score_samples(holes), atol=1e-8)
    assert (shares[::2, 2] == 0).all()
    odd = X.copy()
    odd[0, 4] += 30
    lowered = vae.score_features(odd)[0] - vae.score_features(X)[0]
    assert lowered.argmin() == 4


# -- scores of the losses


def _losses_by_hand(loss, x, mean, scale):
    """The loss of each value from the decoder's mean, in the units of X."""
    error = np.abs(x - mean)
    if loss == "absolute_error":
        return error
    if loss == "huber":
        return np.where(error < scale, error**2 / 2, scale * (error - scale / 2))
    if loss == "poisson":
        return mean - x * np.log(mean) + special.gammaln(x + 1)
    if loss == "categorical_crossentropy":
        return -x * np.log(mean)
    return -x * np.log(mean) - (1 - x) * np.log(1 - mean)


@pytest.mark.parametrize(
    "loss",
    [
        "absolute_error",
        "huber",
        "binary_crossentropy",
        "categorical_crossentropy",
        "poisson",
    ],
)
@pytest.mark.parametrize("kind", [AutoencoderTransformer, DenoisingAutoencoder])
def test_scores_are_minus_the_loss_that_is_trained(kind, loss):
    rng = np.random.default_rng(0)
    X = rng.gamma(2.0, size=(120, 6))
    if loss == "binary_crossentropy":
        X /= X.max()
    if loss == "categorical_crossentropy":
        X /= X.sum(axis=1, keepdims=True)
    if loss == "poisson":
        X = rng.poisson(X).astype(float)
    model = kind(2, loss=loss, max_iter=1, n_splits=1, random_state=0).fit(X)
    scale = np.sqrt(X.var(axis=0, ddof=1).mean())
    wanted = _losses_by_hand(loss, X, np.asarray(model.reconstruct(X)), scale)
    found = model.score_features(X)
    assert_allclose(found, -wanted, rtol=2e-3, atol=1e-4)
    assert_allclose(found.sum(axis=1), model.score_samples(X))
    X[0, 0] = np.nan
    if loss != "categorical_crossentropy":  # whose classes add up
        assert model.score_features(X)[0, 0] == 0
