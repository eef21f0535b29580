"""The closed-form starts: the best linear model of each kind."""

import math
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, eigsh, svds
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.decomposition._pca import _infer_dimension
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

from skae._completion import Completion
from skae._data.blocks import Blocks
from skae._data.rows import degrees_of_freedom, float_dtype


@dataclass(frozen=True)
class LinearStart:
    """A linear encoder and decoder, in the units of X.

    ``code = (x - mean) @ encoder`` and ``output = code @ decoder + intercept``; the
    code has mean zero and the variances `explained_variance`. The `completion` is the
    probabilistic model of X that fills in what is missing.
    """

    mean: np.ndarray
    encoder: np.ndarray
    decoder: np.ndarray
    intercept: np.ndarray
    explained_variance: np.ndarray
    completion: Completion | None


#: Values of X that are in float64 at one time: few stay in the processor's cache. Of
#: matrices that are computed whole, at least so many rows at a time.
VALUES_AT_ONCE, ROWS_AT_ONCE = 2**19, 1024

#: Rows or features, whichever are fewer, up to which their Gram matrix is computed, and
#: up to which LAPACK finds all of its eigenvectors. In between Lanczos' method finds
#: those asked for, as exactly, where they are fewer than a share of all.
GRAM_SIDE, EIGH_SIDE, FEW = 4096, 1024, 1 / 8

#: Passes over stored rows at most, and the change of the variances at which they end.
PASSES, SETTLED = 12, 1e-8

#: Shares of the greatest up to which eigenvalues or entries of an axis tie.
SAME = 1e-9


