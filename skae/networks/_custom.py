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

from skae._utils.keras import (
    building,
    flat_layers,
    functional_class,
    import_keras,
    output_shape_of,
    reason,
)

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
        From rows to features: a function that takes a KerasTensor of shape
        ``(None, *input_shape)``, makes layers, and returns what they give; or a Keras
        model. A model is never trained or changed: each fit trains a copy of it, with
        fresh weights.

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
    Dtypes and seeds in a model's configuration give way to the estimator's: the dtype
    that it computes in, and its `random_state`. Layers of your own in a Keras model
    need a `get_config`. What a Normalization layer was adapted to begins anew as weights
    do: the rows that a network gets are standardised.

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
        return _shape_of(self.encoder)

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
            _key_of(self.encoder, "encoder"),
            _key_of(self.decoder, "decoder"),
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
                model = state[name]
                state[name] = _StoredModel(
                    _config(model, name), model.get_weights(), _own_classes(model)
                )
        return state


@dataclass(frozen=True, eq=False, repr=False)
class _StoredModel:
    """A Keras model as plain data, which replaces the model in a loaded estimator.

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

    def __call__(self, x):
        return self.restored()(x)

    def __repr__(self):
        return f"<stored Keras model {json.loads(self.config)['config'].get('name')!r}>"

    def restored(self):
        """The Keras model with its weights, made where no code of a file is run."""
        with building("float32", seed=0) as keras:
            for name, kind in self.classes.items():
                if not (isinstance(kind, type) and issubclass(kind, keras.Layer)):
                    raise ValueError(f"{self!r} names {name!r}, which is no Keras layer.")
            try:
                model = keras.saving.deserialize_keras_object(
                    json.loads(self.config), custom_objects=self.classes
                )
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{self!r}, which this network was loaded with, can't be made again in"
                    " Keras' safe mode, which runs no code that a file brings along, such"
                    " as that of a Lambda layer. If you trust where it comes from, call"
                    " keras.config.enable_unsafe_deserialization() first. Keras says:"
                    f" {error}"
                ) from error
        if self.weights:
            model.set_weights(self.weights)
        return model


def _is_keras(body):
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(body, keras.Layer)


def _shape_of(body):
    """The shape of a row that a Keras model takes; None where it does not tell."""
    shape = getattr(body, "input_shape", None)
    known = isinstance(shape, tuple) and all(isinstance(n, int) for n in shape[1:])
    return shape[1:] if known else None


def _key_of(body, name):
    """Return a hashable key, equal for bodies that are made the same way."""
    if isinstance(body, _StoredModel):
        return body.config
    if not _is_keras(body):
        return body
    # a configuration has the code of a Lambda, but not the names that it knows
    functions = [getattr(layer, "function", None) for layer in flat_layers(body)]
    return (_config(body, name), *functions) if any(functions) else _config(body, name)


def _config(model, name):
    try:
        return json.dumps(import_keras().saving.serialize_keras_object(model))
    except (NotImplementedError, TypeError) as error:
        raise _not_copied(model, name) from error


def _own_classes(model):
    """The classes of the layers that are not Keras' own, by the name they are found."""
    name = import_keras().saving.get_registered_name
    found = {type(layer) for layer in flat_layers(model)}
    return {name(c): c for c in found if not c.__module__.startswith("keras.")}


def _not_copied(model, name):
    return ValueError(
        f"{name} must be a function, or a Keras model each layer of which can be made again"
        f" from its get_config(). {model!r} can't be. Make it in a function:\n\n"
        f"    def {name}(x):\n        return {type(model).__name__}(...)(x)"
    )


def _copied(layer, name=None):
    """A copy of a Keras layer or model, in the dtype policy in force, without seeds."""
    keras = import_keras()
    policy, name = keras.config.dtype_policy().name, name or layer.name
    if type(layer) is functional_class():
        model = keras.Model(layer.input, layer.output, name=name)  # is not compiled
        inputs = keras.tree.map_structure(lambda x: _input(x, policy), layer.input)
        return keras.models.clone_model(model, inputs, _copied)
    if type(layer) is keras.Sequential:
        return keras.Sequential([_copied(one) for one in layer._layers], name=name)
    if type(layer) is keras.layers.Lambda:
        return keras.layers.Lambda(
            layer.function, output_shape_of(layer), layer.mask, layer.arguments, name=name
        )
    config = _renewed(layer.get_config(), policy)
    return type(layer).from_config(config | {"name": name})


def _input(x, policy):
    dtype = policy if "float" in x.dtype else x.dtype
    return import_keras().Input(batch_shape=x.shape, dtype=dtype, name=x.name)


def _renewed(config, policy):
    """The configuration with floats in this dtype policy, and without seeds."""
    if isinstance(config, list | tuple):
        return type(config)(_renewed(item, policy) for item in config)
    if not isinstance(config, dict):
        return config
    new = {name: _renewed(value, policy) for name, value in config.items()}
    if "float" in str(new.get("dtype")):
        new["dtype"] = policy
    return new | {"seed": None} if "seed" in new else new


def _applied(body, name, x):
    """Apply a function, or a fresh copy of a Keras model, to a KerasTensor."""
    keras = import_keras()
    if isinstance(body, _StoredModel):
        body = body.restored()
    if not _is_keras(body):
        return _called(body, name, x)
    try:
        with keras.saving.custom_object_scope(_own_classes(body)):
            model = _copied(body, f"{name}_model")
    except (NotImplementedError, TypeError, ValueError) as error:
        raise _not_copied(body, name) from error
    with _blaming(name, x):
        shape = _shape_of(model)
        if shape not in (None, tuple(x.shape[1:])):
            x = keras.layers.Reshape(shape, name=f"{name}_fold")(x)
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


def _called(function, name, x):
    """Apply the function to x, and check that it makes its own layers."""
    keras = import_keras()
    scope = f"{name}_function"
    with keras.name_scope(scope), _blaming(name, x):
        y = function(x)
    if not isinstance(y, keras.KerasTensor):
        raise TypeError(f"{name} must return a KerasTensor. Got {type(y).__name__}.")
    layers = [layer for layer in flat_layers(keras.Model(x, y)) if layer.variables]
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
