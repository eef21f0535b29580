"""Initialisation for other distributions: a linear code, a generalised linear decoder.

A code is known as a normal distribution, and what depends on it is expected over that,
by formulas or fixed points and never by draws: a start is the same in any order of rows,
and for a weight of two as for the row twice.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import linalg

from skae._data.rows import Rows
from skae._data.statistics import degrees_of_freedom
from skae._starts.em import pca_of
from skae._starts.imputation import covariance_of
from skae._starts.linear import ProbabilisticStart, pca_start, ppca_start
from skae._starts.scatter import principal_axes
from skae._starts.wiener import denoiser_start

#: Rows that decoders of other distributions are fitted to at most.
LOGISTIC_ROWS = 10_000

#: Rounds of posterior and decoder, steps of the decoder in each, and of the decoder alone.
ROUNDS, STEPS, STEPS_ALONE = 6, 6, 50

#: Draws of the noise of each row at most, by which a denoiser of a mixed table is found.
DRAWS = 8

#: The ridge on the decoder's weights, as a share of the rows.
RIDGE, RIDGE_ALONE = 1e-3, 1e-2

#: Points and shares of the standard normal distribution, exact for polynomials of degree
#: five (Gauss and Hermite).
POINTS, SHARES = (-(3**0.5), 0.0, 3**0.5), (1 / 6, 2 / 3, 1 / 6)


@dataclass(frozen=True)
class Design:
    """The codes of some rows, as a decoder of some columns is fitted to them.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        Their expectations.

    variance : ndarray of shape (n_samples or 1, n_components)
        Their variances, independent between components; 0 where codes are known.

    weight : ndarray of shape (n_samples,)
        How often each row counts.

    present : ndarray of bool of shape (n_samples, n_features) or None
        Which values are there; None is all.
    """

    codes: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    present: np.ndarray | None = None

    @cached_property
    def rows(self):
        """The codes and a column of ones, of shape (n_samples, n_components + 1)."""
        return np.column_stack([self.codes, np.ones(len(self.codes))])

    @cached_property
    def counts(self):
        """How often each value counts, of shape (n_samples, n_features or 1)."""
        weight = self.weight[:, None]
        return weight if self.present is None else weight * self.present

    @cached_property
    def gram(self):
        """The second moments of `rows`, one matrix or one of each column."""
        return self._gram(self.counts)

    def _gram(self, counts):
        size = self.rows.shape[1]
        places = np.arange(size - 1)
        variance = np.broadcast_to(self.variance, self.codes.shape)
        if counts.shape[1] == 1:
            gram = (self.rows * counts).T @ self.rows
            gram[places, places] += counts[:, 0] @ variance
            return gram
        pairs = (self.rows[:, :, None] * self.rows[:, None]).reshape(len(self.rows), -1)
        grams = (counts.T @ pairs).reshape(-1, size, size)
        grams[:, places, places] += counts.T @ variance
        return grams

    def average(self, values, counts=None):
        """The mean of each column over the rows."""
        counts = self.weight[:, None] if counts is None else counts
        counts = np.broadcast_to(counts, values.shape)
        total = counts.sum(axis=0)
        return np.sum(counts * values, axis=0) / np.where(total > 0, total, 1.0)

    def outputs(self, decoder):
        """The mean and the variance of each output, of shape (n_samples, n_features)."""
        return self.rows @ decoder, self.variance @ decoder[:-1] ** 2

    def expected(self, function, decoder):
        """Compute the expectation of a function of the outputs, value by value.

        Parameters
        ----------
        function : callable
            From outputs to an array, or several.

        decoder : ndarray of shape (n_components + 1, n_features)
        """
        mean, variance = self.outputs(decoder)
        if not variance.any():
            return function(mean)
        width = np.sqrt(variance)
        found = [function(mean + point * width) for point in POINTS]
        if not isinstance(found[0], tuple):
            return sum(s * value for s, value in zip(SHARES, found, strict=True))
        return tuple(
            sum(s * value for s, value in zip(SHARES, values, strict=True))
            for values in zip(*found, strict=True)
        )

    def slope(self, errors, curvature, decoder):
        """The slope of the expected log-likelihood in the decoder.

        By Stein's lemma ``E[f(a) z] = E[f(a)] E[z] + E[f'(a)] var(z) w`` for an output
        ``a = w' z + b`` of a normal code z.

        Parameters
        ----------
        errors, curvature : ndarray of shape (n_samples, n_features)
            Expectations of the log-likelihood's slope in the output, and of minus the
            slope of that.
        """
        slope = self.rows.T @ (self.counts * errors)
        if self.variance.any():
            variance = np.broadcast_to(self.variance, self.codes.shape)
            slope[:-1] -= (variance.T @ (self.counts * curvature)) * decoder[:-1]
        return slope


def solved(gram, slope):
    """``gram^-1 slope`` of one matrix, or of one for each column."""
    if gram.ndim == 2:
        return linalg.cho_solve(linalg.cho_factor(gram), slope)
    empty = gram[:, -1, -1] == 0  # a column without any value, whose decoder is zero
    gram[empty, -1, -1] = 1.0
    return np.linalg.solve(gram, slope.T[..., None])[..., 0].T


# -- the steps of a decoder


def linear_step(design, X, ridge):
    """The regression itself."""
    return solved(design.gram + ridge, design.rows.T @ (design.counts * X))


def bounded_step(design, errors, curvature, decoder, ridge, bound):
    """A step up by a curvature that is at most `bound`, whatever the data."""
    slope = design.slope(errors, curvature, decoder) - ridge @ decoder
    return decoder + solved(bound * design.gram + ridge, slope)


#: The greatest change of a log-rate in one step.
LONGEST_STEP = 2.0


def scoring_step(design, errors, curvature, information, decoder, ridge):
    """A step of Fisher's scoring for each column, with its own weights of rows."""
    slope = design.slope(errors, curvature, decoder) - ridge @ decoder
    step = solved(design._gram(design.counts * information) + ridge, slope)
    longest = np.abs(design.rows @ step).max(axis=0)
    return decoder + step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-9))


