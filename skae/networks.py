"""Networks: the bodies on each side of the code, with parameters to tune."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval

from skae._keras import import_keras

__all__ = ["CustomNetwork", "DenseNetwork", "Network"]


class Network(BaseEstimator):
    """Base class of the networks.

    A network owns the layers between the input and the code, and between the code and
    the output. The estimator owns the code itself (its dense layer, its activation)
    and the linear path, so that every network works under every estimator.

    A subclass takes its parameters in `__init__` as any scikit-learn estimator does,
    and builds with Keras' functional API in `encode` and `decode`.
    """

    _parameter_constraints: dict = {}

    #: Whether XLA pays: it speeds up dense and recurrent layers, and slows
    #: convolutions down on a CPU.
    jit_compile = True

    #: Whether rows may end in steps of NaN.
    allows_missing = False

    def encode(self, x):
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

    def decode(self, z, shape):
        """Build the layers from the code to the output.

        Parameters
        ----------
        z : KerasTensor of shape (None, n_components)
            The code.

        shape : tuple of int
            The shape of one row of the output, ``(n_features,)``.

        Returns
        -------
        output : KerasTensor of shape (None, *shape) or (None, ...)
            The output before its activation or, in any other shape, features that the
            estimator makes the output of by a dense layer.
        """
        raise NotImplementedError

    def _key(self):
        """What shapes the layers, hashable: equal keys build equal networks."""
        params = self.get_params(deep=False)
        return (type(self), *((name, _hashable(params[name])) for name in sorted(params)))

    def _seed_key(self, seed):
        """The seed, where the layers are built from it and can't be started afresh."""
        return None


def _hashable(value):
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_hashable(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _layer_sizes(sizes, name):
    sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ValueError(f"{name} must be integers of at least 1. Got {sizes!r}.")
    return [int(size) for size in sizes]


class DenseNetwork(Network):
    """Dense layers on each side of the code, the decoder's in reverse order.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(128, 64)
        The number of units of each layer between the input and the code. ``()`` puts
        the code straight on the input.

    activation : str, default="gelu"
        The name of a Keras activation.

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
        "activation": [str, callable],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_normalization": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(128, 64),
        *,
        activation="gelu",
        dropout=0.0,
        batch_normalization=False,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
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
            x = layers.Activation(self.activation, name=f"{side}_activation_{i}")(x)
            if self.dropout:
                x = layers.Dropout(self.dropout, name=f"{side}_dropout_{i}")(x)
        return x

    def encode(self, x):
        sizes = _layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        return self._hidden(x, sizes, "encoder")

    def decode(self, z, shape):
        sizes = _layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        return self._hidden(z, sizes[::-1], "decoder")


class CustomNetwork(Network):
    """A network from your own Keras layers.

    Parameters
    ----------
    encoder : callable or keras.Model
        From rows to features: a function that takes a KerasTensor of shape
        ``(None, *input_shape)`` and returns one, or a Keras model, which is never
        trained or changed: each fit clones it with fresh weights.

    decoder : callable or keras.Model
        From the code, of shape ``(None, n_components)``, to the output or to features
        of any shape (see :meth:`Network.decode`).

    input_shape : tuple of int or None, default=None
        The shape that the encoder takes one row in; None leaves rows flat.

    jit_compile : bool, default=True
        Whether to compile with XLA. It speeds up dense and recurrent layers, and slows
        convolutions down on a CPU.

    Examples
    --------
    >>> from skae.networks import CustomNetwork
    >>> def encoder(x):
    ...     from keras import layers
    ...     return layers.Dense(32, activation="relu")(x)
    >>> network = CustomNetwork(encoder=encoder, decoder=encoder)
    """

    _parameter_constraints: dict = {
        "encoder": [callable],
        "decoder": [callable],
        "input_shape": [tuple, list, None],
        "jit_compile": ["boolean"],
    }

    def __init__(self, encoder, decoder, *, input_shape=None, jit_compile=True):
        self.encoder = encoder
        self.decoder = decoder
        self.input_shape = input_shape
        self.jit_compile = jit_compile

    def encode(self, x):
        if self.input_shape is not None:
            x = import_keras().layers.Reshape(self.input_shape, name="fold")(x)
        return _fresh(self.encoder)(x)

    def decode(self, z, shape):
        y = _fresh(self.decoder)(z)
        if int(np.prod(y.shape[1:])) == int(np.prod(shape)) and y.shape[1:] != shape:
            y = import_keras().layers.Reshape(shape, name="unfold")(y)
        return y
