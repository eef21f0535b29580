"""Statistics: the moments and the range of rows, in float64."""

import math
from functools import cached_property

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis


def degrees_of_freedom(n_samples):
    """Return the divisor of the squared deviations of so many rows: one less.

    With weights there may be less than two rows. The divisor is then half their number.
    """
    return max(n_samples - 1, n_samples / 2)


class Statistics:
    """Moments and range of rows in memory; a subclass provides the rows."""

    @cached_property
    def has_nan(self):
        """True if any value is NaN."""
        if sparse.issparse(self.X) or self.X.dtype.kind != "f":
            return False
        return any(has_nan(self.dense(batch)) for batch in self.batches())

    @cached_property
    def share_present(self):
        """The weighted fraction of values that are not NaN."""
        if not self.has_nan:
            return 1.0
        return self.count.sum() / (self.size * self.n_features)

    @cached_property
    def _moments(self):
        """The mean, summed squared deviations and number of values of each feature."""
        weight = self.weight
        if sparse.issparse(self.X):
            mean, variance = mean_variance_axis(self.array, axis=0, weights=weight)
            squares = self.size * variance.astype(np.float64)
            return mean.astype(np.float64), squares, np.full(self.n_features, self.size)
        count, total, square, origin = 0.0, 0.0, 0.0, None
        with np.errstate(over="ignore", invalid="ignore"):
            for batch in self.batches():
                rows = np.asarray(self.dense(batch), np.float64)
                present = ~np.isnan(rows) if self.has_nan else np.ones((len(rows), 1))
                if origin is None:  # near the mean, for precision
                    origin = np.nansum(rows, axis=0) / np.maximum(present.sum(axis=0), 1)
                rows = rows - origin
                rows = np.where(present, rows, 0.0) if self.has_nan else rows
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
        """The summed squared deviations, scaled up for missing values."""
        squares, count = self._moments[1:]
        if self.series or not self.has_nan:
            return squares
        return squares * (self.size / np.where(count > 0, count, self.size))

    @property
    def mean(self):
        """The mean of each feature; 0 for a feature without any value."""
        return self._moments[0]

    @property
    def squares(self):
        """The summed squared deviations of the values of each feature from its mean."""
        return self._moments[1]

    @property
    def count(self):
        """The weighted number of values of each feature."""
        return self._moments[2]

    @property
    def variance(self):
        """The unbiased variance of each feature."""
        return self._squares / degrees_of_freedom(self.size)

    @property
    def deviation(self):
        """The standard deviation of each feature; 1 for a constant feature."""
        return np.sqrt(np.where(self.variance > 0, self.variance, 1.0))

    @cached_property
    def total_variance(self):
        """The unbiased variance, summed over all features.

        NaN after the end of a series counts as the mean. A missing value counts as much
        as the other values of the feature.
        """
        return float(self._squares.sum() / degrees_of_freedom(self.size))

    @property
    def typical_scale(self):
        """The square root of the mean variance of the features."""
        return math.sqrt(self.total_variance / self.n_features)

    @cached_property
    def _range(self):
        """The least and the greatest value of each feature; NaN without any value."""
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
        """The least value of each feature; 0 for a feature without any value."""
        return np.where(self.empty, 0, self._range[0])

    @property
    def high(self):
        """The greatest value of each feature; 0 for a feature without any value."""
        return np.where(self.empty, 0, self._range[1])

    @property
    def empty(self):
        """True for features without any value, which count as a constant 0."""
        return np.isnan(self._range[0])


def has_nan(X):
    """Check whether any value of a dense array is NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isnan(X.sum())) and bool(np.isnan(X).any())
