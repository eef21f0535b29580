"""Networks: the bodies on each side of the code, with parameters to tune."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from skae._utils.keras import import_keras, reason, symbolic

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor

__all__ = [
    "ConvNetwork",
    "CustomNetwork",
    "DenseNetwork",
    "Network",
    "SequenceNetwork",
]


class Network(BaseEstimator):
    """Base class of the networks.

    A network owns the layers between the input and the code, and between the code and
    the output. The estimator owns the code itself (its dense layer, its activation)
    and the linear path, so that every network works under every estimator.

    A subclass takes its parameters in `__init__` as any scikit-learn estimator does,
    and builds with Keras' functional API in `encode` and `decode`. It may set these
    attributes of the class.

    Attributes
    ----------
    makes_output : bool, default=True
        Whether what `decode` returns is the output wherever it has the output's shape.
        With False it is always features, of which the estimator makes the output by a
        dense layer.

    jit_compile : bool, default=True
        Whether XLA pays: it speeds up dense and recurrent layers, and slows
        convolutions down on a CPU.

    jit_steps : int, default=2000
        The batches from which on a fit repays the second or more, and the 10 MB, that XLA
        takes: fewer where it makes the layers several times faster.

    allows_missing : bool, default=False
        Whether rows may end in steps of NaN, which `encode` then must not read.
    """

    _parameter_constraints: dict = {}

    makes_output: bool = True
    jit_compile: bool = True
    jit_steps: int = 2000
    allows_missing: bool = False

    def encode(self, x: KerasTensor) -> KerasTensor:
        """Build the layers from the input to the features that the code is made of.

        Parameters
        ----------
        x : KerasTensor of shape (None, n_features)
            The rows, standardised by the estimator.

        Returns
        -------
        features : KerasTensor of shape (None, ...)
            The estimator flattens them and makes the code of them by a dense layer;
            with ``n_components=None`` the flattened features are the code.
        """
        raise NotImplementedError

    def decode(self, z: KerasTensor, shape: tuple[int, ...]) -> KerasTensor:
        """Build the layers from the code to the output.

        Parameters
        ----------
        z : KerasTensor of shape (None, n_components)
            The code.

        shape : tuple of int
            The shape of one row of the output, ``(n_features,)``.

        Returns
        -------
        output : KerasTensor of shape (None, n_features) or (None, ...)
            The output before its activation or, in any other shape, features that the
            estimator makes the output of by a dense layer.
        """
        raise NotImplementedError

    @property
    def _row_shape(self):
        """The shape that rows are folded into; None where any will do."""
        return None

    @property
    def _doubt(self):
        """A warning of parameters that may not be what was meant; else None."""
        return None

    def _key(self):
        """What shapes the layers, hashable: equal keys build equal networks."""
        params = self.get_params(deep=False)
        return (type(self), *((name, _plain(params[name])) for name in sorted(params)))

    def _seed_key(self, seed):
        """The seed, where the layers are built from it and can't be started afresh."""


def _plain(value):
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


#: The size of a layer, at most: of more no machine has the memory for the weights.
LARGEST = 2**24


def activated(x, activation, name, parameter="activation"):
    """A KerasTensor after a layer of this activation.

    Raises
    ------
    ValueError
        If it is neither a name that Keras knows, nor a function from a tensor to one of
        its shape; names the parameter.
    """
    keras = import_keras()
    message = (
        f"{parameter} must be the name of a Keras activation, such as 'relu', or a function"
        f" from a tensor to one of its shape. Got {activation!r}"
    )
    try:
        found = symbolic(keras.activations.get(activation), x)
    except Exception as error:
        raise ValueError(f"{message}: {reason(error)}") from error
    if getattr(found, "shape", None) != x.shape:
        raise ValueError(f"{message}, which returns {found!r}.")
    return keras.layers.Activation(activation, name=name)(x)


#: The names of Keras' own activations.
ACTIVATIONS = frozenset(
    [
        "celu",
        "elu",
        "exponential",
        "gelu",
        "glu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "log_softmax",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softmax",
        "softplus",
        "softsign",
        "sparse_plus",
        "sparse_sigmoid",
        "sparsemax",
        "squareplus",
        "swish",
        "tanh",
        "tanh_shrink",
        "threshold",
    ]
)


def is_activation(name):
    """Whether Keras knows an activation by this name, as far as is known without it."""
    if name in ACTIVATIONS:
        return True
    keras = sys.modules.get("keras")
    try:  # one that the user has registered
        return keras is not None and callable(keras.activations.get(name))
    except ValueError:
        return False


