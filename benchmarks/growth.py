"""Time, memory and error of a fit as rows, columns and components grow, each alone.

    python benchmarks/growth.py [--most 1000000] [--today]

Rows are float32, the hyperbolic tangent of ten factors plus noise; each fit has a process
of its own and the defaults, and a second fit in it has nothing to compile. Memory is the
peak of the process above what it had with X and TensorFlow in it. The error is that of
10,000 other rows, as a share of PCA's. With ``--today``, the recipe that was the default
before (batches of 32 rows, a rate of 1e-3, one split) stands beside it.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np


def rows(n_samples, n_features, n_factors=10, noise=0.05, seed=0):
    """The same distribution whatever the number of rows."""
    weights = np.random.default_rng(99).normal(size=(n_factors, n_features)) * 0.5
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n_samples, n_factors)).astype(np.float32)
    X = np.tanh(Z @ weights.astype(np.float32))
    X += noise * rng.normal(size=X.shape).astype(np.float32)
    return X


def squared_error(model, X):
    return np.square(X - model.inverse_transform(model.transform(X))).sum()


def measure(n_samples, n_features, n_components, today):
    from sklearn.decomposition import PCA

    from skae import AutoencoderTransformer

    X, X_test = rows(n_samples, n_features), rows(10_000, n_features, seed=1)
    recipe = {}
    if today:
        recipe = {
            "batch_size": 32,
            "learning_rate": "constant",
            "learning_rate_init": 1e-3,
            "n_splits": 1,
        }
    skae = AutoencoderTransformer(n_components, random_state=0, **recipe)
    skae.set_params(max_iter=0).fit(X[:1000])  # TensorFlow is there
    skae.set_params(max_iter=200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    skae.fit(X)
    first = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    second = first
    if first < 60:
        began = time.perf_counter()
        skae.fit(X)
        second = time.perf_counter() - began
    error = squared_error(skae, X_test) / squared_error(PCA(n_components).fit(X), X_test)
    return {
        "first": first,
        "second": second,
        "epochs": skae.n_iter_,
        "error": float(error),
        "memory": (peak - before) / 1024,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--today", action="store_true")
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.today)))
        return
    sizes = [(n, 50, 10) for n in (10_000, 30_000, 100_000, 300_000, 1_000_000)]
    sizes = [size for size in sizes if size[0] <= arguments.most]
    if not arguments.today:
        sizes += [(10_000, p, 10) for p in (200, 800)]
        sizes += [(10_000, 50, k) for k in (2, 40)]
    print(
        "| rows | columns | k | first fit, s | second, s | us a row | epochs | error | MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        command = [sys.executable, __file__, "--one", *map(str, size)]
        command += ["--today"] if arguments.today else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {size[0]:,} | {size[1]} | {size[2]} | {found['first']:.1f} |"
            f" {found['second']:.1f} | {1e6 * found['second'] / size[0]:.0f} |"
            f" {found['epochs']} | {found['error']:.4f} | {found['memory']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
