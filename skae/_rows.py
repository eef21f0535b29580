"""Rows: the rows of X, what they are to become, and all that is asked of them."""

import math
from functools import cached_property

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

#: Values that are read at once: they stay in the processor's cache.
VALUES_AT_ONCE = 2**17

#: The stream of the seed that splits off validation rows; epochs have 0, 1, 2, ...
_SPLIT = 2**32


class Rows:
    """The rows of X, or some of them, and the rows that they are to become.

    X is never copied as a whole: it may be an ndarray, a memory map or a CSR matrix.
    Where it holds NaN, nothing was measured: its moments are those of the other values,
    and a feature without any value has the mean 0.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_all, n_features)

    target : {ndarray, sparse matrix} of shape (n_all, n_features) or None, default=None
        What the rows are to become; None is the rows themselves.

    index : ndarray of int or None, default=None
        Which rows of X these are, in their order; None is all.
    """

    def __init__(self, X, target=None, index=None):
        self.X, self.index = X, index
        self.target = None if target is None else Rows(target, index=index)

    def __len__(self):
        return self.X.shape[0] if self.index is None else len(self.index)

    @property
    def n_features(self):
        return self.X.shape[1]

    @property
    def dtype(self):
        return self.X.dtype

    @property
    def wanted(self):
        """The rows that these are to become."""
        return self if self.target is None else self.target

    # -- some of them

    def take(self, index):
        """The rows at these places among these."""
        if self.index is not None:
            index = self.index[index]
        return Rows(self.X, None if self.target is None else self.target.X, index)

    def split(self, fraction, seed):
        """Some rows to train on, and the others to validate on.

        Raises
        ------
        ValueError
            If the fraction leaves none of either.
        """
        n_samples = len(self)
        n_validation = math.ceil(fraction * n_samples)
        if not 0 < n_validation < n_samples:
            raise ValueError(
                f"validation_fraction={fraction} of {n_samples} samples leaves"
                f" {n_validation} to validate on and {n_samples - n_validation} to train"
                " on; early stopping needs at least one of each. Change"
                " validation_fraction or set early_stopping=False."
            )
        order = np.random.default_rng((seed, _SPLIT)).permutation(n_samples)
        return self.take(order[n_validation:]), self.take(order[:n_validation])

    def spread(self, n):
        """The places of about n rows, spread over all."""
        return slice(None, None, max(1, len(self) // n))

    def batches(self, n=None):
        """Slices of n rows; by default of as many as stay in the processor's cache."""
        return gen_batches(len(self), n or max(1, VALUES_AT_ONCE // self.n_features))

    # -- as arrays

    @cached_property
    def array(self):
        """All of them as one matrix, sparse where X is."""
        return self.X if self.index is None else self.X[self.index]

    def dense(self, some):
        """The rows at these places, or the first so many, as X has them."""
        some = slice(some) if isinstance(some, int) else some
        rows = self.X[some if self.index is None else self.index[some]]
        return rows.toarray() if sparse.issparse(rows) else rows

    def filled(self, some=slice(None)):
        """The rows at these places in float64, the mean in place of NaN."""
        rows = np.asarray(self.dense(some), np.float64)
        return np.where(np.isnan(rows), self.mean, rows) if self.has_missing else rows

    @property
    def complete(self):
        """All rows as one matrix without NaN, sparse where X is."""
        if not self.has_missing:
            return self.array
        return np.where(np.isnan(self.array), self.mean.astype(self.dtype), self.array)

    def chunks(self, order, batch_size, buffers):
        """Fill the buffers with the rows in `order`, and yield the batches in them.

        There is a buffer for the rows and, where they have a target, one for that.
        """
        capacity = buffers[0].shape[0] * batch_size
        arrays = (self.X,) if self.target is None else (self.X, self.target.X)
        for start in range(0, len(order), capacity):
            rows = order[start : start + capacity]
            rows = rows if self.index is None else self.index[rows]
            for X, buffer in zip(arrays, buffers, strict=True):
                flat = buffer.reshape(capacity, -1)[: len(rows)]
                if sparse.issparse(X):
                    flat[:] = X[rows].toarray()
                else:
                    np.take(X, rows, axis=0, out=flat, mode="clip")
            yield len(rows) // batch_size

    # -- moments, in float64

    @cached_property
    def has_missing(self):
        """Whether any value is NaN."""
        if sparse.issparse(self.X):
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            return any(np.isnan(self.dense(batch).sum()) for batch in self.batches())

    @cached_property
    def _moments(self):
        """The mean of each feature and its summed squared deviations from it."""
        if sparse.issparse(self.X):
            mean, variance = mean_variance_axis(self.array, axis=0)
            return mean.astype(np.float64), len(self) * variance.astype(np.float64)
        count, total, square, origin = 0.0, 0.0, 0.0, None
        with np.errstate(over="ignore", invalid="ignore"):
            for batch in self.batches():
                rows = np.asarray(self.dense(batch), np.float64)
                present = ~np.isnan(rows) if self.has_missing else np.ones((len(rows), 1))
                n_present = present.sum(axis=0)
                if origin is None:  # near the mean, for the sake of precision
                    origin = np.nansum(rows, axis=0) / np.maximum(n_present, 1)
                rows = rows - origin
                rows = np.where(present, rows, 0.0) if self.has_missing else rows
                count, total = count + n_present, total + rows.sum(axis=0)
                square = square + np.einsum("ij,ij->j", rows, rows)
            shift = total / np.maximum(count, 1)
            return origin + shift, np.maximum(square - count * shift**2, 0)

    @property
    def mean(self):
        """The mean of each feature; 0 of one without any value."""
        return self._moments[0]

    @cached_property
    def total_variance(self):
        """The summed variance of all features, unbiased; NaN count as their mean."""
        return float(self._moments[1].sum() / max(len(self) - 1, 1))

    @property
    def typical_scale(self):
        """The root of the mean variance of a feature."""
        return math.sqrt(self.total_variance / self.n_features)

    @cached_property
    def _range(self):
        if sparse.issparse(self.X):
            return min_max_axis(self.array, axis=0)
        ends = [
            (np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0))
            for rows in map(self.dense, self.batches())
        ]
        low, high = zip(*ends, strict=True)
        return np.fmin.reduce(low), np.fmax.reduce(high)

    @property
    def low(self):
        """The least value of each feature."""
        return self._range[0]

    @property
    def high(self):
        """The greatest value of each feature."""
        return self._range[1]
