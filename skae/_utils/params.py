"""Parameters: objects with parameters to tune, and the objects that names stand for."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone


class Tunable(BaseEstimator):
    """An object with `get_params`, so that a grid search can vary its parameters."""

    _parameter_constraints: dict = {}

    def _key(self):
        """Return a hashable key of the compiled program: equal keys, equal programs."""
        params = self.get_params(deep=False)
        return (type(self), *((name, plain(params[name])) for name in sorted(params)))


class TunableDefaults:
    """An estimator whose nested parameters can be set where an object is not there yet.

    ``set_params(loss__delta=2)`` with ``loss="huber"`` replaces the name with its object,
    on which the parameter is set. `get_params` does not change before.
    """

    #: By parameter: a function from its value, None or a name, to its object.
    _objects: dict = {}

    def set_params(self, **params: Any) -> Self:
        """Set the parameters of this estimator.

        Parameters
        ----------
        **params : dict
            Parameters. ``<parameter>__<name>`` sets a parameter of the object in a
            parameter; if that is None or a name, it is replaced with the object that it
            stands for.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        inner: dict[str, dict] = defaultdict(dict)
        for key in list(params):
            name, _, nested = key.partition("__")
            if nested and name in self._objects:
                inner[name][nested] = params.pop(key)
        super().set_params(**params)
        for name, nested in inner.items():
            found = self._object(name, nested).set_params(**nested)
            setattr(self, name, found)
        return self

    def _object(self, name, nested):
        """Return the object of a parameter; raise if it has no parameters."""
        value, found = getattr(self, name), None
        if hasattr(value, "set_params") and not isinstance(value, type):
            return value
        if value is None or isinstance(value, str | tuple | list):
            with contextlib.suppress(KeyError):
                found = self._objects[name](value)
        if found is None or found is value:
            keys = ", ".join(f"{name}__{key}" for key in nested)
            raise ValueError(
                f"{keys} needs an object with parameters in {name} of"
                f" {type(self).__name__}, or its name. Got {name}={value!r}."
            )
        return found


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
