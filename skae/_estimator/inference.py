"""FittedMethods: inference with a fitted estimator."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skae._data.categories import known
from skae._data.dask import lazily
from skae._data.rows import float_dtype
from skae._data.stored import rows_of
from skae._data.validation import check_beside, check_rows
from skae._utils.keras import import_keras
from skae._utils.sklearn import check_sample_weight, in_container
from skae._utils.typing import MatrixLike, RandomState

#: The least probability of a class in errors: the smallest that float32 tells from zero.
LEAST_LIKELY = float(np.finfo(np.float32).tiny)


class FittedMethods(TransformerMixin):
    """The methods that read `_state`, each for rows of any kind and any number.

    `TransformerMixin` implements `set_output` in the class that defines `transform`.
    """

    def _check_rows(self, X, network=None, *, reset=False):
        network = self.network_ if network is None else network
        return check_rows(self, X, network, reset)

    def _known_rows(self, X):
        """Return checked rows, with NaN for unknown classes, and their shape."""
        X, row_shape = self._check_rows(X)
        return self._known(X)[0], row_shape

    def _known(self, X):
        """Return checked rows, with NaN for unknown classes, and a mask of these."""
        if self.table_ is not None:  # which has no unknown classes
            return X, None
        groups = self._objective_of_fit.likelihood.groups(X.shape[1])
        if not groups:
            return X, None
        if sparse.issparse(X):
            X = X.toarray()
        elif not isinstance(X, np.ndarray):
            X = X[:]
        names, objective = self._feature_names(rows_of(X)), self._objective_of_fit
        found, unknown = known(X, groups, names, objective.parameter)
        return (found if self._last_state.completes else X), unknown

    @property
    def _objective_of_fit(self):
        return self._last_state.specification.objective

    def _errors_and_codes(self, X):
        """Return squared reconstruction errors, on each row's own scale, and codes.

        Errors of missing values are NaN. A class that was never seen counts as one more
        column, in which the row has 1 and the model expects 0: its error is divided
        equally among the columns of the group. In a mixed table there is an error for
        each of its columns: of a number in units of its variance, of a class minus the
        logarithm of its probability.
        """
        X, _ = self._check_rows(X)
        if self.table_ is not None:
            return self._errors_of_table(X)
        X, unknown = self._known(X)
        codes, model = self._encoded(X), self._fitted(float_dtype(X))
        rows = X if isinstance(X, np.ndarray) else rows_of(X).dense(slice(None))
        output = model.reconstructed(rows, codes)
        squares = np.square(np.subtract(rows, output, dtype=np.float64))
        if unknown is not None:
            groups = self._objective_of_fit.likelihood.groups(X.shape[1])
            for columns, here in zip(groups, unknown.T, strict=True):
                own = (np.square(output[:, columns]).sum(axis=1) + 1) / len(columns)
                squares[np.ix_(here, columns)] = own[here, None]
        return squares.reshape(-1, *self._last_state.specification.row_shape), codes

    def _errors_of_table(self, X):
        """Return errors of the columns of a mixed table, NaN where missing, and codes."""
        table, codes = self.table_, self._encoded(X)
        output = self._fitted(float_dtype(X)).reconstructed(X, codes)
        errors = np.subtract(X, output, dtype=np.float64)
        errors = np.square(errors / self._last_state.coordinates.scale)
        for columns in table.classes:
            likely = X[:, columns] * output[:, columns]
            if len(columns) == 1:
                likely += (1 - X[:, columns]) * (1 - output[:, columns])
            likely = likely.sum(axis=1, dtype=np.float64)
            errors[:, columns] = -np.log(np.maximum(likely, LEAST_LIKELY))[:, None]
            errors[:, columns] /= len(columns)
        return np.where(table.absent(X), np.nan, table.by_column(errors)), codes

    @lazily
    def transform(self, X: MatrixLike) -> np.ndarray:
        """Encode the samples of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            The code of each sample, in float32 if X is float32 and otherwise in float64.
        """
        check_is_fitted(self)
        X, _ = self._known_rows(X)
        return self._encoded(X)

    @lazily
    @in_container
    def inverse_transform(self, X: MatrixLike) -> Any:
        """Decode codes to samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features) or (n_samples, ...)
            Samples of the shape that `fit` was given; a DataFrame with its columns if
            `set_output` asks for DataFrames.

        Raises
        ------
        ValueError
            If the number of columns of X is not the number of components.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if X.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__}."
                f"inverse_transform is expecting {self.n_components_} features as input:"
                " one for each component."
            )
        return self._fitted(float_dtype(X)).decode(X)

    @lazily
    @in_container
    def reconstruct(self, X: MatrixLike) -> Any:
        """Encode X and decode the codes: ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        Returns
        -------
        X_reconstructed : ndarray of the shape of X
            The reconstructed samples; a DataFrame with the columns of X if `set_output`
            asks for DataFrames.
        """
        check_is_fitted(self)
        X, _ = self._known_rows(X)
        return self._fitted(float_dtype(X)).decode(self._encoded(X))

    @lazily
    @in_container
    def impute(
        self,
        X: MatrixLike,
        *,
        n_draws: int | None = None,
        random_state: RandomState = None,
    ) -> Any:
        """Replace missing values with the model's expectation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Samples of the shape that `fit` was given.

        n_draws : None
            Draws need a density: they are for :meth:`skae.VAETransformer.impute`.

        random_state : int, RandomState instance or None, default=None
            Not used here.

        Returns
        -------
        X_imputed : ndarray or frame of the shape of X
            X without missing values; other values are unchanged. A DataFrame with the
            columns of X if `set_output` asks for DataFrames, and a frame like X if it is a
            mixed table.
        """
        check_is_fitted(self)
        given, (X, row_shape) = X, self._known_rows(X)
        if sparse.issparse(X):
            raise ValueError(
                "impute needs dense rows: in sparse ones nothing is missing."
            )
        if n_draws is None:
            return self._imputed(given, X, self._expected(X), row_shape)
        if isinstance(n_draws, bool) or not isinstance(n_draws, Integral) or n_draws < 1:
            raise ValueError(f"n_draws must be None or an int from 1. Got {n_draws!r}.")
        rng = check_random_state(random_state)
        draws = self._draws_of_missing(X, n_draws, rng)
        return [self._imputed(given, X, drawn, row_shape) for drawn in draws]

    def _imputed(self, given, X, expected, row_shape):
        """Put expected values, or draws, in place of what is missing."""
        if self.table_ is None:
            return np.where(np.isnan(X), expected, X).reshape(-1, *row_shape)
        expected = np.clip(expected, *self.table_.limits)
        return self.table_.filled(given, np.where(np.isnan(X), expected, X))

    def _draws_of_missing(self, X, n_draws, rng):
        raise ValueError(
            f"n_draws needs a density, from which missing values are drawn, and"
            f" {type(self).__name__} has none. Use VAETransformer, or n_draws=None."
        )

    def _expected(self, X):
        """Return the expectation of each value of checked rows, missing or not."""
        return self._fitted(float_dtype(X)).reconstructed(X, self._encoded(X))

    @lazily
    def score_samples(self, X: MatrixLike) -> np.ndarray:
        """Return minus the loss of each sample: how well it is reconstructed.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the loss, summed over features, in the units of `history_`: with the
            default, squared units of X. Higher is better.
        """
        check_is_fitted(self)
        return self._minus_loss(X)

    def score(
        self,
        X: MatrixLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the mean of `score_samples` over the samples of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. None is 1.

        Returns
        -------
        score : float
            Higher is better.
        """
        return self._mean(np.asarray(self.score_samples(X)), sample_weight)

    def _mean(self, scores, sample_weight):
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, scores, dtype=np.float64, ensure_non_negative=True
            )
        return float(np.average(scores, weights=sample_weight))

    def _losses(self, X, target):
        """Yield the indices of a batch of rows and the loss of each value, 0 where NaN."""
        objective = self._objective_of_fit
        model, rows, wanted = self._fitted(float_dtype(X)), rows_of(X), rows_of(target)
        for batch in rows.batches(model.batch_rows):
            seen = rows.dense(batch)
            given = seen if target is X else wanted.dense(batch)
            if objective.is_squared_error:
                output = model.reconstructed(given, self._encoded(seen))
                found = np.subtract(given, output, dtype=np.float64)
                np.square(found, out=found)
                found[np.isnan(found)] = 0.0
            else:
                found = model.losses(seen, given)
                if not np.isfinite(found).all():
                    self._encoded(seen)  # raises if X is too large for codes
            yield batch, found

    def _checked_pairs(self, X, X_clean):
        """Return checked rows, what they are compared with, unknown classes and a shape."""
        X, row_shape = self._check_rows(X)
        X, unknown = self._known(X)
        if X_clean is None:
            return X, X, unknown, row_shape
        like = (X, row_shape, self.network_)
        target = check_beside(self, "X_clean", X_clean, *like, paired=True)
        return X, *self._known(target), row_shape

    def _minus_loss(self, X, X_clean=None):
        """Return minus the loss of each row."""
        X, target, unknown, _ = self._checked_pairs(X, X_clean)
        scores = np.empty(X.shape[0])
        for batch, losses in self._losses(X, target):
            scores[batch] = -losses.sum(axis=1)
        if unknown is not None:
            scores += self._log_unknown * unknown.sum(axis=1)
        return scores

    def _minus_loss_of_features(self, X, X_clean=None):
        """Return minus the loss of each value, in a mixed table of each of its columns."""
        X, target, unknown, row_shape = self._checked_pairs(X, X_clean)
        scores = np.empty(X.shape)
        for batch, losses in self._losses(X, target):
            scores[batch] = -losses
        if self.table_ is not None:
            return self.table_.by_column(scores)
        if unknown is not None:
            self._add_unknown(scores, unknown)
        return scores.reshape(-1, *row_shape)

    def _add_unknown(self, scores, unknown):
        """Score classes that were not seen, each in equal parts by its columns."""
        groups = self._objective_of_fit.likelihood.groups(scores.shape[1])
        for columns, here in zip(groups, unknown.T, strict=True):
            scores[np.ix_(here, columns)] = self._log_unknown / len(columns)

    @property
    def _log_unknown(self):
        """Return the log-probability of a class that was not seen in `fit`.

        By Laplace's rule of succession it is one over the number of samples plus two.
        """
        return -math.log(self.n_samples_ + 2)

    def _encoded(self, X):
        """Return the codes of checked rows."""
        dtype = float_dtype(X)
        codes = self._fitted(dtype).encode(X)
        if not np.isfinite(codes).all():
            raise ValueError(
                f"X's values are too large: in {dtype} codes of them are not finite. Scale"
                " X as the rows that the model was fitted to."
            )
        return codes

    def _fitted(self, dtype):
        """Return the compiled model that encodes and decodes rows of this dtype."""
        built = self._built  # before the state, since another thread may fit now
        if dtype not in built:
            import_keras()
            from skae._backend.pool import Fitted

            state = self._state
            built[dtype] = Fitted(
                state.specification, state.weights, state.coordinates, dtype
            )
        return built[dtype]

    def _pca_loss(self, X):
        """Return the loss of the linear model of X on X, in the units of `history_`."""
        objective = self._state.specification.objective
        loss = objective.of_pca(rows_of(X), self.n_components_)
        if loss is None:
            given = f"{objective.parameter}={getattr(self, objective.parameter)!r}"
            raise ValueError(f"PCA has no loss that compares with {given}: leave X out.")
        return loss
