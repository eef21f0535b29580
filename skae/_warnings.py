"""Warnings that point at the user's line, from however deep they come."""

import sys
import warnings

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
