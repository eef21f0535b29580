"""Who is told of each epoch: Keras callbacks, scikit-learn's, the progress bar."""

import copy

import numpy as np

from skae._keras import import_keras
from skae._model import build

_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
)


def check_callbacks(callbacks):
    """Copies of Keras callbacks, refused by name if they need batch boundaries."""
    if not callbacks:
        return []
    keras = import_keras()
    known = keras.callbacks
    for callback in callbacks:
        name = type(callback).__name__
        if not isinstance(callback, known.Callback):
            raise TypeError(
                "callbacks must be Keras callbacks (keras.callbacks.Callback)."
                f" Got {callback!r}."
            )
        if isinstance(callback, known.TensorBoard):
            needs_batches = (
                callback.update_freq != "epoch"
                or callback._should_trace
                or callback.write_steps_per_second
            )
        elif isinstance(callback, (known.ModelCheckpoint, known.BackupAndRestore)):
            needs_batches = callback.save_freq != "epoch"
        elif isinstance(callback, known.LambdaCallback):
            needs_batches = any(hook in vars(callback) for hook in _BATCH_HOOKS)
        else:
            needs_batches = any(
                getattr(type(callback), hook) is not getattr(known.Callback, hook)
                for hook in _BATCH_HOOKS
            )
        if needs_batches:
            raise ValueError(
                f"callbacks: {name} needs to be called at every batch, but all batches of"
                " an epoch run in one compiled call. Only callbacks at fit and epoch"
                " boundaries are supported (update_freq='epoch', save_freq='epoch')."
            )
    return [copy.copy(callback) for callback in callbacks]


class Monitor:
    """Tells callbacks and the progress bar of each epoch.

    Parameters
    ----------
    callbacks : list of keras.callbacks.Callback

    max_iter, verbose : int

    context : sklearn.callback.CallbackContext or None

    estimator : BaseAutoencoder

    fitted : callable
        From weights to fitted attributes, for callbacks that want an estimator.
    """

    def __init__(self, callbacks, max_iter, verbose, context, estimator, fitted, X):
        self.callbacks, self.max_iter, self.verbose = callbacks, max_iter, verbose
        self.context, self.estimator, self.fitted = context, estimator, fitted
        self.X, self.callback_list, self.bar = X, None, None

    def attach(self, program, weights, optimizer):
        """Give the callbacks a model on raw rows, which holds the weights."""
        if not self.callbacks:
            return
        keras = import_keras()
        self.models = build(program.models.architecture, "float32")
        self.models.assign(weights)
        model = self.models.autoencoder
        model.optimizer = keras.saving.deserialize_keras_object(optimizer)
        model.stop_training = False
        self.callback_list = keras.callbacks.CallbackList(
            self.callbacks,
            model=model,
            add_history=False,
            add_progbar=False,
            verbose=0,
            epochs=self.max_iter,
            steps=1,
        )

    def begin(self):
        if self.verbose:
            self.bar = import_keras().utils.Progbar(self.max_iter, unit_name="epoch")
        if self.callback_list:
            self.callback_list.on_train_begin()

    def epoch_begin(self, epoch, program):
        if self.context is not None:
            self.epoch_context = self.context.subcontext(task_name="epoch")
            self.epoch_context.call_on_fit_task_begin(estimator=self.estimator, X=self.X)
        if self.callback_list:
            optimizer = self.models.autoencoder.optimizer
            before = float(optimizer.learning_rate)
            self.callback_list.on_epoch_begin(epoch)
            if (after := float(optimizer.learning_rate)) != before:
                program.optimizer.learning_rate = after

    def epoch_end(self, epoch, logs, program):
        stop = False
        if self.bar is not None:
            self.bar.update(epoch + 1, logs.items(), finalize=epoch + 1 == self.max_iter)
        if self.callback_list:
            model = self.models.autoencoder
            before = float(model.optimizer.learning_rate)
            self.models.assign(program.weights())
            model.optimizer.iterations.assign(program.optimizer.iterations)
            self.callback_list.on_epoch_end(epoch, dict(logs))
            if (after := float(model.optimizer.learning_rate)) != before:
                program.optimizer.learning_rate = after
            stop = bool(model.stop_training)
        if self.context is not None:
            stop |= self.epoch_context.call_on_fit_task_end(
                estimator=self.estimator,
                X=self.X,
                reconstruction_attributes=lambda: self.fitted(program.weights()),
            )
        return stop

    def end(self, program):
        if self.callback_list:
            self.callback_list.on_train_end()


def weights_of(models):
    return [np.array(variable) for variable in models.variables]
