"""Epochs: how they are made, what stops them, and who is told."""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skae._data.rows import Rows
from skae._model.graph import named_seed
from skae._training.schedule import Adaptive
from skae._training.selection import Candidate, Losses


@dataclass
class Course:
    """What happened: the losses by name and epoch, and what is wrong with the end."""

    history: dict = field(default_factory=dict)
    trouble: Warning | None = None

    def add(self, losses):
        for name, value in losses.items():
            self.history.setdefault(name, []).append(float(value))

    def interrupt(self):
        self.trouble = UserWarning("Training interrupted by user.")

    def after(self, earlier):
        """The history of another course that this one goes on from, and of this."""
        names = dict.fromkeys([*earlier, *self.history])
        return {
            name: [*earlier.get(name, []), *self.history.get(name, [])] for name in names
        }


def train(program, begin, rows, held_out, plan, monitor):
    """Train and keep the best weights.

    With validation rows the best are those of the epoch with the least validation loss,
    the beginning among them. Without, the last epoch's. Weights that are not finite
    never leave here.

    Parameters
    ----------
    program : Program
        Its optimizer loaded.

    begin : Candidate
    rows, held_out : Rows, Rows or None
    plan : Plan
        Epoch ``t`` visits the rows in the order that ``(seed, first_epoch + t)`` gives.

    monitor : Monitor
        Told of each epoch; may ask to stop.

    Returns
    -------
    trained, begin : Candidate
        Both with their losses on the validation rows.

    course : Course
    """
    course = Course()
    program.load(begin.weights, begin.coordinates)
    schedule, tolerance = plan.schedule(), _tolerance(program, begin, plan)
    lowest, n_batches = np.inf, program.n_batches(rows)
    validation_seed = named_seed(plan.seed, "validation")
    if held_out is not None and plan.max_iter > 0:
        begin = measured(program, begin, held_out, plan.seed)
        lowest = begin.losses.mean
    best, reference = begin, lowest
    try:
        monitor.begin(plan)
        for epoch in range(plan.last_epoch):
            if monitor.interrupted.is_set():
                break
            monitor.epoch_begin(epoch, program)
            losses = _epoch(program, rows, plan, epoch, schedule.rates(n_batches))
            current = losses["loss"]
            if held_out is not None:
                of_rows = _losses(program, held_out, validation_seed)
                current = losses["val_loss"] = of_rows.mean
            latest = None
            if held_out is None or current < lowest:
                latest = program.weights()
            if not _finite(losses, latest):
                course.trouble = _diverged(epoch)
                break
            if held_out is None:
                best = replace(begin, weights=latest, variance=None)
            elif current < lowest:
                lowest = current
                best = Candidate(latest, begin.coordinates, of_rows)
            going_on = schedule.goes_on(current < reference - tolerance)
            reference = min(reference, current)
            course.add(losses)
            if monitor.epoch_end(epoch, losses, program) or not going_on:
                break
        else:
            course.trouble = plan.unsettled
        replaced = monitor.end(program)
        if replaced is not None:
            best = Candidate(replaced, begin.coordinates)
    except KeyboardInterrupt:
        monitor.interrupted.set()
    return best, begin, course


def _epoch(program, rows, plan, epoch, rates):
    """Train for an epoch, each batch at its rate."""
    order, seed = plan.order(rows, epoch), plan.noise_seed(epoch)
    smoothing = plan.smoothing_at(rates[0])
    return program.epoch(rows, order, plan.alpha, seed, rates, smoothing)


def measured(program, candidate, held_out, seed):
    """The candidate with its losses on the validation rows."""
    program.load(candidate.weights, candidate.coordinates)
    losses = _losses(program, held_out, named_seed(seed, "validation"))
    return replace(candidate, losses=losses)


def _losses(program, held_out, seed):
    return Losses(program.measure(held_out, seed), held_out.weight)


def _tolerance(program, begin, plan):
    """The least fall of the loss that counts, in the units of X."""
    ends = {"loss": np.array([plan.tolerance, 0.0])}
    ends = program.objective.in_units(ends, begin.coordinates)["loss"]
    return ends[0] - ends[1]


def _finite(losses, weights):
    return np.isfinite([*losses.values()]).all() and (
        weights is None or all(np.isfinite(value).all() for value in weights.values())
    )


@dataclass
class Split:
    """One of several trainings side by side: where it is, and its losses at the start."""

    rows: Rows
    held_out: Rows
    begin: Candidate
    place: tuple