def fit_pca(X, n_components, weight=None):
    """scikit-learn's PCA of X, exactly, whatever X's dtype, offset and shape.

    Of rows and features the fewer decide: the eigenvectors of the scatter matrix of the
    features, or of the Gram matrix of the rows, which is accumulated in float64 over
    chunks of X. Both have singular values that are right to 1e-7 of the first. With
    more than `GRAM_SIDE` of both, Lanczos' method works on centred rows in X's own
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
    mean, width = _centre(X, weight)
    scale = max(float(width.max()), sys.float_info.min)
    deviations = _Deviations(X, mean, (width > 0) / scale, weight)
    if side > GRAM_SIDE and n_found < FEW * side and width.any():
        variance, axes, total = deviations.lanczos(n_found)
    else:
        tall = n_features <= n_samples
        gram = deviations.scatter() if tall else deviations.gram()
        total = np.trace(gram)
        variance, vectors = _eigenvectors(gram, n_found, deviations.offset)
        n_found = n_components_of(n_components, variance, size, n_found)
        variance, axes = variance[:n_found], vectors[:, :n_found].T
        if not tall:
            axes = _orthonormal(deviations.project(axes))
    return as_pca(mean, axes * _signs(axes), variance, total, scale, size)


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
            return int(_infer_dimension(variance / total, n_samples)) or 1
    if isinstance(n_components, float):
        share = np.cumsum(variance / total)
        enough = n_components + rounding(len(share))  # of a sum of shares, more than it
        return min(int(np.searchsorted(share, enough, side="right")) + 1, n_found)
    return n_found


def _centre(X, weight=None):
    """The means of the features, those of constants exact, and half of their ranges."""
    if isinstance(X, Blocks):
        low, high = np.nan_to_num(X.survey.low), np.nan_to_num(X.survey.high)
        return X.survey.mean, high / 2 - low / 2
    low, high = _range(X)
    middle, width = low / 2 + high / 2, high / 2 - low / 2
    share = (
        np.full(X.shape[0], 1 / X.shape[0]) if weight is None else weight / weight.sum()
    )
    if sparse.issparse(X):
        total = X.T @ share if weight is not None else _sparse_mean(X)
        return np.where(width > 0, total, low), width
    rest, missing = 0.0, 0.0
    for batch in _row_batches(X):
        rest = rest + _centred(X[batch], middle, share[batch, None]).sum(axis=0)
        missing = missing + share[batch] @ np.isnan(X[batch])
    return middle + rest / np.where(missing < 1, 1 - missing, 1.0), width


def _sparse_mean(X):
    return np.asarray((X / X.shape[0]).sum(axis=0, dtype=np.float64)).ravel()


def _range(X):
    """The least and the greatest value of each feature, zero where there are none."""
    if sparse.issparse(X):
        sides = min_max_axis(X, axis=0)
    else:
        sides = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
    return (np.nan_to_num(np.asarray(side, np.float64)) for side in sides)


def _row_batches(X):
    return gen_batches(X.shape[0], _at_once(X.shape[1]))


def _at_once(width):
    least = ROWS_AT_ONCE if width <= GRAM_SIDE else 1
    return max(least, VALUES_AT_ONCE // width)


def _centred(X, mean, factor):
    """``(X - mean) * factor`` in float64, zero in place of NaN."""
    X = np.subtract(X, mean, dtype=np.float64)
    X[np.isnan(X)] = 0
    X *= factor
    return X


class _Deviations:
    """The rows ``Z = sqrt(weight) * (X - mean) * per_unit``, a batch of them at a time.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
    mean, per_unit : ndarray of shape (n_features,)
    weight : ndarray of shape (n_samples,) or None
    """

    def __init__(self, X, mean, per_unit, weight):
        self.X, self.mean, self.per_unit, self.weight = X, mean, per_unit, weight
        if sparse.issparse(X):  # what is in X, and what is taken from each row
            self.kept = X.multiply(per_unit).multiply(self.root[:, None]).tocsr()
            self.taken = mean * per_unit

    @property
    def is_sparse(self):
        return sparse.issparse(self.X)

    @property
    def is_stored(self):
        return isinstance(self.X, Blocks)

    @cached_property
    def root(self):
        """The root of each row's weight."""
        return np.ones(self.X.shape[0]) if self.weight is None else np.sqrt(self.weight)

    @property
    def offset(self):
        """The part of the second moments that is subtracted from those of sparse rows."""
        if not self.is_sparse:
            return 0.0
        return np.sum(self.root**2) * np.sum(self.taken**2)

    def rows(self, batch):
        """Some of the rows, of X that is not sparse."""
        weight = None if self.weight is None else self.weight[batch]
        return _scaled(self.X[batch], weight, self.mean, self.per_unit)

    def columns(self):
        """All columns, some at a time."""
        n_rows, n_columns = self.X.shape
        if self.is_stored:
            several = self.X.columns(_at_once(n_rows))
        else:
            batches = gen_batches(n_columns, _at_once(n_rows))
            several = ((batch, self.X[:, batch]) for batch in batches)
        for batch, part in several:
            part = _centred(part, self.mean[batch], self.per_unit[batch])
            part *= self.root[:, None]
            yield part

    def scatter(self):
        """``Z' Z``."""
        if self.is_sparse:
            kept = (self.kept.T @ self.kept).toarray()
            return kept - np.sum(self.root**2) * np.outer(self.taken, self.taken)
        if self.is_stored:
            return self.X.total(_scatter, self.mean, self.per_unit)
        total = 0.0
        for batch in _row_batches(self.X):
            rows = self.rows(batch)
            total = total + rows.T @ rows
        return total

    def gram(self):
        """``Z Z'``."""
        if self.is_sparse:
            along = np.outer(self.kept @ self.taken, self.root)
            level = np.outer(self.root, self.root) * (self.taken @ self.taken)
            return (self.kept @ self.kept.T).toarray() - along - along.T + level
        total = 0.0
        for columns in self.columns():
            total = total + columns @ columns.T
        return total

    def project(self, turn):
        """``turn Z``."""
        if self.is_sparse:
            return (self.kept.T @ turn.T).T - np.outer(turn @ self.root, self.taken)
        return np.hstack([turn @ columns for columns in self.columns()])

    @config_context(array_api_dispatch=False)  # X is NumPy's or SciPy's
    def lanczos(self, n_wanted):
        """The greatest eigenvalues of ``Z' Z``, their vectors in rows, and its trace."""
        if self.is_stored:
            return self._subspace(n_wanted)
        dtype = float_dtype(self.X)
        if self.is_sparse:
            rows = self._operator()
            total = np.sum(self.kept.data**2) - self.offset
        else:
            rows, total = np.empty_like(self.X, dtype), 0.0
            for batch in _row_batches(self.X):
                found = self.rows(batch)
                rows[batch] = found
                total += np.sum(found**2)
        first = check_random_state(0).uniform(-1, 1, min(self.X.shape))
        _, values, axes = svds(rows, n_wanted, v0=first.astype(dtype))
        order = np.argsort(-values)
        variance, axes = np.float64(values[order]) ** 2, np.float64(axes[order])
        size = max(variance[0], self.offset)
        real = variance > np.finfo(dtype).eps ** 2 * max(self.X.shape) * size
        return np.where(real, variance, 0.0), np.where(real[:, None], axes, 0.0), total

    def _subspace(self, n_wanted):
        """What `lanczos` finds, by few passes over rows that are stored.

        The power method on more axes than are asked for (Halko et al. 2011, section
        4.5): each pass multiplies them by ``Z' Z``.
        """
        n_axes = min(2 * n_wanted + 10, min(self.X.shape))
        draw = check_random_state(0).standard_normal((self.X.shape[1], n_axes))
        axes, before = linalg.qr(draw, mode="economic")[0].T, None
        for _ in range(PASSES):
            total, product = self.X.total(_times, self.mean, self.per_unit, axes)
            variance, turn = linalg.eigh(axes @ product)
            variance = np.maximum(variance[::-1], 0.0)
            if before is not None and np.allclose(
                variance[:n_wanted], before, rtol=0, atol=SETTLED * variance[0]
            ):
                break
            before, found = variance[:n_wanted], turn[:, ::-1].T @ axes
            axes = linalg.qr(product, mode="economic")[0].T
        return before, found[:n_wanted], total

    def _operator(self):
        """Sparse rows as what they do to vectors."""
        kept, taken, root = self.kept, self.taken, self.root
        return LinearOperator(
            kept.shape,
            dtype=kept.dtype,
            matvec=lambda v: kept @ v.ravel() - root * (taken @ v.ravel()),
            rmatvec=lambda v: kept.T @ v.ravel() - taken * (root @ v.ravel()),
        )


