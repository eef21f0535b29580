"""Mixed tables through the estimators: frames of numbers, categories, bools and dates."""

import pickle
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.special import softmax
from sklearn.base import BaseEstimator, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._data.rows import Rows
from skae.likelihoods import ByColumn, Poisson, from_transformer
from skae.networks import ConvNetwork, SequenceNetwork
from skae.noise import GaussianNoise, SwapNoise
from skae.outliers import ReconstructionOutlierDetector

ESTIMATORS = [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]


def table(n=300, seed=0):
    """A table of two latent variables: two numbers, two categories, a bool and a date."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 2))
    place = np.digitize(z[:, 0] + 0.3 * rng.standard_normal(n), [-0.5, 0.7])
    hours = np.rint(1000 * (z[:, 1] + 4)).astype("m8[h]")
    return pd.DataFrame(
        {
            "size": 3 * z[:, 0] + 0.1 * rng.standard_normal(n),
            "visits": rng.poisson(np.exp(0.5 * z[:, 1] + 1)),
            "kind": np.array(["ash", "elm", "oak"])[place],
            "sex": np.where(z[:, 1] + 0.3 * rng.standard_normal(n) > 0, "m", "f"),
            "old": z[:, 1] > 0.5,
            "day": np.datetime64("2020-01-01T00", "h") + hours,
        }
    )


@pytest.fixture(scope="module")
def df():
    return table()


@pytest.fixture(scope="module")
def gaps(df):
    """The same table without a tenth of its values."""
    found = df.astype({"visits": "Int64", "old": "boolean"})
    return found.mask(np.random.default_rng(1).random(df.shape) < 0.1)


def start(kind, k=2, **params):
    """The closed form of an estimator."""
    return kind(k, max_iter=0, **params)


def famd(df, k):
    """Factor analysis of mixed data by a singular value decomposition (Pagès 2004)."""
    parts = []
    for name in df:
        column = df[name]
        if column.dtype.kind == "M":
            column = column.astype("int64").astype(float)
        if column.dtype.kind in "if":
            parts.append(
                (column.to_numpy() - column.mean())[:, None] / column.std(ddof=0)
            )
        else:
            one_hot = pd.get_dummies(column).to_numpy(float)
            share = one_hot.mean(axis=0)
            parts.append((one_hot - share) / np.sqrt(share))
    left, singular, _ = np.linalg.svd(np.hstack(parts), full_matrices=False)
    return left[:, :k] * singular[:k], singular**2 / len(df)


# -- what stays as it was


def test_frames_of_numbers_are_what_their_arrays_are():
    X, _ = load_wine(return_X_y=True, as_frame=True)
    X["proline"] = X["proline"].astype("Int64")
    X["old"] = X["hue"] > 1
    on_frame = AutoencoderTransformer(3, max_iter=3, random_state=0).fit(X)
    on_array = AutoencoderTransformer(3, max_iter=3, random_state=0).fit(
        X.to_numpy(float)
    )
    assert on_frame.table_ is None
    assert (on_frame.transform(X) == on_array.transform(X.to_numpy(float))).all()
    assert (on_frame.components_ == on_array.components_).all()


# -- the start


def test_the_start_is_famd(df):
    mixed = df.drop(columns="old").assign(old=np.where(df["old"], "yes", "no"))
    scores, eigenvalues = famd(mixed, 3)
    found = start(AutoencoderTransformer, 3).fit(mixed)
    codes = found.transform(mixed)
    assert np.abs(np.abs(codes) - np.abs(scores)).max() < 1e-8
    n = len(df)
    assert np.allclose(found.explained_variance_ * (n - 1) / n, eigenvalues[:3])
    share = eigenvalues[:3] / eigenvalues.sum()
    assert np.allclose(found.explained_variance_ratio_, share)
    one = found.transform(mixed.iloc[[7]])
    assert np.allclose(one, codes[7], rtol=0, atol=1e-12)


def test_two_levels_are_one_column_of_pca(df):
    X = df[["size", "visits", "sex"]]
    Z = np.column_stack([X["size"], X["visits"], X["sex"] == "m"])
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    found = start(AutoencoderTransformer).fit(X)
    assert list(found.table_.names) == ["size", "visits", "sex_m"]
    assert np.allclose(found.explained_variance_, PCA(2).fit(Z).explained_variance_)


def test_the_loss_of_the_means_counts_half_and_one(df):
    """Of a model that knows nothing, a number loses a half, and a class 1."""
    X = df[["size", "kind", "sex"]].copy()
    rng = np.random.default_rng(0)
    X = X.apply(lambda column: rng.permutation(column))  # no column tells of another
    found = AutoencoderTransformer(1, max_iter=0, init="random", random_state=0).fit(X)
    weights = found._state.specification.objective.balance
    share = pd.get_dummies(X["kind"]).mean().to_numpy()
    entropy = -(share * np.log(share)).sum()
    p = (X["sex"] == "m").mean()
    of_sex = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    wanted = {"size": 1 / (2 * X["size"].var()), "sex_m": 1 / of_sex}
    for name, weight in zip(found.table_.names, weights, strict=True):
        assert np.isclose(weight, wanted.get(name, 1 / entropy)), name


def test_scores_are_minus_the_balanced_loss(df):
    """Computed by hand from what the decoder gives, in NumPy."""
    found = AutoencoderTransformer(2, max_iter=3, random_state=0).fit(df)
    matrix, mean = found.table_.encode(df), found.decoder_(found.transform(df))
    mean = np.asarray(mean, np.float64)
    places = dict(zip(found.table_.column_names, found.table_.places, strict=True))
    scores = pd.DataFrame(found.score_features(df), columns=df.columns)
    for name in ("size", "visits", "day"):
        place = places[name]
        error = (matrix - mean)[:, place].ravel() ** 2
        wanted = error / (2 * matrix[:, place].var(ddof=1))
        assert np.allclose(scores[name], -wanted, rtol=1e-3, atol=1e-6)
    for name in ("kind", "sex", "old"):
        x, p = matrix[:, places[name]], mean[:, places[name]]
        if x.shape[1] == 1:
            x, p = np.hstack([x, 1 - x]), np.hstack([p, 1 - p])
        share = x.mean(axis=0)
        entropy = max(-(share * np.log(share)).sum(), 0.17)
        loss = -np.log((x * p).sum(axis=1)) / entropy
        assert np.allclose(scores[name], -loss, rtol=1e-3, atol=1e-5)
    assert np.allclose(scores.sum(axis=1), found.score_samples(df))
    total = found.history_["loss"][-1]
    assert np.isclose(-found.score(df), total, rtol=0.3)


def test_scores_of_the_vae_are_nats_of_each_column(df, gaps):
    found = start(VAETransformer).fit(df)
    for X in (df, gaps):
        scores = found.score_features(X)
        assert scores.shape == df.shape
        assert np.allclose(scores.sum(axis=1), found.score_samples(X), atol=1e-6)
        assert (scores[X.isna().to_numpy()] == 0).all()


def test_a_code_that_knows_nothing_scores_frequencies():
    """Columns that are independent: minus the entropies, and the normal's nats."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "a": rng.normal(5, 3, 2000),
            "b": rng.choice(["u", "v", "w"], 2000, p=[0.7, 0.2, 0.1]),
        }
    )
    with pytest.warns(ConvergenceWarning, match="No component"):
        found = start(VAETransformer, 1, beta=50).fit(X)
    share = X["b"].value_counts(normalize=True)
    nats = -(np.log(2 * np.pi * X["a"].var(ddof=0)) + 1) / 2
    mean = found.score_features(X).mean(axis=0)
    assert np.allclose(mean, [nats, (share * np.log(share)).sum()], atol=2e-3)


