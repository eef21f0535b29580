"""From an architecture, plain and hashable, to Keras models and their variables."""

import itertools
import math
import zlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from skae._keras import building


@dataclass(frozen=True, eq=False)
class Architecture:
    """All that shapes the Keras models of one fit, and nothing else.

    Two architectures with the same `key` build the same models, so that programs
    compiled for one serve the other.
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
            self.objective,
            self.row_shape,
            self.n_components,
            self.code_activation,
            self.linear,
            self.network._seed_key(self.seed),
        )

    @property
    def n_features(self):
        return math.prod(self.row_shape)

    @property
    def random_algorithm(self):
        """XLA's default is slow on a CPU; TensorFlow's own kernels know no Threefry."""
        return "threefry" if self.network.jit_compile else "auto_select"

    @property
    def rotates(self):
        """Whether the code may be rotated without changing the function."""
        return self.objective.rotates and self.code_activation == "linear"

    def __getstate__(self):
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass
class Models:
    """The Keras models of one architecture and dtype, which share their variables."""

    architecture: Architecture
    trainer: object
    encoder_core: object
    decoder_core: object
    encoder: object
    decoder: object
    autoencoder: object
    named: dict = field(default_factory=dict)

    @cached_property
    def variables(self):
        """Every variable once, by its path: what a fitted estimator stores.

        The path is Keras' own, behind the side that it is on: "encoder/code/kernel".
        """
        sides = (
            ("encoder/", self.encoder_core),
            ("decoder/", self.decoder_core),
            ("", self.trainer),
            ("", self.encoder),
            ("", self.decoder),
        )
        found, seen = {}, set()
        for side, model in sides:
            for variable in model.variables:
                if id(variable) not in seen:
                    seen.add(id(variable))
                    found[_new_name(side + variable.path, found)] = variable
        return found

    @cached_property
    def path_of(self):
        """The path of each variable, by its id."""
        return {id(variable): path for path, variable in self.variables.items()}

    @cached_property
    def paths(self):
        """The paths of the variables that the estimator sets by a name of its own."""
        return {name: self.path_of[id(variable)] for name, variable in self.named.items()}

    @cached_property
    def initial(self):
        """The values that the variables had when they were made."""
        return {path: np.array(v.numpy()) for path, v in self.variables.items()}

    @cached_property
    def random(self):
        """Initialisers of the variables that start at random, by path."""
        found = {}
        for model in (self.trainer, self.encoder, self.decoder):
            for layer in model._flatten_layers():
                for variable in layer._trainable_variables:
                    name = variable.name.removesuffix("_kernel")
                    initializer = getattr(layer, f"{name}_initializer", None)
                    if hasattr(initializer, "seed"):  # Keras' random initialisers
                        found[self.path_of[id(variable)]] = initializer
        return found

    def fresh(self, seed):
        """New starting values of the variables, drawn from `seed` and their paths."""
        values = dict(self.initial)
        for path, variable in self.variables.items():
            rng = np.random.default_rng((seed, zlib.crc32(path.encode())))
            draw = int(rng.integers(2**31 - 1))
            if path in self.random:
                initializer = self.random[path]
                config = {**initializer.get_config(), "seed": draw}
                initializer = type(initializer).from_config(config)
                values[path] = np.array(
                    initializer(variable.shape, dtype=variable.dtype).numpy()
                )
            elif variable.name == "seed_generator_state":
                values[path] = np.array([draw, 0], dtype=values[path].dtype)
        return values

    def with_named(self, values, named):
        """A copy of the variables' values, with those replaced that have a name here."""
        values = dict(values)
        for name in self.paths.keys() & named.keys():
            path = self.paths[name]
            values[path] = np.full(values[path].shape, named[name], np.float64)
        return values

    def assign(self, values):
        """Give every variable its value.

        Raises
        ------
        KeyError
            If a value is missing, or has a path that no variable has.
        """
        if strangers := values.keys() - self.variables.keys():
            raise KeyError(f"no variable has the path {min(strangers)!r}")
        for path, variable in self.variables.items():
            variable.assign(values[path])


def _new_name(path, taken):
    """The path or, where layers of one name hide in two models, the path and a number."""
    names = itertools.chain([path], (f"{path}#{n}" for n in itertools.count(2)))
    return next(name for name in names if name not in taken)


