"""The JAX backend: epochs, losses, codes and rows are computed here alone."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np

from skae._backend.inference import BaseFitted, BaseInference
from skae._backend.program import BaseProgram
from skae._utils.seed import Seed

#: The least number of rows that a call is compiled for. Above it, numbers of rows are
#: rounded up to a power of two.
MIN_ROWS = 16


def precision(dtype):
    """Return a context in which JAX computes in float64 if that is the rows' dtype."""
    if np.dtype(dtype) == np.float64:
        return jax.enable_x64(True)
    return contextlib.nullcontext()


@contextlib.contextmanager
def exactly(dtype):
    """Enter `precision`, with products of float32 computed in full precision.

    JAX' default on a GPU is three digits. A precision that the user has set is used as
    it is.
    """
    wanted = jax.config.jax_default_matmul_precision or "highest"
    with precision(dtype), jax.default_matmul_precision(wanted):
        yield


def shown_dtype(dtype):
    """Return the dtype of Keras models for users: float64 if JAX is set to it."""
    return jax.dtypes.canonicalize_dtype(dtype).name


def compiled_draws(graph):
    """Return the function that draws a graph's weights.

    It is not compiled, since XLA would round differently.
    """
    return graph.drawn


@functools.cache
def careful():
    """Return options that make XLA compute sums correctly, if this XLA has them.

    On a CPU jaxlib 0.10.2 computes sums by YNNPACK, and some sums of many float32 values
    are then far off, such as `score_features` of 1024 rows or more.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:  # a version without the option
        return {}
    return options


# -- training


class Program(BaseProgram):
    """Training compiled by JAX, as a function of everything that it changes."""

    seed_kind = Seed

    def __init__(
        self, specification, optimizer, batch_size, dtype, widths, compiled, in_one_call
    ):
        super().__init__(specification, optimizer, batch_size, dtype, widths, compiled)
        self.dtype, self.in_one_call = dtype, in_one_call
        self._train_batches, self._measure_batches = compiled.of(
            "all",
            lambda: (
                self._compiled(self._train_batch),
                self._compiled(self._measure_batch),
            ),
        )
        self.no_losses = jnp.zeros(1 + len(self.objective.parts), "float32")
        self.no_rows = jnp.zeros((self.n_batches_at_once, batch_size), "float32")

    @staticmethod
    def ways(network, optimizer, batch_size):
        """Decide whether XLA compiles the loop over batches too.

        In a loop it computes convolutions on one thread, which takes longer.
        """
        return (network.jit_compile,)

    def _compiled(self, batch):
        """Return a function of several batches, as one compiled call or one for each."""
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
            state, total = self._train_batches(
                np.int32(n_batches), (state, self.no_losses), chunks, *more, alpha, rates
            )
            total = np.asarray(total)
            # the result is computed, so the buffers can be filled again
            for variable, value in zip(self.variables, state, strict=True):
                variable.assign(value)
        return total

    def _measure(self, n_batches, seed):
        with exactly(self.dtype):
            state, *more = self._arguments(seed)
            found = self._measure_batches(np.int32(n_batches), self.no_rows, state, *more)
            return np.asarray(found)[:n_batches].ravel()

    def _arguments(self, seed):
        state = [variable.value for variable in self.variables]
        chunks = jax.device_put(self.buffers)  # on a CPU these are the buffers themselves
        return state, chunks, self.values, np.array(seed, np.int32)

    # -- compiled functions, each at its first use

    def _train_batch(self, i, before, chunks, values, seed, alpha, rates):
        self.n_traces += 1
        (state, total), variables = before, self.variables
        with keras.StatelessScope(zip(variables, state, strict=True)) as scope:
            if self.takes_rates:
                self.optimizer.learning_rate = rates[i]
            self._spread()
            batch = self._batch(chunks, i, seed)
            loss, others, gradients = self._gradients(*batch, values)
            for variable, value in zip(self.others, others, strict=True):
                variable.assign(value)
            gradients = self._decayed(gradients, alpha)
            self.optimizer.apply(gradients, self.updated[0])
            state = [scope.get_current_value(variable) for variable in variables]
        return state, total + loss

    def _gradients(self, batch, seed, values):
        """Compute a batch's loss and its parts, the layers' variables, and gradients."""

        def loss_of(weights):
            pairs = [*zip(self.trainable, weights, strict=True)]
            pairs += [(variable, variable.value) for variable in self.others]
            with keras.StatelessScope(pairs, collect_losses=True):
                found = self._loss(batch, values, seed, True)
                loss = jnp.mean(found.per_sample) + found.penalty
                # the losses that custom layers add
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

    # -- variables and constants

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
    """The functions of a graph, compiled for each of a few numbers of rows."""

    def __init__(self, specification, dtype):
        with precision(dtype):
            super().__init__(specification, dtype)

    def _compile(self, function, shapes):
        def call(inputs, place, weights):
            return self._computed(function, inputs, place, weights)

        return jax.jit(call, compiler_options=careful())

    def _slopes(self, function, x):
        """Compute the gradient in x of a function's first output, and the second."""
        return jax.grad(function, has_aux=True)(x)

    def n_rows(self, n):
        """Round a number of rows up to one that is compiled."""
        size = max(MIN_ROWS, 1 << (n - 1).bit_length())
        return size if n > self.batch_rows else min(size, self.batch_rows)


class Fitted(BaseFitted):
    """Functions compiled by JAX, with the weights and coordinates of one fit."""

    _make = Inference

    def compile(self):
        """Trace the functions of every estimator; raise if the network can't be."""
        inference = self.inference
        for name in ("encode", "decode"):
            shapes, size = inference.functions[name].shapes, inference.n_rows(1)
            inputs = [np.zeros((size, *shape[1:]), self.mean.dtype) for shape in shapes]
            with exactly(self.mean.dtype):
                inference.concrete(name).eval_shape(inputs, *self.bound)

    def _bind(self, place, weights):
        with precision(self.mean.dtype):
            self.bound = jax.tree.map(jnp.asarray, (place, weights))

    def _call(self, name, rows, *others):
        """Call a function with rows and, if it takes them, draws and more rows."""
        n = len(rows)
        size = self.inference.n_rows(n)
        n_draws = self.inference.functions[name].n_draws
        draws = [*others[:n_draws]]
        others = [_padded(x, size) for x in others[n_draws:]]
        inputs = [_padded(rows, size), *draws, *others]
        with exactly(self.mean.dtype):
            found = self.inference.concrete(name)(inputs, *self.bound)
            several = isinstance(found, (tuple, list))
            found = found if several else (found,)
            axes = self.inference.functions[name].axes
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
    """Append rows of zeros to x up to this number of rows."""
    if len(x) == size:
        return x
    padded = np.zeros((size, *x.shape[1:]), x.dtype)
    padded[: len(x)] = x
    return padded
