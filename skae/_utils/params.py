"""Tunable: the base of objects with parameters, such as networks and likelihoods."""

import numpy as np
from sklearn.base import BaseEstimator, clone


class Tunable(BaseEstimator):
    """An object with `get_params`, so that a grid search can vary its parameters."""

    _parameter_constraints: dict = {}

    def _key(self):
        """Return a hashable key of the compiled program: equal keys, equal programs."""
        params = self.get_params(deep=False)
        return (type(self), *((name, plain(params[name])) for name in sorted(params)))


def plain(value):
    """Convert lists and arrays to tuples, and NumPy's numbers to Python's."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def made(value, by_name):
    """Make the object that a name stands for, or copy an object.

    A fit owns its objects. Values that are neither a name nor a `Tunable` are returned
    unchanged.
    """
    if isinstance(value, str):
        return by_name[value]()
    return copied(value) if isinstance(value, Tunable) else value


def copied(value):
    """Copy an object, and convert NumPy's numbers in its parameters to Python's.

    Keras' operations treat the two differently.
    """
    params = clone(value).get_params(deep=False)
    new = {
        name: param.item()
        for name, param in params.items()
        if isinstance(param, np.generic | np.ndarray) and np.ndim(param) == 0
    }
    return type(value)(**params | new)
