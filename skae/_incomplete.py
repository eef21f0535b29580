"""The closed forms of rows with holes: PCA and factor analysis by EM."""

from dataclasses import replace

import numpy as np
from scipy import linalg

from skae._starts import (
    FACTOR_GAIN,
    FACTOR_ROUNDS,
    GRAM_SIDE,
    LEAST_UNIQUENESS,
    as_pca,
    factor_start,
    factor_start_of,
    fit_pca,
    n_components_of,
    ppca_start,
    principal_axes,
    scatter_of,
)

#: Rounds of EM at most, the change of the scatter matrix at which they end, as a share of
#: it, and the rows that all but the last are computed from, at most.
ROUNDS, SETTLED, ROWS = 200, 1e-5, 20_000

#: Rounds after which the scatter matrix is carried to where the last changes lead.
LEAP = 4

#: Components of the model by which the variance that a share is asked of is found.
OPEN_COMPONENTS = 20


def pca_of(rows, n_components):
    """PCA of `Rows`, each of its weight, by EM where they have holes.

    The maximum likelihood solution of probabilistic PCA (Tipping & Bishop 1999; Ilin &
    Raiko 2010): each round computes the scatter matrix that is expected given what is
    there, and takes its principal axes.
    """
    if not rows.has_holes:
        return fit_pca(rows.complete, n_components, rows.weight)
    if rows.is_stored:
        return pca_of(rows.few, n_components)
    side = min(len(rows), rows.n_features)
    wanted = OPEN_COMPONENTS if isinstance(n_components, float | str) else n_components
    wanted = min(wanted, side)
    if rows.n_features > GRAM_SIDE:
        return _wide_pca(rows, wanted)
    completion = ppca_start(
        fit_pca(rows.complete, wanted, rows.weight), wanted
    ).completion
    for some in _some_then_all(rows):
        changes, before = [], None
        for _ in range(ROUNDS):
            mean, scatter = completion.moments(some)
            settled = _settled(scatter, before)
            if before is not None:
                changes.append(scatter - before)
            if len(changes) == LEAP and not settled:
                scatter, changes = scatter + _still_to_come(*changes[-2:]), []
            pca = _pca_of_scatter(mean, scatter, wanted, some.size)
            completion = ppca_start(pca, wanted).completion
            if settled:
                break
            before = scatter
    if wanted != n_components:
        pca = _pca_of_scatter(mean, scatter, n_components, rows.size)
    return pca


def _some_then_all(rows):
    """Rows that are enough to settle on, and all."""
    if len(rows) <= ROWS:
        return [rows]
    return [rows.take(np.arange(len(rows))[rows.spread(ROWS)]), rows]


def _still_to_come(earlier, later):
    """The sum of all changes to come, of which each is a share of the one before."""
    share = min(linalg.norm(later) / linalg.norm(earlier), 0.95)
    return later * share / (1 - share)


def _settled(scatter, before):
    if before is None:
        return False
    return linalg.norm(scatter - before) <= SETTLED * linalg.norm(scatter)


def _pca_of_scatter(mean, scatter, n_components, size):
    side = min(round(size), len(mean))
    n_found = side if isinstance(n_components, float | str) else min(n_components, side)
    scale = np.sqrt(np.trace(scatter) / len(mean)) or 1.0
    variance, axes = principal_axes(scatter / scale**2, n_found)
    n_found = n_components_of(n_components, variance, size, n_found)
    total = np.trace(scatter) / scale**2
    return as_pca(mean, axes[:n_found], variance[:n_found], total, scale, size)


def _wide_pca(rows, n_components):
    """PCA of many features, from rows that are filled in, again and again."""
    pca = fit_pca(rows.complete, n_components, rows.weight)
    X, before = rows.array, None
    for _ in range(ROUNDS):
        filled = ppca_start(pca, n_components).completion.filled(X)
        pca = fit_pca(filled, n_components, rows.weight)
        now = pca.explained_variance_
        if before is not None and np.allclose(now, before, rtol=1e-3):
            break
        before = now
    return pca


def factors_of(rows, n_components, beta):
    """Factor analysis of `Rows`, by EM where they have holes."""
    if rows.is_stored:
        return _stored_factors(rows, n_components, beta)
    if not rows.has_holes:
        return factor_start(rows.complete, n_components, beta, rows.weight)
    width = rows.deviation
    rows = rows.replaced(np.asarray(rows.array, np.float64) / width)
    pca = pca_of(rows, n_components)
    completion = ppca_start(pca, n_components).completion
    mean, scatter = completion.moments(rows)
    before = None
    for _ in range(ROUNDS):
        found = _factors(scatter / rows.size, completion.noise, n_components, rows.size)
        completion = factor_start_of(mean, *found, n_components).completion
        at, (mean, scatter) = mean, completion.moments(rows)
        if _settled(scatter, before):
            break
        before = scatter
    return factor_start_of(at, *found, n_components, beta, width)


def _stored_factors(rows, n_components, beta):
    """Factor analysis of stored rows, from their covariance or, of many features, few."""
    if rows.has_holes or rows.n_features > GRAM_SIDE:
        return factors_of(rows.few, n_components, beta)
    mean, width = rows.mean, rows.deviation
    covariance = scatter_of(rows, width) / rows.size
    found = _factors(covariance, np.ones(len(mean)), n_components, rows.size)
    start = factor_start_of(mean / width, *found, n_components, beta, width)
    return replace(start, constant=rows.low == rows.high)


def _factors(covariance, noise, n_components, n_samples):
    """The variances on the axes, these, and the noise, of factor analysis: its rounds.

    As `skae._starts._factors`, from the covariance of features that have been scaled.
    """
    spread, gain = np.diag(covariance), -np.inf
    least = LEAST_UNIQUENESS * np.where(spread > 0, spread, 1.0)
    noise = np.maximum(noise, least)
    for _ in range(FACTOR_ROUNDS):
        root = np.sqrt(noise)
        scaled = covariance / np.outer(root, root)
        variance, axes = principal_axes(scaled, n_components)
        real = variance > 1
        explained = np.where(real, variance - 1, 0) @ axes**2 * noise
        logs = np.log(np.where(real, variance, 1.0)).sum() + np.log(noise).sum()
        left = np.trace(scaled) - np.where(real, variance - 1, 0).sum()
        now = -n_samples / 2 * (logs + left)
        if now - gain < FACTOR_GAIN:
            break
        gain, noise = now, np.maximum(spread - explained, least)
    return np.maximum(variance, 1.0), axes, noise


def completed(rows, completion, seed=0):
    """Rows with draws from a linear model in place of NaN, their moments as expected."""
    if not rows.has_holes:
        return rows
    return rows.replaced(completion.drawn(np.asarray(rows.array, np.float64), seed))
