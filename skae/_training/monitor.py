"""Who is told of each epoch: Keras callbacks, scikit-learn's, and who looks on."""

import copy
import threading
from dataclasses import replace

import keras
import numpy as np

from skae._model.graph import build
from skae._model.raw import raw
from skae._training.progress import Progress

_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
)


def check_callbacks(callbacks):
    """Copies of Keras callbacks.

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
            or callback._should_trace
            or callback.write_steps_per_second
        )
    if isinstance(callback, (known.ModelCheckpoint, known.BackupAndRestore)):
        return callback.save_freq != "epoch"
    if isinstance(callback, (known.TerminateOnNaN, known.History)):
        return False
    hooks = {**vars(type(callback)), **vars(callback)}
    for kind in type(callback).__mro__[1:]:
        if kind is known.Callback:
            break
        hooks = {**vars(kind), **hooks}
    return any(hook in hooks for hook in _BATCH_HOOKS)


class Monitor:
    """Tells callbacks and the display of each epoch, and hears if one says stop.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Whose callbacks are told.

    X : ndarray
        The rows that it is fitted to.

    plan : Plan
    so_far : callable
        From a candidate to the attributes that an estimator fitted so far would have.

    Attributes
    ----------
    interrupted : threading.Event
        Set once the user has interrupted the training, or one beside it has failed.
    """

    def __init__(self, estimator, X, *, plan, so_far):
        self.estimator, self.so_far = estimator, so_far
        self.task = {"estimator": estimator, "X": X, "y": X}  # its target is its input
        self.plan = plan
        self.callbacks = check_callbacks(estimator.callbacks)
        n_epochs = plan.n_starts * plan.max_iter  # of one training where one looks on
        self.context = estimator._init_callback_context(max_subtasks=n_epochs)
        self.model = None
        self.displays = []  # one at most, those of `aside` too
        self.interrupted = threading.Event()

    def aside(self):
        """Another, to which nobody listens, but for interrupts."""
        aside = copy.copy(self)
        aside.context = None
        return aside

    def attach(self, specification, optimizer, begin, rows, held_out):
        """Give Keras callbacks a model on raw rows, which holds the weights.

        Parameters
        ----------
        specification : Specification
        optimizer : Optimizer
        begin : Candidate
            Where training begins.

        rows, held_out : Rows, Rows or None
            What it is trained on, and validated on.
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
            epochs=self.plan.max_iter,
            steps=1,
            # For callbacks that are skae's own
            estimator=self.estimator,
            validates=held_out is not None,
            rows=lambda n: shown.dense(n).reshape(-1, *self.model.input_shape[1:]),
        )

    def begin(self, plan):
        """Training begins, by this plan."""
        if self.context is not None:
            self.context.call_on_fit_task_begin(**self.task)
        first = plan.first_epoch
        self._show(plan.name, first, first + plan.last_epoch)
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

    def refit_begin(self, n_epochs):
        """From now on the epochs are those of the training on all rows."""
        self._show("refit", 0, n_epochs)

    def refit_epoch_end(self, logs):
        for display in self.displays:
            display.add(logs)

    def _show(self, name, first, last):
        self.close()
        if self.estimator.verbose:
            self.displays.append(Progress(name, first, last))

    def close(self):
        """Leave the display as it is, whatever has ended the training."""
        while self.displays:
            self.displays.pop().close()

    def _follow_learning_rate(self, program):
        """Train at the rate that a callback has set; a schedule goes its own way."""
        optimizer = self.model.optimizer
        if isinstance(optimizer._learning_rate, keras.Variable):
            rate = float(optimizer.learning_rate)
            if rate != self.rate:
                self.rate = program.rate = rate

    def end(self, program):
        """Close display and callbacks; the weights that one has put back, if one has."""
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
        return self.so_far(replace(self.at, weights=program.weights(), variance=None))
