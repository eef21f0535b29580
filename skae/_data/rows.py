"""Rows: the rows of X, what they are to become, and all that is asked of them."""

import math
from functools import cached_property

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import gen_batches

from skae._data.statistics import Statistics

#: Rows of holes that are looked at at once.
ROWS_AT_ONCE = 1024

#: Values that are read at once: they stay in the processor's cache.
VALUES_AT_ONCE = 2**17

#: The stream of the seed that splits off validation rows; epochs have 0, 1, 2, ...
_SPLIT = 2**32


class Rows(Statistics):
    """The rows of X, or some of them, and the rows that they are to become.

    X is never copied as a whole: it may be an ndarray, a memory map or a CSR matrix, and
    whole numbers become floating point batch by batch.
    Where it holds NaN, nothing was measured: its moments are those of the other values,
    and a feature without any value has the mean 0.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_all, n_features)

    target : {ndarray, sparse matrix} of shape (n_all, n_features) or None, default=None
        What the rows are to become; None is the rows themselves.

    weight : ndarray of shape (n_all,) or None, default=None
        How many rows each stands for; None is one.

    index : ndarray of int or None, default=None
        Which rows of X these are, in their order; None is all.

    series : bool, default=False
        Whether NaN is the end of a series, which the network sees, and not a hole.
    """

    is_stored = False

    #: X as it was given to `fit`, a frame or an array.
    given = None

    def __init__(self, X, target=None, weight=None, index=None, series=False):
        self.X, self.index, self.all_weights, self.series = X, index, weight, series
        self.kept = None, None  # a linear model, and the rows that it has imputed
        self.target = None
        if target is not None:
            self.target = Rows(target, None, weight, index, series)

    @classmethod
    def weighted(cls, X, target, weight, series=False):
        """Rows of which each counts as often as its weight says.

        Those of weight 0 are left out. A weight of 2 is the row twice: the sum of all
        weights is the number of rows, but for weights that add up to less than there
        are rows, such as shares, which are scaled to that number.
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
        """How many rows each stands for; None where it is one."""
        if self.all_weights is None or self.index is None:
            return self.all_weights
        return self.all_weights[self.index]

    def weight_of(self, some):
        """How many rows each of these stands for; None where it is one."""
        return None if self.weight is None else self.weight[some]

    @property
    def size(self):
        """The number of rows that these stand for."""
        return len(self) if self.all_weights is None else float(self.weight.sum())

    def average(self, values):
        """The mean of a value of each row."""
        return np.average(values, weights=self.weight)

    @property
    def n_features(self):
        return self.X.shape[1]

    @property
    def dtype(self):
        """What is computed with."""
        return float_dtype(self.X)

    @property
    def wanted(self):
        """The rows that these are to become."""
        return self if self.target is None else self.target

    # -- some of them

    def take(self, index):
        """The rows at these places among these."""
        if self.index is not None:
            index = self.index[index]
        target = None if self.target is None else self.target.X
        return Rows(self.X, target, self.all_weights, index, self.series)

    @property
    def of_closed_form(self):
        """The rows that a closed form is computed from."""
        return self

    def with_target(self, target):
        """The same rows, which are to become others."""
        rows = Rows(self.array, target.array, self.weight, None, self.series)
        rows.given = self.given
        return rows

    def replaced(self, X):
        """Rows of the same weights with other values, which are as many."""
        target = None if self.target is None else self.target.array
        return Rows(X, target, self.weight, None, self.series)

    def split(self, fraction, seed):
        """Some rows to train on, and the others to validate on.

        Raises
        ------
        ValueError
            If the fraction leaves none of either.
        """
        n_validation = self.n_validation(fraction)
        order = np.random.default_rng((seed, _SPLIT)).permutation(len(self))
        return self.take(order[n_validation:]), self.take(order[:n_validation])

    def n_validation(self, fraction):
        """The number of rows to validate on."""
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
        """The places of about n rows, spread over all."""
        return slice(None, None, max(1, len(self) // n))

    def order(self, rng=None):
        """The order in which an epoch visits the rows: drawn, or their own."""
        order = np.arange(len(self))
        if rng is not None:
            rng.shuffle(order)
        return order

    def batches(self, n=None):
        """Slices of n rows; by default of as many as stay in the processor's cache."""
        return gen_batches(len(self), n or max(1, VALUES_AT_ONCE // self.n_features))

    @property
    def has_missing(self):
        """Whether a value is NaN that the network must not see."""
        return self.has_nan and not self.series

    # -- as arrays

    def shown(self, row_shape):
        """X as the user gave it."""
        return self.X if sparse.issparse(self.X) else self.X.reshape(-1, *row_shape)

    @property
    def array(self):
        """All of them as one matrix, sparse where X is; a copy, of some of the rows."""
        return self.X if self.index is None else self.X[self.index]

    def dense(self, some):
        """The rows at these places, or the first so many, in floating point."""
        some = slice(some) if isinstance(some, int) else some
        rows = self.X[some if self.index is None else self.index[some]]
        rows = rows.toarray() if sparse.issparse(rows) else rows
        return rows.astype(self.dtype, copy=False)

    def filled(self, some=slice(None)):
        """The rows at these places in float64, the mean in place of NaN."""
        rows = np.asarray(self.dense(some), np.float64)
        return np.where(np.isnan(rows), self.mean, rows) if self.has_nan else rows

    @property
    def complete(self):
        """All rows as one matrix without NaN, sparse where X is."""
        X = self.array
        if not self.has_nan:
            return X
        return np.where(np.isnan(X), self.mean.astype(self.dtype), X)

    def widths(self, n_extra_variances=0):
        """Count the numbers that a row has in each of the arrays that training reads.

        Parameters
        ----------
        n_extra_variances : int, default=0
            How many variances the missing values of a row may add to.
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
        """Fill the buffers with the rows in `order`, and yield the batches in them.

        Parameters
        ----------
        order : ndarray of int
            As `order` gives it; the last batch is filled up from its start.

        batch_size : int
        buffers : dict of str to ndarray
            One for each of `widths`; that of the weights is given their shares of the
            mean weight.

        linear_model : LinearGaussian or None, default=None
            The model that imputes missing values in what the network sees, and tells how
            much they add to the variance of the code if there is a buffer for it.
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

    def _imputed(self, linear_model, widens):
        """Impute the rows, and compute what that adds to the codes' variances, once."""
        kept = self.kept  # as one: another thread may put its own here
        if kept[0] is not linear_model:
            found = {"rows": linear_model.filled(self.dense(len(self)))}
            if widens:
                batches = (self.dense(batch) for batch in self.batches(ROWS_AT_ONCE))
                found["extra_variance"] = np.concatenate(
                    [linear_model.extra_variance(X) for X in batches]
                ).astype(self.dtype)
            self.kept = kept = linear_model, found
        return kept[1]


def points_of(mean, scatter, size, dtype):
    """`Rows` of which the mean and the scatter matrix are these: two on each axis."""
    variance, axes = linalg.eigh(scatter)
    real = variance > len(variance) * np.finfo(float).eps * variance[-1]
    axes = (axes[:, real] * np.sqrt(variance[real])).T
    count = max(len(axes), 1)
    steps = axes * np.sqrt(count / size) if len(axes) else np.zeros((1, 1))
    X = np.concatenate([mean + steps, mean - steps])
    return Rows(X.astype(dtype), None, np.full(2 * count, size / (2 * count)))


def float_dtype(X):
    """The dtype that X is computed with: its own, or float64 of whole numbers."""
    return X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
