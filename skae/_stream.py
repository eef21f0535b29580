"""Stream: what is kept of the rows of all calls of `partial_fit`."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from skae._rows import Rows, degrees_of_freedom
from skae._starts import GRAM_SIDE, scatter_of

#: Rows that are kept as they are, drawn from all, by which components are described.
KEPT = 2048

#: The stream of the seed that draws them; epochs have 0, 1, 2, ...
_DRAW = 2**33


@dataclass(frozen=True)
class Stream:
    """The moments of all rows so far, and some of them.

    Parameters
    ----------
    size : float
        The number of rows.

    mean, low, high : ndarray of shape (n_features,)
    scatter : ndarray of shape (n_features, n_features) or None
        The summed outer products of deviations from the mean; None where they are not
        known: of rows with holes, of many features, and where training goes on.

    sample : ndarray of shape (n_kept, n_features)
        Rows drawn from all, each as likely as its weight says.

    keys : ndarray of shape (n_kept,)
        By which they were drawn: the greatest are kept (Efraimidis & Spirakis 2006).
    """

    size: float
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    scatter: np.ndarray | None
    sample: np.ndarray
    keys: np.ndarray

    @classmethod
    def of(cls, rows, plan, before):
        """That of the rows of a call, and of all before it.

        Parameters
        ----------
        rows : Rows
        plan : Plan
        before : State or None
            The fit that goes on. If no stream has led to it, its rows were as its linear
            model says.
        """
        earlier = None if before is None else before.stream
        if before is not None and earlier is None:
            earlier = cls._as_linear(before, plan)
        rng = np.random.default_rng(
            (plan.seed, _DRAW, int(earlier.size) if earlier else 0)
        )
        keys = np.log(rng.random(len(rows)))
        keys = keys if rows.weight is None else keys / rows.weight
        places = np.sort(np.argsort(-keys, kind="stable")[:KEPT])
        exact = plan.max_iter == 0 and rows.n_features <= GRAM_SIDE
        found = cls(
            rows.size,
            rows.mean,
            rows.low,
            rows.high,
            scatter_of(rows) if exact and not rows.has_missing else None,
            rows.dense(places),
            keys[places],
        )
        return found if earlier is None else earlier._and(found)

    @classmethod
    def _as_linear(cls, before, plan):
        """The stream whose moments are those of a fit's linear model; None without one."""
        model = before.coordinates.completion
        if model is None or not before.is_start or len(model.mean) > GRAM_SIDE:
            return None
        covariance = model.loadings.T @ model.loadings + np.diag(model.noise)
        scatter = covariance * degrees_of_freedom(plan.n_before)
        nothing = np.empty((0, len(model.mean)), before.coordinates.mean.dtype)
        ends = np.full((2, len(model.mean)), model.mean)
        return cls(plan.n_before, model.mean, *ends, scatter, nothing, np.empty(0))

    def _and(self, other):
        size, shift = self.size + other.size, other.mean - self.mean
        scatter = None
        if self.scatter is not None and other.scatter is not None:
            between = np.outer(shift, shift) * (self.size * other.size / size)
            scatter = self.scatter + other.scatter + between
        keys = np.concatenate([self.keys, other.keys])
        kept = np.sort(np.argsort(-keys, kind="stable")[:KEPT])
        sample = np.concatenate([self.sample.astype(other.sample.dtype), other.sample])
        return Stream(
            size,
            self.mean + shift * (other.size / size),
            np.fmin(self.low, other.low),
            np.fmax(self.high, other.high),
            scatter,
            sample[kept],
            keys[kept],
        )

    @property
    def points(self):
        """`Rows` that have the stream's moments and range: two on each principal axis."""
        variance, axes = linalg.eigh(self.scatter)
        real = variance > len(variance) * np.finfo(float).eps * variance[-1]
        axes = (axes[:, real] * np.sqrt(variance[real])).T
        count = max(len(axes), 1)
        steps = axes * np.sqrt(count / self.size) if len(axes) else np.zeros((1, 1))
        X = np.concatenate([self.mean + steps, self.mean - steps])
        weight = np.full(2 * count, self.size / (2 * count))
        rows = Rows(X.astype(self.sample.dtype), None, weight)
        rows._range = self.low, self.high
        return rows

    @property
    def some(self):
        """The sample, as `Rows`."""
        return Rows(self.sample)
