"""Quantiles: the distribution of a column as a few of its values."""

import numpy as np

#: The number of quantiles of a column, from its least to its greatest value.
N_QUANTILES = 256

#: The number of values that all quantiles together may be.
MOST_QUANTILES = 2**18


def quantiles_of(X, weight=None):
    """Compute the quantiles of each column at equal steps, without missing values.

    Quantiles are interpolated, but not next to ties: a value that many rows have is a
    quantile as it is.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None, default=None

    Returns
    -------
    quantiles : ndarray of shape (256, n_features)
        In increasing order; NaN for a column without values.
    """
    weight = np.ones(len(X)) if weight is None else weight
    found = np.full((N_QUANTILES, X.shape[1]), np.nan, X.dtype)
    levels = np.linspace(0, 1, N_QUANTILES)
    for quantiles, column in zip(found.T, X.T, strict=True):
        order = np.argsort(column, kind="stable")[: np.count_nonzero(~np.isnan(column))]
        if not len(order):
            continue
        share = np.cumsum(weight[order]) - weight[order] / 2
        share = (share - share[0]) / ((share[-1] - share[0]) or 1.0)
        place = np.interp(levels, share, np.arange(len(order)))
        quantiles[:] = interpolated(column[order], place)
    return found


def interpolated(values, place):
    """Interpolate in increasing values; next to ties, take the nearer value.

    Parameters
    ----------
    values : ndarray of shape (n,)
    place : ndarray of float of shape (m,)
        From 0 to n - 1.

    Returns
    -------
    found : ndarray of shape (m,)
    """
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    equal = values[1:] == values[:-1]
    tied = np.append(equal, False) | np.append(False, equal)
    between = values[low] + (place - low) * (values[high] - values[low])
    between = np.clip(between, values[low], values[high])
    nearer = values[np.rint(place).astype(int)]
    return np.where(tied[low] | tied[high], nearer, between).astype(values.dtype)


def places_of(x, quantiles, rng):
    """Compute the places of values among quantiles: the inverse of `interpolated`.

    Parameters
    ----------
    x : ndarray of shape (n,)
    quantiles : ndarray of shape (256,)
        In increasing order.

    rng : RandomState
        Draws the place of a value that several quantiles are equal to.

    Returns
    -------
    places : ndarray of shape (n,)
        From 0 to 255. They increase with the values.
    """
    values, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    places = np.interp(x, values, first + (counts - 1) / 2)
    at = np.minimum(np.searchsorted(values, x), len(values) - 1)
    tied = (values[at] == x) & (counts[at] > 1)
    places += np.where(tied, rng.uniform(-0.5, 0.5, len(x)) * counts[at], 0.0)
    return np.clip(places, 0, len(quantiles) - 1)


def with_quantiles(X, of_model, of_data, rng):
    """Replace values by the quantiles of data at their places in the model's quantiles.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    of_model, of_data : ndarray of shape (256, n_features)
    rng : RandomState

    Returns
    -------
    X_mapped : ndarray of the shape of X
        In each column, the order of the values is that of X.
    """
    found = X.copy()
    for i, (model, data) in enumerate(zip(of_model.T, of_data.T, strict=True)):
        if not np.isnan(data[0]):
            found[:, i] = interpolated(data, places_of(X[:, i], model, rng))
    return found
