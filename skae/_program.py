"""Program: the one room of TensorFlow, where epochs, losses, codes and rows are computed."""

import contextlib
from functools import cached_property

import numpy as np
import tensorflow as tf
from sklearn.utils import gen_batches

from skae._base_inference import BaseFitted, BaseInference
from skae._base_program import BaseProgram, aligned
from skae._keras import reason
from skae._random import Seed
from skae._rows import VALUES_AT_ONCE

#: Batches from which on a fit repays the second or more, and the 10 MB, that XLA takes.
WORTH_XLA = 2000


class FastSeed(Seed):
    """A seed whose numbers XLA draws fast.

    On a CPU XLA takes a hundred times as long for the numbers that TensorFlow selects
    itself as for "threefry", which TensorFlow's own kernels do not know.
    """

    def uniform(self, shape, low=0.0):
        return tf.random.stateless_uniform(
            shape, self.next(), low, 1.0, tf.float32, alg="threefry"
        )

    def normal(self, shape):
        return tf.random.stateless_normal(
            shape, self.next(), dtype=tf.float32, alg="threefry"
        )


def precision(dtype):
    """A context in which TensorFlow computes in a dtype, as it does anyway."""
    return contextlib.nullcontext()


def shown_dtype(dtype):
    """The dtype of Keras models that users call: that of the rows."""
    return np.dtype(dtype).name


# -- training


class Program(BaseProgram):
    """Training as TensorFlow compiles it, by XLA where that is worth while."""

    def __init__(self, specification, optimizer, batch_size, dtype, widths, by_xla):
        super().__init__(specification, optimizer, batch_size, dtype, widths)
        self.chunks = {name: _shared(array) for name, array in self.buffers.items()}
        self.jit_compile = by_xla
        self.seed_kind = FastSeed if self.jit_compile else Seed

    @staticmethod
    def by_xla(network, n_steps):
        """Whether XLA compiles what trains the network for so many batches."""
        return network.jit_compile and n_steps >= WORTH_XLA

    # -- what is compiled, each at its first use

    @cached_property
    def _run(self):
        rates = tf.TensorSpec((self.n_batches_at_once,), tf.float32)
        return self._compiled(self._run_batches, tf.TensorSpec((), tf.float32), rates)

    @cached_property
    def _measure(self):
        return self._compiled(self._measure_batches)

    def _compiled(self, function, *more):
        """One concrete function of chunks: TensorFlow has nothing to trace again."""
        concrete = tf.function(
            function, jit_compile=self.jit_compile, autograph=False
        ).get_concrete_function(
            {name: tf.TensorSpec(b.shape, b.dtype) for name, b in self.buffers.items()},
            tf.TensorSpec((), tf.int32),
            {name: tf.TensorSpec(v.shape, v.dtype) for name, v in self.values.items()},
            tf.TensorSpec((2,), tf.int32),
            *more,
        )

        def call(n_batches, seed, *more):
            with self._named_layers():
                return concrete(
                    dict(self.chunks),
                    tf.constant(n_batches, tf.int32),
                    self.values,
                    tf.constant(seed, tf.int32),
                    *map(tf.constant, more),
                ).numpy()

        return call

    @contextlib.contextmanager
    def _named_layers(self):
        """Say which parameter helps where XLA has no way to compile a layer."""
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

    def _run_batches(self, chunks, n_batches, values, seed, alpha, rates):
        self.n_traces += 1
        self._spread()
        weights = [variable.value for variable in self.trainable]
        names = self.objective.parts

        def batch(i, total):
            if self.takes_rates:
                self.optimizer.learning_rate = rates[i]
            with tf.GradientTape() as tape:
                found = self._loss(chunks, i, values, seed, True)
                loss = tf.reduce_mean(found.per_sample) + found.penalty
                # what layers of one's own add to the loss
                losses = [*self.graph.encoder.losses, *self.graph.decoder.losses]
                loss = tf.add_n([loss, *losses]) if losses else loss
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, weights)
            loss += self._update(gradients, alpha / self.batch_size)
            parts = [found.parts[name] for name in names]
            return i + 1, total + tf.stack([loss, *parts])

        return tf.while_loop(
            lambda i, total: i < n_batches,
            batch,
            (tf.constant(0), tf.zeros(1 + len(names))),
        )[1]

    def _measure_batches(self, chunks, n_batches, values, seed):
        self.n_traces += 1
        self._spread()

        def batch(i, per_sample):
            found = self._loss(chunks, i, values, seed, False)
            return i + 1, per_sample.write(i, found.per_sample)

        per_sample = tf.TensorArray(
            tf.float32,
            self.n_batches_at_once,
            element_shape=(self.batch_size,),
            clear_after_read=False,
        )
        _, per_sample = tf.while_loop(
            lambda i, _: i < n_batches, batch, (tf.constant(0), per_sample)
        )
        return per_sample.stack()

    # -- what training is made of

    def _constant(self, value):
        return tf.constant(value)

    def _copy(self, value):
        return tf.identity(value)

    def _parts(self, vector):
        return tf.split(vector, self.sizes)


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
        """The slopes in x of the first thing that a function gives, and the second."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            total, other = function(x)
        return tape.gradient(total, x), other


class Fitted(BaseFitted):
    """What TensorFlow has compiled, with the weights and coordinates of one fit."""

    _make = Inference

    def compile(self):
        """Compile what every estimator needs, which fails if the network can't be."""
        for name in ("encode", "decode"):
            self.inference.concrete(name)

    def _bind(self, *bound):
        # In the order that is compiled
        self.bound = tf.nest.flatten(tf.nest.map_structure(tf.constant, [*bound]))

    def _call(self, name, *inputs):
        concrete = self.inference.concrete(name)
        # A quarter of the time that calling `concrete` takes, for a row
        found = tf.raw_ops.PartitionedCall(
            args=[
                *(x if tf.is_tensor(x) else self._tensor(x) for x in inputs),
                *self.bound,
            ],
            Tout=[tensor.dtype for tensor in concrete.outputs],
            f=concrete,
        )
        found = tuple(tensor.numpy() for tensor in found)
        return found if len(found) > 1 else found[0]

    @staticmethod
    def _tensor(x, copy=np.copyto):
        """A copy of x as a tensor; `tf.constant` copies large arrays twice."""
        if x.nbytes < 2**16:
            copied = np.empty_like(x)
            copy(copied, x)
            return tf.constant(copied)
        array, tensor = shared_memory(x.shape, x.dtype)
        for batch in gen_batches(x.shape[0], max(1, VALUES_AT_ONCE // x[0].size)):
            copy(array[batch], x[batch])
        return tensor


# -- memory


def shared_memory(shape, dtype):
    """An array and a tensor of the same memory: what fills the one fills the other."""
    array = aligned(shape, dtype)
    return array, _shared(array)


def _shared(array):
    """A tensor of the memory of an array."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
