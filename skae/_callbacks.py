"""Who is told of each epoch: Keras callbacks, scikit-learn's, the progress bar."""

import copy

import keras
import numpy as np

from skae._model import build

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
                " but the batches of an epoch run in one compiled call. Callbacks are"
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
    """Tells callbacks and the progress bar of each epoch, and hears if one says stop.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Whose callbacks are told.

    X : ndarray
        The rows that it is fitted to.

    rows, validation : Rows, Rows or None
        Which of them it is trained on, and validated on.

    max_iter : int
        The number of epochs.

    fitted : callable
        From weights to the attributes that an estimator fitted so far would have.
    """

    def __init__(self, estimator, X, rows, validation, *, max_iter, fitted):
        self.estimator, self.fitted = estimator, fitted
        self.rows, self.validation = rows, validation
        self.task = {"estimator": estimator, "X": X, "y": X}  # its target is its input
        self.max_iter = max_iter
        self.callbacks = check_callbacks(estimator.callbacks)
        self.context = estimator._init_callback_context(max_subtasks=max_iter)
        self.bar = self.models = self.told = None

    def attach(self, program, weights):
        """Give Keras callbacks a model on raw rows, which holds the weights."""
        if not self.callbacks:
            return
        self.models, self.told = build(program.models.architecture, "float32"), weights
        self.models.assign(weights)
        model = self.models.autoencoder
        model.optimizer, model.stop_training = program.make_optimizer(), False
        self.rate = float(model.optimizer.learning_rate)
        validates = self.validation is not None
        rows = self.validation if validates else self.rows
        self.callbacks = keras.callbacks.CallbackList(
            self.callbacks,
            model=model,
            verbose=0,
            epochs=self.max_iter,
            steps=1,
            # For callbacks that are skae's own
            estimator=self.estimator,
            validates=validates,
            rows=lambda n: rows.first(n).reshape(-1, *model.input_shape[1:]),
        )

    def begin(self):
        if self.context is not None:
            self.context.call_on_fit_task_begin(**self.task)
        if self.estimator.verbose:
            self.bar = keras.utils.Progbar(self.max_iter, unit_name="epoch")
        if self.models:
            self.callbacks.on_train_begin()

    def epoch_begin(self, epoch, program):
        if self.context is not None:
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.task)
        if self.models:
            self.callbacks.on_epoch_begin(epoch)
            self._follow_learning_rate(program)

    def epoch_end(self, epoch, logs, program):
        stop = False
        if self.models:
            self.told = program.weights()
            self.models.assign(self.told)
            model = self.models.autoencoder
            model.optimizer.iterations.assign(program.optimizer.iterations)
            self.callbacks.on_epoch_end(epoch, dict(logs))
            self._follow_learning_rate(program)
            stop = bool(model.stop_training)
        if self.context is not None:
            stop |= self.epoch.call_on_fit_task_end(
                **self.task,
                reconstruction_attributes=lambda: self.fitted(program.weights()),
            )
        if self.bar is not None:
            last = stop or epoch + 1 == self.max_iter
            self.bar.update(epoch + 1, list(logs.items()), finalize=last)
        return stop

    def _follow_learning_rate(self, program):
        """Train at the rate that a callback has set; a schedule goes its own way."""
        optimizer = self.models.autoencoder.optimizer
        if isinstance(optimizer._learning_rate, keras.Variable):
            rate = float(optimizer.learning_rate)
            if rate != self.rate:
                self.rate = program.optimizer.learning_rate = rate

    def end(self, program):
        """Close the callbacks; the weights that one has put back, if one has."""
        replaced = None
        if self.models:
            self.callbacks.on_train_end()
            variables = self.models.variables
            now = {path: np.array(v.numpy()) for path, v in variables.items()}
            if not all(
                np.array_equal(value, np.asarray(self.told[path], value.dtype))
                for path, value in now.items()
            ):
                replaced = now
        if self.context is not None:
            self.context.call_on_fit_task_end(
                **self.task,
                reconstruction_attributes=lambda: self.fitted(program.weights()),
            )
        return replaced
