"""Dask: blocks that workers hold, and rows that are transformed where they are."""

from functools import wraps

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._blocks import chosen, is_lazy


class DaskSource:
    """A Dask array whose chunks of rows are blocks.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, ...)
    edges : ndarray of int or None, default=None
        Where blocks begin; None leaves it to the chunks.
    """

    def __init__(self, X, edges=None):
        if edges is not None:
            X = X.rechunk({0: tuple(np.diff(edges).tolist())})
        if np.isnan(X.shape[0]):
            X = X.compute_chunk_sizes()
        self.X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
        self.row_shape, self.dtype = X.shape[1:], np.dtype(X.dtype)
        self.edges = np.concatenate([[0], np.cumsum(self.X.chunks[0])])
        self.parts = self.X.to_delayed().ravel()

    def read(self, *blocks):
        """The rows of some blocks, computed together."""
        import dask

        return iter(dask.compute(*(self.parts[i] for i in blocks)))

    def columns(self, width):
        """Slices of about so many columns of flat rows, and these columns of all rows."""
        flat = self.X.reshape(len(self.X), -1)
        for start in range(0, flat.shape[1], width):
            columns = slice(start, start + width)
            yield columns, flat[:, columns].compute()

    def total(self, blocks, function, *args):
        """The sum of what a function makes of each block, where the block is."""
        import dask

        shared = blocks.dtype, blocks.part, self.edges, function, args
        shared = dask.delayed(shared, traverse=False)
        found = [
            dask.delayed(_of_block)(rows, i, blocks.weight_of(i), shared)
            for i, rows in enumerate(self.parts)
        ]
        while len(found) > 1:
            pairs = zip(found[::2], found[1::2], strict=False)
            odd = found[len(found) // 2 * 2 :]
            found = [dask.delayed(_sum)(*pair) for pair in pairs] + odd
        return found[0].compute()


def _of_block(rows, i, weight, shared):
    dtype, part, edges, function, args = shared
    return function(chosen(rows, i, dtype, part, edges), weight, *args)


def _sum(one, other):
    return one + other


# -- rows that are transformed where they are


def lazily(method):
    """Have a method of rows, or of codes, take Dask's too.

    Of a Dask array it makes one with the same chunks of rows, of a Dask frame a frame with
    its divisions. Nothing is computed, and the estimator is sent once.
    """

    @wraps(method)
    def wrapped(self, X, *args, **kwargs):
        if not is_lazy(X):
            return method(self, X, *args, **kwargs)
        check_is_fitted(self)
        if args or any(value is not None for value in kwargs.values()):
            raise ValueError(
                f"{method.__name__} takes Dask's rows alone, with nothing beside X. Compute"
                " X first, or call it block by block."
            )
        return _mapped(self, method.__name__, X)

    return wrapped


def _mapped(estimator, method, X):
    """A method's rows of X, block by block; one row is tried to find what they are."""
    import dask

    is_frame = hasattr(X, "divisions")
    few = X._meta_nonempty.head(1) if is_frame else np.ones((1, *X.shape[1:]), X.dtype)
    like = _applied(few, estimator, method)
    estimator = dask.delayed(estimator, traverse=False)
    if is_frame:
        return X.map_partitions(_applied, estimator, method, meta=like[:0])
    return X.rechunk(dict.fromkeys(range(1, X.ndim), -1)).map_blocks(
        _applied,
        estimator,
        method,
        chunks=(X.chunks[0], *((size,) for size in like.shape[1:])),
        drop_axis=[*range(like.ndim, X.ndim)],
        new_axis=[*range(X.ndim, like.ndim)] or None,
        meta=like[:0],
    )


def _applied(rows, estimator, method):
    """What a method makes of a block; of a frame it is one, with its index."""
    found = getattr(estimator, method)(rows)
    if not hasattr(rows, "iloc") or hasattr(found, "iloc"):
        return found
    import pandas as pd

    if found.ndim == 1:
        return pd.Series(found, rows.index)
    names = getattr(estimator, "feature_names_in_", None)
    if method == "transform":
        names = estimator.get_feature_names_out()
    return pd.DataFrame(found, rows.index, names)
