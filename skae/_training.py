"""The compiled training loop: all batches of a chunk in one call, programs kept."""

import contextlib
import json
import math
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skae._inference import shared_memory
from skae._keras import building
from skae._model import build

#: Values in one chunk of rows, at least, and batches in it, at least and at most.
CHUNK_VALUES, MIN_BATCHES, MAX_BATCHES = 2**17, 16, 256


@dataclass(frozen=True)
class Optimizer:
    """How to make a Keras optimizer, hashable; a constant learning rate apart from it."""

    kind: type
    config: str
    learning_rate: float | None = field(compare=False)

    @classmethod
    def of(cls, optimizer, learning_rate_init):
        """From the parameters of an estimator, which are left as they are.

        Parameters
        ----------
        optimizer : str or keras.optimizers.Optimizer
            An optimizer brings its own learning rate.

        learning_rate_init : float or keras.optimizers.schedules.LearningRateSchedule
            The learning rate of an optimizer given by its name.
        """
        if isinstance(optimizer, str):
            try:
                optimizer = keras.optimizers.get(optimizer)
            except ValueError:
                raise ValueError(
                    "optimizer must be the name of a Keras optimizer, such as 'adam' or"
                    f" 'sgd', or one of its instances. Got {optimizer!r}."
                ) from None
            if not isinstance(learning_rate_init, Real):
                learning_rate_init = keras.saving.serialize_keras_object(
                    learning_rate_init
                )
            config = optimizer.get_config() | {"learning_rate": learning_rate_init}
        else:
            config = optimizer.get_config()
        rate = config["learning_rate"]
        config["name"] = "optimizer"
        if isinstance(rate, Real):
            config["learning_rate"] = 0.001
        return cls(
            type(optimizer),
            json.dumps(config, sort_keys=True),
            float(rate) if isinstance(rate, Real) else None,
        )

    def make(self):
        return self.kind.from_config(json.loads(self.config))


#: Optimizers whose update of a weight depends on no other weight.
_ELEMENTWISE = {
    keras.optimizers.SGD,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.Lion,
}

#: Weights are updated as one vector where they are no more: copying many costs more time
#: than compiling one update saves.
FLAT_VALUES = 2**16


class Rows:
    """The rows of X that training reads, a chunk at a time, and their targets if any.

    Nothing but the chunk is copied: X may be an ndarray, a memory map or a CSR matrix.
    """

    def __init__(self, X, target=None, index=None):
        self.arrays = (X,) if target is None else (X, target)
        self.index = np.arange(X.shape[0]) if index is None else index

    def __len__(self):
        return len(self.index)

    def first(self, n):
        """A copy of the first n of them."""
        rows = self.arrays[0][self.index[:n]]
        return rows.toarray() if sparse.issparse(rows) else rows

    def chunks(self, order, batch_size, buffers):
        """Fill the buffers with the rows in `order`, and yield the batches in them."""
        capacity = buffers[0].shape[0] * batch_size
        for start in range(0, len(order), capacity):
            rows = self.index[order[start : start + capacity]]
            for X, buffer in zip(self.arrays, buffers, strict=True):
                flat = buffer.reshape(capacity, -1)[: len(rows)]
                if sparse.issparse(X):
                    flat[:] = X[rows].toarray()
                else:
                    np.take(X, rows, axis=0, out=flat, mode="clip")
            yield len(rows) // batch_size


