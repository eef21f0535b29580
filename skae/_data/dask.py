"""Dask: blocks that workers hold, and rows that are transformed block by block."""

import math
from functools import reduce, wraps
from operator import add

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._data.blocks import Blocks, chosen
from skae._data.sources import BLOCK_VALUES, ArraySource, unmasked
from skae._data.table import Table
from skae._utils.typing import Method
from skae._utils.warnings import numpy_defaults


def is_lazy(X):
    """Check whether X is a Dask array or frame."""
    return hasattr(X, "__dask_graph__")


def blocks_of(X, edges=None):
    """Return the blocks of a stored X or a Dask array.

    Parameters
    ----------
    X : memmap, h5py.Dataset, zarr.Array, dask.array.Array, ...
    edges : ndarray of int or None, default=None
        The first row of each block, and the number of rows; None lets X decide.
    """
    return Blocks((DaskSource if is_lazy(X) else ArraySource)(X, edges))


def as_array(frame):
    """Convert a Dask frame to an array, with NaN for missing values."""
    nullable = {
        name: "float64"
        for name, dtype in frame.dtypes.items()
        if not isinstance(dtype, np.dtype) and dtype.kind in "biuf"
    }
    frame = frame.astype(nullable) if nullable else frame
    return frame.to_dask_array(lengths=True)


def table_of(frame, categorical_features):
    """Describe the columns of a Dask frame as a mixed table, by one pass over it.

    Each partition has a table of its own, and these are joined.

    Returns
    -------
    table : Table or None
        None if the frame has nothing but numbers.
    """
    import dask

    if Table.of(frame._meta_nonempty, categorical_features) is None:
        return None
    parts = [
        dask.delayed(Table.of)(part, categorical_features) for part in frame.to_delayed()
    ]
    found = [table for table in dask.compute(*parts) if table is not None]
    return reduce(Table.joined, found) if found else None


def encoded(frame, table):
    """Encode a Dask frame of a mixed table, lazily; to a Dask frame of numbers."""
    import pandas as pd

    like = pd.DataFrame(np.empty((0, len(table.names))))
    return frame.map_partitions(_encoded, table, meta=like)


def _encoded(part, table):
    import pandas as pd

    matrix = table.encode(part) if len(part) else np.empty((0, len(table.names)))
    return pd.DataFrame(matrix.astype(np.float64), part.index)


