"""Held-out squared error of AutoencoderTransformer with its defaults, over PCA's.

    python benchmarks/pca.py [--seeds 10] [--first-seed 0] [--components 2,4,8] [--encdr]

Four data sets of scikit-learn, standardised except digits, three numbers of components,
a new split into 75 % training and 25 % test rows for each seed. The table gives the mean
and the worst ratio over the seeds, and in how many of them training was not kept. With
`--encdr` the mean ratio of the package encdr stands beside them, with its own defaults
(64-32-k with relu, 100 epochs), where it is installed; it needs Python 3.12.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

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


def encdr_error(train, test, k, seed):
    """In a process of its own: TensorFlow and PyTorch don't share one."""
    from encdr import ENCDR

    shown = "checkpointing", "progress_bar", "model_summary"
    quiet = {"logger": False} | {f"enable_{name}": False for name in shown}
    model = ENCDR(latent_dim=k, random_state=seed, trainer_kwargs=quiet)
    return squared_error(model.fit(np.float32(train)), np.float32(test))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--components", default="2,4,8")
    parser.add_argument("--encdr", action="store_true")
    arguments = parser.parse_args()
    header = "| data | k | mean ratio | worst | best | start kept | epochs | seconds |"
    header += " encdr | its worst |" if arguments.encdr else ""
    print(header, "|---" * (header.count("|") - 1) + "|", sep="\n")
    other = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    for name, load in DATA.items():
        X = load(return_X_y=True)[0]
        for k in map(int, arguments.components.split(",")):
            ratios, of_encdr, epochs, kept, seconds = [], [], [], 0, 0.0
            for seed in range(
                arguments.first_seed, arguments.first_seed + arguments.seeds
            ):
                train, test = train_test_split(X, test_size=0.25, random_state=seed)
                if name != "digits":
                    scaler = StandardScaler().fit(train)
                    train, test = scaler.transform(train), scaler.transform(test)
                pca = PCA(k).fit(train)
                began = time.perf_counter()
                skae = AutoencoderTransformer(k, random_state=seed).fit(train)
                seconds += (time.perf_counter() - began) / arguments.seeds
                ratios.append(squared_error(skae, test) / squared_error(pca, test))
                if arguments.encdr:
                    error = other.submit(encdr_error, train, test, k, seed).result()
                    of_encdr.append(error / squared_error(pca, test))
                epochs.append(skae.n_iter_)
                kept += np.allclose(skae.transform(test), pca.transform(test))
            row = (
                f"| {name} | {k} | {np.mean(ratios):.3f} | {max(ratios):.3f} |"
                f" {min(ratios):.3f} | {kept} | {np.mean(epochs):.0f} | {seconds:.1f} |"
            )
            if arguments.encdr:
                row += f" {np.mean(of_encdr):.3f} | {max(of_encdr):.3f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