# -- frames in, frames out


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_rows_come_back_as_they_were(df, kind):
    df = df.set_index(np.arange(len(df))[::-1] + 5)
    found = start(kind).fit(df)
    for X in (found.reconstruct(df), found.inverse_transform(found.transform(df))):
        assert (X.dtypes == df.dtypes).all()
        assert list(X.columns) == list(df.columns)
    assert found.reconstruct(df).index.equals(df.index)
    assert found.n_features_in_ == 6
    assert list(found.feature_names_in_) == list(df.columns)
    assert found.transform(df).shape == (len(df), 2)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_backend_has_the_codes_of_pandas(df, kind):
    found = start(kind).fit(df)
    codes = found.transform(df)
    for X in (pl.from_pandas(df), pa.Table.from_pandas(df)):
        assert (found.transform(X) == codes).all()
        assert type(found.impute(X)) is type(X)
        again = start(kind).fit(X)
        assert np.allclose(np.abs(again.transform(X)), np.abs(codes), atol=1e-6)
        assert again.reconstruct(X).schema == X.schema


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_missing_values_are_imputed_and_nothing_else_is_changed(gaps, kind):
    found = start(kind).fit(gaps)
    full = found.impute(gaps)
    assert not full.isna().any().any()
    assert (full.dtypes == gaps.dtypes).all()
    there = gaps.notna()
    assert full.where(there).equals(gaps)
    assert full["visits"].min() >= gaps["visits"].min()
    assert full["size"].max() == gaps["size"].max()  # within the range of fit


