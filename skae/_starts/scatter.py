"""Scatter matrices: second moments of rows in few passes, and their principal axes."""

from functools import cached_property

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, eigsh, svds
from sklearn import config_context
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.sparsefuncs import min_max_axis

from skae._data.blocks import Blocks
from skae._data.rows import float_dtype

#: Values of X that are in float64 at one time: few stay in the processor's cache. Of
#: matrices that are computed whole, at least so many rows at a time.
VALUES_AT_ONCE, ROWS_AT_ONCE = 2**19, 1024

#: Rows or features, whichever are fewer, up to which their Gram matrix is computed, and
#: up to which LAPACK finds all of its eigenvectors. In between Lanczos' method finds
#: those asked for, as exactly, where they are fewer than a share of all.
GRAM_SIDE, EIGH_SIDE, FEW = 4096, 1024, 1 / 8

#: Passes over stored rows at most, and the change of the variances at which they end.
PASSES, SETTLED = 12, 1e-8

#: Shares of the greatest up to which eigenvalues or entries of an axis tie.
SAME = 1e-9


def centre(X, weight=None):
    """The means of the features, those of constants exact, and half of their ranges."""
    if isinstance(X, Blocks):
        low, high = np.nan_to_num(X.survey.low), np.nan_to_num(X.survey.high)
        return X.survey.mean, high / 2 - low / 2
    low, high = range_of(X)
    middle, width = low / 2 + high / 2, high / 2 - low / 2
    share = (
        np.full(X.shape[0], 1 / X.shape[0]) if weight is None else weight / weight.sum()
    )
    if sparse.issparse(X):
        total = X.T @ share if weight is not None else _sparse_mean(X)
        return np.where(width > 0, total, low), width
    rest, missing = 0.0, 0.0
    for batch in _row_batches(X):
        rest = rest + centred(X[batch], middle, share[batch, None]).sum(axis=0)
        missing = missing + share[batch] @ np.isnan(X[batch])
    return middle + rest / np.where(missing < 1, 1 - missing, 1.0), width


def _sparse_mean(X):
    return np.asarray((X / X.shape[0]).sum(axis=0, dtype=np.float64)).ravel()


def range_of(X):
    """The least and the greatest value of each feature, zero where there are none."""
    if sparse.issparse(X):
        sides = min_max_axis(X, axis=0)
    else:
        sides = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
    return (np.nan_to_num(np.asarray(side, np.float64)) for side in sides)


def _row_batches(X):
    return gen_batches(X.shape[0], _at_once(X.shape[1]))


