"""Mixture: a mixture of normals as a density of codes."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln, logsumexp
from sklearn.exceptions import ConvergenceWarning

#: The maximum number of normals, and how many more are tried without a better likelihood.
MOST_NORMALS, PATIENCE = 10, 2

#: The fraction of the codes that the number of normals is chosen by.
HELD_OUT = 0.2

#: The maximum number of normals that are chosen by BIC.
MOST_BY_BIC = 6

#: The maximum number of steps of weighted EM, and the gain in nats at which it ends.
MOST_STEPS, LEAST_GAIN = 100, 1e-3

#: The degrees of freedom of Student's t.
FREEDOM = 4

#: The minimum variance in any direction, as a fraction of a component's variance.
LEAST_VARIANCE = 1e-3


@dataclass(frozen=True)
class Mixture:
    """A mixture of normals.

    Parameters
    ----------
    weights : ndarray of shape (n_normals,)
    means : ndarray of shape (n_normals, n_components)
    roots : ndarray of shape (n_normals, n_components, n_components)
        The Cholesky factors of the covariances.
    """

    weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray

    @classmethod
    def of(cls, Z, seed):
        """Fit to codes, with the number of normals of the best held-out likelihood.

        More normals must raise it by more than the standard error of the difference.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_components)
            In random order.

        seed : int
        """
        n_held_out = max(1, int(HELD_OUT * len(Z)))
        training, held_out = Z[n_held_out:], Z[:n_held_out]
        chosen, best = 1, _fitted(training, 1, seed).score_samples(held_out)
        for n in range(2, min(MOST_NORMALS, len(training) - 1) + 1):
            if n > chosen + PATIENCE:
                break
            scores = _fitted(training, n, seed).score_samples(held_out)
            gain = scores - best
            if gain.mean() > gain.std() / np.sqrt(len(gain)):
                chosen, best = n, scores
        mixture = _fitted(Z, chosen, seed)
        roots = np.linalg.cholesky(mixture.covariances_)
        return cls(mixture.weights_, mixture.means_, roots)

    @classmethod
    def by_bic(cls, Z, weight, seed):
        """Fit to weighted codes, with the number of normals of the least BIC.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_components)
        weight : ndarray of shape (n_samples,)
            How often each code counts.

        seed : int
        """
        size, width = weight.sum(), Z.shape[1]
        n_each = 1 + width + width * (width + 1) / 2
        best, least, chosen = None, np.inf, 1
        most = min(MOST_BY_BIC, len(np.unique(Z[weight > 0], axis=0)))
        for n in range(1, most + 1):
            if n > 1 and (size < n * n_each or n > chosen + PATIENCE):
                break
            mixture = cls.by_em(Z, weight, n, seed)
            loss = -2 * weight @ mixture.log_density(Z) + n * n_each * np.log(size)
            if loss < least:
                best, least, chosen = mixture, loss, n
        return best

    @classmethod
    def by_em(cls, Z, weight, n_normals, seed):
        """Fit to weighted codes by EM, from the groups of k-means.

        The covariance of each normal is shrunk to that of all of them within, by as many
        codes as there are components: they are tied where codes are few.
        """
        from sklearn.cluster import KMeans

        mean = np.average(Z, axis=0, weights=weight)
        variance = np.average((Z - mean) ** 2, axis=0, weights=weight)
        variance[variance == 0] = 1.0
        groups = np.zeros(len(Z), int)
        if n_normals > 1:
            kmeans = KMeans(n_normals, n_init=2, random_state=seed)
            groups = kmeans.fit_predict(Z / np.sqrt(variance), sample_weight=weight)
        belongs, before = np.eye(n_normals)[groups], -np.inf
        for _ in range(MOST_STEPS):
            mixture = cls._maximised(Z, belongs * weight[:, None], variance)
            joint = mixture._log_joint(Z)
            total = logsumexp(joint, axis=1)
            now = np.average(total, weights=weight)
            if now - before < LEAST_GAIN:
                break
            belongs, before = np.exp(joint - total[:, None]), now
        return mixture

    @classmethod
    def _maximised(cls, Z, belongs, variance):
        """Return the mixture of codes that belong to normals by these weights."""
        counts, width = belongs.sum(axis=0), Z.shape[1]
        means = belongs.T @ Z / np.maximum(counts, 1e-10)[:, None]
        scatters = []
        for mean, of in zip(means, belongs.T, strict=True):
            off = Z - mean
            scatters.append((off * of[:, None]).T @ off)
        scatter, size = sum(scatters), counts.sum()
        diagonal, floor = np.diag(np.diag(scatter)), np.diag(LEAST_VARIANCE * variance)
        within = (scatter + width * diagonal / size) / (size + width)
        roots = [
            np.linalg.cholesky((scatter + width * within) / (count + width) + floor)
            for scatter, count in zip(scatters, counts, strict=True)
        ]
        return cls(counts / counts.sum(), means, np.array(roots))

    def _distances(self, Z):
        """Compute Mahalanobis' squared distances, and the log volume of each normal."""
        squares = [
            (solve_triangular(root, (Z - mean).T, lower=True) ** 2).sum(axis=0)
            for mean, root in zip(self.means, self.roots, strict=True)
        ]
        log_roots = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
        return np.transpose(squares), log_roots

    def _log_joint(self, Z):
        """Compute the log density of each code and each normal."""
        squares, log_roots = self._distances(Z)
        constant = 0.5 * Z.shape[1] * np.log(2 * np.pi)
        with np.errstate(divide="ignore"):
            return np.log(self.weights) - 0.5 * squares - log_roots - constant

    def log_density(self, Z):
        """Compute the log density of each code, in nats."""
        return logsumexp(self._log_joint(Z), axis=1)

    def log_density_of_t(self, Z):
        """Compute the same with Student's t in place of each normal: with heavy tails.

        It has `FREEDOM` degrees of freedom, and the covariance as its scale.
        """
        squares, log_roots = self._distances(np.asarray(Z, np.float64))
        width, total = Z.shape[1], FREEDOM + Z.shape[1]
        constant = gammaln(total / 2) - gammaln(FREEDOM / 2)
        constant -= width / 2 * np.log(FREEDOM * np.pi)
        joint = constant - log_roots - total / 2 * np.log1p(squares / FREEDOM)
        return logsumexp(joint, b=self.weights, axis=1)

    def sample(self, n_samples, rng):
        """Draw codes, of shape (n_samples, n_components)."""
        share = self.weights / self.weights.sum()
        chosen = rng.choice(len(share), n_samples, p=share)
        Z = rng.standard_normal((n_samples, self.means.shape[1]))
        for i, (mean, root) in enumerate(zip(self.means, self.roots, strict=True)):
            Z[chosen == i] = mean + Z[chosen == i] @ root.T
        return Z


def _fitted(Z, n_normals, seed):
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_normals, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(Z)