def test_imputed_classes_are_right():
    """A column that another one determines; the most frequent level where none does."""
    rng = np.random.default_rng(0)
    a = rng.choice(["x", "y", "z"], 400)
    b = np.array(["p", "q", "r"])[np.unique(a, return_inverse=True)[1]]
    alone = rng.choice(["m", "n", "o"], 400, p=[0.6, 0.3, 0.1])
    full = pd.DataFrame({"a": a, "b": b, "c": rng.normal(size=400), "alone": alone})
    gaps = full.copy()
    gaps.loc[:39, "b"] = None
    gaps.loc[40:49, "alone"] = None
    found = VAETransformer(3, max_iter=0).fit(gaps).impute(gaps)
    assert (found["b"] == full["b"]).mean() >= 0.99
    assert (found.loc[40:49, "alone"] == "m").all()


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_numbers_without_any_value_are_zero_with_a_warning(df, kind):
    X = df.assign(nothing=np.nan)
    with pytest.warns(UserWarning, match=r"without any value: \['nothing'\]"):
        found = start(kind).fit(X)
    assert (found.impute(X)["nothing"] == 0).all()
    if kind is AutoencoderTransformer:  # others draw noise, or share it out
        codes, alone = found.transform(X), start(kind).fit(df).transform(df)
        assert np.allclose(np.abs(codes), np.abs(alone), atol=1e-6)


def test_unseen_levels_are_missing(df):
    found = start(VAETransformer).fit(df)
    odd, gap = df.iloc[:20].copy(), df.iloc[:20].copy()
    odd.loc[3, "kind"], gap.loc[3, "kind"] = "fir", None
    for method in ("transform", "score_samples", "score_features"):
        assert (getattr(found, method)(odd) == getattr(found, method)(gap)).all()
    assert found.impute(odd).equals(found.impute(gap))
    whole = df.iloc[:20].assign(kind="fir")
    with pytest.warns(UserWarning, match=r"No value of X's column 'kind'.*'fir'.*'ash'"):
        found.transform(whole)


def test_a_row_of_odd_classes_is_explained_by_column():
    rng = np.random.default_rng(0)
    a = rng.choice(["x", "y", "z"], 500)
    X = pd.DataFrame({"a": a, "b": np.char.upper(a), "n": rng.normal(size=500)})
    odd = X.iloc[[0]].assign(a="x", b="Z")
    models = [start(VAETransformer), start(AutoencoderTransformer)]
    models += [ReconstructionOutlierDetector(model) for model in models]
    for model in models:
        scores = model.fit(X).score_features(odd)[0]
        assert scores.argmin() in (0, 1)
        assert scores.min() < model.score_features(X)[:, :2].min() + 1e-9


# -- draws


def test_draws_agree_with_expectations(gaps):
    found = start(VAETransformer, random_state=0).fit(gaps)
    some = gaps.iloc[:40]
    draws = found.impute(some, n_draws=200, random_state=0)
    again = found.impute(some, n_draws=200, random_state=0)
    assert all(a.equals(b) for a, b in zip(draws, again, strict=True))
    assert not any(one.isna().any().any() for one in draws)
    whole = some.notna().all(axis=1)
    assert all(one[whole].equals(some[whole]) for one in draws)
    assert all(one.where(some.notna()).equals(some) for one in draws[:5])
    for row in some.index[some["kind"].isna()]:
        X = some.loc[[row]]
        drawn = pd.Series([one.loc[row, "kind"] for one in draws])
        p = _expected_classes(found, X)
        share = (
            drawn.value_counts(normalize=True).reindex(["ash", "elm", "oak"]).fillna(0)
        )
        error = np.sqrt(np.maximum(p * (1 - p), 0.02) / 200)
        assert (np.abs(share.to_numpy() - p) < 4.5 * error).all()


def _expected_classes(model, X):
    """The probabilities of each kind, given what is there, from many prior draws."""
    rng, given = np.random.default_rng(0), model.table_.encode(X)
    weights = model._state.weights
    z = rng.standard_normal((200_000, 2))
    out = (
        z @ weights["decoder/linear_output/kernel"]
        + weights["decoder/linear_output/bias"]
    )
    out = out * model._state.coordinates.unit
    logs, noise = np.zeros(len(z)), model.noise_variance_
    place, scale = model._state.coordinates.mean, model._state.coordinates.scale
    for columns, one in zip(model.table_.places, model.table_.columns, strict=True):
        x = given[0, columns]
        if np.isnan(x).any():
            continue
        if one.kind in ("number", "datetime"):
            mean = out[:, columns] * scale[columns] + place[columns]
            logs -= ((x - mean) ** 2 / noise[columns] / 2).sum(axis=1)
        elif len(columns) == 1:
            sign = 2 * x - 1
            logs -= np.log1p(np.exp(-sign * out[:, columns[0]]))
        else:
            logs += np.log(softmax(out[:, columns], axis=1) @ x)
    share = softmax(logs)
    kind = model.table_.places[list(model.table_.column_names).index("kind")]
    return share @ softmax(out[:, kind], axis=1)


