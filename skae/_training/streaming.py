"""Streaming: a model of the rows of all calls of `partial_fit`."""

from dataclasses import dataclass, replace

import numpy as np

from skae._backend.pool import borrowed, graph_of
from skae._data.validation import check_variance
from skae._model.graph import LEAST_NOISE, NOISE
from skae._model.state import State
from skae._starts.linear import LinearStart
from skae._starts.moments import Stream
from skae._training.beginning import compiled, described, start
from skae._training.epochs import Course, Run, train
from skae._training.selection import Candidate
from skae.likelihoods._base import MAX_LOG_VARIANCE


@dataclass(frozen=True)
class Undescribed:
    """The result of a call of `partial_fit`, before its components are computed.

    Parameters
    ----------
    state : State
        Without weights and coordinates if the model is the closed form of all rows.

    is_closed : bool
        Whether it is the closed form.

    init : LinearStart or None
        A given linear model to start at, instead of the closed form of the rows.
    """

    state: State
    is_closed: bool = False
    init: LinearStart | None = None

    def described(self, components, rows=None):
        """Compute the state with its components, and new fitted attributes.

        Parameters
        ----------
        components : callable
            As for `described`.

        rows : Rows or None, default=None
            All rows so far; None takes the rows that the stream has stored.
        """
        state, stream = self.state, self.state.stream
        specification = state.specification
        some = stream.some if rows is None else rows
        if self.is_closed:
            if rows is None:
                rows = stream.rows_of_start(_follows_moments(specification))
            graph = graph_of(specification)
            chosen = start(graph, specification, rows, state.seed, self.init)
        else:
            rows = stream.some if rows is None else rows
            chosen = Candidate(state.weights, state.coordinates)
        of_rows = rows, state.seed, components
        now, attributes = described(chosen, specification, *of_rows, some=some)
        now = replace(
            now, optimizer=state.optimizer, stream=stream, origin=chosen.coordinates
        )
        return now, attributes | self.attributes

    @property
    def attributes(self):
        """The fitted attributes that do not need the components."""
        stream = self.state.stream
        mean = stream.mean.astype(stream.sample.dtype)
        return {"mean_": mean, "n_samples_": stream.size}


def advance(rows, specification, plan, monitor, before, n_before):
    """Continue from the rows of earlier calls by one epoch on these rows.

    Training begins, on all rows so far, once there are more than a few for each
    component. Until then the model is the closed form of all rows: what a network learns
    from very few rows takes thousands of steps to unlearn.

    Parameters
    ----------
    rows : Rows
        The rows of this call.

    specification : Specification
    plan : Plan
    monitor : Monitor
    before : State or None
    n_before : float
        The number of rows of earlier calls, or of a fit.

    Returns
    -------
    undescribed : Undescribed
    course : Course
    """
    follows = _follows_moments(specification)
    earlier = None if before is None else before.stream
    if before is not None and earlier is None and follows and before.is_start:
        model, trained = before.coordinates.linear_model, plan.training.max_iter > 0
        earlier = Stream.of_linear(model, n_before, trained, rows.dtype)
    stream = Stream.of(rows, plan.seed, earlier, follows, goes_on=before is not None)
    if stream.squares is not None:
        check_variance(stream.squares.sum())
    begins = not stream.has_trained
    state = State(specification, None, None, plan.seed, stream=stream)
    few = specification.linear and stream.is_few(specification.n_components)
    if begins and (few or not plan.training.max_iter):
        return Undescribed(state, is_closed=True, init=plan.init), Course()
    if begins and before is not None and stream.is_whole:
        rows = stream.some
    stream = replace(stream, scatter=None, trained=True)
    with borrowed(specification, plan, rows) as program:
        if begins:
            begin = _first_beginning(program.graph, rows, state, before, plan.init)
            compiled(specification, begin, rows)
        else:
            begin = _with_first_values(before, stream)
        monitor.attach(specification, plan.optimizer, begin, rows, None)
        program.load_optimizer(before.optimizer if before and not begins else None)
        run = Run(program, rows, None, begin, plan.training)
        course = train(run, monitor)
        optimizer = program.optimizer_state()
    if monitor.interrupted.is_set():
        course.interrupt()
    state = replace(
        state,
        weights=run.best.weights,
        coordinates=run.best.coordinates,
        optimizer=optimizer,
        stream=stream,
    )
    return Undescribed(state), course


def _first_beginning(graph, rows, state, before, init):
    """Initialise the training of a stream at the closed form of all rows so far."""
    specification = state.specification
    if before is not None:
        rows = state.stream.rows_of_start(_follows_moments(specification))
    return start(graph, specification, rows, state.seed, init, streamed=True)


def _follows_moments(specification):
    """Check whether the closed form depends on the moments of the rows alone."""
    return specification.linear and specification.objective.follows_moments


def _with_first_values(before, stream):
    """Continue a stream, with coordinates for features that have their first values.

    These features are standardised as if their moments had always been known. The network
    has seen zeros in their place, and still sees zeros where they are missing.
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
    if NOISE in weights and weights[NOISE].shape == mean.shape:
        own = np.where(new, 0.0, weights[NOISE])
        least = np.where(new, -MAX_LOG_VARIANCE, weights[LEAST_NOISE])
        weights = weights | {NOISE: own, LEAST_NOISE: least}
    coordinates = coordinates.with_new(new, mean, scale, stream.mean)
    return Candidate(weights, coordinates)
