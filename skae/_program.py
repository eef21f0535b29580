"""Program: the one room of TensorFlow, where epochs, losses, codes and rows are computed."""

import contextlib
import math
import threading
from collections import OrderedDict
from dataclasses import replace
from functools import cache, cached_property

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse
from sklearn.utils import gen_batches

from skae._graph import LINEAR_CODE, LINEAR_OUTPUT, build
from skae._keras import building, reason
from skae._optimizer import ELEMENTWISE
from skae._random import Seed
from skae._rows import VALUES_AT_ONCE, has_nan

#: Values in one chunk of rows, at least, and batches in it, at least and at most.
CHUNK_VALUES, MIN_BATCHES, MAX_BATCHES = 2**17, 16, 256

#: Weights are updated as one vector where they are no more: copying many costs more time
#: than compiling one update saves.
FLAT_VALUES = 2**16

#: Strategies of TensorFlow whose devices are all here.
ONE_MACHINE = (tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy)

#: Values in the widest layer's output that one call may hold.
CALL_VALUES = 2**20


class Kept:
    """The last few things that were made, by key."""

    def __init__(self, most):
        self.things, self.most, self.lock = OrderedDict(), most, threading.Lock()

    def take(self, key):
        """What was put by this key, which is then gone; None if nothing was."""
        with self.lock:
            return self.things.pop(key, None)

    def put(self, key, thing):
        with self.lock:
            self.things[key] = thing
            while len(self.things) > self.most:
                self.things.popitem(last=False)

    def get(self, key, make):
        """What was put by this key, or is made now."""
        thing = self.take(key) or make()
        self.put(key, thing)
        return thing


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


