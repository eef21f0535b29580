"""Mixture: a mixture of normals as a density of codes."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning

#: The maximum number of normals, and how many more are tried without a better likelihood.
MOST_NORMALS, PATIENCE = 10, 2

#: The fraction of the codes that the number of normals is chosen by.
HELD_OUT = 0.2


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
