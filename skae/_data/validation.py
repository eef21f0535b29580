"""Validation of the arguments of fit: rows, their targets, weights and held-out rows."""

import itertools

import numpy as np
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skae._data.blocks import Blocks
from skae._data.dask import as_array, blocks_of, encoded, is_lazy
from skae._data.rows import float_dtype
from skae._data.series import check_steps, padded
from skae._data.sources import in_memory, is_stored, unmasked
from skae._data.statistics import has_nan
from skae._utils.sklearn import (
    check_feature_names,
    check_n_features,
    check_sample_weight,
    get_feature_names,
    num_samples,
)

#: The dtypes of X that are accepted unchanged.
FLOATS = [np.float64, np.float32]
WHOLE = [np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.int32, np.int64]


def check_rows(estimator, X, network, reset):
    """Check X, and return it as flat rows of numbers with the original shape of a row.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Its number and names of features are set, or must match X.

    X : {array-like, sparse matrix} of shape (n_samples, ...)
    network : Network
    reset : bool
        Whether the estimator is fitted to X.
    """
    if estimator.table_ is not None:
        return _check_table(estimator, X, network, reset)
    X = in_memory(X)
    if not reset:
        shape = estimator._last_state.specification.row_shape
        X = padded(X, network, shape=shape)
        check_steps(X, network, shape)
    if getattr(getattr(X, "dtype", None), "names", None):
        raise TypeError(
            "X is a structured array, of records: pass its columns as a frame,"
            " pandas.DataFrame(X), or numpy.lib.recfunctions.structured_to_unstructured(X)."
        )
    if is_stored(X) or is_lazy(X):
        return _check_stored(estimator, X, network, reset)
    X = validate_data(
        estimator,
        X,
        accept_sparse="csr",
        dtype=FLOATS if sparse.issparse(X) else [*FLOATS, *WHOLE],
        order="C" if reset else None,
        allow_nd=True,
        ensure_all_finite="allow-nan",
        ensure_min_samples=2 if reset else 1,
        reset=reset,
    )
    row_shape = _row_shape(estimator, X, network, reset)
    check_size(X, "X")
    _check_missing(estimator, X, network, reset)
    return (X.reshape(X.shape[0], -1) if X.ndim > 2 else X), row_shape


def _check_table(estimator, X, network, reset, name="X"):
    """Check a mixed table, and return its encoded matrix with the shape of a row."""
    if network._row_shape is not None or network.allows_missing:
        raise ValueError(
            f"network={network!r} needs rows of values of one kind. Got a table with"
            " categories: use DenseNetwork, or encode it as numbers."
        )
    shown = getattr(X, "_meta", X) if is_lazy(X) else X
    check_feature_names(estimator, shown, reset=reset)
    check_n_features(estimator, shown, reset=reset)
    if is_lazy(X):
        return _check_lazy_table(estimator, X, network, reset, name)
    X = check_array(
        estimator.table_.encode(X),
        dtype=FLOATS,
        order="C",
        ensure_all_finite="allow-nan",
        ensure_min_samples=2 if reset else 1,
        ensure_min_features=0,
        estimator=estimator,
        input_name=name,
    )
    if not X.shape[1]:
        raise ValueError(f"{name} has no column with two different values.")
    check_size(X, name)
    _check_missing(estimator, X, network, reset or name != "X", name)
    return X, X.shape[1:]


def _check_lazy_table(estimator, X, network, reset, name):
    """Check a Dask frame of a mixed table, as blocks of its encoded matrix."""
    blocks = blocks_of(as_array(encoded(X, estimator.table_)))
    _check_length(estimator, blocks, reset)
    check_stored_values(estimator, blocks, network, reset, name)
    return blocks, tuple(blocks.shape[1:])


def _check_length(estimator, blocks, reset):
    """Raise if stored rows are too few."""
    least = 2 if reset else 1
    if len(blocks) < least:
        raise ValueError(
            f"Found X with {len(blocks)} sample(s) (shape={blocks.shape}) while a minimum"
            f" of {least} is required by {type(estimator).__name__}."
        )