# -- the starts


def _filled(rows, some, linear_model):
    """A copy of some rows as the network sees them; where a series has ended, the mean."""
    if rows.has_missing:
        return linear_model.filled(np.asarray(rows.dense(some), np.float64))
    return np.array(rows.filled(some))


class _Seen:
    """Some rows as the decoder has to give them, and as the network sees them.

    What is missing is left out of what the decoder has to give, and expected by a linear
    model in what the network sees, as it is wherever rows are encoded.
    """

    def __init__(self, likelihood, rows, n_components, of_classes=None):
        some = rows.spread(LOGISTIC_ROWS)
        X = np.array(rows.dense(some), np.float64)
        missing = np.isnan(X) if rows.has_nan else None
        self.linear_model = _completion(rows, likelihood, n_components)
        filled = _filled(rows, some, self.linear_model)
        for one, columns in likelihood.blocks(rows.n_features):
            filled[:, columns] = np.clip(filled[:, columns], *one.domain)
        self.weight = np.ones(len(X)) if rows.weight is None else rows.weight[some]
        self.mean, self.scale = likelihood.standardisation(rows.mean, rows.variance)
        self.present = None if missing is None else ~missing
        seen = (filled - self.mean) / self.scale
        blocks = likelihood.blocks(rows.n_features)
        if not all(one.sees_rows for one, _ in blocks):
            seen = np.asarray(likelihood.seen(seen), np.float64)  # in float32 with JAX
        given = filled if missing is None else np.where(missing, self.mean, filled)
        self.X = (given - self.mean) / self.scale
        self.width = np.ones(seen.shape[1])
        if not likelihood.sees_rows:
            spread = Rows(seen, None, self.weight)
            self.width = (of_classes or _deviations)(likelihood, spread)
        self.seen = seen / self.width
        self.pca = pca_of(Rows(self.seen, None, self.weight), n_components)
        self.there = self.seen
        if missing is not None:
            self.there = np.where(missing, np.nan, self.seen)

    def encoder_of(self, start):
        """The start's encoder and mean, in the units of X."""
        width = self.width * self.scale
        return start.encoder / width[:, None], start.mean * width + self.mean

    def start_of(self, start, decoder):
        """Return a start of what the network sees, in the units of X, with a decoder."""
        encoder, mean = self.encoder_of(start)
        return replace(
            start,
            mean=mean,
            encoder=encoder,
            decoder=decoder[:-1] * self.scale,
            intercept=decoder[-1] * self.scale + self.mean,
            linear_model=self.linear_model,
        )

    def variances(self, posterior, information):
        """Compute the variances of the codes, one row of them where no value is missing."""
        if self.present is None:
            return posterior[None]
        found = covariance_of(self.present, information)
        return np.diagonal(found, axis1=1, axis2=2)

    def design(self, codes, variance, columns):
        present = None if self.present is None else self.present[:, columns]
        return Design(codes, variance, self.weight, present)


def _deviations(likelihood, rows):
    return rows.deviation


def famd_widths(likelihood, rows):
    """Return the width of each column in the metric of FAMD.

    It is the standard deviation of a column, with the number of rows as the divisor, and
    the root of the probability of a class: then each variable, of whatever kind, has a
    variance of at most 1 on any axis (Pagès 2004, factor analysis of mixed data).

    Parameters
    ----------
    likelihood : Likelihood
    rows : Rows
    """
    square = rows.variance * (degrees_of_freedom(rows.size) / rows.size)
    for columns in likelihood.groups(len(square)):
        square[columns] = rows.mean[columns]
    return np.sqrt(np.where(square > 0, square, 1.0))


