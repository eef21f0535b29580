"""Dense layers."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from skae._utils.keras import import_keras
from skae._utils.params import copied
from skae._utils.sklearn import Interval

if TYPE_CHECKING:
    from keras import KerasTensor

from skae.networks._base import Network, activated, sizes_of


class DenseNetwork(Network):
    """Dense layers on each side of the code, the decoder's in reverse order.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(128, 64)
        The number of units of each hidden layer between the input and the code. ``()``
        has no hidden layers.

    encoder_layer_sizes : int, array-like of int or None, default=None
        The number of units of each hidden layer of the encoder, if it differs from
        `hidden_layer_sizes`, which the decoder has in any case. ``()`` is a linear
        encoder: each component is a weighted sum of the features. None is
        `hidden_layer_sizes`.

    activation : str or callable, default="gelu"
        The name of a Keras activation, or a function of a tensor.

    dropout : float, default=0.0
        The fraction of the units to drop after each hidden layer in training.

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


#: A network, or the sizes of the hidden layers of a dense one.
NetworkLike = Network | tuple[int, ...] | list[int] | None


def network_of(given):
    """Make the network that the parameter `network` stands for.

    Parameters
    ----------
    given : Network, tuple of int, list of int or None

    Returns
    -------
    network : Network
        A copy of a network. None is `DenseNetwork()`, and sizes are its hidden layers.
    """
    if given is None:
        return DenseNetwork()
    if isinstance(given, tuple | list):
        return DenseNetwork(tuple(sizes_of(given, "network")))
    return copied(given)
