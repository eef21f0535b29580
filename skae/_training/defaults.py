"""Defaults: what suits so many rows, where the estimator's parameters leave it open."""

import math
from dataclasses import dataclass

import numpy as np

#: What Adam's rate is multiplied by where training begins at random weights.
RATE_AT_RANDOM = 1.5

#: How far around few rows training draws at first, as a share of their deviation.
SMOOTHING = 0.5


@dataclass(frozen=True)
class Defaults:
    """What suits so many rows, where the estimator's parameters leave it open.

    The figures behind it are in ``benchmarks/README.md``.
    """

    n_starts: int
    n_splits: int
    smoothing: float
    batch_size: int
    n_epochs: int | None

    @classmethod
    def of(cls, n_samples):
        """Few rows: several splits and smoothing, or two starts. Many: planned epochs."""
        n_starts = 2 if 1000 <= n_samples < 5000 else 1
        batch_size = 16 if n_samples < 5000 else 64 if n_samples < 10_000 else 128
        n_epochs = None
        if n_samples >= 50_000:
            n_epochs = int(np.clip(round(5000 / math.sqrt(n_samples)), 3, 25))
        n_splits, smoothing = (5, SMOOTHING) if n_samples < 1000 else (1, 0.0)
        return cls(n_starts, n_splits, smoothing, batch_size, n_epochs)


def suited_rate(batch_size):
    """Adam's rate for batches of this size."""
    return 2e-3 * min(max(1.0, math.sqrt(batch_size / 32)), 3.0)
