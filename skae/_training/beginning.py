"""Beginnings: where training starts, and models of what it has reached."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from skae._backend.pool import Fitted
from skae._model.components import Coordinates
from skae._model.linear_path import replaced, without_linear_path
from skae._model.state import State
from skae._starts.em import imputer_of
from skae._starts.streamed import opened
from skae._training.selection import Candidate
from skae._utils.keras import reason


class Beginning:
    """Where training starts: at the linear model of all rows or of some, or at a last fit.

    Parameters
    ----------
    graph : Graph
        It may be shared by fits that differ in what shapes no graph: a weight of the
        divergence, a level of noise.

    specification : Specification
        That of this fit.

    rows : Rows
    plan : Plan
    before : State or None
        A fit to go on from.
    """

    def __init__(self, graph, specification, rows, plan, before):
        self.graph, self.specification, self.rows = graph, specification, rows
        self.seed, self.init, self.before = plan.seed, plan.init, before

    @cached_property
    def of_all(self):
        """The beginning that has seen all rows."""
        if self.before is not None:
            return Candidate(self.before.weights, self.before.coordinates)
        return start(self.graph, self.specification, self.rows, self.seed, self.init)

    def of(self, training):
        """Compute the beginning on some of the rows, as if there were no others."""
        if self.before is not None or training is self.rows:
            return self.of_all
        if not self.specification.linear:
            return self.of_all
        fair = self.specification.objective.start_rows(training, self.rows)
        if fair is None:
            return self.of_all
        return start(self.graph, self.specification, fair, self.seed, self.init)

    def at_random(self, begin):
        """Leave the linear path out; None where it is all there is, or imputes values."""
        if not self.specification.linear or self.graph.is_linear:
            return None
        if begin.coordinates.imputes_in(self.rows):
            return None
        weights = without_linear_path(begin.weights, self.seed)
        return replace(begin, weights=weights, start=None)

    @property
    def is_best(self):
        """Whether no training can improve it: PCA, of a linear network."""
        return (
            self.of_all.variance is not None
            and self.specification.objective.pca_is_best
            and self.graph.is_linear
            and not self.of_all.coordinates.imputes_in(self.rows)
        )


def start(graph, specification, rows, seed, init=None, *, streamed=False):
    """Where training starts: random weights and, next to them, the linear model of rows.

    Parameters
    ----------
    graph : Graph
        It may be shared by fits that differ in what shapes no graph: a weight of the
        divergence, a level of noise.

    specification : Specification
        That of this fit.

    rows : Rows
    seed : int
    init : LinearStart or None, default=None
        A linear model from elsewhere, in place of that of the rows.

    streamed : bool, default=False
        Whether there will be other rows, which may need more than these span.

    Returns
    -------
    begin : Candidate
    """
    weights, coordinates = graph.initial(seed), Coordinates.of(rows, graph)
    objective = specification.objective
    rows = rows.of_closed_form
    if not specification.linear:
        return Candidate(weights, replace(coordinates, linear_model=imputer_of(rows)))
    if init is None:
        linear = objective.start(rows, specification.n_components)
    else:
        linear = objective.start_of(init, rows, specification.n_components)
    if streamed:
        linear = opened(linear, rows, seed)
    new, unit = objective.weights(linear, coordinates)
    unit = unit * coordinates.unit
    # of a series NaN is the end, which the network sees
    linear_model = None if rows.series else linear.linear_model
    return Candidate(
        replaced(weights, new),
        replace(coordinates, unit=unit, linear_model=linear_model),
        start=linear,
    )


def fitted(specification, candidate, rows):
    """A candidate as a model that encodes and decodes."""
    weights, coordinates = candidate.weights, candidate.coordinates
    return Fitted(specification, weights, coordinates, rows.dtype)


def compiled(specification, candidate, rows):
    """The candidate as a model, if the network can be computed in the rows' dtype.

    Raises
    ------
    ValueError
        If it can be in float32 alone, in which it is trained; says what to do.
    """
    try:
        model = fitted(specification, candidate, rows)
        model.compile()
    except Exception as error:
        if rows.dtype != np.float64:
            raise
        raise ValueError(
            "network has a layer that can't be computed in float64, which the rows of X"
            " are in: pass them as float32, X.astype('float32'). The layer says:"
            f" {reason(error)}"
        ) from error
    return model


def described(candidate, specification, rows, seed, components):
    """Describe a candidate by the components of the rows.

    Parameters
    ----------
    candidate : Candidate
    specification : Specification
    rows : Rows
    seed : int
    components : callable
        From a fitted model, rows and the components' variance, where it is known, to
        `Components`.

    Returns
    -------
    state : State
    attributes : dict
        Fitted attributes, by name.
    """
    model = fitted(specification, candidate, rows)
    found = components(model, rows, candidate.variance)
    is_start = candidate.variance is not None
    weights, coordinates = candidate.weights, found.coordinates
    state = State(specification, weights, coordinates, seed, is_start=is_start)
    return state, found.attributes