def scatter_of(rows, width=1.0):
    """The scatter matrix of `Rows`, divided by widths, around their mean."""
    per_unit = np.full(rows.n_features, 1 / width)
    return _Deviations(rows.complete, rows.mean, per_unit, rows.weight).scatter()


class _Sums(tuple):
    """Numbers that are added one by one."""

    def __add__(self, other):
        return _Sums(a + b for a, b in zip(self, other, strict=True))


def _scaled(rows, weight, mean, per_unit):
    rows = _centred(rows, mean, per_unit)
    if weight is not None:
        rows *= np.sqrt(weight)[:, None]
    return rows


def _scatter(rows, weight, mean, per_unit):
    """``Z' Z`` of some rows."""
    rows = _scaled(rows, weight, mean, per_unit)
    return rows.T @ rows


def _times(rows, weight, mean, per_unit, axes):
    """The trace of ``Z' Z`` of some rows, and its product with axes."""
    rows = _scaled(rows, weight, mean, per_unit)
    return _Sums((np.sum(rows**2), rows.T @ (rows @ axes.T)))


def rounding(side):
    """The share of the greatest eigenvalue up to which another one is rounding error."""
    return 10 * side * np.finfo(float).eps


def _eigenvectors(gram, n_wanted, offset=0.0):
    """The greatest eigenvalues and their vectors, zero where it is rounding error.

    Of eigenvalues that tie Lanczos' method would draw the vectors: they are LAPACK's.
    """
    side, few = len(gram), None
    if side > EIGH_SIDE and n_wanted < FEW * side and gram.any():
        first = check_random_state(0).uniform(-1, 1, side)
        few = eigsh(gram, n_wanted + 1, v0=first)
        steps, least = np.diff(few[0]), rounding(side) * max(few[0][-1], offset)
        if np.any((steps <= SAME * few[0][-1]) & (few[0][1:] > least)):
            few = None
    values, vectors = linalg.eigh(gram) if few is None else few
    values, vectors = values[: -n_wanted - 1 : -1], vectors[:, : -n_wanted - 1 : -1]
    real = values > rounding(side) * max(values[0], offset)
    return np.where(real, values, 0.0), np.where(real, vectors, 0.0)