def _topped_up(order, batch_size):
    """`order`, its last batch filled up from its own start."""
    n_batches = -(-len(order) // batch_size)
    return np.resize(order, n_batches * batch_size)


class Program:
    """Training compiled for one architecture, optimizer, batch size and dtype.

    Attributes
    ----------
    models : Models
        The Keras models that the program trains, in float32.

    n_traces : int
        How often TensorFlow has compiled one of its functions.
    """

    def __init__(self, architecture, optimizer, batch_size, dtype, paired):
        self.models = build(architecture, "float32")
        self.batch_size, self.n_traces = batch_size, 0
        linear = {id(variable) for variable in self.models.named.values()}
        self.trainable = self.models.trainer.trainable_variables
        self.penalized = [
            len(v.shape) > 1 and id(v) not in linear for v in self.trainable
        ]
        trained = {id(variable) for variable in self.models.trainer.variables}
        fixed = {id(v) for v in self.models.named.values() if not v.trainable}
        self.trained = [self.models.path_of[i] for i in trained]
        self.changed = [self.models.path_of[i] for i in trained - fixed]
        self.make_optimizer = optimizer.make
        with building("float32", 0):
            self.optimizer = optimizer.make()
            self.flat = None
            self.sizes = [math.prod(v.shape) for v in self.trainable]
            if (
                type(self.optimizer) in _ELEMENTWISE
                and not self.optimizer.clipnorm
                and sum(self.sizes) <= FLAT_VALUES
            ):
                self.flat = keras.Variable(np.zeros(sum(self.sizes), "float32"))
            self.optimizer.build(self.trainable if self.flat is None else [self.flat])
        self.optimizer_start = [np.array(v.numpy()) for v in self.optimizer.variables]
        n_features = architecture.n_features
        n_batches = CHUNK_VALUES // (batch_size * n_features)
        n_batches = int(np.clip(n_batches, MIN_BATCHES, MAX_BATCHES))
        shape = (n_batches, batch_size, n_features)
        self.buffers, self.chunks = zip(
            *(shared_memory(shape, dtype) for _ in range(1 + paired)), strict=True
        )
        self.jit_compile = architecture.network.jit_compile

    # -- what is compiled, each at its first use

    @cached_property
    def _run(self):
        return self._compiled(self._run_batches, tf.TensorSpec((), tf.float32))

    @cached_property
    def _measure(self):
        return self._compiled(self._measure_batches)

    def _compiled(self, function, *more):
        """One concrete function of chunks: TensorFlow has nothing to trace again."""
        dtype = self.buffers[0].dtype
        n_features = self.buffers[0].shape[-1]
        concrete = tf.function(
            function, jit_compile=self.jit_compile, autograph=False
        ).get_concrete_function(
            [tf.TensorSpec(buffer.shape, dtype) for buffer in self.buffers],
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((n_features,), dtype),
            tf.TensorSpec((), dtype),
            *more,
        )

        def call(n_batches, *more):
            rest = (tf.constant(value) for value in (self.mean, self.scale, *more))
            n_batches = tf.constant(n_batches, tf.int32)
            return concrete([*self.chunks], n_batches, *rest).numpy()

        return call

    def _run_batches(self, chunks, n_batches, mean, scale, alpha):
        self.n_traces += 1
        objective = self.models.architecture.objective
        weights = [variable.value for variable in self.trainable]

        def batch(i, total):
            rows = [tf.cast((chunk[i] - mean) / scale, tf.float32) for chunk in chunks]
            with tf.GradientTape() as tape:
                outputs = self.models.trainer(rows[0], training=True)
                losses = tf.reduce_mean(objective.per_sample(rows[-1], outputs))
                added = tf.add_n([tf.zeros(()), *self.models.trainer.losses])
                loss = losses + added
            gradients = tape.gradient(loss, weights)
            loss += self._update(gradients, alpha / self.batch_size)
            return i + 1, total + tf.stack([loss, losses, added])

        return tf.while_loop(
            lambda i, total: i < n_batches, batch, (tf.constant(0), tf.zeros(3))
        )[1]

    def _update(self, gradients, alpha):
        """Apply the optimizer, to all weights as one vector where that is the same.

        The update is then compiled once, not once for each weight.

        Returns
        -------
        penalty : Tensor of shape ()
            The L2 penalty on the weights as they were.
        """
        gradients = [
            tf.zeros(variable.shape) if gradient is None else gradient
            for gradient, variable in zip(gradients, self.trainable, strict=True)
        ]
        weights, penalized = self.trainable, self.penalized
        if self.flat is not None:
            gradients = [tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0)]
            weights, penalized = [self.flat], [np.repeat(penalized, self.sizes)]
        penalty = tf.zeros(())
        for i, (weight, chosen) in enumerate(zip(weights, penalized, strict=True)):
            decay = alpha * tf.cast(chosen, tf.float32) * weight.value
            penalty += tf.reduce_sum(decay * weight.value) / 2
            gradients[i] += decay
        self.optimizer.apply(gradients, weights)
        if self.flat is not None:
            parts = tf.split(self.flat.value, self.sizes)
            for variable, part in zip(self.trainable, parts, strict=True):
                variable.assign(tf.reshape(part, variable.shape))
        return penalty

    def _measure_batches(self, chunks, n_batches, mean, scale):
        self.n_traces += 1
        objective = self.models.architecture.objective
        capacity = chunks[0].shape[0]

        def batch(i, per_sample):
            rows = [tf.cast((chunk[i] - mean) / scale, tf.float32) for chunk in chunks]
            values = objective.validate(self.models, rows[0], rows[-1], i)
            return i + 1, per_sample.write(i, values)

        per_sample = tf.TensorArray(
            tf.float32, capacity, element_shape=(self.batch_size,), clear_after_read=False
        )
        _, per_sample = tf.while_loop(
            lambda i, _: i < n_batches, batch, (tf.constant(0), per_sample)
        )
        return per_sample.stack()

    # -- what a fit calls

    def load(self, weights, learning_rate, optimizer_state=None):
        self.loaded = weights
        for path in self.trained:
            self.models.variables[path].assign(weights[path])
        if self.flat is not None:
            parts = [variable.numpy().ravel() for variable in self.trainable]
            self.flat.assign(np.concatenate(parts))
        state = self.optimizer_start if optimizer_state is None else optimizer_state
        for variable, value in zip(self.optimizer.variables, state, strict=True):
            variable.assign(value)
        if learning_rate is not None:
            self.optimizer.learning_rate = learning_rate
        paths, dtype = self.models.paths, self.buffers[0].dtype
        self.mean = weights[paths["mean"]].astype(dtype)
        self.scale = weights[paths["scale"]].astype(dtype)

    def set(self, values):
        for name, value in values.items():
            self.models.named[name].assign(value)
        return values

    def weights(self):
        """The weights as they are now; those that training leaves alone as given."""
        now = {path: self.models.variables[path].numpy() for path in self.changed}
        return self.loaded | {path: np.array(value) for path, value in now.items()}

    def optimizer_state(self):
        return [np.array(variable.numpy()) for variable in self.optimizer.variables]

    def run(self, rows, order, alpha):
        """One epoch; its mean loss, in all, and of the output and of layers apart."""
        order = _topped_up(order, self.batch_size)
        total = np.zeros(3)
        for n_batches in rows.chunks(order, self.batch_size, self.buffers):
            total += self._run(n_batches, np.float32(alpha))
        total /= len(order) // self.batch_size
        return dict(zip(("loss", "reconstruction", "added"), total.tolist(), strict=True))

    def measure(self, rows):
        """The validation loss of every row."""
        order = _topped_up(np.arange(len(rows)), self.batch_size)
        found = [
            self._measure(n_batches)[:n_batches]
            for n_batches in rows.chunks(order, self.batch_size, self.buffers)
        ]
        return np.concatenate(found).ravel()[: len(rows)].astype(np.float64)


