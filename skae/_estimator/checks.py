"""FitChecks: checks of the arguments of fit against the parameters."""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
from scipy import sparse

from skae._data.categories import known_rows
from skae._data.dask import is_lazy, table_of
from skae._data.rows import Rows
from skae._data.series import padded
from skae._data.sources import is_stored
from skae._data.stored import rows_of
from skae._data.table import Table
from skae._data.validation import check_beside, check_reaches, check_weight
from skae._model.graph import Specification
from skae._model.objectives import Reconstruction
from skae._starts.em import pca_of
from skae._starts.moments import KEPT
from skae._utils.sklearn import num_samples, safe_indexing
from skae.likelihoods._names import by_name, by_table
from skae.networks import Network
from skae.networks._dense import network_of

#: The largest number of values in a matrix.
MOST_VALUES = 2**31


@dataclass(frozen=True)
class Given:
    """The checked arguments of a fit: rows, validation rows, network and objective."""

    rows: Rows
    held_out: Rows | None
    row_shape: tuple
    network: Network
    objective: Reconstruction


class FitChecks:
    """The checks of a fit, before any training."""

    def _given(
        self,
        X,
        sample_weight,
        before,
        X_clean=None,
        X_val=None,
        X_val_clean=None,
        streams=False,
    ):
        """Check the arguments of `fit`, or of `partial_fit`, which `streams`."""
        network = network_of(self.network)
        network._validate_params()
        if before is None:
            X = padded(X, network)
        frame = X  # column selectors need it
        if before is None:
            self._read_table(X, X_clean, sample_weight, streams)
        X, row_shape = self._check_rows(X, network, reset=before is None)
        network = network._of_rows(row_shape)
        like = (X, row_shape, network)
        target = check_beside(self, "X_clean", X_clean, *like, paired=True)
        weight = check_weight(self, sample_weight, X)
        rows = rows_of(X, target, weight, network)
        rows.given = frame
        held_out = self._held_out(X_val, X_val_clean, like)
        check_reaches(rows, held_out, before)
        if streams and before is not None and self.table_ is not None:
            self._check_call(rows)
        objective, rows, held_out = self._checked_objective(rows, held_out)
        if self.table_ is not None:
            objective = self._balanced(objective, rows, before)
        return Given(rows, held_out, row_shape, network, objective)

    def _read_table(self, X, X_clean, sample_weight, streams):
        """Find the kinds of the columns of X; None if it holds nothing but numbers.

        Samples of weight 0 have no levels.
        """
        chosen = self.categorical_features
        if sparse.issparse(X) or is_stored(X):
            if chosen is not None and not isinstance(chosen, str):
                raise ValueError(
                    f"categorical_features={chosen!r} needs rows in memory that are not"
                    " sparse, or a frame."
                )
            self.table_ = None
            return
        if is_lazy(X):
            self.table_ = table_of(X, chosen) if hasattr(X, "divisions") else None
        else:
            self.table_ = Table.of(X, chosen, declared=streams)
            weight = np.asarray(1 if sample_weight is None else sample_weight).ravel()
            fits = self.table_ is not None and len(weight) == num_samples(X)
            if fits and not weight.all():
                X = safe_indexing(X, np.flatnonzero(weight))
                self.table_ = Table.of(X, chosen, declared=streams)
        if self.table_ is not None and X_clean is not None:
            of_clean = Table.of(X_clean, chosen, declared=streams)
            self.table_ = self.table_.joined(of_clean)
        if self.table_ is not None and self.table_.empty:
            raise ValueError(
                f"X has categories without any value: {self.table_.empty}. Drop them."
            )

    def _check_call(self, rows):
        """Raise if the closed form of a mixed table needs rows that were not stored."""
        n_rows = len(rows) + self.n_samples_
        if not self.max_iter and n_rows > KEPT:
            raise ValueError(
                "partial_fit with max_iter=0 needs all samples of a mixed table, of which"
                f" it stores {KEPT}. Got {n_rows:g}: use fit, or train (max_iter)."
            )

    def _balanced(self, objective, rows, before):
        """Let each column of a mixed table count alike, as in the first fit."""
        if objective.parameter != "loss":
            return objective
        if before is not None:
            balance = before.specification.objective.balance
            return replace(objective, balance=balance)
        return objective.balanced(rows.wanted)

    def _checked_objective(self, rows, held_out):
        """Return the objective, and rows in its domain, with NaN for unknown classes."""
        objective, names = self._objective(rows, False), self._feature_names(rows)
        given, several = getattr(self, objective.parameter), []
        for name, some in (("X", rows), ("X_val", held_out)):
            if some is not None:
                name = name if some.target is None else f"{name}_clean"
                objective.check(some.wanted, given, name)
                if self.table_ is None:
                    some = known_rows(objective, some, names)
            several.append(some)
        rows, held_out = several
        all_rows = [some for some in several if some is not None]
        all_rows += [some.target for some in all_rows if some.target]
        missing = rows.series or any(some.has_nan for some in all_rows)
        return replace(objective, missing=missing), rows, held_out

    def _feature_names(self, rows):
        if self.table_ is not None:
            return self.table_.names
        return getattr(self, "feature_names_in_", np.arange(rows.n_features))

    def _held_out(self, X_val, X_val_clean, like):
        """Check the validation rows that the user passes; None without any."""
        if X_val is None:
            if X_val_clean is not None:
                raise ValueError("X_val_clean needs X_val, the noisy rows. Got None.")
            return None
        if not self.early_stopping:
            raise ValueError(
                "X_val is what early stopping looks at, but early_stopping=False."
            )
        X_val = check_beside(self, "X_val", X_val, *like)
        like = (X_val, *like[1:])
        target = check_beside(self, "X_val_clean", X_val_clean, *like, paired=True)
        return rows_of(X_val, target, None, like[2])

    def _by_name(self, names, parameter, rows):
        """Make the loss or likelihood of a parameter, by column if it is a list."""
        given = getattr(self, parameter)
        if self.table_ is not None:
            return by_table(given, names, self.table_, parameter, rows.given)
        columns = getattr(self, "feature_names_in_", None)
        frame = rows.given
        return by_name(given, names, rows.n_features, columns, parameter, frame)

    def _specification(self, given, seed, before):
        """Specify the graph; raise if this fit continues one of another graph."""
        specification = Specification(
            network=given.network,
            objective=given.objective,
            row_shape=given.row_shape,
            n_components=self._code_size(given, before),
            code_activation=self.code_activation,
            linear=self._starts_linear(),
            seed=seed,
        )
        if before is not None:
            self._check_same(specification, before.specification)
        return specification

    def _check_same(self, specification, before):
        """Raise if the earlier fit has another model; missing values may differ."""
        missing = specification.objective.missing
        before = replace(before, objective=replace(before.objective, missing=missing))
        if specification != before:
            raise ValueError(
                "warm_start and partial_fit go on from the last fit, but what shapes the"
                " model has changed since: network, n_components, code_activation, loss,"
                " init, or whether X_clean is given. Fit a clone, or set it back."
            )

    def _starts_linear(self):
        """Decide whether a linear path runs next to the network."""
        obstacle = None
        if self.n_components is None:
            obstacle = "n_components=None, whose code is the network's own features"
        elif self.code_activation != "linear":
            obstacle = f"code_activation={self.code_activation!r}"
        named = isinstance(self.init, str)
        if obstacle is not None and (not named or self.init == "linear"):
            init = "init='linear'" if named else "init, a fitted transformer,"
            raise ValueError(
                f"{init} needs a dense, linear code (n_components a number and"
                f" code_activation='linear'), but got {obstacle}. Use init='auto' or"
                " init='random'."
            )
        return obstacle is None and (not named or self.init != "random")

    def _code_size(self, given, before):
        """Return the number of components to build; None leaves it to the network."""
        if self.n_components is None:
            return None
        rows = given.rows
        if isinstance(self.n_components, Integral):
            self._check_room(rows)
            return int(self.n_components)
        if before is not None:
            return self.n_components_
        widths = given.objective.likelihood.widths(rows)
        if widths is not None:
            rows = rows.few if rows.is_stored else rows
            rows = rows.replaced(np.asarray(rows.array, np.float64) / widths)
        return len(pca_of(rows, self.n_components).components_)

    def _check_room(self, rows):
        """Raise if the weights or the rotation of the code do not fit into memory."""
        size = int(self.n_components)
        values = size * max(size, rows.n_features)
        if size > rows.n_features and values > MOST_VALUES:
            raise ValueError(
                f"n_components must be an int whose matrices fit into memory. Got {size},"
                f" for {rows.n_features} features: {values * 8 / 2**30:.3g} GiB each."
            )
