"""Hours of what a service does: does anything fail, and how does memory grow?

    python benchmarks/soak.py [--minutes 30] [--seed 0] [--shapes 40]

Each round fits an estimator of one of so many kinds and shapes (0: of a new one), to rows
that were never there before, transforms in four threads while it is fitted again, saves, loads and pickles it, and compares the bits of all copies. A
line a minute says how much memory the process holds and how much has been done. The
first failure ends it, with an exit status other than zero.
"""

import argparse
import gc
import pickle
import tempfile
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import skae
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork

COUNTED = ("fits", "refits", "transforms", "saves", "pickles")


def memory():
    """Resident memory of this process in MB (Linux)."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmRSS")


def drawn(rng):
    """Rows and an estimator of a shape that few draws share."""
    width, n_samples = int(rng.integers(8, 40)), int(rng.integers(60, 400))
    X = rng.random((n_samples, width)).astype(rng.choice(["float32", "float64"]))
    networks = [
        DenseNetwork((int(rng.integers(4, 32)),)),
        ConvNetwork((width, 1), filters=(int(rng.integers(2, 6)),)),
        SequenceNetwork((width, 1), units=int(rng.integers(2, 8))),
    ]
    kinds = [
        skae.AutoencoderTransformer,
        skae.DenoisingAutoencoder,
        skae.VAETransformer,
    ]
    estimator = kinds[rng.integers(3)](
        int(rng.integers(1, 6)),
        network=networks[rng.choice(3, p=[0.8, 0.1, 0.1])],
        n_splits=int(rng.integers(1, 3)),
        max_iter=int(rng.choice([3, 200])),  # few batches, and many by XLA
        n_iter_no_change=3,
        random_state=int(rng.integers(100)),
    )
    return X, estimator


def round_of(rng, n_shapes, folder, done):
    """Everything once, of one estimator."""
    shape = np.random.default_rng(rng.integers(n_shapes)) if n_shapes else rng
    X, estimator = drawn(shape)
    X = rng.random(X.shape).astype(X.dtype)
    codes = estimator.fit_transform(X)
    done["fits"] += 1
    if not np.isfinite(codes).all():
        raise ArithmeticError(f"codes that are not finite: {estimator}")

    path = Path(folder) / "estimator.skae"
    estimator.save(path)
    same(skae.load(path).transform(X), codes, "loaded", estimator)
    done["saves"] += 1
    same(pickle.loads(pickle.dumps(estimator)).transform(X), codes, "pickle", estimator)
    done["pickles"] += 1

    over = threading.Event()

    def transform():
        n_calls = 0
        while not over.is_set():
            same(estimator.transform(X), codes, "thread", estimator)
            n_calls += 1
        return n_calls

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(transform) for _ in range(4)]
        try:
            estimator.fit(X)  # the same seed, so the same bits, all the time
            done["refits"] += 1
        finally:
            over.set()
        done["transforms"] += sum(thread.result() for thread in threads)


def same(found, codes, what, estimator):
    if not np.array_equal(found, codes):
        raise AssertionError(f"{what}: other codes than those of the fit: {estimator}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shapes", type=int, default=40)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of few epochs, and components that are not active
    rng, done, start = np.random.default_rng(given.seed), Counter(), time.monotonic()
    print("| minute | memory, MB |", *(f"{name} |" for name in COUNTED))
    print("|---" * (2 + len(COUNTED)) + "|", flush=True)
    minute = 0
    with tempfile.TemporaryDirectory() as folder:
        while minute < given.minutes:
            round_of(rng, given.shapes, folder, done)
            if time.monotonic() - start >= 60 * (minute + 1):
                minute = int((time.monotonic() - start) // 60)
                counts = (f"{done[name]:,} |" for name in COUNTED)
                print(f"| {minute} | {memory():.0f} |", *counts, flush=True)


if __name__ == "__main__":
    main()
