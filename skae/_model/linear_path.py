"""The linear path: from input to code and from code to output, beside the network."""

import math

import numpy as np

from skae._model.graph import HEADS, LINEAR_CODE, LINEAR_OUTPUT, OUTPUT_GATE, named_seed


def replaced(weights, new):
    """A copy of the weights, in float64 where they are new.

    Raises
    ------
    KeyError
        If one of the new has a path that the weights don't have.
    """
    new = {
        path: np.full(weights[path].shape, value, np.float64)
        for path, value in new.items()
    }
    return weights | new


def linear_path(start, coordinates, code_unit, output_unit=1.0):
    """The weights of the linear path that make it a linear start, by path.

    Parameters
    ----------
    start : LinearStart
    coordinates : Coordinates
    code_unit, output_unit : float, float or ndarray of shape (n_features,)
        What a code and an output of the graph are multiplied by to be the start's, and
        standardised.
    """
    mean, scale = coordinates.mean, coordinates.scale
    return {
        f"{LINEAR_CODE}/kernel": scale[:, None] * start.encoder / code_unit,
        f"{LINEAR_CODE}/bias": (mean - start.mean) @ start.encoder / code_unit,
        f"{LINEAR_OUTPUT}/kernel": code_unit * start.decoder / scale / output_unit,
        f"{LINEAR_OUTPUT}/bias": (start.intercept - mean) / scale / output_unit,
    }


def without_linear_path(weights, seed):
    """Weights that begin at random, not at the linear path, which begins at zero.

    The network's own contributions are drawn as Keras draws them ("glorot_uniform"), or
    their gate is open; where one side has none, the linear path of that side is drawn.

    Parameters
    ----------
    weights : dict of str to ndarray
        As they begin at a linear path.

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
    """What one of each component adds to a row by the linear path, in the units of X.

    The way back from `linear_path`, of shape (n_components, n_features).
    """
    kernel = coordinates.inverse @ weights[f"{LINEAR_OUTPUT}/kernel"]
    return kernel * (coordinates.scale * coordinates.unit)
