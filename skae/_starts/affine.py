"""Affine maps: the matrices of fitted linear transformers."""

from numbers import Integral

import numpy as np

#: Difference from a linear map, as a fraction of its values, that is rounding.
ROUNDING = 1e-6


def encoder_of(transformer, n_features):
    """Return the matrix and the offset of `transform`; None where it is not linear."""
    names = getattr(transformer, "feature_names_in_", None)

    def transform(rows):
        return transformer.transform(_with_names(rows, names))

    return _affine(transform, n_features)


def decoder_of(transformer):
    """Return the matrix and the offset of the way back from codes.

    They are those of `inverse_transform` or, without that, `components_` and `mean_`.
    """
    components = getattr(transformer, "components_", None)
    size = getattr(transformer, "n_components", None)
    size = size if components is None else len(components)
    found = None
    if hasattr(transformer, "inverse_transform") and isinstance(size, Integral):
        found = _affine(transformer.inverse_transform, size)
    if found is not None:
        return found
    if components is None:
        raise ValueError(
            "init must be a fitted linear transformer, with inverse_transform or"
            f" components_. Got {transformer!r}."
        )
    components = np.asarray(components, np.float64)
    mean = getattr(transformer, "mean_", None)
    mean = np.zeros(components.shape[1]) if mean is None else np.asarray(mean)
    return components, mean


def _affine(function, size):
    """Return ``A, b`` of a function ``rows @ A + b``; None where it is another one."""
    points = np.vstack([np.zeros((1, size)), np.eye(size)])
    few = np.random.default_rng(0).uniform(0, 1, (4, size))
    values = np.asarray(function(np.vstack([points, few])), np.float64)
    offset, values, others = values[0], values[1 : size + 1], values[size + 1 :]
    matrix = values - offset
    error = np.abs(few @ matrix + offset - others).max()
    return (matrix, offset) if error <= ROUNDING * np.abs(others).max() else None


def _with_names(rows, names):
    """Rows as a frame of the columns that a transformer was fitted to, if it has names."""
    if names is None:
        return rows
    import pandas as pd

    return pd.DataFrame(rows, columns=names)