def _at_once(width):
    least = ROWS_AT_ONCE if width <= GRAM_SIDE else 1
    return max(least, VALUES_AT_ONCE // width)


def centred(X, mean, factor):
    """``(X - mean) * factor`` in float64, zero in place of NaN."""
    X = np.subtract(X, mean, dtype=np.float64)
    X[np.isnan(X)] = 0
    X *= factor
    return X


class Deviations:
    """The rows ``Z = sqrt(weight) * (X - mean) * per_unit``, a batch of them at a time.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
    mean, per_unit : ndarray of shape (n_features,)
    weight : ndarray of shape (n_samples,) or None
    """

    def __init__(self, X, mean, per_unit, weight):
        self.X, self.mean, self.per_unit, self.weight = X, mean, per_unit, weight
        if sparse.issparse(X):  # what is in X, and what is taken from each row
            self.kept = X.multiply(per_unit).multiply(self.root[:, None]).tocsr()
            self.taken = mean * per_unit

    @property
    def is_sparse(self):
        return sparse.issparse(self.X)

    @property
    def is_stored(self):
        return isinstance(self.X, Blocks)

    @cached_property
    def root(self):
        """The root of each row's weight."""
        return np.ones(self.X.shape[0]) if self.weight is None else np.sqrt(self.weight)

    @property
    def offset(self):
        """The part of the second moments that is subtracted from those of sparse rows."""
        if not self.is_sparse:
            return 0.0
        return np.sum(self.root**2) * np.sum(self.taken**2)

    def rows(self, batch):
        """Some of the rows, of X that is not sparse."""
        weight = None if self.weight is None else self.weight[batch]
        return _scaled(self.X[batch], weight, self.mean, self.per_unit)

    def columns(self):
        """All columns, some at a time."""
        n_rows, n_columns = self.X.shape
        if self.is_stored:
            several = self.X.columns(_at_once(n_rows))
        else:
            batches = gen_batches(n_columns, _at_once(n_rows))
            several = ((batch, self.X[:, batch]) for batch in batches)
        for batch, part in several:
            part = centred(part, self.mean[batch], self.per_unit[batch])
            part *= self.root[:, None]
            yield part

    def scatter(self):
        """``Z' Z``."""
        if self.is_sparse:
            kept = (self.kept.T @ self.kept).toarray()
            return kept - np.sum(self.root**2) * np.outer(self.taken, self.taken)
        if self.is_stored:
            return self.X.total(_scatter, self.mean, self.per_unit)
        total = 0.0
        for batch in _row_batches(self.X):
            rows = self.rows(batch)
            total = total + rows.T @ rows
        return total

    def gram(self):
        """``Z Z'``."""
        if self.is_sparse:
            along = np.outer(self.kept @ self.taken, self.root)
            level = np.outer(self.root, self.root) * (self.taken @ self.taken)
            return (self.kept @ self.kept.T).toarray() - along - along.T + level
        total = 0.0
        for columns in self.columns():
            total = total + columns @ columns.T
        return total

    def project(self, turn):
        """``turn Z``."""
        if self.is_sparse:
            return (self.kept.T @ turn.T).T - np.outer(turn @ self.root, self.taken)
        return np.hstack([turn @ columns for columns in self.columns()])

    def suits_lanczos(self, n_wanted):
        """Check whether there are too many rows and features for their matrices."""
        side = min(self.X.shape)
        return side > GRAM_SIDE and n_wanted < FEW * side

    @config_context(array_api_dispatch=False)  # X is NumPy's or SciPy's
    def lanczos(self, n_wanted):
        """The greatest eigenvalues of ``Z' Z``, their vectors in rows, and its trace."""
        if self.is_stored:
            return self._subspace(n_wanted)
        dtype = float_dtype(self.X)
        if self.is_sparse:
            rows = self._operator()
            total = np.sum(self.kept.data**2) - self.offset
        else:
            rows, total = np.empty_like(self.X, dtype), 0.0
            for batch in _row_batches(self.X):
                found = self.rows(batch)
                rows[batch] = found
                total += np.sum(found**2)
        first = check_random_state(0).uniform(-1, 1, min(self.X.shape))
        _, values, axes = svds(rows, n_wanted, v0=first.astype(dtype))
        order = np.argsort(-values)
        variance, axes = np.float64(values[order]) ** 2, np.float64(axes[order])
        size = max(variance[0], self.offset)
        real = variance > np.finfo(dtype).eps ** 2 * max(self.X.shape) * size
        return np.where(real, variance, 0.0), np.where(real[:, None], axes, 0.0), total

    def _subspace(self, n_wanted):
        """Compute what `lanczos` does, in few passes over stored rows.

        The power method on more axes than are asked for (Halko et al. 2011, section
        4.5): each pass multiplies them by ``Z' Z``.
        """
        n_axes = min(2 * n_wanted + 10, min(self.X.shape))
        draw = check_random_state(0).standard_normal((self.X.shape[1], n_axes))
        axes, before = linalg.qr(draw, mode="economic")[0].T, None
        for _ in range(PASSES):
            total, product = self.X.total(_times, self.mean, self.per_unit, axes)
            variance, turn = linalg.eigh(axes @ product)
            variance = np.maximum(variance[::-1], 0.0)
            if before is not None and np.allclose(
                variance[:n_wanted], before, rtol=0, atol=SETTLED * variance[0]
            ):
                break
            before, found = variance[:n_wanted], turn[:, ::-1].T @ axes
            axes = linalg.qr(product, mode="economic")[0].T
        return before, found[:n_wanted], total

    def _operator(self):
        """Sparse rows as what they do to vectors."""
        kept, taken, root = self.kept, self.taken, self.root
        return LinearOperator(
            kept.shape,
            dtype=kept.dtype,
            matvec=lambda v: kept @ v.ravel() - root * (taken @ v.ravel()),
            rmatvec=lambda v: kept.T @ v.ravel() - taken * (root @ v.ravel()),
        )


def scatter_of(rows, width=1.0):
    """The scatter matrix of `Rows`, divided by widths, around their mean."""
    per_unit = np.full(rows.n_features, 1 / width)
    return Deviations(rows.complete, rows.mean, per_unit, rows.weight).scatter()


class _Sums(tuple):
    """Numbers that are added one by one."""

    def __add__(self, other):
        return _Sums(a + b for a, b in zip(self, other, strict=True))


def _scaled(rows, weight, mean, per_unit):
    rows = centred(rows, mean, per_unit)
    if weight is not None:
        rows *= np.sqrt(weight)[:, None]
    return rows


def _scatter(rows, weight, mean, per_unit):
    """``Z' Z`` of some rows."""
    rows = _scaled(rows, weight, mean, per_unit)
    return rows.T @ rows


def _times(rows, weight, mean, per_unit, axes):
    """The trace of ``Z' Z`` of some rows, and its product with axes."""
    rows = _scaled(rows, weight, mean, per_unit)
    return _Sums((np.sum(rows**2), rows.T @ (rows @ axes.T)))


def rounding(side):
    """The share of the greatest eigenvalue up to which another one is rounding error."""
    return 10 * side * np.finfo(float).eps


def eigenvectors(gram, n_wanted, offset=0.0):
    """The greatest eigenvalues and their vectors, zero where it is rounding error.

    Of eigenvalues that tie Lanczos' method would draw the vectors: they are LAPACK's.
    """
    side, few = len(gram), None
    if side > EIGH_SIDE and n_wanted < FEW * side and gram.any():
        first = check_random_state(0).uniform(-1, 1, side)
        few = eigsh(gram, n_wanted + 1, v0=first)
        steps, least = np.diff(few[0]), rounding(side) * max(few[0][-1], offset)
        if np.any((steps <= SAME * few[0][-1]) & (few[0][1:] > least)):
            few = None
    values, vectors = linalg.eigh(gram) if few is None else few
    values, vectors = values[: -n_wanted - 1 : -1], vectors[:, : -n_wanted - 1 : -1]
    real = values > rounding(side) * max(values[0], offset)
    return np.where(real, values, 0.0), np.where(real, vectors, 0.0)


def principal_axes(scatter, n_wanted):
    """The greatest eigenvalues of a scatter matrix, and their vectors in rows, signed."""
    variance, vectors = eigenvectors(scatter, n_wanted)
    axes = vectors.T
    return variance, axes * signs_of(axes)


def orthonormal(axes):
    """Rows made orthonormal from the first on; those that are zero, which are last, stay."""
    rank = np.count_nonzero(axes.any(axis=1))
    axes[:rank] = linalg.qr(axes[:rank].T, mode="economic")[0].T
    return axes


def signs_of(axes):
    """The signs of the greatest entries, of the first of them where some tie."""
    size = np.abs(axes)
    greatest = np.argmax(size >= (1 - SAME) * size.max(axis=1, keepdims=True), axis=1)
    return np.sign(axes[np.arange(len(axes)), greatest])[:, None]
