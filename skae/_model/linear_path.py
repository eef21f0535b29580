"""The linear path: from input to code and from code to output, next to the network."""

import math

import numpy as np

from skae._model.graph import HEADS, LINEAR_CODE, LINEAR_OUTPUT, OUTPUT_GATE, named_seed


def replaced(weights, new):
    """Copy the weights, with new values in float64.

    Raises
    ------
    KeyError
        If a new value has a path that the weights don't have.
    """
    new = {
        path: np.full(weights[path].shape, value, np.float64)
        for path, value in new.items()
    }
    return weights | new


def linear_path(start, coordinates, code_unit, output_unit=1.0):
    """Compute the weights of the linear path for a linear start, by path.

    Parameters
    ----------
    start : LinearStart
    coordinates : Coordinates
    code_unit, output_unit : float, float or ndarray of shape (n_features,)
        The factors from the graph's code to the start's, and from the graph's output to
        a standardised row.
    """
    mean, scale = coordinates.mean, coordinates.scale
    return {
        f"{LINEAR_CODE}/kernel": scale[:, None] * start.encoder / code_unit,
        f"{LINEAR_CODE}/bias": (mean - start.mean) @ start.encoder / code_unit,
        f"{LINEAR_OUTPUT}/kernel": code_unit * start.decoder / scale / output_unit,
        f"{LINEAR_OUTPUT}/bias": (start.intercept - mean) / scale / output_unit,
    }


def without_linear_path(weights, seed):
    """Initialise weights at random, with zeros on the linear path.

    The network's own contributions are drawn as Keras draws them ("glorot_uniform"), or
    their gate is opened. If a side has no such contribution, its linear path is drawn.

    Parameters
    ----------
    weights : dict of str to ndarray
        The weights of a linear start.

    seed : int

    Returns
    -------
    weights : dict of str to ndarray
    """
    new = {}
    for path, heads in HEADS.items():
        path = f"{path}/kernel"
        new[path] = 0.0
        head = next((head for head in heads if head in weights), path)
        new[head] = 1.0
        if head != OUTPUT_GATE:
            limit = math.sqrt(6 / sum(weights[head].shape))
            rng = np.random.default_rng(named_seed(seed, head))
            new[head] = rng.uniform(-limit, limit, weights[head].shape)
    return replaced(weights, new)


def linear_slopes(weights, coordinates):
    """Compute the slopes of rows on components along the linear path, in the units of X.

    This inverts `linear_path`. The shape is (n_components, n_features).
    """
    kernel = coordinates.inverse @ weights[f"{LINEAR_OUTPUT}/kernel"]
    return kernel * (coordinates.scale * coordinates.unit)
