"""Plan: how to train, in numbers."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skae._backend.optimizer import Optimizer
from skae._model.graph import named_seed
from skae._training.defaults import RATE_AT_RANDOM, Recipe, suited_rate
from skae._training.schedule import Adaptive, Constant, Planned
from skae._training.workers import n_cores

#: Epochs after which most fits have ended.
USUAL_EPOCHS = 50

#: Batches of all trainings for which several programs are worth while.
STEPS_SIDE_BY_SIDE = 2000


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
