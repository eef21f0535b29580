"""Schedules: the learning rate from batch to batch, and when training ends."""

import math

import numpy as np

#: The factor of an adaptive rate where the loss stops falling, and the most reductions.
FACTOR, REDUCTIONS = 0.25, 3

#: The epochs to wait after the first gain, as a fraction of those to wait for it.
PATIENCE = 1 / 4

#: The fraction of batches in which a planned rate rises, and its end as a fraction of its
#: peak.
WARM_UP, LAST = 0.1, 1 / 20


class Constant:
    """A constant rate; training ends after `patience` epochs without improvement.

    Parameters
    ----------
    rate : float
    patience : int or inf
    """

    def __init__(self, rate, patience):
        self.rate, self.patience, self.waited = rate, patience, 0

    def rates(self, n_batches):
        """Return the learning rates of the next epoch's batches."""
        return np.full(n_batches, self.rate, np.float32)

    def goes_on(self, improved):
        """Decide whether another epoch follows, given whether the loss has improved."""
        self.waited = 0 if improved else self.waited + 1
        return self.waited <= self.patience


class Adaptive(Constant):
    """A rate that falls where the loss stops falling; training ends at its lowest.

    The rate does not fall before the first gain: a linear initialisation can be a saddle
    point, which takes some epochs to leave.
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
    """A rate that warms up, then falls along a cosine until the last planned epoch.

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
    """Stretch the rates of one training over another number of epochs."""
    return [rates[i * len(rates) // n_epochs] for i in range(n_epochs)]
