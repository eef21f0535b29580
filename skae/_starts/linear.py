"""Linear initialisation: PCA, probabilistic PCA, factor analysis, given transformers."""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.utils import check_random_state
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.sparsefuncs import mean_variance_axis

from skae._data.statistics import degrees_of_freedom
from skae._starts.affine import decoder_of, encoder_of
from skae._starts.imputation import LinearGaussian
from skae._starts.scatter import (
    centre,
    centred,
    eigenvectors,
    orthonormal,
    range_of,
    rounding,
    signs_of,
)


@dataclass(frozen=True)
class LinearStart:
    """A linear encoder and decoder, in the units of X.

    ``code = (x - mean) @ encoder`` and ``output = code @ decoder + intercept``; the
    code has mean zero and the variances `explained_variance`. The `linear_model` is the
    probabilistic model of X that fills in what is missing. The components are `in_order`
    where they are PCA's.
    """

    mean: np.ndarray
    encoder: np.ndarray
    decoder: np.ndarray
    intercept: np.ndarray
    explained_variance: np.ndarray
    linear_model: LinearGaussian | None
    in_order: bool = field(default=True, kw_only=True)

    @classmethod
    def of(cls, transformer, n_features):
        """Read a fitted linear transformer of scikit-learn's.

        The code is that of its `transform`, and the output that of its
        `inverse_transform`. Where `transform` is not linear, as NMF's, the encoder is the
        pseudoinverse of `components_`.

        Parameters
        ----------
        transformer : object
            FastICA, PLSRegression, SparsePCA, TruncatedSVD, ...

        n_features : int
            The number of features of X.

        Raises
        ------
        ValueError
            If it was fitted to another number of features, or is not linear.
        """
        own = getattr(transformer, "n_features_in_", n_features)
        if own != n_features:
            raise ValueError(
                f"init must be fitted to the {n_features} features of X. Got"
                f" {transformer!r}, fitted to {own}."
            )
        decoder, intercept = decoder_of(transformer)
        found = encoder_of(transformer, n_features)
        if found is None:
            encoder = np.linalg.pinv(decoder)
            found = encoder, -intercept @ encoder
        encoder, offset = found
        mean = -offset @ np.linalg.pinv(encoder)  # at which the code is zero
        none = np.zeros(len(decoder))
        return cls(mean, encoder, decoder, intercept, none, None, in_order=False)


@dataclass(frozen=True)
class ProbabilisticStart(LinearStart):
    """A linear model with normal codes, in the units of X.

    The prior of a code is standard normal, its posterior has the mean ``(x - mean) @
    encoder`` and the variances `posterior_variance`, and the noise around the output
    has the variance `noise_variance`, which the Bernoulli likelihood does without.
    Of features that are `constant` it only keeps the density finite.
    """

    posterior_variance: np.ndarray
    noise_variance: np.ndarray | None
    constant: np.ndarray | bool = False


#: Noise variances below this share of the mean variance of a feature are rounding
#: errors, and what takes their place.
NO_NOISE, LEAST_NOISE = 1e-12, 1e-6


def _probabilistic_start(mean, axes, variance, discarded, unit, beta, n_components):
    """The linear model with the highest evidence bound at this weight of the divergence.

    For the weight 1 it is probabilistic PCA (Tipping & Bishop 1999, equations 7 and 8)
    of rows divided by `unit`. Another weight is a noise variance `beta` times as large
    in all but the density of the noise (Lucas et al. 2019), and components that do not
    rise above it are given up.

    Parameters
    ----------
    axes : ndarray of shape (n_found, n_features)
    variance : ndarray of shape (n_found,)
        Orthonormal principal axes of ``(x - mean) / unit`` and the variances on them.

    discarded : list of float
        The variances that are left, or their mean repeated.

    unit : float or ndarray of shape (n_features,)
    """
    variance = np.maximum(variance, 0)
    spectrum = np.concatenate([variance, discarded])
    typical = spectrum.sum() / axes.shape[1]
    kept = len(variance)
    while kept:
        room = len(spectrum) / beta - kept
        if kept == len(spectrum) and room == 0:  # any noise has the same density
            threshold = variance[-1] / 2
            break
        threshold = spectrum[kept:].sum() / room if room > 0 else np.inf
        if threshold <= variance[kept - 1]:
            break
        kept -= 1
    else:
        threshold = spectrum.sum() * beta / len(spectrum)
    if threshold <= NO_NOISE * typical:
        threshold = LEAST_NOISE * typical
    threshold = threshold if threshold > 0 else 1.0

    n_found, n_features = axes.shape
    signal = np.where(np.arange(n_found) < kept, np.maximum(variance - threshold, 0), 0)
    total = np.where(signal > 0, variance, 1.0)
    encoder, decoder = np.zeros((2, n_components, n_features))
    encoder[:n_found] = axes / unit * (np.sqrt(signal) / total)[:, None]
    decoder[:n_found] = axes * unit * np.sqrt(signal)[:, None]
    posterior = np.ones(n_components)
    posterior[:n_found] = np.where(signal > 0, threshold / total, 1.0)
    noise = np.square(unit) * threshold / beta
    linear_model = LinearGaussian(mean, decoder, noise * beta * np.ones(n_features))
    ones = np.ones(n_components)
    return ProbabilisticStart(
        mean, encoder.T, decoder, mean, ones, linear_model, posterior, noise
    )


