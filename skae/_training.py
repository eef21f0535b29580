"""Training: epochs and when they stop, and when what they reach is better than the start."""

from dataclasses import dataclass, field, replace

import numpy as np

from skae._components import Coordinates
from skae._graph import stream

#: How many standard errors the validation loss must fall by to leave the start behind.
SIGNIFICANCE = 1.0


@dataclass(frozen=True)
class Candidate:
    """A model that a fit may end at: its start, and what training makes of it.

    Parameters
    ----------
    weights : dict of str to ndarray
    coordinates : Coordinates
    losses : ndarray or None
        The loss of each validation row; None without such rows, and where a callback has
        put the weights in place.

    variance : ndarray of shape (n_components,) or None
        The variance of the components, where the start knows it.
    """

    weights: dict
    coordinates: Coordinates
    losses: np.ndarray | None = None
    variance: np.ndarray | None = None


@dataclass(frozen=True)
class Plan:
    """How to train: the estimator's parameters, in numbers.

    `tolerance` is in the units of standardised rows.
    """

    optimizer: object
    batch_size: int
    max_iter: int
    shuffle: bool
    alpha: float
    tolerance: float
    patience: float
    early_stopping: bool
    validation_fraction: float
    seed: int
    first_epoch: int = 0


@dataclass
class Course:
    """What happened: the losses by name and epoch, and what cut training short."""

    history: dict = field(default_factory=dict)
    trouble: str | None = None

    def add(self, losses):
        for name, value in losses.items():
            self.history.setdefault(name, []).append(float(value))


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
    in_units, where = program.objective.in_units, begin.coordinates
    tolerances = in_units({"loss": np.array([plan.tolerance, 0.0])}, where)["loss"]
    tolerance = tolerances[0] - tolerances[1]
    lowest, waited = np.inf, 0
    validation_seed = stream(plan.seed, "validation")
    if held_out is not None and plan.max_iter > 0:
        begin = measured(program, begin, held_out, plan.seed)
        lowest = begin.losses.mean()
    best, reference = begin, lowest
    try:
        monitor.begin()
        for epoch in range(plan.max_iter):
            monitor.epoch_begin(epoch, program)
            number = plan.first_epoch + epoch
            order = np.arange(len(rows))
            if plan.shuffle:
                np.random.default_rng((plan.seed, number)).shuffle(order)
            losses = program.epoch(
                rows, order, plan.alpha, stream(plan.seed, f"epoch {number}")
            )
            current = losses["loss"]
            if held_out is not None:
                of_rows = program.measure(held_out, validation_seed)
                current = losses["val_loss"] = of_rows.mean()
            latest = None
            if held_out is None or current < lowest:
                latest = program.weights()
            if not _finite(losses, latest):
                course.trouble = (
                    f"Training diverged in epoch {epoch + 1}: the loss is no longer"
                    " finite. The last finite weights are kept. Lower learning_rate_init"
                    " or scale X."
                )
                break
            if held_out is None:
                best = replace(begin, weights=latest, variance=None)
            elif current < lowest:
                lowest = current
                best = Candidate(latest, begin.coordinates, of_rows)
            waited = 0 if current < reference - tolerance else waited + 1
            reference = min(reference, current)
            course.add(losses)
            if monitor.epoch_end(epoch, losses, program) or waited > plan.patience:
                break
        replaced = monitor.end(program)
        if replaced is not None:
            best = Candidate(replaced, begin.coordinates)
    except KeyboardInterrupt:
        course.trouble = "Training interrupted by user."
    return best, begin, course


def measured(program, candidate, held_out, seed):
    """The candidate with its losses on the validation rows."""
    program.load(candidate.weights, candidate.coordinates)
    losses = program.measure(held_out, stream(seed, "validation"))
    return replace(candidate, losses=losses)


def _finite(losses, weights):
    return np.isfinite([*losses.values()]).all() and (
        weights is None or all(np.isfinite(value).all() for value in weights.values())
    )


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
    if not is_better(trained.losses, begin.losses):
        return of_all
    return of_all if is_better(of_all.losses, trained.losses) else trained


def is_better(losses, others):
    """Whether losses are lower than others, on average, by over one standard error."""
    fall = others - losses
    if len(fall) < 2:
        return False
    return fall.mean() > SIGNIFICANCE * fall.std(ddof=1) / np.sqrt(len(fall))
