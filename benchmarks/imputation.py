"""Missing values: RMSE of what is filled in, against scikit-learn's imputers.

A fifth of the values is taken away, at random or where values are high (each value above
its column's median with a chance of 0.4), and filled in by models that are fitted to the
incomplete table: scikit-learn's imputers at their defaults; and VAETransformer, whose
number of components and likelihood GridSearchCV chooses on other incomplete rows: "VAE"
by how well it fills in values of them that are hidden from it, "by score" by their
log-likelihood. "EM" is PCA by EM, the start of the first, with as many components. What
was taken away is seen by none of them.

python benchmarks/imputation.py --seeds 2
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.preprocessing import StandardScaler

from skae import VAETransformer

TABLES = {
    "digits": lambda: load_digits().data / 16,
    "wine": lambda: StandardScaler().fit_transform(load_wine().data),
    "breast cancer": lambda: StandardScaler().fit_transform(load_breast_cancer().data),
    "diabetes": lambda: StandardScaler().fit_transform(load_diabetes().data),
}
GRID = {"n_components": [4, 8, 12, 16], "likelihood": ["gaussian", "gaussian_diag"]}
NAMES = ("mean", "KNN", "iterative", "EM", "VAE", "by score")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")
    print("| data | missing |", " | ".join(NAMES), end=" |")
    print(" VAE, s | iterative, s | chosen | by score |")
    print("|---|---|" + "---|" * (len(NAMES) + 4))
    for table in arguments.tables:
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
