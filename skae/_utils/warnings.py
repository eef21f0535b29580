"""Warnings that point at the user's line, and NumPy's errors as they are by default."""

import functools
import sys
import warnings

import numpy as np

from skae._utils.typing import Method

#: What stands between the user's line and the one that knows: none of it is meant.
_BETWEEN = ("skae", "sklearn", "joblib", "contextlib")


def warn_user(warning):
    """Warn at the first line up the stack that is neither skae's nor scikit-learn's."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "").partition(".")[0]
        if module not in _BETWEEN:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


def numpy_defaults():
    """A context in which NumPy's errors raise nothing, whatever ``np.seterr`` says.

    With ``all="raise"`` the squares of small numbers and casts to float32, which come to
    zero, would end a fit. What is ignored stays so.
    """
    now = np.geterr()
    kinds = ("divide", "over", "invalid")
    errors = {kind: "ignore" if now[kind] == "ignore" else "warn" for kind in kinds}
    return np.errstate(under="ignore", **errors)


def with_numpy_defaults(method: Method) -> Method:
    """Compute what a method gives in `numpy_defaults`."""

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        with numpy_defaults():
            return method(*args, **kwargs)

    return wrapped
