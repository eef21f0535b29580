"""Training: epochs and when they stop, and when what they reach is better than the start."""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skae._backend.optimizer import Optimizer
from skae._data.rows import Rows, degrees_of_freedom
from skae._model.components import Coordinates
from skae._model.graph import named_seed
from skae._schedule import (
    RATE_AT_RANDOM,
    Adaptive,
    Constant,
    Planned,
    Recipe,
    suited_rate,
)
from skae._team import n_cores

#: Epochs after which most fits have ended.
USUAL_EPOCHS = 50

#: How many standard errors the validation loss must fall by to leave the start behind.
SIGNIFICANCE = 1.0

#: The same of weights that were random, which on rows of noise leave it too easily.
SIGNIFICANCE_AT_RANDOM = 2.0

#: Batches of all trainings for which several programs are worth while.
STEPS_SIDE_BY_SIDE = 2000


@dataclass(frozen=True)
class Losses:
    """The loss of each of some rows, and how many rows each stands for, or None."""

    values: np.ndarray
    weight: np.ndarray | None = None

    @classmethod
    def together(cls, several):
        """Those of several sets of rows as one."""
        weight = None
        if several[0].weight is not None:
            weight = np.concatenate([losses.weight for losses in several])
        return cls(np.concatenate([losses.values for losses in several]), weight)

    @property
    def mean(self):
        return float(np.average(self.values, weights=self.weight))

    def below(self, others, significance=SIGNIFICANCE):
        """Whether they are lower than others, on average, by so many standard errors."""
        fall = others.values - self.values
        fall = fall / (np.abs(fall).max(initial=0.0) or 1.0)  # whose squares may overflow
        size = len(fall) if self.weight is None else self.weight.sum()
        if len(fall) < 2:
            return False
        mean = np.average(fall, weights=self.weight)
        variance = np.average((fall - mean) ** 2, weights=self.weight)
        return mean > significance * np.sqrt(variance / degrees_of_freedom(size))


@dataclass(frozen=True)
class Candidate:
    """A model that a fit may end at: its start, and what training makes of it.

    Parameters
    ----------
    weights : dict of str to ndarray
    coordinates : Coordinates
    losses : Losses or None
        Those of the validation rows; None without such rows, and where a callback has
        put the weights in place.

    variance : ndarray of shape (n_components,) or None
        The variance of the components, where the start knows it.
    """

    weights: dict
    coordinates: Coordinates
    losses: Losses | None = None
    variance: np.ndarray | None = None


