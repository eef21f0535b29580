"""Starts of other distributions: a linear code, and a generalised linear decoder."""

from dataclasses import replace

import numpy as np
from scipy import linalg

from skae._incomplete import completed, pca_of
from skae._rows import Rows
from skae._starts import (
    LOGISTIC_ROWS,
    ProbabilisticStart,
    pca_start,
    ppca_start,
    principal_axes,
)

#: Rounds of posterior and decoder, steps of the decoder in each, and of the decoder alone.
ROUNDS, STEPS, STEPS_ALONE = 6, 6, 50

#: The ridge on the decoder's weights, as a share of the rows.
RIDGE, RIDGE_ALONE = 1e-3, 1e-2


class _Seen:
    """Some rows as the decoder has to give them, and as the network sees them."""

    def __init__(self, likelihood, rows, n_components):
        holes = rows.has_holes
        if holes:
            self.completion = _completion(rows, n_components)
            rows = completed(rows, self.completion)
        some = rows.spread(LOGISTIC_ROWS)
        X = rows.filled(some)
        for one, columns in likelihood.blocks(rows.n_features):
            X[:, columns] = np.clip(X[:, columns], *one.domain)
        self.weight = np.ones(len(X)) if rows.weight is None else rows.weight[some]
        self.mean, self.scale = likelihood.standardisation(rows.mean, rows.variance)
        self.X = (X - self.mean) / self.scale
        self.seen = np.asarray(likelihood.seen(self.X), np.float64)
        self.width = self.seen.std(axis=0)
        self.width[self.width == 0] = 1.0
        self.pca = pca_of(Rows(self.seen / self.width, None, self.weight), n_components)
        if not holes:
            self.completion = _completion(Rows(X, None, self.weight), n_components)

    def encoder_of(self, start):
        """The start's encoder and mean, in the units of X."""
        width = self.width * self.scale
        return start.encoder / width[:, None], start.mean * width + self.mean


def _completion(rows, n_components):
    """Probabilistic PCA of columns that are scaled, in the units of X."""
    width = rows.deviation
    X = np.asarray(rows.array, np.float64) / width
    found = ppca_start(pca_of(rows.replaced(X), n_components), n_components).completion
    return replace(
        found,
        mean=found.mean * width,
        loadings=found.loadings * width,
        noise=found.noise * width**2,
    )


def point_start(likelihood, rows, n_components):
    """PCA of what the network sees, scaled, and the decoder that suits it best."""
    some = _Seen(likelihood, rows, n_components)
    start = pca_start(some.pca, n_components)
    encoder, mean = some.encoder_of(start)
    codes = (some.seen / some.width - start.mean) @ start.encoder
    decoder = fitted_decoder(likelihood, codes, some.X, some.weight)
    return replace(
        start,
        mean=mean,
        encoder=encoder,
        decoder=decoder[:-1] * some.scale,
        intercept=decoder[-1] * some.scale + some.mean,
        completion=some.completion,
    )


def fitted_decoder(likelihood, codes, X, weight):
    """The generalised linear regression of X on the codes: weights, then intercepts."""
    width = np.sqrt(np.average(codes**2, axis=0, weights=weight))
    width[width <= 1e-9 * width.max(initial=0)] = np.inf
    design = np.column_stack([codes / width, np.ones(len(codes))])
    ridge = RIDGE_ALONE / 4 * weight.sum() * np.eye(design.shape[1])
    ridge[-1, -1] = 0
    decoder = np.zeros((design.shape[1], X.shape[1]))
    for one, columns in likelihood.blocks(X.shape[1]):
        found = _first(one, X[:, columns], weight, len(decoder))
        for _ in range(STEPS_ALONE):
            found = one.step(design, X[:, columns], found, weight, ridge)
        decoder[:, columns] = found
    decoder[:-1] /= width[:, None]
    return decoder


def _first(likelihood, X, weight, n_rows):
    decoder = np.zeros((n_rows, X.shape[1]))
    decoder[-1] = likelihood.intercept(X, weight)
    return decoder


