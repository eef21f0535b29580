"""State: what a fitted estimator keeps, by name: plain arrays and numbers."""

from dataclasses import dataclass

import numpy as np

from skae._components import Coordinates
from skae._graph import Specification
from skae._stream import Stream


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
    """

    specification: Specification
    weights: dict
    coordinates: Coordinates
    seed: int
    optimizer: list[np.ndarray] | None = None
    is_start: bool = False
    stream: Stream | None = None
