"""Program: the one room of JAX, where epochs, losses, codes and rows are computed."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np

from skae._backend.inference import BaseFitted, BaseInference
from skae._backend.program import BaseProgram
from skae._utils.seed import Seed

#: Rows that a call is compiled for, at least: others are rounded up to a power of two.
MIN_ROWS = 16

#: What the rows of each output are, where they are not its first axis.
AXES = {
    "log_weights": (1,),
    "wide_log_weights": (1,),
    "log_weights_of_features": (1, 0),
}


def precision(dtype):
    """A context in which JAX computes in float64, where that is what the rows are."""
    if np.dtype(dtype) == np.float64:
        return jax.enable_x64(True)
    return contextlib.nullcontext()


@contextlib.contextmanager
def exactly(dtype):
    """The same, with products of float32 to its last digits.

    A GPU computes them to three, JAX' default there, unless JAX is set to something else.
    """
    wanted = jax.config.jax_default_matmul_precision or "highest"
    with precision(dtype), jax.default_matmul_precision(wanted):
        yield


def shown_dtype(dtype):
    """The dtype of Keras models that users call: float64 if JAX is set to compute in it."""
    return jax.dtypes.canonicalize_dtype(dtype).name


def compiled_draws(graph):
    """What draws a graph's weights: XLA would round them in other ways, so as it is."""
    return graph.drawn


