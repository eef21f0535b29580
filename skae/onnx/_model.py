"""A fitted model as ONNX nodes: its encoder and its decoder."""

from skae._model.graph import build
from skae._model.raw import raw
from skae._utils.keras import import_keras
from skae.onnx._imputation import filled, unknown_as_missing
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
    import_keras()
    from skae._backend.pool import precision

    nodes.masks = state.specification.network.allows_missing
    # in float64: no constant is rounded before it is used
    with precision("float64"):
        graph = build(state.specification, "float64")
        graph.load(state.weights)
        models = raw(graph, state.coordinates)
        if given == "rows":
            x = _encoded(nodes, state, models.encoder, x)
        if wanted == "rows":
            (x,) = walked(nodes, models.decoder, x)
    return x


def _encoded(nodes, state, encoder, x):
    if nodes.masks:  # NaN is the end of a series, which the network sees
        (code,) = walked(nodes, encoder, x)
        return code
    x = nodes("Reshape", x, [-1, state.specification.n_features])
    if state.coordinates.linear_model is not None:
        n_features = state.specification.n_features
        groups = state.specification.objective.likelihood.groups(n_features)
        x = unknown_as_missing(nodes, groups, x, n_features)
        x = filled(nodes, state.coordinates.linear_model, x)
    (code,) = walked(nodes, encoder, x)
    if state.coordinates.linear_model is None:
        code = _lost(nodes, x, code)
    return code


def _lost(nodes, x, code):
    """Set the code of rows with missing values to NaN, which max-pooling could drop."""
    nothing = nodes("ReduceSum", nodes("Mul", x, 0.0), [1], keepdims=1)
    return nodes("Add", code, nothing)
