"""CustomNetwork: layers that the user defines, as functions or Keras models."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from skae._utils.keras import import_keras, reason

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor

from skae._utils.params import plain
from skae.networks._base import Network, folded, sizes_of


class CustomNetwork(Network):
    """A network from your own Keras layers.

    Parameters
    ----------
    encoder : callable or keras.Model
        The encoder from samples to features: a function that takes a KerasTensor of shape
        ``(None, *input_shape)``, makes layers, and returns their output; or a Keras
        model. A model is never trained or changed: each fit makes a new one from its
        configuration, with new weights.

    decoder : callable or keras.Model
        The decoder from the code, of shape ``(None, n_components)``, to the output before
        its activation: one value per feature, in any shape. With any other number of
        values, a dense layer computes the output from them.

    input_shape : tuple of int or None, default=None
        The shape that samples are folded into. None is the input shape of the encoder if
        it is a Keras model that has one, and flat samples otherwise.

    jit_compile : bool, default=True
        Whether to compile training with XLA. It speeds up dense and recurrent layers,
        and slows convolutions down on a CPU.

    Notes
    -----
    Dtypes and seeds in a model's configuration are replaced by the estimator's: the dtype
    that it computes in, and its `random_state`. Custom layers in a Keras model need a
    `get_config`.

    An estimator that was pickled and loaded has the configuration of a Keras model, from
    which the model is made on demand, in Keras' safe mode. That refuses Lambda layers: if
    you trust the source of the pickle, call
    ``keras.config.enable_unsafe_deserialization()`` first.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.networks import CustomNetwork
    >>> def residual(x):
    ...     from keras import layers
    ...     x = layers.Dense(16)(x)
    ...     return layers.Add()([x, layers.Dense(16, activation="relu")(x)])
    >>> network = CustomNetwork(encoder=residual, decoder=residual)
    >>> autoencoder = AutoencoderTransformer(3, network=network, max_iter=2)
    >>> autoencoder.fit_transform(load_digits().data[:100]).shape
    (100, 3)
    """

    _parameter_constraints: dict = {
        "encoder": [callable],
        "decoder": [callable],
        "input_shape": ["array-like", None],
        "jit_compile": ["boolean"],
    }

    def __init__(
        self,
        encoder: keras.Model | Callable[[Any], Any],
        decoder: keras.Model | Callable[[Any], Any],
        *,
        input_shape: ArrayLike | None = None,
        jit_compile: bool = True,
    ) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.input_shape = input_shape
        self.jit_compile = jit_compile

    @property
    def _row_shape(self):
        if self.input_shape is not None:
            return tuple(sizes_of(self.input_shape, "input_shape"))
        shape = getattr(self.encoder, "input_shape", None)  # of a Keras model
        known = isinstance(shape, tuple) and all(isinstance(n, int) for n in shape[1:])
        return shape[1:] if known else None

    def encode(self, x: KerasTensor) -> KerasTensor:
        if self.input_shape is not None:
            x = folded(x, tuple(sizes_of(self.input_shape, "input_shape")))
        return _applied(self.encoder, "encoder", x)

    def decode(self, z: KerasTensor, shape: tuple[int, ...]) -> KerasTensor:
        y = _applied(self.decoder, "decoder", z)
        if math.prod(y.shape[1:]) == math.prod(shape):
            y = import_keras().layers.Reshape(shape, name="unfold")(y)
        return y

    def _key(self):
        params = self.get_params(deep=False)
        return (
            type(self),
            *(_body_key(body) for body in (self.encoder, self.decoder)),
            plain(params["input_shape"]),
            params["jit_compile"],
        )

    def _seed_key(self, seed):
        return seed

    def __sklearn_clone__(self):
        # Keras models are only read, so copies share them.
        return type(self)(**self.get_params(deep=False))

    def __deepcopy__(self, memo):
        return self.__sklearn_clone__()

    def __getstate__(self):
        state = dict(super().__getstate__())
        for name in ("encoder", "decoder"):
            if _is_keras(state[name]):
                state[name] = _StoredModel.of(state[name])
        return state


@dataclass(frozen=True, eq=False, repr=False)
class _StoredModel:
    """A Keras model as plain data, which replaces the model in a loaded estimator.

    Loading does not build the model. It is built on demand, in Keras' safe mode, which
    runs no code that the configuration contains.

    Parameters
    ----------
    config : str
        The configuration as JSON.

    weights : list of ndarray
    classes : dict of str to type
        The classes of layers that are not Keras' own.
    """

    config: str
    weights: list
    classes: dict

    @classmethod
    def of(cls, model):
        return cls(_config(model), model.get_weights(), _custom_classes(model))

    def __call__(self, x):
        return self.restored()(x)

    def __repr__(self):
        name = json.loads(self.config)["config"].get("name")
        return f"<stored Keras model {name!r}>"

    def restored(self):
        """Build the Keras model, with its weights."""
        model = self.remade(json.loads(self.config))
        if self.weights:
            model.set_weights(self.weights)
        return model

    def remade(self, config):
        """Build a Keras model of this configuration from Keras' layers and `classes`.

        Raises
        ------
        ValueError
            If Keras' safe mode refuses. The message says what to do.
        """
        keras = import_keras()
        strangers = [
            name
            for name, kind in self.classes.items()
            if not (isinstance(kind, type) and issubclass(kind, keras.Layer))
        ]
        if strangers:
            raise ValueError(f"{self!r} names {strangers}, which are no Keras layers.")
        try:
            return keras.saving.deserialize_keras_object(
                config, custom_objects=self.classes
            )
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self!r}, which this network was loaded with, can't be made again in"
                " Keras' safe mode, which runs no code that a file brings along, such as"
                " that of a Lambda layer. If you trust where it comes from, call"
                " keras.config.enable_unsafe_deserialization() first. Keras says:"
                f" {error}"
            ) from error


def _is_keras(body):
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(body, keras.Layer)


def _body_key(body):
    """Return a hashable key that is equal for bodies with equal configurations."""
    if isinstance(body, _StoredModel):
        return body.config
    if not _is_keras(body):
        return body
    functions = _functions(body)
    return (_config(body), *functions.items()) if functions else _config(body)


def _functions(body):
    """Return the functions in a Keras model's Lambda layers, by layer and argument.

    A configuration contains their code, but not the names of their scope.
    """
    found = {}
    for layer in body._flatten_layers():
        if isinstance(layer, import_keras().layers.Lambda):
            known = (layer.function, layer._output_shape)
            for name, function in zip(_FUNCTIONS, known, strict=True):
                if callable(function):
                    found[f"{layer.name}/{name}"] = function
    return found


#: Arguments of a Lambda layer that may be functions.
_FUNCTIONS = ("function", "output_shape")


def _named(config):
    """Replace the code of functions in a configuration with the names of `_functions`."""
    if isinstance(config, list):
        return [_named(item) for item in config]
    if not isinstance(config, dict):
        return config
    new = {name: _named(value) for name, value in config.items()}
    if config.get("class_name") == "Lambda":
        inner = new["config"]
        for name in _FUNCTIONS:
            if isinstance(inner.get(name), dict):  # a function
                path = f"{inner['name']}/{name}"
                inner[name] = {
                    "class_name": "function",
                    "config": path,
                    "registered_name": path,
                    "module": None,
                }
    return new


def _config(model):
    """Return the configuration of a Keras model or layer, as JSON."""
    try:
        return json.dumps(import_keras().saving.serialize_keras_object(model))
    except NotImplementedError as error:
        raise _not_remade(model, error) from error


def _not_remade(model, error):
    return ValueError(
        "encoder and decoder must be functions, or Keras models that can be made again"
        f" from their get_config(). Got {model!r}, for which Keras says: {error}"
    )


def _custom_classes(model):
    """Return the classes of layers that are not Keras' own, by registered name."""
    name = import_keras().saving.get_registered_name
    found = {type(layer) for layer in model._flatten_layers()}
    return {name(c): c for c in found if not c.__module__.startswith("keras.")}


