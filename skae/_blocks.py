"""Blocks: rows that are not in memory, and are read a block at a time."""

import math
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import add

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite

#: Values up to which an X that is stored elsewhere is read into memory as a whole.
IN_MEMORY = 2**24

#: Values in a block of an X that says nothing of its own blocks, at least.
BLOCK_VALUES = 2**17

#: The dtypes that rows are kept in; others become float64.
KEPT = frozenset(["?", "u1", "i1", "u2", "i2", "i4", "i8", "f4", "f8"])


def is_stored(X):
    """Whether X is rows that are read when they are asked for.

    It has a shape, a dtype and slices, and is neither an array in memory, a frame nor a
    sparse matrix: a `numpy.memmap`, an `h5py.Dataset`, a `zarr.Array`.
    """
    if isinstance(X, np.ndarray):
        return isinstance(X, np.memmap) and X.ndim >= 2
    if not all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    others = "__array_interface__", "__dlpack__", "__array_namespace__", "iloc", "nnz"
    return len(X.shape) >= 2 and not any(hasattr(X, name) for name in others)


def in_memory(X):
    """X as it is, or as an array where it is stored and small; NaN where it is masked."""
    if is_stored(X) and math.prod(X.shape) <= IN_MEMORY:
        X = X.compute() if hasattr(X, "compute") else X[:]
        return unmasked(X)
    return unmasked(X) if np.ma.isMaskedArray(X) else X