def principal_axes(scatter, n_wanted):
    """The greatest eigenvalues of a scatter matrix, and their vectors in rows, signed."""
    variance, vectors = _eigenvectors(scatter, n_wanted)
    axes = vectors.T
    return variance, axes * _signs(axes)


def _orthonormal(axes):
    """Rows made orthonormal from the first on; those that are zero, which are last, stay."""
    rank = np.count_nonzero(axes.any(axis=1))
    axes[:rank] = linalg.qr(axes[:rank].T, mode="economic")[0].T
    return axes


def _signs(axes):
    """The signs of the greatest entries, of the first of them where some tie."""
    size = np.abs(axes)
    greatest = np.argmax(size >= (1 - SAME) * size.max(axis=1, keepdims=True), axis=1)
    return np.sign(axes[np.arange(len(axes)), greatest])[:, None]


def pca_start(pca, n_components):
    """PCA as encoder and decoder; components that it can't have are zero."""
    found = len(pca.components_)
    components = np.zeros((n_components, pca.components_.shape[1]))
    components[:found] = pca.components_
    variance = np.zeros(n_components)
    variance[:found] = pca.explained_variance_
    mean = np.asarray(pca.mean_, dtype=np.float64)
    completion = ppca_start(pca, n_components).completion
    return LinearStart(mean, components.T, components, mean, variance, completion)


#: Rows that decoders of other distributions are fitted to at most.
LOGISTIC_ROWS = 10_000


