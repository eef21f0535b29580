"""Recurrent layers of time series."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Literal

from numpy.typing import ArrayLike

from skae._utils.keras import import_keras
from skae._utils.sklearn import Interval, StrOptions

if TYPE_CHECKING:
    from keras import KerasTensor

from skae.networks._base import Network, folded, sizes_of, with_input_shape


class SequenceNetwork(Network):
    """Recurrent network for series: one layer encodes a series and one decodes it.

    The code is computed from the encoder's last state. The decoder receives the code at
    each time step (the sequence-to-sequence autoencoder of [1]_).

    A list of series of different lengths is padded to equal length with NaN at the end,
    and arrays may be padded so. The network and the loss ignore time steps all of whose
    features are NaN. The decoder outputs all time steps.

    Parameters
    ----------
    input_shape : tuple of int or None, default=None
        The shape that samples are folded into, ``(timesteps, features)``. None is the
        shape of the samples of X, which must not be flat.

    units : int, default=64
        The number of units of each recurrent layer.

    cell : {"lstm", "gru"}, default="lstm"
        The kind of recurrent layer.

    bidirectional : bool, default=False
        Whether to add a second encoder, which reads the series backwards.

    head : {"linear", "recurrent"}, default="linear"
        The output layer: a dense layer on the decoder's units at each time step, or the
        decoder itself, a recurrent layer with one unit per feature, as in [1]_. The
        output of the latter is limited to (-1, 1), in standard deviations of X.

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
        "input_shape": ["array-like", None],
        "units": [Interval(Integral, 1, None, closed="left")],
        "cell": [StrOptions({"lstm", "gru"})],
        "bidirectional": ["boolean"],
        "head": [StrOptions({"linear", "recurrent"})],
    }

    allows_missing = True

    _example = (20, 1)

    jit_work = 1.2e5  # recurrent layers are up to three times as fast

    def __init__(
        self,
        input_shape: ArrayLike | None = None,
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
        if self.input_shape is None:
            return None
        return tuple(sizes_of(self.input_shape, "input_shape"))

    def _of_rows(self, row_shape):
        return with_input_shape(self, row_shape, {2: ()})

    def encode(self, x: KerasTensor) -> KerasTensor:
        x = folded(x, self._shape())
        from skae.networks._layers import present

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
