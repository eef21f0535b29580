"""One likelihood for each group of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.validation import check_is_fitted

from skae._starts.glm import famd_widths
from skae.likelihoods._base import (
    Likelihood,
    StepwiseStarts,
    vary_alike,
)


class ByColumn(StepwiseStarts, Likelihood):
    """A likelihood for each of several groups of columns.

    An estimator converts a list of pairs in `loss` or `likelihood` to this class.

    Parameters
    ----------
    pairs : list of (Likelihood, array-like of int)
        The likelihoods and their columns; each column of X is in one pair.

    each : bool, default=False
        Whether each column of numbers is standardised by itself, as in mixed tables,
        whose columns have no common unit.
    """

    def __init__(
        self, pairs: Sequence[tuple[Likelihood, ArrayLike]], each: bool = False
    ) -> None:
        self.pairs = pairs
        self.each = each

    def _key(self):
        pairs = ((one._key(), tuple(np.asarray(c).tolist())) for one, c in self.pairs)
        return type(self), self.each, *pairs

    @property
    def is_linear(self):
        return False

    @property
    def sees_rows(self):
        return False

    def blocks(self, n_features):
        return [(one, np.asarray(columns)) for one, columns in self.pairs]

    def groups(self, n_features):
        return [
            columns[group]
            for one, columns in self.blocks(n_features)
            for group in one.groups(len(columns))
        ]

    def numbers(self, n_features):
        blocks = self.blocks(n_features)
        found = [columns[one.numbers(len(columns))] for one, columns in blocks]
        return np.sort(np.concatenate(found))

    @property
    def _columns(self):
        return np.concatenate([columns for _, columns in self.pairs])

    def _joined(self, parts):
        """Join the parts of the pairs, in the order of the columns of X."""
        from keras import ops

        order = np.argsort(self._columns).astype(np.int32)
        return ops.take(ops.concatenate(parts, axis=-1), order, axis=-1)

    def _split(self, x):
        from keras import ops

        return [ops.take(x, np.asarray(c, np.int32), axis=-1) for _, c in self.pairs]

    def _noises(self, noise):
        """Yield the part of each pair in the noise of all pairs, on the last axis."""
        start = 0
        for one, columns in self.pairs:
            n_noise = one.n_noise(len(columns))
            yield noise[..., start : start + n_noise] if n_noise else None
            start += n_noise

    def standardisation(self, mean, variance):
        found = np.empty((2, len(mean)))
        for one, columns in self.pairs:
            several = columns[:, None] if self.each else [columns]
            for some in several:
                found[:, some] = one.standardisation(mean[some], variance[some])
        return found[0], found[1]

    def seen(self, x):
        parts = zip(self.pairs, self._split(x), strict=True)
        return self._joined([one.seen(part) for (one, _), part in parts])

    def mean(self, output):
        parts = zip(self.pairs, self._split(output), strict=True)
        return self._joined([one.mean(part) for (one, _), part in parts])

    def output_layer(self):
        return self.mean

    def expectation(self, x, output, present):
        parts = self._split(x), self._split(output), self._split(present)
        return self._joined(
            [
                one.expectation(*some)
                for (one, _), *some in zip(self.pairs, *parts, strict=True)
            ]
        )

    def like(self, X, mean):
        found = mean.copy()
        for one, columns in self.pairs:
            found[:, columns] = one.like(X[:, columns], mean[:, columns])
        return found

    def per_sample(self, x, output, log_noise=None, present=1.0):
        outputs, rows = self._split(output), self._split(x)
        there = [present] * len(rows) if isinstance(present, float) else None
        there = self._split(present) if there is None else there
        noises = self._noises(log_noise)
        return sum(
            one.per_sample(*parts)
            for (one, _), *parts in zip(
                self.pairs, rows, outputs, noises, there, strict=True
            )
        )

    def n_noise(self, n_features):
        return sum(one.n_noise(len(columns)) for one, columns in self.pairs)

    def noise_of(self, start, scale):
        unit = np.ones(len(scale))
        if not self.n_noise(len(scale)):
            return None, unit
        for (one, columns), noise in zip(
            self.pairs, self._noises(start.noise_variance), strict=True
        ):
            unit[columns] = one.output_unit(noise)
        return start.noise_variance, unit

    def noise_variance(self, noise, scale):
        if noise is None:
            return None
        found = np.full(len(scale), np.nan)
        for (one, columns), part in zip(self.pairs, self._noises(noise), strict=True):
            variance = one.noise_variance(part, scale[columns])
            if variance is not None:
                found[columns] = variance
        return found

    @property
    def degrees(self):
        """The power of the unit of X that is the unit of each column's loss."""
        found = np.zeros(len(self._columns), int)
        for one, columns in self.pairs:
            found[columns] = one.degree
        return found

    def units_of_losses(self, scale):
        return np.ones_like(scale), np.log(self._density_scale(scale))

    def loss_of_mean(self, mean, variance):
        found = np.empty_like(mean)
        for one, columns in self.pairs:
            found[columns] = one.loss_of_mean(mean[columns], variance[columns])
        return found

    def widths(self, rows):
        return famd_widths(self, rows) if self.each else None

    def in_units(self, loss, scale, present=1.0):
        return super().in_units(loss, self._density_scale(scale), present)

    def _density_scale(self, scale):
        """Return the scale of columns that have a density, and 1 for errors."""
        scale = scale.copy()
        for one, columns in self.pairs:
            if not one.is_density:
                scale[columns] = 1.0
        return scale

    def knows_enough(self, some, rows):
        return vary_alike(some, rows)

    def sample(self, mean, noise, scale, rng):
        drawn = np.empty_like(mean)
        for (one, columns), part in zip(self.pairs, self._noises(noise), strict=True):
            drawn[:, columns] = one.sample(mean[:, columns], part, scale[columns], rng)
        return drawn


