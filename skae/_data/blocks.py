"""Blocks: rows that are not in memory and are read a block at a time."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from sklearn.utils import assert_all_finite

from skae._data.sources import unmasked

#: The dtypes in which rows are read unchanged; others become float64.
KEPT = frozenset(["?", "u1", "i1", "u2", "i2", "i4", "i8", "f4", "f8"])


@dataclass(frozen=True)
class Survey:
    """Statistics of each feature from one pass over rows, as deviations from `origin`.

    `low` and `high` are the least and the greatest value, NaN if there is none.
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
        """Compute the statistics of some rows; values may be NaN but not infinite."""
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
        """The mean of each feature; exact for a constant, 0 without any value."""
        mean = self.origin + self.total / np.where(self.count > 0, self.count, 1)
        return np.where(self.high > self.low, mean, np.nan_to_num(self.low))

    @property
    def squares(self):
        """The summed squared deviations of each feature from its mean."""
        count = np.where(self.count > 0, self.count, 1)
        return np.maximum(self.square - self.total**2 / count, 0)


@dataclass(frozen=True)
class Part:
    """A random fraction of the rows of each block, or all other rows."""

    seed: int
    share: float
    others: bool

    def places(self, edges, i):
        """Return the places of these rows in block i, in order."""
        start, stop = edges[i], edges[i + 1]
        n_drawn = math.floor(stop * self.share) - math.floor(start * self.share)
        order = np.random.default_rng((self.seed, i)).permutation(stop - start)
        return np.sort(order[n_drawn:] if self.others else order[:n_drawn])

    def sizes(self, edges):
        """Return the number of these rows in each block."""
        drawn = np.diff(np.floor(edges * self.share).astype(int))
        return np.diff(edges) - drawn if self.others else drawn


def chosen(rows, i, dtype, part, edges):
    """Return the rows of a part of block i, flat and of a dtype."""
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
    source : ArraySource or DaskSource
    weight : ndarray of shape (n_all,) or None, default=None
        The weight of each row of the source.

    part : Part or None, default=None
        The part of the source's rows; None is all.
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
        """The first row of each block, and the number of rows."""
        edges = self.source.edges
        sizes = np.diff(edges) if self.part is None else self.part.sizes(edges)
        return np.concatenate([[0], np.cumsum(sizes)])

    # -- reading

    def places(self, i):
        """Return the places of block i's rows in the source."""
        edges = self.source.edges
        if self.part is None:
            return np.arange(edges[i], edges[i + 1])
        return edges[i] + self.part.places(edges, i)

    def read(self, *blocks):
        """Yield the rows of some blocks, one after the other."""
        for i, rows in zip(blocks, self.source.read(*blocks), strict=True):
            yield chosen(rows, i, self.dtype, self.part, self.source.edges)

    def _kept(self, i):
        """Return the rows of a block; cache them until another block is read."""
        at, rows = self.kept.get("last", (None, None))
        if at != i:
            (rows,) = self.read(i)
            self.kept["last"] = i, rows
        return rows

    def weight_of(self, i):
        """Return the weights of a block's rows; None without weights."""
        return None if self.weight is None else self.weight[self.places(i)]

    def __getitem__(self, some):
        """Read rows by a slice or by their places."""
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
        """Sum ``function(rows, weight, *args)`` over all blocks.

        Parameters
        ----------
        function : callable
            A module's function, so that it can be pickled. Its results can be added.
        """
        return self.source.total(self, function, *args)

    @cached_property
    def survey(self):
        """Statistics of all rows, by one pass that raises if a value is infinite."""
        first = np.asarray(self._kept(0), np.float64)
        there = ~np.isnan(first)
        origin = np.where(there, first, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        return self.total(Survey.of, np.nan_to_num(origin, posinf=0, neginf=0))

    def columns(self, width):
        """Yield slices of columns, with the values of all rows."""
        places = np.concatenate([self.places(i) for i in range(self.n_blocks)])
        for columns, rows in self.source.columns(width):
            yield columns, rows if self.part is None else rows[places]

    def weighted(self, weight):
        """Return the same rows with weights."""
        return Blocks(self.source, weight, self.part)

    def split(self, share, seed):
        """Split each block into a random fraction of its rows and all others."""
        return tuple(
            Blocks(self.source, self.weight, Part(seed, share, others))
            for others in (False, True)
        )

    @cached_property
    def weights(self):
        """The weights of these rows; None without weights."""
        if self.weight is None or self.part is None:
            return self.weight
        return np.concatenate([self.weight[self.places(i)] for i in range(self.n_blocks)])
