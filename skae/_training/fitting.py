"""Fitting: a fit told as one story, from rows to a fitted state and its components."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from skae._backend.pool import Fitted, borrowed, graph_of
from skae._model.components import Coordinates
from skae._model.graph import LEAST_NOISE, NOISE
from skae._model.linear_path import is_linear, replaced, without_linear_path
from skae._model.state import State
from skae._starts.em import OPEN_COMPONENTS, pca_of
from skae._starts.linear import ppca_start
from skae._starts.moments import Stream
from skae._starts.streamed import opened
from skae._training.epochs import Course, measured, rates_by_splits, train, train_for
from skae._training.schedule import replayed
from skae._training.selection import Candidate, preferred, select
from skae._training.workers import Workers
from skae._utils.keras import reason
from skae.likelihoods import SquaredError
from skae.likelihoods._base import MAX_LOG_VARIANCE


@dataclass(frozen=True)
class Fit:
    """What a fit ends with. `attributes` are new fitted attributes by name."""

    state: State
    attributes: dict
    course: Course


def fit(rows, specification, plan, components, monitor, *, held_out=None, before=None):
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

    Returns
    -------
    fit : Fit
    """
    objective, early = specification.objective, plan.early_stopping
    if not plan.max_iter and not plan.watched:
        return _untrained(rows, specification, plan, components, held_out, before)
    splits = _splits(rows, held_out, plan) if early else [(rows, None)]
    with ExitStack() as stack:
        borrow = partial(borrowed, specification, plan, rows)
        program = stack.enter_context(borrow())
        of_all = _beginning(program.graph, specification, rows, plan, before)
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
            return (
                of_all
                if fair is None
                else start(program.graph, specification, fair, plan.seed)
            )

        begins = [begin_of(training) for training, _ in splits]
        monitor.attach(specification, plan.optimizer, begins[0], *splits[0])

        def side_by_side(trainings):
            n = plan.at_once(len(trainings), len(rows)) if program.alone else 1
            more = [stack.enter_context(borrow()) for _ in range(n - 1)]
            return stack.enter_context(Workers([program, *more], monitor.interrupted))

        if len(splits) > 1:
            trials = [(*pair, begin) for pair, begin in zip(splits, begins, strict=True)]
            workers = side_by_side(trials)
            rates, course = rates_by_splits(workers, trials, plan, monitor)
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
                program.load_optimizer()
                return train(program, training[0], *splits[0], *training[1:])

            found = side_by_side(trainings).map(train_one, trainings)
            trained, begin, course = found[0]
            for other, _, its_course in found[1:]:
                if preferred(other.losses, trained.losses, begin.losses):
                    trained, course = other, its_course
            if trained.losses is not None:
                of_all = measured(program, of_all, splits[0][1], plan.seed)
            chosen = select(trained, begin, of_all)
        if monitor.interrupted.is_set():
            course.interrupt()
    model = fitted(specification, chosen, rows)
    return _described(model, chosen, rows, plan.seed, components, course)


def _untrained(rows, specification, plan, components, held_out, before):
    """The fit that makes no epoch: no program is needed for it."""
    if plan.early_stopping and held_out is None:
        rows.n_validation(plan.validation_fraction)  # refuses what an epoch would
    graph = graph_of(specification)
    of_all = _beginning(graph, specification, rows, plan, before)
    model = _try(specification, of_all, rows)
    return _described(model, of_all, rows, plan.seed, components, Course())


def _beginning(graph, specification, rows, plan, before):
    """Where training on all rows begins: at the last fit, or at the linear start."""
    if before is not None:
        return Candidate(before.weights, before.coordinates)
    return start(graph, specification, rows, plan.seed)


def _described(model, chosen, rows, seed, components, course):
    """The fit that ends at a candidate, with the components of the rows."""
    found = components(model, rows, chosen.variance)
    is_start, weights = chosen.variance is not None, chosen.weights
    state = State(
        model.specification, weights, found.coordinates, seed, is_start=is_start
    )
    return Fit(state, found.attributes, course)


# -- a stream: call by call


@dataclass(frozen=True)
class Undescribed:
    """What a call of `partial_fit` ends with, before its components are asked for.

    Parameters
    ----------
    state : State
        Without weights and coordinates where these are the closed form of all rows.

    is_closed : bool
    """

    state: State
    is_closed: bool = False

    def described(self, components, rows=None):
        """The state with its code turned to components, and new fitted attributes.

        Parameters
        ----------
        components : callable
            As for `fit`.

        rows : Rows or None, default=None
            All rows so far; None is what the stream has kept of them.
        """
        state, stream = self.state, self.state.stream
        specification = state.specification
        if self.is_closed:
            if rows is None:
                rows = stream.rows_of_start(_follows_moments(specification))
            graph = graph_of(specification)
            chosen = start(graph, specification, rows, state.seed)
        else:
            rows = stream.some if rows is None else rows
            chosen = Candidate(state.weights, state.coordinates)
        model = fitted(specification, chosen, rows)
        found = components(model, rows, chosen.variance)
        state = replace(
            state,
            weights=chosen.weights,
            coordinates=found.coordinates,
            origin=chosen.coordinates,
            is_start=chosen.variance is not None,
        )
        return state, found.attributes | self.attributes

    @property
    def attributes(self):
        """Fitted attributes that take no look at components."""
        stream = self.state.stream
        mean = stream.mean.astype(stream.sample.dtype)
        return {"mean_": mean, "n_samples_": stream.size}


