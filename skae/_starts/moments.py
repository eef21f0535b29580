"""Stream: the moments and a sample of the rows of all calls of `partial_fit`."""

from dataclasses import dataclass, replace

import numpy as np

from skae._data.rows import Rows, points_of
from skae._data.statistics import degrees_of_freedom
from skae._starts.scatter import GRAM_SIDE, scatter_of
from skae._starts.streamed import FEW

#: Rows that are kept as they are, drawn from all.
KEPT = 2048

#: The stream of the seed that draws them; epochs have 0, 1, 2, ...
_DRAW = 2**33


@dataclass(frozen=True)
class Stream:
    """The moments of all rows so far, and some of them.

    Parameters
    ----------
    size : float
        The number of rows, each as often as it counts.

    mean, low, high : ndarray of shape (n_features,)
        Of the values of each feature; the ends are NaN where there is none.

    scatter : ndarray of shape (n_features, n_features) or None
        The summed outer products of deviations from the mean; None where they are not
        known: of rows with holes, of many features, and where training goes on.

    sample : ndarray of shape (n_kept, n_features)
        All rows while there is room, then rows drawn from all, each as likely as its
        weight says.

    keys : ndarray of shape (n_kept,)
        By which they were drawn: the greatest are kept (Efraimidis & Spirakis 2006).

    count, squares : ndarray of shape (n_features,) or None
        The number of values of each feature, and their summed squared deviations from
        its mean; None in files of before they were known.

    target : ndarray of shape (n_kept, n_features) or None
        What the rows of the sample are to become, where that is not these rows.

    weight : ndarray of shape (n_kept,) or None
        How often each row of the sample counts, while these are all rows.

    n_rows : int or None
        The number of rows, each once.

    trained : bool or None
        Whether a call has trained. Until then the model is the closed form of the rows
        of all calls.
    """

    size: float
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    scatter: np.ndarray | None
    sample: np.ndarray
    keys: np.ndarray
    count: np.ndarray | None = None
    squares: np.ndarray | None = None
    target: np.ndarray | None = None
    weight: np.ndarray | None = None
    n_rows: int | None = None
    trained: bool | None = None

    @classmethod
    def of(cls, rows, seed, earlier, follows_moments=True, *, goes_on=False):
        """That of the rows of a call, and of all before it.

        Parameters
        ----------
        rows : Rows
        seed : int
        earlier : Stream or None
            That of the calls before.

        follows_moments : bool, default=True
            Whether a closed form follows the mean and the covariance.

        goes_on : bool, default=False
            Whether a fit goes on, of whose rows nothing may be known.
        """
        rng = np.random.default_rng((seed, _DRAW, int(earlier.size) if earlier else 0))
        keys = np.log(rng.random(len(rows)))
        keys = keys if rows.weight is None else keys / rows.weight
        places = np.sort(np.argsort(-keys, kind="stable")[:KEPT])
        followed = earlier.scatter is not None if earlier else not goes_on
        exact = follows_moments and followed and not rows.has_nan
        exact = exact and rows.n_features <= GRAM_SIDE
        whole = rows.weight is not None and len(places) == len(rows)
        found = cls(
            rows.size,
            rows.mean,
            *np.asarray(rows._range),
            scatter_of(rows) if exact else None,
            rows.dense(places),
            keys[places],
            rows.count,
            rows.squares,
            None if rows.target is None else rows.target.dense(places),
            rows.weight if whole else None,
            len(rows),
            earlier.has_trained if earlier else goes_on,
        )
        return found if earlier is None else earlier._and(found)

    @classmethod
    def of_linear(cls, model, n_samples, trained, dtype):
        """The stream whose moments are those of a linear model; None of many features.

        Parameters
        ----------
        model : LinearGaussian or None
        n_samples : float
        trained : bool
        dtype : dtype
        """
        if model is None or len(model.mean) > GRAM_SIDE:
            return None
        covariance = model.loadings.T @ model.loadings + np.diag(model.noise)
        scatter = covariance * degrees_of_freedom(n_samples)
        nothing = np.empty((0, len(model.mean)), dtype)
        ends = np.full((2, len(model.mean)), model.mean)
        return cls(
            *(n_samples, model.mean, *ends, scatter, nothing, np.empty(0)),
            squares=np.diag(scatter),
            n_rows=int(n_samples),
            trained=trained,
        )

    @property
    def has_trained(self):
        """Check whether a call has trained, as far as that is known."""
        return self.scatter is None if self.trained is None else self.trained

    @property
    def is_whole(self):
        """Check whether the sample is all rows so far."""
        return self.n_rows == len(self.sample)

    @property
    def _counts(self):
        if self.count is None:
            return np.full(len(self.mean), float(self.size))
        return self.count

    def _and(self, other):
        count, more = self._counts, other._counts
        total = count + more
        shift, both = other.mean - self.mean, np.where(total > 0, total, 1.0)
        # a feature that has its first value has that value's mean
        mean = np.where(count > 0, self.mean + shift * (more / both), other.mean)
        scatter = squares = None
        if self.scatter is not None and other.scatter is not None:
            size = self.size + other.size
            between = np.outer(shift, shift) * (self.size * other.size / size)
            scatter = self.scatter + other.scatter + between
        if self.squares is not None:
            squares = self.squares + other.squares + shift**2 * (count * more / both)
        found = replace(
            self,
            size=self.size + other.size,
            mean=mean,
            low=np.fmin(self.low, other.low),
            high=np.fmax(self.high, other.high),
            scatter=scatter,
            count=total,
            squares=squares,
            n_rows=None if self.n_rows is None else self.n_rows + other.n_rows,
        )
        if len(self.keys) == KEPT and self.keys.min() >= other.keys.max():
            return found
        return found._with_sample(self, other)

    def _with_sample(self, earlier, later):
        """The same with a sample that is drawn from two."""
        keys = np.concatenate([earlier.keys, later.keys])
        kept = np.sort(np.argsort(-keys, kind="stable")[:KEPT])
        dtype, target, weight = later.sample.dtype, None, None
        rows = np.concatenate([earlier.sample.astype(dtype), later.sample])
        if later.target is not None and earlier.target is not None:
            target = np.concatenate([earlier.target, later.target])[kept]
        found = replace(self, sample=rows[kept], keys=keys[kept], target=target)
        if found.is_whole and not (earlier.weight is None and later.weight is None):
            weights = [
                np.ones(len(some.sample)) if some.weight is None else some.weight
                for some in (earlier, later)
            ]
            weight = np.concatenate(weights)[kept]
        return replace(found, weight=weight)

    def is_few(self, n_components):
        """Check whether there are too few rows so far to train so many components."""
        size = min(n_components, len(self.mean))
        return self.is_whole and self.n_rows <= FEW * size

    def rows_of_start(self, follows_moments):
        """`Rows` that have the closed form of all rows so far.

        They are these, while all are kept; else points that have their moments, if a
        closed form follows these, or the sample.
        """
        if follows_moments and self.scatter is not None and not self.is_whole:
            return self.points
        return self.some

    @property
    def points(self):
        """`Rows` that have the stream's moments and range: two on each principal axis."""
        rows = points_of(self.mean, self.scatter, self.size, self.sample.dtype)
        rows._range = self.low, self.high
        return rows

    @property
    def some(self):
        """The sample, as `Rows`."""
        return Rows(self.sample, self.target, self.weight if self.is_whole else None)
