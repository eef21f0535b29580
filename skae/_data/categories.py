"""Categories: groups of one-hot columns, and rows of unknown class."""

import numpy as np
from scipy import sparse

#: The largest difference from 1 of a sum of fractions that counts as rounding.
ONE_HOT = 1e-3

#: The largest fraction of the rows of a fit that may have none of a group's classes.
UNKNOWN = 0.05


def known_rows(objective, rows, names):
    """Set the groups of unknown classes in the rows of a fit to NaN.

    Raises
    ------
    ValueError
        If a group is not one-hot; the message names its columns.
    """
    groups = objective.likelihood.groups(rows.n_features)
    if not groups:
        return rows
    if rows.target is not None:
        target = known_rows(objective, rows.target, names)
        return rows if target is rows.target else rows.with_target(target)
    if rows.is_stored:
        rows.X.total(_check_block_of_groups, groups, names, objective.parameter)
        return rows
    X = rows.dense(slice(None)) if sparse.issparse(rows.X) else rows.array
    found, unknown = known(X, groups, names, objective.parameter)
    for columns, share in zip(groups, unknown.mean(axis=0), strict=True):
        if share > UNKNOWN:
            raise ValueError(
                f"{_group(names, columns, objective.parameter)} must be one-hot, but"
                f" {share:.0%} of the rows have none of its classes. Encode each class"
                " (OneHotEncoder with drop=None), and rows without a class as NaN."
            )
    return rows if found is X else rows.replaced(found)


def _group(names, columns, parameter):
    """Name a group of columns in an error message."""
    return f"{parameter}: the categorical group of X's columns {names[columns[:10]].tolist()}"


def _check_block_of_groups(rows, weight, groups, names, parameter):
    found, _ = known(rows, groups, names, parameter)
    if found is not rows:
        raise ValueError(
            f"{_group(names, groups[0], parameter)} must have one class in a row, or NaN in"
            " all of its columns, in rows that are not in memory."
        )
    return 0


def known(X, groups, names, parameter):
    """Set groups of unknown classes to NaN.

    A row has one class in each group, or fractions of several that add up to 1, or NaN in
    all columns if the class is missing. If all columns are 0, the one-hot encoder did not
    know the class: it counts as missing. If some columns are NaN, the class is known if
    the other columns determine it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    groups : list of ndarray of int
        The columns of each group.

    names : ndarray of shape (n_features,)
    parameter : str
        The parameter that defines the groups.

    Returns
    -------
    X : ndarray of the shape of X
        X itself if nothing changes.

    unknown : ndarray of bool of shape (n_samples, n_groups)
        True where all columns of the group are 0.
    """
    unknown, found = np.zeros((len(X), len(groups)), bool), X
    for i, columns in enumerate(groups):
        part = X[:, columns]
        missing = np.isnan(part)
        total = np.where(missing, 0, part).sum(axis=1)
        some, every = missing.any(axis=1), missing.all(axis=1)
        sure = np.abs(total - 1) <= ONE_HOT
        unknown[:, i] = ~some & (np.abs(part).max(axis=1, initial=0) == 0)
        wrong = np.where(some, total > 1 + ONE_HOT, ~sure & ~unknown[:, i])
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{_group(names, columns, parameter)} must have one 1 in a row, or"
                f" fractions that add up to 1, or NaN: row {row} adds up to"
                f" {total[row]:.6g}. Give each group a pair of its own, with all of its"
                " classes."
            )
        lost = unknown[:, i] | (some & ~every & ~sure)
        said = some & ~every & sure
        if lost.any() or said.any():
            if found is X:
                found = np.array(X, np.result_type(X.dtype, np.float32))
            part = np.where(said[:, None] & missing, 0, part)
            found[:, columns] = np.where(lost[:, None], np.nan, part)
    return found, unknown
