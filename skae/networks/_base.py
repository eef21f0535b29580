"""Network: the base class of the layers on each side of the code."""

from __future__ import annotations

import math
import sys
from numbers import Integral
from typing import TYPE_CHECKING

from skae._utils.keras import import_keras, reason, symbolic
from skae._utils.params import Tunable

if TYPE_CHECKING:
    from keras import KerasTensor


class Network(Tunable):
    """Base class of the networks.

    A network owns the layers between the input and the code, and between the code and
    the output. The estimator owns the code itself (its dense layer, its activation)
    and the linear path, so that every network works under every estimator.

    A subclass takes its parameters in `__init__` as any scikit-learn estimator does,
    and builds its layers with Keras' functional API in `encode` and `decode`. It may set
    these class attributes.

    Attributes
    ----------
    makes_output : bool, default=True
        Whether the result of `decode` is the output if it has the output's shape. If
        False, the result is always features, to which the estimator adds a dense output
        layer.

    jit_compile : bool, default=True
        Whether to compile training with XLA. It speeds up dense and recurrent layers, and
        slows convolutions down on a CPU.

    jit_work : float, default=1e6
        The minimum work of a fit whose training is compiled with XLA: the number of
        batches times the square root of the product of weights and batch size.
        Compilation takes a second or more, and 10 MB. Less work suffices for layers that
        XLA makes several times faster.

    allows_missing : bool, default=False
        Whether samples may end in time steps of NaN, which `encode` must then not read.
    """

    _parameter_constraints: dict = {}

    makes_output: bool = True
    jit_compile: bool = True
    jit_work: float = 1e6
    allows_missing: bool = False

    def encode(self, x: KerasTensor) -> KerasTensor:
        """Build the layers from the input to the features that the code is computed from.

        Parameters
        ----------
        x : KerasTensor of shape (None, n_features)
            The samples, standardised by the estimator.

        Returns
        -------
        features : KerasTensor of shape (None, ...)
            The features. The estimator flattens them and computes the code from them
            with a dense layer; with ``n_components=None`` the flattened features are the
            code.
        """
        raise NotImplementedError

    def decode(self, z: KerasTensor, shape: tuple[int, ...]) -> KerasTensor:
        """Build the layers from the code to the output.

        Parameters
        ----------
        z : KerasTensor of shape (None, n_components)
            The code.

        shape : tuple of int
            The shape of one sample of the output, ``(n_features,)``.

        Returns
        -------
        output : KerasTensor of shape (None, n_features) or (None, ...)
            The output before its activation or, in any other shape, features from which
            the estimator computes the output with a dense layer.
        """
        raise NotImplementedError

    @property
    def _row_shape(self):
        """Return the shape that samples are folded into; None if any shape will do."""
        return None

    def _of_rows(self, row_shape):
        """Return the network for samples of a shape, if it depends on their shape."""
        return self

    @property
    def _doubt(self):
        """Return a warning if parameters may not be what was meant; else None."""
        return None

    def _numbers(self, x):
        """Standardised rows as the linear path sees them: numbers alone."""
        if not self.allows_missing:
            return x
        return import_keras().ops.nan_to_num(x)  # the mean, where a series has ended

    def _seed_key(self, seed):
        """Return the seed if layers depend on it and can't be initialised anew."""


#: The maximum size of a layer: the weights of larger ones do not fit into memory.
LARGEST = 2**24


def activated(x, activation, name, parameter="activation"):
    """Apply an activation layer to a KerasTensor.

    Raises
    ------
    ValueError
        If it is neither a name that Keras knows, nor a function from a tensor to one of
        its shape. The message names the parameter.
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
    """Return True if Keras has an activation of this name, without importing Keras."""
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


def with_input_shape(network, row_shape, axes):
    """Return a network whose `input_shape` of None is the shape of the samples of X.

    Parameters
    ----------
    network : Network
    row_shape : tuple of int
        The shape of a sample of X.

    axes : dict of int to tuple
        By the number of axes of a sample, what `input_shape` has after these.

    Raises
    ------
    ValueError
        If the samples are flat, so that they do not show their shape.
    """
    params = network.get_params(deep=False)
    if "input_shape" not in params or params["input_shape"] is not None:
        return network
    if len(row_shape) not in axes:
        kind, example = type(network).__name__, network._example
        shown = ", ".join(map(str, example))
        raise ValueError(
            f"{kind} needs input_shape, the shape that a sample is folded into, where X does"
            f" not show it: X has samples of shape {tuple(row_shape)}. Pass"
            f" {kind}(input_shape={example}) or the like, or an X of shape"
            f" (n_samples, {shown})."
        )
    shape = tuple(row_shape) + axes[len(row_shape)]
    return type(network)(**params | {"input_shape": shape})


def folded(x, shape):
    """Reshape samples for the layers."""
    if math.prod(shape) != x.shape[-1]:
        raise ValueError(
            f"input_shape={shape} holds {math.prod(shape)} values, but a row of X has"
            f" {x.shape[-1]} features."
        )
    return import_keras().layers.Reshape(shape, name="fold")(x)
