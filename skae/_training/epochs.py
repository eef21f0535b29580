"""Epochs: the one loop over them, what stops it, and who is told."""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skae._training.schedule import Adaptive, Replayed
from skae._training.selection import Candidate, Losses

#: Of several splits: what a rate that brings nothing more is multiplied by, how often,
#: and after how many epochs, as a fraction of those before the first gain.
SPLITS_RATE = {"factor": 0.3, "reductions": 2, "share": 1 / 3}


@dataclass
class Course:
    """The losses by name and epoch, and what is wrong with the end."""

    history: dict = field(default_factory=dict)
    trouble: Warning | None = None

    def add(self, losses):
        for name, value in losses.items():
            self.history.setdefault(name, []).append(float(value))

    def interrupt(self):
        self.trouble = UserWarning("Training interrupted by user.")

    def after(self, earlier):
        """Join the history of a course that this one goes on from, and this one's."""
        names = dict.fromkeys([*earlier, *self.history])
        return {
            name: [*earlier.get(name, []), *self.history.get(name, [])] for name in names
        }


def train(run, monitor, course=None):
    """Make epochs until the schedule ends, the loss diverges, or someone says stop.

    Weights that are not finite are never kept.

    Parameters
    ----------
    run : Run
        One training, several splits or a replay.

    monitor : Monitor
        Told of each epoch; may ask to stop.

    course : Course or None, default=None
        One to go on with.

    Returns
    -------
    course : Course
    """
    course = Course() if course is None else course
    reference = run.begin()
    schedule, tolerance = run.schedule, run.tolerance
    try:
        monitor.begin(run)
        for epoch in range(run.n_epochs):
            if monitor.interrupted.is_set():
                break
            monitor.epoch_begin(epoch, run.program)
            losses = run.epoch(epoch)
            if not run.keeps(losses):
                course.trouble = _diverged(epoch)
                break
            current = losses.get("val_loss", losses[run.loss])
            going_on = schedule.goes_on(current < reference - tolerance)
            reference = min(reference, current)
            course.add(losses)
            if monitor.epoch_end(epoch, losses, run.program) or not going_on:
                break
            run.follow(schedule.rate)
        else:
            course.trouble = run.unsettled or course.trouble
        run.replace(monitor.end(run.program))
    except KeyboardInterrupt:
        monitor.interrupted.set()
    finally:
        monitor.close()
    return course


def _diverged(epoch):
    return ConvergenceWarning(
        f"Training diverged in epoch {epoch + 1}: the loss is no longer finite. The last"
        " finite weights are kept. Lower learning_rate_init or scale X."
    )


def _finite(values):
    return all(np.isfinite(value).all() for value in values)


def measured(program, candidate, held_out, seed):
    """Compute the candidate's losses on the validation rows."""
    program.load(candidate.weights, candidate.coordinates)
    losses = Losses(program.measure(held_out, seed), held_out.weight)
    return replace(candidate, losses=losses)


class Run:
    """One training on one program.

    With validation rows the best weights are those of the epoch with the least validation
    loss, the beginning among them. Without, they are the last epoch's.

    Parameters
    ----------
    program : Program
        Its optimizer loaded.

    rows, held_out : Rows, Rows or None
    start : Candidate
    training : Training
        Epoch ``t`` visits the rows in the order that ``(seed, first_epoch + t)`` gives.

    Attributes
    ----------
    best, start : Candidate
        With their losses on the validation rows, once the run has begun.
    """

    loss = "loss"

    def __init__(self, program, rows, held_out, start, training):
        self.program, self.rows, self.held_out = program, rows, held_out
        self.start = self.best = start
        self.training, self.schedule = training, training.schedule()
        self.name, self.first_epoch = training.name, training.first_epoch
        self.n_epochs, self.unsettled = training.last_epoch, training.unsettled

    def begin(self):
        """Put the weights in place, and compute the validation loss that they have."""
        if self.held_out is None or not self.n_epochs:
            self.program.load(self.start.weights, self.start.coordinates)
            return np.inf
        seed = self.training.validation_seed
        self.start = self.best = measured(self.program, self.start, self.held_out, seed)
        return self.start.losses.mean

    @property
    def tolerance(self):
        """The least fall of the loss that counts, in the units of X."""
        ends = {"loss": np.array([self.training.tolerance, 0.0])}
        ends = self.program.objective.in_units(ends, self.start.coordinates)["loss"]
        return ends[0] - ends[1]

    def epoch(self, epoch):
        """Train for an epoch, each batch at its rate, and validate.

        Returns
        -------
        losses : dict of str to float
        """
        program, training = self.program, self.training
        rates = self.schedule.rates(program.n_batches(self.rows))
        order, seed = training.order(self.rows, epoch), training.noise_seed(epoch)
        smoothing = training.smoothing_at(rates[0])
        losses = program.epoch(self.rows, order, training.alpha, seed, rates, smoothing)
        if self.held_out is not None:
            found = program.measure(self.held_out, training.validation_seed)
            self.validated = Losses(found, self.held_out.weight)
            losses["val_loss"] = self.validated.mean
        return losses

    def keeps(self, losses):
        """Keep the weights if they are the best; False if something is not finite."""
        if self.held_out is not None and not losses["val_loss"] < self.best.losses.mean:
            return _finite(losses.values())
        weights = self.program.weights()
        if not _finite([*losses.values(), *weights.values()]):
            return False
        validated = None if self.held_out is None else self.validated
        self.best = Candidate(weights, self.start.coordinates, validated)
        return True

    def follow(self, rate):
        """Go on at the rate that the schedule has now."""

    def replace(self, weights):
        """Keep the weights that a callback has put in place, if one has."""
        if weights is not None:
            self.best = Candidate(weights, self.start.coordinates)


