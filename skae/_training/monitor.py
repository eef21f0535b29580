"""Monitor: callbacks of Keras and of scikit-learn at each epoch, and progress."""

import copy
import threading
from dataclasses import replace

import keras
import numpy as np

from skae._model.graph import build
from skae._model.raw import raw
from skae._training.progress import Progress
from skae._utils.keras import learning_rate_of, traces_batches
from skae._utils.sklearn import has_callbacks

_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
)


def check_callbacks(callbacks):
    """Check Keras callbacks, and copy them.

    Raises
    ------
    TypeError
        If one is not a Keras callback.

    ValueError
        If one needs to be called at batch boundaries; the message names it.
    """
    for callback in callbacks or ():
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                "callbacks must be a list of Keras callbacks"
                f" (keras.callbacks.Callback). Got {callback!r} in it."
            )
        if _needs_batches(callback):
            raise ValueError(
                f"callbacks: {type(callback).__name__} needs to be called at every batch,"
                " but batches run in compiled calls of many. Callbacks are"
                " called at fit and epoch boundaries: choose update_freq='epoch',"
                " save_freq='epoch' or a hook of the epoch."
            )
    return [copy.copy(callback) for callback in callbacks or ()]


def _needs_batches(callback):
    known = keras.callbacks
    if isinstance(callback, known.TensorBoard):
        return (
            callback.update_freq != "epoch"
            or traces_batches(callback)
            or callback.write_steps_per_second
        )
    if isinstance(callback, (known.ModelCheckpoint, known.BackupAndRestore)):
        return callback.save_freq != "epoch"
    if isinstance(callback, (known.TerminateOnNaN, known.History)):
        return False
    if _is_mlflow(callback):  # has a hook of batches, which then does nothing
        return not callback.log_every_epoch
    hooks = {**vars(type(callback)), **vars(callback)}
    for kind in type(callback).__mro__[1:]:
        if kind is known.Callback:
            break
        hooks = {**vars(kind), **hooks}
    return any(hook in hooks for hook in _BATCH_HOOKS)


def _is_mlflow(callback):
    """Check whether a callback is MLflow's, of `mlflow.keras` or `mlflow.tensorflow`."""
    return any(
        kind.__name__ == "MlflowCallback" and kind.__module__.split(".")[0] == "mlflow"
        for kind in type(callback).__mro__
    )


def watches(estimator):
    """Check whether an estimator has callbacks that watch its training."""
    return bool(estimator.callbacks or has_callbacks(estimator))


class Monitor:
    """Calls callbacks and the display at each epoch, and stops if a callback asks to.

    Parameters
    ----------
    estimator : BaseAutoencoder
        The estimator with the callbacks.

    X : ndarray
        The rows that it is fitted to.

    plan : Plan
    describe : callable
        Maps a candidate to a state and fitted attributes: see `described`.

    Attributes
    ----------
    interrupted : threading.Event
        Set once the user has interrupted training, or a parallel training has failed.

    watches, shows : bool
        Whether callbacks watch the training, and whether its epochs are shown.
    """

    def __init__(self, estimator, X, *, plan, describe):
        self.estimator, self.describe = estimator, describe
        self.task = {"estimator": estimator, "X": X, "y": X}  # its target is its input
        self.max_iter, self.shows = plan.training.max_iter, bool(estimator.verbose)
        self.watches = watches(estimator)
        self.callbacks = check_callbacks(estimator.callbacks)
        self.context = estimator._init_callback_context(
            max_subtasks=plan.n_epochs_at_most
        )
        self.model = None
        self.displays = []  # one at most, shared with `unwatched` copies
        self.interrupted = threading.Event()

    def unwatched(self):
        """Return a copy that shows epochs but calls no callback."""
        other = copy.copy(self)
        other.context = other.model = None
        return other

    def attach(self, specification, optimizer, begin, rows, held_out):
        """Give Keras callbacks a model on raw rows, with the current weights.

        Parameters
        ----------
        specification : Specification
        optimizer : Optimizer
        begin : Candidate
            The candidate to train from.

        rows, held_out : Rows, Rows or None
            Training and validation rows.
        """
        self.at = begin
        if not self.callbacks:
            return
        self.graph = build(specification, "float32")
        self.graph.load(begin.weights)
        self.model = raw(self.graph, begin.coordinates).autoencoder
        self.model.optimizer, self.model.stop_training = optimizer.make(), False
        if optimizer.learning_rate is not None:
            self.model.optimizer.learning_rate = optimizer.learning_rate
        self.rate = float(self.model.optimizer.learning_rate)
        shown = rows if held_out is None else held_out
        self.callbacks = keras.callbacks.CallbackList(
            self.callbacks,
            model=self.model,
            verbose=0,
            epochs=self.max_iter,
            steps=1,
            # For skae's own callbacks
            estimator=self.estimator,
            validates=held_out is not None,
            rows=lambda n: shown.dense(n).reshape(-1, *self.model.input_shape[1:]),
        )

    def begin(self, run):
        """Call the callbacks at the beginning of a run, and show its epochs."""
        if self.context is not None:
            self.context.call_on_fit_task_begin(**self.task)
        self.close()
        if self.shows:
            first = run.first_epoch
            self.displays.append(Progress(run.name, first, first + run.n_epochs))
        if self.model:
            self.callbacks.on_train_begin()

    def epoch_begin(self, epoch, program):
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.task)
        if self.model:
            self.callbacks.on_epoch_begin(epoch)
            self._follow_learning_rate(program)

    def epoch_end(self, epoch, logs, program):
        stop = False
        if self.model:
            self.at = replace(self.at, weights=program.weights())
            self.graph.load(self.at.weights)
            self.model.optimizer.iterations.assign(program.optimizer.iterations)
            self.callbacks.on_epoch_end(epoch, dict(logs))
            self._follow_learning_rate(program)
            stop = bool(self.model.stop_training)
        if self.context is not None:
            stop |= self.epoch.call_on_fit_task_end(
                **self.task,
                reconstruction_attributes=lambda: self._attributes(program),
            )
        for display in self.displays:
            display.add(logs)
        return stop

    def close(self):
        """Stop the display, however training has ended."""
        while self.displays:
            self.displays.pop().close()

    def _follow_learning_rate(self, program):
        """Train at the learning rate that a callback has set, unless it is a schedule."""
        optimizer = self.model.optimizer
        if isinstance(learning_rate_of(optimizer), keras.Variable):
            rate = float(optimizer.learning_rate)
            if rate != self.rate:
                self.rate = program.rate = rate

    def end(self, program):
        """Close display and callbacks.

        Returns
        -------
        weights : dict of str to ndarray or None
            The weights that a callback has set, if any.
        """
        replacement = None
        self.close()
        if self.model:
            self.callbacks.on_train_end()
            now, told = self.graph.read(), self.at.weights
            if not all(
                np.array_equal(value, np.asarray(told[path], value.dtype))
                for path, value in now.items()
            ):
                replacement = now
        if self.context is not None:
            self.context.call_on_fit_task_end(
                **self.task,
                reconstruction_attributes=lambda: self._attributes(program),
            )
        return replacement

    def _attributes(self, program):
        """Compute the attributes of the estimator as fitted so far."""
        latest = replace(self.at, weights=program.weights(), start=None)
        state, attributes = self.describe(latest)
        network = state.specification.network
        return {"_state": state, "_built": {}, "network_": network} | attributes
