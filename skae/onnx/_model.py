"""A fitted model as ONNX nodes: what its encoder and its decoder make of a value."""

from skae._model.graph import build
from skae._model.raw import raw
from skae._utils.keras import import_keras
from skae.onnx._imputation import filled, unknown_as_missing
from skae.onnx._layers import walked


def computed(nodes, state, given, wanted, x):
    """Rows or codes of a fitted model, from rows or codes.

    Parameters
    ----------
    nodes : Nodes
    state : State
    given, wanted : {"rows", "codes"}
    x : Value
        What is given.

    Returns
    -------
    y : Value
        What is wanted.
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
    """The code, but NaN where anything is missing: max-pooling could lose sight of it."""
    nothing = nodes("ReduceSum", nodes("Mul", x, 0.0), [1], keepdims=1)
    return nodes("Add", code, nothing)