def _applied(body, name, x):
    """Apply a function, or a new copy of a Keras model, to a KerasTensor."""
    if not _is_keras(body) and not isinstance(body, _StoredModel):
        return _called(body, name, x)
    model = _fresh(body, f"{name}_model")
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, tuple) and None not in shape[1:]:
        if math.prod(shape[1:]) != math.prod(x.shape[1:]):
            raise ValueError(
                f"{name} takes an input of shape {shape[1:]}, but it is given one of"
                f" shape {tuple(x.shape[1:])}."
            )
        if shape[1:] != tuple(x.shape[1:]):
            x = import_keras().layers.Reshape(shape[1:], name=f"{name}_fold")(x)
    with _blaming(name, x):
        return model(x)


@contextlib.contextmanager
def _blaming(name, x):
    """Name the parameter whose function or model fails."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{name} must be a function of a KerasTensor, or a Keras model, that can be"
            f" given the shape {tuple(x.shape)} and returns a KerasTensor. It fails:"
            f" {reason(error)}"
        ) from error


def _fresh(body, name):
    """Build a model of this name from the configuration of a Keras model, maybe stored.

    Safe mode is for stored models only: the code of a live model is already in memory.
    """
    keras = import_keras()
    stored = isinstance(body, _StoredModel)
    config = json.loads(body.config if stored else _config(body))
    config = _renewed(config, keras.config.dtype_policy())
    config["config"]["name"] = name
    if stored:
        return body.remade(config)
    try:
        return keras.saving.deserialize_keras_object(
            _named(config),
            custom_objects=_custom_classes(body) | _functions(body),
            safe_mode=False,
        )
    except (TypeError, ValueError) as error:
        raise _not_remade(body, error) from error


def _called(function, name, x):
    """Apply the function to x, and check that it makes its own layers."""
    keras = import_keras()
    scope = f"{name}_function"
    with keras.name_scope(scope), _blaming(name, x):
        y = function(x)
    if not isinstance(y, keras.KerasTensor):
        raise TypeError(f"{name} must return a KerasTensor. Got {type(y).__name__}.")
    layers = [layer for layer in keras.Model(x, y)._flatten_layers() if layer.variables]
    for layer in layers:
        for variable in layer.variables:
            if layer in _made or not variable.path.startswith(scope):
                raise ValueError(
                    f"{name} must make its layers each time that it is called, so that"
                    f" every fit has its own. It uses {variable.path!r}, made before;"
                    " pass a Keras model as it is to have it copied."
                )
    _made.update(layers)
    return y


#: The layers that functions have made. None may be used twice.
_made = weakref.WeakSet()


def _renewed(config, policy):
    """Set floats to a dtype policy in a configuration; drop seeds and compilation."""
    if isinstance(config, list):
        return [_renewed(item, policy) for item in config]
    if not isinstance(config, dict):
        return config
    new = {
        name: _renewed(value, policy)
        for name, value in config.items()
        if name != "compile_config"
    }
    if "seed" in new:
        new["seed"] = None
    dtype = new.get("dtype")
    if isinstance(dtype, dict) and dtype.get("class_name") == "DTypePolicy":
        dtype = dtype["config"]["name"]
    if isinstance(dtype, str) and "float" in dtype:
        new["dtype"] = policy.name
    return new
