"""Defaults for parameters that are "auto", by the number of rows."""

import math
from dataclasses import dataclass

import numpy as np

#: Factor of Adam's learning rate for training that starts from random weights.
RATE_AT_RANDOM = 1.5

#: Initial bandwidth of the smoothed bootstrap for few rows, as a fraction of their
#: standard deviation.
SMOOTHING = 0.5


@dataclass(frozen=True)
class Defaults:
    """Defaults for parameters that are "auto", by the number of rows.

    ``benchmarks/README.md`` has the figures behind them.
    """

    n_starts: int
    n_splits: int
    smoothing: float
    batch_size: int
    n_epochs: int | None

    @classmethod
    def of(cls, n_samples):
        """Choose the defaults for this number of rows.

        Few rows have several splits and smoothing, or two starts. Many rows have planned
        epochs.
        """
        n_starts = 2 if 1000 <= n_samples < 5000 else 1
        batch_size = 16 if n_samples < 5000 else 64 if n_samples < 10_000 else 128
        n_epochs = None
        if n_samples >= 50_000:
            n_epochs = int(np.clip(round(5000 / math.sqrt(n_samples)), 3, 25))
        n_splits, smoothing = (5, SMOOTHING) if n_samples < 1000 else (1, 0.0)
        return cls(n_starts, n_splits, smoothing, batch_size, n_epochs)


def suited_rate(batch_size):
    """Return Adam's learning rate for batches of this size."""
    return 2e-3 * min(max(1.0, math.sqrt(batch_size / 32)), 3.0)
