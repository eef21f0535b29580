"""Synthetic rows: where codes and columns of samples are distributed as the data's."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ks_2samp

import skae
from skae import VAETransformer
from skae._data.quantiles import interpolated, places_of, quantiles_of, with_quantiles
from skae._model.mixture import Mixture
from skae.likelihoods import Bernoulli, Categorical
from skae.networks import SequenceNetwork

RNG = np.random.default_rng(0)
SIDE = RNG.integers(2, size=900)
CLUSTERS = 0.3 * RNG.standard_normal((900, 4)) + 8 * SIDE[:, None] * [1, 1, 0, 0]
AMOUNT = np.where(RNG.random(900) < 0.4, 0.0, RNG.exponential(size=900))
X = np.column_stack([CLUSTERS, AMOUNT])
BOTH = {"prior": "codes", "margins": "data"}


def fitted(X, n_components=2, likelihood="gaussian_diag", **fit):
    vae = VAETransformer(n_components, likelihood=likelihood, max_iter=0, random_state=0)
    return vae.fit(X, **fit)


@pytest.fixture(scope="module")
def vae():
    return fitted(X)


def empty_middle(sampled):
    return np.mean((sampled[:, 0] > 2) & (sampled[:, 0] < 6))


# -- codes


def test_the_middle_of_two_clusters_of_codes_stays_empty(vae):
    normal, codes = (vae.sample(2000, 0, prior=prior) for prior in ("normal", "codes"))
    assert empty_middle(X) == 0
    assert empty_middle(normal) > 0.2
    assert empty_middle(codes) < 0.01
    assert_allclose(np.mean(codes[:, 0] > 4), SIDE.mean(), atol=0.04)


def test_posteriors_are_those_of_the_samples(vae):
    assert vae.posteriors_.dtype == np.float32
    mean, std = vae.posterior(X)
    assert_allclose(vae.posteriors_[:, 0], mean, atol=1e-5)
    assert_allclose(vae.posteriors_[:, 1], std, atol=1e-5)


def test_missing_values_widen_the_posteriors():
    given = X.copy()
    given[:300, 0] = np.nan
    vae = fitted(given)
    assert_allclose(vae.posteriors_[:, 1], vae.posterior(given)[1], rtol=1e-4)
    assert (vae.posteriors_[:300, 1, 0] > vae.posteriors_[300:, 1, 0].max()).all()
    assert not np.isnan(vae.sample(50, 0, **BOTH)).any()


def test_samples_are_drawn_by_weight():
    weight = np.where(SIDE == 1, 9.0, 1.0)
    vae = fitted(X, sample_weight=weight)
    share = weight @ SIDE / weight.sum()
    drawn = vae.sample(2000, 0, prior="codes")
    assert_allclose(np.mean(drawn[:, 0] > 4), share, atol=0.03)
    drawn = vae.sample(2000, 0, margins="data")
    assert_allclose(np.mean(drawn[:, 0] > 4), share, atol=0.03)


def test_samples_of_weight_zero_are_left_out():
    vae = fitted(X, sample_weight=1.0 - SIDE)
    assert len(vae.posteriors_) == np.sum(SIDE == 0)
    assert vae.quantiles_[-1, 0] == X[SIDE == 0, 0].max()


def test_few_of_many_samples_are_stored():
    many = fitted(np.tile(X, (6, 1)))
    assert many.posteriors_.shape == (4096, 2, 2)
    assert_allclose(many.sample(2000, 0, **BOTH)[:, 0].mean(), 8 * SIDE.mean(), atol=0.3)


@pytest.mark.parametrize("n_normals", [1, 3])
def test_held_out_draws_choose_the_number_of_normals(n_normals):
    rng = np.random.default_rng(1)
    centre = rng.integers(n_normals, size=1000)
    Z = rng.standard_normal((1000, 2)) + 12 * centre[:, None] * [1, -1]
    mixture = Mixture.of(Z, 0)
    assert len(mixture.weights) == n_normals
    drawn = mixture.sample(20_000, np.random.RandomState(0))
    assert_allclose(np.cov(drawn.T), np.cov(Z.T), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("n_samples", [2, 3, 5])
def test_few_samples_have_a_density(n_samples):
    vae = fitted(X[:n_samples], 1, "gaussian")
    assert vae.sample(3, 0, **BOTH).shape == (3, 5)


def test_the_end_of_a_series_does_not_widen_its_posterior():
    rows = RNG.standard_normal((30, 6, 2))
    rows[:10, 4:] = np.nan
    network = SequenceNetwork((6, 2), units=4)
    vae = VAETransformer(2, network=network, max_iter=0, random_state=0).fit(rows)
    assert_allclose(vae.posteriors_[:, 1], vae.posterior(rows)[1], rtol=1e-5)
    assert vae.sample(5, 0, **BOTH).shape == (5, 6, 2)
    assert_allclose(
        vae.score_features(rows).sum(axis=(1, 2)), vae.score_samples(rows), rtol=1e-5
    )


# -- margins


@pytest.mark.parametrize("prior", ["normal", "codes"])
def test_zeros_and_bounds_come_back(vae, prior):
    drawn = vae.sample(4000, 0, prior=prior, margins="data")
    assert_allclose(np.mean(drawn[:, 4] == 0), np.mean(AMOUNT == 0), atol=0.025)
    assert (drawn.min(axis=0) >= X.min(axis=0)).all()
    assert (drawn.max(axis=0) <= X.max(axis=0)).all()
    for own, given in zip(drawn.T, X.T, strict=True):
        assert ks_2samp(own, given).statistic < 0.05


def test_ranks_stay_the_models(vae):
    own, mapped = (vae.sample(500, 0, margins=margins) for margins in ("model", "data"))
    for a, b in zip(own.T, mapped.T, strict=True):
        assert (np.diff(b[np.argsort(a)]) >= 0).all()


def test_one_row_is_drawn_of_the_margins(vae):
    one = vae.sample(1, np.random.RandomState(3), add_noise=False, **BOTH)
    assert (X.min(axis=0) <= one).all()
    assert (one <= X.max(axis=0)).all()


def test_quantiles_keep_ties_and_interpolate_the_rest():
    assert_allclose(
        quantiles_of(np.array([[0.0], [1.0]])).ravel(), np.linspace(0, 1, 256)
    )
    values = np.array([0.0, 0.0, 0.0, 1.0, 2.0])
    place = np.array([0.0, 1.7, 2.4, 2.6, 3.25])
    assert_allclose(interpolated(values, place), [0, 0, 0, 1, 1.25])
    column = np.array([[3.0], [np.nan], [3.0], [3.0]])
    assert_array_equal(np.unique(quantiles_of(column)), [3.0])
    assert np.isnan(quantiles_of(np.full((3, 1), np.nan))).all()
    weighted = quantiles_of(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 1e-9, 1.0]))
    assert np.all(np.diff(weighted.ravel()) >= 0)


def test_places_invert_quantiles():
    rng = np.random.RandomState(0)
    quantiles = quantiles_of(RNG.standard_normal((1000, 1)))
    x = rng.uniform(-1, 1, (200, 1))
    assert_allclose(with_quantiles(x, quantiles, quantiles, rng), x, atol=1e-12)
    atoms = np.repeat([0.0, 1.0], [64, 192])
    places = places_of(np.repeat([0.0, 1.0], 500), atoms, rng)
    assert np.ptp(places[:500]) > 50
    assert np.ptp(places[500:]) > 150
    assert places[:500].max() < places[500:].min()


# -- mixed tables


@pytest.fixture(scope="module")
def table():
    return pd.DataFrame(
        {
            "amount": AMOUNT,
            "visits": RNG.poisson(2, 900),
            "side": np.where(SIDE, "left", "right"),
            "kind": pd.Categorical(RNG.choice(["a", "b", "c"], 900)),
            "day": pd.Timestamp("2024-02-01") + pd.to_timedelta(SIDE * 30, unit="D"),
        }
    )


@pytest.fixture(scope="module")
def of_table(table):
    return fitted(table, likelihood="auto")


def test_a_table_has_margins_of_its_numbers(of_table, table):
    assert of_table.quantiles_.shape == (256, 3)
    drawn = of_table.sample(2000, 0, **BOTH)
    assert_array_equal(drawn.dtypes, table.dtypes)
    assert_allclose(np.mean(drawn.amount == 0), np.mean(AMOUNT == 0), atol=0.04)
    assert set(drawn.visits) <= set(range(table.visits.max() + 1))
    assert_allclose(np.mean(drawn.visits == 0), np.mean(table.visits == 0), atol=0.04)
    assert set(drawn.day.dt.date) == set(table.day.dt.date)


def test_classes_are_unchanged_by_margins(of_table):
    own, mapped = (of_table.sample(50, 0, margins=one) for one in ("model", "data"))
    pd.testing.assert_frame_equal(own[["side", "kind"]], mapped[["side", "kind"]])


def test_binary_features_have_no_margins():
    given = (RNG.random((50, 3)) < 0.5).astype(float)
    vae = fitted(given, likelihood="bernoulli")
    assert vae.quantiles_.shape == (256, 0)
    assert_array_equal(vae.sample(20, 0), vae.sample(20, 0, margins="data"))
    assert len(Bernoulli().numbers(3)) == len(Categorical().numbers(3)) == 0


# -- state


def test_files_draw_the_same_samples(of_table, tmp_path):
    path = tmp_path / "vae.skae"
    of_table.save(path)
    loaded = skae.load(path)
    pd.testing.assert_frame_equal(
        loaded.sample(30, 1, **BOTH), of_table.sample(30, 1, **BOTH)
    )


def test_an_earlier_file_is_refused_by_name(tmp_path):
    vae = fitted(X)
    del vae.posteriors_, vae.quantiles_
    vae.save(tmp_path / "vae.skae")
    loaded = skae.load(tmp_path / "vae.skae")
    assert loaded.sample(2).shape == (2, 5)
    with pytest.raises(ValueError, match=r"prior='codes' needs posteriors_.*earlier"):
        loaded.sample(2, prior="codes")
    with pytest.raises(ValueError, match=r"margins='data' needs quantiles_.*earlier"):
        loaded.sample(2, margins="data")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("posteriors_", np.zeros((4, 2, 3))), ("quantiles_", np.zeros((256, 9)))],
)
def test_a_file_of_other_shapes_is_refused(tmp_path, name, wrong):
    vae = fitted(X)
    setattr(vae, name, wrong)
    vae.save(tmp_path / "vae.skae")
    with pytest.raises(ValueError, match=name):
        skae.load(tmp_path / "vae.skae")


def test_a_stream_has_the_codes_of_its_samples():
    vae = VAETransformer(2, likelihood="gaussian_diag", max_iter=0, random_state=0)
    for some in np.array_split(np.tile(X, (3, 1)), 3):
        vae.partial_fit(some)
    assert vae.posteriors_.shape == (2048, 2, 2)
    drawn = vae.sample(2000, 0, prior="codes")
    assert empty_middle(drawn) < 0.01
    drawn = vae.sample(2000, 0, margins="data")
    assert_allclose(np.mean(drawn[:, 4] == 0), np.mean(AMOUNT == 0), atol=0.04)


def test_an_int_leaves_the_random_state_of_the_caller(vae):
    fresh = fitted(X)
    np.random.seed(4)
    before = np.random.get_state()[1].copy()
    first = fresh.sample(5, 0, **BOTH)
    assert_array_equal(np.random.get_state()[1], before)
    assert_array_equal(fresh.sample(5, 0, **BOTH), first)
    assert_array_equal(vae.sample(5, 0, **BOTH), first)


def test_a_refit_has_its_own_distributions():
    vae = fitted(X)
    vae.sample(2, 0, **BOTH)
    drawn = vae.fit(X + 100).sample(50, 0, **BOTH)
    assert (drawn >= 90).all()


@pytest.mark.parametrize("name", ["prior", "margins"])
@pytest.mark.parametrize("wrong", ["posterior", None, True])
def test_options_are_checked_by_name(vae, name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be .* Got {wrong!r}"):
        vae.sample(2, **{name: wrong})


def test_no_quantiles_of_very_many_columns():
    vae = fitted(RNG.standard_normal((10, 1025)), likelihood="gaussian")
    assert vae.quantiles_ is None
    assert vae.sample(2, prior="codes").shape == (2, 1025)
    with pytest.raises(
        ValueError, match=r"margins='data' needs quantiles.* at most 1024"
    ):
        vae.sample(2, margins="data")
