"""Fitting: a fit told as one story, from rows to a fitted state and its components."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from skae._components import Coordinates
from skae._graph import is_linear, replaced, without_linear_path
from skae._incomplete import OPEN_COMPONENTS, pca_of
from skae._keras import reason
from skae._opened import opened
from skae._rooms import Fitted, borrowed
from skae._schedule import replayed
from skae._starts import ppca_start
from skae._state import State
from skae._stream import Stream
from skae._team import Team
from skae._training import (
    Candidate,
    Course,
    measured,
    preferred,
    rates_by_splits,
    select,
    train,
    train_for,
)
from skae.likelihoods import SquaredError


@dataclass(frozen=True)
class Fit:
    """What a fit ends with. `attributes` are new fitted attributes by name."""

    state: State
    attributes: dict
    course: Course


def fit(
    rows,
    specification,
    plan,
    components,
    monitor,
    *,
    held_out=None,
    before=None,
    one_epoch=False,
):
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
    held_out : Rows or None, default=None
        What to validate on; None splits it off.

    before : State or None, default=None
        A fit to go on from, in place of the linear start.

    one_epoch : bool, default=False
        Whether another call will go on: the optimizer's state is kept, and what the
        components need to be described by the rows of all calls.

    Returns
    -------
    fit : Fit
    """
    objective, early = specification.objective, plan.early_stopping
    splits = _splits(rows, held_out, plan) if early else [(rows, None)]
    several, going_on = len(splits) > 1, one_epoch and before is not None
    stream = Stream.of(rows, plan, before) if one_epoch else None
    stream, linear = _followed(stream, specification, before)
    described = stream.points if linear else stream.some if going_on else rows
    with ExitStack() as stack:
        borrow = partial(borrowed, specification, plan, rows)
        program = stack.enter_context(borrow())
        if before is None or linear:
            seen, streamed = described if linear else rows, one_epoch and not linear
            of_all = start(program.graph, seen, plan.seed, streamed=streamed)
        else:
            of_all = Candidate(before.weights, before.coordinates)
        _try(specification, of_all, rows)
        may_end = plan.adaptive and early and not plan.watched
        if may_end and _is_pca(specification, of_all, rows):
            plan = plan.look()

        def begin_of(training):
            """Where training on some of the rows begins, as if there were no others."""
            compared = early and plan.max_iter and specification.linear
            if before is not None or not compared or training is rows:
                return of_all
            fair = objective.start_rows(training, rows)
            return of_all if fair is None else start(program.graph, fair, plan.seed)

        begins = [begin_of(training) for training, _ in splits]
        monitor.attach(specification, plan.optimizer, begins[0], *splits[0])

        def side_by_side(trainings):
            n = plan.at_once(len(trainings), len(rows)) if program.alone else 1
            more = [stack.enter_context(borrow()) for _ in range(n - 1)]
            return stack.enter_context(Team([program, *more], monitor.interrupted))

        if several:
            trials = [(*pair, begin) for pair, begin in zip(splits, begins, strict=True)]
            team = side_by_side(trials)
            rates, course = rates_by_splits(team, trials, plan, monitor)
            if not plan.smoothing:  # rows come back: as many batches, not epochs
                n_steps = len(rates) * program.n_batches(splits[0][0])
                rates = replayed(rates, round(n_steps / program.n_batches(rows)))
            chosen = train_for(program, of_all, rows, rates, plan, course, monitor)
        else:
            trainings = [(begins[0], plan, monitor)]
            other = _at_random(begins[0], specification, plan)
            if other is not None:
                trainings.append((other, plan.at_random(), monitor.aside()))

            def train_one(program, training):
                program.load_optimizer(before.optimizer if going_on else None)
                return train(program, training[0], *splits[0], *training[1:])

            found = side_by_side(trainings).each(train_one, trainings)
            trained, begin, course = found[0]
            state = program.optimizer_state() if one_epoch else None
            for other, _, its_course in found[1:]:
                if preferred(other.losses, trained.losses, begin.losses):
                    trained, course = other, its_course
            if trained.losses is not None:
                of_all = measured(program, of_all, splits[0][1], plan.seed)
            chosen = select(trained, begin, of_all)
        if monitor.interrupted.is_set():
            course.interrupt()
    found = components(fitted(specification, chosen, rows), described, chosen.variance)
    if stream is not None:
        of_stream = {"mean_": stream.mean.astype(rows.dtype), "n_samples_": stream.size}
        found.attributes.update(of_stream)
    state = State(
        specification,
        chosen.weights,
        found.coordinates,
        plan.seed,
        optimizer=state if one_epoch else None,
        is_start=chosen.variance is not None,
        stream=stream,
    )
    return Fit(state, found.attributes, course)


