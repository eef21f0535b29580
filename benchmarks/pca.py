"""Held-out squared error of AutoencoderTransformer with its defaults, over PCA's.

    python benchmarks/pca.py [--seeds 10] [--first-seed 0]

Four data sets of scikit-learn, standardised except digits, three numbers of components,
a new split into 75 % training and 25 % test rows for each seed. The table gives the mean
and the worst ratio over the seeds, and in how many of them training was not kept.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

DATA = {
    "digits": load_digits,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "diabetes": load_diabetes,
}


def squared_error(estimator, X):
    difference = X - estimator.inverse_transform(estimator.transform(X))
    return np.mean(np.sum(difference**2, axis=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| data | k | mean ratio | worst | best | start kept | epochs | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name, load in DATA.items():
        X = load(return_X_y=True)[0]
        for k in (2, 4, 8):
            ratios, epochs, kept = [], [], 0
            began = time.perf_counter()
            for seed in range(
                arguments.first_seed, arguments.first_seed + arguments.seeds
            ):
                train, test = train_test_split(X, test_size=0.25, random_state=seed)
                if name != "digits":
                    scaler = StandardScaler().fit(train)
                    train, test = scaler.transform(train), scaler.transform(test)
                pca = PCA(k).fit(train)
                skae = AutoencoderTransformer(k, random_state=seed).fit(train)
                ratios.append(squared_error(skae, test) / squared_error(pca, test))
                epochs.append(skae.n_iter_)
                kept += np.allclose(skae.transform(test), pca.transform(test))
            seconds = (time.perf_counter() - began) / arguments.seeds
            print(
                f"| {name} | {k} | {np.mean(ratios):.3f} | {max(ratios):.3f} |"
                f" {min(ratios):.3f} | {kept} | {np.mean(epochs):.0f} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