@dataclass(frozen=True)
class Plan:
    """How to train: the estimator's parameters, in numbers.

    `tolerance` is in the units of standardised rows. `rate` is the learning rate that the
    schedule begins with, or its peak where `n_epochs` are planned, and `rate_at_random`
    that of a training that begins at random weights, where there are two (`n_starts`).
    `name` is what its epochs are called where they are shown.
    """

    optimizer: object
    adaptive: bool
    rate: float
    batch_size: int
    max_iter: int
    n_epochs: int | None
    n_splits: int
    shuffle: bool
    alpha: float
    tolerance: float
    patience: float
    early_stopping: bool
    validation_fraction: float
    seed: int
    smoothing: float
    one_epoch: bool = False
    first_epoch: int = 0
    n_before: float = 0
    watched: bool = False
    shown: bool = False
    n_starts: int = 1
    rate_at_random: float = 0.0
    wanted_batch_size: int = 0
    name: str = "epoch"

    @classmethod
    def of(cls, estimator, rows, objective, before, one_epoch, *, validated=False):
        """The plan that an estimator's parameters make for these rows.

        Parameters
        ----------
        estimator : BaseAutoencoder
        rows : Rows
        objective : Reconstruction
        before : State or None
            The fit that this one goes on from.

        one_epoch : bool
            Whether to train for one epoch on all rows, or for none if `max_iter` is 0.

        validated : bool, default=False
            Whether the user brings the validation rows.

        Raises
        ------
        ValueError
            If one is not what it must be.
        """
        draw = check_random_state(estimator.random_state)
        seed = draw.randint(np.iinfo(np.int32).max)
        recipe = Recipe.of(len(rows))
        batch_size, rate = estimator.batch_size, estimator.learning_rate_init
        batch_size = recipe.batch_size if batch_size == "auto" else batch_size
        wanted, batch_size = batch_size, min(batch_size, len(rows))
        n_splits, adaptive = estimator.n_splits, estimator.learning_rate == "adaptive"
        early_stopping = estimator.early_stopping and not one_epoch
        watched = bool(estimator.callbacks or hasattr(estimator, "_skl_callbacks"))
        one_training = watched or before is not None
        if validated:
            n_splits = 1
        elif n_splits == "auto":
            n_splits = 1 if one_training else recipe.n_splits
        elif n_splits > 1 and estimator.callbacks:
            raise ValueError(
                "callbacks watch one training, so n_splits must be 1 or 'auto'. Got"
                f" {n_splits}."
            )
        smoothing, smooths = estimator.smoothing, objective.takes_mixtures(rows)
        if smoothing == "auto":
            several = early_stopping and n_splits > 1
            helps = several and smooths and not objective.noisy
            smoothing = recipe.smoothing if helps else 0.0
        elif smoothing and not smooths:
            raise ValueError(
                "smoothing mixes rows, for which none may be missing a value and the loss"
                f" must take any real numbers: here it must be 0 or 'auto'. Got {smoothing}."
            )
        own_rate = isinstance(rate, str)
        rate = suited_rate(batch_size) if own_rate else rate
        optimizer = Optimizer.of(estimator.optimizer, rate, own_rate)
        rate = optimizer.learning_rate  # None where it is a schedule
        planned = adaptive and rate is not None and not one_epoch and n_splits == 1
        n_epochs = recipe.n_epochs if planned else None
        if own_rate and n_epochs is not None:
            rate *= 2  # at the peak
        compared = early_stopping and estimator.init == "auto" and not one_training
        compared &= n_splits == 1 and estimator.max_iter > 0
        compared &= not rows.has_holes  # which the linear start fills
        return cls(
            optimizer=optimizer,
            adaptive=adaptive and rate is not None,
            rate=rate or 0.0,
            rate_at_random=(rate or 0.0) * (RATE_AT_RANDOM if own_rate else 1.0),
            batch_size=batch_size,
            wanted_batch_size=wanted,
            n_epochs=n_epochs,
            n_splits=n_splits,
            max_iter=min(estimator.max_iter, 1) if one_epoch else estimator.max_iter,
            shuffle=estimator.shuffle,
            alpha=estimator.alpha,
            tolerance=estimator.tol * rows.n_features,
            patience=estimator.n_iter_no_change,
            early_stopping=early_stopping,
            watched=watched,
            shown=bool(estimator.verbose),
            n_starts=recipe.n_starts if compared else 1,
            smoothing=smoothing,
            validation_fraction=estimator.validation_fraction,
            seed=seed if before is None else before.seed,
            one_epoch=one_epoch,
            first_epoch=0 if before is None else estimator.n_iter_,
            n_before=0 if before is None else estimator.n_samples_,
        )

    def look(self):
        """The plan of a single epoch, which shows that there is nothing to gain."""
        return replace(self, n_epochs=1)

    def at_random(self):
        """The plan of a training that begins at random weights."""
        return replace(self, rate=self.rate_at_random, name="from random weights, epoch")

    def schedule(self):
        """The rates of one training from its beginning."""
        if self.n_epochs is not None:
            return Planned(self.rate, self.patience, self.last_epoch)
        return (Adaptive if self.adaptive else Constant)(self.rate, self.patience)

    @property
    def last_epoch(self):
        """The number of epochs at most."""
        return min(self.n_epochs or self.max_iter, self.max_iter)

    def n_steps(self, n_rows):
        """About how many batches a fit to so many rows takes; of a stream no one knows."""
        if self.one_epoch:
            return np.inf
        n_epochs = min(self.last_epoch, USUAL_EPOCHS)
        return self.n_splits * n_epochs * -(-n_rows // self.batch_size)

    def at_once(self, n_trainings, n_rows):
        """How many trainings on so many rows to do side by side."""
        unreadable = self.shown and self.n_starts > 1  # two at once
        few = self.n_steps(n_rows) < STEPS_SIDE_BY_SIDE
        if self.watched or unreadable or few:
            return 1
        return min(n_trainings, n_cores())

    @property
    def unsettled(self):
        """What to warn of where nothing but `max_iter` has ended the training.

        None where that is no surprise: there is no epoch or a single one to make, nothing
        else could end them, or all that were planned are done.
        """
        planned = self.n_epochs is not None and self.n_epochs <= self.max_iter
        if planned or self.one_epoch or self.max_iter == 0 or self.patience == np.inf:
            return None
        return ConvergenceWarning(
            f"Maximum iterations ({self.max_iter}) reached before the loss has settled."
            " Raise max_iter or, where so few are meant, set n_iter_no_change=np.inf."
        )

    def smoothing_at(self, rate):
        """How far around the rows an epoch draws: it falls as the rate does."""
        return self.smoothing * float(rate / self.rate if self.rate else 1.0)

    def order(self, rows, epoch):
        """The order in which an epoch visits the rows."""
        if not self.shuffle:
            return rows.order()
        return rows.order(np.random.default_rng((self.seed, self.first_epoch + epoch)))

    def noise_seed(self, epoch):
        """The seed of all noise of an epoch."""
        return named_seed(self.seed, f"epoch {self.first_epoch + epoch}")


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


def rates_by_splits(team, splits, plan, monitor):
    """How long to train, and at which rates, by the validation rows of several splits.

    Each split is trained from its own start, all of them epoch by epoch, and the mean of
    their validation losses is one curve: its lowest point says where to end. Where the
    curve stops falling, all go back to that point and on at a lower rate.

    Parameters
    ----------
    team : Team
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
    course, path, good, program = Course(), [], 0, team.programs[0]
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
            found, measured_rows = zip(*team.each(train_on, runs), strict=True)
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


def preferred(other, trained, start):
    """Whether to keep what began at random weights, not at the linear model.

    Parameters
    ----------
    other, trained, start : Losses
        Of the same validation rows: what began at random, what did not, and the
        linear model of the training rows.
    """
    better = other.below(start, SIGNIFICANCE_AT_RANDOM)
    return better and other.below(trained)


def select(trained, begin, of_all):
    """The training's result where it is better than its start, else the start.

    Of starts there are two: `begin`, which like the training has not seen the validation
    rows, and that of all rows. The result must be better than the first, and not worse
    than the second, each by more than the standard error of the difference.

    Parameters
    ----------
    trained, begin, of_all : Candidate
        With their losses on the validation rows; without, there is nothing to hold the
        result against.
    """
    if trained.losses is None:
        return trained
    if not trained.losses.below(begin.losses):
        return of_all
    return of_all if of_all.losses.below(trained.losses) else trained
