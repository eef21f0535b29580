"""Fitting: a fit told as one story, from rows to a fitted state and its components."""

from dataclasses import dataclass, replace

from skae._components import Components, Coordinates
from skae._graph import replaced
from skae._program import Fitted, borrowed
from skae._state import State
from skae._training import Candidate, Course, measured, select, train


@dataclass(frozen=True)
class Fit:
    """What a fit ends with. `attributes` are new fitted attributes by name."""

    state: State
    attributes: dict
    course: Course


def fit(rows, specification, plan, components, monitor, before=None, one_epoch=False):
    """Fit a model to rows.

    Parameters
    ----------
    rows : Rows
    specification : Specification
    plan : Plan
    components : callable
        From a fitted model, rows and the components' variance, where it is known, to
        `Components`.

    monitor : Monitor
    before : State or None, default=None
        A fit to go on from, in place of the linear start.

    one_epoch : bool, default=False
        Whether another call will go on: the optimizer's state is kept, and components
        that are there keep their scale, order and signs.

    Returns
    -------
    fit : Fit
    """
    training, held_out = rows, None
    if plan.early_stopping:
        training, held_out = rows.split(plan.validation_fraction, plan.seed)
    optimizer = plan.optimizer
    with borrowed(specification, optimizer, plan.batch_size, rows) as program:
        if before is None:
            of_all, fair = start(program.graph, rows, plan.seed), None
            if held_out is not None and specification.linear and plan.max_iter:
                fair = specification.objective.start_rows(training, rows)
            begin = of_all if fair is None else start(program.graph, fair, plan.seed)
        else:
            of_all = begin = Candidate(before.weights, before.coordinates)
        fitted(specification, of_all, rows)  # can it be computed in the rows' dtype?
        monitor.attach(specification, optimizer, begin, training, held_out)
        going_on = one_epoch and before is not None
        program.load_optimizer(
            optimizer.learning_rate, before.optimizer if going_on else None
        )
        trained, begin, course = train(program, begin, training, held_out, plan, monitor)
        state = program.optimizer_state() if one_epoch else None
        if trained.losses is not None:
            of_all = measured(program, of_all, held_out, plan.seed)
        chosen = select(trained, begin, of_all)
    found = Components(chosen.coordinates, {})
    if not going_on:
        found = components(fitted(specification, chosen, rows), rows, chosen.variance)
    is_start = chosen.variance is not None
    state = State(
        specification, chosen.weights, found.coordinates, plan.seed, state, is_start
    )
    return Fit(state, found.attributes, course)


def start(graph, rows, seed):
    """Where training starts: random weights and, next to them, the linear model of rows.

    Parameters
    ----------
    graph : Graph
    rows : Rows
    seed : int

    Returns
    -------
    begin : Candidate
    """
    weights, coordinates = graph.initial(seed), Coordinates.of(rows, graph)
    specification, objective = graph.specification, graph.specification.objective
    if not specification.linear:
        return Candidate(weights, coordinates)
    linear = objective.start(rows, specification.n_components)
    new, unit = objective.weights(linear, coordinates)
    return Candidate(
        replaced(weights, new),
        replace(coordinates, unit=unit * coordinates.unit),
        variance=linear.explained_variance if objective.starts_in_order else None,
    )


def fitted(specification, candidate, rows):
    """A candidate as a model that encodes and decodes."""
    weights, coordinates = candidate.weights, candidate.coordinates
    return Fitted(specification, weights, coordinates, rows.dtype)
