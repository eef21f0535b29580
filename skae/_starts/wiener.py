"""The best linear denoisers: the reduced-rank Wiener filter."""

from dataclasses import replace
from itertools import chain

import numpy as np
from scipy import linalg

from skae._starts.linear import LinearStart, pca_start
from skae._starts.scatter import GRAM_SIDE, eigenvectors, orthonormal, rounding, signs_of

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
    signs = signs_of(axes_out)
    missing = ((0, n_components - len(variance)), (0, 0))
    return LinearStart(
        mean=means[1],
        encoder=np.pad(signs * encoder, missing).T,
        decoder=np.pad(signs * axes_out, missing),
        intercept=means[0],
        explained_variance=np.pad(variance, missing[0]),
        linear_model=None,
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
    variance, basis = eigenvectors(total, len(total))
    whiten = basis / np.sqrt(np.where(variance > 0, variance, np.inf))
    loadings = cross @ whiten
    variance, turn = eigenvectors(
        loadings.T @ loadings, min(n_components, *loadings.shape)
    )
    axes_out = orthonormal((loadings @ turn).T)
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
    variance, turn = eigenvectors(seen @ seen.T, min(n_components, len(y)))
    axes_out = orthonormal(turn.T @ seen)
    return means, axes_out @ x.T @ inverse, axes_out, variance


def _is_rounding(variance, mean):
    """Check whether the values of a feature differ by rounding errors alone."""
    return variance <= (10 * np.finfo(float).eps * mean) ** 2


def _means(rows, weight=1.0):
    """The means of the features, those of constants exact."""
    weight = np.broadcast_to(weight, (len(rows), 1))
    return rows[0] + ((rows - rows[0]) * weight).sum(axis=0) / weight.sum()
