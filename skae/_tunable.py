"""Tunable: what users tune, an object with parameters: networks, noises, likelihoods."""

import numpy as np
from sklearn.base import BaseEstimator


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
    """The object that a name is short for; any other value as it is."""
    return by_name[value]() if isinstance(value, str) else value