def unmasked(rows):
    """Rows as an array, with NaN where a masked array says that nothing is.

    Raises
    ------
    TypeError
        If they are sparse, as chunks of Dask's arrays may be.
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
        Where blocks begin, and the number of rows; None cuts X into whole chunks of its
        own, as many as hold `BLOCK_VALUES`.
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
            self.dtype = np.dtype(np.float64)  # in which what is masked is NaN

    def read(self, *blocks):
        """The rows of some blocks, one after the other."""
        return (self.X[self.edges[i] : self.edges[i + 1]] for i in blocks)

    def columns(self, width):
        """Slices of about so many columns of flat rows, and these columns of all rows."""
        inner = math.prod(self.row_shape[1:])
        step = max(1, width // inner)
        for start in range(0, self.row_shape[0], step):
            part = unmasked(self.X[:, start : start + step])
            yield (
                slice(start * inner, (start + step) * inner),
                part.reshape(len(part), -1),
            )

    def total(self, blocks, function, *args):
        """The sum of what a function makes of each block."""
        every = range(blocks.n_blocks)
        found = (
            function(rows, blocks.weight_of(i), *args)
            for i, rows in zip(every, blocks.read(*every), strict=True)
        )
        return reduce(add, found)


@dataclass(frozen=True)
class Survey:
    """What one pass over rows says of each feature; sums are of deviations from `origin`.

    The ends `low` and `high` are NaN where there is no value.
    """

    origin: np.ndarray
    count: np.ndarray
    total: np.ndarray
    square: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_missing: int

    @classmethod
    def of(cls, rows, weight, origin):
        """That of some rows, whose values may be NaN but not infinite."""
        assert_all_finite(rows, allow_nan=True, input_name="X")
        rows = np.asarray(rows, np.float64)
        if weight is None:
            weight = np.ones(len(rows))
        rows, weight = rows[weight > 0], weight[weight > 0]
        there = ~np.isnan(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            deviations = np.where(there, rows - origin, 0.0)
            return cls(
                origin,
                weight @ there,
                weight @ deviations,
                np.einsum("i,ij,ij->j", weight, deviations, deviations),
                np.fmin.reduce(rows, axis=0, initial=np.nan),
                np.fmax.reduce(rows, axis=0, initial=np.nan),
                int(there.size - there.sum()),
            )

    def __add__(self, other):
        return Survey(
            self.origin,
            self.count + other.count,
            self.total + other.total,
            self.square + other.square,
            np.fmin(self.low, other.low),
            np.fmax(self.high, other.high),
            self.n_missing + other.n_missing,
        )

    @property
    def mean(self):
        """The mean of each feature; that of a constant exactly, 0 without any value."""
        mean = self.origin + self.total / np.where(self.count > 0, self.count, 1)
        return np.where(self.high > self.low, mean, np.nan_to_num(self.low))

    @property
    def squares(self):
        """The summed squared deviations of each feature from its mean."""
        count = np.where(self.count > 0, self.count, 1)
        return np.maximum(self.square - self.total**2 / count, 0)


@dataclass(frozen=True)
class Part:
    """A share of the rows of each block, drawn at random: these, or all others."""

    seed: int
    share: float
    others: bool

    def places(self, edges, i):
        """Which rows of block i these are, in their order."""
        start, stop = edges[i], edges[i + 1]
        n_drawn = math.floor(stop * self.share) - math.floor(start * self.share)
        order = np.random.default_rng((self.seed, i)).permutation(stop - start)
        return np.sort(order[n_drawn:] if self.others else order[:n_drawn])

    def sizes(self, edges):
        """How many rows of each block there are."""
        drawn = np.diff(np.floor(edges * self.share).astype(int))
        return np.diff(edges) - drawn if self.others else drawn


def chosen(rows, i, dtype, part, edges):
    """The rows of a part of block i, flat and of a dtype."""
    rows, n_rows = unmasked(rows), int(edges[i + 1] - edges[i])
    if rows.ndim < 2 or len(rows) != n_rows:
        raise ValueError(
            f"X's rows {edges[i]} to {edges[i + 1]} were read as an array of shape"
            f" {rows.shape}: {n_rows} rows were to come."
        )
    width = math.prod(rows.shape[1:])
    rows = np.ascontiguousarray(rows, dtype).reshape(n_rows, width)
    return rows if part is None else rows[part.places(edges, i)]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Flat rows that are read a block at a time, with the weight of each.

    Parameters
    ----------
    source : ArraySource or like one
    weight : ndarray of shape (n_all,) or None, default=None
        One for each row of the source.

    part : Part or None, default=None
        Which of them these are; None is all.
    """

    source: object
    weight: np.ndarray | None = None
    part: Part | None = None
    kept: dict = field(default_factory=dict, repr=False)

    ndim = 2

    @property
    def row_shape(self):
        return self.source.row_shape

    @property
    def shape(self):
        return int(self.edges[-1]), math.prod(self.row_shape)

    @property
    def size(self):
        return math.prod(self.shape)

    @cached_property
    def dtype(self):
        """The dtype of rows as they are read."""
        own = self.source.dtype
        kept = (own.isnative and own.str[1:] in KEPT) or own.kind == "b"
        return own if kept else np.dtype(np.float64)

    def __len__(self):
        return self.shape[0]

    @property
    def n_blocks(self):
        return len(self.source.edges) - 1

    @cached_property
    def edges(self):
        """Where each block begins among these rows, and their number."""
        edges = self.source.edges
        sizes = np.diff(edges) if self.part is None else self.part.sizes(edges)
        return np.concatenate([[0], np.cumsum(sizes)])

    # -- reading

    def places(self, i):
        """Which rows of its source block i is."""
        edges = self.source.edges
        if self.part is None:
            return np.arange(edges[i], edges[i + 1])
        return edges[i] + self.part.places(edges, i)

    def read(self, *blocks):
        """The rows of some blocks, one after the other."""
        for i, rows in zip(blocks, self.source.read(*blocks), strict=True):
            yield chosen(rows, i, self.dtype, self.part, self.source.edges)

    def _kept(self, i):
        """The rows of a block, which are kept until another one is asked for."""
        at, rows = self.kept.get("last", (None, None))
        if at != i:
            (rows,) = self.read(i)
            self.kept["last"] = i, rows
        return rows

    def weight_of(self, i):
        """The weights of a block's rows; None where there are none."""
        return None if self.weight is None else self.weight[self.places(i)]

    def __getitem__(self, some):
        """Rows by a slice or by their places, in memory."""
        if isinstance(some, slice):
            some = np.arange(*some.indices(len(self)))
        some = np.asarray(some)
        rows = np.empty((len(some), self.shape[1]), self.dtype)
        of_block = np.searchsorted(self.edges, some, side="right") - 1
        for i in np.unique(of_block):
            here = of_block == i
            rows[here] = self._kept(i)[some[here] - self.edges[i]]
        return rows

    # -- all of them

    def total(self, function, *args):
        """The sum of ``function(rows, weight, *args)`` over all blocks.

        Parameters
        ----------
        function : callable
            Of a module, so that it can be sent elsewhere; its results can be added.
        """
        return self.source.total(self, function, *args)

    @cached_property
    def survey(self):
        """One pass over all rows, which refuses infinite ones."""
        first = np.asarray(self._kept(0), np.float64)
        there = ~np.isnan(first)
        origin = np.where(there, first, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        return self.total(Survey.of, np.nan_to_num(origin, posinf=0, neginf=0))

    def columns(self, width):
        """Slices of columns, and these of all rows."""
        places = np.concatenate([self.places(i) for i in range(self.n_blocks)])
        for columns, rows in self.source.columns(width):
            yield columns, rows if self.part is None else rows[places]

    def weighted(self, weight):
        """The same rows, each of its weight."""
        return Blocks(self.source, weight, self.part)

    def split(self, share, seed):
        """A share of the rows of each block, and all others."""
        return tuple(
            Blocks(self.source, self.weight, Part(seed, share, others))
            for others in (False, True)
        )

    @cached_property
    def weights(self):
        """The weights of these rows; None where there are none."""
        if self.weight is None or self.part is None:
            return self.weight
        return np.concatenate([self.weight[self.places(i)] for i in range(self.n_blocks)])
