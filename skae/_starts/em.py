"""PCA and factor analysis of rows with missing values, by EM."""

from dataclasses import replace

import numpy as np
from scipy import linalg

from skae._data.statistics import degrees_of_freedom
from skae._starts.linear import (
    factor_rounds,
    factor_start,
    factor_start_of,
    ppca_start,
)
from skae._starts.pca import as_pca, check_mle, fit_pca, n_components_of
from skae._starts.scatter import GRAM_SIDE, principal_axes, scatter_of

#: Rounds of EM at most, the change of the scatter matrix at which they end, as a share of
#: it, and the rows that all but the last are computed from, at most.
ROUNDS, SETTLED, ROWS = 200, 1e-5, 20_000

#: Rounds after which the scatter matrix is carried to where the last changes lead.
LEAP = 4

#: Components of the model by which the variance that a share is asked of is found.
OPEN_COMPONENTS = 20


def pca_of(rows, n_components, start=None, settled=SETTLED):
    """PCA of `Rows`, each of its weight, by EM where they have holes.

    The maximum likelihood solution of probabilistic PCA (Tipping & Bishop 1999; Ilin &
    Raiko 2010): each round computes the scatter matrix that is expected given what is
    there, and takes its principal axes. The noise variance is the mean of the variances
    that are left (Tipping & Bishop, equation 8), of which there are as many as features
    less components, however few the rows are: what is expected has them all.

    Parameters
    ----------
    rows : Rows
    n_components : int, float in (0, 1) or "mle"
    start : LinearGaussian or None, default=None
        The model of the first round, with as many components or fewer; None is PCA of
        the rows with means in place of NaN.

    settled : float, default=SETTLED
        The relative change of the scatter matrix at which EM ends.
    """
    if not rows.has_missing:
        return fit_pca(rows.complete, n_components, rows.weight)
    if rows.is_stored:
        return pca_of(rows.few, n_components)
    check_mle(n_components, rows.size, rows.n_features)
    side = min(len(rows), rows.n_features)
    wanted = OPEN_COMPONENTS if isinstance(n_components, float | str) else n_components
    wanted = min(wanted, side)
    if rows.n_features > GRAM_SIDE:
        return _wide_pca(rows, wanted)
    linear_model = start
    if start is None:
        linear_model = ppca_start(_mean_filled(rows, wanted), wanted).linear_model
    for some in _some_then_all(rows):
        moments = _settled_moments(linear_model, some, wanted, settled)
        pca = _pca_of_moments(moments, wanted, some.size)
        linear_model = ppca_start(pca, wanted).linear_model
    if wanted != n_components:
        pca = _pca_of_moments(moments, n_components, rows.size)
    return pca


def _mean_filled(rows, n_components):
    """PCA of rows with means in place of NaN, its noise that of all other axes."""
    pca = fit_pca(rows.complete, n_components, rows.weight)
    n_left = rows.n_features - len(pca.components_)
    pca.noise_variance_ *= pca.n_left_ / max(n_left, 1)
    pca.n_left_ = n_left
    return pca


def _settled_moments(linear_model, rows, n_components, settled):
    """The expected moments of the rows where they no longer change, round by round.

    Every few rounds the scatter matrix is carried to where its changes lead. That can
    overshoot, and end outside of the matrices that are one: what lowers the likelihood
    of the values that are there is taken back.
    """

    def improved(moments):
        pca = _pca_of_moments(moments, n_components, rows.size)
        return ppca_start(pca, n_components).linear_model

    changes, before, ahead = [], None, None
    for _ in range(ROUNDS):
        moments = linear_model.moments(rows)
        if ahead is not None and moments.log_likelihood < before.log_likelihood:
            linear_model, ahead = improved(before), None
            continue
        ahead = None
        if before is not None:
            if _settled(moments.scatter, before.scatter, settled):
                break
            changes.append(moments.scatter - before.scatter)
        before = moments
        if len(changes) == LEAP:
            ahead = moments.scatter + _still_to_come(*changes[-2:])
            changes = []
            if np.diag(ahead).min() < 0:
                ahead = None
        linear_model = improved(
            moments if ahead is None else replace(moments, scatter=ahead)
        )
    return moments


def _some_then_all(rows):
    """Rows that are enough to settle on, and all."""
    if len(rows) <= ROWS:
        return [rows]
    return [rows.take(np.arange(len(rows))[rows.spread(ROWS)]), rows]


def _still_to_come(earlier, later):
    """The sum of all changes to come, of which each is a share of the one before."""
    share = min(_norm(later) / (_norm(earlier) or 1.0), 0.95)
    return later * share / (1 - share)


def _settled(scatter, before, settled):
    return _norm(scatter - before) <= settled * _norm(scatter)