#: Of the trainings of several splits: what a rate that brings nothing more is multiplied
#: by, how often, and after how many epochs, as a share of those before the first gain.
SPLITS_RATE = {"factor": 0.3, "reductions": 2, "share": 1 / 3}


def rates_by_splits(workers, splits, plan, monitor):
    """How long to train, and at which rates, by the validation rows of several splits.

    Each split is trained from its own start, all of them epoch by epoch, and the mean of
    their validation losses is one curve: its lowest point says where to end. Where the
    curve stops falling, all go back to that point and on at a lower rate.

    Parameters
    ----------
    workers : Workers
        Its programs train splits side by side.

    splits : list of (Rows, Rows, Candidate)
        The rows to train on and to validate on, and where training begins.

    plan : Plan
    monitor : Monitor

    Returns
    -------
    rates : list of float
        The rate of each epoch until the lowest point; empty where the fall is within the
        standard error.

    course : Course
        Of the mean losses of all splits.
    """
    course, path, good, program = Course(), [], 0, workers.programs[0]
    validation_seed = named_seed(plan.seed, "validation")
    runs = []
    for rows, held_out, begin in splits:
        program.load_optimizer()
        begin = measured(program, begin, held_out, plan.seed)
        runs.append(Split(rows, held_out, begin, program.bookmark()))
    start = best = Losses.together([run.begin.losses for run in runs])
    places = [run.place for run in runs]
    schedule = plan.schedule()
    if plan.adaptive:
        schedule = Adaptive(plan.rate, plan.patience, **SPLITS_RATE)
    tolerance, reference = _tolerance(program, splits[0][2], plan), start.mean

    def train_on(program, run):
        program.turn_to(run.place)
        rates = schedule.rates(program.n_batches(run.rows))
        losses = _epoch(program, run.rows, plan, epoch, rates)
        of_rows = _losses(program, run.held_out, validation_seed)
        run.place = program.bookmark()
        return losses, of_rows

    try:
        monitor.begin(plan)
        for epoch in range(plan.last_epoch):
            if monitor.interrupted.is_set():
                break
            monitor.epoch_begin(epoch, program)
            path.append(schedule.rate)
            found, measured_rows = zip(*workers.map(train_on, runs), strict=True)
            losses = {name: np.mean([each[name] for each in found]) for name in found[0]}
            of_rows = Losses.together(measured_rows)
            losses["val_loss"] = current = of_rows.mean
            if not _finite(losses, None):
                course.trouble = _diverged(epoch)
                break
            if current < best.mean:
                best, good = of_rows, len(path)
                places = [run.place for run in runs]
            rate = schedule.rate
            going_on = schedule.goes_on(current < reference - tolerance)
            reference = min(reference, current)
            course.add(losses)
            if monitor.epoch_end(epoch, losses, program) or not going_on:
                break
            if schedule.rate != rate:
                del path[good:]
                for run, place in zip(runs, places, strict=True):
                    run.place = place
        else:
            course.trouble = plan.unsettled
        monitor.end(program)
    except KeyboardInterrupt:
        monitor.interrupted.set()
    return (path[:good] if best.below(start) else []), course


def train_for(program, begin, rows, rates, plan, course, monitor):
    """Train on all rows, an epoch at each of the rates, with nothing to stop it.

    Parameters
    ----------
    program : Program
    begin : Candidate
    rows : Rows
    rates : list of float
    plan : Plan
    course : Course
        Told of the losses, as "refit_loss".

    monitor : Monitor

    Returns
    -------
    trained : Candidate
    """
    program.load(begin.weights, begin.coordinates)
    program.load_optimizer()
    n_batches = program.n_batches(rows)
    best = begin
    monitor.refit_begin(len(rates))
    try:
        for epoch, rate in enumerate(rates):
            of_batches = np.full(n_batches, rate, np.float32)
            losses = _epoch(program, rows, plan, epoch, of_batches)
            latest = program.weights()
            if not _finite(losses, latest):
                course.trouble = _diverged(epoch)
                break
            losses = {"refit_loss": losses["loss"]}
            monitor.refit_epoch_end(losses)
            course.add(losses)
            best = Candidate(latest, begin.coordinates)
    except KeyboardInterrupt:
        monitor.interrupted.set()
    return best


def _diverged(epoch):
    return ConvergenceWarning(
        f"Training diverged in epoch {epoch + 1}: the loss is no longer finite. The last"
        " finite weights are kept. Lower learning_rate_init or scale X."
    )
