"""Dask: blocks that workers hold, and rows that are transformed where they are."""

import math
from functools import reduce, wraps
from operator import add

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._data.blocks import Blocks, chosen
from skae._data.sources import BLOCK_VALUES, ArraySource, unmasked
from skae._utils.typing import Method
from skae._utils.warnings import numpy_defaults


def is_lazy(X):
    """Whether X is a Dask array or frame."""
    return hasattr(X, "__dask_graph__")


def blocks_of(X, edges=None):
    """The blocks of an X that is stored, or is a Dask array.

    Parameters
    ----------
    X : memmap, h5py.Dataset, zarr.Array, dask.array.Array, ...
    edges : ndarray of int or None, default=None
        Where blocks begin; None leaves it to X.
    """
    return Blocks((DaskSource if is_lazy(X) else ArraySource)(X, edges))


def as_array(frame):
    """A Dask frame as an array, with NaN for what is missing in nullable columns."""
    nullable = {
        name: "float64"
        for name, dtype in frame.dtypes.items()
        if not isinstance(dtype, np.dtype) and dtype.kind in "biuf"
    }
    frame = frame.astype(nullable) if nullable else frame
    return frame.to_dask_array(lengths=True)


class DaskSource:
    """A Dask array as blocks of rows: its chunks, or slices of these.

    Rows of few chunks would be shuffled badly. So blocks are slices, of which a window
    takes some from many chunks, where that costs no work again: where the chunks are
    persisted, or one step from what they are read from.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, ...)
    edges : ndarray of int or None, default=None
        Where blocks begin; None leaves it to the chunks.
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
            self.dtype = np.dtype(np.float64)  # in which what is masked is NaN
        self.parts = self.X.to_delayed().ravel()
        self.slices = []  # of each block: its chunk, and where it is in that
        step = max(1, BLOCK_VALUES // max(1, math.prod(self.row_shape)))
        for part, size in enumerate(self.X.chunks[0]):
            by = step if at_hand and edges is None else max(1, size)
            for start in range(0, size, by):  # of a chunk without rows there is none
                self.slices.append((part, start, min(start + by, size)))
        sizes = [stop - start for _, start, stop in self.slices]
        self.edges = np.concatenate([[0], np.cumsum(sizes)])

    def read(self, *blocks):
        """The rows of some blocks, computed together."""
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
        """Slices of about so many columns of flat rows, and these columns of all rows."""
        flat = self.X.reshape(len(self.X), -1)
        for start in range(0, flat.shape[1], width):
            columns = slice(start, start + width)
            yield columns, unmasked(flat[:, columns].compute())

    def total(self, blocks, function, *args):
        """The sum of what a function makes of each block, where the block is."""
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


# -- rows that are transformed where they are


def lazily(method: Method) -> Method:
    """Have a method of rows, or of codes, take Dask's too.

    Of a Dask array it makes one with the same chunks of rows, of a Dask frame a frame with
    its divisions. Nothing is computed, and the estimator is sent once.
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
    """A method's rows of X, block by block; one row is tried to find what they are."""
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
    """What a method makes of a block; of a frame it is one, with its index.

    Of a block without rows, as a filter may leave it, `of_none`.
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