def _is_pca(specification, of_all, rows):
    """Whether PCA is the best that the network can be (Baldi and Hornik 1989)."""
    objective = specification.objective
    return (
        isinstance(objective.likelihood, SquaredError)
        and not objective.has_posterior
        and not objective.activity_l1
        and not rows.has_holes
        and of_all.variance is not None
        and is_linear(of_all.weights)
    )


def _at_random(begin, specification, plan):
    """Another beginning than the linear one; None where none is to be compared."""
    if plan.n_starts == 1 or not specification.linear or is_linear(begin.weights):
        return None
    weights = without_linear_path(begin.weights, plan.seed)
    return replace(begin, weights=weights, variance=None)


def _followed(stream, specification, before):
    """The stream, and whether a call has but to solve the closed form of its moments."""
    if stream is None or stream.scatter is None:
        return stream, False
    untrained = before is None or before.is_start
    if before is not None and before.stream is not None:
        untrained = before.stream.scatter is not None
    linear = specification.linear and specification.objective.follows_moments
    if linear and untrained:
        return stream, True
    return replace(stream, scatter=None), False


def _try(specification, candidate, rows):
    """Find out before training whether the network can be computed in the rows' dtype.

    Raises
    ------
    ValueError
        If it can be in float32 alone, in which it is trained; says what to do.
    """
    try:
        fitted(specification, candidate, rows).compile()
    except Exception as error:
        if rows.dtype != np.float64:
            raise
        raise ValueError(
            "network has a layer that can't be computed in float64, which the rows of X"
            " are in: pass them as float32, X.astype('float32'). The layer says:"
            f" {reason(error)}"
        ) from error


def _splits(rows, held_out, plan):
    """Pairs of rows to train on and to validate on; the first is that of a single one."""
    if held_out is not None:
        return [(rows, held_out)]
    return [
        rows.split(plan.validation_fraction, plan.seed + i) for i in range(plan.n_splits)
    ]


def start(graph, rows, seed, *, streamed=False):
    """Where training starts: random weights and, next to them, the linear model of rows.

    Parameters
    ----------
    graph : Graph
    rows : Rows
    seed : int
    streamed : bool, default=False
        Whether there will be other rows, which may need more than these span.

    Returns
    -------
    begin : Candidate
    """
    weights, coordinates = graph.initial(seed), Coordinates.of(rows, graph)
    specification, objective = graph.specification, graph.specification.objective
    if rows.is_stored and rows.has_holes:
        rows = rows.few
    if not specification.linear:
        if rows.has_holes:
            size = min(len(rows), rows.n_features, OPEN_COMPONENTS)
            completion = ppca_start(pca_of(rows, size), size).completion
            coordinates = replace(coordinates, completion=completion)
        return Candidate(weights, coordinates)
    linear = objective.start(rows, specification.n_components)
    if streamed:
        linear = opened(linear, rows, seed)
    new, unit = objective.weights(linear, coordinates)
    unit = unit * coordinates.unit
    # of a series NaN is the end, which the network sees
    completion = None if rows.series else linear.completion
    return Candidate(
        replaced(weights, new),
        replace(coordinates, unit=unit, completion=completion),
        variance=linear.explained_variance if objective.starts_in_order else None,
    )


def fitted(specification, candidate, rows):
    """A candidate as a model that encodes and decodes."""
    weights, coordinates = candidate.weights, candidate.coordinates
    return Fitted(specification, weights, coordinates, rows.dtype)
