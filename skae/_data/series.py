"""Series: lists of series of different lengths, padded with NaN at their ends."""

import numpy as np


def padded(X, network, name="X", shape=None):
    """Pad the series of a list to an array; return anything else unchanged.

    Parameters
    ----------
    X : object
        A list of arrays of shape (n_steps, n_features) or (n_steps,) is a list of series
        if their lengths differ, or if the network reads series. Series that are plain
        numbers have one feature.

    network : Network
    name : str, default="X"
        The name of the argument, for messages.

    shape : tuple or None, default=None
        The shape of a sample that an estimator was fitted to; None in its fit, which
        takes the network's or else that of the longest series.

    Returns
    -------
    X : ndarray of shape (n_samples, timesteps, n_features) or X

    Raises
    ------
    ValueError
        If the network does not read series of different lengths, if a series is too long,
        or if their numbers of features differ.
    """
    series = _series(X)
    if series is None:
        return X
    lengths = [len(one) for one in series]
    least, most = min(lengths), max(lengths)
    fitted = shape is not None and len(shape) == 2
    if least == most and not (network.allows_missing and (series[0].ndim > 1 or fitted)):
        return X
    widths = sorted({one.shape[1] if one.ndim > 1 else 1 for one in series})
    if not network.allows_missing:
        raise ValueError(
            f"{name} is a list of samples of different lengths, from {least} to {most}."
            " Series of different lengths need a network that stops at the end of each:"
            f" network=SequenceNetwork(input_shape=({most}, {widths[0]})). Got {network!r}."
        )
    if len(widths) > 1:
        raise ValueError(
            f"{name} has series with different numbers of features: {widths}."
        )
    takes = shape if shape is not None else network._row_shape
    n_steps = takes[0] if takes is not None and len(takes) == 2 else most
    if most > n_steps:
        row = int(np.argmax(lengths))
        raise too_long(
            f"{name} has a series of {most} time steps, row {row}", n_steps, shape
        )
    dtype = np.result_type(*series, np.float32)
    found = np.full((len(series), n_steps, widths[0]), np.nan, dtype)
    for row, one in zip(found, series, strict=True):
        row[: len(one)] = one.reshape(len(one), -1)
    return found


def _series(X):
    """Return the samples of a list as arrays with time steps; None if they have none."""
    if not isinstance(X, list | tuple) or len(X) == 0:
        return None
    try:
        series = [np.asarray(one) for one in X]
    except ValueError:  # a ragged sample
        return None
    if not all(one.ndim in (1, 2) and one.dtype.kind in "biuf" for one in series):
        return None
    return series


def too_long(what, n_steps, shape):
    """Return the error of a series with more steps than a model has."""
    if shape is None:
        return ValueError(
            f"{what}, but network takes {n_steps}: give it a longer input_shape, or None."
        )
    return ValueError(
        f"{what}, but the model was fitted with series of at most {n_steps}, which is all"
        " that it decodes. Cut the series, or fit with a longer input_shape."
    )


def check_steps(X, network, shape):
    """Raise if series in an array have another length than those of the fit."""
    given = tuple(getattr(X, "shape", ()))[1:]
    if not network.allows_missing or len(given) != 2 or len(shape) != 2:
        return
    if given[1] != shape[1] or given[0] == shape[0]:
        return
    what = f"X has series of {given[0]} time steps"
    if given[0] > shape[0]:
        raise too_long(what, shape[0], shape)
    raise ValueError(
        f"{what}, but the model was fitted with series of {shape[0]}. Pad them with NaN at"
        " the end, or pass a list of series, which is padded."
    )
