"""Warnings that point at the user's line, and NumPy's default error handling."""

import functools
import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from skae._utils.typing import Method

#: Packages between the user's line and the warning, which warnings do not point at.
_BETWEEN = ("skae", "sklearn", "joblib", "contextlib")

#: Whether this thread is not to warn of fits that the user has not asked for.
_SILENT = ContextVar("skae_silent", default=False)


@contextmanager
def silently():
    """Leave out skae's own warnings in this thread."""
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


def warn_user(warning):
    """Warn at the first line up the stack that is neither skae's nor scikit-learn's."""
    if _SILENT.get():
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "").partition(".")[0]
        if module not in _BETWEEN:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


def numpy_defaults():
    """Return a context in which NumPy's floating-point errors do not raise.

    With ``np.seterr(all="raise")``, squares of small numbers and casts to float32 would
    end a fit by underflow. Errors that are ignored stay ignored.
    """
    now = np.geterr()
    kinds = ("divide", "over", "invalid")
    errors = {kind: "ignore" if now[kind] == "ignore" else "warn" for kind in kinds}
    return np.errstate(under="ignore", **errors)


def with_numpy_defaults(method: Method) -> Method:
    """Run a method in `numpy_defaults`."""

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        with numpy_defaults():
            return method(*args, **kwargs)

    return wrapped
