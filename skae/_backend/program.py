"""BaseProgram: training on any backend; gradients are left to the backend's subclass."""

import math

import keras
import numpy as np
from keras import ops

from skae._backend.augmentation import smooth
from skae._model.graph import LINEAR_CODE, LINEAR_OUTPUT, build
from skae._utils.keras import building

#: The number of values in a chunk of rows, and the least and the largest number of
#: batches in it.
CHUNK_VALUES, MIN_BATCHES, MAX_BATCHES = 2**21, 4, 256


class BaseProgram:
    """Training compiled for one specification, optimizer, batch size and dtype.

    A backend's subclass defines `_run` and `_measure`, which train and validate on the
    batches in the buffers. It also defines `_constant` (of a value), `_read` and `_write`
    (a variable's value), `_parts` (of a vector), `seed_kind` (the class of seeds) and
    `ways` (how it compiles: further arguments of `__init__`, hashable).

    Parameters
    ----------
    compiled : Once
        The compiled functions that equal programs share. Each program has its own
        variables and buffers.

    Attributes
    ----------
    alone : bool
        Whether its variables are plain ones, so that other programs can train in
        parallel.

    graph : Graph
        The graph that the program trains, in float32.

    n_traces : int
        The number of times that the backend has compiled one of its functions.
    """

    alone = True

    def __init__(self, specification, optimizer, batch_size, dtype, widths, compiled):
        self.graph = build(specification, "float32")
        self.batch_size, self.compiled, self.n_traces = batch_size, compiled, 0
        trainable = self.graph.trainable
        self.trainable = [*trainable.values()]
        self.penalized = [
            len(variable.shape) > 1 and not path.startswith((LINEAR_CODE, LINEAR_OUTPUT))
            for path, variable in trainable.items()
        ]
        with building("float32", 0):
            self.optimizer = optimizer.make()
            self.flat = None
            self.sizes = [math.prod(v.shape) for v in self.trainable]
            if optimizer.updates_as_one(self.trainable):
                self.flat = keras.Variable(np.zeros(sum(self.sizes), "float32"))
            #: The variables that the optimizer updates, and a mask of the L2 penalty
            self.updated = self.trainable, self.penalized
            if self.flat is not None:
                self.updated = [self.flat], [np.repeat(self.penalized, self.sizes)]
            self.optimizer.build(self.updated[0])
        self.others = [v for v in self.graph.variables.values() if not v.trainable]
        self.optimizer_start = self.optimizer_state()
        self.takes_rates = optimizer.learning_rate is not None
        n_features = specification.n_features
        n_batches = CHUNK_VALUES // (batch_size * n_features)
        n_batches = int(np.clip(n_batches, MIN_BATCHES, MAX_BATCHES))
        self.n_batches_at_once = n_batches
        self.shapes = {
            name: (
                (n_batches, batch_size, width),
                "float32" if name == "weight" else dtype,
            )
            for name, width in widths.items()
        }

    @property
    def objective(self):
        return self.graph.specification.objective

    @property
    def variables(self):
        """All variables that training changes."""
        return [*self.updated[0], *self.others, *self.optimizer.variables]

    @property
    def size(self):
        """The number of values in the weights."""
        return self.graph.size

    # -- compiled functions

    def _batch(self, chunks, i, seed):
        """Return batch i of a chunk, and the seed of its random numbers."""
        batch = {name: chunk[i] for name, chunk in chunks.items()}
        return batch, self.seed_kind(seed[0], seed[1] + i)

    def _loss(self, batch, values, seed, training):
        found = self.objective.loss(self.graph, batch, values, seed, training)
        if "weight" not in batch or not training:
            return found
        return found._replace(per_sample=found.per_sample * batch["weight"][:, 0])

    def _decayed(self, gradients, alpha):
        """Add the gradients of the L2 penalty to the gradients of the loss.

        If all weights are updated as one vector, so are their gradients: the update is
        then compiled once, not once for each weight.
        """
        gradients = [
            ops.zeros(variable.shape, "float32") if gradient is None else gradient
            for gradient, variable in zip(gradients, self.trainable, strict=True)
        ]
        if self.flat is not None:
            gradients = [self._joined([ops.reshape(g, [-1]) for g in gradients])]
        alpha = alpha / self.batch_size
        return [
            gradient + self.optimizer.scale_loss(alpha * weight)
            for gradient, weight in zip(gradients, self._penalized(), strict=True)
        ]

    def _penalized(self):
        """Return the updated variables' values, 0 where there is no L2 penalty."""
        return [
            ops.cast(chosen, "float32") * weight.value
            for weight, chosen in zip(*self.updated, strict=True)
        ]

    def _joined(self, parts):
        """Join parts to one vector, by writing each part into its place.

        In a concatenation XLA would look up the part of each value.
        """
        vector, start = ops.zeros(sum(self.sizes), "float32"), 0
        for part, size in zip(parts, self.sizes, strict=True):
            vector = ops.slice_update(vector, [start], part)
            start += size
        return vector

    def _spread(self):
        """Copy the one vector's values, if there is one, to the weights."""
        if self.flat is not None:
            parts = self._parts(self.flat.value)
            for variable, part in zip(self.trainable, parts, strict=True):
                variable.assign(ops.reshape(part, variable.shape))

    # -- methods that a fit calls

    def lend(self, rows, n_steps):
        """Allocate buffers for batches of rows.

        Parameters
        ----------
        rows : Rows
            All rows of the fit, from which the objective computes its values.

        n_steps : float
            An estimate of the number of batches that the fit takes.
        """
        self.rows, self.buffers, self.rate = rows, {}, None
        for name, shape_and_dtype in self.shapes.items():
            self.buffers[name] = aligned(*shape_and_dtype)
            self.buffers[name].fill(0)  # backends also check unused values

    def give_back(self):
        """Release the rows, buffers and values of a fit."""
        self.rows = self.buffers = None
        self.loaded = self.coordinates = self.values = None

    def load(self, weights, coordinates):
        """Load weights, and the values that the objective needs."""
        self.graph.check_paths(weights)
        self.loaded, variables = weights, self.graph.variables
        if self.flat is not None:  # `_spread` copies its values to the weights
            variables = {p: v for p, v in variables.items() if not v.trainable}
            parts = [np.ravel(weights[path]) for path in self.graph.trainable]
            self._write(self.flat, np.concatenate(parts, dtype=np.float32))
        for path, variable in variables.items():
            self._write(variable, np.asarray(weights[path], variable.dtype))
        self.coordinates = coordinates
        values = self.objective.values(self.rows, coordinates)
        self.values = {name: self._constant(value) for name, value in values.items()}

    def weights(self):
        """Return the current weights; unchanged ones are the arrays that were loaded."""
        found = {}
        if self.flat is not None:
            flat = np.array(self._read(self.flat))
            parts = np.split(flat, np.cumsum(self.sizes)[:-1])
            for (path, v), part in zip(self.graph.trainable.items(), parts, strict=True):
                found[path] = part.reshape(v.shape)
        now = {
            path: found[path] if path in found else np.array(self._read(variable))
            for path, variable in self.graph.variables.items()
        }
        same = {
            path: self.loaded[path]
            for path, value in now.items()
            if np.array_equal(value, self.loaded[path].astype(value.dtype))
        }
        return now | same

    def load_optimizer(self, state=None):
        """Reset the optimizer to its start, or to an earlier state."""
        state = self.optimizer_start if state is None else state
        for variable, value in zip(self.optimizer.variables, state, strict=True):
            self._write(variable, value)

    def optimizer_state(self):
        return [np.array(self._read(variable)) for variable in self.optimizer.variables]

    def bookmark(self):
        """Return the current state of training, to continue from later."""
        values = [self._read(variable) for variable in self.variables]
        return values, self.loaded, self.coordinates, self.values

    def turn_to(self, bookmark):
        """Restore a state of this program, or of an equal one."""
        values, self.loaded, self.coordinates, self.values = bookmark
        for variable, value in zip(self.variables, values, strict=True):
            self._write(variable, value)

    def n_batches(self, rows):
        """Return the number of batches in an epoch."""
        return -(-len(rows) // self.batch_size)

    def _chunks(self, rows, order):
        model = self.coordinates.linear_model
        return rows.chunks(order, self.batch_size, self.buffers, model)

    def epoch(self, rows, order, alpha, seed, rates, smoothing=0.0):
        """Train on the rows in `order`, each batch at its own learning rate.

        If a callback has set a `rate`, all batches have that rate. `smoothing` is the
        bandwidth of the smoothed bootstrap; 0 trains on the rows themselves.

        Returns
        -------
        losses : dict of str to float
            The mean loss and its parts, in the units of X. Its L2 penalty is the mean of
            those before and after the epoch.
        """
        rates = rates if self.rate is None else np.full_like(rates, self.rate)
        capacity = self.n_batches_at_once
        total, done = 0.0, 0
        before = self._penalty(alpha)
        for n_batches in self._chunks(rows, order):
            if smoothing:
                mixed = self.buffers.keys() & {"rows", "wanted"}
                arrays = [self.buffers[name][:n_batches] for name in mixed]
                smooth(arrays, smoothing, (seed, done))
            some = np.resize(rates[done : done + n_batches], capacity)
            total = total + self._run(n_batches, (seed, done), np.float32(alpha), some)
            done += n_batches
        names = ("loss", *self.objective.parts)
        losses = dict(zip(names, (total / done).tolist(), strict=True))
        losses["loss"] += (before + self._penalty(alpha)) / 2
        return self.objective.in_units(losses, self.coordinates)

    def _penalty(self, alpha):
        """Compute the L2 penalty of the current weights."""
        if not alpha:
            return 0.0
        total = sum(
            float(np.square(chosen * np.asarray(self._read(variable))).sum())
            for variable, chosen in zip(*self.updated, strict=True)
        )
        return alpha * total / (2 * self.batch_size)

    def measure(self, rows, seed):
        """Compute the validation loss of every row, in the units of X."""
        found, done = [], 0
        for n_batches in self._chunks(rows, rows.order()):
            found.append(self._measure(n_batches, (seed, done)))
            done += n_batches
        losses = np.concatenate(found)[: len(rows)].astype(np.float64)
        return self.objective.in_units({"loss": losses}, self.coordinates)["loss"]


def aligned(shape, dtype):
    """Allocate an empty array at a multiple of 64 bytes, as backends need to share it."""
    size, alignment = math.prod(shape) * np.dtype(dtype).itemsize, 64
    memory = np.empty(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size].view(dtype).reshape(shape)
