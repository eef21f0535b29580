"""Selection: losses of validation rows, and when what was trained is kept."""

from dataclasses import dataclass

import numpy as np

from skae._data.statistics import degrees_of_freedom
from skae._model.components import Coordinates
from skae._starts.linear import LinearStart

#: How many standard errors the validation loss must fall by to leave the start behind.
SIGNIFICANCE = 1.0

#: The same of weights that were random, which on rows of noise leave it too easily.
SIGNIFICANCE_AT_RANDOM = 2.0


@dataclass(frozen=True)
class Losses:
    """The loss of each of some rows, and how many rows each stands for, or None."""

    values: np.ndarray
    weight: np.ndarray | None = None

    @classmethod
    def together(cls, several):
        """Those of several sets of rows as one."""
        weight = None
        if several[0].weight is not None:
            weight = np.concatenate([losses.weight for losses in several])
        return cls(np.concatenate([losses.values for losses in several]), weight)

    @property
    def mean(self):
        return float(np.average(self.values, weights=self.weight))

    def below(self, others, significance=SIGNIFICANCE):
        """Whether they are lower than others, on average, by so many standard errors."""
        fall = others.values - self.values
        fall = fall / (np.abs(fall).max(initial=0.0) or 1.0)  # whose squares may overflow
        size = len(fall) if self.weight is None else self.weight.sum()
        if len(fall) < 2:
            return False
        mean = np.average(fall, weights=self.weight)
        variance = np.average((fall - mean) ** 2, weights=self.weight)
        return mean > significance * np.sqrt(variance / degrees_of_freedom(size))


@dataclass(frozen=True)
class Candidate:
    """A model that a fit may end at: its start, and what training makes of it.

    Parameters
    ----------
    weights : dict of str to ndarray
    coordinates : Coordinates
    losses : Losses or None
        Those of the validation rows; None without such rows, and where a callback has
        put the weights in place.

    start : LinearStart or None
        The closed form that it still is; None once it has been trained.
    """

    weights: dict
    coordinates: Coordinates
    losses: Losses | None = None
    start: LinearStart | None = None

    @property
    def variance(self):
        """The variance of the components while they are PCA's; else None."""
        is_pca = self.start is not None and self.start.in_order
        return self.start.explained_variance if is_pca else None


def best_of(found):
    """Choose among trainings that are validated on the same rows.

    Parameters
    ----------
    found : list of (Run, Course)
        The first began at the linear model, others at random weights.

    Returns
    -------
    best : (Run, Course)
    """
    best, (first, _) = found[0], found[0]
    for other in found[1:]:
        if preferred(other[0].best.losses, best[0].best.losses, first.start.losses):
            best = other
    return best


def preferred(other, trained, start):
    """Whether to keep what began at random weights, not at the linear model.

    Parameters
    ----------
    other, trained, start : Losses
        Of the same validation rows: what began at random, what did not, and the
        linear model of the training rows.
    """
    better = other.below(start, SIGNIFICANCE_AT_RANDOM)
    return better and other.below(trained)


def select(trained, begin, of_all):
    """The training's result where it is better than its start, else the start.

    Of starts there are two: `begin`, which like the training has not seen the validation
    rows, and that of all rows. The result must be better than the first, and not worse
    than the second, each by more than the standard error of the difference.

    Parameters
    ----------
    trained, begin, of_all : Candidate
        With their losses on the validation rows; without, there is nothing to hold the
        result against.
    """
    if trained.losses is None:
        return trained
    if not trained.losses.below(begin.losses):
        return of_all
    return of_all if of_all.losses.below(trained.losses) else trained