class Replay(Run):
    """A training on all rows, at rates that others have found, with nothing to stop it."""

    loss = "refit_loss"

    def __init__(self, program, rows, start, training, rates):
        super().__init__(program, rows, None, start, training)
        self.schedule, self.n_epochs, self.unsettled = Replayed(rates), len(rates), None
        self.name, self.first_epoch = "refit", 0

    def epoch(self, epoch):
        return {"refit_loss": super().epoch(epoch)["loss"]}


class Splits:
    """Trainings on several splits, side by side, whose validation losses are one curve.

    Its lowest point says where to end. Where the curve stops falling, all go back to that
    point and on at a lower rate.

    Parameters
    ----------
    workers : Workers
    splits : list of (Rows, Rows, Candidate)
        The rows to train on and to validate on, and where training begins.

    training : Training

    Attributes
    ----------
    rates : list of float
        The rate of each epoch until now, without those that were gone back on.

    n_good : int
        How many of them lead to the lowest point.
    """

    loss = "loss"

    def __init__(self, workers, splits, training):
        self.workers, self.program = workers, workers.programs[0]
        self.runs = [Run(self.program, *split, training) for split in splits]
        self.schedule = training.schedule()
        if training.adaptive:
            self.schedule = Adaptive(training.rate, training.patience, **SPLITS_RATE)
        for run in self.runs:
            run.schedule = self.schedule
        self.name, self.first_epoch = training.name, training.first_epoch
        self.n_epochs, self.unsettled = training.last_epoch, training.unsettled
        self.tolerance, self.rates, self.n_good = self.runs[0].tolerance, [], 0

    def begin(self):
        for run in self.runs:
            self.program.load_optimizer()
            run.begin()
            run.bookmark = run.best_bookmark = self.program.bookmark()
        self.start = self.best = Losses.together([run.start.losses for run in self.runs])
        return self.start.mean

    def epoch(self, epoch):
        def train_on(program, run):
            program.turn_to(run.bookmark)
            run.program = program
            losses = run.epoch(epoch)
            run.bookmark = program.bookmark()
            return losses

        self.rates.append(self.schedule.rate)
        found = self.workers.map(train_on, self.runs)
        losses = {name: np.mean([each[name] for each in found]) for name in found[0]}
        self.validated = Losses.together([run.validated for run in self.runs])
        return losses | {"val_loss": self.validated.mean}

    def keeps(self, losses):
        if not _finite(losses.values()):
            return False
        if losses["val_loss"] < self.best.mean:
            self.best, self.n_good = self.validated, len(self.rates)
            for run in self.runs:
                run.best_bookmark = run.bookmark
        return True

    def follow(self, rate):
        if rate != self.rates[-1]:
            del self.rates[self.n_good :]
            for run in self.runs:
                run.bookmark = run.best_bookmark

    def replace(self, weights):
        """Callbacks that put weights in place watch a single training."""

    @property
    def good_rates(self):
        """The rates until the lowest point; none where the fall is within its error."""
        return self.rates[: self.n_good] if self.best.below(self.start) else []
