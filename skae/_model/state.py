"""State: the arrays and numbers of a fitted estimator, by name."""

from dataclasses import dataclass

import numpy as np

from skae._model.components import Coordinates
from skae._model.graph import Specification
from skae._starts.moments import Stream


@dataclass(frozen=True)
class State:
    """A fitted model, from which everything else is built again.

    Parameters
    ----------
    specification : Specification
    weights : dict of str to ndarray
        By the paths of the graph's variables.

    coordinates : Coordinates
    seed : int
        The seed of all randomness of the fit.

    optimizer : list of ndarray or None
        The optimizer's variables, if `partial_fit` continues with them.

    is_start : bool
        Whether the model is a linear start whose components are PCA's.

    stream : Stream or None
        The moments and a sample of the rows of all calls of `partial_fit`.

    origin : Coordinates or None
        The coordinates that the next call of `partial_fit` continues from. They precede
        the rotation to the components of the rows so far, which are computed on demand.
        None is `coordinates`.
    """

    specification: Specification
    weights: dict
    coordinates: Coordinates
    seed: int
    optimizer: list[np.ndarray] | None = None
    is_start: bool = False
    stream: Stream | None = None
    origin: Coordinates | None = None

    @property
    def completes(self):
        """True if the model can impute missing values."""
        if self.coordinates is None:  # the closed form of a stream is linear
            return self.specification.linear
        return self.coordinates.imputes

    @property
    def has_trained(self):
        """True unless it is the closed form of all rows of a stream so far."""
        return self.stream is None or self.stream.has_trained