def sizes_of(sizes, name):
    sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(size, Integral) and 0 < size <= LARGEST for size in sizes):
        raise ValueError(
            f"{name} must be integers of at least 1, and at most {LARGEST}. Got {sizes!r}."
        )
    return [int(size) for size in sizes]


class DenseNetwork(Network):
    """Dense layers on each side of the code, the decoder's in reverse order.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(128, 64)
        The number of units of each layer between the input and the code. ``()`` puts
        the code straight on the input.

    encoder_layer_sizes : int, array-like of int or None, default=None
        The number of units of each layer between the input and the code, where these are
        not `hidden_layer_sizes`, which are the decoder's all the same. ``()`` is a linear
        encoder: each component is a weighted sum of the features. None mirrors
        `hidden_layer_sizes`.

    activation : str or callable, default="gelu"
        The name of a Keras activation, or a function of a tensor.

    dropout : float, default=0.0
        The share of units that are dropped after each hidden layer while training.

    batch_normalization : bool, default=False
        Whether to normalise each hidden layer over the batch before its activation.

    See Also
    --------
    CustomNetwork : A network from your own Keras layers.

    Examples
    --------
    >>> from skae.networks import DenseNetwork
    >>> DenseNetwork(hidden_layer_sizes=(32, 16), activation="relu")
    DenseNetwork(activation='relu', hidden_layer_sizes=(32, 16))
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "encoder_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "activation": [str, callable],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_normalization": ["boolean"],
    }

    makes_output = False

    def __init__(
        self,
        hidden_layer_sizes: int | ArrayLike = (128, 64),
        *,
        encoder_layer_sizes: int | ArrayLike | None = None,
        activation: str | Callable[[Any], Any] = "gelu",
        dropout: float = 0.0,
        batch_normalization: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.encoder_layer_sizes = encoder_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.batch_normalization = batch_normalization

    def _hidden(self, x, sizes, side):
        layers = import_keras().layers
        for i, size in enumerate(sizes):
            x = layers.Dense(
                size, use_bias=not self.batch_normalization, name=f"{side}_dense_{i}"
            )(x)
            if self.batch_normalization:
                x = layers.BatchNormalization(name=f"{side}_normalization_{i}")(x)
            x = activated(x, self.activation, f"{side}_activation_{i}")
            if self.dropout:
                x = layers.Dropout(self.dropout, name=f"{side}_dropout_{i}")(x)
        return x

    def encode(self, x: KerasTensor) -> KerasTensor:
        sizes = sizes_of(self.hidden_layer_sizes, "hidden_layer_sizes")
        if self.encoder_layer_sizes is not None:
            sizes = sizes_of(self.encoder_layer_sizes, "encoder_layer_sizes")
        return self._hidden(x, sizes, "encoder")

    def decode(self, z: KerasTensor, shape: tuple[int, ...]) -> KerasTensor:
        sizes = sizes_of(self.hidden_layer_sizes, "hidden_layer_sizes")
        return self._hidden(z, sizes[::-1], "decoder")


class ConvNetwork(Network):
    """Convolutions that halve each axis on the way to the code, and double it back.

    Each of the `filters` is a convolution followed by a halving; the decoder mirrors
    them and ends at a linear convolution with as many filters as the input has
    channels. Sizes that are not even are rounded up, and the surplus is cropped on the
    way back, so that any size comes back as it was.

    Parameters
    ----------
    input_shape : tuple of int
        The shape that rows are folded into, channels last: ``(steps, channels)``,
        ``(height, width, channels)`` or ``(depth, height, width, channels)``, for
        convolutions along one, two or three axes. So (8, 8) is a signal of 8 steps with 8
        channels, of which there is a warning; a grey image is (8, 8, 1).

    filters : int or array-like of int, default=(16, 8, 8)
        The number of filters of each convolution between the input and the code.

    kernel_size : int or tuple of int, default=3
        The width of the convolutions, in every axis or in each.

    activation : str or callable, default="relu"
        The name of a Keras activation, or a function of a tensor.

    downsampling : {"max_pooling", "strides"}, default="max_pooling"
        How an axis is halved and doubled: by max-pooling and by repeating each value,
        or by convolutions and transposed convolutions with strides of 2.

    See Also
    --------
    SequenceNetwork : Recurrent layers for series.

    Notes
    -----
    With ``n_components=None`` the flattened feature maps are the code: 4 x 4 x 8 = 128
    values for the default filters on 28 x 28 images, which is the convolutional
    autoencoder of [1]_. With an int, a dense layer on each side makes the code and the
    maps.

    References
    ----------
    .. [1] F. Chollet, "Building autoencoders in Keras", The Keras Blog, 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.networks import ConvNetwork
    >>> X = load_digits().data[:200]
    >>> network = ConvNetwork(input_shape=(8, 8, 1), filters=(8, 4))
    >>> autoencoder = AutoencoderTransformer(None, network=network, max_iter=2)
    >>> autoencoder.fit_transform(X).shape
    (200, 16)
    """

    _parameter_constraints: dict = {
        "input_shape": ["array-like"],
        "filters": ["array-like", Interval(Integral, 1, None, closed="left")],
        "kernel_size": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [str, callable],
        "downsampling": [StrOptions({"max_pooling", "strides"})],
    }

    jit_compile = False

    def __init__(
        self,
        input_shape: ArrayLike,
        *,
        filters: int | ArrayLike = (16, 8, 8),
        kernel_size: int | ArrayLike = 3,
        activation: str | Callable[[Any], Any] = "relu",
        downsampling: Literal["max_pooling", "strides"] = "max_pooling",
    ) -> None:
        self.input_shape = input_shape
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = activation
        self.downsampling = downsampling

    @property
    def _row_shape(self):
        if self.input_shape is None:  # of a subclass that finds it out later
            return None
        return tuple(sizes_of(self.input_shape, "input_shape"))

    @property
    def _doubt(self):
        shape = self._row_shape
        if shape is None or len(shape) != 2 or shape[0] != shape[1]:
            return None
        return UserWarning(
            f"ConvNetwork takes input_shape={shape} for a signal of {shape[0]} steps with"
            f" {shape[1]} channels. Of images of one channel it is {(*shape, 1)}."
        )

    def encode(self, x: KerasTensor) -> KerasTensor:
        filters, sizes, channels = self._maps()
        x = _folded(x, (*sizes[0], channels))
        for i, n_filters in enumerate(filters):
            if self.downsampling == "strides":
                x = self._layer("Conv", f"encoder_conv_{i}", n_filters, strides=2)(x)
            else:
                x = self._layer("Conv", f"encoder_conv_{i}", n_filters)(x)
                x = self._pooled(x, f"encoder_pooling_{i}")
            x = activated(x, self.activation, f"encoder_activation_{i}")
        return x

    def decode(self, z: KerasTensor, shape: tuple[int, ...]) -> KerasTensor:
        filters, sizes, channels = self._maps()
        layers = import_keras().layers
        maps = (*sizes[-1], filters[-1] if filters else channels)
        if z.shape[1:] != (math.prod(maps),):  # the code is not the encoder's maps
            z = layers.Dense(math.prod(maps), name="decoder_dense")(z)
            z = activated(z, self.activation, "decoder_activation")
        y = layers.Reshape(maps, name="decoder_fold")(z)
        for i in reversed(range(len(filters))):
            name = f"decoder_conv_{i}"
            if self.downsampling == "strides":
                y = self._layer("Conv", name, filters[i], strides=2, transpose=True)(y)
                y = activated(y, self.activation, f"decoder_activation_{i}")
            else:
                y = self._layer("Conv", name, filters[i])(y)
                y = activated(y, self.activation, f"decoder_activation_{i}")
                y = self._layer("UpSampling", f"decoder_upsampling_{i}", 2)(y)
            surplus = [
                (0, n - size) for n, size in zip(y.shape[1:-1], sizes[i], strict=True)
            ]
            if any(n for _, n in surplus):
                surplus = surplus if len(surplus) > 1 else surplus[0]
                y = self._layer("Cropping", f"decoder_cropping_{i}", surplus)(y)
        kind = "OneFilterConv" if channels == 1 else "Conv"
        y = self._layer(kind, "output_conv", channels)(y)
        return layers.Reshape(shape, name="unfold")(y)

    def _maps(self):
        """Filters, the maps' size from the input's down to the code's, and channels."""
        filters = sizes_of(self.filters, "filters")
        *size, channels = sizes_of(self.input_shape, "input_shape")
        if len(size) not in (1, 2, 3):
            raise ValueError(
                "input_shape must be one, two or three sizes and the number of"
                f" channels, such as (28, 28, 1). Got {self.input_shape!r}."
            )
        sizes = [tuple(size)]
        for _ in filters:
            sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
        return filters, sizes, channels

    def _pooled(self, x, name):
        if len(x.shape) < 5:
            return self._layer("MaxPooling", name, 2)(x)
        layers = import_keras().layers  # TensorFlow can't pool three axes in float64
        *_, width, channels = x.shape
        x = layers.Reshape((*x.shape[1:3], width * channels))(x)
        x = layers.MaxPooling2D(2, padding="same", data_format="channels_last")(x)
        size = x.shape[1:3]
        x = layers.Reshape((math.prod(size), width, channels))(x)
        x = layers.MaxPooling2D((1, 2), padding="same", data_format="channels_last")(x)
        return layers.Reshape((*size, x.shape[2], channels), name=name)(x)

    def _layer(self, kind, name, size, *, transpose=False, **kwargs):
        """A Keras layer of this kind with as many axes as the input has."""
        n_axes = len(self.input_shape) - 1
        library = import_keras().layers
        if kind.endswith("Conv"):
            kwargs["kernel_size"] = _plain(self.kernel_size)
        if kind.endswith("Conv") or kind == "MaxPooling":
            kwargs["padding"] = "same"
        if n_axes > 1 or "padding" in kwargs:
            kwargs["data_format"] = "channels_last"
        if kind == "OneFilterConv":
            from skae import _layers as library
        kind = f"{kind}{n_axes}D{'Transpose' if transpose else ''}"
        return getattr(library, kind)(size, name=name, **kwargs)