@pytest.mark.slow
def test_draws_are_multiple_imputations_of_the_right_width():
    """The intervals of a mean, by Rubin's rules, cover the truth as often as they say."""
    covered, n_tables, n_draws = 0, 60, 10
    for seed in range(n_tables):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((100, 1))
        X = z @ [[1.0, 1.0, 1.0]] + 0.7 * rng.standard_normal((100, 3))
        X[rng.random(X.shape) < 0.3] = np.nan
        model = VAETransformer(1, max_iter=0).fit(X)
        tables = np.array(model.impute(X, n_draws=n_draws, random_state=seed))
        means = tables[:, :, 0].mean(axis=1)
        within = (tables[:, :, 0].var(axis=1, ddof=1) / 100).mean()
        total = within + (1 + 1 / n_draws) * means.var(ddof=1)
        covered += abs(means.mean()) < 1.96 * np.sqrt(total)
    assert 0.85 <= covered / n_tables <= 1.0


def test_samples_are_rows_of_the_table(df):
    found = VAETransformer(2, max_iter=0).fit(df)
    X = found.sample(4000, random_state=0)
    assert (X.dtypes == df.dtypes).all()
    assert not X.isna().any().any()
    share = X["kind"].value_counts(normalize=True) - df["kind"].value_counts(
        normalize=True
    )
    assert np.abs(share).max() < 0.06
    assert X["size"].between(df["size"].min(), df["size"].max()).all()
    assert X["visits"].between(df["visits"].min(), df["visits"].max()).all()
    assert (X["day"].dt.minute == 0).all()
    means = found.sample(4000, random_state=0, add_noise=False)
    assert means["size"].std() < X["size"].std()
    a, b = (found.sample(5, random_state=3) for _ in range(2))
    assert a.equals(b)


def test_noise_is_the_default_of_sample():
    """Samples have the covariance of the density that `score_samples` computes."""
    X, _ = load_wine(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    found = VAETransformer(3, max_iter=0).fit(X)
    drawn = np.cov(found.sample(40_000, random_state=0).T)
    assert np.abs(drawn - PCA(3).fit(X).get_covariance()).max() < 0.05


def test_only_a_density_has_draws(gaps):
    found = start(AutoencoderTransformer).fit(gaps)
    with pytest.raises(ValueError, match="AutoencoderTransformer has none"):
        found.impute(gaps, n_draws=3)
    vae = start(VAETransformer).fit(gaps)
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match=f"n_draws must be None or an int.*{wrong}"):
            vae.impute(gaps, n_draws=wrong)


# -- likelihoods by column


def _names(model):
    likelihood = model._state.specification.objective.likelihood
    names = model.table_.names
    return {
        type(one).__name__: sorted(names[np.asarray(columns)].tolist())
        for one, columns in likelihood.pairs
    }


def test_each_kind_has_what_suits_it(df):
    found = _names(start(VAETransformer).fit(df))
    assert found == {
        "Gaussian": ["day", "size", "visits"],
        "Bernoulli": ["old", "sex_m"],
        "Categorical": ["kind_ash", "kind_elm", "kind_oak"],
    }
    pairs = [("poisson", ["visits"])]
    model = VAETransformer(2, max_iter=0, likelihood=pairs).fit(df)
    assert _names(model)["Poisson"] == ["visits"]
    assert _names(model)["Gaussian"] == ["day", "size"]
    drawn = model.sample(500, random_state=0)["visits"]
    assert (drawn >= 0).all()
    one = VAETransformer(2, max_iter=0, likelihood=[(Poisson(), [1])]).fit(df)
    assert _names(one) == _names(model)
    huber = AutoencoderTransformer(2, max_iter=0, loss="huber").fit(df)
    assert _names(huber)["Huber"] == ["day", "size", "visits"]
    assert _names(huber)["Categorical"] == ["kind_ash", "kind_elm", "kind_oak"]


def test_one_noise_of_all_numbers_is_in_each_ones_unit(df):
    found = VAETransformer(2, max_iter=0, likelihood="gaussian").fit(df)
    noise, matrix = found.noise_variance_, found.table_.encode(df)
    numbers = found.table_.numbers
    share = noise[numbers] / matrix[:, numbers].var(axis=0, ddof=1)
    assert np.allclose(share, share[0])


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        ([("poisson", ["size_"])], "size_"),
        ([("gaussian", ["kind"])], "'kind' of X holds classes"),
        ([("bernoulli", ["kind"])], "'kind' of X holds classes"),
        (
            [("categorical", ["visits"])],
            "'visits' of X holds numbers.*categorical_features",
        ),
        ("bernoulli", "'size' of X holds numbers"),
        ([("gaussian", ["size"]), ("poisson", [0])], "In several: 'size'"),
    ],
)
def test_likelihoods_of_another_kind_are_refused(df, likelihood, message):
    with pytest.raises(ValueError, match=message):
        VAETransformer(likelihood=likelihood).fit(df)


# -- what is named


