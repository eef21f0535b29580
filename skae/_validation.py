"""Validation of what stands beside the parameters: rows, and rows that belong to them."""

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data


def check_rows(estimator, X, network, reset):
    """X as flat rows of numbers, whatever the shape it came in, and that shape.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Whose number and names of features are set, or must be those of X.

    X : {array-like, sparse matrix} of shape (n_samples, ...)
    network : Network
    reset : bool
        Whether X is what the estimator is fitted to.
    """
    series = getattr(X, "ndim", 2) == 3
    X = validate_data(
        estimator,
        X,
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        order="C" if reset else None,
        allow_nd=True,
        ensure_all_finite="allow-nan" if series else True,
        ensure_min_samples=2 if reset else 1,
        reset=reset,
    )
    row_shape = X.shape[1:] if reset else estimator._state.specification.row_shape
    if X.shape[1:] != row_shape:
        raise ValueError(
            f"X has rows of shape {X.shape[1:]}, but {type(estimator).__name__} was"
            f" fitted with rows of shape {row_shape}."
        )
    if series:
        _check_series(X, network)
    return (X.reshape(X.shape[0], -1) if X.ndim > 2 else X), row_shape


def check_clean(estimator, X_clean, X, row_shape, network):
    """X_clean as rows like those of X; None where there is none."""
    if X_clean is None:
        return None
    series = network.allows_missing and len(row_shape) == 2
    X_clean = check_array(
        X_clean,
        dtype=X.dtype,
        order="C",
        accept_sparse="csr",
        allow_nd=True,
        ensure_all_finite="allow-nan" if series else True,
        estimator=estimator,
        input_name="X_clean",
    )
    if X_clean.shape != (X.shape[0], *row_shape):
        raise ValueError(
            f"X_clean must have the shape of X, {(X.shape[0], *row_shape)}. Got"
            f" {X_clean.shape}."
        )
    return X_clean.reshape(X.shape) if X_clean.ndim > 2 else X_clean


def _check_series(X, network):
    """Refuse NaN but for the trailing steps of series, where the network takes them."""
    missing = np.isnan(X)
    if not missing.any():
        return
    if not network.allows_missing:
        raise ValueError(
            "X contains NaN. Series of different lengths, which end in steps of NaN, need"
            f" network=SequenceNetwork(...); {type(network).__name__} takes numbers only."
        )
    step = missing.any(axis=2)
    if (step != missing.all(axis=2)).any() or (step[:, :-1] & ~step[:, 1:]).any():
        raise ValueError(
            "X contains NaN where a series has not ended: only whole steps at its end"
            " may be NaN."
        )
    if step[:, 0].any():
        row = int(step[:, 0].argmax())
        raise ValueError(f"X contains a series without any step: row {row} is all NaN.")
