"""The closed-form starts: the best linear model of each kind."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse
from scipy.special import expit, logit
from sklearn import config_context
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import svd_flip


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

    Float32 rows are centred and scaled first, in float64: PCA's covariance solver
    subtracts the mean from the second moments, which float32 can't afford.

    Returns
    -------
    pca : PCA
        With at most as many components as X has rows and features.
    """
    solver = "auto"
    if not isinstance(n_components, float):
        n_components = min(n_components, *X.shape)
    if sparse.issparse(X) and (
        isinstance(n_components, float) or n_components == min(X.shape)
    ):
        solver = "covariance_eigh"  # ARPACK can't give all components
    pca = PCA(n_components, svd_solver=solver, random_state=random_state)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # constant X: 0 / 0 variance
        X = _filled(X)
        if X.dtype == np.float32 and not sparse.issparse(X):
            mean = X.mean(axis=0, dtype=np.float64)
            scale = float(np.abs(X).max()) or 1.0
            pca.fit(((X - mean) / scale).astype(np.float32))
            pca.mean_ = mean + scale * pca.mean_
            pca.explained_variance_ = (
                np.asarray(pca.explained_variance_, np.float64) * scale**2
            )
            pca.noise_variance_ = float(pca.noise_variance_) * scale**2
        else:
            pca.fit(X)
    return pca


def _filled(X):
    """X with means in place of NaN, where series have ended."""
    if not sparse.issparse(X) and np.isnan(X.sum()):
        return np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    return X


def pca_start(pca, n_components):
    """PCA as encoder and decoder; components that it can't have are zero."""
    found = len(pca.components_)
    components = np.zeros((n_components, pca.components_.shape[1]))
    components[:found] = pca.components_
    variance = np.zeros(n_components)
    variance[:found] = pca.explained_variance_
    mean = np.asarray(pca.mean_, dtype=np.float64)
    return LinearStart(mean, components.T, components, mean, variance)


#: Rows that the logistic decoder is fitted to at most, and its iterations.
LOGISTIC_ROWS, LOGISTIC_STEPS = 10_000, 50


