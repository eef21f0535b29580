"""The imputation of missing values by a linear model, as ONNX nodes."""

import numpy as np
from onnx import TensorProto

from skae._data.categories import ONE_HOT
from skae.onnx._nodes import Nodes, Value


def known(nodes, groups, x, n_features):
    """Set groups of unknown classes in flat rows to NaN, as `skae._data.categories` does.

    Parameters
    ----------
    nodes : Nodes
    groups : list of ndarray of int
        The columns of each group.

    x : Value
    n_features : int

    Returns
    -------
    x : Value
    unknown : list of Value
        For each group, the values of rows in which all of its columns are 0.
    """
    masks = []

    def both(*conditions):
        return nodes("And", *conditions, is_float=False)

    for columns in groups:
        here = np.isin(np.arange(n_features), columns)[None]
        missing = nodes("IsNaN", x, is_float=False)
        part = nodes("Where", here, x, 0.0)
        size = nodes("ReduceSum", nodes("Abs", part), [1], keepdims=1)
        total = nodes("Where", missing, 0.0, part)
        total = nodes("ReduceSum", total, [1], keepdims=1)
        some = nodes("IsNaN", size, is_float=False)
        off = nodes("Abs", nodes("Sub", total, 1.0))
        unsure = both(some, nodes("Greater", off, ONE_HOT, is_float=False))
        unknown = nodes("Equal", size, 0.0, is_float=False)
        lost = nodes("Or", unknown, unsure, is_float=False)
        x = nodes("Where", both(missing, here), 0.0, x)
        x = nodes("Where", both(lost, here), np.nan, x)
        masks.append(both(unknown, here))
    return x, masks


def filled(nodes, linear_model, x):
    """Replace NaN in flat rows with expectations, as `LinearGaussian.filled` does.

    Parameters
    ----------
    nodes : Nodes
    linear_model : LinearGaussian
    x : Value

    Returns
    -------
    x : Value
    """
    holes = nodes("IsNaN", x, is_float=False)
    count = nodes("Cast", holes, is_float=False, to=TensorProto.INT64)
    count = nodes("ReduceSum", count, is_float=False, keepdims=0)
    whole = Nodes(nodes.dtype, nodes.new_name)
    return nodes(
        "If",
        nodes("Greater", count, np.int64(0), is_float=False),
        then_branch=_with_holes(nodes, linear_model, x, holes),
        else_branch=whole.graph("whole", [(whole("Identity", x), nodes.dtype)]),
    )


def _with_holes(outer, linear_model, x, holes):
    """Build the graph for rows with missing values, which computes in float64."""
    nodes = Nodes("float64", outer.new_name)
    rows = nodes.cast(x, "float64")
    present = nodes.cast(nodes("Not", holes, is_float=False), "float64")
    deviations = nodes("Where", holes, 0.0, nodes("Sub", rows, linear_model.mean))
    loadings = linear_model.loadings
    known = nodes("MatMul", deviations, (loadings / linear_model.noise).T)
    precision = _precision(nodes, linear_model, present)
    codes = _solved(nodes, precision, known, len(loadings))
    expected = nodes("Add", nodes("MatMul", codes, loadings), linear_model.mean)
    whole = nodes.cast(nodes("Where", holes, expected, rows), outer.dtype)
    return nodes.graph("with_holes", [(whole, outer.dtype)])


def _precision(nodes, linear_model, present):
    """Compute the precision of each row's code, from the columns that are present.

    It is ``I + W D^-1 W'`` for loadings W and noise variances D.
    """
    information = linear_model.loadings / np.sqrt(linear_model.noise)
    columns = nodes("Mul", nodes("Unsqueeze", present, [1]), information)
    products = nodes("MatMul", columns, information.T)
    return nodes("Add", products, np.eye(len(information)))


def _solved(nodes, matrices, rights, size):
    """Solve systems of equations with positive definite matrices.

    It is Gauss-Jordan elimination: after step i, column i of each matrix is column i of
    the identity.
    """
    systems = nodes("Concat", matrices, nodes("Unsqueeze", rights, [2]), axis=2)
    step = _elimination(size, nodes.new_name)
    systems = nodes("Loop", np.int64(size), True, systems, body=step)
    return nodes("Gather", systems, np.int64(size), axis=2)


def _elimination(size, new_name):
    """Build the graph of one step: divide row i by its pivot, and eliminate column i."""
    nodes = Nodes("float64", new_name)
    i, more = (Value(new_name(name), (), is_float=False) for name in ("step", "more"))
    systems = Value(new_name("systems"))
    column = nodes("Gather", systems, i, axis=2)
    row = nodes("Gather", systems, i, axis=1)
    pivot = nodes("Gather", row, i, axis=1)
    row = nodes("Div", row, nodes("Unsqueeze", pivot, [1]))
    column = nodes("Sub", column, nodes("Gather", np.eye(size), i, axis=0))
    column, row = nodes("Unsqueeze", column, [2]), nodes("Unsqueeze", row, [1])
    change = nodes("Mul", column, row)
    return nodes.graph(
        "eliminate",
        outputs=[
            (nodes("Identity", more, is_float=False), bool),
            (nodes("Sub", systems, change), np.float64),
        ],
        inputs=[(i, np.int64), (more, bool), (systems, np.float64)],
    )
