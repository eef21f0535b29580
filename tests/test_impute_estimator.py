"""Does AutoencoderImputer stand where scikit-learn's imputers stand, with right values?"""

import itertools
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.impute.tests import test_common as theirs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae import AutoencoderTransformer, VAETransformer
from skae._data.rows import Rows
from skae._starts.hidden import ppca_model
from skae.impute import AutoencoderImputer, _LinearImputer, _Space

DIABETES = load_diabetes().data[:, [0, 2, 3, 4, 5, 6]]


def with_missing(X, seed=0, share=0.2):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


FEW = with_missing(DIABETES[:60])


@parametrize_with_checks([AutoencoderImputer()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def cases():
    """scikit-learn's tests of all imputers, each with its arguments."""
    for name, test in vars(theirs).items():
        marks = {
            mark.args[0]: mark.args[1]
            for mark in getattr(test, "pytestmark", [])
            if mark.name == "parametrize"
        }
        if "imputer" in marks and "sparse" not in name:
            del marks["imputer"]
            for values in itertools.product(*marks.values()):
                yield pytest.param(
                    test, dict(zip(marks, values, strict=True)), id=f"{name}-{values}"
                )


@pytest.mark.parametrize(("test", "arguments"), list(cases()))
def test_scikit_learns_tests_of_imputers(test, arguments):
    test(imputer=AutoencoderImputer(random_state=0), **arguments)


# -- right values


def low_rank(n_samples, rng, noise=0.1):
    """Draw rows of rank two and noise; return them, and their mean and covariance."""
    loadings = np.random.default_rng(5).normal(size=(2, 6))
    mean, size = np.arange(6.0), (n_samples, 6)
    X = mean + rng.normal(size=(n_samples, 2)) @ loadings + noise * rng.normal(size=size)
    return X, mean, loadings.T @ loadings + noise**2 * np.eye(6)


def conditional_means(X, mean, covariance):
    """Compute expectations of missing values by the formula of the normal distribution."""
    filled = X.copy()
    for row in filled:
        gone = np.isnan(row)
        there = ~gone
        of_there = covariance[np.ix_(there, there)]
        across = covariance[np.ix_(gone, there)]
        off = row[there] - mean[there]
        row[gone] = mean[gone] + across @ np.linalg.pinv(of_there) @ off
    return filled


def test_values_are_conditional_expectations():
    X, mean, covariance = low_rank(99, np.random.default_rng(0))
    holes = with_missing(X, share=0.15)
    wanted = conditional_means(holes, mean, covariance)
    wanted = np.clip(wanted, np.nanmin(holes, axis=0), np.nanmax(holes, axis=0))
    imputer = AutoencoderImputer(random_state=0).fit(holes)
    found = imputer.transform(holes)
    gone = np.isnan(holes)
    off = np.sqrt(np.mean((found - wanted)[gone] ** 2))
    assert off < 0.25 * np.sqrt(np.mean((wanted - mean)[gone] ** 2))
    assert imputer.n_components_ in (2, 3)
    assert_array_equal(found[~gone], holes[~gone])


def test_one_column_is_imputed_by_its_mean():
    imputer = AutoencoderImputer().fit([[1], [2], [6], [np.nan]])
    assert_allclose(imputer.transform([[np.nan], [4]]), [[3], [4]])
    assert imputer.n_components_ == 0


def test_values_are_in_the_range_of_fit():
    X = np.column_stack([np.arange(50.0), np.arange(50.0)])
    imputer = AutoencoderImputer(random_state=0).fit(X)
    found = imputer.transform([[1000, np.nan], [np.nan, -1000]])
    assert_allclose(found, [[1000, 49], [0, -1000]])


def test_a_trained_network_is_better_where_columns_are_curved():
    rng = np.random.default_rng(0)
    t = rng.uniform(-2, 2, size=400)
    X = np.column_stack([t, t**2, np.sin(3 * t), t**3]) + 0.05 * rng.normal(size=(400, 4))
    holes = with_missing(StandardScaler().fit_transform(X), share=0.15)
    gone, X = np.isnan(holes), StandardScaler().fit_transform(X)
    imputer = AutoencoderImputer(random_state=0).fit(holes)
    few = _LinearImputer(ppca_model(Rows(holes), 2, None, 1e-5), None)
    errors = [
        np.mean((model(holes) - X)[gone] ** 2)
        for model in (imputer.transform, few.impute)
    ]
    assert errors[0] < 0.9 * errors[1]
    assert_array_equal(imputer.transform(holes), imputer.transform(holes))


def test_hidden_values_are_not_those_of_the_same_seed():
    gone = np.random.default_rng(0).random(DIABETES.shape) < 0.2
    holes = np.where(gone, np.nan, DIABETES)[:99]
    assert AutoencoderImputer(random_state=0).fit(holes).n_components_ > 0


def test_intervals_of_multiple_imputation_cover_the_mean():
    rng, covered, n_draws = np.random.default_rng(0), [], 20
    for seed in range(200):
        X, mean, _ = low_rank(90, rng, noise=0.5)
        holes = with_missing(X, seed, share=0.3)
        model = ppca_model(Rows(holes), 2, None, 1e-4)
        ends = np.full(6, -np.inf), np.full(6, np.inf)
        imputer = _LinearImputer(model, _Space([], [], np.ones(6), *ends))
        draws = np.stack(imputer.impute(holes, n_draws, seed))
        means = draws[:, :, 0].mean(axis=1)
        within = draws[:, :, 0].var(axis=1, ddof=1).mean() / len(X)
        width = 1.96 * np.sqrt(within + (1 + 1 / n_draws) * means.var(ddof=1))
        covered.append(abs(means.mean() - mean[0]) < width)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_draws_differ_and_have_the_expectation_as_mean():
    imputer = AutoencoderImputer(sample_posterior=True, random_state=0).fit(FEW)
    draws = np.stack([imputer.transform(FEW) for _ in range(200)])
    gone = np.isnan(FEW)
    assert (draws.std(axis=0)[gone] > 0).all()
    assert (np.ptp(draws, axis=0)[~gone] == 0).all()
    assert (draws >= np.nanmin(FEW, axis=0)).all()
    assert (draws <= np.nanmax(FEW, axis=0)).all()
    again = clone(imputer).fit(FEW)
    assert_array_equal(again.transform(FEW), draws[0])
    mean = AutoencoderImputer(random_state=0).fit(FEW).transform(FEW)
    off = (draws.mean(axis=0) - mean)[gone] / draws.std(axis=0)[gone]
    assert abs(off).mean() < 0.3  # truncation moves the mean of those near the ends


# -- what users do with it


def test_few_rows_need_no_keras():
    code = (
        "import sys, numpy as np; from skae.impute import AutoencoderImputer;"
        "X = np.random.default_rng(0).normal(size=(99, 4)); X[::3, 1] = np.nan;"
        "AutoencoderImputer().fit_transform(X);"
        "assert not {'keras', 'tensorflow', 'jax'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:Skipping features")  # the peer's
@pytest.mark.parametrize("keep", [False, True])
def test_the_indicator_is_inverted(keep):
    X = FEW.copy()
    X[:, 2] = np.nan
    imputer = AutoencoderImputer(add_indicator=True, keep_empty_features=keep)
    found = imputer.fit_transform(X)
    peer = SimpleImputer(add_indicator=True, keep_empty_features=keep).fit(X)
    assert_array_equal(imputer.get_feature_names_out(), peer.get_feature_names_out())
    assert_array_equal(imputer.inverse_transform(found), X)
    assert_array_equal(found[:, -6:], peer.transform(X)[:, -6:])
    assert not hasattr(AutoencoderImputer(), "inverse_transform")
    with pytest.raises(ValueError, match="expecting"):
        imputer.inverse_transform(found[:, 1:])


@pytest.mark.parametrize("marker", [-1, None, "?", pd.NA])
def test_placeholders_of_missing_values(marker):
    X = np.abs(FEW)
    wanted = AutoencoderImputer(random_state=0).fit_transform(X)
    numeric = isinstance(marker, int)
    marked = np.where(np.isnan(X), marker, X if numeric else X.astype(object))
    marked = pd.DataFrame(marked) if marker is pd.NA else marked
    imputer = AutoencoderImputer(missing_values=marker, random_state=0)
    assert_allclose(imputer.fit_transform(marked), wanted)


def test_frames_come_back_as_set_output_asks():
    frame = pd.DataFrame(FEW, columns=[*"abcdef"], index=np.arange(60) + 7)
    imputer = AutoencoderImputer(add_indicator=True, random_state=0)
    imputer.set_output(transform="pandas").fit(frame)
    found = imputer.transform(frame)
    assert [*found][:6] == [*"abcdef"]
    assert found.columns[6] == "missingindicator_a"
    assert (found.index == frame.index).all()
    assert_array_equal(imputer.inverse_transform(found)[[*"abcdef"]], frame)


def test_columns_without_missing_values_in_fit_are_imputed():
    imputer = AutoencoderImputer(random_state=0).fit(DIABETES[:60])
    assert np.isfinite(imputer.transform(np.full((2, 6), np.nan))).all()


def test_in_a_pipeline():
    y = DIABETES[:60, 1] > 0
    model = make_pipeline(AutoencoderImputer(), HistGradientBoostingClassifier())
    assert model.fit(FEW, y).score(FEW, y) > 0.5


def test_an_estimator_of_ones_own_and_in_a_pipeline():
    vae = VAETransformer(2, max_iter=0)
    imputer = AutoencoderImputer(vae, random_state=3).fit(FEW)
    low, high = np.nanmin(FEW, axis=0), np.nanmax(FEW, axis=0)
    wanted = clone(vae).fit(FEW).impute(FEW)
    assert_allclose(imputer.transform(FEW), np.clip(wanted, low, high))
    assert imputer.n_components_ == 2
    assert imputer.estimator_.random_state is not None
    assert vae.random_state is None
    scaler = StandardScaler().fit(FEW)
    scaled = scaler.transform(FEW)
    wanted = scaler.inverse_transform(clone(vae).fit(scaled).impute(scaled))
    found = AutoencoderImputer(make_pipeline(StandardScaler(), vae)).fit_transform(FEW)
    assert_allclose(found, np.clip(wanted, low, high))


@pytest.mark.parametrize("estimator", [None, VAETransformer(2, max_iter=0)])
def test_sample_weight_reaches_the_model(estimator):
    weight = np.random.default_rng(0).integers(0, 3, size=60)
    with config_context(enable_metadata_routing=True):
        if estimator is not None:
            estimator = clone(estimator).set_fit_request(sample_weight=True)
        imputer = AutoencoderImputer(estimator, random_state=0)
        weighted = imputer.fit(FEW, sample_weight=weight).transform(FEW)
        plain = clone(imputer).fit(FEW).transform(FEW)
    assert not np.allclose(weighted, plain)
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        AutoencoderImputer(estimator).fit(FEW, sample_weight=weight)


def test_what_cannot_impute_is_refused():
    with pytest.raises(TypeError, match="estimator needs impute"):
        AutoencoderImputer(PCA(2)).fit(FEW)
    pipeline = make_pipeline(SimpleImputer(), VAETransformer(2))
    with pytest.raises(TypeError, match="need inverse_transform"):
        AutoencoderImputer(pipeline.set_params(simpleimputer=_OneWay())).fit(FEW)
    with pytest.raises(TypeError, match="sample_posterior=True needs"):
        AutoencoderImputer(AutoencoderTransformer(2), sample_posterior=True).fit(FEW)
    with pytest.raises(TypeError, match="dense data is required"):
        AutoencoderImputer().fit(sparse.csr_matrix(np.eye(5)))


class _OneWay(StandardScaler):
    @property
    def inverse_transform(self):
        raise AttributeError


# -- mixed tables


def mixed(n=80, seed=0):
    """Two categories and a number that determine each other, and a column of its own."""
    rng = np.random.default_rng(seed)
    a = rng.choice(["x", "y", "z"], n)
    place = np.unique(a, return_inverse=True)[1]
    return pd.DataFrame(
        {
            "a": a,
            "b": pd.Categorical(
                np.array(["p", "q", "r"])[place], ["r", "q", "p", "none"]
            ),
            "n": (10 * place + rng.integers(0, 3, n)).astype("int64"),
            "free": rng.normal(5, 2, n),
        }
    )


def with_gaps(full, share=0.1, seed=1):
    gone = np.random.default_rng(seed).random(full.shape) < share
    gone[:, -1] = False
    return full.astype({"n": "Int64"}).mask(gone), gone


@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_a_mixed_table_is_imputed_as_one(backend):
    full = mixed()
    gaps, gone = with_gaps(full)
    X = pl.from_pandas(gaps) if backend == "polars" else gaps
    found = AutoencoderImputer(random_state=0).fit_transform(X)
    assert type(found) is type(X)
    if backend == "polars":
        assert found.schema == X.schema | {"a": pl.Enum(["x", "y", "z"])}
        found = found.to_pandas()
    else:
        wanted = X.dtypes.to_dict() | {"a": pd.CategoricalDtype(["x", "y", "z"])}
        assert found.dtypes.to_dict() == wanted
    for column, name in enumerate(("a", "b")):
        here = gone[:, column] & ~gone[:, [1 - column, 2]].all(axis=1)
        right = found[name].astype(str) == full[name].astype(str)
        assert right[here].all()
    off = (found["n"] - full["n"])[gone[:, 2] & ~gone[:, :2].all(axis=1)]
    assert off.abs().max() <= 3
    assert np.array_equal(found["free"], full["free"])


def test_indicators_and_inverse_of_a_mixed_table():
    gaps, gone = with_gaps(mixed())
    imputer = AutoencoderImputer(add_indicator=True, random_state=0).fit(gaps)
    found = imputer.transform(gaps)
    names = [f"missingindicator_{name}" for name in ("a", "b", "n")]
    assert list(found.columns) == [*gaps.columns, *names]
    assert list(imputer.get_feature_names_out()) == list(found.columns)
    assert all(found[name].dtype.kind == "b" for name in names)
    assert np.array_equal(found[names].to_numpy(), gone[:, :3])
    back = imputer.inverse_transform(found)
    assert back.isna().equals(gaps.isna())
    assert back.astype({"a": "str"}).equals(gaps)


def test_draws_of_classes_have_their_frequencies():
    """A category that nothing tells of is drawn as often as it is seen."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"c": rng.choice(["u", "v", "w"], 99, p=[0.6, 0.3, 0.1]), "n": 0.0})
    X["n"] = rng.normal(size=99)
    seen = X["c"].value_counts(normalize=True)
    X.loc[:9, "c"] = None
    seen = X["c"].value_counts(normalize=True)
    imputer = AutoencoderImputer(sample_posterior=True, random_state=0).fit(X)
    drawn = pd.concat([imputer.transform(X)["c"].iloc[:10] for _ in range(60)])
    share = drawn.value_counts(normalize=True).reindex(seen.index).fillna(0)
    assert np.abs(share - seen).max() < 0.1


def test_empty_columns_and_markers_of_a_mixed_table():
    full = mixed()
    gaps, _ = with_gaps(full)
    gaps = gaps.assign(nothing=None)
    imputer = AutoencoderImputer(random_state=0).fit(gaps)
    assert list(imputer.transform(gaps).columns) == list(full.columns)
    with pytest.raises(ValueError, match="keep_empty_features=True needs"):
        AutoencoderImputer(keep_empty_features=True).fit(gaps)
    marked = full.assign(a=full["a"].where(np.arange(80) > 4, "?"))
    found = AutoencoderImputer(missing_values="?", random_state=0).fit_transform(marked)
    assert (found["a"].astype(str) == full["a"]).all()


def test_an_estimator_of_a_mixed_table():
    gaps, _ = with_gaps(mixed())
    own = AutoencoderImputer(VAETransformer(2, max_iter=0), random_state=0)
    found = own.fit_transform(gaps)
    alone = VAETransformer(2, max_iter=0).fit(gaps).impute(gaps)
    assert found.astype({"a": "str"}).equals(alone)
    boosting = HistGradientBoostingClassifier(
        categorical_features="from_dtype", max_iter=5
    )
    X, y = gaps[["a", "b", "free"]], mixed()["n"] > 9
    pipeline = make_pipeline(AutoencoderImputer(random_state=0), boosting)
    assert pipeline.fit(X, y).score(X, y) > 0.8


@pytest.mark.slow
def test_a_trained_model_of_a_mixed_table():
    full = mixed(300)
    gaps, gone = with_gaps(full)
    imputer = AutoencoderImputer(random_state=0).fit(gaps)
    found = imputer.transform(gaps)
    here = gone[:, 0] & ~gone[:, 1:3].all(axis=1)
    assert (found["a"] == full["a"])[here].mean() > 0.95
    assert not found.isna().any().any()
    again = pickle.loads(pickle.dumps(imputer)).transform(gaps)
    assert again.equals(found)