_programs, _lock, MAX_PROGRAMS = OrderedDict(), threading.Lock(), 8


@contextlib.contextmanager
def borrowed(architecture, optimizer, batch_size, dtype, paired=False):
    """A program for this architecture: one that is kept and free, or a new one."""
    key = (architecture.key, optimizer, batch_size, dtype.name, paired)
    with _lock:
        program = _programs.pop(key, None)
    if program is None:
        program = Program(architecture, optimizer, batch_size, dtype, paired)
    try:
        yield program
    finally:
        with _lock:
            _programs[key] = program
            while len(_programs) > MAX_PROGRAMS:
                _programs.popitem(last=False)


@dataclass(frozen=True)
class Training:
    """What a training run leaves behind: weights, and the course it took.

    `validation_losses` are those of each validation row at the best epoch; None without
    such rows, and where a callback has put other weights in place.
    """

    weights: dict
    history: dict
    validation_losses: np.ndarray | None = None


#: How many standard errors the validation loss must fall by to leave the start behind.
SIGNIFICANCE = 1.0


def train(
    program,
    weights,
    rows,
    validation,
    *,
    seed,
    first_epoch,
    shuffle,
    alpha,
    tolerance,
    patience,
    monitor,
    schedule,
    report,
):
    """Train and keep the best weights.

    With validation rows the best weights are those of the epoch with the least
    validation loss, the start among them: it is left only for a fall of the loss that
    exceeds its standard error over the validation rows. Without, the last epoch's.

    Parameters
    ----------
    program : Program
        Loaded with the weights.

    weights : dict of str to ndarray
        The start.

    rows, validation : Rows, Rows or None

    seed, first_epoch : int
        Epoch ``t`` visits the rows in the order that ``(seed, first_epoch + t)`` gives.

    tolerance : float
        The least fall of the loss that counts as an improvement.

    patience : int or inf
        The number of epochs without one before training stops.

    monitor : Monitor
        Told of each epoch, of which it sets the number; may ask to stop.

    schedule : callable
        From the number of an epoch to values of named variables, set as it begins.

    report : callable
        From losses in the program's units to the history's entries.

    Returns
    -------
    training : Training
        Its `weights` are the very dict given where the start was best.
    """
    best, history = weights, {}
    scheduled = program.set(schedule(first_epoch))
    start = best_rows = None
    lowest, waited = np.inf, 0
    if validation is not None and monitor.max_iter > 0:
        start = best_rows = program.measure(validation)
        lowest = start.mean()
    reference = lowest
    try:
        monitor.begin()
        for epoch in range(monitor.max_iter):
            monitor.epoch_begin(epoch, program)
            order = np.arange(len(rows))
            if shuffle:
                np.random.default_rng((seed, first_epoch + epoch)).shuffle(order)
            before, scheduled = scheduled, program.set(schedule(first_epoch + epoch))
            if validation is None and scheduled != before:
                reference = np.inf  # the loss is another one than it was
            losses = program.run(rows, order, alpha) | scheduled
            current = losses["loss"]
            if validation is not None:
                measured = program.measure(validation)
                current = losses["val_loss"] = measured.mean()
            if not np.isfinite([*losses.values()]).all():
                _warn_diverged(epoch)
                break
            if validation is None:
                latest = program.weights()
                if not all(np.isfinite(values).all() for values in latest.values()):
                    _warn_diverged(epoch)
                    break
                best = latest
            elif current < lowest:
                lowest, best, best_rows = current, program.weights(), measured
            waited = 0 if current < reference - tolerance else waited + 1
            reference = min(reference, current)
            logs = report(losses)
            for name, value in logs.items():
                history.setdefault(name, []).append(float(value))
            if monitor.epoch_end(epoch, logs, program) or waited > patience:
                break
        replaced = monitor.end(program)
        if replaced is not None:
            best, start, best_rows = replaced, None, None
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=5)
    if start is not None and not is_better(start, best_rows):
        best = weights
    return Training(best, history, best_rows)


def is_better(losses, others):
    """Whether the others are lower, on average, by more than the standard error."""
    fall = losses - others
    if len(fall) < 2:
        return False
    return fall.mean() > SIGNIFICANCE * fall.std(ddof=1) / np.sqrt(len(fall))


def _warn_diverged(epoch):
    warnings.warn(
        f"Training diverged in epoch {epoch + 1}: the loss is no longer finite. The last"
        " finite weights are kept. Lower learning_rate_init or scale X.",
        ConvergenceWarning,
        stacklevel=6,
    )
