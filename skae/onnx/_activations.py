"""Keras' activations as ONNX nodes."""

import math


def name_of(function):
    """Return the name of a Keras activation that can be converted; None for others."""
    of_keras = getattr(function, "__module__", "").startswith("keras.")
    name = getattr(function, "__name__", None)
    return name if of_keras and name in ACTIVATIONS else None


def gelu(nodes, x):
    """Compute the exact gelu, by the error function."""
    error = nodes("Erf", nodes("Mul", x, math.sqrt(0.5)))
    return nodes("Mul", nodes("Mul", x, 0.5), nodes("Add", error, 1.0))


def silu(nodes, x):
    # not x * Sigmoid(x): onnxruntime 1.22 to 1.26 fuses it to an op missing in float64
    return nodes("Div", x, nodes("Add", nodes("Exp", nodes("Neg", x)), 1.0))


def mish(nodes, x):
    return nodes("Mul", x, nodes("Tanh", nodes("Softplus", x)))


def hard_sigmoid(nodes, x):
    return nodes("HardSigmoid", x, alpha=1 / 6, beta=0.5)


def hard_silu(nodes, x):
    return nodes("Mul", x, hard_sigmoid(nodes, x))


def relu6(nodes, x):
    return nodes("Min", nodes("Relu", x), 6.0)


def log_sigmoid(nodes, x):
    return nodes("Neg", nodes("Softplus", nodes("Neg", x)))


def _node(kind, **attributes):
    return lambda nodes, x: nodes(kind, x, **attributes)


#: Conversions by Keras' name of the function.
ACTIVATIONS = {
    "linear": lambda nodes, x: x,
    "relu": _node("Relu"),
    "relu6": relu6,
    "elu": _node("Elu"),
    "selu": _node("Selu"),
    "leaky_relu": _node("LeakyRelu", alpha=0.2),
    "tanh": _node("Tanh"),
    "sigmoid": _node("Sigmoid"),
    "log_sigmoid": log_sigmoid,
    "hard_sigmoid": hard_sigmoid,
    "softplus": _node("Softplus"),
    "softsign": _node("Softsign"),
    "softmax": _node("Softmax", axis=-1),
    "log_softmax": _node("LogSoftmax", axis=-1),
    "exponential": _node("Exp"),
    "gelu": gelu,
    "silu": silu,
    "hard_silu": hard_silu,
    "mish": mish,
}