class PartSeed(Seed):
    """What a part of a batch has of the numbers that a seed draws for the whole batch.

    What draws from it by ``keras.random`` has a stream of its own in each part.

    Parameters
    ----------
    whole : Seed
    part, n_parts : int
        Which part, and of how many.

    rows : slice
        Those of the part, on the last axis but one.

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


# -- training


class Program:
    """Training compiled for one specification, optimizer, batch size and dtype.

    Attributes
    ----------
    graph : Graph
        What the program trains, in float32.

    n_traces : int
        How often TensorFlow has compiled one of its functions.

    n_parts : int
        The devices, each of which computes a part of every batch.
    """

    def __init__(
        self, specification, optimizer, batch_size, dtype, widths, by_xla, strategy
    ):
        self.strategy, self.n_parts = strategy, strategy.num_replicas_in_sync
        with strategy.scope():
            self.graph = build(specification, "float32")
        self.batch_size, self.n_traces = batch_size, 0
        trainable = self.graph.trainable
        self.trainable = [*trainable.values()]
        self.penalized = [
            len(variable.shape) > 1 and not path.startswith((LINEAR_CODE, LINEAR_OUTPUT))
            for path, variable in trainable.items()
        ]
        with strategy.scope(), building("float32", 0):
            self.optimizer = optimizer.make()
            self.flat = None
            self.sizes = [math.prod(v.shape) for v in self.trainable]
            if (
                type(self.optimizer) in ELEMENTWISE
                and not self.optimizer.clipnorm
                and sum(self.sizes) <= FLAT_VALUES
            ):
                self.flat = keras.Variable(np.zeros(sum(self.sizes), "float32"))
            #: What the optimizer updates, and which of it the L2 penalty is on
            self.updated = self.trainable, self.penalized
            if self.flat is not None:
                self.updated = [self.flat], [np.repeat(self.penalized, self.sizes)]
            self.optimizer.build(self.updated[0])
        self.optimizer_start = self.optimizer_state()
        self.takes_rates = optimizer.learning_rate is not None
        n_features = specification.n_features
        n_batches = CHUNK_VALUES // (batch_size * n_features)
        n_batches = int(np.clip(n_batches, MIN_BATCHES, MAX_BATCHES))
        self.n_batches_at_once, self.buffers, self.chunks = n_batches, {}, {}
        for name, width in widths.items():
            kind = "float32" if name == "weight" else dtype
            memory = shared_memory((n_batches, batch_size, width), kind)
            memory[0].fill(0)  # TensorFlow's own checks look at what is not read, too
            self.buffers[name], self.chunks[name] = memory
        self.jit_compile = by_xla
        self.seed_kind = FastSeed if self.jit_compile else Seed

    @property
    def objective(self):
        return self.graph.specification.objective

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
        alone = self.n_parts == 1  # else XLA compiles each device's part
        concrete = tf.function(
            function, jit_compile=self.jit_compile and alone, autograph=False
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

    def _of_part(self, function, chunks, i, values, seed, *more):
        """What a function makes of the part of a batch that this device has."""
        context = tf.distribute.get_replica_context()
        part = int(tf.get_static_value(context.replica_id_in_sync_group))
        ends = [self.batch_size * n // self.n_parts for n in (part, part + 1)]
        rows, draws = slice(*ends), self.seed_kind(seed[0], seed[1] + i)
        batch = {name: chunk[i][rows] for name, chunk in chunks.items()}
        if self.n_parts == 1:
            return function(batch, values, draws, 1.0, *more)
        draws = PartSeed(draws, part, self.n_parts, rows, self.batch_size)
        share = (ends[1] - ends[0]) / self.batch_size
        compiled = tf.function(
            lambda: function(batch, values, draws, share, *more),
            jit_compile=self.jit_compile,
            autograph=False,
        )
        return compiled()

    def _loss(self, batch, values, seed, training):
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

    def _gradients(self, batch, values, seed, share, alpha):
        """A share of a batch's gradients, and of its loss and the loss's parts.

        The L2 penalty is that on the weights as they are before the update.
        """
        weights = [variable.value for variable in self.trainable]
        with tf.GradientTape() as tape:
            found = self._loss(batch, values, seed, True)
            loss = tf.reduce_mean(found.per_sample) + found.penalty
            # what layers of one's own add to the loss
            losses = [*self.graph.encoder.losses, *self.graph.decoder.losses]
            loss = tf.add_n([loss, *losses]) if losses else loss
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, weights)
        gradients = [
            tf.zeros(weight.shape) if gradient is None else gradient
            for gradient, weight in zip(gradients, weights, strict=True)
        ]
        if self.flat is not None:
            gradients = [tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0)]
        penalty = tf.zeros(())
        for i, (weight, chosen) in enumerate(zip(*self.updated, strict=True)):
            decay = alpha * tf.cast(chosen, tf.float32) * weight.value
            penalty += tf.reduce_sum(decay * weight.value) / 2
            gradients[i] += self.optimizer.scale_loss(decay)
        parts = [found.parts[name] for name in self.objective.parts]
        losses = tf.stack([loss + penalty, *parts])
        return [share * each for each in (*gradients, losses)]

    def _run_batches(self, chunks, n_batches, values, seed, alpha, rates):
        self.n_traces += 1
        self._spread()
        alpha /= self.batch_size

        def batch(i, total):
            if self.takes_rates:
                self.optimizer.learning_rate = rates[i]

            def step():
                *gradients, losses = self._of_part(
                    self._gradients, chunks, i, values, seed, alpha
                )
                self.optimizer.apply(gradients, self.updated[0])  # of all devices' sum
                return losses

            losses = self.strategy.run(step)
            self._spread()
            return i + 1, total + self.strategy.reduce("SUM", losses, axis=None)

        return tf.while_loop(
            lambda i, total: i < n_batches,
            batch,
            (tf.constant(0), tf.zeros(1 + len(self.objective.parts))),
        )[1]

    def _spread(self):
        """Give the weights their values in the one vector, where there is one."""
        if self.flat is not None:
            parts = tf.split(self.flat.value, self.sizes)
            for variable, part in zip(self.trainable, parts, strict=True):
                variable.assign(tf.reshape(part, variable.shape))

    def _measure_batches(self, chunks, n_batches, values, seed):
        self.n_traces += 1
        self._spread()

        def losses(batch, values, seed, share):
            return self._loss(batch, values, seed, False).per_sample

        def batch(i, per_sample):
            found = self.strategy.run(self._of_part, (losses, chunks, i, values, seed))
            parts = self.strategy.experimental_local_results(found)
            return i + 1, per_sample.write(i, tf.concat(parts, axis=0))

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

    # -- what a fit calls

    def load(self, weights, coordinates):
        """Put weights in place, and the values that the objective computes with."""
        self.graph.load(weights)
        self.loaded = weights
        if self.flat is not None:
            parts = [variable.numpy().ravel() for variable in self.trainable]
            self.flat.assign(np.concatenate(parts))
        self.coordinates = coordinates
        values = self.objective.values(self.rows, coordinates)
        self.values = {name: tf.constant(value) for name, value in values.items()}

    def weights(self):
        """The weights as they are now; those that training leaves alone as given."""
        now = self.graph.read()
        if self.flat is not None:
            trainable = self.graph.trainable.items()
            parts = np.split(self.flat.numpy(), np.cumsum(self.sizes)[:-1])
            for (path, variable), part in zip(trainable, parts, strict=True):
                now[path] = part.reshape(variable.shape)
        same = {
            path: self.loaded[path]
            for path, value in now.items()
            if np.array_equal(value, self.loaded[path].astype(value.dtype))
        }
        return now | same

    def load_optimizer(self, state=None):
        """Put the optimizer at its start, or in a state that it was in."""
        state = self.optimizer_start if state is None else state
        for variable, value in zip(self.optimizer.variables, state, strict=True):
            variable.assign(value)
        self.rate = None

    def optimizer_state(self):
        return [np.array(variable.numpy()) for variable in self.optimizer.variables]

    def bookmark(self):
        """All that training changes, as it is now: to go on from here later."""
        variables = [v for v in self.graph.variables.values() if not v.trainable]
        variables = [*self.updated[0], *variables, *self.optimizer.variables]
        values = [tf.identity(variable.value) for variable in variables]
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


programs = Kept(8)


@contextlib.contextmanager
def borrowed(specification, plan, rows):
    """A program for this specification: one that is kept and free, or a new one.

    Parameters
    ----------
    specification : Specification
    plan : Plan
        XLA compiles a program for many batches.

    rows : Rows
        All rows of the fit, which the values that the objective computes with describe.
    """
    optimizer, batch_size = plan.optimizer, plan.batch_size
    network = specification.network
    by_xla = network.jit_compile and plan.n_steps(len(rows)) >= network.jit_steps
    dtype, widths = rows.dtype, rows.widths
    if rows.has_holes and specification.surplus:
        widths["surplus"] = specification.n_components
    strategy = _strategy(batch_size)
    makers = (optimizer, batch_size, dtype.name, tuple(widths), by_xla, strategy)
    program = programs.take((specification, *makers))
    if program is None:
        program = Program(
            specification, optimizer, batch_size, dtype, widths, by_xla, strategy
        )
    program.graph.specification = specification  # its hyperparameters are not compiled
    program.rows = rows
    try:
        yield program
    finally:
        program.rows = None
        programs.put((specification, *makers), program)


def _strategy(batch_size):
    """Over which devices the rows of a batch are spread.

    They are those of the strategy in whose scope the fit is called, else all that are
    visible of the fastest kind, of which none goes without a row.
    """
    if tf.distribute.has_strategy():
        strategy = tf.distribute.get_strategy()
        if not isinstance(strategy, ONE_MACHINE):
            raise ValueError(
                "fit spreads rows over the devices of one machine, in the scope of"
                " tf.distribute.MirroredStrategy or OneDeviceStrategy. Got that of"
                f" {type(strategy).__name__}."
            )
        return strategy
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    names = tuple(device.name for device in devices[:batch_size])
    return _mirrored(names) if len(names) > 1 else tf.distribute.get_strategy()


@cache
def _mirrored(names):
    """Without collective operations, of which fits in two threads would mix up theirs."""
    reduction = tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)


# -- inference


class Inference:
    """The functions of a graph, compiled for one dtype and any number of rows.

    Weights and coordinates are arguments, so that one trace serves every fit.
    """

    def __init__(self, specification, dtype):
        graph = build(specification, dtype)
        self.dtype = dtype
        self.weights = {path: v.dtype for path, v in graph.variables.items()}
        self.graph, self.compiled, self.lock = graph, {}, threading.Lock()
        rows, codes = graph.encoder.input_shape, graph.decoder.input_shape
        of_holes = [rows, codes, rows, (None, codes[-1], codes[-1])]
        self.functions = {
            "encode": (_encode, [rows]),
            "decode": (_decode, [codes]),
            "posterior": (_posterior, [rows]),
            "log_weights": (_log_weights, [rows, codes]),
            "log_weights_of_holes": (_log_weights_of_holes, of_holes),
            "log_weights_of_features": (_log_weights_of_features, of_holes),
            "expected_of_holes": (_expected_of_holes, of_holes),
        }
        widest = max(
            math.prod(output.shape[1:])
            for model in (graph.encoder, graph.decoder)
            for layer in model.layers
            for output in keras.tree.flatten(layer.output)
        )
        self.batch_rows = max(1, CALL_VALUES // widest)

    def concrete(self, name):
        """A function of rows, coordinates and weights, compiled at its first use."""
        with self.lock:
            if name not in self.compiled:
                self.compiled[name] = self._compile(*self.functions[name])
            return self.compiled[name]

    def _compile(self, function, shapes):
        graph, variables = self.graph, self.graph.variables
        size, n_features = graph.decoder.input_shape[-1], graph.specification.n_features
        place = {"mean": (n_features,), "spread": (n_features,), "unit": (n_features,)}
        if graph.specification.rotates:
            place |= {"rotation": (size, size), "inverse": (size, size)}
            place["offset"] = (size,)

        @tf.function(autograph=False)
        def call(inputs, place, weights):
            pairs = [(variables[path], weights[path]) for path in variables]
            with keras.StatelessScope(pairs):
                return function(graph, place, *inputs)

        return call.get_concrete_function(
            [tf.TensorSpec(shape, self.dtype) for shape in shapes],
            {name: tf.TensorSpec(shape, self.dtype) for name, shape in place.items()},
            {path: tf.TensorSpec(v.shape, v.dtype) for path, v in variables.items()},
        )


def _encode(graph, place, x):
    """Components of standardised rows."""
    z = graph.specification.objective.point(graph.encoder(x, training=False))
    if "rotation" not in place:
        return z
    return tf.matmul(z - place["offset"], place["rotation"])


def _decode(graph, place, z):
    """Rows of components."""
    specification = graph.specification
    if "rotation" in place:
        z = tf.matmul(z, place["inverse"]) + place["offset"]
    likelihood = specification.objective.likelihood
    output = likelihood.mean(graph.decoder(z, training=False))
    output = output * place["spread"] + place["mean"]
    return tf.reshape(output, (-1, *specification.row_shape))


def _posterior(graph, place, x):
    return graph.specification.objective.posterior(graph, x)


def _log_weights(graph, place, x, noise):
    objective = graph.specification.objective
    return objective.log_weights(graph, x, noise[:, None], place["unit"])


def _log_weights_of_holes(graph, place, filled, noise, x, surplus):
    objective = replace(graph.specification.objective, missing=True)
    found = objective.log_weights_of_holes(
        graph, filled, noise, x, surplus, place["unit"]
    )
    return found[0] + found[1]


def _log_weights_of_features(graph, place, filled, noise, x, surplus):
    """The weights, and each feature's log-likelihood averaged by them.

    A row's log-likelihood is linear in how much each feature counts, so that its gradient
    is that of the feature.
    """
    objective = replace(graph.specification.objective, missing=True)
    present = tf.cast(~tf.math.is_nan(x), x.dtype)
    with tf.GradientTape() as tape:
        tape.watch(present)
        log_likelihood, log_ratio = objective.log_weights_of_holes(
            graph, filled, noise, x, surplus, place["unit"], present
        )
        log_weights = log_likelihood + log_ratio
        shares = tf.stop_gradient(tf.nn.softmax(log_weights, axis=0))
        total = tf.reduce_sum(shares * log_likelihood)
    return log_weights, tape.gradient(total, present) * present


def _expected_of_holes(graph, place, filled, noise, x, surplus):
    objective = replace(graph.specification.objective, missing=True)
    output = objective.expected_of_holes(graph, filled, noise, x, surplus, place["unit"])
    return output * place["spread"] + place["mean"]


kept_inference = Kept(16)


class Fitted:
    """What is compiled, with the weights and coordinates of one fit.

    Parameters
    ----------
    specification : Specification
    weights : dict of str to ndarray
    coordinates : Coordinates
    dtype : dtype of the rows
    """

    def __init__(self, specification, weights, coordinates, dtype):
        name = np.dtype(dtype).name
        inference = kept_inference.get(
            (specification, name), lambda: Inference(specification, name)
        )
        self.batch_rows, self.coordinates = inference.batch_rows, coordinates
        self.specification, self.weights = specification, weights
        self.mean = coordinates.mean.astype(dtype)
        self.scale = np.asarray(coordinates.scale, dtype)
        place = {
            "mean": coordinates.mean,
            "spread": coordinates.scale * coordinates.unit,
            "unit": coordinates.unit,
        }
        if coordinates.rotation is not None:
            place["rotation"] = coordinates.rotation
            place["inverse"] = coordinates.inverse
            place["offset"] = coordinates.offset
        place = {key: tf.constant(value, name) for key, value in place.items()}
        weights = {
            path: tf.constant(weights[path], dtype)
            for path, dtype in inference.weights.items()
        }
        self.bound = tf.nest.flatten([place, weights])  # in the order that is compiled
        self.inference = inference

    def compile(self):
        """Compile what every estimator needs, which fails if the network can't be."""
        for name in ("encode", "decode"):
            self.inference.concrete(name)

    def _call(self, name, *inputs):
        concrete = self.inference.concrete(name)
        # A quarter of the time that calling `concrete` takes, for a row
        found = tf.raw_ops.PartitionedCall(
            args=[*(x if tf.is_tensor(x) else _tensor(x) for x in inputs), *self.bound],
            Tout=[tensor.dtype for tensor in concrete.outputs],
            f=concrete,
        )
        found = tuple(tensor.numpy() for tensor in found)
        return found if len(found) > 1 else found[0]

    def completed(self, X):
        """Rows whose holes are filled in."""
        completion = self.coordinates.completion
        if completion is None or sparse.issparse(X) or not has_nan(X):
            return X
        return completion.filled(X)

    def encode(self, X):
        """Codes, of shape (n_samples, n_components), of flat rows."""
        return self._in_batches("encode", X, self._seen)

    def decode(self, Z):
        """Rows, in their own shape, of codes."""
        return self._in_batches("decode", Z, _tensor)

    def posterior(self, X):
        """Mean and log-variance of the code of flat rows, before it is turned."""
        return self._in_batches("posterior", X, self._seen)

    def log_weights(self, X, noise):
        """``log p(x, z) - log q(z | x)`` at draws of the code, in standardised units."""
        completion = self.coordinates.completion
        if completion is None or not has_nan(X):
            return self._call("log_weights", self._standardized(X), noise)
        found = np.empty((len(noise), len(X)))
        holes = np.isnan(X).any(axis=1)
        found[:, ~holes] = self._call("log_weights", self._standardized(X[~holes]), noise)
        found[:, holes] = self._call(
            "log_weights_of_holes",
            self._standardized(completion.filled(X[holes])),
            noise,
            self._standardized(X[holes]),
            self._surplus(X[holes]).astype(X.dtype),
        )
        return found

    def log_weights_of_features(self, X, noise):
        """The log-weights, and the log-likelihood of each feature averaged by them."""
        return self._call(
            "log_weights_of_features",
            self._standardized(self.completed(X)),
            noise,
            self._standardized(X),
            self._surplus(X).astype(X.dtype),
        )

    def expected(self, X, draws):
        """Rows with holes, and what is expected in these, given the values that are there.

        Each pass draws codes from the posterior of rows as the pass before completed them.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        draws : ndarray of shape (n_passes, n_draws, n_components)

        Returns
        -------
        X_completed : ndarray of the shape of X
        """
        filled, surplus = self.completed(X), self._surplus(X).astype(X.dtype)
        for noise in draws:
            expected = self._call(
                "expected_of_holes",
                self._standardized(filled),
                noise,
                self._standardized(X),
                surplus,
            )
            filled = np.where(np.isnan(X), expected, X)
        return filled

    def surplus(self, X):
        """What the holes of each row add to the variance of its code; 0 without any."""
        if sparse.issparse(X) or not has_nan(X) or not self.specification.surplus:
            return X.dtype.type(0)
        return self.coordinates.completion.variance_of_holes(X).astype(X.dtype)

    def _surplus(self, X):
        """What the holes of each row add to the covariance of its code."""
        if self.specification.surplus and has_nan(X):
            return self.coordinates.completion.surplus(X)
        size = self.inference.graph.decoder.input_shape[-1]
        return np.zeros((len(X), size, size))

    def _seen(self, X):
        """Rows as the network sees them."""
        return self._standardized(self.completed(X))

    def _standardized(self, X):
        X = X.astype(self.mean.dtype, copy=False)

        def standardize(out, rows):  # while they are copied, it costs no time
            np.subtract(rows, self.mean, out=out)
            np.divide(out, self.scale, out=out)

        return _tensor(X, standardize)

    def _in_batches(self, name, X, tensor):
        if isinstance(X, np.ndarray) and len(X) <= self.batch_rows:
            return self._call(name, tensor(X))
        found = [
            self._call(name, tensor(X[some].toarray() if sparse.issparse(X) else X[some]))
            for some in gen_batches(X.shape[0], self.batch_rows)
        ]
        if isinstance(found[0], tuple):
            return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
        return np.concatenate(found)


# -- memory


def shared_memory(shape, dtype):
    """An array and a tensor of the same memory: what fills the one fills the other."""
    size, alignment = math.prod(shape) * np.dtype(dtype).itemsize, 64
    memory = np.empty(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment  # where TensorFlow's own tensors start
    array = memory[start : start + size].view(dtype).reshape(shape)
    return array, tf.experimental.dlpack.from_dlpack(array.__dlpack__())


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
