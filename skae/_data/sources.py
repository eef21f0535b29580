"""Sources: arrays from which rows that are not in memory are read."""

import math
from functools import reduce
from operator import add

import numpy as np
from scipy import sparse

#: The largest number of values of a stored X that is read into memory as a whole.
IN_MEMORY = 2**24

#: The least number of values in a block of an X that has no blocks of its own.
BLOCK_VALUES = 2**17


def is_stored(X):
    """Check whether X has rows that are read on demand.

    Such an X has a shape, a dtype and slices, and is neither an array in memory, a frame
    nor a sparse matrix: a `numpy.memmap`, an `h5py.Dataset`, a `zarr.Array`.
    """
    if isinstance(X, np.ndarray):
        return isinstance(X, np.memmap) and X.ndim >= 2
    if not all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    others = "__array_interface__", "__dlpack__", "__array_namespace__", "iloc", "nnz"
    return len(X.shape) >= 2 and not any(hasattr(X, name) for name in others)


def in_memory(X):
    """Read X into memory if it is stored and small; replace masked values with NaN."""
    if is_stored(X) and math.prod(X.shape) <= IN_MEMORY:
        X = X.compute() if hasattr(X, "compute") else X[:]
        return unmasked(X)
    return unmasked(X) if np.ma.isMaskedArray(X) else X


def unmasked(rows):
    """Convert rows to an array, with NaN for masked values.

    Raises
    ------
    TypeError
        If they are sparse, as chunks of Dask arrays may be.
    """
    if sparse.issparse(rows):
        raise TypeError(
            "X's chunks are sparse matrices, of which rows can't be read one by one. Make"
            " them dense: X.map_blocks(lambda block: block.toarray())."
        )
    if not np.ma.isMaskedArray(rows):
        return np.asarray(rows)
    if not np.ma.is_masked(rows):
        return rows.data
    kept = rows.dtype if rows.dtype.kind == "f" else np.dtype(np.float64)
    return rows.astype(kept).filled(np.nan)


class ArraySource:
    """An array that is read by slices of its rows.

    Parameters
    ----------
    X : memmap, h5py.Dataset, zarr.Array or ndarray of shape (n_samples, ...)
    edges : ndarray of int or None, default=None
        The first row of each block, and the number of rows; None makes blocks of whole
        chunks of X that have at least `BLOCK_VALUES` values.
    """

    def __init__(self, X, edges=None):
        self.X, self.row_shape = X, tuple(X.shape[1:])
        if edges is None:
            chunk = max(1, (getattr(X, "chunks", None) or (1,))[0] or 1)
            wanted = max(1, BLOCK_VALUES // max(1, math.prod(self.row_shape)))
            rows = chunk * -(-wanted // chunk)
            edges = np.append(np.arange(0, X.shape[0], rows), X.shape[0])
        self.edges = edges
        self.dtype = np.dtype(X.dtype)
        if self.dtype.kind != "f" and np.ma.isMaskedArray(X[:1]):
            self.dtype = np.dtype(np.float64)  # masked values become NaN

    def read(self, *blocks):
        """Read the rows of some blocks, one after the other."""
        return (self.X[self.edges[i] : self.edges[i + 1]] for i in blocks)

    def columns(self, width):
        """Yield slices of about so many columns, with the values of all flat rows."""
        inner = math.prod(self.row_shape[1:])
        step = max(1, width // inner)
        for start in range(0, self.row_shape[0], step):
            part = unmasked(self.X[:, start : start + step])
            yield (
                slice(start * inner, (start + step) * inner),
                part.reshape(len(part), -1),
            )

    def total(self, blocks, function, *args):
        """Sum a function over all blocks."""
        every = range(blocks.n_blocks)
        found = (
            function(rows, blocks.weight_of(i), *args)
            for i, rows in zip(every, blocks.read(*every), strict=True)
        )
        return reduce(add, found)
