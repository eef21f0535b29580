"""Fits with XLA and without: the work from which compiling the training pays off.

    python benchmarks/xla.py

Each case is fitted three times in a process of its own, in both ways. The columns are the
work of the fit (see `Network.jit_work`), and the seconds of the processor that the first
fit takes, and another one. Below: what the rule loses to the better of both ways, summed
over the cases, for some values of the constant and some numbers of fits in a process.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.preprocessing import scale

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork, Network

CONSTANTS = (0, 5e5, 8e5, 1e6, 1.3e6, 1.6e6, 2e6, 3e6)
N_FITS = (1, 2, 5)


def curved(n_samples, n_features):
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(n_samples, 4)) @ rng.normal(size=(4, n_features)))
    return X + 0.1 * rng.normal(size=X.shape)


SINGLE = {"n_splits": 1, "learning_rate": "constant"}
SMALL = {"network": DenseNetwork((32,)), "batch_size": 32, "early_stopping": False}
SIMPLE = {"network": DenseNetwork(()), "batch_size": 256, "init": "random"}
CASES = {
    "50 samples": (AutoencoderTransformer(2), lambda: curved(50, 6)),
    "digits, 10 epochs": (
        AutoencoderTransformer(8, max_iter=10),
        lambda: load_digits().data / 16,
    ),
    "digits, small network": (
        AutoencoderTransformer(8, max_iter=50, **SMALL, **SINGLE),
        lambda: load_digits().data / 16,
    ),
    "iris": (AutoencoderTransformer(2), lambda: scale(load_iris().data)),
    "784 features, 5 epochs": (
        AutoencoderTransformer(32, max_iter=5, **SIMPLE, **SINGLE),
        lambda: np.random.default_rng(0).random((20_000, 784), np.float32),
    ),
    "wine, VAE": (VAETransformer(2), lambda: scale(load_wine().data)),
    "wine": (AutoencoderTransformer(4), lambda: scale(load_wine().data)),
    "wine, denoising": (DenoisingAutoencoder(4), lambda: scale(load_wine().data)),
    "200 features": (AutoencoderTransformer(8, max_iter=20), lambda: curved(300, 200)),
    "6,000 samples": (AutoencoderTransformer(4, max_iter=20), lambda: curved(6000, 20)),
    "diabetes": (AutoencoderTransformer(4), lambda: scale(load_diabetes().data)),
    "cancer, VAE": (VAETransformer(4), lambda: scale(load_breast_cancer().data)),
}


def run(name, by_xla):
    """Work of the fit, and the seconds of three fits."""
    from skae._backend import tensorflow

    warnings.simplefilter("ignore")  # few epochs have not converged
    work, repays_xla = [], tensorflow.repays_xla

    def watched(network, n_steps, batch_size, n_weights):
        work.append(n_steps * np.sqrt(n_weights * batch_size))
        return repays_xla(network, n_steps, batch_size, n_weights)

    tensorflow.repays_xla = watched
    Network.jit_work = 0 if by_xla else np.inf
    model, load = CASES[name]
    X, seconds = load(), []
    keras.ops.zeros(1)  # what every process begins with
    for _ in range(3):
        began = time.process_time()
        model.set_params(random_state=0).fit(X)
        seconds.append(time.process_time() - began)
    return max(work), seconds


def measured(name, by_xla):
    command = [sys.executable, __file__, "--one", name, str(int(by_xla))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    work, seconds = json.loads(done.stdout.splitlines()[-1])
    return work, seconds[0], min(seconds[1:])


def lost(found, constant, n_fits):
    """Seconds that the rule loses to the better of both ways, over all cases."""
    total = 0.0
    for ways in found.values():
        costs = [first + (n_fits - 1) * other for _, first, other in ways]
        total += costs[ways[0][0] >= constant] - min(costs)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    one = parser.parse_args().one
    if one:
        print(json.dumps(run(one[0], int(one[1]))))
        return
    print(
        "| case | work | without, first | other | XLA, first | other |",
        "|---" * 6 + "|",
        sep="\n",
    )
    found = {}
    for name in CASES:
        found[name] = ways = [measured(name, by_xla) for by_xla in (False, True)]
        shown = " | ".join(f"{first:.2f} | {other:.2f}" for _, first, other in ways)
        print(f"| {name} | {ways[0][0]:.2g} | {shown} |", flush=True)
    print("\n| constant | " + " | ".join(f"{n} fits, s" for n in N_FITS) + " |")
    print("|---" * (1 + len(N_FITS)) + "|")
    for constant in CONSTANTS:
        losses = " | ".join(f"{lost(found, constant, n):.1f}" for n in N_FITS)
        print(f"| {constant:.2g} | {losses} |")


if __name__ == "__main__":
    main()
