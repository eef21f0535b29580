"""The scores of an outlier detector as ONNX nodes."""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from skae._model.mixture import FREEDOM
from skae.onnx._model import errors_and_codes


def scored(nodes, scorer, x):
    """Write the nodes of the scores of rows, as `Scorer.scores` computes them.

    Parameters
    ----------
    nodes : Nodes
    scorer : Scorer
        Its model is an estimator of skae.

    x : Value
        The rows.

    Returns
    -------
    scores : Value
        In float64, of shape (n_samples, 1).
    """
    squares, missing, codes = errors_and_codes(nodes, scorer.model._state, x)
    nodes, robust = nodes.of("float64"), scorer.robust
    if robust is None:
        return _totals(nodes, scorer.moments, nodes("Neg", squares), missing)
    parts = nodes("Div", squares, robust.error_variance.reshape(1, -1))
    parts = nodes("Log", nodes("Add", parts, 1.0))
    of_code = _log_density_of_t(nodes, robust.codes, nodes.cast(codes, "float64"))
    return nodes("Sub", of_code, _totals(nodes, robust.moments, parts, missing))


def _totals(nodes, moments, parts, missing):
    """Sum the contributions of each row, as `Moments.totals` does."""
    total = _sum(nodes, nodes("Where", missing, 0.0, parts))
    if moments is None:
        return total
    there = nodes.cast(nodes("Not", missing, is_float=False), "float64")
    n_there = _sum(nodes, there)
    pairs = nodes("Mul", n_there, nodes("Sub", n_there, 1.0))
    variance = nodes("MatMul", there, moments.variance[:, None])
    variance = nodes("Add", variance, nodes("Mul", pairs, float(moments.covariance)))
    width = nodes("Sqrt", variance)
    narrow = nodes("LessOrEqual", width, 0.0, is_float=False)
    off = nodes("Sub", total, nodes("MatMul", there, moments.mean[:, None]))
    off = nodes("Div", off, nodes("Where", narrow, np.inf, width))
    every = np.ones((1, len(moments.mean)), bool)
    width_of_all = float(np.sqrt(moments._variance(every))[0])
    of_all = nodes("Mul", off, width_of_all)
    of_all = nodes("Add", of_all, float(moments.mean.sum()))
    complete = nodes("Equal", n_there, float(len(moments.mean)), is_float=False)
    return nodes("Where", complete, total, of_all)


def _log_density_of_t(nodes, mixture, codes):
    """Compute the log density of codes, as `Mixture.log_density_of_t` does."""
    width = mixture.means.shape[1]
    total = FREEDOM + width
    constant = gammaln(total / 2) - gammaln(FREEDOM / 2)
    constant -= width / 2 * np.log(FREEDOM * np.pi)
    joint = []
    for weight, mean, root in zip(
        mixture.weights, mixture.means, mixture.roots, strict=True
    ):
        if weight == 0:
            continue
        whitening = solve_triangular(root, np.eye(width), lower=True)
        white = nodes("MatMul", nodes("Sub", codes, mean), whitening.T)
        distance = _sum(nodes, nodes("Mul", white, white))
        tail = nodes("Log", nodes("Add", nodes("Div", distance, float(FREEDOM)), 1.0))
        highest = constant - np.log(np.diagonal(root)).sum() + np.log(weight)
        joint.append(nodes("Sub", highest, nodes("Mul", tail, total / 2)))
    if len(joint) == 1:
        return joint[0]
    joint = nodes("Concat", *joint, axis=1)
    # log(sum(exp(joint))), which LogSoftmax subtracts from each of them
    first, less = (
        nodes("Gather", one, np.zeros(1, np.int64), axis=1)
        for one in (joint, nodes("LogSoftmax", joint, axis=1))
    )
    return nodes("Sub", first, less)


def _sum(nodes, x):
    return nodes("ReduceSum", x, [1], keepdims=1)