class SequenceNetwork(Network):
    """A recurrent layer that reads a series, and one that writes it from the code.

    The encoder's last state is what the code is made of. The decoder is given the code
    at each time step (the sequence-to-sequence autoencoder of [1]_).

    Series of different lengths are rows of equal length that end in NaN: time steps
    all of whose features are NaN are neither read by the network nor counted by the
    loss. The decoder writes all of them.

    Parameters
    ----------
    input_shape : tuple of int
        The shape that rows are folded into, ``(timesteps, features)``.

    units : int, default=64
        The number of units of each recurrent layer.

    cell : {"lstm", "gru"}, default="lstm"
        The kind of recurrent layer.

    bidirectional : bool, default=False
        Whether a second encoder reads the series backwards.

    head : {"linear", "recurrent"}, default="linear"
        What writes the output: a dense layer on the decoder's units at each time step,
        or the decoder itself, a recurrent layer with one unit per feature, as in [1]_.
        The latter's own output stays within (-1, 1), in standard deviations of X.

    See Also
    --------
    ConvNetwork : Convolutions, along time for an `input_shape` of two.

    References
    ----------
    .. [1] F. Chollet, "Building autoencoders in Keras", The Keras Blog, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import AutoencoderTransformer
    >>> from skae.networks import SequenceNetwork
    >>> start = np.linspace(0, 6, 60)[:, None]
    >>> X = np.sin(start + np.arange(10))
    >>> network = SequenceNetwork(input_shape=(10, 1), units=8)
    >>> autoencoder = AutoencoderTransformer(2, network=network, max_iter=2)
    >>> autoencoder.fit_transform(X).shape
    (60, 2)
    """

    _parameter_constraints: dict = {
        "input_shape": ["array-like"],
        "units": [Interval(Integral, 1, None, closed="left")],
        "cell": [StrOptions({"lstm", "gru"})],
        "bidirectional": ["boolean"],
        "head": [StrOptions({"linear", "recurrent"})],
    }

    allows_missing = True

    jit_steps = 300  # recurrent layers are up to three times as fast

    def __init__(
        self,
        input_shape: ArrayLike,
        *,
        units: int = 64,
        cell: Literal["lstm", "gru"] = "lstm",
        bidirectional: bool = False,
        head: Literal["linear", "recurrent"] = "linear",
    ) -> None:
        self.input_shape = input_shape
        self.units = units
        self.cell = cell
        self.bidirectional = bidirectional
        self.head = head

    @property
    def _row_shape(self):
        if self.input_shape is None:  # of a subclass that finds it out later
            return None
        return tuple(sizes_of(self.input_shape, "input_shape"))

    def encode(self, x: KerasTensor) -> KerasTensor:
        x = _folded(x, self._shape())
        from skae._layers import present

        layer = self._recurrent(sizes_of(self.units, "units")[0], "encoder_recurrent")
        if self.bidirectional:
            wrapper = import_keras().layers.Bidirectional
            layer = wrapper(layer, name="encoder_bidirectional")
        x, mask = present(x)
        return layer(x, mask=mask)

    def decode(self, z: KerasTensor, shape: tuple[int, ...]) -> KerasTensor:
        timesteps, n_features = self._shape()
        layers = import_keras().layers
        y = layers.RepeatVector(timesteps, name="decoder_repeat")(z)
        units = self.units if self.head == "linear" else n_features
        y = self._recurrent(units, "decoder_recurrent", return_sequences=True)(y)
        if self.head == "linear":
            y = layers.Dense(n_features, name="output_dense")(y)
        return layers.Reshape(shape, name="unfold")(y)

    def _shape(self):
        shape = tuple(sizes_of(self.input_shape, "input_shape"))
        if len(shape) != 2:
            raise ValueError(
                "input_shape must be the numbers of time steps and of features, such as"
                f" (20, 1). Got {self.input_shape!r}."
            )
        return shape

    def _recurrent(self, units, name, **kwargs):
        layers = import_keras().layers
        layer = {"lstm": layers.LSTM, "gru": layers.GRU}[self.cell]
        return layer(units, name=name, **kwargs)