def build(architecture, dtype):
    """Build the Keras models of an architecture.

    Parameters
    ----------
    architecture : Architecture
    dtype : {"float32", "float64"}

    Returns
    -------
    models : Models
    """
    with building(dtype, architecture.seed) as keras:
        from skae import _layers

        objective, linear = architecture.objective, architecture.linear
        layers, named = keras.layers, {}
        n_features = architecture.n_features
        zeros_if_linear = "zeros" if linear else "glorot_uniform"

        x = keras.Input((n_features,), dtype=dtype, name="standardized")
        features = architecture.network.encode(x)
        if len(features.shape) > 2:
            features = layers.Flatten(name="features")(features)
        if architecture.n_components is None:
            z = layers.Activation(architecture.code_activation, name="code")(features)
        else:
            sums = []
            if not linear or features is not x:  # else the linear path does it all
                head = layers.Dense(
                    architecture.n_components,
                    kernel_initializer=zeros_if_linear,
                    name="code",
                )
                sums.append(head(features))
            if linear:
                path = layers.Dense(architecture.n_components, name="linear_code")
                numbers = x
                if architecture.network.allows_missing:
                    numbers = keras.ops.nan_to_num(x)  # the mean, where a series ended
                sums.append(path(numbers))
                named |= {"encoder_kernel": path.kernel, "encoder_bias": path.bias}
            z = layers.Add(name="code_sum")(sums) if len(sums) > 1 else sums[0]
            if not linear:
                z = layers.Activation(
                    architecture.code_activation, name="code_activation"
                )(z)
        z = objective.code(z, features, named)
        encoder_core = keras.Model(x, z, name="encoder_network")

        shape = (n_features,)
        code = keras.Input(objective.code_shape(z), dtype=dtype, name="code_input")
        output = architecture.network.decode(code, shape)
        sums = []
        if linear and output is code:  # the linear path does it all
            pass
        elif not architecture.network.makes_output or tuple(output.shape[1:]) != shape:
            if len(output.shape) > 2:
                output = layers.Flatten(name="output_features")(output)
            head = layers.Dense(
                n_features, kernel_initializer=zeros_if_linear, name="output"
            )
            sums.append(head(output))
        else:
            sums.append(_layers.Gate(name="output_gate")(output) if linear else output)
        if linear:
            path = layers.Dense(n_features, name="linear_output")
            sums.append(path(code))
            named |= {"decoder_kernel": path.kernel, "decoder_bias": path.bias}
        output = layers.Add(name="output_sum")(sums) if len(sums) > 1 else sums[0]
        output = objective.output(output, named)
        decoder_core = keras.Model(code, output, name="decoder_network")

        trainer = keras.Model(
            x, objective.connect(x, encoder_core, decoder_core, named), name="trainer"
        )
        for layer in trainer._flatten_layers():
            if hasattr(layer, "algorithm"):
                layer.algorithm = architecture.random_algorithm
        encoder, decoder = _around(architecture, encoder_core, decoder_core, named, dtype)
        rows = keras.Input(architecture.row_shape, dtype=dtype, name="rows")
        autoencoder = keras.Model(rows, decoder(encoder(rows)), name="autoencoder")
    return Models(
        architecture=architecture,
        trainer=trainer,
        encoder_core=encoder_core,
        decoder_core=decoder_core,
        encoder=encoder,
        decoder=decoder,
        autoencoder=autoencoder,
        named=named,
    )


def _around(architecture, encoder_core, decoder_core, named, dtype):
    """The encoder and decoder on raw rows: scaling, and the code's rotation, inside."""
    import keras

    from skae import _layers

    objective, layers = architecture.objective, keras.layers
    flat = (architecture.n_features,)

    rows = keras.Input(architecture.row_shape, dtype=dtype, name="rows")
    x = rows
    if architecture.row_shape != flat:
        x = layers.Reshape(flat, name="flatten")(x)
    standardize = _layers.Standardize(name="standardize")
    z = objective.point(encoder_core(standardize(x)))
    if architecture.rotates:
        rotate = _layers.Rotate(name="rotate")
        z = rotate(z)
        named |= {"rotation": rotate.matrix, "offset": rotate.offset}
    encoder = keras.Model(rows, z, name="encoder")

    code = keras.Input(z.shape[1:], dtype=dtype, name="code")
    y = code
    if architecture.rotates:
        rotate = _layers.Rotate(inverse=True, name="rotate_back")
        y = rotate(y)
        named |= {"inverse_rotation": rotate.matrix, "inverse_offset": rotate.offset}
    unstandardize = _layers.Standardize(inverse=True, name="unstandardize")
    y = unstandardize(
        layers.Activation(objective.output_activation, name="output_activation")(
            decoder_core(y)
        )
    )
    named |= {
        "mean": standardize.mean,
        "scale": standardize.scale,
        "output_mean": unstandardize.mean,
        "output_scale": unstandardize.scale,
    }
    if architecture.row_shape != flat:
        y = layers.Reshape(architecture.row_shape, name="unflatten")(y)
    return encoder, keras.Model(code, y, name="decoder")
