"""Graph: a hashable specification, the Keras models built from it, and their weights."""

import itertools
import math
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skae._utils.keras import building, flat_layers, own_variables
from skae.likelihoods._base import MAX_LOG_VARIANCE, bounded
from skae.networks._base import activated

#: Paths of the layers that a linear initialisation sets.
LINEAR_CODE, LINEAR_OUTPUT = "encoder/linear_code", "decoder/linear_output"

#: The gate, and the kernels of the network's own contributions to code and output.
OUTPUT_GATE = "decoder/output_gate/kernel"
HEADS = {
    LINEAR_CODE: ("encoder/code/kernel",),
    LINEAR_OUTPUT: ("decoder/output/kernel", OUTPUT_GATE),
}
LOG_VARIANCE = "encoder/log_variance_head/bias"
NOISE, LEAST_NOISE = "noise", "least_noise"

#: A parameter, and the name of its layer.
CODE_ACTIVATION = "code_activation"


@dataclass(frozen=True, eq=False)
class Specification:
    """Everything that determines the graph of a fit, and nothing else.

    Equal specifications build equal graphs, which share compiled functions.
    """

    network: object
    objective: object
    row_shape: tuple
    n_components: int | None
    code_activation: str
    linear: bool
    seed: int = 0

    @cached_property
    def key(self):
        return (
            self.network._key(),
            self.network.jit_compile,
            self.objective.key,
            self.row_shape,
            self.n_components,
            self.code_activation,
            self.linear,
            self.network._seed_key(self.seed),
        )

    def __eq__(self, other):
        return isinstance(other, Specification) and self.key == other.key

    def __hash__(self):
        return hash(self.key)

    @property
    def n_features(self):
        return math.prod(self.row_shape)

    @property
    def rotates(self):
        """True if rotating the code leaves the set of functions unchanged."""
        dense = self.n_components is not None or self.objective.turns_features
        return dense and self.code_activation == "linear"

    @property
    def n_extra_variances(self):
        """The number of code variances that missing values of a row can increase."""
        return self.n_components if self.linear and self.objective.has_posterior else 0

    def __getstate__(self):
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Graph:
    """The Keras models of a specification, on standardised rows, and their variables.

    Attributes
    ----------
    encoder, decoder : keras.Model
        From standardised rows to the objective's heads, and from a code to the output
        before its activation.

    variables : dict of str to keras.Variable
        Every variable by its path: "encoder/" or "decoder/", and Keras' path.
    """

    def __init__(self, specification, encoder, decoder, likelihood_variables):
        self.specification, self.encoder, self.decoder = specification, encoder, decoder
        self.variables = {}
        for side, model in (("encoder/", encoder), ("decoder/", decoder)):
            for variable in model.variables:
                name = _new_name(side + variable.path, self.variables)
                self.variables[name] = variable
        self.variables |= likelihood_variables
        self._random = self._initializers()
        self.draw = self.drawn  # a backend may compile it
        #: The initial values of the other variables. They are read here, as training
        #: changes them in a program that is used again.
        self._built = {
            path: value_of(v)
            for path, v in self.variables.items()
            if id(v) not in self._random
        }

    @property
    def trainable(self):
        """The variables that gradients change, by path."""
        return {path: v for path, v in self.variables.items() if v.trainable}

    @property
    def is_linear(self):
        """True if there is only the linear path."""
        return not any(
            head in self.variables for heads in HEADS.values() for head in heads
        )

    @property
    def encodes_linearly(self):
        """True if the encoder is the linear path alone."""
        operations = {operation.name for operation in self.encoder.operations}
        return operations <= {"standardized", "linear_code", "log_variance_head"}

    @cached_property
    def size(self):
        """The number of values in all variables."""
        return sum(math.prod(v.shape) for v in self.variables.values())

    def log_noise(self):
        """Return the log-variance of the noise, of shape (1, n); None without noise."""
        from keras import ops

        if NOISE not in self.variables:
            return None
        noise, least = self.variables[NOISE], self.variables[LEAST_NOISE]
        return ops.maximum(bounded(noise.value), least.value)[None]

    def _initializers(self):
        """Return the initialisers of random variables, by the variable's id."""
        found = {}
        for model in (self.encoder, self.decoder):
            for layer in flat_layers(model):
                for variable in own_variables(layer):
                    name = variable.name.removesuffix("_kernel")
                    initializer = getattr(layer, f"{name}_initializer", None)
                    if hasattr(initializer, "seed"):  # Keras' random initialisers
                        found[id(variable)] = initializer
        return found

    def initial(self, seed):
        """Draw initial weights, each from the seed and its path."""
        random = [path for path, v in self.variables.items() if id(v) in self._random]
        draws = self.draw([named_seed(seed, path) for path in random])
        drawn, weights = dict(zip(random, draws, strict=True)), {}
        for path, variable in self.variables.items():
            if path in drawn:
                weights[path] = np.array(drawn[path])
            elif variable.name == "seed_generator_state":
                draw = [named_seed(seed, path), 0]
                weights[path] = np.array(draw, dtype=self._built[path].dtype)
            else:
                weights[path] = self._built[path].copy()
        return weights

    def drawn(self, seeds):
        """Draw the randomly initialised variables, each from its own seed."""
        variables = [v for v in self.variables.values() if id(v) in self._random]
        found = []
        for variable, seed in zip(variables, seeds, strict=True):
            initializer = self._random[id(variable)]
            config = {**initializer.get_config(), "seed": seed}
            value = type(initializer).from_config(config)(
                variable.shape, dtype=variable.dtype
            )
            if variable.constraint is not None:
                value = variable.constraint(value)
            found.append(value)
        return found

    def load(self, weights):
        """Give every variable its value.

        Raises
        ------
        KeyError
            If a value is missing, or if no variable has its path.
        """
        self.check_paths(weights)
        for path, variable in self.variables.items():
            variable.assign(weights[path])

    def check_paths(self, weights):
        """Raise if a weight has a path that no variable has."""
        if strangers := weights.keys() - self.variables.keys():
            raise KeyError(f"no variable has the path {min(strangers)!r}")

    def read(self):
        """Return the current weights."""
        return {path: value_of(v) for path, v in self.variables.items()}