class CustomNetwork(Network):
    """A network from your own Keras layers.

    Parameters
    ----------
    encoder : callable or keras.Model
        From rows to features: a function that takes a KerasTensor of shape
        ``(None, *input_shape)``, makes layers, and returns what they give; or a Keras
        model. A model is never trained or changed: each fit makes it again from its
        configuration, with fresh weights.

    decoder : callable or keras.Model
        From the code, of shape ``(None, n_components)``, to the output before its
        activation: one value per feature, in any shape. Any other number of values are
        features that a dense layer makes the output of.

    input_shape : tuple of int or None, default=None
        The shape that rows are folded into. None is the shape that the encoder takes
        where it is a Keras model that tells, and flat rows otherwise.

    jit_compile : bool, default=True
        Whether to compile training with XLA. It speeds up dense and recurrent layers,
        and slows convolutions down on a CPU.

    Notes
    -----
    Dtypes and seeds in a model's configuration give way to the estimator's: the dtype
    that it computes in, and its `random_state`. Layers of your own in a Keras model
    need a `get_config`.

    In an estimator that was pickled and loaded, a Keras model is a description, of which
    a model is made in Keras' safe mode where one is needed. That refuses Lambda layers:
    if you trust where the pickle comes from, call
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
            x = _folded(x, tuple(sizes_of(self.input_shape, "input_shape")))
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
            _plain(params["input_shape"]),
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
    """A Keras model as plain data, which stands for the model wherever it was loaded.

    Loading makes no model of it: that is done where one is needed, in Keras' safe mode,
    in which no code runs that the configuration brings along.

    Parameters
    ----------
    config : str
        As JSON.

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
        """The Keras model, with its weights."""
        model = self.remade(json.loads(self.config))
        if self.weights:
            model.set_weights(self.weights)
        return model

    def remade(self, config):
        """A Keras model of this configuration, made of Keras' layers and `classes`.

        Raises
        ------
        ValueError
            If Keras' safe mode refuses; says what to do.
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
    """What is hashable, and equal for bodies that are made the same way."""
    if isinstance(body, _StoredModel):
        return body.config
    if not _is_keras(body):
        return body
    functions = _functions(body)
    return (_config(body), *functions.items()) if functions else _config(body)


def _functions(body):
    """The functions in the Lambda layers of a Keras model, by layer and argument.

    A configuration has their code, but not the names that they know.
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
    """The configuration with the names of `_functions` in place of their code."""
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
    """The configuration of a Keras model or layer, as JSON."""
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
    """The classes of the layers that are not Keras' own, by the name they are found."""
    name = import_keras().saving.get_registered_name
    found = {type(layer) for layer in model._flatten_layers()}
    return {name(c): c for c in found if not c.__module__.startswith("keras.")}


def _applied(body, name, x):
    """What a function, or a fresh copy of a Keras model, makes of a KerasTensor."""
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
    """A model by this name, made from a Keras model's configuration as it is or stored.

    The code of a model that is there is here already, so it is made again as it is.
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
    """What the function makes of x, by layers that it makes itself."""
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


#: The layers that functions have made: none may be used twice.
_made = weakref.WeakSet()


def _renewed(config, policy):
    """The configuration with floats in this dtype policy, no seeds, not compiled."""
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


def _folded(x, shape):
    """The rows in the shape that the layers take."""
    if math.prod(shape) != x.shape[-1]:
        raise ValueError(
            f"input_shape={shape} holds {math.prod(shape)} values, but a row of X has"
            f" {x.shape[-1]} features."
        )
    return import_keras().layers.Reshape(shape, name="fold")(x)
