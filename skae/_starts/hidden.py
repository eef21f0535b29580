"""Choose a linear model by how well it imputes values that are hidden from it."""

from dataclasses import dataclass

import numpy as np

from skae._data.rows import Rows
from skae._starts.em import factors_of, pca_of
from skae._starts.imputation import LinearGaussian
from skae._starts.linear import ppca_start

#: The share of the values of a column that are hidden, the number of values that are
#: enough to judge by, and the share that may be hidden to have them.
SHARE, ENOUGH, MOST_SHARE = 0.1, 50, 0.2

#: Numbers of components to choose from, as shares of the columns, and at most.
SHARES, MOST_COMPONENTS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95), 40

#: The error, relative to the least, up to which models are near the best, and the number
#: of them that is enough.
NEAR, ENOUGH_MODELS = 1.1, 3

#: The relative changes at which EM ends for a choice and after it, and the rows that the
#: choice is based on.
ROUGHLY, NEARLY, ROWS = 1e-3, 1e-4, 2_000


@dataclass(frozen=True)
class Hidden:
    """Rows from which values are hidden, to measure how well these are imputed.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows, with NaN for missing values.

    cells : ndarray of bool of shape (n_samples, n_features)
        The hidden values.

    places : list of ndarray of int
        The features of each column: several for a category.
    """

    X: np.ndarray
    cells: np.ndarray
    places: list

    @classmethod
    def of(cls, X, places, rng):
        """Hide a tenth of the values of each column, more if these are few."""
        there = ~np.isnan(X)
        n_there = sum(there[:, of[0]].sum() for of in places)
        share = np.clip(ENOUGH / max(n_there, 1), SHARE, MOST_SHARE)
        cells = np.zeros(X.shape, bool)
        for of in places:
            rows = rng.permutation(np.flatnonzero(there[:, of].all(axis=1)))
            cells[np.ix_(rows[: round(share * len(rows))], of)] = True
        return cls(X, cells, places)

    @property
    def rows(self):
        """The rows, with NaN for hidden values too."""
        return np.where(self.cells, np.nan, self.X)

    def some(self, n_rows):
        """Return about so many of the rows, spread evenly."""
        spread = slice(None, None, max(1, len(self.X) // n_rows))
        return Hidden(self.X[spread], self.cells[spread], self.places), spread

    def error(self, filled):
        """Compute the mean over columns of squared error by variance; NaN of no values."""
        off = np.where(self.cells, filled - self.X, 0.0) ** 2
        variance, count = np.nanvar(self.X, axis=0), self.cells.sum(axis=0)
        rates = [
            off[:, of].sum() / count[of[0]] / variance[of].sum()
            for of in self.places
            if count[of[0]] and variance[of].sum() > 0
        ]
        return float(np.mean(rates)) if rates else np.nan


def mean_model(rows):
    """Make the model that imputes the mean."""
    return LinearGaussian(rows.mean, np.zeros((1, rows.n_features)), rows.deviation**2)


def ppca_model(rows, n_components, start, settled):
    """Fit probabilistic PCA."""
    pca = pca_of(rows, n_components, start, settled)
    return ppca_start(pca, n_components).linear_model


def factor_model(rows, n_components, start, settled):
    """Fit factor analysis."""
    return factors_of(rows, n_components, 1.0, start, settled).linear_model


#: The linear models to choose from, by the likelihood that starts there.
MODELS = {"gaussian": ppca_model, "gaussian_diag": factor_model}


def sizes(n_samples, n_features):
    """Return numbers of components to choose from, in order."""
    most = min(n_features - 1, (n_samples - 1) // 3, MOST_COMPONENTS)
    shares = (max(1, round(share * n_features)) for share in SHARES)
    return sorted({size for size in shares if size <= most} or {most} - {0, -1})


@dataclass(frozen=True)
class Candidate:
    """A linear model that was fitted to the rows without hidden values.

    Parameters
    ----------
    error : float
        The error of hidden values; NaN if no value could be hidden.

    likelihood : str
        One of `MODELS`.

    n_components : int
    linear_model : LinearGaussian
    """

    error: float
    likelihood: str
    n_components: int
    linear_model: LinearGaussian

    def fitted(self, rows):
        """Fit the same model to other rows, from where it is."""
        fit = MODELS[self.likelihood]
        return fit(rows, self.n_components, self.linear_model, NEARLY)


def choose(hidden, weight, clipped):
    """Choose likelihoods and numbers of components by hidden values.

    Parameters
    ----------
    hidden : Hidden
    weight : ndarray of shape (n_samples,) or None
    clipped : callable
        From imputed rows to rows whose numbers are in the range of each column.

    Returns
    -------
    candidates : list of Candidate
        Those whose error is near the least, which is the first one's; none if the mean of
        each column is all that can be imputed.
    """
    hidden, spread = hidden.some(ROWS)
    weight = None if weight is None else weight[spread]
    rows = Rows.weighted(hidden.rows, None, weight)
    found, last = [], dict.fromkeys(MODELS)
    for size in sizes(len(rows), rows.n_features):
        for likelihood, fit in MODELS.items():
            start = last[likelihood] or last["gaussian"]
            last[likelihood] = model = fit(rows, size, start, ROUGHLY)
            error = hidden.error(clipped(model.filled(hidden.rows)))
            found.append(Candidate(error, likelihood, size, model))
    judged = [one for one in found if np.isfinite(one.error)]
    judged.sort(key=lambda candidate: candidate.error)
    near = [one for one in judged if one.error <= NEAR * judged[0].error]
    return near[:ENOUGH_MODELS] or found[:1]
