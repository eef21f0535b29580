"""Schedules: the learning rate from batch to batch, and when training has done enough."""

import math

import numpy as np

#: Where the loss stops falling, an adaptive rate is multiplied by this, so often at most.
FACTOR, REDUCTIONS = 0.25, 3

#: The epochs it then waits, as a share of those that it waits for the first gain.
PATIENCE = 1 / 4

#: Of a planned rate: the share of batches on the way up, and the last as a share of the peak.
WARM_UP, LAST = 0.1, 1 / 20


class Constant:
    """One rate throughout, which ends where the loss has not fallen for so many epochs.

    Parameters
    ----------
    rate : float
    patience : int or inf
    """

    def __init__(self, rate, patience):
        self.rate, self.patience, self.waited = rate, patience, 0

    def rates(self, n_batches):
        """The rates of the next epoch's batches."""
        return np.full(n_batches, self.rate, np.float32)

    def goes_on(self, improved):
        """Whether another epoch follows one that has improved the loss, or has not."""
        self.waited = 0 if improved else self.waited + 1
        return self.waited <= self.patience


class Adaptive(Constant):
    """A rate that is lowered where the loss stops falling, and ends when it is lowest.

    Nothing is lowered before the first gain: a linear start can be a saddle, which
    takes some epochs to leave.
    """

    def __init__(
        self, rate, patience, factor=FACTOR, reductions=REDUCTIONS, share=PATIENCE
    ):
        super().__init__(rate, patience)
        self.factor, self.left, self.share = factor, reductions, share
        self.gained = False

    def goes_on(self, improved):
        self.gained |= improved
        self.waited = 0 if improved else self.waited + 1
        share = self.share if self.gained else 1
        if self.waited < self.patience * share:
            return True
        if self.left == 0 or not self.gained:
            return False
        self.rate, self.left, self.waited = self.rate * self.factor, self.left - 1, 0
        return True


class Planned(Constant):
    """A rate that warms up, and falls along a cosine until the planned epochs are over.

    Parameters
    ----------
    peak : float
    patience : int or inf
    n_epochs : int
    """

    def __init__(self, peak, patience, n_epochs):
        super().__init__(peak, patience)
        self.n_epochs, self.done = n_epochs, 0

    def rates(self, n_batches):
        steps = n_batches * self.done + np.arange(n_batches)
        share = (steps + 0.5) / (n_batches * self.n_epochs)
        self.done += 1
        up = np.minimum(share / WARM_UP, 1)
        down = np.clip((share - WARM_UP) / (1 - WARM_UP), 0, 1)
        fall = LAST + (1 - LAST) * (1 + np.cos(math.pi * down)) / 2
        return (self.rate * up * fall).astype(np.float32)


class Replayed:
    """The rates of the epochs of another training, one for each epoch.

    Parameters
    ----------
    rates : list of float
    """

    def __init__(self, rates):
        self.left = iter(rates)

    def rates(self, n_batches):
        self.rate = next(self.left)
        return np.full(n_batches, self.rate, np.float32)

    def goes_on(self, improved):
        return True


def replayed(rates, n_epochs):
    """The rates of one training, for another that takes so many epochs."""
    return [rates[i * len(rates) // n_epochs] for i in range(n_epochs)]