def _completion(rows, likelihood, n_components):
    """Probabilistic PCA in the units of X, of columns that are scaled where they differ."""
    if likelihood.sees_rows:
        return ppca_start(pca_of(rows, n_components), n_components).linear_model
    width = rows.deviation
    some = rows.spread(LOGISTIC_ROWS)
    weight = rows.weight_of(some)
    X = rows.dense(some) if rows.has_missing else rows.filled(some)
    X = Rows(np.asarray(X, np.float64) / width, None, weight)
    found = ppca_start(pca_of(X, n_components), n_components).linear_model
    return replace(
        found,
        mean=found.mean * width,
        loadings=found.loadings * width,
        noise=found.noise * width**2,
    )


def point_start(likelihood, rows, n_components):
    """PCA of what the network sees, scaled, and the decoder that suits it best."""
    some = _Seen(likelihood, rows, n_components, famd_widths)
    start = pca_start(some.pca, n_components)
    codes = (some.seen - start.mean) @ start.encoder
    decoder = fitted_decoder(likelihood, codes, some.X, some.weight, some.present)
    return some.start_of(start, decoder)


def denoised_start(likelihood, rows, n_components, draw):
    """Return the best linear denoiser of a mixed table, and the decoder that suits it.

    The encoder is the reduced-rank Wiener filter in the metric of `famd_widths`. Both are
    fitted to draws of the noise: with the moments of the noise, which leave out that the
    columns of a category depend on each other, the loss is up to 7 % higher.

    Parameters
    ----------
    likelihood, rows, n_components
        As for `point_start`, of likelihoods that see rows as they are.

    draw : callable
        Maps complete rows, and the index of a draw, to noisy rows.
    """
    some = _Seen(likelihood, rows, n_components, famd_widths)
    width = some.width * some.scale
    clean = some.seen * width + some.mean
    n_draws = max(1, min(DRAWS, LOGISTIC_ROWS // len(clean)))
    noisy = [(draw(clean, step) - some.mean) / width for step in range(n_draws)]
    weight = some.weight[:, None]
    start = denoiser_start([(some.seen, one, 0.0, weight) for one in noisy], n_components)
    codes = (np.concatenate(noisy) - start.mean) @ start.encoder
    present = None if some.present is None else np.tile(some.present, (n_draws, 1))
    X, weight = np.tile(some.X, (n_draws, 1)), np.tile(some.weight, n_draws)
    decoder = fitted_decoder(likelihood, codes, X, weight, present)
    return some.start_of(start, decoder)


def fitted_decoder(likelihood, codes, X, weight, present=None, variance=None):
    """The generalised linear regression of X on the codes: weights, then intercepts.

    Parameters
    ----------
    likelihood : Likelihood
    codes : ndarray of shape (n_samples, n_components)
    X : ndarray of shape (n_samples, n_features)
        Standardised rows, any number where nothing was measured.

    weight : ndarray of shape (n_samples,)
    present : ndarray of bool of the shape of X or None, default=None
        Where something was; None is everywhere.

    variance : ndarray of the shape of codes or None, default=None
        How much the codes vary; None is not at all.
    """
    variance = np.zeros((1, codes.shape[1])) if variance is None else variance
    total = np.broadcast_to(variance, codes.shape) + codes**2
    width = np.sqrt(np.average(total, axis=0, weights=weight))
    width[width <= 1e-9 * width.max(initial=0)] = np.inf
    ridge = _ridge(RIDGE_ALONE / 4 * weight.sum(), codes.shape[1])
    decoder = np.zeros((codes.shape[1] + 1, X.shape[1]))
    for one, columns in likelihood.blocks(X.shape[1]):
        there = None if present is None else present[:, columns]
        design = Design(codes / width, variance / width**2, weight, there)
        found = _first(one, X[:, columns], design)
        for _ in range(STEPS_ALONE):
            found = one.step(design, X[:, columns], found, ridge)
        decoder[:, columns] = found
    decoder[:-1] /= width[:, None]
    return decoder


@dataclass(frozen=True)
class Examples:
    """Some rows as the network sees them, and what they are to become.

    Parameters
    ----------
    seen : ndarray of shape (n_samples, n_features)
        Complete; expectations, where noise is added.

    noise : ndarray of shape (n_samples, n_features) or float
        The variance of the noise.

    target : ndarray of shape (n_samples, n_features)
        Any number where nothing was measured.

    present : ndarray of bool of shape (n_samples, n_features) or None
    weight : ndarray of shape (n_samples,) or None
    """

    seen: np.ndarray
    noise: np.ndarray | float
    target: np.ndarray
    present: np.ndarray | None
    weight: np.ndarray | None

    @classmethod
    def of(cls, rows, linear_model, noise=None):
        """Those of some of the rows.

        Parameters
        ----------
        rows : Rows
        linear_model : LinearGaussian
            What fills in the holes of the rows that the network sees.

        noise : callable or None, default=None
            From rows to the mean and the variance of what noise makes of them.
        """
        some = rows.spread(LOGISTIC_ROWS)
        target = np.array(rows.wanted.dense(some), np.float64)
        missing = np.isnan(target) if rows.wanted.has_nan else None
        seen = _filled(rows, some, linear_model)
        mean, variance = (seen, 0.0) if noise is None else noise(seen)
        if missing is not None:
            target[missing] = 0
        present = None if missing is None else ~missing
        return cls(mean, variance, target, present, rows.weight_of(some))

    def decoder(self, likelihood, start):
        """The decoder that suits the codes that a start gives the rows: see below."""
        codes = (self.seen - start.mean) @ start.encoder
        noise = np.broadcast_to(self.noise, self.seen.shape)
        variance = noise @ start.encoder**2 if np.any(self.noise) else None
        weight = np.ones(len(codes)) if self.weight is None else self.weight
        more = self.target, weight, self.present, variance
        return fitted_decoder(likelihood, codes, *more)


def _ridge(strength, n_components):
    """Make the penalty on a decoder's weights, without one on its intercepts."""
    return strength * np.diag(np.append(np.ones(n_components), 0.0))


def _first(likelihood, X, design):
    decoder = np.zeros((design.rows.shape[1], X.shape[1]))
    decoder[-1] = likelihood.intercept(X, design.counts)
    return decoder


def latent_start(likelihood, rows, n_components, beta=1.0):
    """A latent variable model of any distributions: a linear code, linear outputs.

    From the codes of probabilistic PCA of what the network sees, two steps alternate, as
    in Tipping (1998) for logistic PCA. Each column's decoder climbs to its generalised
    linear regression on the codes, by the quadratic bound of Böhning & Lindsay (1988) for
    0 and 1 and for classes, by Fisher's scoring for counts (Townes et al. 2019). The
    posterior becomes Laplace's, taken at the prior mean with each column's mean
    curvature, which makes it linear; the code is rotated to make it diagonal. Values that
    are missing say nothing of the decoder, and widen the posterior of their row.
    """
    some = _Seen(likelihood, rows, n_components)
    n_features = rows.n_features
    first = ppca_start(some.pca, n_components)
    active = first.posterior_variance < 1
    centred, n_active = some.seen - first.mean, np.count_nonzero(active)
    encoder, posterior = first.encoder[:, active], first.posterior_variance[active]
    variance, blocks = posterior[None], likelihood.blocks(n_features)
    if some.present is not None:
        variance = variance + first.linear_model.extra_variance(some.there)[:, active]
    decoder = np.zeros((n_active + 1, n_features))
    for one, columns in blocks:
        design = some.design(centred @ encoder, variance, columns)
        decoder[:, columns] = _first(one, some.X[:, columns], design)
    ridge = _ridge(RIDGE * some.weight.sum(), n_active)
    curvature, slope = np.zeros((2, n_features))
    for _ in range(ROUNDS):
        noise, codes = [], centred @ encoder
        for one, columns in blocks:
            design = some.design(codes, variance, columns)
            X, found = some.X[:, columns], decoder[:, columns]
            for _ in range(STEPS):
                found = one.step(design, X, found, ridge)
            decoder[:, columns] = found
            curvature[columns], slope[columns], more = one.curvature(design, X, found)
            noise.append(more)
        if not n_active:
            continue
        gram = (decoder[:-1] * curvature) @ decoder[:-1].T
        strength, axes = principal_axes(gram, n_active)
        decoder[:-1] = axes @ decoder[:-1]
        posterior = 1 / (1 + strength / beta)
        variance = some.variances(posterior, decoder[:-1] * np.sqrt(curvature / beta))
        encoder = decoder[:-1].T * (curvature * slope * some.width)[:, None]
        encoder = encoder * posterior / beta
    rest = ((0, n_components - n_active), (0, 0))
    found = replace(first, encoder=np.pad(encoder, rest[::-1]))
    encoder, mean = some.encoder_of(found)
    information = np.pad(decoder[:-1] * np.sqrt(curvature), rest)
    noise = np.concatenate(noise)
    return ProbabilisticStart(
        mean,
        encoder,
        np.pad(decoder[:-1], rest) * some.scale,
        decoder[-1] * some.scale + some.mean,
        np.ones(n_components),
        replace(some.linear_model, information=information),
        np.pad(posterior, rest[0], constant_values=1.0),
        noise if len(noise) else None,
    )
