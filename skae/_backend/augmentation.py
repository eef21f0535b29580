"""Smoothing: what few rows are while a network trains on them, a sample from around them."""

import math

import numpy as np

#: The rows that are mixed with one another.
GROUP = 16


def smooth(arrays, bandwidth, seed):
    """Replace rows by draws from around them, in place.

    Each becomes a random mixture of the rows of its group, in such a way that their mean
    and their covariance stay as they are, on average: a smoothed bootstrap, shrunken
    [1]_. So what is linear, as a fit's start is, stays as good as it was, and what bends
    to single rows gains nothing by it.

    Parameters
    ----------
    arrays : list of ndarray of shape (n_batches, batch_size, n_columns)
        Rows and, where they are others, what these are to become: mixed alike.

    bandwidth : float
        The standard deviation of what is added, as a share of that of the rows.

    seed : int or tuple of int

    References
    ----------
    .. [1] B. W. Silverman and G. A. Young, "The bootstrap: to smooth or not to smooth?",
       Biometrika 74 (1987) 469-479.
    """
    n = math.prod(arrays[0].shape[:2])
    size = min(GROUP, n)
    groups = np.resize(np.arange(n), (-(-n // size), size))
    draws = np.random.default_rng(seed).normal(size=(*groups.shape, size))
    mixing = np.eye(size) + bandwidth / math.sqrt(size) * draws
    mixing /= math.sqrt(1 + bandwidth**2)
    for array in arrays:
        flat = array.reshape(n, -1)
        some = flat[groups]
        mean = some.mean(axis=1, keepdims=True)
        mixed = mean + mixing.astype(flat.dtype) @ (some - mean)
        flat[:] = mixed.reshape(-1, flat.shape[1])[:n]
