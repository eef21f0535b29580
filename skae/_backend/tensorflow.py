"""The TensorFlow backend: epochs, losses, codes and rows are computed here alone."""

import contextlib
import itertools
import math
from functools import cached_property

import numpy as np
import tensorflow as tf
from sklearn.utils import gen_batches

from skae._backend.cache import Once
from skae._backend.inference import BaseFitted, BaseInference
from skae._backend.program import BaseProgram, aligned
from skae._data.rows import VALUES_AT_ONCE
from skae._utils.keras import reason
from skae._utils.seed import Seed

#: The number of validation rows to compute at once, if a batch has not more.
VALIDATION_ROWS = 128

#: Settings that Keras' optimizers apply to each device's gradients, before these are
#: summed.
OF_WHOLE_BATCHES = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "gradient_accumulation_steps",
)

#: Strategies of TensorFlow whose devices are all on this machine.
ONE_MACHINE = (tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy)


class FastSeed(Seed):
    """A seed whose numbers XLA draws fast.

    On a CPU XLA takes a hundred times as long for TensorFlow's default algorithm as for
    "threefry", which TensorFlow's own kernels do not have.
    """

    def uniform(self, shape, low=0.0):
        return tf.random.stateless_uniform(
            shape, self.next(), low, 1.0, tf.float32, alg="threefry"
        )

    def normal(self, shape):
        return tf.random.stateless_normal(
            shape, self.next(), dtype=tf.float32, alg="threefry"
        )


def repays_xla(network, n_steps, batch_size, n_weights):
    """Decide whether XLA compiles the training, from the work of a fit.

    It must not depend on what was fitted before, since XLA rounds differently.
    """
    work = n_steps * math.sqrt(n_weights * batch_size)
    return network.jit_compile and work >= network.jit_work


class PartSeed(Seed):
    """A seed that draws numbers for a whole batch, and returns the numbers of a part.

    Draws by ``keras.random`` have a separate stream in each part.

    Parameters
    ----------
    whole : Seed
    part, n_parts : int
        The index of the part, and the number of parts.

    rows : slice
        The rows of the part, on the last axis but one.

    batch_size : int
        The number of all rows.
    """

    def __init__(self, whole, part, n_parts, rows, batch_size):
        super().__init__(whole.stream, whole.step * n_parts + part)
        self.whole, self.rows, self.batch_size = whole, rows, batch_size

    def uniform(self, shape, low=0.0):
        return self.whole.uniform(self._of_batch(shape), low)[..., self.rows, :]

    def normal(self, shape):
        return self.whole.normal(self._of_batch(shape))[..., self.rows, :]

    def _of_batch(self, shape):
        return (*(shape[i] for i in range(len(shape) - 2)), self.batch_size, shape[-1])


def precision(dtype):
    """Return an empty context: TensorFlow computes in any dtype."""
    return contextlib.nullcontext()


def shown_dtype(dtype):
    """Return the dtype of Keras models for users: the dtype of the rows."""
    return np.dtype(dtype).name


#: The number of times that a graph's weights are drawn before the draw is compiled.
FEW_DRAWS = 3


def compiled_draws(graph):
    """Return the function that draws a graph's weights, compiled once it is used often.

    Both ways give the same bits. Without compilation a weight takes half a millisecond.
    """
    counter, compiled = itertools.count(), Once()
    kinds = {type(initializer) for initializer in graph._random.values()}
    if not all(kind.__module__.startswith("keras.") for kind in kinds):
        return graph.drawn  # a custom one may take only ints

    def make():
        def drawn(seeds):
            return graph.drawn([Seed(seed) for seed in tf.unstack(seeds)])

        function = tf.function(drawn, autograph=False)
        n_seeds = len(graph._random)
        return function.get_concrete_function(tf.TensorSpec((n_seeds,), tf.int32))

    def draw(seeds):
        if next(counter) < FEW_DRAWS or not seeds:
            return graph.drawn(seeds)
        concrete = compiled.of("draws", make)
        return [value.numpy() for value in concrete(tf.constant(seeds, tf.int32))]

    return draw


