"""Convolutions of images and other grids."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import ArrayLike

from skae._utils.keras import import_keras
from skae._utils.sklearn import Interval, StrOptions

if TYPE_CHECKING:
    from keras import KerasTensor

from skae._utils.params import plain
from skae.networks._base import Network, activated, folded, sizes_of, with_input_shape


class ConvNetwork(Network):
    """Convolutional network that halves each axis in the encoder and doubles it back.

    Each of the `filters` is a convolution followed by downsampling by a factor of two.
    The decoder mirrors them and ends with a linear convolution that has as many filters
    as the input has channels. Odd sizes are rounded up, and the decoder crops the excess,
    so the output always has the size of the input.

    Parameters
    ----------
    input_shape : tuple of int or None, default=None
        The shape that samples are folded into, channels last: ``(steps, channels)``,
        ``(height, width, channels)`` or ``(depth, height, width, channels)``, for
        convolutions along one, two or three axes. So (8, 8) is a signal of 8 steps with 8
        channels, and a warning is issued for it; a grey image is (8, 8, 1). None is the
        shape of the samples of X, which must not be flat; images of shape (height, width)
        are grey.

    filters : int or array-like of int, default=(16, 8, 8)
        The number of filters of each convolution between the input and the code.

    kernel_size : int or tuple of int, default=3
        The width of the convolutions, one for all axes or one for each.

    activation : str or callable, default="relu"
        The name of a Keras activation, or a function of a tensor.

    downsampling : {"max_pooling", "strides"}, default="max_pooling"
        The method to halve and double an axis: max-pooling and repetition of each value,
        or convolutions and transposed convolutions with strides of 2.

    See Also
    --------
    SequenceNetwork : Recurrent layers for series.

    Notes
    -----
    With ``n_components=None`` the flattened feature maps are the code: 4 x 4 x 8 = 128
    values for the default filters on 28 x 28 images, which is the convolutional
    autoencoder of [1]_. With an int, dense layers compute the code from the maps and the
    maps from the code.

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
        "input_shape": ["array-like", None],
        "filters": ["array-like", Interval(Integral, 1, None, closed="left")],
        "kernel_size": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [str, callable],
        "downsampling": [StrOptions({"max_pooling", "strides"})],
    }

    jit_compile = False

    _example = (28, 28, 1)

    def __init__(
        self,
        input_shape: ArrayLike | None = None,
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
        if self.input_shape is None:
            return None
        return tuple(sizes_of(self.input_shape, "input_shape"))

    def _of_rows(self, row_shape):
        return with_input_shape(self, row_shape, {2: (1,), 3: (), 4: ()})

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
        x = folded(x, (*sizes[0], channels))
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
            excess = [
                (0, n - size) for n, size in zip(y.shape[1:-1], sizes[i], strict=True)
            ]
            if any(n for _, n in excess):
                excess = excess if len(excess) > 1 else excess[0]
                y = self._layer("Cropping", f"decoder_cropping_{i}", excess)(y)
        kind = "OneFilterConv" if channels == 1 else "Conv"
        y = self._layer(kind, "output_conv", channels)(y)
        return layers.Reshape(shape, name="unfold")(y)

    def _maps(self):
        """Return filters, the sizes of the maps from input to code, and channels."""
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
        """Make a Keras layer of this kind with as many axes as the input has."""
        n_axes = len(self.input_shape) - 1
        library = import_keras().layers
        if kind.endswith("Conv"):
            kwargs["kernel_size"] = plain(self.kernel_size)
        if kind.endswith("Conv") or kind == "MaxPooling":
            kwargs["padding"] = "same"
        if n_axes > 1 or "padding" in kwargs:
            kwargs["data_format"] = "channels_last"
        if kind == "OneFilterConv":
            from skae.networks import _layers as library
        kind = f"{kind}{n_axes}D{'Transpose' if transpose else ''}"
        return getattr(library, kind)(size, name=name, **kwargs)