def latent_start(likelihood, rows, n_components, beta=1.0):
    """A latent variable model of any distributions: a linear code, linear outputs.

    `bernoulli_start` for columns of several kinds: from the codes of probabilistic PCA
    of what the network sees, two steps alternate. Each column's decoder climbs to its
    generalised linear regression on draws of the codes, by the quadratic bound of
    Böhning & Lindsay (1988) for 0 and 1 and for classes, by Fisher's scoring for counts
    (Townes et al. 2019). The posterior becomes Laplace's, taken at the prior mean with
    each column's mean curvature, which makes it linear; the code is rotated to make it
    diagonal.
    """
    some = _Seen(likelihood, rows, n_components)
    weight, n_features = some.weight, rows.n_features
    first = ppca_start(some.pca, n_components)
    active = first.posterior_variance < 1
    centred = some.seen / some.width - first.mean
    encoder, posterior = first.encoder[:, active], first.posterior_variance[active]
    n_active, blocks = np.count_nonzero(active), likelihood.blocks(n_features)
    draws = np.random.default_rng(LOGISTIC_ROWS)
    draws = draws.standard_normal((len(centred), n_active))
    decoder = np.zeros((n_active + 1, n_features))
    for one, columns in blocks:
        decoder[:, columns] = _first(one, some.X[:, columns], weight, n_active + 1)
    ridge = RIDGE * weight.sum() * np.eye(n_active + 1)
    ridge[-1, -1] = 0
    curvature, slope = np.zeros((2, n_features))
    for _ in range(ROUNDS):
        codes = centred @ encoder + np.sqrt(posterior) * draws
        design, noise = np.column_stack([codes, np.ones(len(codes))]), []
        for one, columns in blocks:
            X, found = some.X[:, columns], decoder[:, columns]
            for _ in range(STEPS):
                found = one.step(design, X, found, weight, ridge)
            decoder[:, columns] = found
            curvature[columns], slope[columns], more = one.curvature(
                design, X, found, weight
            )
            noise.append(more)
        if not n_active:
            continue
        strength, axes = principal_axes(
            (decoder[:-1] * curvature) @ decoder[:-1].T, n_active
        )
        decoder[:-1] = axes @ decoder[:-1]
        posterior = 1 / (1 + strength / beta)
        encoder = decoder[:-1].T * (curvature * slope * some.width)[:, None]
        encoder = encoder * posterior / beta
    rest = ((0, n_components - n_active), (0, 0))
    found = replace(first, encoder=np.pad(encoder, rest[::-1]))
    encoder, mean = some.encoder_of(found)
    information = np.pad(decoder[:-1] * np.sqrt(curvature), rest)
    return ProbabilisticStart(
        mean,
        encoder,
        np.pad(decoder[:-1], rest) * some.scale,
        decoder[-1] * some.scale + some.mean,
        np.ones(n_components),
        replace(some.completion, information=information),
        np.pad(posterior, rest[0], constant_values=1.0),
        np.concatenate(noise),
    )


# -- steps of the decoder; `heavy` is the design times the rows' weights


def linear_step(design, X, decoder, weight, ridge):
    """The regression itself."""
    heavy = (design * weight[:, None]).T
    return linalg.solve(heavy @ design + ridge, heavy @ X, assume_a="pos")


def bounded_step(design, errors, decoder, weight, ridge, bound):
    """A step up by a curvature that is at most `bound`, whatever the data."""
    heavy = (design * weight[:, None]).T
    factor = linalg.cho_factor(bound * heavy @ design + ridge)
    return decoder + linalg.cho_solve(factor, heavy @ errors - ridge @ decoder)


#: The greatest change of a log-rate in one step.
LONGEST_STEP = 2.0


def scoring_step(design, errors, information, decoder, weight, ridge):
    """A step of Fisher's scoring for each column, with its own weights of rows."""
    heavy = design * weight[:, None]
    gram = np.einsum("ni,nj,nk->jik", heavy, information, design, optimize=True) + ridge
    slope = heavy.T @ errors - ridge @ decoder
    step = np.linalg.solve(gram, slope.T[..., None])[..., 0].T
    longest = np.abs(design @ step).max(axis=0)
    return decoder + step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-9))