@functools.cache
def careful():
    """Options by which XLA computes sums that it has wrong without, where it has them.

    On a CPU jaxlib 0.10.2 leaves them to YNNPACK, and of many values of float32 some sums
    are then far off: `score_features` of 1024 rows, or more, was.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:  # of a version without it
        return {}
    return options


# -- training


class Program(BaseProgram):
    """Training as JAX compiles it: a function of all that it changes."""

    seed_kind = Seed

    def __init__(
        self, specification, optimizer, batch_size, dtype, widths, compiled, in_one_call
    ):
        super().__init__(specification, optimizer, batch_size, dtype, widths, compiled)
        self.dtype, self.in_one_call = dtype, in_one_call
        self._train_batches, self._measure_batches, self._penalty_added = compiled.of(
            "all",
            lambda: (
                self._compiled(self._train_batch),
                self._compiled(self._measure_batch),
                jax.jit(self._with_penalty),
            ),
        )
        no_losses = jnp.zeros(1 + len(self.objective.parts), "float32")
        self.nothing = no_losses, self._no_squares()
        self.no_rows = jnp.zeros((self.n_batches_at_once, batch_size), "float32")

    @staticmethod
    def ways(network, optimizer, n_steps, batch_size):
        """Whether XLA compiles the loop over batches too.

        In a loop it computes convolutions on one thread, which takes longer.
        """
        return (network.jit_compile,)

    def _compiled(self, batch):
        """A function that goes through some batches, as one compiled call or one each."""
        if self.in_one_call:

            def loop(n, before, *more):
                return jax.lax.fori_loop(0, n, lambda i, b: batch(i, b, *more), before)

            return jax.jit(loop, compiler_options=careful())
        compiled = jax.jit(batch, compiler_options=careful())

        def each(n, before, *more):
            for i in range(n):
                before = compiled(np.int32(i), before, *more)
            return before

        return each

    def _run(self, n_batches, seed, alpha, rates):
        with precision(self.dtype):
            state, chunks, *more = self._arguments(seed)
            state, total, squares = self._train_batches(
                np.int32(n_batches), (state, *self.nothing), chunks, *more, alpha, rates
            )
            total = np.asarray(self._penalty_added(total, squares, alpha))
            # now that it is computed the buffers may be filled again
            for variable, value in zip(self.variables, state, strict=True):
                variable.assign(value)
        return total

    def _measure(self, n_batches, seed):
        with exactly(self.dtype):
            state, *more = self._arguments(seed)
            return np.asarray(
                self._measure_batches(np.int32(n_batches), self.no_rows, state, *more)
            )

    def _arguments(self, seed):
        state = [variable.value for variable in self.variables]
        chunks = jax.device_put(self.buffers)  # on a CPU these are the buffers themselves
        return state, chunks, self.values, np.array(seed, np.int32)

    # -- what is compiled, each at its first use

    def _train_batch(self, i, before, chunks, values, seed, alpha, rates):
        self.n_traces += 1
        (state, total, squares), variables = before, self.variables
        with keras.StatelessScope(zip(variables, state, strict=True)) as scope:
            if self.takes_rates:
                self.optimizer.learning_rate = rates[i]
            self._spread()
            batch = self._batch(chunks, i, seed)
            loss, others, gradients = self._gradients(*batch, values)
            for variable, value in zip(self.others, others, strict=True):
                variable.assign(value)
            gradients = self._decayed(gradients, alpha)
            squares = self._with_squares(squares)
            self.optimizer.apply(gradients, self.updated[0])
            state = [scope.get_current_value(variable) for variable in variables]
        return state, total + loss, squares

    def _gradients(self, batch, seed, values):
        """The loss of a batch and its parts, what layers have changed, and the slopes."""

        def loss_of(weights):
            pairs = [*zip(self.trainable, weights, strict=True)]
            pairs += [(variable, variable.value) for variable in self.others]
            with keras.StatelessScope(pairs, collect_losses=True):
                found = self._loss(batch, values, seed, True)
                loss = jnp.mean(found.per_sample) + found.penalty
                # what layers of one's own add to the loss
                loss += sum([*self.graph.encoder.losses, *self.graph.decoder.losses])
                others = [variable.value for variable in self.others]
            parts = [found.parts[name] for name in self.objective.parts]
            found = jnp.stack([loss, *parts]).astype("float32")
            return self.optimizer.scale_loss(loss), (found, others)

        weights = [variable.value for variable in self.trainable]
        (_, found), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
        return *found, gradients

    def _measure_batch(self, i, found, state, chunks, values, seed):
        self.n_traces += 1
        batch, draws = self._batch(chunks, i, seed)
        with keras.StatelessScope(zip(self.variables, state, strict=True)):
            self._spread()
            losses = self._loss(batch, values, draws, False).per_sample
        return found.at[i].set(losses.astype(found.dtype))

    # -- what training is made of

    def _constant(self, value):
        return np.asarray(value)

    def _read(self, variable):
        return variable.value  # nothing changes it

    def _write(self, variable, value):
        variable.assign(value)

    def _parts(self, vector):
        return jnp.split(vector, np.cumsum(self.sizes)[:-1])


# -- inference


class Inference(BaseInference):
    """The functions of a graph, compiled for each number of rows, of which there are few."""

    def __init__(self, specification, dtype):
        with precision(dtype):
            super().__init__(specification, dtype)

    def _compile(self, function, shapes):
        def call(inputs, place, weights):
            return self._computed(function, inputs, place, weights)

        return jax.jit(call, compiler_options=careful())

    def _slopes(self, function, x):
        """The slopes in x of the first thing that a function gives, and the second."""
        return jax.grad(function, has_aux=True)(x)

    def n_rows(self, n):
        """The number of rows that a call of n is rounded up to."""
        size = max(MIN_ROWS, 1 << (n - 1).bit_length())
        return size if n > self.batch_rows else min(size, self.batch_rows)


class Fitted(BaseFitted):
    """What JAX has compiled, with the weights and coordinates of one fit."""

    _make = Inference

    def compile(self):
        """Trace what every estimator needs, which fails if the network can't be."""
        inference = self.inference
        for name in ("encode", "decode"):
            shapes, size = inference.functions[name][1], inference.n_rows(1)
            inputs = [np.zeros((size, *shape[1:]), self.mean.dtype) for shape in shapes]
            with exactly(self.mean.dtype):
                inference.concrete(name).eval_shape(inputs, *self.bound)

    def _bind(self, place, weights):
        with precision(self.mean.dtype):
            self.bound = jax.tree.map(jnp.asarray, (place, weights))

    def _call(self, name, rows, *others):
        """What a function gives for rows, and draws and other rows where there are any."""
        n = len(rows)
        size = self.inference.n_rows(n)
        draws, others = [*others[:1]], [_padded(x, size) for x in others[1:]]
        inputs = [_padded(rows, size), *draws, *others]
        with exactly(self.mean.dtype):
            found = self.inference.concrete(name)(inputs, *self.bound)
            several = isinstance(found, (tuple, list))
            found = found if several else (found,)
            axes = AXES.get(name, (0,) * len(found))
            found = tuple(
                np.array(np.asarray(x)[(slice(None),) * axis + (slice(n),)])
                for x, axis in zip(found, axes, strict=True)
            )
        return found if several else found[0]

    @staticmethod
    def _tensor(x, copy=np.copyto):
        copied = np.empty_like(x)
        copy(copied, x)
        return copied


def _padded(x, size):
    """x and as many rows of zeros as there are to be more."""
    if len(x) == size:
        return x
    padded = np.zeros((size, *x.shape[1:]), x.dtype)
    padded[: len(x)] = x
    return padded
