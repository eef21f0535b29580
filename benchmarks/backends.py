"""Speed of skae on Keras' backends: the same fits, each backend in a process of its own.

    python benchmarks/backends.py [--backends tensorflow,jax] [--repeats 3]

Each figure is the median over the repeats, after a first fit that compiles, which has a
column of its own. The images are 12,800 of random numbers: only their shape counts.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
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
    """Name, estimator, rows and the epochs of a fit; None counts fits instead."""
    yield (
        "digits, a fit",
        AutoencoderTransformer(8, random_state=0),
        load_digits().data,
        None,
    )
    dense = DenseNetwork((128, 64), activation="relu")
    yield (
        "dense 784-128-64-32",
        AutoencoderTransformer(32, network=dense, **IMAGES),
        X,
        10,
    )
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
    yield "transform, 10,000 images", None, X[:10_000], None


def seconds(function, *arguments):
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def measure(repeats):
    X = np.random.default_rng(0).random((12_800, 784), dtype=np.float32)
    last = None
    for name, model, rows, n_epochs in models(X):
        if model is None:
            function = last.transform
        else:
            function = model.set_params(max_iter=n_epochs or 200).fit
            if name.startswith("dense"):
                last = model
        first = seconds(function, rows)
        later = np.median([seconds(function, rows) for _ in range(repeats)])
        print(json.dumps([name, first, later / (n_epochs or 1)]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default="tensorflow,jax")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--here", action="store_true", help="measure in this process")
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.repeats)
        return
    backends, found = arguments.backends.split(","), {}
    options = ["--repeats", str(arguments.repeats)]
    for backend in backends:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--here", *options],
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for name, first, later in map(json.loads, done.stdout.splitlines()):
            found.setdefault(name, []).extend([first, later])
    columns = [
        f"{backend}, {what}" for backend in backends for what in ("first", "later")
    ]
    print("| an epoch, s | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for name, values in found.items():
        print(f"| {name} | " + " | ".join(f"{value:.3g}" for value in values) + " |")


if __name__ == "__main__":
    main()