def _norm(matrix):
    """Frobenius' norm, also of numbers whose squares overflow."""
    size = np.abs(matrix).max()
    return size * linalg.norm(matrix / size) if size > 0 else 0.0


def _pca_of_moments(moments, n_components, size):
    scatter, n_features = moments.scatter, len(moments.mean)
    n_found = n_features
    if not isinstance(n_components, float | str):
        n_found = min(n_components, n_features)
    scale = np.sqrt(np.trace(scatter) / n_features) or 1.0
    variance, axes = principal_axes(scatter / scale**2, n_found)
    n_found = n_components_of(n_components, variance, size, n_found)
    total = np.trace(scatter) / scale**2
    axes, variance = axes[:n_found], variance[:n_found]
    axes = np.where(np.diag(scatter) > 0, axes, 0.0)  # constants, to the last bit
    return as_pca(moments.mean, axes, variance, total, scale, size, n_features)


def _wide_pca(rows, n_components):
    """PCA of many features, from rows that are filled in, again and again.

    What is not known of a value that is filled in has the variance of the noise; that of
    the code, which many features tell, is left out.
    """
    X, n_features, size = rows.array, rows.n_features, rows.size
    unknown = np.average(np.isnan(X), axis=0, weights=rows.weight)
    pca, hidden, before = fit_pca(rows.complete, n_components, rows.weight), 0.0, None
    for _ in range(ROUNDS):
        total = pca.explained_variance_.sum() + pca.noise_variance_ * pca.n_left_
        along = pca.explained_variance_ + hidden * (pca.components_**2 @ unknown)
        total += hidden * unknown.sum()
        sums = (along * degrees_of_freedom(size), total * degrees_of_freedom(size))
        pca = as_pca(pca.mean_, pca.components_, *sums, 1.0, size, n_features)
        now = np.append(pca.explained_variance_, pca.noise_variance_)
        if before is not None and np.allclose(now, before, rtol=1e-4, atol=0):
            break
        before, hidden = now, pca.noise_variance_
        filled = ppca_start(pca, n_components).linear_model.filled(X)
        pca = fit_pca(filled, n_components, rows.weight)
    return pca


def imputer_of(rows):
    """Fit probabilistic PCA to rows with missing values; None where there are none."""
    if not rows.has_missing:
        return None
    size = min(len(rows), rows.n_features, OPEN_COMPONENTS)
    return ppca_start(pca_of(rows, size), size).linear_model


def filled_rows(rows, linear_model):
    """Rows with what is expected in place of NaN, in float64."""
    if not rows.has_missing:
        return rows
    return rows.replaced(linear_model.filled(np.asarray(rows.array, np.float64)))


def factors_of(rows, n_components, beta, start=None, settled=SETTLED):
    """Factor analysis of `Rows`, by EM where they have holes.

    `start` and `settled` are those of `pca_of`; without a start, EM begins at PCA.
    """
    if rows.is_stored:
        return _stored_factors(rows, n_components, beta)
    if not rows.has_missing:
        return factor_start(rows.complete, n_components, beta, rows.weight)
    width = rows.deviation
    rows = rows.replaced(np.asarray(rows.array, np.float64) / width)
    if start is None:
        pca = pca_of(rows, n_components)
        linear_model = ppca_start(pca, n_components).linear_model
    else:
        linear_model = start.divided(width)
    now = linear_model.moments(rows)
    for _ in range(ROUNDS):
        before, covariance = now, now.scatter / rows.size
        found = _factors(covariance, linear_model.noise, n_components, rows.size)
        linear_model = factor_start_of(now.mean, *found, n_components).linear_model
        now = linear_model.moments(rows)
        if _settled(now.scatter, before.scatter, settled):
            break
    return factor_start_of(before.mean, *found, n_components, beta, width)


def _stored_factors(rows, n_components, beta):
    """Factor analysis of stored rows, from their covariance or, of many features, few."""
    if rows.has_missing or rows.n_features > GRAM_SIDE:
        return factors_of(rows.few, n_components, beta)
    mean, width = rows.mean, rows.deviation
    covariance = scatter_of(rows, width) / rows.size
    found = _factors(covariance, np.ones(len(mean)), n_components, rows.size)
    start = factor_start_of(mean / width, *found, n_components, beta, width)
    return replace(start, constant=rows.low == rows.high)


def _factors(covariance, noise, n_components, n_samples):
    """Factor analysis from the covariance of features that have been scaled."""

    def principal(noise):
        root = np.sqrt(noise)
        return principal_axes(covariance / np.outer(root, root), n_components)

    return factor_rounds(np.diag(covariance), principal, n_samples, noise)
