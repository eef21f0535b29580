"""The closed-form starts: the best linear model of each kind."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA


@dataclass(frozen=True)
class LinearStart:
    """A linear encoder and decoder, in the units of X.

    ``code = (x - mean) @ encoder`` and ``output = code @ decoder + intercept``; the
    code has mean zero and the variances `explained_variance`.
    """

    mean: np.ndarray
    encoder: np.ndarray
    decoder: np.ndarray
    intercept: np.ndarray
    explained_variance: np.ndarray


def fit_pca(X, n_components, random_state):
    """scikit-learn's PCA of X, as itself, whatever X's dtype and offset.

    Float32 rows are centred first, with a mean computed in float64: PCA's covariance
    solver subtracts the mean from the second moments, which float32 can't afford.

    Returns
    -------
    pca : PCA
        With at most as many components as X has rows and features.
    """
    if not isinstance(n_components, float):
        n_components = min(n_components, *X.shape)
    pca = PCA(n_components, random_state=random_state)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # constant X: 0 / 0 variance
        if X.dtype == np.float32 and not sparse.issparse(X):
            mean = X.mean(axis=0, dtype=np.float64)
            pca.fit((X - mean).astype(np.float32))
            pca.mean_ = mean + pca.mean_
        else:
            pca.fit(X)
    return pca


def pca_start(pca, n_components):
    """PCA as encoder and decoder; components that it can't have are zero."""
    found = len(pca.components_)
    components = np.zeros((n_components, pca.components_.shape[1]))
    components[:found] = pca.components_
    variance = np.zeros(n_components)
    variance[:found] = pca.explained_variance_
    mean = np.asarray(pca.mean_, dtype=np.float64)
    return LinearStart(mean, components.T, components, mean, variance)