def test_categories_by_name_index_or_mask_also_of_arrays():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 200)
    X = np.column_stack([codes + rng.normal(0, 0.1, 200), codes, rng.normal(size=200)])
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    found = [
        AutoencoderTransformer(2, max_iter=0, categorical_features=some).fit(rows)
        for rows, some in [
            (frame, ["b"]),
            (frame, [1]),
            (X, [False, True, False]),
            (X, [1]),
        ]
    ]
    assert list(found[0].table_.names) == ["a", "b_0", "b_1", "b_2", "c"]
    assert list(found[3].table_.names) == ["x0", "x1_0", "x1_1", "x1_2", "x2"]
    first = found[0].transform(frame)
    for one, rows in zip(found[1:], (frame, X, X), strict=True):
        assert (one.transform(rows) == first).all()
    back = found[3].reconstruct(X)
    assert isinstance(back, np.ndarray)
    assert set(np.unique(back[:, 1])) <= {0, 1, 2}
    assert (
        AutoencoderTransformer(2, max_iter=0, categorical_features=None).fit(X).table_
        is None
    )


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (ConvNetwork((2, 4, 1)), "ConvNetwork"),
        (SequenceNetwork((2, 4)), "SequenceNetwork"),
    ],
)
def test_networks_of_one_kind_of_values_are_refused(df, network, name):
    with pytest.raises(ValueError, match=f"{name}.*one kind"):
        AutoencoderTransformer(2, network=network).fit(df)


