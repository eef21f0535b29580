"""Scores of rows by models that have not seen them, to set thresholds by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline

from skae._data.frames import backend_of
from skae._estimator.base import BaseAutoencoder
from skae._estimator.scorer import Scorer
from skae._training.folds import collected
from skae._utils.sklearn import num_samples, safe_indexing
from skae._utils.warnings import silently, warn_user

#: The number of folds of cross-fitting.
N_FOLDS = 5


def last_of(model):
    """Return the last step of a Pipeline, else the model."""
    return model.steps[-1][1] if isinstance(model, Pipeline) else model


@dataclass(frozen=True)
class Fitting:
    """The fit of a detector's model to weighted rows, for these and for some of them.

    Parameters
    ----------
    model : object
        The model, which is cloned.

    X : object
    weight : ndarray of shape (n_samples,)
    by_errors : bool
        Whether errors and codes make the score, in place of the model's own.

    params : dict
        Parameters of the model's `fit`; those named "sample_weight" are split as X is.
    """

    model: Any
    X: Any
    weight: np.ndarray
    by_errors: bool
    params: dict

    def fitted(self):
        """Return the scorer of all rows, and the folds of its fit."""
        with collected() as folds:
            model = clone(self.model).fit(self.X, **self.params)
        return Scorer.of(model, self.X, self.weight, self.by_errors), folds

    def held_out(self, scorer, folds):
        """Score rows by models that have not seen them, as `scorer` scores others.

        An estimator of skae is trained on several splits, or validated on rows that it
        has not seen: these are scored. Else the scores are cross-fitted. Of a trained
        model, they are the scores of all rows by it, corrected by the difference that
        cross-fitting makes to its closed form.

        Parameters
        ----------
        scorer : Scorer
        folds : list of Fold

        Returns
        -------
        scores, weight : ndarray of shape (n_scores,)
        """
        if len(folds) == 1:
            (fold,) = folds
            rows = rows_at(self.X, fold.held_out)
            return scorer.scores(rows), self.weight[fold.held_out]
        if folds:
            scores = [self._scores_of_fold(scorer, fold) for fold in folds]
            held_out = np.concatenate([fold.held_out for fold in folds])
            return np.concatenate(scores), self.weight[held_out]
        try:
            with silently():
                return self._cross_fitted(scorer), self.weight
        except (ValueError, np.linalg.LinAlgError) as error:
            warn_user(
                "The threshold is set by the scores of the training samples, so that more"
                " of other inliers are below it than contamination says: estimator can't"
                f" be fitted to four fifths of them. {error}"
            )
            return scorer.scores(self.X), self.weight

    def _scores_of_fold(self, scorer, fold):
        model = _with_last(
            scorer.model, last_of(scorer.model)._of_fold(fold.state, fold.attributes)
        )
        seen = np.setdiff1d(np.arange(num_samples(self.X)), fold.held_out)
        rest = rows_at(self.X, seen), self.weight[seen]
        with silently():
            other = Scorer.of(model, *rest, self.by_errors, scorer.n_normals)
            return other.scores(rows_at(self.X, fold.held_out))

    def _cross_fitted(self, scorer):
        """Score each row by one of five models that have not seen it."""
        model, correction = closed_form(self.model), 0.0
        if model is not self.model:
            closed = clone(model).fit(self.X, **self.params)
            rest = self.X, self.weight, self.by_errors, scorer.n_normals
            correction = scorer.scores(self.X) - Scorer.of(closed, *rest).scores(self.X)
        n_samples = num_samples(self.X)
        scores = np.empty(n_samples)
        folds = KFold(min(N_FOLDS, n_samples), shuffle=True, random_state=0)
        for seen, held_out in folds.split(np.empty((n_samples, 0))):
            params = {
                name: rows_at(value, seen) if name.endswith("sample_weight") else value
                for name, value in self.params.items()
            }
            rows = rows_at(self.X, seen)
            other = clone(model).fit(rows, **params)
            rest = rows, self.weight[seen], self.by_errors, scorer.n_normals
            other = Scorer.of(other, *rest)
            scores[held_out] = other.scores(rows_at(self.X, held_out))
        scores = scores + correction
        return np.where(np.isfinite(scores), scores, scorer.scores(self.X))


def closed_form(model):
    """Return a clone without training of an estimator of skae that stops early.

    Other models are returned as they are: their training is short, or its end does not
    depend on rows that it has not seen.
    """
    last = last_of(model)
    trains = isinstance(last, BaseAutoencoder) and last.max_iter and last.early_stopping
    if not trains:
        return model
    model = clone(model)
    last_of(model).set_params(max_iter=0, callbacks=None, verbose=0)
    return model


def _with_last(model, last):
    """Return a fitted model with another last step."""
    if not isinstance(model, Pipeline):
        return last
    return Pipeline([*model.steps[:-1], (model.steps[-1][0], last)])


def indexable(X):
    """Return X such that rows can be taken from it."""
    if sparse.issparse(X):
        return X.tocsr()
    if isinstance(X, list) or backend_of(X) is not None:
        return X
    return np.asarray(X)


def rows_at(X, places):
    """Take the rows at these places."""
    return safe_indexing(indexable(X), places)


def percentile(values, weight, q):
    """Compute the percentile of weighted values, as if they were so often there."""
    order = np.argsort(values, kind="stable")
    values, ends = values[order], np.cumsum(weight[order])
    place = max(ends[-1] - 1, 0.0) * q / 100
    below, above = (
        values[min(np.searchsorted(ends, at, side="right"), len(values) - 1)]
        for at in (np.floor(place), np.floor(place) + 1)
    )
    part = place - np.floor(place)
    return below if part == 0 else below + part * (above - below)
