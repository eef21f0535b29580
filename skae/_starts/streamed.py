"""Initialisation of a stream from few rows, which later rows may need to extend."""

from dataclasses import replace

import numpy as np
from scipy import linalg

#: Rows for each component up to which they are too few to say how much noise there is, and
#: to train on.
FEW = 5

#: The least noise variance then, as a share of a feature's; and the size of a direction
#: that the rows say nothing of, in standard deviations.
NOISE, SMALL = 0.1, 0.1


def opened(start, rows, seed):
    """A linear start of few rows, from which others can be learned.

    Components that the rows do not span are zero on both sides, a saddle that training
    would never leave; the noise around hardly more rows than components is next to
    nothing, which takes thousands of steps to unlearn. Both become small instead:
    directions at random, orthogonal to those that there are.

    Parameters
    ----------
    start : LinearStart
    rows : Rows
    seed : int

    Returns
    -------
    start : LinearStart
        The same where the rows are many.
    """
    unused = ~start.encoder.any(axis=0)
    if not unused.any() and len(rows) > FEW * len(unused):
        return start
    variance = rows.variance
    typical = variance.mean() or 1.0
    encoder, decoder = start.encoder.copy(), start.decoder.copy()
    axes = _complement(decoder[~unused], unused.sum(), seed)
    places = np.flatnonzero(unused)[: len(axes)]
    unit = np.sqrt(typical) if hasattr(start, "posterior_variance") else 1.0
    encoder[:, places] = SMALL * axes.T / unit
    decoder[places] = SMALL * axes * unit
    start = replace(start, encoder=encoder, decoder=decoder)
    if getattr(start, "noise_variance", None) is None:
        return start
    own = variance if np.ndim(start.noise_variance) else np.array(typical)
    least = NOISE * np.where(own > 0, own, typical)
    noise = np.maximum(start.noise_variance, least)
    return replace(start, noise_variance=noise, constant=False)


def _complement(axes, n_wanted, seed):
    """Random orthonormal rows, orthogonal to others; fewer where there is no room."""
    n_features = axes.shape[1]
    taken = linalg.orth(axes.T) if len(axes) else np.zeros((n_features, 0))
    n_found = min(n_wanted, n_features - taken.shape[1])
    drawn = np.random.default_rng(seed).standard_normal((n_features, n_found))
    drawn -= taken @ (taken.T @ drawn)
    return linalg.qr(drawn, mode="economic")[0].T