def test_other_columns_are_refused(df):
    found = start(AutoencoderTransformer).fit(df)
    with pytest.raises(ValueError, match="feature names"):
        found.transform(df.rename(columns={"size": "length"}))
    with pytest.raises(ValueError, match="feature"):
        found.transform(df.drop(columns="size"))
    with pytest.raises(TypeError, match="'size'"):
        found.transform(df.assign(size="big"))
    with pytest.raises(ValueError, match="0 sample"):
        found.transform(df.iloc[:0])
    with pytest.raises(ValueError, match=r"infinity.*'size'"):
        found.transform(df.assign(size=np.inf))
    with pytest.raises(TypeError, match=r"'odd'.*'a'.*1"):
        start(AutoencoderTransformer).fit(df.assign(odd=["a", 1] * (len(df) // 2)))


def test_a_refused_fit_leaves_the_last_one(df):
    found = start(AutoencoderTransformer).fit(df)
    codes, before = found.transform(df), found.table_
    with pytest.raises(ValueError, match="infinity"):
        found.fit(df[["size", "kind"]].assign(size=np.inf))
    assert found.table_ is before
    assert (found.transform(df) == codes).all()
    X, _ = load_wine(return_X_y=True)
    assert found.fit(X).table_ is None
    assert isinstance(found.reconstruct(X), np.ndarray)


# -- crossings


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_weights_count_rows(gaps, kind):
    twice = pd.concat([gaps, gaps.iloc[:100]], ignore_index=True)
    weight = np.ones(len(gaps))
    weight[:100] = 2
    a = start(kind).fit(gaps, sample_weight=weight)
    b = start(kind).fit(twice)
    assert np.allclose(a.transform(gaps), b.transform(gaps), atol=1e-5)
    assert np.isclose(a.score(gaps), b.score(gaps), rtol=1e-4)


def test_levels_of_rows_without_weight_are_unseen(df):
    X, weight = pd.concat([df, df.iloc[:5].assign(kind="fir")]), np.ones(len(df) + 5)
    weight[-5:] = 0
    found = start(VAETransformer).fit(X, sample_weight=weight)
    assert "kind_fir" not in found.table_.names
    assert np.allclose(found.transform(df), start(VAETransformer).fit(df).transform(df))


def test_heavy_tails_are_warned_of_by_name(df):
    X = pd.concat([df] * 8, ignore_index=True)
    X.loc[0, "size"] = 1e6
    with pytest.warns(UserWarning, match=r"30 standard deviations.*\['size'\].*log1p"):
        start(AutoencoderTransformer).fit(X)


def test_rows_of_a_table_are_not_smoothed(df):
    with pytest.raises(ValueError, match="smoothing"):
        AutoencoderTransformer(2, smoothing=0.3, max_iter=1).fit(df)


def test_callbacks_see_the_encoded_matrix(df):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model.input_shape)

    found = VAETransformer(2, max_iter=2, callbacks=[Watch()], random_state=0).fit(df)
    assert seen == [(None, len(found.table_.names))] * 2
    codes = found.encoder_(found.table_.encode(df))
    codes = codes[0] if isinstance(codes, (list, tuple)) else codes
    assert np.allclose(np.asarray(codes), found.transform(df), atol=1e-4)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_held_out_rows_are_read_by_the_same_table(df, kind):
    held_out = df.iloc[:60].copy()
    held_out.loc[0, "kind"] = "fir"
    found = kind(2, max_iter=2, random_state=0).fit(df.iloc[60:], X_val=held_out)
    assert len(found.validation_scores_) == 2
    assert np.isfinite(found.validation_scores_).all()
    assert "kind_fir" not in found.table_.names


def test_clean_rows_share_the_table_of_noisy_ones(df):
    noisy = df.assign(kind=np.where(df["kind"] == "oak", None, df["kind"]))
    found = DenoisingAutoencoder(2, max_iter=2, random_state=0).fit(noisy, X_clean=df)
    assert "kind_oak" in found.table_.names
    assert np.isfinite(found.score(noisy, X_clean=df))
    parts = found.score_features(noisy, X_clean=df)
    assert np.allclose(parts.sum(axis=1), found.score_samples(noisy, X_clean=df))
    with pytest.raises(ValueError, match="X_clean must have the columns of X"):
        DenoisingAutoencoder(2).fit(noisy, X_clean=df.assign(kind=1.0))


def test_a_search_over_folds_that_lack_a_class(df):
    by_kind = df.sort_values("kind")
    search = GridSearchCV(
        VAETransformer(max_iter=0), {"n_components": [1, 2]}, cv=KFold(3)
    )
    search.fit(by_kind)
    folds = [f"split{i}_test_score" for i in range(3)]
    assert np.isfinite([search.cv_results_[name] for name in folds]).all()
    assert search.best_estimator_.table_.columns[2].levels == ("ash", "elm", "oak")


def test_calls_of_partial_fit_share_the_first_table(df):
    first = df.astype({"kind": pd.CategoricalDtype(["ash", "elm", "fir", "oak"])})
    found = VAETransformer(2, random_state=0)
    for some in range(0, 300, 150):
        found.partial_fit(first.iloc[some : some + 150])
    assert "kind_fir" in found.table_.names  # declared, though not seen
    assert found.transform(first).shape == (300, 2)
    assert (found.impute(first).dtypes == first.dtypes).all()
    plain = start(VAETransformer).partial_fit(df[df["kind"] != "oak"])
    with pytest.warns(UserWarning, match=r"'kind': 'oak'.*CategoricalDtype"):
        plain.partial_fit(df)
    with pytest.raises(ValueError, match=r"max_iter=0 needs all samples.*2048.*use fit"):
        plain.partial_fit(table(2000))


def test_calls_that_do_not_train_are_one_fit(df):
    calls = start(VAETransformer)
    for some in (df.iloc[:150], df.iloc[150:]):
        calls.partial_fit(some)
    at_once = start(VAETransformer).fit(df)
    assert np.allclose(calls.transform(df), at_once.transform(df), atol=1e-6)


def test_warm_start_keeps_the_table_and_the_balance(df):
    found = AutoencoderTransformer(2, max_iter=2, warm_start=True, random_state=0).fit(df)
    before, balance = found.table_, found._state.specification.objective.balance
    found.fit(df.iloc[50:])
    assert found.table_ is before
    assert (found._state.specification.objective.balance == balance).all()


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_files_and_pickles_hold_the_table(df, kind, tmp_path):
    found = start(kind).fit(df)
    found.save(tmp_path / "model.skae")
    loaded = skae.load(tmp_path / "model.skae")
    for again in (loaded, pickle.loads(pickle.dumps(found))):
        assert again.table_ == found.table_
        assert (again.transform(df) == found.transform(df)).all()
        assert again.reconstruct(df).equals(found.reconstruct(df))
    assert b"pandas" not in pickle.dumps(found).replace(b'"pandas"', b"").replace(
        b"\x06pandas", b""
    )
    assert clone(found).get_params()["categorical_features"] == "from_dtype"


def test_a_process_without_pandas_answers_arrays(df, tmp_path):
    found = start(VAETransformer).fit(df)
    found.save(tmp_path / "model.skae")
    rows = df.iloc[:3].astype(object).to_numpy()
    rows[:, 5] = [day.to_pydatetime() for day in df["day"].iloc[:3]]
    np.save(tmp_path / "codes.npy", found.transform(df.iloc[:3]))
    with open(tmp_path / "rows.pickle", "wb") as file:
        pickle.dump(rows.tolist(), file)
    script = """
import sys
sys.modules["pandas"] = None
import pickle, numpy as np, skae
model = skae.load("model.skae")
rows = np.array(pickle.load(open("rows.pickle", "rb")), dtype=object)
print(np.abs(model.transform(rows) - np.load("codes.npy")).max() < 1e-6)
drawn = model.sample(20, random_state=0)
print(type(drawn).__name__, drawn.dtype, "ash" in drawn[:, 2], drawn.shape)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == ["True", "ndarray", "object", "True", "(20,", "6)"], (
        ran.stderr
    )


def test_set_output_names_the_columns_of_the_frame(df):
    found = start(VAETransformer).fit(df)
    found.set_output(transform="polars")
    assert isinstance(found.transform(df), pl.DataFrame)
    assert isinstance(found.sample(3), pl.DataFrame)
    assert found.sample(3).columns == list(df.columns)
    found.set_output(transform="pandas")
    assert isinstance(found.sample(3), pd.DataFrame)


def test_pipelines_take_tables(df):
    pipeline = make_pipeline(start(VAETransformer), PCA(1)).fit(df)
    assert pipeline.transform(df).shape == (len(df), 1)


@pytest.mark.parametrize("score_by", ["robust", "model"])
def test_the_detector_scores_columns(df, gaps, score_by):
    detector = ReconstructionOutlierDetector(start(VAETransformer), score_by=score_by)
    detector.fit(gaps)
    for X in (df, gaps, pl.from_pandas(df)):
        scores = detector.score_features(X)
        assert scores.shape == df.shape
        assert np.allclose(scores.sum(axis=1), detector.score_samples(X))
    assert (detector.score_features(gaps)[gaps.isna().to_numpy()] == 0).all()
    assert 0 < (detector.predict(df) == -1).mean() < 0.3


# -- noise


def test_swapped_values_are_of_other_rows():
    X = np.random.default_rng(0).normal(size=(500, 3))
    noisy = SwapNoise(0.3).draw(X, {"level": 0.3, "mean": 0, "variance": 1})
    changed = ~np.isclose(noisy, X)
    assert 0.25 < changed.mean() < 0.35
    for column in range(3):
        assert np.isin(noisy[:, column], X[:, column].astype(np.float32)).all()


def test_moments_of_swap_noise_are_those_of_its_draws():
    X = np.random.default_rng(0).normal(2, 3, size=(4000, 1))
    values = {"level": 0.2, "mean": X.mean(axis=0), "variance": X.var(axis=0)}
    noise = SwapNoise(0.2)
    mean, variance = noise.moments(X, values)
    draws = np.array([noise.draw(X, values, step) for step in range(40)])
    assert np.abs((draws.mean(axis=0) - mean).mean()) < 0.04
    assert np.isclose(draws.var(axis=0, ddof=1).mean(), variance.mean(), rtol=0.04)


@pytest.mark.parametrize(
    ("noise", "of_numbers", "of_classes"),
    [
        ("gaussian", 1.0, 1 / np.sqrt(1.25)),
        ("masking", 0.5, 0.5),
        ("salt_and_pepper", 0.5, 0.5),
        ("swap", 0.85, 0.85),
    ],
)
def test_noise_of_a_table_keeps_classes_whole(df, noise, of_numbers, of_classes):
    """Noisy values have the slope on clean ones that the level says, in each column."""
    found = DenoisingAutoencoder(2, max_iter=0, noise=noise).fit(df)
    noise_of_table = found._state.specification.objective.noise
    X = found.table_.encode(df)
    values = noise_of_table.values(Rows(X))
    draws = np.array([noise_of_table.draw(X, values, step) for step in range(60)])
    (group,) = found.table_.groups
    assert np.allclose(draws[..., group].sum(axis=-1), 1)
    if noise != "masking":  # whose classes become frequencies
        assert set(np.unique(draws[..., group])) == {0.0, 1.0}
    clean = X - X.mean(axis=0)
    slope = (draws.mean(axis=0) * clean).sum(axis=0) / (clean**2).sum(axis=0)
    wanted = np.full(X.shape[1], of_classes)
    wanted[found.table_.numbers] = of_numbers
    assert np.abs(slope - wanted).max() < 0.05


def test_units_of_a_table_are_none(df):
    for noise in (GaussianNoise(1.0, relative=False), GaussianNoise(clip=(0, 1))):
        with pytest.raises(ValueError, match="mixed table has no common unit"):
            DenoisingAutoencoder(2, noise=noise).fit(df)


def test_the_denoiser_starts_better_than_the_autoencoder_on_noisy_rows(df):
    found = DenoisingAutoencoder(2, max_iter=0, noise="swap").fit(df)
    objective = found._state.specification.objective
    X = found.table_.encode(df)
    noisy = objective.noise.draw(X, objective.noise.values(Rows(X)))
    noisy = found.table_.decode(noisy)
    plain = AutoencoderTransformer(2, max_iter=0).fit(df)
    clean = plain.table_.encode(df)
    of_plain = plain._fitted(clean.dtype).losses(plain.table_.encode(noisy), clean).sum(1)
    assert -found.score(noisy, X_clean=df) < of_plain.mean()


def test_a_table_of_classes_alone():
    rng = np.random.default_rng(0)
    a = rng.choice(["x", "y", "z"], 200)
    X = pd.DataFrame(
        {"a": a, "b": np.char.upper(a), "c": rng.choice(["u", "v"], 200), "one": "k"}
    )
    for kind in ESTIMATORS:
        found = kind(2, max_iter=2, random_state=0).fit(X)
        assert found.reconstruct(X).columns.tolist() == ["a", "b", "c", "one"]
        assert (found.reconstruct(X)["one"] == "k").all()
        assert found.score_features(X).shape == X.shape
        assert (found.score_features(X)[:, 3] == 0).all()
    with pytest.raises(ValueError, match="no column with two different values"):
        start(VAETransformer).fit(X[["one"]])


def test_by_column_is_one_likelihood_of_a_table(df):
    found = start(VAETransformer).fit(df)
    assert isinstance(found._state.specification.objective.likelihood, ByColumn)


# -- pictures


def test_pictures_have_encoded_columns(df):
    pytest.importorskip("matplotlib").use("agg")
    from skae import plotting

    vae = start(VAETransformer).fit(df)
    names = list(vae.table_.names)
    components = plotting.ComponentsDisplay.from_estimator(vae)
    assert list(components.feature_names) == names
    assert components.rows.shape[2] == len(names)
    places = vae.table_.places[list(vae.table_.column_names).index("kind")]
    shares = components.rows[..., places].sum(axis=-1)
    assert np.allclose(shares, 1, atol=1e-5)
    shown = plotting.ReconstructionDisplay.from_estimator(vae, df)
    low, high = df["size"].min(), df["size"].max()
    wanted = (df["size"].iloc[:10] - low) / (high - low)
    assert np.allclose(np.reshape(shown.X, (10, -1))[:, 0], wanted)
    plotting.LatentSpaceDisplay.from_estimator(vae, df, df["kind"])
    plotting.TraversalDisplay.from_estimator(vae, df)
    with pytest.raises(ValueError, match="mixed table are drawn with kind='table'"):
        plotting.ComponentsDisplay.from_estimator(vae, kind="image")


# -- Dask


@pytest.mark.parametrize("kind", ["known", "strings"])
def test_dask_frames_are_their_pandas_frame(df, kind):
    """Read partition by partition, with the levels of all of them."""
    from_dask = pytest.importorskip("dask.dataframe").from_pandas
    df = df.sort_values("kind").reset_index(drop=True)
    if kind == "known":
        df = df.astype({"kind": "category", "sex": "category"})
    lazy = from_dask(df, npartitions=4)
    found, wanted = start(VAETransformer).fit(lazy), start(VAETransformer).fit(df)
    assert list(found.table_.names) == list(wanted.table_.names)
    assert np.allclose(found.table_.limits, wanted.table_.limits)
    assert np.allclose(found.transform(df), wanted.transform(df), atol=1e-5)
    assert np.allclose(found.transform(lazy).compute(), found.transform(df))
    back = found.reconstruct(lazy)
    assert (back.dtypes == found.reconstruct(df).dtypes).all()
    pd.testing.assert_frame_equal(back.compute(), found.reconstruct(df))
    scores = found.score_features(lazy).compute()
    assert list(scores.columns) == list(df.columns)
    trained = AutoencoderTransformer(2, max_iter=2, random_state=0).fit(lazy)
    assert np.isfinite(trained.score(df))


# -- transformers of columns


def test_encoders_in_pipelines_and_vectorizers(df):
    X = df[["size", "kind", "sex"]]
    columns = make_column_transformer(
        (StandardScaler(), ["size"]),
        (OneHotEncoder(drop="if_binary", sparse_output=False), ["kind", "sex"]),
    )
    wanted = [("gaussian_diag", [0]), ("categorical", [1, 2, 3]), ("bernoulli", [4])]
    assert from_transformer(columns.fit(X)) == wanted
    assert from_transformer(make_pipeline(columns).fit(X)) == wanted
    encoder = OneHotEncoder(sparse_output=False).fit(X[["kind"]])
    assert from_transformer(encoder) == [("categorical", [0, 1, 2])]

    class Vectorizer(BaseEstimator):  # with the attributes of skrub's TableVectorizer
        def fit(self, X):
            self.transformers_ = {"size": StandardScaler(), "kind": encoder}
            self.input_to_outputs_ = {"size": ["size"], "kind": list("aeo")}
            self.all_outputs_ = ["size", *"aeo"]
            return self

    assert from_transformer(Vectorizer().fit(X)) == wanted[:2]
    with pytest.raises(TypeError, match=r"ColumnTransformer.*Got StandardScaler"):
        from_transformer(StandardScaler().fit(X[["size"]]))


def test_an_encoders_class_of_missing_values_is_refused(gaps):
    encoder = OneHotEncoder(sparse_output=False).fit(gaps[["kind"]])
    with pytest.raises(ValueError, match=r"class of missing values.*pass the frame"):
        from_transformer(encoder)
    known = OneHotEncoder(
        categories=[["ash", "elm", "oak"]], handle_unknown="ignore", sparse_output=False
    )
    X = known.fit_transform(gaps[["kind"]])
    X = np.column_stack([gaps["size"].fillna(0), X])
    pairs = [("gaussian_diag", [0]), ("categorical", [1, 2, 3])]
    found = VAETransformer(1, likelihood=pairs, max_iter=0)
    missing = gaps["kind"].isna().to_numpy()
    with pytest.raises(ValueError, match="none of its classes"):
        found.fit(X)
    X[missing, 1:] = np.nan
    assert not np.isnan(found.fit(X).impute(X)).any()
