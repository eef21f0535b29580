"""Rows: the rows of X, their targets, weights and statistics."""

import math
from functools import cached_property

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import gen_batches

from skae._data.statistics import Statistics

#: The number of rows with missing values that are processed at once.
ROWS_AT_ONCE = 1024

#: The number of values that are read at once: they fit into the processor's cache.
VALUES_AT_ONCE = 2**17

#: The stream of the seed for the validation split; epochs have streams 0, 1, 2, ...
_SPLIT = 2**32


class Rows(Statistics):
    """The rows of X, or some of them, and their targets.

    X may be an ndarray, a memory map or a CSR matrix. It is never copied as a whole, and
    integers become floating point batch by batch. NaN is a missing value: moments are of
    the observed values, and a feature without any value has the mean 0.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_all, n_features)

    target : {ndarray, sparse matrix} of shape (n_all, n_features) or None, default=None
        The targets of the rows; None is the rows themselves.

    weight : ndarray of shape (n_all,) or None, default=None
        The number of rows that each row counts as; None is one.

    index : ndarray of int or None, default=None
        The places of these rows in X, in order; None is all.

    series : bool, default=False
        Whether NaN is the end of a series, which the network sees, and not a missing
        value.
    """

    is_stored = False

    #: X as passed to `fit`, a frame or an array.
    given = None

    def __init__(self, X, target=None, weight=None, index=None, series=False):
        self.X, self.index, self.all_weights, self.series = X, index, weight, series
        self.kept = None, None  # a linear model, and the rows that it has imputed
        self.target = None
        if target is not None:
            self.target = Rows(target, None, weight, index, series)

    @classmethod
    def weighted(cls, X, target, weight, series=False):
        """Make rows with weights.

        A weight of 2 counts a row twice, and 0 leaves it out. The sum of all weights is
        the number of rows. Weights that add up to less than the number of rows above
        zero, such as fractions, are scaled to that number.
        """
        if weight is None or (weight == 1).all():
            return cls(X, target, series=series)
        index = np.flatnonzero(weight)
        if (weight[index] == 1).all():
            return cls(X, target, None, index, series)
        weight = weight * max(1.0, len(index) / weight.sum())
        index = None if len(index) == len(weight) else index
        return cls(X, target, weight, index, series)

    def __len__(self):
        return self.X.shape[0] if self.index is None else len(self.index)

    @cached_property
    def weight(self):
        """The number of rows that each row counts as; None if it is one."""
        if self.all_weights is None or self.index is None:
            return self.all_weights
        return self.all_weights[self.index]

    def weight_of(self, some):
        """Return the number of rows that each of these counts as; None if it is one."""
        return None if self.weight is None else self.weight[some]

    @property
    def size(self):
        """The sum of the weights; the number of rows without weights."""
        return len(self) if self.all_weights is None else float(self.weight.sum())

    def average(self, values):
        """Compute the weighted mean of a value of each row."""
        return np.average(values, weights=self.weight)

    @property
    def n_features(self):
        return self.X.shape[1]

    @property
    def dtype(self):
        """The dtype of computation."""
        return float_dtype(self.X)

    @property
    def wanted(self):
        """The targets of these rows."""
        return self if self.target is None else self.target

    # -- some of them

    def take(self, index):
        """Take the rows at these places."""
        if self.index is not None:
            index = self.index[index]
        target = None if self.target is None else self.target.X
        return Rows(self.X, target, self.all_weights, index, self.series)

    @property
    def of_closed_form(self):
        """The rows from which a closed form is computed."""
        return self.few if self.is_stored and self.has_missing else self

    def with_target(self, target):
        """Return the same rows with other targets."""
        rows = Rows(self.array, target.array, self.weight, None, self.series)
        rows.given = self.given
        return rows

    def replaced(self, X):
        """Return rows with other values and the same weights."""
        target = None if self.target is None else self.target.array
        return Rows(X, target, self.weight, None, self.series)

    def split(self, fraction, seed):
        """Split into training rows and validation rows.

        Raises
        ------
        ValueError
            If one of the two would be empty.
        """
        n_validation = self.n_validation(fraction)
        order = np.random.default_rng((seed, _SPLIT)).permutation(len(self))
        return self.take(order[n_validation:]), self.take(order[:n_validation])

    def n_validation(self, fraction):
        """Compute the number of validation rows."""
        n_samples = len(self)
        n_validation = math.ceil(fraction * n_samples)
        if not 0 < n_validation < n_samples:
            raise ValueError(
                f"validation_fraction={fraction} of {n_samples} samples leaves"
                f" {n_validation} to validate on and {n_samples - n_validation} to train"
                " on; early stopping needs at least one of each. Change"
                " validation_fraction or set early_stopping=False."
            )
        return n_validation

    def spread(self, n):
        """Return the places of about n rows, spread evenly over all."""
        return slice(None, None, max(1, len(self) // n))

    def order(self, rng=None):
        """Return the order of the rows in an epoch: random, or their own without rng."""
        order = np.arange(len(self))
        if rng is not None:
            rng.shuffle(order)
        return order

    def batches(self, n=None):
        """Yield slices of n rows; by default as many as the processor's cache holds."""
        return gen_batches(len(self), n or max(1, VALUES_AT_ONCE // self.n_features))

    @property
    def has_missing(self):
        """True if a value is missing, and not the end of a series."""
        return self.has_nan and not self.series

    # -- as arrays

    def shown(self, row_shape):
        """Return X in the user's shape."""
        return self.X if sparse.issparse(self.X) else self.X.reshape(-1, *row_shape)

    @property
    def array(self):
        """All rows as one matrix, sparse if X is; a copy if they are some of X's rows."""
        return self.X if self.index is None else self.X[self.index]

    def dense(self, some):
        """Return the rows at these places, or the first so many, in floating point."""
        some = slice(some) if isinstance(some, int) else some
        rows = self.X[some if self.index is None else self.index[some]]
        rows = rows.toarray() if sparse.issparse(rows) else rows
        return rows.astype(self.dtype, copy=False)

    def filled(self, some=slice(None)):
        """Return the rows at these places in float64, with the mean in place of NaN."""
        rows = np.asarray(self.dense(some), np.float64)
        return np.where(np.isnan(rows), self.mean, rows) if self.has_nan else rows

    @property
    def complete(self):
        """All rows as one matrix, with the mean in place of NaN; sparse if X is."""
        X = self.array
        if not self.has_nan:
            return X
        return np.where(np.isnan(X), self.mean.astype(self.dtype), X)

    def widths(self, n_extra_variances=0):
        """Return the number of columns of each array that training reads.

        Parameters
        ----------
        n_extra_variances : int, default=0
            The number of code variances that missing values of a row can increase.
        """
        widths = {"rows": self.n_features}
        if self.target is not None or self.has_missing:
            widths["wanted"] = self.n_features
        if self.all_weights is not None:
            widths["weight"] = 1
        if self.has_missing and n_extra_variances:
            widths["extra_variance"] = n_extra_variances
        return widths

    def chunks(self, order, batch_size, buffers, linear_model=None):
        """Fill the buffers with the rows in `order`, and yield the number of batches.

        Parameters
        ----------
        order : ndarray of int
            As `order` returns it. The last batch is filled up with its first rows.

        batch_size : int
        buffers : dict of str to ndarray
            One for each of `widths`. Weights are divided by their mean.

        linear_model : LinearGaussian or None, default=None
            Imputes missing values in the rows that the network sees. If there is a buffer
            for it, it also computes how much they add to the variance of the code.
        """
        capacity = buffers["rows"].shape[0] * batch_size
        order = np.resize(order, -(-len(order) // batch_size) * batch_size)
        arrays = {"rows": self.X}
        if "wanted" in buffers:
            arrays["wanted"] = self.wanted.X
        if self.all_weights is not None:
            arrays["weight"] = (self.all_weights * (len(self) / self.size))[:, None]
        for start in range(0, len(order), capacity):
            rows = order[start : start + capacity]
            rows = rows if self.index is None else self.index[rows]
            for name, X in arrays.items():
                flat = buffers[name].reshape(capacity, -1)[: len(rows)]
                if sparse.issparse(X):
                    flat[:] = X[rows].toarray()
                elif X.dtype == flat.dtype:
                    np.take(X, rows, axis=0, out=flat, mode="clip")
                else:
                    flat[:] = X[rows]
            if self.has_missing:
                places = order[start : start + capacity]
                widens = "extra_variance" in buffers
                for name, X in self._imputed(linear_model, widens).items():
                    buffers[name].reshape(capacity, -1)[: len(rows)] = X[places]
            yield len(rows) // batch_size

    def _impute(self, rows, linear_model, widens):
        """Impute some rows and compute the codes' extra variances; no array if complete."""
        if not self.has_missing:
            return {}
        found = {"rows": linear_model.filled(rows)}
        if widens:
            found["extra_variance"] = np.concatenate(
                [
                    linear_model.extra_variance(rows[some])
                    for some in gen_batches(len(rows), ROWS_AT_ONCE)
                ]
            ).astype(self.dtype)
        return found

    def _imputed(self, linear_model, widens):
        """Impute the rows and compute the codes' extra variances; cache both."""
        kept = self.kept  # read once: another thread may replace it
        if kept[0] is not linear_model:
            found = self._impute(self.dense(len(self)), linear_model, widens)
            self.kept = kept = linear_model, found
        return kept[1]


def points_of(mean, scatter, size, dtype):
    """Make `Rows` with this mean and scatter matrix: two points on each axis."""
    variance, axes = linalg.eigh(scatter)
    real = variance > len(variance) * np.finfo(float).eps * variance[-1]
    axes = (axes[:, real] * np.sqrt(variance[real])).T
    count = max(len(axes), 1)
    steps = axes * np.sqrt(count / size) if len(axes) else np.zeros((1, 1))
    X = np.concatenate([mean + steps, mean - steps])
    return Rows(X.astype(dtype), None, np.full(2 * count, size / (2 * count)))


def float_dtype(X):
    """Return the dtype of computation with X: its own, or float64 for integers."""
    return X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