def _dense(X):
    return X.toarray() if sparse.issparse(X) else X


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
    completion = Completion(mean, decoder, noise * beta * np.ones(n_features))
    ones = np.ones(n_components)
    return ProbabilisticStart(
        mean, encoder.T, decoder, mean, ones, completion, posterior, noise
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


#: Rounds of factor analysis, what they gain in nats when they end, and the least noise
#: variance, also as a share of the feature's: scikit-learn's.
FACTOR_ROUNDS, FACTOR_GAIN, LEAST_UNIQUENESS = 1000, 1e-2, 1e-12


def factor_start(X, n_components, beta=1.0, weight=None):
    """Factor analysis, its factors rotated so that the posterior is diagonal.

    In features divided by the standard deviation of their noise, it is probabilistic
    PCA with a noise variance of one.
    """
    low, high = _range(X)
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
    axes, discarded = axes * _signs(axes), np.ones(len(mean) - len(axes))
    unit = np.sqrt(noise) * width
    return _probabilistic_start(
        mean * width, axes, variance, discarded, unit, beta, n_components
    )


@config_context(array_api_dispatch=False)
def _factors(X, n_components, weight):
    """Factor analysis by maximum likelihood (Barber 2012, algorithm 21.1).

    Given the noise, the factors are the principal axes of features divided by its
    standard deviation; given those, the noise of a feature is the variance that they
    leave. The rounds are those of scikit-learn's FactorAnalysis, its axes included
    (Halko et al. 2011, from a fixed seed), unless there are fewer rows than features:
    then the axes are exact, from the Gram matrix of the rows.

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
    mean, _ = _centre(X, weight)
    if weight is not None:
        n_samples = weight.sum()
    share = 1.0 if weight is None else np.sqrt(weight)[:, None]
    rows = _centred(_dense(X), mean, share / np.sqrt(n_samples))
    spread = np.einsum("ij,ij->j", rows, rows)
    least = LEAST_UNIQUENESS * np.where(spread > 0, spread, 1.0)
    noise, before, rng = np.ones(n_features), -np.inf, check_random_state(0)
    for _ in range(FACTOR_ROUNDS):
        scaled = rows / np.sqrt(noise)
        if n_samples < n_features:
            variance, turn = _eigenvectors(scaled @ scaled.T, n_found)
            axes = _orthonormal(turn.T @ scaled)
        else:
            _, strength, axes = randomized_svd(
                scaled, n_found, n_iter=3, random_state=rng, transpose=False
            )
            real = strength > rounding(n_features) * strength[0]
            variance, axes = np.where(real, strength**2, 0), axes * real[:, None]
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
    return mean, np.maximum(variance[real], 1.0), axes[real], noise


#: Features up to which the covariance of all of them is computed.
COVARIANCE_FEATURES = GRAM_SIDE

#: Noise below this share of the variance of a feature's expectation is none.
NO_CORRUPTION = 1e-9


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
    moments : iterable of (clean, noisy, variance, weight)
        By chunks of rows: what they were, the expectation over the noise of what they
        become, its variance, which is independent between features, and how many rows
        each stands for, of shape (n_rows, 1) or 1.

    axes : ndarray of shape (n_features, n_axes) or None, default=None
        Where to look at noisy rows alone; None is everywhere. Fewer rows than features,
        up to `GRAM_SIDE`, are looked at everywhere.

    Returns
    -------
    start : LinearStart
        Of noisy rows the codes are uncorrelated, and have the variances
        `explained_variance`.
    """
    few, n_samples, moments = [], 0, iter(moments)
    for chunk in moments:
        few.append(chunk)
        n_samples += len(chunk[0])
        if n_samples >= min(chunk[0].shape[1], GRAM_SIDE + 1):
            found = _filters(chain(few, moments), n_components, axes)
            break
    else:
        found = _filters_of_few_rows(few, n_components)
    return _denoiser(*found, n_components)


def _denoiser(means, encoder, axes_out, variance, n_components):
    """The start of this encoder of ``G S^-1``'s axes, in rows, some of them zero."""
    signs = _signs(axes_out)
    missing = ((0, n_components - len(variance)), (0, 0))
    return LinearStart(
        mean=means[1],
        encoder=np.pad(signs * encoder, missing).T,
        decoder=np.pad(signs * axes_out, missing),
        intercept=means[0],
        explained_variance=np.pad(variance, missing[0]),
        completion=None,
    )


def _filters(moments, n_components, axes):
    """`denoiser_start` by the covariance of all features or axes."""
    n_samples, origin = 0, None
    for clean, noisy, variance, weight in moments:
        if origin is None:  # near both means, for the sake of precision
            origin = _means(clean), _means(noisy)
            x_sum, y_sum, spread, cross, square = (0.0,) * 5
        x, y = clean - origin[0], noisy - origin[1]
        seen = y if axes is None else y @ axes
        heavy = seen * weight
        n_samples += np.broadcast_to(weight, (len(x), 1)).sum()
        x_sum, y_sum = x_sum + (x * weight).sum(axis=0), y_sum + (y * weight).sum(axis=0)
        spread = spread + np.broadcast_to(variance * weight, x.shape).sum(axis=0)
        cross, square = cross + x.T @ heavy, square + seen.T @ heavy
    x_mean, y_mean, spread = x_sum / n_samples, y_sum / n_samples, spread / n_samples
    seen = y_mean if axes is None else y_mean @ axes
    noise = np.diag(spread) if axes is None else axes.T @ (spread[:, None] * axes)
    cross = cross / n_samples - np.outer(x_mean, seen)
    total = square / n_samples - np.outer(seen, seen) + noise
    size = origin[1] if axes is None else np.abs(origin[1]) @ np.abs(axes)
    unseen = _is_rounding(np.diag(total), size)
    total[unseen], total[:, unseen] = 0, 0
    variance, basis = _eigenvectors(total, len(total))
    whiten = basis / np.sqrt(np.where(variance > 0, variance, np.inf))
    loadings = cross @ whiten
    variance, turn = _eigenvectors(
        loadings.T @ loadings, min(n_components, *loadings.shape)
    )
    axes_out = _orthonormal((loadings @ turn).T)
    encoder = axes_out @ loadings @ whiten.T
    encoder = encoder if axes is None else encoder @ axes.T
    return (origin[0] + x_mean, origin[1] + y_mean), encoder, axes_out, variance


def _filters_of_few_rows(moments, n_components):
    """`denoiser_start` where rows are fewer than features, by matrices of their size.

    With the centred rows X, their expectations Y, both divided by the root of their
    number, and the noise variances D, it is ``S = Y' Y + D`` and ``G = X' Y``. By
    Woodbury's identity ``Y S^-1 = E Y D^-1`` and ``Y S^-1 Y' = I - E``, where ``E = (I +
    Y D^-1 Y')^-1``. Features without noise are a limit: E becomes zero on the span of
    their columns, and what ``Y S^-1`` is for them follows from ``Y S^-1 Y' = I - E``.
    """
    clean, y = (np.concatenate(rows) for rows in list(zip(*moments, strict=True))[:2])
    weight = np.concatenate(
        [np.broadcast_to(weight, (len(rows), 1)) for rows, *_, weight in moments]
    )
    n_samples = weight.sum()
    spread = sum(
        np.broadcast_to(variance * heavy, rows.shape).sum(axis=0) / n_samples
        for rows, _, variance, heavy in moments
    )
    means = _means(clean, weight), _means(y, weight)
    x, y = (
        (rows - mean) * np.sqrt(weight / n_samples)
        for rows, mean in zip((clean, y), means, strict=True)
    )
    power = np.einsum("ij,ij->j", y, y)
    y[:, _is_rounding(power, means[1])] = 0
    exact = spread <= NO_CORRUPTION * power
    sure, whitened = y[:, exact], y[:, ~exact] / spread[~exact]
    inner = whitened @ y[:, ~exact].T

    strength, basis = linalg.eigh(sure @ sure.T)
    known = strength > rounding(len(y)) * strength[-1]
    rest, basis, strength = basis[:, ~known], basis[:, known], strength[known]
    signal, turn = linalg.eigh(rest.T @ inner @ rest)
    signal, rest = np.maximum(signal, 0), rest @ turn
    unsure = (rest / (1 + signal)) @ rest.T
    inverse = np.empty_like(y)  # Y S^-1
    inverse[:, ~exact] = unsure @ whitened
    left = basis - unsure @ (basis + inner @ basis)
    inverse[:, exact] = left / strength @ (basis.T @ sure)

    factor = np.hstack([basis, rest * np.sqrt(signal / (1 + signal))])  # of I - E
    seen = factor.T @ x
    variance, turn = _eigenvectors(seen @ seen.T, min(n_components, len(y)))
    axes_out = _orthonormal(turn.T @ seen)
    return means, axes_out @ x.T @ inverse, axes_out, variance


def _is_rounding(variance, mean):
    """Whether the values of a feature differ by no more than rounding errors."""
    return variance <= (10 * np.finfo(float).eps * mean) ** 2


def _means(rows, weight=1.0):
    """The means of the features, those of constants exact."""
    weight = np.broadcast_to(weight, (len(rows), 1))
    return rows[0] + ((rows - rows[0]) * weight).sum(axis=0) / weight.sum()