def ppca_start(pca, n_components, beta=1.0):
    """Probabilistic PCA, with scikit-learn's noise variance, for this weight of the KL.

    Where nothing is discarded, half the least variance that PCA kept is the noise's:
    that leaves the density as it is.
    """
    axes = np.asarray(pca.components_, np.float64)
    variance = np.asarray(pca.explained_variance_, np.float64)
    n_left = max(min(pca.n_samples_, axes.shape[1]) - len(axes), 0)  # of scikit-learn's
    n_left = getattr(pca, "n_left_", n_left)
    discarded = np.full(n_left, pca.noise_variance_, np.float64)
    mean = np.asarray(pca.mean_, np.float64)
    return _probabilistic_start(mean, axes, variance, discarded, 1.0, beta, n_components)


def pca_start(pca, n_components):
    """PCA as encoder and decoder; components that it can't have are zero."""
    found = len(pca.components_)
    components = np.zeros((n_components, pca.components_.shape[1]))
    components[:found] = pca.components_
    variance = np.zeros(n_components)
    variance[:found] = pca.explained_variance_
    mean = np.asarray(pca.mean_, dtype=np.float64)
    linear_model = ppca_start(pca, n_components).linear_model
    return LinearStart(mean, components.T, components, mean, variance, linear_model)


def _dense(X):
    return X.toarray() if sparse.issparse(X) else X


def ppca_of(start, rows, n_components, beta=1.0):
    """Probabilistic PCA of the rows on the axes of a linear start.

    The variance of the codes and that of the residuals are the rows'.

    Parameters
    ----------
    start : LinearStart
    rows : Rows
    n_components : int
    beta : float, default=1.0
    """
    square, left, mean = 0.0, 0.0, rows.mean
    for batch in rows.batches():
        X = rows.filled(batch) - mean
        weight = rows.weight_of(batch)
        weight = np.ones(len(X)) if weight is None else weight
        codes = X @ start.encoder
        square = square + (codes * weight[:, None]).T @ codes
        left += weight @ np.square(X - codes @ start.decoder).sum(axis=1)
    size = degrees_of_freedom(rows.size)
    values, vectors = np.linalg.eigh(square / size)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T @ start.decoder
    _, width, axes = np.linalg.svd(root, full_matrices=False)
    n_left = max(rows.n_features - len(axes), 0)
    noise = left / size / max(n_left, 1)
    variance, discarded = width**2, np.full(n_left, noise)
    return _probabilistic_start(mean, axes, variance, discarded, 1.0, beta, n_components)


#: Rounds of factor analysis, what they gain in nats when they end, and the least noise
#: variance, also as a share of the feature's: scikit-learn's.
FACTOR_ROUNDS, FACTOR_GAIN, LEAST_UNIQUENESS = 1000, 1e-2, 1e-12


def factor_start(X, n_components, beta=1.0, weight=None):
    """Factor analysis, its factors rotated so that the posterior is diagonal.

    In features divided by the standard deviation of their noise, it is probabilistic
    PCA with a noise variance of one.
    """
    low, high = range_of(X)
    width = _widths(X, weight)
    X = X.multiply(1 / width).tocsr() if sparse.issparse(X) else X / width
    mean, variance, axes, noise = _factors(X, n_components, weight)
    start = factor_start_of(mean, variance, axes, noise, n_components, beta, width)
    return replace(start, constant=low == high)


