"""StoredRows: the rows of an X that is not in memory."""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np

from skae._data.blocks import Blocks
from skae._data.rows import Rows
from skae._data.validation import imputes

#: The number of values that are shuffled together, and the least number of their blocks.
WINDOW_VALUES, WINDOW_BLOCKS = 2**23, 4

#: The largest number of values of the validation rows, which are in memory.
VALIDATION_VALUES = 2**23

#: The number of rows that closed forms use if values are missing.
FEW_ROWS = 20_000


def rows_of(X, target=None, weight=None, network=None):
    """Make weighted `Rows` of X, in memory or stored, as the network reads them."""
    series = not imputes(network)
    if not isinstance(X, Blocks):
        return Rows.weighted(X, target, weight, series)
    if weight is not None:
        X = X.weighted(weight * max(1.0, np.count_nonzero(weight) / weight.sum()))
    return StoredRows(X, target, series)


class StoredRows(Rows):
    """The rows of an X that is read a block at a time.

    An epoch reads the blocks in random order. The blocks of a window are in memory
    together. Their rows are shuffled while the blocks of the next window are read.

    Parameters
    ----------
    X, target : Blocks, Blocks or None
        With the same edges.

    series : bool, default=False
    """

    is_stored = True

    def __init__(self, X, target=None, series=False):
        super().__init__(X, None, X.weights, None, series)
        if target is not None:
            self.target = StoredRows(target, None, series)

    # -- some of them

    def take(self, index):
        """Read the rows at these places into memory."""
        target = None if self.target is None else self.target.X[index]
        return Rows(self.X[index], target, self.weight_of(index), None, self.series)

    @property
    def few(self):
        """Rows spread evenly over all, for closed forms with missing values."""
        return self.take(np.arange(len(self))[self.spread(FEW_ROWS)])

    def split(self, fraction, seed):
        """Split into training rows and validation rows; the latter fit into memory."""
        share = min(fraction, VALIDATION_VALUES / self.X.size)
        if not 1 <= int(len(self) * share) < len(self):
            return super().split(fraction, seed)  # raises if it is invalid
        targets = None, None
        if self.target is not None:
            targets = self.target.X.split(share, seed)
        held_out, training = (
            StoredRows(X, target, self.series)
            for X, target in zip(self.X.split(share, seed), targets, strict=True)
        )
        return training, held_out.take(slice(None))

    def batches(self, n=None):
        """Yield slices of at most n rows, each within one block."""
        for start, stop in zip(self.X.edges, self.X.edges[1:], strict=False):
            for begin in range(start, stop, n or max(1, stop - start)):
                yield slice(begin, min(begin + (n or stop), stop))

    def shown(self, row_shape):
        """Return the user's X."""
        return self.X.source.X

    @property
    def array(self):
        """All rows, read into memory."""
        return self.dense(slice(None))

    @property
    def complete(self):
        """All rows, with NaN, which the reader must handle."""
        return self.X

    # -- in training

    def order(self, rng=None):
        """Return the generator for the order of an epoch; None keeps the rows' order."""
        return rng

    def chunks(self, order, batch_size, buffers, linear_model=None):
        """Fill the buffers with rows in this order, and yield the number of batches."""
        flat = {name: b.reshape(-1, b.shape[-1]) for name, b in buffers.items()}
        capacity, filled, first = len(flat["rows"]), 0, None
        for window in _read_ahead(self._windows(order, flat, linear_model)):
            if first is None:
                first = {name: rows[:batch_size].copy() for name, rows in window.items()}
            start, n_rows = 0, len(window["rows"])
            while start < n_rows:
                n = min(capacity - filled, n_rows - start)
                for name, rows in window.items():
                    flat[name][filled : filled + n] = rows[start : start + n]
                start, filled = start + n, filled + n
                if filled == capacity:
                    yield capacity // batch_size
                    filled = 0
        n_missing = -filled % batch_size
        if filled:
            for name, rows in first.items():
                more = np.resize(rows, (n_missing, rows.shape[1]))
                flat[name][filled : filled + n_missing] = more
            yield (filled + n_missing) // batch_size

    def _windows(self, rng, buffers, linear_model):
        """Yield windows: the rows of some blocks together, by buffer name."""
        blocks = np.arange(self.X.n_blocks)
        if rng is not None:
            rng.shuffle(blocks)
        sizes = np.diff(self.X.edges)[blocks] * self.n_features
        of_window = np.cumsum(sizes) // max(WINDOW_VALUES, WINDOW_BLOCKS * sizes.max())
        for number in range(of_window[-1] + 1):
            window = self._window(blocks[of_window == number], rng, buffers)
            widens = "extra_variance" in buffers
            window |= self._impute(window["rows"], linear_model, widens)
            yield window

    def _window(self, blocks, rng, buffers):
        sizes = np.diff(self.X.edges)[blocks]
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1]) if rng is None else rng.permutation(ends[-1])
        places = np.split(places, ends[:-1])
        sources = {"rows": self.X}
        if "wanted" in buffers:
            sources["wanted"] = self.wanted.X
        window = {}
        for name, X in sources.items():
            window[name] = np.empty((ends[-1], self.n_features), self.dtype)
            for rows, here in zip(X.read(*blocks), places, strict=True):
                window[name][here] = rows
        if self.weight is not None:
            weight = np.empty((ends[-1], 1))
            for i, here in zip(blocks, places, strict=True):
                weight[here, 0] = self.weight[self.X.edges[i] : self.X.edges[i + 1]]
            window["weight"] = weight * (len(self) / self.size)
        return window

    # -- moments

    @property
    def has_nan(self):
        return self.X.survey.n_missing > 0

    @cached_property
    def _moments(self):
        survey = self.X.survey
        return survey.mean, survey.squares, survey.count

    @property
    def _range(self):
        return self.X.survey.low, self.X.survey.high


def _read_ahead(windows):
    """Yield windows; read each one while the one before is in use."""
    windows, end = iter(windows), object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, windows, end)
        while (window := coming.result()) is not end:
            coming = pool.submit(next, windows, end)
            yield window
