"""State: what a fitted estimator keeps, by name: plain arrays and numbers."""

from dataclasses import dataclass

import numpy as np

from skae._model.components import Coordinates
from skae._model.graph import Specification
from skae._starts.moments import Stream


@dataclass(frozen=True)
class State:
    """A fitted model, from which all else that it can do is built again.

    Parameters
    ----------
    specification : Specification
    weights : dict of str to ndarray
        By the paths of the graph's variables.

    coordinates : Coordinates
    seed : int
        What the fit drew all its randomness from.

    optimizer : list of ndarray or None
        The optimizer's variables, where `partial_fit` goes on with them.

    is_start : bool
        Whether it still is a linear start whose components are PCA's.

    stream : Stream or None
        What is kept of the rows of all calls of `partial_fit`.

    origin : Coordinates or None
        The coordinates that the next call of `partial_fit` goes on from: those before the
        code was turned to the components of the rows so far, which nobody may have looked
        at. None is `coordinates`.
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
        """Whether the model knows what to expect where a value is missing."""
        if self.coordinates is None:  # the closed form of a stream, which has been linear
            return self.specification.linear
        return self.coordinates.imputes

    @property
    def has_trained(self):
        """Whether there is more than the closed form of all rows of a stream so far."""
        return self.stream is None or self.stream.has_trained
