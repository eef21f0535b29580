"""Selection: the losses of validation rows, and the choice between models by them."""

from dataclasses import dataclass

import numpy as np

from skae._data.statistics import degrees_of_freedom
from skae._model.components import Coordinates
from skae._starts.linear import LinearStart

#: The decrease of the validation loss, in standard errors, that training must reach.
SIGNIFICANCE = 1.0

#: The same for random weights, which pass too easily on rows that are noise.
SIGNIFICANCE_AT_RANDOM = 2.0


@dataclass(frozen=True)
class Losses:
    """The loss of each row, and the weight of each row or None."""

    values: np.ndarray
    weight: np.ndarray | None = None

    @classmethod
    def together(cls, several):
        """Concatenate the losses of several sets of rows."""
        weight = None
        if several[0].weight is not None:
            weight = np.concatenate([losses.weight for losses in several])
        return cls(np.concatenate([losses.values for losses in several]), weight)

    @property
    def mean(self):
        return float(np.average(self.values, weights=self.weight))

    def below(self, others, significance=SIGNIFICANCE):
        """Check whether the mean is lower than another by so many standard errors."""
        fall = others.values - self.values
        fall = fall / (np.abs(fall).max(initial=0.0) or 1.0)  # its squares may overflow
        size = len(fall) if self.weight is None else self.weight.sum()
        if len(fall) < 2:
            return False
        mean = np.average(fall, weights=self.weight)
        variance = np.average((fall - mean) ** 2, weights=self.weight)
        return mean > significance * np.sqrt(variance / degrees_of_freedom(size))


@dataclass(frozen=True)
class Candidate:
    """A model that a fit may select: before training or after some epochs.

    Parameters
    ----------
    weights : dict of str to ndarray
    coordinates : Coordinates
    losses : Losses or None
        The losses of the validation rows; None without such rows, and if a callback has
        set the weights.

    start : LinearStart or None
        The closed form that the weights have; None once they have been trained.
    """

    weights: dict
    coordinates: Coordinates
    losses: Losses | None = None
    start: LinearStart | None = None

    @property
    def variance(self):
        """The variance of the components if they are PCA's; else None."""
        is_pca = self.start is not None and self.start.in_order
        return self.start.explained_variance if is_pca else None


def best_of(found):
    """Select the best of several trainings, validated on the same rows.

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
    """Decide whether to prefer the training that began at random weights.

    Parameters
    ----------
    other, trained, start : Losses
        Losses of the same validation rows: of the training from random weights, of the
        training from the linear model, and of the linear model of the training rows.
    """
    better = other.below(start, SIGNIFICANCE_AT_RANDOM)
    return better and other.below(trained)


def select(trained, begin, of_all):
    """Select the trained model if it is better than its start, else the start.

    There are two starts: `begin`, which like the trained model has not seen the
    validation rows, and `of_all`, which has. The trained model must be better than the
    first, and not worse than the second, each by more than the standard error of the
    difference.

    Parameters
    ----------
    trained, begin, of_all : Candidate
        With their losses on the validation rows. Without losses, `trained` is returned.
    """
    if trained.losses is None:
        return trained
    if not trained.losses.below(begin.losses):
        return of_all
    return of_all if of_all.losses.below(trained.losses) else trained
