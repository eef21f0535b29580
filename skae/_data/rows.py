"""Rows: the rows of X, what they are to become, and all that is asked of them."""

import math
from functools import cached_property

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import gen_batches
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

#: Rows of holes that are looked at at once.
ROWS_AT_ONCE = 1024

#: Values that are read at once: they stay in the processor's cache.
VALUES_AT_ONCE = 2**17

#: The stream of the seed that splits off validation rows; epochs have 0, 1, 2, ...
_SPLIT = 2**32


def degrees_of_freedom(n_samples):
    """What the squared deviations of so many rows are divided by: one less.

    Weights may make it less than two rows, of which it is half.
    """
    return max(n_samples - 1, n_samples / 2)


class Rows:
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
        self.kept = None, None  # a completion, and what it has made of the rows
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
        return np.where(np.isnan(rows), self.mean, rows) if self.has_missing else rows

    @property
    def complete(self):
        """All rows as one matrix without NaN, sparse where X is."""
        X = self.array
        if not self.has_missing:
            return X
        return np.where(np.isnan(X), self.mean.astype(self.dtype), X)

    @property
    def widths(self):
        """The numbers that a row has in each of the arrays that training reads."""
        widths = {"rows": self.n_features}
        if self.target is not None or self.has_holes:
            widths["wanted"] = self.n_features
        if self.all_weights is not None:
            widths["weight"] = 1
        return widths

    def chunks(self, order, batch_size, buffers, completion=None):
        """Fill the buffers with the rows in `order`, and yield the batches in them.

        Parameters
        ----------
        order : ndarray of int
            As `order` gives it; the last batch is filled up from its start.

        batch_size : int
        buffers : dict of str to ndarray
            One for each of `widths`; that of the weights is given their shares of the
            mean weight.

        completion : Completion or None, default=None
            What fills in the holes of the rows that the network sees, and says how much
            they add to the variance of the code, if there is a buffer for that.
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
            if self.has_holes:
                places = order[start : start + capacity]
                for name, X in self._completed(completion, "surplus" in buffers).items():
                    buffers[name].reshape(capacity, -1)[: len(rows)] = X[places]
            yield len(rows) // batch_size

    def _completed(self, completion, widens):
        """The rows with expectations in their holes, and what these add to the codes'
        variances: kept from epoch to epoch."""
        kept = self.kept  # as one: another thread may put its own here
        if kept[0] is not completion:
            found = {"rows": completion.filled(self.dense(len(self)))}
            if widens:
                batches = (self.dense(batch) for batch in self.batches(ROWS_AT_ONCE))
                found["surplus"] = np.concatenate(
                    [completion.variance_of_holes(X) for X in batches]
                ).astype(self.dtype)
            self.kept = kept = completion, found
        return kept[1]

    # -- moments, in float64

    @cached_property
    def has_missing(self):
        """Whether any value is NaN."""
        if sparse.issparse(self.X) or self.X.dtype.kind != "f":
            return False
        return any(has_nan(self.dense(batch)) for batch in self.batches())

    @cached_property
    def share_present(self):
        """The share of the values that are not NaN, each as often as its row counts."""
        if not self.has_missing:
            return 1.0
        return self.count.sum() / (self.size * self.n_features)

    @property
    def has_holes(self):
        """Whether a value is NaN that the network must not see."""
        return self.has_missing and not self.series

    @cached_property
    def _moments(self):
        """The mean of each feature, its summed squared deviations from it, and the number
        of its values."""
        weight = self.weight
        if sparse.issparse(self.X):
            mean, variance = mean_variance_axis(self.array, axis=0, weights=weight)
            squares = self.size * variance.astype(np.float64)
            return mean.astype(np.float64), squares, np.full(self.n_features, self.size)
        count, total, square, origin = 0.0, 0.0, 0.0, None
        with np.errstate(over="ignore", invalid="ignore"):
            for batch in self.batches():
                rows = np.asarray(self.dense(batch), np.float64)
                present = ~np.isnan(rows) if self.has_missing else np.ones((len(rows), 1))
                if origin is None:  # near the mean, for the sake of precision
                    origin = np.nansum(rows, axis=0) / np.maximum(present.sum(axis=0), 1)
                rows = rows - origin
                rows = np.where(present, rows, 0.0) if self.has_missing else rows
                heavy = rows
                if weight is not None:
                    present = present * weight[batch, None]
                    heavy = rows * weight[batch, None]
                count, total = count + present.sum(axis=0), total + heavy.sum(axis=0)
                square = square + np.einsum("ij,ij->j", heavy, rows)
            shift = total / np.where(count > 0, count, 1)
            square = np.maximum(square - count * shift**2, 0)
            count = np.broadcast_to(count, shift.shape).astype(np.float64)
            return origin + shift, square, count

    @cached_property
    def _squares(self):
        """The summed squared deviations, as if holes had as much as the values."""
        squares, count = self._moments[1:]
        if not self.has_holes:
            return squares
        return squares * (self.size / np.where(count > 0, count, self.size))

    @property
    def mean(self):
        """The mean of each feature; 0 of one without any value."""
        return self._moments[0]

    @property
    def squares(self):
        """The summed squared deviations of the values of each feature from its mean."""
        return self._moments[1]

    @property
    def count(self):
        """The number of values of each feature, each as often as its row counts."""
        return self._moments[2]

    @property
    def variance(self):
        """The variance of each feature, unbiased."""
        return self._squares / degrees_of_freedom(self.size)

    @property
    def deviation(self):
        """The standard deviation of each feature; 1 of one that is constant."""
        return np.sqrt(np.where(self.variance > 0, self.variance, 1.0))

    @cached_property
    def total_variance(self):
        """The summed variance of all features, unbiased.

        Where a series has ended NaN counts as the mean; where there is a hole, as the
        other values of the feature.
        """
        return float(self._squares.sum() / degrees_of_freedom(self.size))

    @property
    def typical_scale(self):
        """The root of the mean variance of a feature."""
        return math.sqrt(self.total_variance / self.n_features)

    @cached_property
    def _range(self):
        """The least and the greatest value of each feature, NaN where there is none."""
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
        """The least value of each feature; 0 of one without any value."""
        return np.where(self.empty, 0, self._range[0])

    @property
    def high(self):
        """The greatest value of each feature; 0 of one without any value."""
        return np.where(self.empty, 0, self._range[1])

    @property
    def empty(self):
        """Whether a feature has no value at all, in which it is a constant 0."""
        return np.isnan(self._range[0])


def points_of(mean, scatter, size, dtype):
    """`Rows` of which the mean and the scatter matrix are these: two on each axis."""
    variance, axes = linalg.eigh(scatter)
    real = variance > len(variance) * np.finfo(float).eps * variance[-1]
    axes = (axes[:, real] * np.sqrt(variance[real])).T
    count = max(len(axes), 1)
    steps = axes * np.sqrt(count / size) if len(axes) else np.zeros((1, 1))
    X = np.concatenate([mean + steps, mean - steps])
    return Rows(X.astype(dtype), None, np.full(2 * count, size / (2 * count)))


def has_nan(X):
    """Whether any value of a dense array is NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isnan(X.sum())) and bool(np.isnan(X).any())


def float_dtype(X):
    """The dtype that X is computed with: its own, or float64 of whole numbers."""
    return X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