def _check_axes(X, network):
    """Raise if the axes of rows are not in the network's order.

    Images with their channels first, and series with time last, have the number of values
    that the network takes, in another order.
    """
    wanted, given = network._row_shape, tuple(X.shape[1:])
    if wanted is None or len(wanted) != len(given) or wanted == given:
        return
    orders = itertools.permutations(range(len(given)))
    fits = [order for order in orders if tuple(given[i] for i in order) == wanted]
    remedy = ""
    if fits:
        order = (0, *(i + 1 for i in fits[0]))
        remedy = f" To put the axes in that order: X.transpose{order}."
    raise ValueError(
        f"X has rows of shape {given}, but network takes rows of shape {wanted}.{remedy}"
    )


def _row_shape(estimator, X, network, reset):
    """Return the shape of the rows of X; raise if it is not the shape of the fit."""
    if reset:
        _check_axes(X, network)
    row_shape = X.shape[1:] if reset else estimator._last_state.specification.row_shape
    if X.shape[1:] != row_shape:
        raise ValueError(
            f"X has rows of shape {X.shape[1:]}, but {type(estimator).__name__} was"
            f" fitted with rows of shape {row_shape}."
        )
    return row_shape


def _check_stored(estimator, X, network, reset):
    """Check an X that is not in memory, as `check_rows` does, by one pass over it."""
    names = getattr(X, "_meta", X) if hasattr(X, "divisions") else X
    check_feature_names(estimator, names, reset=reset)
    if hasattr(X, "divisions"):
        X = as_array(X)
    check_n_features(estimator, X, reset=reset)
    row_shape = tuple(_row_shape(estimator, X, network, reset))
    blocks = blocks_of(X)
    _check_length(estimator, blocks, reset)
    check_stored_values(estimator, blocks, network, reset)
    return blocks, row_shape


def imputes(network):
    """Check whether NaN is imputed, and is not the end of a series."""
    return not getattr(network, "allows_missing", False)


def check_stored_values(estimator, blocks, network, reset, name="X"):
    """Raise if stored rows have invalid values, by one pass over them."""
    survey = blocks.survey
    if blocks.dtype == np.float64:
        with np.errstate(over="ignore"):
            greatest = np.fmax(np.abs(survey.low), np.abs(survey.high))
            if not np.isfinite(len(blocks) * np.nansum(np.square(greatest))):
                raise _too_large(name, np.nanmax(greatest))
    if not survey.n_missing:
        return
    if network.allows_missing:
        blocks.total(_check_block_of_series, blocks.row_shape, name)
    else:
        _check_completes(estimator, reset, name)


def _check_block_of_series(rows, weight, row_shape, name):
    _check_series(rows.reshape(-1, *row_shape), name)
    return 0


def check_beside(estimator, name, beside, X, row_shape, network, *, paired=False):
    """Check rows that accompany X, and return them as flat rows; None if there are none.

    Parameters
    ----------
    estimator : BaseAutoencoder
    name : str
        The name of these rows.

    beside : {array-like, sparse matrix} of shape (n, *row_shape) or None
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        As `check_rows` returns it.

    row_shape : tuple
    network : Network
    paired : bool, default=False
        Whether there must be one for each row of X.

    Raises
    ------
    ValueError
        If their columns, shape or values do not match X.
    """
    if beside is None:
        return None
    if estimator.table_ is not None:
        beside = beside.compute() if is_lazy(beside) else beside
        beside, _ = _check_table(estimator, beside, network, False, name)
        _check_shape(beside, name, X, row_shape, paired)
        return beside.astype(float_dtype(X), copy=False)
    if paired and isinstance(X, Blocks):
        return _check_stored_pairs(estimator, name, beside, X, row_shape, network)
    beside = padded(beside, network, name, row_shape)
    beside = unmasked(beside[:]) if is_stored(beside) else in_memory(beside)
    names = get_feature_names(beside)
    own = getattr(estimator, "feature_names_in_", None)
    if names is not None and own is not None and list(names) != list(own):
        raise ValueError(
            f"{name} must have the columns of X, in their order: {list(own)}. Got"
            f" {list(names)}."
        )
    beside = check_array(
        beside,
        dtype=float_dtype(X),
        order="C",
        accept_sparse="csr",
        allow_nd=True,
        ensure_all_finite="allow-nan",
        estimator=estimator,
        input_name=name,
    )
    _check_shape(beside, name, X, row_shape, paired)
    check_size(beside, name)
    _check_missing(estimator, beside, network, reset=True, name=name)
    return beside.reshape(len(beside), -1) if beside.ndim > 2 else beside


