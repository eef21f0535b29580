"""What a row costs: seconds and bytes by width and network, and what follows for many rows.

    python benchmarks/cost.py [--rows 200000]

Seconds are those of the processor (of all its cores together), which other work on the
machine hardly changes; each is the least of three. Training is a fit of two passes less one
of none; `start` is a fit of none. A line is fitted to what they cost,

    seconds per row = c + a * features + b * multiplications

of which one pass takes three times the weights of the network in multiplications, forward
and backward, and encoding once those of the encoder. The last table is what the line says
of rows that no one has waited for here.
"""

import argparse
import time
from itertools import pairwise

import numpy as np
from growth import rows
from scipy.optimize import nnls

from skae import AutoencoderTransformer
from skae.networks import DenseNetwork

CASES = [
    (16, (128, 64)),
    (50, (32,)),
    (50, (128, 64)),
    (50, (512, 256)),
    (200, (128, 64)),
]
CASES += [(784, (128, 64)), (784, (512, 256))]
K = 10


def seconds(act, repeat=3):
    """The least seconds of the processor that it takes."""
    found = []
    for _ in range(repeat):
        began = time.process_time()
        act()
        found.append(time.process_time() - began)
    return min(found)


def weights(n_features, sizes):
    """The weights of the network's matrices and of the linear path."""
    widths = [n_features, *sizes, K]
    return sum(a * b for a, b in pairwise(widths)) + n_features * K


def measure(n_samples, n_features, sizes):
    X = rows(n_samples, n_features)
    network = DenseNetwork(hidden_layer_sizes=sizes)
    model = AutoencoderTransformer(
        K, network=network, random_state=0, batch_size=128, early_stopping=False
    )
    model.set_params(max_iter=1).fit(X)  # what is compiled is there
    start = seconds(lambda: model.set_params(max_iter=0).fit(X))
    both = seconds(lambda: model.set_params(max_iter=2).fit(X), 2)
    encoding = seconds(lambda: model.transform(X))
    return np.array([(both - start) / 2, start, encoding]) / n_samples


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    n_samples = parser.parse_args().rows
    print(
        "| features | hidden layers | weights | a pass | start | transform |  (µs a row)"
    )
    print("|---|---|---|---|---|---|")
    found = []
    for n_features, sizes in CASES:
        n = n_samples // 4 if n_features > 200 else n_samples
        cost = measure(n, n_features, sizes)
        found.append((n_features, 2 * weights(n_features, sizes), cost))
        print(
            f"| {n_features} | {'-'.join(map(str, sizes))} | {found[-1][1]:,} | "
            + " | ".join(f"{1e6 * value:.2f}" for value in cost)
            + " |",
            flush=True,
        )
    design = np.array([[1, n_features, 3 * size] for n_features, size, _ in found])
    passes = np.array([cost[0] for *_, cost in found])
    c, a, b = nnls(design / passes[:, None], np.ones(len(found)))[0]
    print(f"\nc = {1e6 * c:.2f} µs a row, a = {1e9 * a:.1f} ns a feature,", end=" ")
    print(f"b = {1e12 * b:.1f} ps a multiplication")
    off = design @ [c, a, b] / passes
    print(f"the line is off by a factor of {off.min():.2f} to {off.max():.2f}")
    print("\n| rows | features | hidden layers | GB | hours of two cores, one pass |")
    print("|---|---|---|---|---|")
    for n in (10**8, 10**10):
        for n_features, sizes in ((50, (128, 64)), (784, (512, 256))):
            took = c + a * n_features + b * 6 * weights(n_features, sizes)
            took *= n / 2 / 3600
            size = n * n_features * 4 / 1e9
            shown = "-".join(map(str, sizes))
            print(f"| {n:.0e} | {n_features} | {shown} | {size:,.0f} | {took:.1f} |")


if __name__ == "__main__":
    main()