def _widths(X, weight):
    """The standard deviations of the features; one of those that are constant."""
    if sparse.issparse(X):
        variance = mean_variance_axis(X, axis=0, weights=weight)[1]
    else:
        mean = np.average(X, axis=0, weights=weight)
        variance = np.average(np.square(X - mean), axis=0, weights=weight)
    return np.sqrt(np.where(variance > 0, variance, 1.0))


def factor_start_of(mean, variance, axes, noise, n_components, beta=1.0, width=1.0):
    """The start that is factor analysis of features divided by their widths.

    Parameters
    ----------
    mean, variance, axes, noise : ndarray
        What `_factors` returns.

    width : ndarray of shape (n_features,) or 1.0
    """
    axes, discarded = axes * signs_of(axes), np.ones(len(mean) - len(axes))
    unit = np.sqrt(noise) * width
    return _probabilistic_start(
        mean * width, axes, variance, discarded, unit, beta, n_components
    )


@config_context(array_api_dispatch=False)
def _factors(X, n_components, weight):
    """Factor analysis of rows in memory, by `factor_rounds`.

    The axes of each round are those of scikit-learn's FactorAnalysis (Halko et al. 2011,
    from a fixed seed), unless there are fewer rows than features: then they are exact,
    from the Gram matrix of the rows.

    Returns
    -------
    mean : ndarray of shape (n_features,)
    variance : ndarray of shape (n_found,)
    axes : ndarray of shape (n_found, n_features)
        The principal axes of ``(x - mean) / sqrt(noise)`` and the variances on them,
        one where it is not above that of the noise.

    noise : ndarray of shape (n_features,)
    """
    n_samples, n_features = X.shape
    n_found = min(n_components, *X.shape)
    mean, _ = centre(X, weight)
    if weight is not None:
        n_samples = weight.sum()
    share = 1.0 if weight is None else np.sqrt(weight)[:, None]
    rows = centred(_dense(X), mean, share / np.sqrt(n_samples))
    spread = np.einsum("ij,ij->j", rows, rows)
    rng = check_random_state(0)

    def principal(noise):
        scaled = rows / np.sqrt(noise)
        if n_samples < n_features:
            variance, turn = eigenvectors(scaled @ scaled.T, n_found)
            return variance, orthonormal(turn.T @ scaled)
        _, strength, axes = randomized_svd(
            scaled, n_found, n_iter=3, random_state=rng, transpose=False
        )
        real = strength > rounding(n_features) * strength[0]
        return np.where(real, strength**2, 0), axes * real[:, None]

    found = factor_rounds(spread, principal, n_samples, np.ones(n_features))
    return mean, *found


def factor_rounds(spread, principal, n_samples, noise):
    """Factor analysis by maximum likelihood (Barber 2012, algorithm 21.1).

    Given the noise, the factors are the principal axes of features divided by its
    standard deviation; given those, the noise of a feature is the variance that they
    leave.

    Parameters
    ----------
    spread : ndarray of shape (n_features,)
        The variance of each feature.

    principal : callable
        From noise variances to the variances on the principal axes of features divided
        by their noise's standard deviation, and these axes.

    n_samples : float
    noise : ndarray of shape (n_features,)
        Where to begin.

    Returns
    -------
    variance, axes, noise : ndarray
        As `_factors` returns them.
    """
    least, before = LEAST_UNIQUENESS * np.where(spread > 0, spread, 1.0), -np.inf
    noise = np.maximum(noise, least)
    for _ in range(FACTOR_ROUNDS):
        variance, axes = principal(noise)
        found = np.where(variance > 0, variance, 1.0)
        left = np.sum(spread / noise) - variance.sum()
        gain = -n_samples / 2 * (np.log(found).sum() + left + np.log(noise).sum())
        if gain - before < FACTOR_GAIN:
            break
        before, used = gain, noise
        explained = np.maximum(variance - 1, 0) @ axes**2 * noise
        noise = np.maximum(spread - explained, least)
    else:
        noise = used  # that of the axes
    real = variance > 0
    return np.maximum(variance[real], 1.0), axes[real], noise