def spread_rows(n_samples):
    """Rows spread over all, about `LOGISTIC_ROWS` of them."""
    return slice(None, None, max(1, n_samples // LOGISTIC_ROWS))


def _some_rows(X):
    rows = X[spread_rows(X.shape[0])]
    rows = rows.toarray() if sparse.issparse(X) else np.asarray(rows, np.float64)
    return _filled(rows)


def logistic_start(start, X, target=None, ridge=1e-2):
    """The same encoder, with the logistic regression on its codes for a decoder.

    It is that of X on the codes of X, or of `target` where they are those of noisy rows.

    The intercepts and weights of all features are found together by the
    quadratic bound of Böhning & Lindsay (1988): the logistic curvature is at most
    1/4, so that each step ``W += 4 (Z'Z + ridge)^-1 (Z' (X - P) - ridge W)`` lowers the
    loss, whatever the data.
    """
    X = _some_rows(X)
    codes = (X - start.mean) @ start.encoder
    X = X if target is None else _some_rows(target)
    width = np.sqrt(np.mean(codes**2, axis=0))
    width[width == 0] = 1.0
    design = np.column_stack([codes / width, np.ones(len(X))])
    gram = design.T @ design / 4
    penalty = ridge * len(X) / 4 * np.eye(len(gram))
    factor = linalg.cho_factor(gram + penalty)
    weights = np.zeros((design.shape[1], X.shape[1]))
    base = logit(np.clip(X.mean(axis=0), 1e-3, 1 - 1e-3))
    for _ in range(LOGISTIC_STEPS):
        errors = X - expit(design @ weights + base)
        weights += linalg.cho_solve(factor, design.T @ errors - penalty @ weights)
    return replace(
        start, decoder=weights[:-1] / width[:, None], intercept=weights[-1] + base
    )


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
    return ProbabilisticStart(
        mean, encoder.T, decoder, mean, np.ones(n_components), posterior, noise
    )


def ppca_start(pca, n_components, n_samples, beta=1.0):
    """Probabilistic PCA, with scikit-learn's noise variance, for this weight of the KL.

    Where nothing is discarded, half the least variance that PCA kept is the noise's:
    that leaves the density as it is.
    """
    axes = np.asarray(pca.components_, np.float64)
    variance = np.asarray(pca.explained_variance_, np.float64)
    n_left = min(n_samples, axes.shape[1]) - len(axes)
    discarded = np.full(n_left, pca.noise_variance_, np.float64)
    mean = np.asarray(pca.mean_, np.float64)
    return _probabilistic_start(mean, axes, variance, discarded, 1.0, beta, n_components)


def factor_start(X, n_components, beta=1.0):
    """scikit-learn's FactorAnalysis, rotated so that the posterior is diagonal.

    In features divided by the standard deviation of their noise, it is probabilistic
    PCA with a noise variance of one.
    """
    X = X.toarray() if sparse.issparse(X) else _filled(X)
    factors = FactorAnalysis(min(n_components, *X.shape))
    with warnings.catch_warnings(), config_context(array_api_dispatch=False):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start is all it is for
        factors.fit(X)
    unit = np.sqrt(np.asarray(factors.noise_variance_, np.float64))
    loadings = np.asarray(factors.components_, np.float64) / unit
    _, strength, axes = linalg.svd(loadings, full_matrices=False)
    _, axes = svd_flip(None, axes, u_based_decision=False)
    mean = np.asarray(factors.mean_, np.float64)
    discarded = np.ones(X.shape[1] - len(axes))
    start = _probabilistic_start(
        mean, axes, 1 + strength**2, discarded, unit, beta, n_components
    )
    return replace(start, constant=X.min(axis=0) == X.max(axis=0))


#: Rounds of posterior and decoder, and steps of the decoder in each.
BERNOULLI_ROUNDS, BERNOULLI_STEPS = 6, 6


def bernoulli_start(pca, X, n_components, beta=1.0):
    """Logistic PCA with normal codes: each feature is Bernoulli, its logit linear.

    From the codes of probabilistic PCA on, two steps alternate, as in Tipping (1998).
    The decoder climbs, by the quadratic bound of Böhning & Lindsay (1988), to the
    logistic regression of X on draws of the codes. The posterior becomes Laplace's,
    taken at the prior mean with the decoder's mean curvature, which makes it linear in
    X and its covariance the same for all rows; the code is rotated to make it diagonal.
    """
    first = ppca_start(pca, n_components, X.shape[0])
    mean, encoder, posterior = first.mean, first.encoder, first.posterior_variance
    X = _some_rows(X)
    noise = np.random.default_rng(LOGISTIC_ROWS).standard_normal((len(X), n_components))
    decoder = np.zeros((n_components + 1, X.shape[1]))
    decoder[-1] = logit(np.clip(X.mean(axis=0), 1e-3, 1 - 1e-3))
    ridge = 1e-3 * len(X) * np.eye(len(decoder))
    ridge[-1, -1] = 0
    for _ in range(BERNOULLI_ROUNDS):
        codes = (X - mean) @ encoder + np.sqrt(posterior) * noise
        codes = np.column_stack([codes, np.ones(len(X))])
        factor = linalg.cho_factor(codes.T @ codes / 4 + ridge)
        for _ in range(BERNOULLI_STEPS):
            p = expit(codes @ decoder)
            slope = codes.T @ (X - p) - ridge @ decoder
            decoder += linalg.cho_solve(factor, slope)
        curvature = (p * (1 - p)).mean(axis=0)
        strength, axes = linalg.eigh((decoder[:-1] * curvature) @ decoder[:-1].T)
        strength, axes = np.maximum(strength[::-1], 0), axes[:, ::-1]
        decoder[:-1] = axes.T @ decoder[:-1]
        posterior = 1 / (1 + strength / beta)
        encoder = decoder[:-1].T * posterior / beta
    return ProbabilisticStart(
        mean, encoder, decoder[:-1], decoder[-1], np.ones(n_components), posterior, None
    )


#: Features up to which the covariance of all of them is computed.
COVARIANCE_FEATURES = 4096


def shrunken_start(pca, n_components, noise_variance):
    """The best linear denoiser for noise of one variance: PCA, its codes shrunken.

    `denoiser_start` in closed form: noise of the covariance ``noise_variance * I``
    leaves the axes as they are, and each code is multiplied by the share of the clean
    variance in its own.
    """
    start = pca_start(pca, n_components)
    noisy = start.explained_variance + noise_variance
    share = start.explained_variance / np.where(noisy > 0, noisy, 1.0)
    share = share if noise_variance > 0 else np.ones_like(share)
    return replace(
        start,
        encoder=start.encoder * share,
        explained_variance=start.explained_variance * share,
    )


def denoiser_start(moments, n_components, axes=None):
    """The best linear denoiser of rank `n_components`: the reduced-rank Wiener filter.

    Of the maps of rank k from noisy rows y to clean rows x, ``U U' G S^-1`` has the
    least expected squared error, where ``S = cov(y)``, ``G = cov(x, y)`` and U are the
    first k eigenvectors of ``G S^-1 G'`` (Izenman 1975, theorem 1; Brillinger 1981,
    theorem 10.2.1). Directions without noisy variance are left out of ``S^-1``.

    Parameters
    ----------
    moments : iterable of (clean, noisy, variance)
        By chunks of rows: what they were, the expectation over the noise of what they
        become, and its variance, which is independent between features.

    axes : ndarray of shape (n_features, n_axes) or None, default=None
        Where to look at noisy rows alone; None is everywhere.

    Returns
    -------
    start : LinearStart
        Of noisy rows the codes are uncorrelated, and have the variances
        `explained_variance`.
    """
    n_samples, origin = 0, None
    for clean, noisy, variance in moments:
        if origin is None:  # near both means, for the sake of precision
            origin = clean.mean(axis=0), noisy.mean(axis=0)
            x_sum, y_sum, spread, cross, square = (0.0,) * 5
        x, y = clean - origin[0], noisy - origin[1]
        seen = y if axes is None else y @ axes
        n_samples += len(x)
        x_sum, y_sum = x_sum + x.sum(axis=0), y_sum + y.sum(axis=0)
        spread = spread + np.broadcast_to(variance, x.shape).sum(axis=0)
        cross, square = cross + x.T @ seen, square + seen.T @ seen
    x_mean, y_mean, spread = x_sum / n_samples, y_sum / n_samples, spread / n_samples
    seen = y_mean if axes is None else y_mean @ axes
    noise = np.diag(spread) if axes is None else axes.T @ (spread[:, None] * axes)
    cross = cross / n_samples - np.outer(x_mean, seen)
    variance, basis = linalg.eigh(square / n_samples - np.outer(seen, seen) + noise)

    least = variance[-1] * len(variance) * np.finfo(float).eps
    whiten = basis / np.sqrt(np.where(variance > least, variance, np.inf))
    loadings = cross @ whiten
    found, n_seen = min(n_components, *loadings.shape), len(variance)
    _, turn = linalg.eigh(
        loadings.T @ loadings, subset_by_index=(n_seen - found, n_seen - 1)
    )
    axes_out = (loadings @ turn[:, ::-1]).T
    strength = linalg.norm(axes_out, axis=1)
    axes_out /= np.where(strength > 0, strength, 1.0)[:, None]
    _, axes_out = svd_flip(None, axes_out, u_based_decision=False)

    encoder, decoder = np.zeros((2, n_components, len(x_mean)))
    codes = axes_out @ loadings @ whiten.T
    encoder[:found] = codes if axes is None else codes @ axes.T
    decoder[:found] = axes_out
    explained = np.zeros(n_components)
    explained[:found] = strength**2
    mean, intercept = origin[1] + y_mean, origin[0] + x_mean
    return LinearStart(mean, encoder.T, decoder, intercept, explained)
