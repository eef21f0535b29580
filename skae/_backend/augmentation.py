"""Augmentation: a smoothed bootstrap of few rows, drawn anew in every epoch."""

import math

import numpy as np

#: The number of rows that are mixed with one another.
GROUP = 16


def smooth(arrays, bandwidth, seed):
    """Replace rows by draws of a smoothed bootstrap, in place.

    Each row becomes a random mixture of the rows of its group. The mean and the
    covariance of the rows are unchanged on average: the bootstrap is shrunken [1]_. A
    linear model, such as the initialisation, therefore stays as good as it was, and a
    network gains nothing by fitting single rows.

    Parameters
    ----------
    arrays : list of ndarray of shape (n_batches, batch_size, n_columns)
        The rows and, if they differ, their targets. Both are mixed in the same way.

    bandwidth : float
        The standard deviation of the perturbation, as a fraction of the standard
        deviation of the rows.

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
