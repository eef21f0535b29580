"""LinearGaussian: a linear model of X that imputes missing values."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import truncnorm
from sklearn.utils import gen_batches

#: Values of the rows' own covariances that are in memory at one time.
VALUES_AT_ONCE = 2**22


@dataclass(frozen=True)
class Moments:
    """The moments of all rows that a model expects, given the observed values.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
    scatter : ndarray of shape (n_features, n_features)
        The summed outer products of deviations from the mean: of values that are there or
        expected, and the covariance of those that are missing.

    log_likelihood : float
        That of the values that are there, before the mean is the new one.
    """

    mean: np.ndarray
    scatter: np.ndarray
    log_likelihood: float


@dataclass(frozen=True)
class LinearGaussian:
    """A linear model with normal codes, and what follows from a part of a row.

    A row is ``mean + z @ loadings`` and noise of the variances `noise`; the code z is
    standard normal. Given the values that are there, z is normal with the covariance
    ``(I + W D^-1 W')^-1``, of the loadings W and the noise D of these, and missing values
    are expected at ``mean + E[z] @ loadings`` (Tipping & Bishop 1999, section 3.3).

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
    loadings : ndarray of shape (n_components, n_features)
    noise : ndarray of shape (n_features,)
    information : ndarray of shape (n_components, n_features) or None, default=None
        What the outer product of each feature's column adds to the precision of the code
        that the model starts with, where that is another one than z; None is
        ``loadings / sqrt(noise)``, which is z's.
    """

    mean: np.ndarray
    loadings: np.ndarray
    noise: np.ndarray
    information: np.ndarray | None = None

    @property
    def _batch_rows(self):
        return max(1, VALUES_AT_ONCE // max(self.loadings.shape[0] ** 2, 1))

    def divided(self, widths):
        """Return the model of features that are divided by these numbers."""
        loadings, noise = self.loadings / widths, self.noise / np.square(widths)
        return LinearGaussian(self.mean / widths, loadings, noise)

    def _with_holes(self, X):
        """The places of rows with holes, and these, some at a time."""
        holes = np.flatnonzero(np.isnan(X).any(axis=1))
        for batch in gen_batches(len(holes), self._batch_rows):
            yield holes[batch], X[holes[batch]]

    def codes(self, X):
        """The code of each row given what is there: its mean and its covariance."""
        present = ~np.isnan(X)
        covariance = covariance_of(present, self.loadings / np.sqrt(self.noise))
        known = np.where(present, X - self.mean, 0.0) @ (self.loadings / self.noise).T
        return np.einsum("nij,nj->ni", covariance, known), covariance

    def filled(self, X):
        """A copy of X with expectations in place of NaN, in its own dtype."""
        filled = X.copy()
        for places, rows in self._with_holes(X):
            expected = self.mean + self.codes(rows)[0] @ self.loadings
            filled[places] = np.where(np.isnan(rows), expected, rows)
        return filled

    def drawn(self, X, low, high, rng):
        """Return a copy of X with draws from its distribution in place of NaN.

        Codes are drawn from their posterior. Given these, missing values are normal,
        truncated to the range from `low` to `high`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            In float64.

        low, high : ndarray of shape (n_features,)
        rng : RandomState
        """
        drawn, width = X.copy(), np.sqrt(self.noise)
        for places, rows in self._with_holes(X):
            z, covariance = self.codes(rows)
            root, _ = _root_of(covariance)
            z += np.einsum("nij,nj->ni", root, rng.standard_normal(z.shape))
            row, column = np.nonzero(np.isnan(rows))
            centre = (self.mean + z @ self.loadings)[row, column]
            least, most, unit = low[column], high[column], width[column]
            ends = (least - centre) / unit, (most - centre) / unit
            values = centre + unit * truncnorm.ppf(rng.uniform(size=len(row)), *ends)
            drawn[places[row], column] = np.clip(values, least, most)
        return drawn

    def extra_covariance(self, X):
        """Compute what missing values add to the covariance of the initial code.

        Returns
        -------
        extra_covariance : ndarray of shape (n_samples, n_components, n_components)
            Positive semi-definite; zero for a row without holes.
        """
        information = self.information
        if information is None:
            information = self.loadings / np.sqrt(self.noise)
        of_all = covariance_of(np.ones((1, len(self.mean)), bool), information)
        found = np.zeros((len(X), *of_all.shape[1:]))
        for places, rows in self._with_holes(X):
            found[places] = covariance_of(~np.isnan(rows), information) - of_all
        return found

    def extra_variance(self, X):
        """The diagonals of `extra_covariance`, of shape (n_samples, n_components)."""
        return np.diagonal(self.extra_covariance(X), axis1=1, axis2=2)

    def moments(self, rows):
        """The mean and the scatter matrix that are expected of rows with holes.

        Parameters
        ----------
        rows : Rows

        Returns
        -------
        moments : Moments
            A feature whose values are all the same is a constant, exactly.
        """
        n_features = len(self.mean)
        total, scatter = np.zeros(n_features), np.zeros((n_features, n_features))
        log_likelihood = 0.0
        for weight, missing, deviations, unknown, nats in self._expected(rows):
            heavy = deviations * weight[:, None]
            total += heavy.sum(axis=0)
            scatter += deviations.T @ heavy
            unknown *= np.sqrt(weight)[:, None, None]
            unknown = unknown.reshape(-1, n_features)
            scatter += unknown.T @ unknown
            scatter[np.diag_indices(n_features)] += weight @ missing * self.noise
            log_likelihood -= weight @ nats
        shift, varies = total / rows.size, rows.low != rows.high
        scatter -= rows.size * np.outer(shift, shift)
        mean = np.where(varies, self.mean + shift, rows.low)
        return Moments(mean, scatter * np.outer(varies, varies), log_likelihood)

    def squares(self, rows):
        """The diagonal of the scatter matrix that is expected of rows with holes."""
        total, squares = np.zeros((2, len(self.mean)))
        for weight, missing, deviations, unknown, _ in self._expected(rows):
            total += weight @ deviations
            squares += weight @ (
                deviations**2 + np.sum(unknown**2, axis=1) + missing * self.noise
            )
        varies = rows.low != rows.high
        return np.where(varies, squares - total**2 / rows.size, 0.0)

    def _expected(self, rows):
        """Yield expectations of rows with missing values, in batches.

        Yields
        ------
        weight : ndarray of shape (n_samples,)
        missing : ndarray of bool of shape (n_samples, n_features)
        deviations : ndarray of shape (n_samples, n_features)
            From the mean, of values that are there or expected.

        unknown : ndarray of shape (n_samples, n_components, n_features)
            A root of the covariance of what is missing, but for the noise.

        nats : ndarray of shape (n_samples,)
            Minus the log-likelihood of what is there.
        """
        n_features = len(self.mean)
        batch_rows = self._batch_rows // max(1, n_features // 64)
        for batch in rows.batches(max(1, batch_rows)):
            X = np.asarray(rows.dense(batch), np.float64)
            weight = np.ones(len(X)) if rows.weight is None else rows.weight[batch]
            missing = np.isnan(X)
            z, covariance = self.codes(X)
            expected = z @ self.loadings
            deviations = np.where(missing, expected, X - self.mean)
            root, log_determinant = _root_of(covariance)
            nats = ~missing @ np.log(2 * np.pi * self.noise) + np.sum(
                deviations * (deviations - expected) / self.noise, axis=1
            )
            nats -= log_determinant
            unknown = root.transpose(0, 2, 1) @ self.loadings * missing[:, None]
            yield weight, missing, deviations, unknown, nats / 2


def _root_of(covariance):
    """Return roots of covariance matrices, and the logarithms of their determinants.

    Rows of a lower rank have covariances that rounding can make indefinite: negative
    eigenvalues are then replaced.
    """
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, np.finfo(float).eps * values[:, -1:])
        return vectors * np.sqrt(values)[:, None], np.log(values).sum(axis=1)
    return root, 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)


def covariance_of(present, information):
    """``(I + V V')^-1`` of the columns V of the information that are present, by row."""
    n_components, n_features = information.shape
    pairs = (information[:, None] * information[None]).reshape(-1, n_features)
    precision = (present @ pairs.T).reshape(-1, n_components, n_components)
    return np.linalg.inv(precision + np.eye(n_components))
