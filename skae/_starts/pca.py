"""PCA as scikit-learn computes it, exact for rows of any kind."""

import math
import sys

import numpy as np
from sklearn import config_context
from sklearn.decomposition import PCA

from skae._data.statistics import degrees_of_freedom
from skae._starts.scatter import (
    Deviations,
    centre,
    eigenvectors,
    orthonormal,
    rounding,
    signs_of,
)
from skae._utils.sklearn import infer_dimension


def fit_pca(X, n_components, weight=None):
    """scikit-learn's PCA of X, exactly, whatever X's dtype, offset and shape.

    The smaller matrix is decomposed: the scatter matrix of the features, or the Gram
    matrix of the rows, accumulated in float64 over chunks of X. Both have singular values that are right to 1e-7 of the first. Of
    many of both, Lanczos' method works on centred rows in X's own
    dtype, so that float32 rows are right to float32's precision. Nothing is random.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        NaN counts as the feature's mean. Sparse rows stay sparse.

    n_components : int, float in (0, 1) or "mle"
        As for PCA; of an int there are at most as many as X has rows and features.

    weight : ndarray of shape (n_samples,) or None, default=None
        How many rows each stands for.

    Returns
    -------
    pca : PCA
        With its fitted attributes in float64. Components without variance are zero.
    """
    n_samples, n_features = X.shape
    size = n_samples if weight is None else float(weight.sum())
    check_mle(n_components, size, n_features)
    side = min(X.shape)
    n_found = side if isinstance(n_components, float | str) else min(n_components, side)
    mean, width = centre(X, weight)
    scale = max(float(width.max()), sys.float_info.min)
    deviations = Deviations(X, mean, (width > 0) / scale, weight)
    if deviations.suits_lanczos(n_found) and width.any():
        variance, axes, total = deviations.lanczos(n_found)
    else:
        tall = n_features <= n_samples
        gram = deviations.scatter() if tall else deviations.gram()
        total = np.trace(gram)
        variance, vectors = eigenvectors(gram, n_found, deviations.offset)
        n_found = n_components_of(n_components, variance, size, n_found)
        variance, axes = variance[:n_found], vectors[:, :n_found].T
        if not tall:
            axes = orthonormal(deviations.project(axes))
    return as_pca(mean, axes * signs_of(axes), variance, total, scale, size)


def check_mle(n_components, n_samples, n_features):
    """Refuse Minka's "mle" for fewer rows than features, as PCA does."""
    if n_components == "mle" and n_samples < n_features:
        raise ValueError(
            "n_components='mle' is only supported if n_samples >= n_features."
            f" Got {n_samples:g} samples of {n_features} features."
        )


def as_pca(mean, axes, variance, total, scale, n_samples, side=None):
    """PCA with these axes, and these sums of squares of centred rows over `scale`.

    Its `n_left_` is the number of variances that `noise_variance_` is the mean of: the
    others of `side`, which is scikit-learn's ``min(n_samples, n_features)`` by default.
    """
    side = min(n_samples, len(mean)) if side is None else side
    left = total - variance.sum()
    if len(axes) >= side or variance[-1] == 0 or left <= rounding(side) * total:
        left = 0.0
    unit = scale / math.sqrt(degrees_of_freedom(n_samples))
    pca = PCA(len(axes))
    pca.mean_, pca.components_ = mean, axes
    # of Python's numbers, which become infinite in silence
    pca.explained_variance_ = np.array([v * unit * unit for v in variance.tolist()])
    pca.singular_values_ = np.array([math.sqrt(v) * scale for v in variance.tolist()])
    pca.explained_variance_ratio_ = variance / (total or 1.0)
    pca.n_left_ = max(round(side) - len(axes), 0)
    pca.noise_variance_ = float(left) / max(side - len(axes), 1) * unit * unit
    pca.n_components_, pca.n_samples_ = len(axes), n_samples
    pca.n_features_in_ = len(mean)
    return pca


def n_components_of(n_components, variance, n_samples, n_found):
    """The number that a share of the variance or Minka's "mle" comes to."""
    total = variance.sum() or 1.0
    if n_components == "mle":  # its formula needs a spectrum that is not near zero
        with config_context(array_api_dispatch=False):
            return int(infer_dimension(variance / total, n_samples)) or 1
    if isinstance(n_components, float):
        share = np.cumsum(variance / total)
        enough = n_components + rounding(len(share))  # of a sum of shares, more than it
        return min(int(np.searchsorted(share, enough, side="right")) + 1, n_found)
    return n_found