def from_transformer(transformer: Any) -> list[tuple[str, list[int]]]:
    """Choose likelihoods for the output columns of a fitted transformer of columns.

    Each column that a :class:`~sklearn.preprocessing.OneHotEncoder` encodes becomes a
    "categorical" group, or "bernoulli" if it is one column of 0 and 1, as for two classes
    with ``drop="if_binary"``; all others are "gaussian_diag".

    Parameters
    ----------
    transformer : ColumnTransformer, TableVectorizer, OneHotEncoder or Pipeline
        A fitted ColumnTransformer of scikit-learn, with encoders alone or at the end of a
        Pipeline; a TableVectorizer of skrub; an encoder of all columns; or a Pipeline that
        ends with one of these.

    Returns
    -------
    pairs : list of (str, list of int)
        The parameter `likelihood` of :class:`~skae.VAETransformer`.

    Raises
    ------
    TypeError
        If it is another transformer.

    ValueError
        If an encoder drops one of several classes: the others are not one-hot then. If it
        makes a class of missing values, which would never be imputed.

    Examples
    --------
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from skae.likelihoods import from_transformer
    >>> X = [[1.0, 0], [2.0, 1], [4.0, 2]]
    >>> encoder = OneHotEncoder(sparse_output=False)
    >>> columns = make_column_transformer((StandardScaler(), [0]), (encoder, [1]))
    >>> from_transformer(columns.fit(X))
    [('gaussian_diag', [0]), ('categorical', [1, 2, 3])]
    """
    check_is_fitted(transformer)
    encoders, n_features = _encoders(transformer)
    pairs, rest = [], set(range(n_features))
    for name, encoder, start in encoders:
        for group in _groups(name, encoder, start):
            pairs.append(("bernoulli" if len(group) == 1 else "categorical", group))
            rest -= set(group)
    if rest:
        pairs.insert(0, ("gaussian_diag", sorted(rest)))
    return pairs


def _encoders(transformer):
    """Return one-hot encoders with their names and first columns, and all columns."""
    if isinstance(transformer, Pipeline):
        return _encoders(transformer[-1])
    if isinstance(transformer, OneHotEncoder):
        return [("encoder", transformer, 0)], len(transformer.get_feature_names_out())
    if hasattr(transformer, "input_to_outputs_"):  # skrub's TableVectorizer
        places = {name: i for i, name in enumerate(transformer.all_outputs_)}
        found = [
            (column, fitted, places[transformer.input_to_outputs_[column][0]])
            for column, fitted in transformer.transformers_.items()
            if isinstance(fitted, OneHotEncoder) and transformer.input_to_outputs_[column]
        ]
        return found, len(places)
    if not hasattr(transformer, "output_indices_"):
        raise TypeError(
            "transformer must be a fitted ColumnTransformer, TableVectorizer or"
            f" OneHotEncoder, or a Pipeline that ends with one. Got {transformer!r}."
        )
    indices = transformer.output_indices_
    found = []
    for name, fitted, _ in transformer.transformers_:
        last = fitted[-1] if isinstance(fitted, Pipeline) else fitted
        if isinstance(last, OneHotEncoder):
            found.append((name, last, indices[name].start))
    return found, max(place.stop for place in indices.values())


def _groups(name, encoder, start):
    """Yield the columns of each group of an encoder."""
    for classes, infrequent, dropped in zip(
        encoder.categories_, _infrequent(encoder), _dropped(encoder), strict=True
    ):
        if any(one is None or one != one for one in classes):
            raise ValueError(
                f"The OneHotEncoder {name!r} makes a class of missing values, which would"
                " never be imputed. Give it the others, OneHotEncoder(categories=[...],"
                " handle_unknown='ignore'), or leave it out and pass the frame itself:"
                " estimators take mixed tables."
            )
        n_columns = len(classes) - max(infrequent - 1, 0) - dropped
        if dropped and n_columns > 1:
            raise ValueError(
                f"The OneHotEncoder {name!r} drops one of {n_columns + 1} classes, so"
                " that the others are not one-hot. Use drop=None or 'if_binary'."
            )
        if n_columns:
            yield list(range(start, start + n_columns))
        start += n_columns


def _infrequent(encoder):
    """Count the classes of each column that are encoded as infrequent, in one column."""
    if not getattr(encoder, "_infrequent_enabled", False):
        return [0] * len(encoder.categories_)
    return [0 if c is None else len(c) for c in encoder.infrequent_categories_]


def _dropped(encoder):
    """Return 1 for each column with a dropped class, and 0 for the others."""
    if encoder.drop_idx_ is None:
        return [0] * len(encoder.categories_)
    return [int(place is not None) for place in encoder.drop_idx_]
