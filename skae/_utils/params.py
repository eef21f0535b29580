"""Tunable: what users tune, an object with parameters: networks, noises, likelihoods."""

import numpy as np
from sklearn.base import BaseEstimator, clone


class Tunable(BaseEstimator):
    """An object with `get_params`, so that its parameters can stand in a grid."""

    _parameter_constraints: dict = {}

    def _key(self):
        """What shapes a compiled program, hashable: equal keys mean equal programs."""
        params = self.get_params(deep=False)
        return (type(self), *((name, plain(params[name])) for name in sorted(params)))


def plain(value):
    """The value with tuples for lists and arrays, and Python's numbers for NumPy's."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def made(value, by_name):
    """The object that a name is short for, or a copy of one; any other value as it is.

    A fit keeps its own, which nobody else changes.
    """
    if isinstance(value, str):
        return by_name[value]()
    return copied(value) if isinstance(value, Tunable) else value


def copied(value):
    """A copy of an object, with Python's numbers for NumPy's among its parameters.

    They are the same to whoever gives them, and not to Keras' operations.
    """
    params = clone(value).get_params(deep=False)
    new = {
        name: param.item()
        for name, param in params.items()
        if isinstance(param, np.generic | np.ndarray) and np.ndim(param) == 0
    }
    return type(value)(**params | new)
