"""Missing values: RMSE of what is filled in, against scikit-learn's imputers.

A fifth of the values is taken away, at random or where values are high (each value above
its column's median with a chance of 0.4), and filled in by models that are fitted to the
incomplete table: scikit-learn's imputers at their defaults; PCA by EM (the VAE's start, of
as many components as the trained one); and VAETransformer, whose number of components and
likelihood GridSearchCV chooses by the log-likelihood of other incomplete rows.

python benchmarks/imputation.py --seeds 3
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from skae import VAETransformer

TABLES = {
    "digits": lambda: load_digits().data / 16,
    "wine": lambda: StandardScaler().fit_transform(load_wine().data),
    "breast cancer": lambda: StandardScaler().fit_transform(load_breast_cancer().data),
    "diabetes": lambda: StandardScaler().fit_transform(load_diabetes().data),
}
GRID = {"n_components": [2, 4, 8, 16], "likelihood": ["gaussian", "gaussian_diag"]}


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


def vae(X, seed):
    """The chosen model, and its start."""
    n_most = X.shape[1] - 1
    sizes = sorted({min(n, n_most) for n in GRID["n_components"]})
    model = VAETransformer(random_state=seed)
    search = GridSearchCV(model, {**GRID, "n_components": sizes}, cv=3).fit(X)
    best = search.best_estimator_
    start = VAETransformer(**search.best_params_, max_iter=0).fit(X)
    return best, start


def compared(X, how, seed):
    """RMSE and seconds of each contender, by name."""
    rng = np.random.default_rng(seed)
    gone = missing(X, how, rng)
    holes = np.where(gone, np.nan, X)
    found = {}
    for name, imputer in (
        ("mean", SimpleImputer()),
        ("KNN", KNNImputer()),
        ("iterative", IterativeImputer(random_state=seed)),
    ):
        filled, seconds = timed(imputer.fit_transform, holes)
        found[name] = rmse(filled, X, gone), seconds
    (best, start), seconds = timed(lambda rows: vae(rows, seed), holes)
    found["EM"] = rmse(start.impute(holes), X, gone), 0.0
    filled, once = timed(lambda rows: best.fit(rows).impute(rows), holes)
    found["VAE"] = rmse(filled, X, gone), once
    chosen = f"{best.n_components}, {best.likelihood}"
    return found, chosen, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")
    names = ("mean", "KNN", "iterative", "EM", "VAE")
    print("| data | missing |", " | ".join(names), "| VAE, s | iterative, s | chosen |")
    print("|---|---|" + "---|" * (len(names) + 3))
    for table in arguments.tables:
        X = TABLES[table]()
        for how in ("at random", "where high"):
            runs = [compared(X, how, seed) for seed in range(arguments.seeds)]
            means = [np.mean([found[n][0] for found, *_ in runs]) for n in names]
            once = np.median([found["VAE"][1] for found, *_ in runs])
            theirs = np.median([found["iterative"][1] for found, *_ in runs])
            shown = " | ".join(f"{mean:.3f}" for mean in means)
            chosen = "; ".join(dict.fromkeys(chosen for _, chosen, _ in runs))
            print(
                f"| {table} | {how} | {shown} | {once:.1f} | {theirs:.1f} | {chosen} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
