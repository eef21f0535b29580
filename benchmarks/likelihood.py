"""Held-out log-likelihood of VAETransformer with its defaults, less that of its start.

    python benchmarks/likelihood.py [--seeds 10] [--data digits wine] [--k 2 4 8]

Per data set, number of components and likelihood: the mean over seeds of the
difference ``VAETransformer(k).score - PCA(k).score`` (or FactorAnalysis) on a held-out
quarter of the rows, in nats, its worst seed, and how many fits left the start.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler

from skae import VAETransformer

DATA = {
    "digits": (load_digits, False),
    "wine": (load_wine, True),
    "cancer": (load_breast_cancer, True),
    "diabetes": (load_diabetes, True),
}
BASELINES = {"gaussian": PCA, "gaussian_diag": FactorAnalysis}


def split(name, seed):
    load, standardize = DATA[name]
    train, test = train_test_split(load().data, test_size=0.25, random_state=seed)
    if standardize:
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
    return train, test


def compare(name, k, likelihood, seed, **params):
    """The VAE's held-out score, the baseline's, and whether training was kept."""
    train, test = split(name, seed)
    vae = VAETransformer(k, likelihood=likelihood, random_state=seed, **params).fit(train)
    baseline = BASELINES[likelihood](k).fit(train)
    start = abs(vae.score(train) - baseline.score(train)) < 1e-6
    return vae.score(test), baseline.score(test), not start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--k", nargs="+", type=int, default=[2, 4, 8])
    parser.add_argument("--likelihood", nargs="+", default=list(BASELINES))
    parser.add_argument("--grid", action="store_true", help="choose k by GridSearchCV")
    arguments = parser.parse_args()

    print("| data | k | likelihood | baseline | gain | worst | left start | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for likelihood in arguments.likelihood:
        for name in arguments.data:
            for k in arguments.k:
                began = time.perf_counter()
                seeds = range(arguments.seeds)
                runs = np.array([compare(name, k, likelihood, seed) for seed in seeds])
                seconds = (time.perf_counter() - began) / len(runs)
                gain = runs[:, 0] - runs[:, 1]
                print(
                    f"| {name} | {k} | {likelihood} | {runs[:, 1].mean():.2f} |"
                    f" {gain.mean():+.3f} | {gain.min():+.3f} |"
                    f" {runs[:, 2].sum():.0f} of {len(runs)} | {seconds:.1f} |",
                    flush=True,
                )
    if arguments.grid:
        print("\nn_components by GridSearchCV without a scorer:")
        for name in arguments.data:
            train, test = split(name, 0)
            chosen = []
            for estimator in (VAETransformer(random_state=0), PCA()):
                search = GridSearchCV(estimator, {"n_components": arguments.k}, cv=3)
                search.fit(train)
                k = search.best_params_["n_components"]
                chosen.append(
                    f"{type(estimator).__name__} {k} ({search.score(test):.2f})"
                )
            print(f"{name}: {', '.join(chosen)}", flush=True)


if __name__ == "__main__":
    main()
