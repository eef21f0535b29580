"""Speed of skae on Keras' backends: the same fits, each backend in a process of its own.

    python benchmarks/backends.py [--backends tensorflow,jax] [--repeats 3]

Each figure is the median over the repeats, after a first fit that compiles, which has a
column of its own. The images are 12,800 of random numbers: only their shape counts.
`jax:cpu` and `jax:cuda` are JAX on one of its platforms, for a machine that has both.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer, VAETransformer
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork

CLASSICAL = {
    "init": "random",
    "early_stopping": False,
    "n_iter_no_change": np.inf,
    "alpha": 0.0,
    "batch_size": 128,
    "random_state": 0,
}
IMAGES = {"loss": "binary_crossentropy"} | CLASSICAL


def models(X):
    """Name, estimator, rows and the epochs of a fit; None counts fits instead.

    No estimator stands for `transform` of the one before.
    """
    yield (
        "digits, a fit",
        AutoencoderTransformer(8, random_state=0),
        load_digits().data,
        None,
    )
    factors = np.random.default_rng(0).standard_normal((100_000, 10), np.float32)
    mixed = np.tanh(factors @ np.random.default_rng(1).standard_normal((10, 50), "f"))
    yield (
        "100,000 x 50, a fit",
        AutoencoderTransformer(10, random_state=0),
        mixed,
        None,
    )
    dense = DenseNetwork((128, 64), activation="relu")
    dense = AutoencoderTransformer(32, network=dense, **IMAGES)
    yield "dense 784-128-64-32", dense, X, 10
    yield "transform, 10,000 images", None, X[:10_000], None
    yield (
        "dense 784-128-64-32, batches of 4096",
        clone(dense).set_params(batch_size=4096),
        X,
        10,
    )
    wide = DenseNetwork((2048, 1024), activation="relu")
    wide = AutoencoderTransformer(64, network=wide, **IMAGES | {"batch_size": 1024})
    yield "dense 784-2048-1024-64, batches of 1024", wide, X, 2
    hidden = DenseNetwork((400,), activation="relu")
    vae = VAETransformer(20, likelihood="bernoulli", network=hidden, **CLASSICAL)
    yield "VAE 784-400-20", vae, X, 10
    conv = ConvNetwork(input_shape=(28, 28, 1), filters=(16, 8, 8))
    yield (
        "convolutional 16-8-8",
        AutoencoderTransformer(None, network=conv, **IMAGES),
        X,
        2,
    )
    lstm = SequenceNetwork(input_shape=(50, 1), units=32, head="recurrent")
    lstm = AutoencoderTransformer(None, network=lstm, **CLASSICAL)
    yield "LSTM 50 steps, 32 units", lstm, X[:6400, :50, None], 2


def seconds(function, *arguments):
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def measure(repeats, only):
    X = np.random.default_rng(0).random((12_800, 784), dtype=np.float32)
    last = None
    for name, model, rows, n_epochs in models(X):
        if only and not any(part in name for part in only):
            continue
        if model is None:
            function = last.transform
        else:
            function = model.set_params(max_iter=n_epochs or 200).fit
            last = model
        first = seconds(function, rows)
        later = np.median([seconds(function, rows) for _ in range(repeats)])
        print(json.dumps([name, first, later / (n_epochs or 1)]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default="tensorflow,jax")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="parts of models' names")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.repeats, arguments.only)
        return
    backends, found = arguments.backends.split(","), {}
    options = ["--repeats", str(arguments.repeats), "--only", *arguments.only]
    for backend in backends:
        backend, _, platform = backend.partition(":")
        platforms = {"JAX_PLATFORMS": platform} if platform else {}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--here", *options],
            env={
                **os.environ,
                **platforms,
                "KERAS_BACKEND": backend,
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for name, first, later in map(json.loads, done.stdout.splitlines()):
            found.setdefault(name, []).extend([first, later])
    columns = [f"{name}, {what}" for name in backends for what in ("first", "later")]
    print("| an epoch, s | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for name, values in found.items():
        print(f"| {name} | " + " | ".join(f"{value:.3g}" for value in values) + " |")


if __name__ == "__main__":
    main()