def value_of(variable):
    """Copy a Keras variable's value, on any backend and any number of devices."""
    value = variable.value
    return np.array(value.numpy() if hasattr(value, "numpy") else value)


def named_seed(seed, name):
    """Derive a seed from a seed and a name."""
    rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
    return int(rng.integers(2**31 - 1))


def _new_name(path, taken):
    """Return the path, with a number if two models have layers of the same name."""
    names = itertools.chain([path], (f"{path}#{n}" for n in itertools.count(2)))
    return next(name for name in names if name not in taken)


def build(specification, dtype):
    """Build the graph of a specification.

    Parameters
    ----------
    specification : Specification
    dtype : {"float32", "float64"}

    Returns
    -------
    graph : Graph
    """
    objective, n_features = specification.objective, specification.n_features
    with building(dtype, specification.seed) as keras:
        x = keras.Input((n_features,), dtype=dtype, name="standardized")
        z, features = _code(x, specification)
        encoder = keras.Model(x, objective.heads(z, features), name="encoder_network")
        code = keras.Input(z.shape[1:], dtype=dtype, name="code_input")
        decoder = keras.Model(code, _output(code, specification), name="decoder_network")
        n_noise = objective.likelihood.n_noise(n_features)
        noise = {}
        if n_noise:
            least = np.full(n_noise, -MAX_LOG_VARIANCE)
            noise[NOISE] = keras.Variable(np.zeros(n_noise), dtype=dtype, name=NOISE)
            noise[LEAST_NOISE] = keras.Variable(
                least, dtype=dtype, trainable=False, name=LEAST_NOISE
            )
    return Graph(specification, encoder, decoder, noise)


def _code(x, specification):
    """Build the code, and the features that it is computed from."""
    from keras import layers

    linear, n_components = specification.linear, specification.n_components
    x = specification.objective.likelihood.seen(x)
    features = specification.network.encode(x)
    if len(features.shape) > 2:
        features = layers.Flatten("channels_last", name="features")(features)
    if n_components is None:
        code = activated(features, specification.code_activation, "code", CODE_ACTIVATION)
        return code, features
    sums = []
    if not linear or features is not x:  # else the linear path is enough
        head = layers.Dense(
            n_components, kernel_initializer=_first_kernel(linear), name="code"
        )
        sums.append(head(features))
    if linear:
        path = layers.Dense(n_components, name="linear_code")
        sums.append(path(specification.network._numbers(x)))
    z = layers.Add(name="code_sum")(sums) if len(sums) > 1 else sums[0]
    if not linear:
        z = activated(z, specification.code_activation, CODE_ACTIVATION, CODE_ACTIVATION)
    return z, features


def _output(code, specification):
    """Build the output before its activation."""
    from keras import layers

    from skae.networks._layers import gate

    linear, n_features = specification.linear, specification.n_features
    network, shape = specification.network, (n_features,)
    output = network.decode(code, shape)
    sums = []
    if linear and output is code:  # the linear path is enough
        pass
    elif not network.makes_output or tuple(output.shape[1:]) != shape:
        if len(output.shape) > 2:
            output = layers.Flatten("channels_last", name="output_features")(output)
        head = layers.Dense(
            n_features, kernel_initializer=_first_kernel(linear), name="output"
        )
        sums.append(head(output))
    else:
        sums.append(gate(output, "output_gate") if linear else output)
    if linear:
        path = layers.Dense(n_features, name="linear_output")
        sums.append(path(code))
    return layers.Add(name="output_sum")(sums) if len(sums) > 1 else sums[0]


def _first_kernel(linear):
    """Choose the initialiser of the last layers: zeros next to a linear path."""
    return "zeros" if linear else "glorot_uniform"