class DaskSource:
    """A Dask array as blocks of rows: its chunks, or slices of these.

    Rows from few chunks would be shuffled badly. If chunks are persisted, or one step
    from their source, blocks are therefore slices, and a window has slices of many
    chunks. Otherwise slices would compute chunks repeatedly, and blocks are whole chunks.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, ...)
    edges : ndarray of int or None, default=None
        The first row of each block, and the number of rows; None lets the chunks decide.
    """

    def __init__(self, X, edges=None):
        if np.isnan(X.shape[0]):
            X = X.compute_chunk_sizes()
        at_hand = len(dict(X.__dask_graph__())) <= 2 * math.prod(X.numblocks) + 1
        if edges is not None:
            X = X.rechunk({0: tuple(np.diff(edges).tolist())})
        self.X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
        self.row_shape, self.dtype = X.shape[1:], np.dtype(X.dtype)
        if self.dtype.kind != "f" and np.ma.isMaskedArray(X._meta):
            self.dtype = np.dtype(np.float64)  # masked values become NaN
        self.parts = self.X.to_delayed().ravel()
        self.slices = []  # the chunk of each block, and its rows there
        step = max(1, BLOCK_VALUES // max(1, math.prod(self.row_shape)))
        for part, size in enumerate(self.X.chunks[0]):
            by = step if at_hand and edges is None else max(1, size)
            for start in range(0, size, by):  # none for an empty chunk
                self.slices.append((part, start, min(start + by, size)))
        sizes = [stop - start for _, start, stop in self.slices]
        self.edges = np.concatenate([[0], np.cumsum(sizes)])

    def read(self, *blocks):
        """Compute the rows of some blocks together."""
        import dask

        of_part = self._by_part(blocks)
        found = dask.compute(
            *(
                dask.delayed(_sliced)(
                    self.parts[part], [self.slices[i][1:] for i in some]
                )
                for part, some in of_part.items()
            )
        )
        rows = {
            i: part_rows
            for some, several in zip(of_part.values(), found, strict=True)
            for i, part_rows in zip(some, several, strict=True)
        }
        return (rows[i] for i in blocks)

    def _by_part(self, blocks):
        of_part = {}
        for i in blocks:
            of_part.setdefault(self.slices[i][0], []).append(i)
        return of_part

    def columns(self, width):
        """Yield slices of about so many columns, with the values of all flat rows."""
        flat = self.X.reshape(len(self.X), -1)
        for start in range(0, flat.shape[1], width):
            columns = slice(start, start + width)
            yield columns, unmasked(flat[:, columns].compute())

    def total(self, blocks, function, *args):
        """Sum a function over all blocks, computed on the workers that hold them."""
        import dask

        shared = blocks.dtype, blocks.part, self.edges, function, args
        shared = dask.delayed(shared, traverse=False)
        found = [
            dask.delayed(_of_chunk)(
                self.parts[part],
                [(i, *self.slices[i][1:], blocks.weight_of(i)) for i in some],
                shared,
            )
            for part, some in self._by_part(range(blocks.n_blocks)).items()
        ]
        while len(found) > 1:
            pairs = zip(found[::2], found[1::2], strict=False)
            odd = found[len(found) // 2 * 2 :]
            found = [dask.delayed(add)(*pair) for pair in pairs] + odd
        return found[0].compute()


def _sliced(rows, slices):
    return [rows[start:stop] for start, stop in slices]


def _of_chunk(rows, several, shared):
    dtype, part, edges, function, args = shared
    found = (
        function(chosen(rows[start:stop], i, dtype, part, edges), weight, *args)
        for i, start, stop, weight in several
    )
    return reduce(add, found)


# -- rows that are transformed block by block


def lazily(method: Method) -> Method:
    """Let a method of rows or codes accept Dask arrays and frames.

    A Dask array becomes an array with the same chunks of rows, a Dask frame a frame with
    the same divisions. Nothing is computed, and the estimator is sent to workers once.
    """

    @wraps(method)
    def wrapped(self, X, *args, **kwargs):
        if not is_lazy(X):
            with numpy_defaults():
                return method(self, X, *args, **kwargs)
        check_is_fitted(self)
        if args or any(value is not None for value in kwargs.values()):
            raise ValueError(
                f"{method.__name__} of Dask data takes no other arguments than X. Compute"
                " X first, or call it block by block."
            )
        return _mapped(self, method.__name__, X)

    return wrapped


def _mapped(estimator, method, X):
    """Map a method over the blocks of X; call it on one row to find the output's type."""
    import dask

    is_frame = hasattr(X, "divisions")
    few = X._meta_nonempty.head(1) if is_frame else np.ones((1, *X.shape[1:]), X.dtype)
    like = _applied(few, estimator, method)
    estimator = dask.delayed(estimator, traverse=False)
    if is_frame:
        return X.map_partitions(_applied, estimator, method, like[:0], meta=like[:0])
    return X.rechunk(dict.fromkeys(range(1, X.ndim), -1)).map_blocks(
        _applied,
        estimator,
        method,
        like[:0],
        chunks=(X.chunks[0], *((size,) for size in like.shape[1:])),
        drop_axis=[*range(like.ndim, X.ndim)],
        new_axis=[*range(X.ndim, like.ndim)] or None,
        meta=like[:0],
    )


def _applied(rows, estimator, method, of_none=None):
    """Call a method on a block; a frame returns a frame with its index.

    A block without rows, such as a filter may leave, returns `of_none`.
    """
    if of_none is not None and len(rows) == 0:
        return of_none
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
