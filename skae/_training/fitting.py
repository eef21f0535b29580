"""Fitting: all steps of a fit, from rows to a fitted state and its components."""

from dataclasses import dataclass
from functools import partial
from threading import Event

from skae._backend.pool import borrowed, graph_of
from skae._model.state import State
from skae._training import folds
from skae._training.beginning import Beginning, compiled
from skae._training.epochs import Course, Replay, Run, Splits, measured, train
from skae._training.schedule import replayed
from skae._training.selection import best_of, select
from skae._training.workers import Workers


@dataclass(frozen=True)
class Fit:
    """The result of a fit. `attributes` are new fitted attributes by name."""

    state: State
    attributes: dict
    course: Course


def fit(rows, specification, plan, describe, monitor, *, held_out=None, before=None):
    """Fit a model to rows.

    Parameters
    ----------
    rows : Rows
    specification : Specification
    plan : Plan
    describe : callable
        Maps a candidate to a state and fitted attributes: see `described`.

    monitor : Monitor
    held_out : Rows or None, default=None
        Validation rows; None splits them off.

    before : State or None, default=None
        A fit to continue from, in place of the linear initialisation.

    Returns
    -------
    fit : Fit
    """
    if not plan.training.max_iter and not monitor.watches:
        return _untrained(rows, specification, plan, describe, held_out, before)
    splits = plan.splits(rows, held_out)
    borrow = partial(borrowed, specification, plan, rows)
    with Workers(borrow, monitor.interrupted) as workers:
        graph = workers.programs[0].graph
        beginning = Beginning(graph, specification, rows, plan, before)
        compiled(specification, beginning.of_all, rows)
        may_end = plan.training.adaptive and plan.early_stopping and not monitor.watches
        if may_end and beginning.is_best:
            plan = plan.look()
        strategy = strategy_of(splits)
        chosen, course, others = strategy(workers, splits, beginning, plan, monitor)
        if monitor.interrupted.is_set():
            course.interrupt()
    if folds.asked():
        folds.record(others, splits, describe)
    if not specification.linear:
        course.start = None
    return Fit(*describe(chosen), course)


def _untrained(rows, specification, plan, describe, held_out, before):
    """Fit without an epoch, which needs no program."""
    if plan.early_stopping and held_out is None:
        rows.n_validation(plan.validation_fraction)  # raises as with epochs
    graph = graph_of(specification)
    start = Beginning(graph, specification, rows, plan, before).of_all
    model = compiled(specification, start, rows)
    return Fit(*describe(start, model=model), Course())


def strategy_of(splits):
    """Choose one of the three training functions below.

    Each returns the model, the course of its training, and models that were trained
    without the validation rows of the splits.
    """
    if len(splits) > 1:
        return cross_validate
    return without_validation if splits[0][1] is None else hold_out


def without_validation(workers, splits, beginning, plan, monitor):
    """Train on all rows, until the last epoch."""
    (program,), ((rows, _),) = workers.programs, splits
    monitor.attach(beginning.specification, plan.optimizer, beginning.of_all, rows, None)
    program.load_optimizer()
    run = Run(program, rows, None, beginning.of_all, plan.training)
    course = train(run, monitor)
    return run.best, course, []


def hold_out(workers, splits, beginning, plan, monitor):
    """Train from one initialisation or two, and select the best on held-out rows."""
    ((rows, held_out),) = splits
    trains = plan.training.max_iter > 0
    begin = beginning.of(rows) if trains else beginning.of_all
    monitor.attach(beginning.specification, plan.optimizer, begin, rows, held_out)
    trainings = [(begin, plan.training, monitor)]
    other = None if plan.rate_at_random is None else beginning.at_random(begin)
    if other is not None:
        trainings.append((other, plan.at_random(), monitor.unwatched()))

    def train_one(program, several):
        begin, training, monitor = several
        program.load_optimizer()
        run = Run(program, rows, held_out, begin, training)
        return run, train(run, monitor)

    workers.hire(len(trainings), plan, monitor)
    found = workers.map(train_one, trainings)
    run, course = best_of(found)
    course.start = found[0][1].start  # of the linear model, whichever is the best
    of_all, program = beginning.of_all, workers.programs[0]
    if run.best.losses is not None:
        of_all = measured(program, of_all, held_out, run.training.validation_seed)
    chosen = select(run.best, found[0][0].start, of_all)
    return chosen, course, [] if chosen is of_all else [run.best]


def cross_validate(workers, splits, beginning, plan, monitor):
    """Find the learning rates by several splits, and train on all rows at these rates."""
    trials = [(rows, held_out, beginning.of(rows)) for rows, held_out in splits]
    rows, held_out, begin = trials[0]
    monitor.attach(beginning.specification, plan.optimizer, begin, rows, held_out)
    workers.hire(len(trials), plan, monitor)
    several = Splits(workers, trials, plan.training)
    course = train(several, monitor)
    program, rates = workers.programs[0], several.good_rates
    others = folds.candidates_of(program, several.runs) if folds.asked() else []
    if not plan.training.smoothing:  # as many batches, not as many epochs
        n_steps = len(rates) * program.n_batches(rows)
        rates = replayed(rates, round(n_steps / program.n_batches(beginning.rows)))
    program.load_optimizer()
    replay = Replay(program, beginning.rows, beginning.of_all, plan.training, rates)
    refit = monitor.unwatched()
    refit.interrupted = Event()  # the rates found before an interrupt are still used
    train(replay, refit, course)
    if refit.interrupted.is_set():
        monitor.interrupted.set()
    return replay.best, course, others
