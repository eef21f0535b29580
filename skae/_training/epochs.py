"""Epochs: the one loop over them, and the trainings that it runs."""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skae._training.schedule import Adaptive, Replayed
from skae._training.selection import Candidate, Losses

#: The adaptive rate of several splits: its factor where the loss stops falling, the
#: number of reductions, and the epochs to wait, as a fraction of those before the first
#: gain.
SPLITS_RATE = {"factor": 0.3, "reductions": 2, "share": 1 / 3}


@dataclass
class Course:
    """The losses by name and epoch, and a warning if training ended badly.

    `start` is the validation loss before the first epoch, None without validation rows.
    """

    history: dict = field(default_factory=dict)
    trouble: Warning | None = None
    start: float | None = None

    def add(self, losses):
        for name, value in losses.items():
            self.history.setdefault(name, []).append(float(value))

    def interrupt(self):
        self.trouble = UserWarning("Training interrupted by user.")

    def after(self, earlier):
        """Append this history to the history of the course that it continues."""
        names = dict.fromkeys([*earlier, *self.history])
        return {
            name: [*earlier.get(name, []), *self.history.get(name, [])] for name in names
        }


def train(run, monitor, course=None):
    """Train until the schedule ends, the loss diverges, or training is stopped.

    Weights that are not finite are never stored.

    Parameters
    ----------
    run : Run
        One training, several splits or a replay.

    monitor : Monitor
        Is called at each epoch, and may stop the training.

    course : Course or None, default=None
        A course to continue.

    Returns
    -------
    course : Course
    """
    course = Course() if course is None else course
    reference = run.begin()
    if np.isfinite(reference):
        course.start = float(reference)
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

    With validation rows, the best weights are the ones with the least validation loss,
    before training or after any epoch. Without, they are the weights of the last epoch.

    Parameters
    ----------
    program : Program
        Its optimizer is loaded.

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
        """Load the weights, and compute their validation loss."""
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
        """Train for an epoch, each batch at its own learning rate, and validate.

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
        """Store the weights if they are the best so far.

        Return False if a loss or a weight is not finite.
        """
        if self.held_out is not None and not losses["val_loss"] < self.best.losses.mean:
            return _finite(losses.values())
        weights = self.program.weights()
        if not _finite([*losses.values(), *weights.values()]):
            return False
        validated = None if self.held_out is None else self.validated
        self.best = Candidate(weights, self.start.coordinates, validated)
        return True

    def follow(self, rate):
        """Continue at the current rate of the schedule."""

    def replace(self, weights):
        """Store the weights that a callback has set, if any."""
        if weights is not None:
            self.best = Candidate(weights, self.start.coordinates)


class Replay(Run):
    """A training on all rows, at given rates, without early stopping."""

    loss = "refit_loss"

    def __init__(self, program, rows, start, training, rates):
        super().__init__(program, rows, None, start, training)
        self.schedule, self.n_epochs, self.unsettled = Replayed(rates), len(rates), None
        self.name, self.first_epoch = "refit", 0

    def epoch(self, epoch):
        return {"refit_loss": super().epoch(epoch)["loss"]}


class Splits:
    """Trainings on several splits in parallel, whose validation losses form one curve.

    The lowest point of the curve sets the number of epochs. Where the curve stops
    falling, all trainings return to that point and continue at a lower rate.

    Parameters
    ----------
    workers : Workers
    splits : list of (Rows, Rows, Candidate)
        Training rows, validation rows, and the candidate to train from.

    training : Training

    Attributes
    ----------
    rates : list of float
        The rate of each epoch so far, without the epochs that were undone.

    n_good : int
        The number of rates up to the lowest point.
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
        """Do nothing: callbacks, which can set weights, watch a single training."""

    @property
    def good_rates(self):
        """The rates up to the lowest point; empty if the fall is within its error."""
        return self.rates[: self.n_good] if self.best.below(self.start) else []
