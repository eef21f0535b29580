"""SampleMethods: samples that are drawn from a variational autoencoder."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from skae._data.quantiles import MOST_QUANTILES, N_QUANTILES, quantiles_of, with_quantiles
from skae._data.rows import float_dtype
from skae._data.stored import rows_of
from skae._estimator.checks import MOST_VALUES
from skae._model.mixture import Mixture
from skae._utils.sklearn import contained
from skae._utils.typing import RandomState
from skae._utils.warnings import with_numpy_defaults

#: The seed of the draws that the distributions of codes and columns are computed from.
SAMPLES_SEED = 20153

#: The number of draws of the model that its columns' quantiles are computed from.
N_DRAWS = 10_000

#: The least number of draws that the distribution of codes is fitted to.
LEAST_CODES = 1_000

#: How often numbers outside of the range of `fit` are drawn again, before they are clipped.
REDRAWS = 20


class SampleMethods:
    """The methods that draw from the likelihood around decoded codes."""

    @with_numpy_defaults
    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        add_noise: bool = True,
        prior: Literal["normal", "codes"] = "normal",
        margins: Literal["model", "data"] = "model",
    ) -> Any:
        """Draw samples from the model: from the density of which `score_samples` is one.

        Parameters
        ----------
        n_samples : int, default=1
            The number of samples to draw.

        random_state : int, RandomState instance or None, default=None
            Determines the draws. Pass an int for reproducible results across calls.

        add_noise : bool, default=True
            Whether to draw each sample from its distribution around the decoder's mean of
            a code drawn from the prior; otherwise the mean is returned. In a mixed table,
            drawn numbers stay in the range of the training samples, and are whole where
            those were.

        prior : {"normal", "codes"}, default="normal"
            The distribution of the codes. "normal": the standard normal prior of the
            model. "codes": that of the training samples' codes, the aggregate posterior
            [8]_, as a mixture of 1 to 10 normals. It is fitted at the first call to a
            draw from each of `posteriors_`. Normals are added while they raise the
            likelihood of held-out draws by more than its standard error. Codes that have
            clusters, or that training has moved away from the prior, need it.

        margins : {"model", "data"}, default="model"
            The distribution of each column of numbers. "model": as the model has it.
            "data": that of the training samples, by their `quantiles_`. The rank of a
            value among 10,000 draws of the model is kept, as in a copula [9]_, so that
            exact zeros, bounds and several modes of a column come back. Classes and
            binary features stay as drawn.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_samples, ...), or frame
            Samples of the shape that `fit` was given; a frame with its columns and dtypes
            if it was a mixed table, and a DataFrame if `set_output` asks for DataFrames.
            No value is missing.

        References
        ----------
        .. [8] Tomczak, J. M. and Welling, M. (2018). VAE with a VampPrior. International
           Conference on Artificial Intelligence and Statistics.

        .. [9] Sklar, A. (1959). Fonctions de répartition à n dimensions et leurs marges.
           Publications de l'Institut de Statistique de l'Université de Paris 8, 229-231.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or not 1 <= n_samples <= self._most_rows:
            raise ValueError(
                f"n_samples must be an int from 1 to {self._most_rows}, of which the rows"
                f" fit into memory. Got {n_samples!r}."
            )
        _check_option("prior", prior, ("normal", "codes"))
        _check_option("margins", margins, ("model", "data"))
        if margins == "data":
            self._check_quantiles()
        rng = check_random_state(random_state)
        mean = self._decoded(n_samples, rng, prior)
        X = mean.reshape(n_samples, -1)
        if margins == "data":
            X = self._with_margins_of_data(X, rng, prior, add_noise)
        elif add_noise:
            X = self._noisy(X, rng)
        return contained(self, X.reshape(mean.shape), None)

    @property
    def _most_rows(self):
        """Return the maximum number of rows of a matrix."""
        return MOST_VALUES // max(self._last_state.specification.n_features, 1)

    def _decoded(self, n_samples, rng, prior):
        """Decode draws of the prior."""
        if prior == "codes":
            Z = self._density_of_codes.sample(n_samples, rng)
        else:
            Z = rng.standard_normal((n_samples, self.n_components_))
        Z = Z.astype(self.mean_.dtype)
        return self._fitted(Z.dtype).decode(Z)

    @property
    def _density_of_codes(self):
        """Return the mixture of normals of the training samples' codes."""
        built = self._built
        if "density of codes" not in built:
            posteriors = getattr(self, "posteriors_", None)
            if posteriors is None:
                raise _too_old("prior='codes'", "posteriors_")
            rng = np.random.default_rng(SAMPLES_SEED)
            n_draws = -(-LEAST_CODES // len(posteriors))
            mean, std = rng.permutation(posteriors).astype(np.float64).swapaxes(0, 1)
            mean, std = (np.repeat(part, n_draws, axis=0) for part in (mean, std))
            Z = mean + std * rng.standard_normal(mean.shape)
            built["density of codes"] = Mixture.of(Z, SAMPLES_SEED)
        return built["density of codes"]

    def _check_quantiles(self):
        """Raise if there are no quantiles of the training samples."""
        try:
            missing = self.quantiles_ is None
        except AttributeError:
            raise _too_old("margins='data'", "quantiles_") from None
        if missing:
            most = MOST_QUANTILES // N_QUANTILES
            raise ValueError(
                f"margins='data' needs quantiles, which `fit` stores of at most {most}"
                " columns of numbers. Use margins='model'."
            )

    def _with_margins_of_data(self, mean, rng, prior, add_noise):
        """Draw rows whose numbers have the distributions of the training samples."""
        numbers = self._likelihood.numbers(mean.shape[1])
        X = self._unbounded(mean, rng) if add_noise else mean.copy()
        key = "margins", prior, bool(add_noise)
        if key not in self._built:
            own = np.random.RandomState(SAMPLES_SEED)
            n_draws = min(N_DRAWS, self._most_rows)
            drawn = self._decoded(n_draws, own, prior).reshape(n_draws, -1)
            drawn = self._unbounded(drawn, own) if add_noise else drawn
            self._built[key] = quantiles_of(drawn[:, numbers])
        X[:, numbers] = with_quantiles(
            X[:, numbers], self._built[key], self.quantiles_, rng
        )
        return X if self.table_ is None else self.table_.rounded(X)

    def _unbounded(self, mean, rng):
        """Draw rows around their means."""
        scale = self._state.coordinates.scale
        return self._likelihood.sample(mean, self._noise, scale, rng)

    def _draws_of_missing(self, X, n_draws, rng):
        """Yield checked rows with draws, given what is there, in place of NaN."""
        self._fitted(float_dtype(X)).specification.objective.check(
            rows_of(X), self.likelihood
        )
        complete = np.where(np.isnan(X), self._expected(X), X)
        return (self._drawn(X, complete, rng) for _ in range(n_draws))

    def _drawn(self, X, imputed, rng):
        """Draw the missing values of rows, given the others and their expectations."""
        holes = np.flatnonzero(np.isnan(X).any(axis=1))
        found, model = X.copy(), self._fitted(float_dtype(X))
        n_codes = int(self.n_importance_samples)
        for batch in gen_batches(len(holes), max(1, model.batch_rows // n_codes)):
            rows, complete = X[holes[batch]], imputed[holes[batch]]
            noise = rng.standard_normal((n_codes, self.n_components_)).astype(X.dtype)
            mean = model.drawn(rows, complete, noise, rng)
            mean = self._likelihood.like(rows, mean.reshape(rows.shape))
            found[holes[batch]] = np.where(np.isnan(rows), self._noisy(mean, rng), rows)
        return found

    def _noisy(self, mean, rng):
        """Draw rows around their means, in a mixed table within the range of `fit`."""
        X = self._unbounded(mean, rng)
        if self.table_ is None:
            return X
        low, high = self.table_.limits
        for _ in range(REDRAWS):
            out = (low > X) | (high < X)
            if not out.any():
                break
            X[out] = self._unbounded(mean, rng)[out]
        return self.table_.rounded(np.clip(X, low, high).astype(X.dtype, copy=False))


def _check_option(name, given, options):
    if not isinstance(given, str) or given not in options:
        one, other = options
        raise ValueError(f"{name} must be {one!r} or {other!r}. Got {given!r}.")


def _too_old(what, attribute):
    return ValueError(
        f"{what} needs {attribute}, which this model lacks: it was saved by an earlier"
        " version of skae. Fit it again."
    )
