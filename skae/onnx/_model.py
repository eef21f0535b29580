"""A fitted model as ONNX nodes: its encoder and its decoder."""

from contextlib import contextmanager

import numpy as np

from skae._model.graph import build
from skae._model.raw import decoder_beside_rows, raw
from skae._utils.keras import import_keras
from skae.onnx._imputation import filled, known
from skae.onnx._layers import walked


def computed(nodes, state, given, wanted, x):
    """Write the nodes that compute rows or codes from rows or codes.

    Parameters
    ----------
    nodes : Nodes
    state : State
    given, wanted : {"rows", "codes"}
        The kinds of the input and of the output.

    x : Value
        The input.

    Returns
    -------
    y : Value
        The output.
    """
    with _graph(nodes, state) as graph:
        models = raw(graph, state.coordinates)
        if given == "rows":
            x, _ = _known(nodes, state, x)
            x = _encoded(nodes, state, models.encoder, x)
        if wanted == "rows":
            (x,) = walked(nodes, models.decoder, x)
    return x


def errors_and_codes(nodes, state, x):
    """Write the nodes of what an estimator's `_errors_and_codes` computes.

    Parameters
    ----------
    nodes : Nodes
    state : State
    x : Value
        The rows.

    Returns
    -------
    squares : Value
        The squared errors of flat rows, in float64.

    missing : Value
        Where they have none, because values are missing.

    codes : Value
    """
    x, unknown = _known(nodes, state, x)
    with _graph(nodes, state) as graph:
        codes = _encoded(nodes, state, raw(graph, state.coordinates).encoder, x)
        missing = nodes("IsNaN", x, is_float=False)
        present = nodes.cast(nodes("Not", missing, is_float=False), nodes.dtype)
        mean, scale = state.coordinates.mean, state.coordinates.scale
        rows = nodes("Div", nodes("Sub", x, mean), scale)
        rows = nodes("Where", missing, 0.0, rows)
        decoder = decoder_beside_rows(graph, state.coordinates)
        (output,) = walked(nodes, decoder, codes, rows, present)
    double = nodes.of("float64")
    output = double.cast(output, "float64")
    errors = double("Sub", double.cast(x, "float64"), output)
    squares = double("Mul", errors, errors)
    for columns, mask in zip(_groups(state), unknown, strict=True):
        part = double("Gather", output, np.asarray(columns, np.int64), axis=1)
        own = double("ReduceSum", double("Mul", part, part), [1], keepdims=1)
        own = double("Div", double("Add", own, 1.0), float(len(columns)))
        squares = double("Where", mask, own, squares)
        measured = nodes("Not", mask, is_float=False)
        missing = nodes("And", missing, measured, is_float=False)
    return squares, missing, codes


@contextmanager
def _graph(nodes, state):
    """Build a graph in float64, so that no constant is rounded before it is used."""
    import_keras()
    from skae._backend.pool import precision

    nodes.masks = state.specification.network.allows_missing
    with precision("float64"):
        graph = build(state.specification, "float64")
        graph.load(state.weights)
        yield graph


def _groups(state):
    specification = state.specification
    return specification.objective.likelihood.groups(specification.n_features)


def _known(nodes, state, x):
    """Return flat rows, NaN for unknown classes where these are imputed, and masks."""
    x = nodes("Reshape", x, [-1, state.specification.n_features])
    found, unknown = known(nodes, _groups(state), x, state.specification.n_features)
    return (found if state.coordinates.imputes else x), unknown


def _encoded(nodes, state, encoder, x):
    """Encode flat rows."""
    if nodes.masks:  # NaN is the end of a series, which the network sees
        (code,) = walked(nodes, encoder, x)
        return code
    if state.coordinates.imputes:
        x = filled(nodes, state.coordinates.linear_model, x)
    (code,) = walked(nodes, encoder, x)
    if not state.coordinates.imputes:
        code = _lost(nodes, x, code)
    return code


def _lost(nodes, x, code):
    """Set the code of rows with missing values to NaN, which max-pooling could drop."""
    nothing = nodes("ReduceSum", nodes("Mul", x, 0.0), [1], keepdims=1)
    return nodes("Add", code, nothing)
