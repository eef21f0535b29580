"""BaseProgram: what training is on every backend; a batch's gradient is the backend's."""

import math

import keras
import numpy as np
from keras import ops

from skae._graph import LINEAR_CODE, LINEAR_OUTPUT, build
from skae._keras import building
from skae._optimizer import ELEMENTWISE

#: Values in one chunk of rows, at least, and batches in it, at least and at most.
CHUNK_VALUES, MIN_BATCHES, MAX_BATCHES = 2**17, 16, 256

#: Weights are updated as one vector where they are no more: copying many costs more time
#: than compiling one update saves.
FLAT_VALUES = 2**16


class BaseProgram:
    """Training compiled for one specification, optimizer, batch size and dtype.

    A backend's own has `_run` and `_measure`, which compute what is in the buffers, and
    says how it makes a `_constant`, what a `_copy` of a variable's value is, and how it
    takes `_parts` of a vector.

    Attributes
    ----------
    graph : Graph
        What the program trains, in float32.

    n_traces : int
        How often the backend has compiled one of its functions.
    """

    def __init__(self, specification, optimizer, batch_size, dtype, widths):
        self.graph = build(specification, "float32")
        self.batch_size, self.n_traces = batch_size, 0
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
            if (
                type(self.optimizer) in ELEMENTWISE
                and not self.optimizer.clipnorm
                and sum(self.sizes) <= FLAT_VALUES
            ):
                self.flat = keras.Variable(np.zeros(sum(self.sizes), "float32"))
            self.optimizer.build(self.trainable if self.flat is None else [self.flat])
        self.others = [v for v in self.graph.variables.values() if not v.trainable]
        self.optimizer_start = self.optimizer_state()
        self.takes_rates = optimizer.learning_rate is not None
        n_features = specification.n_features
        n_batches = CHUNK_VALUES // (batch_size * n_features)
        n_batches = int(np.clip(n_batches, MIN_BATCHES, MAX_BATCHES))
        self.n_batches_at_once, self.buffers = n_batches, {}
        for name, width in widths.items():
            kind = "float32" if name == "weight" else dtype
            self.buffers[name] = aligned((n_batches, batch_size, width), kind)
            self.buffers[name].fill(0)  # backends look at what is not read, too

    @property
    def objective(self):
        return self.graph.specification.objective

    @property
    def variables(self):
        """All that training changes."""
        weights = self.trainable if self.flat is None else [self.flat]
        return [*weights, *self.others, *self.optimizer.variables]

    # -- what is compiled

    def _loss(self, chunks, i, values, seed, training):
        batch = {name: chunk[i] for name, chunk in chunks.items()}
        seed = self.seed_kind(seed[0], seed[1] + i)
        wanted = batch.get("wanted", batch["rows"])
        found = self.objective.loss(
            self.graph,
            batch["rows"],
            wanted,
            values,
            seed,
            training,
            batch.get("surplus"),
        )
        if "weight" not in batch or not training:
            return found
        return found._replace(per_sample=found.per_sample * batch["weight"][:, 0])

    def _update(self, gradients, alpha):
        """Apply the optimizer, to all weights as one vector where that is the same.

        The update is then compiled once, not once for each weight.

        Returns
        -------
        penalty : tensor of shape ()
            The L2 penalty on the weights as they were.
        """
        gradients = [
            ops.zeros(variable.shape, "float32") if gradient is None else gradient
            for gradient, variable in zip(gradients, self.trainable, strict=True)
        ]
        weights, penalized = self.trainable, self.penalized
        if self.flat is not None:
            gradients = [ops.concatenate([ops.reshape(g, [-1]) for g in gradients])]
            weights, penalized = [self.flat], [np.repeat(penalized, self.sizes)]
        penalty = ops.zeros((), "float32")
        for i, (weight, chosen) in enumerate(zip(weights, penalized, strict=True)):
            decay = alpha * ops.cast(chosen, "float32") * weight.value
            penalty += ops.sum(decay * weight.value) / 2
            gradients[i] += self.optimizer.scale_loss(decay)
        self.optimizer.apply(gradients, weights)
        self._spread()
        return penalty

    def _spread(self):
        """Give the weights their values in the one vector, where there is one."""
        if self.flat is not None:
            parts = self._parts(self.flat.value)
            for variable, part in zip(self.trainable, parts, strict=True):
                variable.assign(ops.reshape(part, variable.shape))

    # -- what a fit calls

    def load(self, weights, coordinates):
        """Put weights in place, and the values that the objective computes with."""
        self.graph.load(weights)
        self.loaded = weights
        if self.flat is not None:
            parts = [np.ravel(variable.value) for variable in self.trainable]
            self.flat.assign(np.concatenate(parts))
        self.coordinates = coordinates
        values = self.objective.values(self.rows, coordinates)
        self.values = {name: self._constant(value) for name, value in values.items()}

    def weights(self):
        """The weights as they are now; those that training leaves alone as given."""
        self._spread()
        weights = dict(self.loaded)
        for path, now in self.graph.read().items():
            if not np.array_equal(now, weights[path].astype(now.dtype)):
                weights[path] = now
        return weights

    def load_optimizer(self, state=None):
        """Put the optimizer at its start, or in a state that it was in."""
        state = self.optimizer_start if state is None else state
        for variable, value in zip(self.optimizer.variables, state, strict=True):
            variable.assign(value)
        self.rate = None

    def optimizer_state(self):
        return [np.array(variable.value) for variable in self.optimizer.variables]

    def bookmark(self):
        """All that training changes, as it is now: to go on from here later."""
        variables = self.variables
        values = [self._copy(variable.value) for variable in variables]
        return variables, values, self.loaded, self.coordinates, self.values

    def turn_to(self, bookmark):
        """Put everything back as it was."""
        variables, values, self.loaded, self.coordinates, self.values = bookmark
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def n_batches(self, rows):
        """The number of batches in an epoch."""
        return -(-len(rows) // self.batch_size)

    def _chunks(self, rows, order):
        completion = self.coordinates.completion
        return rows.chunks(order, self.batch_size, self.buffers, completion)

    def epoch(self, rows, order, alpha, seed, rates):
        """Train on the rows in `order`, each batch at its own rate.

        Where a callback has set a `rate`, all batches have that.

        Returns
        -------
        losses : dict of str to float
            The mean loss and its parts, in the units of X.
        """
        rates = rates if self.rate is None else np.full_like(rates, self.rate)
        capacity = self.n_batches_at_once
        total, done = 0.0, 0
        for n_batches in self._chunks(rows, order):
            some = np.resize(rates[done : done + n_batches], capacity)
            total = total + self._run(n_batches, (seed, done), np.float32(alpha), some)
            done += n_batches
        names = ("loss", *self.objective.parts)
        losses = dict(zip(names, (total / done).tolist(), strict=True))
        return self.objective.in_units(losses, self.coordinates)

    def measure(self, rows, seed):
        """The validation loss of every row, in the units of X."""
        found, done = [], 0
        for n_batches in self._chunks(rows, rows.order()):
            found.append(self._measure(n_batches, (seed, done))[:n_batches])
            done += n_batches
        losses = np.concatenate(found).ravel()[: len(rows)].astype(np.float64)
        return self.objective.in_units({"loss": losses}, self.coordinates)["loss"]


def aligned(shape, dtype):
    """An empty array that begins where the backends' own tensors may."""
    size, alignment = math.prod(shape) * np.dtype(dtype).itemsize, 64
    memory = np.empty(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size].view(dtype).reshape(shape)