# -- training


class Program(BaseProgram):
    """Training compiled by TensorFlow, and by XLA where that pays off.

    Attributes
    ----------
    jit_compile : bool
        Whether XLA compiles the training of the fit that has borrowed it.

    n_parts : int
        The number of devices. Each device computes a part of every batch.
    """

    def __init__(
        self,
        specification,
        optimizer,
        batch_size,
        dtype,
        widths,
        compiled,
        strategy,
    ):
        self.strategy, self.n_parts = strategy, strategy.num_replicas_in_sync
        self.alone = not isinstance(strategy, ONE_MACHINE)
        compiled = compiled if self.alone else Once()
        with strategy.scope():
            super().__init__(
                specification, optimizer, batch_size, dtype, widths, compiled
            )

    @staticmethod
    def ways(network, optimizer, batch_size):
        """Return the device strategy."""
        return (_strategy(optimizer, batch_size),)

    # -- compiled functions, each at its first use

    def _run(self, n_batches, seed, alpha, rates):
        return self._call(self._run_batches, n_batches, seed, alpha, rates)

    def _measure(self, n_batches, seed):
        """Compute the losses of rows, several batches at once.

        Calls overlap if the chunk is not a multiple of what they take.
        """
        at_once, found = self.n_validated, []
        for first in range(0, n_batches, at_once):
            start = min(first, self.n_batches_at_once - at_once)
            losses = self._call(self._measure_batches, start, seed)
            found.append(losses[(first - start) * self.batch_size :])
        return np.concatenate(found)[: n_batches * self.batch_size]

    def _call(self, function, place, seed, *more):
        """Call a function of chunks with the batches in the buffers.

        `place` is the number of batches to train on, or the first one to validate.
        """
        arguments = (
            self.chunks,
            tf.constant(place),
            self.values,
            tf.constant(seed),
            *map(tf.constant, more),
        )
        by_xla = function == self._run_batches and self.jit_compile
        concrete, captures = self.compiled.of(
            (function.__name__, by_xla),
            lambda: self._compiled(function, arguments, by_xla),
        )
        with self._named_layers():
            if not self.alone:
                return concrete(*arguments).numpy()
            beside = (self.handles[c] if isinstance(c, int) else c for c in captures)
            # Three times as fast as calling `concrete`
            (found,) = tf.raw_ops.StatefulPartitionedCall(
                args=[*tf.nest.flatten(arguments), *beside],
                Tout=[output.dtype for output in concrete.outputs],
                f=concrete,
            )
            return found.numpy()

    def _compiled(self, function, arguments, by_xla):
        """Compile a concrete function, and return it with its captured inputs.

        Captured inputs are the variables of the program that calls it, as places among
        its `handles`. In the scope of a strategy, which has its own kind of variables,
        there are none. XLA can't compile a function that is called as `_call` does, so
        an outer function calls one that XLA compiles.
        """
        by_xla = by_xla and self.n_parts == 1  # else each device's part is
        compiled = tf.function(function, jit_compile=by_xla, autograph=False)
        specs = tf.nest.map_structure(
            lambda x: tf.TensorSpec(x.shape, x.dtype), arguments
        )
        if not self.alone:
            return compiled.get_concrete_function(*specs), []
        if by_xla:
            inner = compiled
            compiled = tf.function(lambda *inputs: inner(*inputs), autograph=False)
        concrete = compiled.get_concrete_function(*specs)
        known = {id(v) for v in self.handles}
        for variable in concrete.variables:
            if id(variable.handle) not in known:
                raise ValueError(
                    f"network has a layer with a tf.Variable, {variable.name!r}, that Keras"
                    " does not know, so that all fits would share it: make it by"
                    " add_weight, or as a keras.Variable."
                )
        places = {id(handle): place for place, handle in enumerate(self.handles)}
        captures = [places.get(id(c), c) for c in concrete.captured_inputs]
        return concrete, captures

    @cached_property
    def handles(self):
        """The variables' handles in TensorFlow."""
        return [v.value.handle for v in (*self.trainable, *self.variables)]

    @contextlib.contextmanager
    def _named_layers(self):
        """Name the parameter that helps if XLA can't compile a layer."""
        try:
            yield
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if not self.jit_compile:
                raise
            raise ValueError(
                "network has a layer that XLA can't compile: set jit_compile=False, of"
                " CustomNetwork or of a class of your own. XLA says:"
                f" {reason(error)}"
            ) from error

    def _gradients_of_part(self, chunks, i, values, seed, alpha):
        """Compute the gradients of this device's part of a batch."""
        batch, draws = self._batch(chunks, i, seed)
        if self.n_parts == 1:
            return self._gradients(batch, values, draws, 1.0, alpha)
        context = tf.distribute.get_replica_context()
        part = int(tf.get_static_value(context.replica_id_in_sync_group))
        ends = [self.batch_size * n // self.n_parts for n in (part, part + 1)]
        rows, share = slice(*ends), (ends[1] - ends[0]) / self.batch_size
        batch = {name: array[rows] for name, array in batch.items()}
        draws = PartSeed(draws, part, self.n_parts, rows, self.batch_size)
        compiled = tf.function(
            lambda: self._gradients(batch, values, draws, share, alpha),
            jit_compile=self.jit_compile,
            autograph=False,
        )
        return compiled()

    def _gradients(self, batch, values, seed, share, alpha):
        """Compute the gradients, the loss and its parts, times this part's fraction."""
        weights = [variable.value for variable in self.trainable]
        with tf.GradientTape() as tape:
            found = self._loss(batch, values, seed, True)
            loss = tf.reduce_mean(found.per_sample) + found.penalty
            # the losses that custom layers add
            losses = [*self.graph.encoder.losses, *self.graph.decoder.losses]
            loss = tf.add_n([loss, *losses]) if losses else loss
            scaled = self.optimizer.scale_loss(loss)
        gradients = self._decayed(tape.gradient(scaled, weights), alpha)
        losses = tf.stack([loss, *(found.parts[name] for name in self.objective.parts)])
        return [share * each for each in (*gradients, losses)]

    def _run_batches(self, chunks, n_batches, values, seed, alpha, rates):
        self.n_traces += 1
        self._spread()

        def batch(i, total):
            if self.takes_rates:
                self.optimizer.learning_rate = rates[i]

            def step():
                *gradients, losses = self._gradients_of_part(
                    chunks, i, values, seed, alpha
                )
                self.optimizer.apply(gradients, self.updated[0])  # of all devices' sum
                return losses

            losses = self.strategy.reduce("SUM", self.strategy.run(step), axis=None)
            self._spread()
            return i + 1, total + losses

        start = tf.constant(0), tf.zeros(1 + len(self.objective.parts))
        return tf.while_loop(lambda i, _: i < n_batches, batch, start)[1]

    @property
    def n_validated(self):
        """The number of batches that a call validates."""
        at_once = max(1, VALIDATION_ROWS // self.batch_size)
        return min(at_once, self.n_batches_at_once)

    def _measure_batches(self, chunks, first, values, seed):
        """Compute the losses of all rows of some batches, without XLA.

        XLA is no faster for them, and takes up to a second to compile.
        """
        self.n_traces += 1
        self._spread()
        batch = {
            name: tf.reshape(
                tf.slice(chunk, (first, 0, 0), (self.n_validated, *chunk.shape[1:])),
                (-1, chunk.shape[-1]),
            )
            for name, chunk in chunks.items()
        }
        draws = Seed(seed[0], seed[1] + first)
        return self._loss(batch, values, draws, False).per_sample

    # -- variables and constants

    def lend(self, rows, n_steps):
        super().lend(rows, n_steps)
        network = self.graph.specification.network
        self.jit_compile = repays_xla(network, n_steps, self.batch_size, self.size)
        self.seed_kind = FastSeed if self.jit_compile else Seed
        self.chunks = {name: _shared(array) for name, array in self.buffers.items()}

    def give_back(self):
        super().give_back()
        self.chunks = None

    def _constant(self, value):
        return tf.constant(value)

    def _read(self, variable):
        if not self.alone:
            return tf.identity(variable.value)
        handle = variable.value.handle  # tf.Variable takes twenty times as long
        return tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable.value.dtype)

    def _write(self, variable, value):
        if not self.alone:
            variable.assign(value)
        else:
            tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=value)

    def _parts(self, vector):
        return tf.split(vector, self.sizes)

    def _joined(self, parts):
        return super()._joined(parts) if self.jit_compile else tf.concat(parts, axis=0)