def _check_shape(beside, name, X, row_shape, paired):
    n_rows = (X if paired else beside).shape[0]
    if tuple(beside.shape) != (n_rows, *row_shape):
        wanted = f"{(n_rows, *row_shape)}" if paired else f"(n, *{row_shape})"
        raise ValueError(
            f"{name} must have the shape of X, {wanted}. Got {beside.shape}."
        )


def _check_stored_pairs(estimator, name, beside, X, row_shape, network):
    """Check rows that are paired with stored rows, in the same blocks."""
    beside = beside if hasattr(beside, "shape") else np.asarray(beside)
    _check_shape(beside, name, X, row_shape, paired=True)
    blocks = blocks_of(beside, X.source.edges)
    check_stored_values(estimator, blocks, network, True, name)
    return blocks


def check_weight(estimator, sample_weight, X):
    """Check the weights of the rows of X, and return them in float64; None without any.

    Raises
    ------
    ValueError
        If the number of weights is not the number of rows, a weight is negative or not
        finite, or fewer than two weights are above zero.
    """
    if sample_weight is None:
        return None
    try:
        weight = check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
    except ValueError as error:
        raise ValueError(f"{type(estimator).__name__}.fit: {error}") from error
    if np.count_nonzero(weight) < 2:
        raise ValueError(
            f"{type(estimator).__name__}.fit needs at least two rows of X whose"
            f" sample_weight is above 0. Got {np.count_nonzero(weight)}."
        )
    return weight


#: The largest distance from the mean, in standard deviations of X, whose square training
#: in float32 can compute.
FAR = 1e15

#: The largest distance of a later call's mean from the first call's, in standard
#: deviations, without a warning.
DRIFT = 3.0


def check_size(X, name):
    """Raise if squares overflow in float64, which squares of float32 values never do."""
    values = X.data if sparse.issparse(X) else X
    if values.dtype != np.float64:
        return
    flat = values.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(flat @ flat) or np.isfinite(np.nansum(np.square(flat))):
            return
    raise _too_large(name, np.nanmax(np.abs(flat)))


def check_variance(variance):
    """Raise if the variance of rows is not finite."""
    if not np.isfinite(variance):
        raise ValueError(
            "X's values are too large: their variance is not finite. Scale X."
        )


def _too_large(name, greatest):
    return ValueError(
        f"{name}'s values are too large to be squared, up to {greatest:.3g}. Scale"
        f" {name}, for example with StandardScaler."
    )


def empty_features(estimator, rows):
    """Return a warning of features without any value; None if each has one."""
    if not rows.has_missing or not rows.empty.any():
        return None
    names = estimator._feature_names(rows)[rows.empty].tolist()
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return UserWarning(
        f"X has features without any value: {names[:10]}{more}. They are a constant 0 to"
        f" {type(estimator).__name__}, which imputes them so. Leave them out."
    )


def above_rank(specification, rows):
    """Return a warning of more components than samples or features, which PCA refuses.

    None if the code is meant to be larger: with noise, a penalty on the code, or without
    a linear initialisation.
    """
    if not specification.linear or specification.objective.is_for_overcomplete:
        return None
    size, most = specification.n_components, min(len(rows), rows.n_features)
    if size <= most:
        return None
    return UserWarning(
        f"n_components={size} is more than the rank that X can have, {most}: {len(rows)}"
        f" samples of {rows.n_features} features. The linear initialisation reconstructs X"
        " without the other components, and PCA refuses them. For a code that is to be"
        " larger than X, use DenoisingAutoencoder, activity_l1 or init='random'."
    )


#: The distance from the mean, in standard deviations, from which on a tail is heavy.
HEAVY = 30.0


def heavy_tails(table, rows):
    """Return a warning of numbers of a mixed table with heavy tails; None without any."""
    if table is None:
        return None
    far = np.maximum(rows.high - rows.mean, rows.mean - rows.low) / rows.deviation
    names = table.names[[i for i in table.numbers if far[i] > HEAVY]].tolist()
    if not names:
        return None
    return UserWarning(
        f"X has columns with values more than {HEAVY:g} standard deviations from their"
        f" mean: {names[:10]}. Such values determine what is learned: take logarithms"
        " (numpy.log1p), or clip them."
    )


