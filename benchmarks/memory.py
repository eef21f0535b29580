"""What a fit of a new shape adds to the memory of a process, next to plain Keras.

    python benchmarks/memory.py [--shapes 20] [--samples 300] [--epochs 3]

Each contender has a process of its own. It fits tables of ever another number of features
and encodes some samples, with a first fit before that loads what every fit needs. What the
process holds more at the end, over the number of shapes, is printed: TensorFlow frees no
graph before the process ends.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import warnings

import numpy as np
from soak import memory

#: Features of the first table; each further one has one more.
FIRST = 10


def trimmed():
    """Resident memory of this process in MB (Linux), without freed memory that is held."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return memory()


def skae_fit(X, n_epochs, **more):
    from skae import AutoencoderTransformer

    more = {"max_iter": n_epochs, "n_splits": 1} | more
    AutoencoderTransformer(4, random_state=0, **more).fit(X).transform(X)


def keras_fit(X, n_epochs):
    import keras

    inputs = keras.Input(X.shape[1:])
    code = inputs
    for size in (128, 64):
        code = keras.layers.Dense(size, "gelu")(code)
    code = keras.layers.Dense(4)(code)
    output = code
    for size in (64, 128):
        output = keras.layers.Dense(size, "gelu")(output)
    output = keras.layers.Dense(X.shape[1])(output)
    model = keras.Model(inputs, output)
    model.compile("adam", "mse")
    settings = {"batch_size": 16, "validation_split": 0.15, "verbose": 0}
    model.fit(X, X, epochs=n_epochs, **settings)
    keras.Model(inputs, code).predict(X, verbose=0)


CONTENDERS = {
    "skae, few epochs": skae_fit,
    "skae, default": lambda X, n_epochs: skae_fit(X, 200, n_splits="auto"),
    "Keras": keras_fit,
}


def run(contender, n_shapes, n_samples, n_epochs):
    """MB of each further shape."""
    warnings.simplefilter("ignore")  # few epochs have not converged
    rng = np.random.default_rng(0)
    fit = CONTENDERS[contender]
    found = []
    for n_features in range(FIRST, FIRST + 1 + n_shapes):
        X = rng.normal(size=(n_samples, 3)) @ rng.normal(size=(3, n_features))
        X += 0.1 * rng.normal(size=X.shape)
        fit(X.astype(np.float32), n_epochs)
        found.append(trimmed())
    return (found[-1] - found[0]) / n_shapes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=20)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = [arguments.shapes, arguments.samples, arguments.epochs]
    if arguments.one:
        print(json.dumps(run(arguments.one, *settings)))
        return
    print("| contender | MB a shape |", "|---|---|", sep="\n")
    for contender in CONTENDERS:
        command = [sys.executable, *sys.argv, "--one", contender]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"| {contender} | {float(done.stdout.splitlines()[-1]):.1f} |", flush=True)


if __name__ == "__main__":
    main()