def _strategy(optimizer, batch_size):
    """Return the strategy of the current scope, whose devices share each batch.

    Raises
    ------
    ValueError
        If the strategy has several machines, more devices than a batch has rows, or
        devices whose gradients can't be summed.
    """
    strategy = tf.distribute.get_strategy()
    if not tf.distribute.has_strategy():
        return strategy
    n_devices = strategy.num_replicas_in_sync
    if not isinstance(strategy, ONE_MACHINE):
        raise ValueError(
            "fit spreads rows over the devices of one machine, in the scope of"
            " tf.distribute.MirroredStrategy or OneDeviceStrategy. Got that of"
            f" {type(strategy).__name__}."
        )
    if n_devices > batch_size:
        raise ValueError(
            "batch_size must be at least the number of devices of the strategy in whose"
            f" scope fit is called, {n_devices}. Got {batch_size}."
        )
    split = [name for name in OF_WHOLE_BATCHES if optimizer.config.get(name)]
    if n_devices > 1 and split:
        raise ValueError(
            f"optimizer must not have {split[0]} in the scope of a strategy of several"
            " devices, whose gradients it would be applied to one by one."
        )
    return strategy


# -- inference


class Inference(BaseInference):
    """The functions of a graph, compiled for any number of rows."""

    def _compile(self, function, shapes):
        @tf.function(autograph=False)
        def call(inputs, place, weights):
            return self._computed(function, inputs, place, weights)

        variables = self.graph.variables
        return call.get_concrete_function(
            [tf.TensorSpec(shape, self.dtype) for shape in shapes],
            {name: tf.TensorSpec(s, self.dtype) for name, s in self.place.items()},
            {path: tf.TensorSpec(v.shape, v.dtype) for path, v in variables.items()},
        )

    def _slopes(self, function, x):
        """Compute the gradient in x of a function's first output, and the second."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            total, other = function(x)
        return tape.gradient(total, x), other


class Fitted(BaseFitted):
    """Functions compiled by TensorFlow, with the weights and coordinates of one fit."""

    _make = Inference

    def _bind(self, *bound):
        # In the order of the compiled arguments
        self.bound = tf.nest.flatten(tf.nest.map_structure(tf.constant, [*bound]))

    def _call(self, name, *inputs):
        concrete = self.inference.concrete(name)
        # For one row, four times as fast as calling `concrete`
        found = tf.raw_ops.PartitionedCall(
            args=[
                *(x if tf.is_tensor(x) else self._tensor(x) for x in inputs),
                *self.bound,
                *concrete.captured_inputs,  # tensors and tables that layers hold
            ],
            Tout=[tensor.dtype for tensor in concrete.outputs],
            f=concrete,
        )
        found = tuple(tensor.numpy() for tensor in found)
        return found if len(found) > 1 else found[0]

    @staticmethod
    def _tensor(x, copy=np.copyto):
        """Copy x to a tensor; `tf.constant` copies large arrays twice."""
        if x.nbytes < 2**16:
            copied = np.empty_like(x)
            copy(copied, x)
            return tf.constant(copied)
        array = aligned(x.shape, x.dtype)
        for batch in gen_batches(x.shape[0], max(1, VALUES_AT_ONCE // x[0].size)):
            copy(array[batch], x[batch])
        return _shared(array)


# -- memory


def _shared(array):
    """Return a tensor that shares the memory of an array."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