def unknown_levels(table, X):
    """Return a warning of levels that the first fit has not seen; None without any."""
    unknown = {} if table is None else table.unknown(X)
    if not unknown:
        return None
    found = "; ".join(f"{name!r}: {levels}" for name, levels in unknown.items())
    return UserWarning(
        f"X has categories that the first call had not, {found}: they count as missing."
        " Declare all of them in the first call, by pandas.CategoricalDtype or polars.Enum."
    )


def maybe_cut(X, X_val=None, **beside):
    """Return a warning of validation rows that a search may have split like X."""
    if X_val is None or num_samples(X) != num_samples(X_val):
        return None
    return UserWarning(
        "X_val has as many rows as X. Where fit is called by a search or a"
        " cross-validation, such arguments are cut as X is: pass another number of rows."
    )


def check_reaches(rows, held_out, before):
    """Raise if rows are too far from the rows that standardise them."""
    if before is not None and not before.has_trained:
        before = None  # a stream that has not trained is standardised by all rows
    if before is not None:
        mean, scale = before.coordinates.mean, before.coordinates.scale
    else:
        mean, scale = rows.mean, rows.typical_scale or 1.0
    several = {"X": rows if before is not None else None, "X_clean": rows.target}
    if held_out is not None:
        several |= {"X_val": held_out, "X_val_clean": held_out.target}
    for name, some in several.items():
        if some is not None:
            check_reach(some, name, mean, scale)


def check_reach(rows, name, mean, scale):
    """Raise if rows are so far from the rows of the fit that their loss is not finite.

    Parameters
    ----------
    rows : Rows
    name : str
    mean, scale : ndarray of shape (n_features,) or float
        The mean and scale that standardise the rows.
    """
    far = np.maximum(np.abs(rows.low - mean), np.abs(rows.high - mean)) / scale
    far = np.where(rows.empty, 0, far).max()
    if far > FAR:
        raise ValueError(
            f"{name}'s values are too large: up to {far:.3g} standard deviations"
            f" of the rows that the model is fitted to from their mean. Scale {name} as"
            " those."
        )


def drift(rows, mean, scale):
    """Return a warning if the mean of rows is far from the first call's; else None."""
    there = ~rows.empty
    if not there.any():
        return None
    shift = np.square((rows.mean - mean) / scale)[there]
    shift = float(np.sqrt(shift.mean()))
    if shift <= DRIFT:
        return None
    return UserWarning(
        f"The mean of X is {shift:.1f} standard deviations off that of the first call, by"
        " which partial_fit standardises all rows: the model learns slowly from there. Pass"
        " rows in random order, or fit a clone."
    )


def _check_missing(estimator, X, network, reset, name="X"):
    """Raise if NaN has no meaning in X; the messages say why."""
    if sparse.issparse(X):
        if np.isnan(X.data).any():
            raise ValueError(
                f"{name} contains NaN in sparse rows, in which nothing can be missing:"
                " pass dense rows."
            )
        return
    if X.dtype.kind != "f" or not has_nan(X):
        return
    if network.allows_missing:
        _check_series(X, name)
    else:
        _check_completes(estimator, reset, name)


def _check_completes(estimator, reset, name):
    """Raise if the fitted model can't impute missing values."""
    if not reset and not estimator._last_state.completes:
        raise ValueError(
            f"{name} contains NaN, but {type(estimator).__name__} was fitted to complete"
            " rows without a linear initialisation (init='random', or a code that is not"
            " dense and linear), which is needed to impute it."
        )


def _check_series(X, name):
    """Raise if NaN is anywhere but in trailing steps of series."""
    missing = np.isnan(X)
    if X.ndim != 3:
        raise ValueError(
            f"{name} contains NaN. Series of different lengths, which end in steps of NaN,"
            " must have the shape (n_samples, timesteps, features). Got"
            f" {X.shape}."
        )
    step = missing.any(axis=2)
    if (step != missing.all(axis=2)).any() or (step[:, :-1] & ~step[:, 1:]).any():
        raise ValueError(
            f"{name} contains NaN where a series has not ended: only whole steps at its"
            " end may be NaN."
        )
    if step[:, 0].any():
        row = int(step[:, 0].argmax())
        raise ValueError(
            f"{name} contains a series without any step: row {row} is all NaN."
        )
