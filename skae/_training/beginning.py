"""Beginnings: the initialisation of training, and models of its candidates."""

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
    """The initialisation: the linear model of all rows or of some, or an earlier fit.

    Parameters
    ----------
    graph : Graph
        Fits may share it if they differ only in settings that do not change the graph,
        such as the weight of the KL divergence or the level of noise.

    specification : Specification
        The specification of this fit.

    rows : Rows
    plan : Plan
    before : State or None
        A fit to continue from.
    """

    def __init__(self, graph, specification, rows, plan, before):
        self.graph, self.specification, self.rows = graph, specification, rows
        self.seed, self.init, self.before = plan.seed, plan.init, before

    @cached_property
    def of_all(self):
        """The initialisation from all rows."""
        if self.before is not None:
            return Candidate(self.before.weights, self.before.coordinates)
        return self._start(self.rows)

    def _start(self, rows):
        return start(self.graph, self.specification, rows, self.seed, self.init)

    def of(self, training):
        """Compute the initialisation from the training rows alone."""
        if self.before is not None or training is self.rows:
            return self.of_all
        if not self.specification.linear:
            return self.of_all
        fair = self.specification.objective.start_rows(training, self.rows)
        if fair is None:
            return self.of_all
        return self._start(fair)

    def at_random(self, begin):
        """Remove the linear path from a beginning.

        Return None if the network is the linear path alone, or if the linear model
        imputes missing values.
        """
        if not self.specification.linear or self.graph.is_linear:
            return None
        if begin.coordinates.imputes_in(self.rows):
            return None
        weights = without_linear_path(begin.weights, self.seed)
        return replace(begin, weights=weights, start=None)

    @property
    def is_best(self):
        """True if training can't improve it: the network is linear and starts at PCA."""
        return (
            self.of_all.variance is not None
            and self.specification.objective.pca_is_best
            and self.graph.is_linear
            and not self.of_all.coordinates.imputes_in(self.rows)
        )


def start(graph, specification, rows, seed, init=None, *, streamed=False):
    """Initialise the weights: at random, and the linear path by the linear model of rows.

    Parameters
    ----------
    graph, specification, rows : Graph, Specification, Rows
        As for `Beginning`.

    seed : int
    init : LinearStart or None, default=None
        A given linear model, instead of the linear model of the rows.

    streamed : bool, default=False
        Whether more rows will follow. They may need directions that these do not span.

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
    # NaN marks the end of a series: the network must see it
    linear_model = None if rows.series else linear.linear_model
    return Candidate(
        replaced(weights, new),
        replace(coordinates, unit=unit, linear_model=linear_model),
        start=linear,
    )


def fitted(specification, candidate, rows):
    """Return a candidate as a model that encodes and decodes."""
    weights, coordinates = candidate.weights, candidate.coordinates
    return Fitted(specification, weights, coordinates, rows.dtype)


def compiled(specification, candidate, rows):
    """Compile a candidate as a model that computes in the dtype of the rows.

    Raises
    ------
    ValueError
        If the network computes only in float32, the dtype of training. The message names
        the remedy.
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


def described(candidate, specification, rows, seed, components, model=None, some=None):
    """Compute the state and the fitted attributes of a candidate.

    Parameters
    ----------
    candidate : Candidate
    specification : Specification
    rows : Rows
    seed : int
    components : callable
        Maps a fitted model, rows, the components' variance (None if unknown) and `some`
        to `Components`.

    model : Fitted or None, default=None
        The candidate as a model; None makes one.

    some : Rows or None, default=None
        Samples, if the rows are points that stand for them.

    Returns
    -------
    state : State
    attributes : dict
        Fitted attributes, by name.
    """
    model = fitted(specification, candidate, rows) if model is None else model
    found = components(model, rows, candidate.variance, some)
    is_start = candidate.variance is not None
    weights, coordinates = candidate.weights, found.coordinates
    state = State(specification, weights, coordinates, seed, is_start=is_start)
    return state, found.attributes
