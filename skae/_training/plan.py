"""Plan: the numbers that say how to train."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skae._backend.optimizer import Optimizer
from skae._model.graph import named_seed
from skae._starts.linear import LinearStart
from skae._training.defaults import RATE_AT_RANDOM, Defaults, suited_rate
from skae._training.schedule import Adaptive, Constant, Planned

#: The number of epochs after which most fits have ended.
USUAL_EPOCHS = 50


@dataclass(frozen=True)
class Training:
    """The settings of one training: all that the loop over epochs needs.

    Parameters
    ----------
    rate : float
        The learning rate that the schedule begins with, or its peak if `n_epochs` is set.

    adaptive : bool
    patience : int or inf
    max_iter : int
    n_epochs : int or None
        The planned number of epochs; None trains until the schedule ends.

    shuffle : bool
    alpha : float
    tolerance : float
        The least decrease of the loss that counts, for standardised rows.

    smoothing : float
    seed : int
    first_epoch : int, default=0
        The number of epochs of the earlier fits that this one continues.

    name : str, default="epoch"
        The name of an epoch in the display.
    """

    rate: float
    adaptive: bool
    patience: float
    max_iter: int
    n_epochs: int | None
    shuffle: bool
    alpha: float
    tolerance: float
    smoothing: float
    seed: int
    first_epoch: int = 0
    name: str = "epoch"

    def schedule(self):
        """Return the learning rate schedule of one training."""
        if self.n_epochs is not None:
            return Planned(self.rate, self.patience, self.last_epoch)
        return (Adaptive if self.adaptive else Constant)(self.rate, self.patience)

    @property
    def last_epoch(self):
        """The largest number of epochs."""
        return min(self.n_epochs or self.max_iter, self.max_iter)

    @property
    def unsettled(self):
        """The warning that only `max_iter` has ended the training.

        None where that is expected: there is no epoch, nothing else could end training,
        or all planned epochs are done.
        """
        planned = self.n_epochs is not None and self.n_epochs <= self.max_iter
        if planned or self.max_iter == 0 or self.patience == np.inf:
            return None
        return ConvergenceWarning(
            f"Maximum iterations ({self.max_iter}) reached before the loss has settled."
            " Raise max_iter or, where so few are meant, set n_iter_no_change=np.inf."
        )

    def smoothing_at(self, rate):
        """Compute the bandwidth of an epoch, which falls with the learning rate."""
        return self.smoothing * float(rate / self.rate if self.rate else 1.0)

    def order(self, rows, epoch):
        """Draw the order of the rows in an epoch."""
        if not self.shuffle:
            return rows.order()
        return rows.order(np.random.default_rng((self.seed, self.first_epoch + epoch)))

    def noise_seed(self, epoch):
        """Derive the seed of all noise in an epoch."""
        return named_seed(self.seed, f"epoch {self.first_epoch + epoch}")

    @property
    def validation_seed(self):
        """The seed of all noise in validation, the same in every epoch."""
        return named_seed(self.seed, "validation")


@dataclass(frozen=True)
class Plan:
    """The settings of a fit: a training, and what validation and restarts need.

    Parameters
    ----------
    training : Training
    optimizer : Optimizer
    batch_size : int
        If there are fewer rows, they are one batch.

    n_batches : float
        The number of batches in an epoch on all rows; infinite for `partial_fit`, where
        every call adds an epoch.

    validation_fraction : float or None, default=None
        None trains on all rows until the last epoch, without early stopping.

    n_splits : int, default=1
    rate_at_random : float or None, default=None
        The learning rate of a second training, from random weights; None for no such
        training.

    init : LinearStart or None, default=None
        A given linear model to start at, instead of the closed form of the rows.
    """

    training: Training
    optimizer: Optimizer
    batch_size: int
    n_batches: float
    validation_fraction: float | None = None
    n_splits: int = 1
    rate_at_random: float | None = None
    init: LinearStart | None = None

    @classmethod
    def of(cls, estimator, rows, objective, before, *, watched, validated):
        """Make the plan of a fit to these rows.

        Parameters
        ----------
        estimator : BaseAutoencoder
        rows : Rows
        objective : Reconstruction
        before : State or None
            The fit that this one continues.

        watched : bool
            Whether callbacks watch the training.

        validated : bool
            Whether the user passes validation rows.

        Raises
        ------
        ValueError
            If a parameter is invalid.
        """
        one_training = watched or before is not None
        defaults = Defaults.of(len(rows))
        n_splits = _n_splits(estimator, defaults, one_training, validated)
        several = estimator.early_stopping and n_splits > 1
        smoothing = _smoothing(estimator, objective, rows, defaults, several)
        training, optimizer, batch_size = _training(estimator, rows, before, smoothing)
        tuned = not isinstance(estimator.learning_rate_init, str)
        if training.adaptive and n_splits == 1 and defaults.n_epochs is not None:
            peak = training.rate * (1 if tuned else 2)
            training = replace(training, rate=peak, n_epochs=defaults.n_epochs)
        at_random = None
        if (
            defaults.n_starts > 1
            and estimator.early_stopping
            and estimator.init == "auto"
            and not one_training
            and n_splits == 1
            and estimator.max_iter > 0
        ):
            at_random = training.rate * (1.0 if tuned else RATE_AT_RANDOM)
        fraction = estimator.validation_fraction if estimator.early_stopping else None
        n_batches = -(-len(rows) // min(batch_size, len(rows)))
        more = fraction, n_splits, at_random, _init(estimator, rows, before)
        return cls(training, optimizer, batch_size, n_batches, *more)

    @classmethod
    def of_call(cls, estimator, rows, objective, before):
        """Make the plan of a call of `partial_fit`: one epoch on all rows, or none."""
        smoothing = _smoothing(estimator, objective, rows, None, several=False)
        training, optimizer, batch_size = _training(estimator, rows, before, smoothing)
        n_epochs = min(estimator.max_iter, 1)
        training = replace(training, max_iter=n_epochs, patience=np.inf)
        init = _init(estimator, rows, before)
        return cls(training, optimizer, batch_size, n_batches=np.inf, init=init)

    @property
    def seed(self):
        return self.training.seed

    @property
    def n_steps(self):
        """An estimate of the number of batches that the fit takes."""
        if self.n_batches == np.inf:
            return np.inf
        n_epochs = min(self.training.last_epoch, USUAL_EPOCHS)
        return self.n_splits * n_epochs * self.n_batches

    @property
    def early_stopping(self):
        return self.validation_fraction is not None

    def look(self):
        """Plan a single epoch, to confirm that there is nothing to gain."""
        return replace(self, training=replace(self.training, n_epochs=1))

    @property
    def n_epochs_at_most(self):
        """The largest number of epochs in all trainings that callbacks can watch."""
        return (1 if self.rate_at_random is None else 2) * self.training.max_iter

    def at_random(self):
        """Return the settings of the training that begins at random weights."""
        return replace(
            self.training, rate=self.rate_at_random, name="from random weights, epoch"
        )

    def splits(self, rows, held_out):
        """Return pairs of training and validation rows.

        Parameters
        ----------
        rows : Rows
        held_out : Rows or None
            The validation rows that the user passes.
        """
        if not self.early_stopping or held_out is not None:
            return [(rows, held_out)]
        return [
            rows.split(self.validation_fraction, self.seed + i)
            for i in range(self.n_splits)
        ]


def _training(estimator, rows, before, smoothing):
    """Build a training, its optimizer and its batch size from the parameters."""
    batch_size, rate = estimator.batch_size, estimator.learning_rate_init
    if batch_size == "auto":
        batch_size = Defaults.of(len(rows)).batch_size
    seed = check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max)
    tuned = not isinstance(rate, str)
    rate = rate if tuned else suited_rate(min(batch_size, len(rows)))
    optimizer = Optimizer.of(estimator.optimizer, rate, not tuned)
    rate = optimizer.learning_rate  # None where it is a schedule
    training = Training(
        rate=rate or 0.0,
        adaptive=estimator.learning_rate == "adaptive" and rate is not None,
        patience=estimator.n_iter_no_change,
        max_iter=estimator.max_iter,
        n_epochs=None,
        shuffle=estimator.shuffle,
        alpha=estimator.alpha,
        tolerance=estimator.tol * rows.n_features,
        smoothing=smoothing,
        seed=seed if before is None else before.seed,
        first_epoch=0 if before is None else estimator.n_iter_,
    )
    return training, optimizer, batch_size


def _init(estimator, rows, before):
    """Read the linear model of a fitted transformer; None without one."""
    if isinstance(estimator.init, str) or before is not None:
        return None
    init = LinearStart.of(estimator.init, rows.n_features)
    if len(init.decoder) != estimator.n_components:
        raise ValueError(
            f"init has {len(init.decoder)} components, and n_components must be that"
            f" number. Got {estimator.n_components!r}."
        )
    return init


def _n_splits(estimator, defaults, one_training, validated):
    """Return the number of splits for validation."""
    if validated:
        return 1
    if estimator.n_splits == "auto":
        return 1 if one_training else defaults.n_splits
    if estimator.n_splits > 1 and estimator.callbacks:
        raise ValueError(
            "callbacks watch one training, so n_splits must be 1 or 'auto'. Got"
            f" {estimator.n_splits}."
        )
    return estimator.n_splits


def _smoothing(estimator, objective, rows, defaults, several):
    """Return the bandwidth of the smoothed bootstrap."""
    smoothing = getattr(estimator, "smoothing", 0.0)  # noise already smooths
    smooths = objective.takes_mixtures(rows)
    if smoothing == "auto":
        return defaults.smoothing if several and smooths else 0.0
    if smoothing and not smooths:
        raise ValueError(
            "smoothing mixes rows, for which none may be missing a value and the loss"
            f" must take any real numbers: here it must be 0 or 'auto'. Got {smoothing}."
        )
    return smoothing