def advance(rows, specification, plan, monitor, before):
    """Go on from the rows of earlier calls by one epoch on these.

    Until the rows of all calls are more than a few for each component none is trained on,
    and the model is their closed form: what is learned of hardly any rows takes thousands
    of steps to unlearn. Then training begins, on all of them.

    Parameters
    ----------
    rows : Rows
        Those of this call.

    specification : Specification
    plan : Plan
    monitor : Monitor
    before : State or None

    Returns
    -------
    undescribed : Undescribed
    course : Course
    """
    follows = _follows_moments(specification)
    stream = Stream.of(rows, plan, before, follows)
    _check_finite(stream)
    begins = not stream.has_trained
    state = State(specification, None, None, plan.seed, stream=stream)
    few = specification.linear and stream.is_few(specification.n_components)
    if begins and (few or not plan.max_iter):
        return Undescribed(state, is_closed=True), Course()
    if begins and before is not None and stream.is_whole:
        rows = stream.some
        plan = replace(plan, batch_size=min(plan.wanted_batch_size, len(rows)))
    stream = replace(stream, scatter=None, trained=True)
    with borrowed(specification, plan, rows) as program:
        if begins:
            begin = _first_beginning(program.graph, rows, state, before, plan)
            _try(specification, begin, rows)
        else:
            begin = _with_first_values(before, stream)
        monitor.attach(specification, plan.optimizer, begin, rows, None)
        program.load_optimizer(before.optimizer if before and not begins else None)
        trained, _, course = train(program, begin, rows, None, plan, monitor)
        optimizer = program.optimizer_state()
    if monitor.interrupted.is_set():
        course.interrupt()
    state = replace(
        state,
        weights=trained.weights,
        coordinates=trained.coordinates,
        optimizer=optimizer,
        stream=stream,
    )
    return Undescribed(state), course


def _first_beginning(graph, rows, state, before, plan):
    """Where a stream's training begins: the closed form of all rows so far."""
    specification = state.specification
    if before is not None:
        rows = state.stream.rows_of_start(_follows_moments(specification))
    return start(graph, specification, rows, plan.seed, streamed=True)


def _follows_moments(specification):
    """Whether the closed form is that of any rows of the same moments."""
    return specification.linear and specification.objective.follows_moments


def _check_finite(stream):
    if stream.squares is not None and not np.isfinite(stream.squares.sum()):
        raise ValueError(
            "X's values are too large: their variance is not finite. Scale X."
        )


def _with_first_values(before, stream):
    """Where a stream goes on, with what it now knows of features without a value so far.

    These are standardised as if they had always been what they are: the network has seen
    zeros in their place, and sees these still where they are missing.
    """
    weights, coordinates = before.weights, before.origin or before.coordinates
    new = np.isnan(before.stream.low) if before.stream else np.zeros(1, bool)
    new = new & ~np.isnan(stream.low)
    if not new.any() or stream.squares is None:
        return Candidate(weights, coordinates)
    variance = stream.squares / np.maximum(stream.count - 1, 1)
    likelihood = before.specification.objective.likelihood
    mean, scale = likelihood.standardisation(stream.mean, variance)
    scale = scale if np.ptp(scale) else coordinates.scale
    completion = coordinates.completion
    if completion is not None:
        means = np.where(new, stream.mean, completion.mean)
        completion = replace(completion, mean=means)
    if NOISE in weights and weights[NOISE].shape == mean.shape:
        own = np.where(new, 0.0, weights[NOISE])
        least = np.where(new, -MAX_LOG_VARIANCE, weights[LEAST_NOISE])
        weights = weights | {NOISE: own, LEAST_NOISE: least}
    coordinates = replace(
        coordinates,
        mean=np.where(new, mean, coordinates.mean),
        scale=np.where(new, scale, coordinates.scale),
        unit=np.where(new, 1.0, coordinates.unit),
        completion=completion,
    )
    return Candidate(weights, coordinates)


# -- what both are made of


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


def _try(specification, candidate, rows):
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


def _splits(rows, held_out, plan):
    """Pairs of rows to train on and to validate on; the first is that of a single one."""
    if held_out is not None:
        return [(rows, held_out)]
    return [
        rows.split(plan.validation_fraction, plan.seed + i) for i in range(plan.n_splits)
    ]


def start(graph, specification, rows, seed, *, streamed=False):
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
    streamed : bool, default=False
        Whether there will be other rows, which may need more than these span.

    Returns
    -------
    begin : Candidate
    """
    weights, coordinates = graph.initial(seed), Coordinates.of(rows, graph)
    objective = specification.objective
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
