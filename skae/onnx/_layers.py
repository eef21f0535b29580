"""Keras layers as ONNX nodes: a model is converted layer by layer."""

import itertools
from dataclasses import replace
from functools import reduce

import numpy as np
from onnx import TensorProto

from skae._utils.keras import calls_of, import_keras, makes_calls
from skae.onnx._activations import ACTIVATIONS, name_of
from skae.onnx._nodes import Value


def walked(nodes, model, *inputs):
    """Write the nodes of a Keras model, applied to values.

    Parameters
    ----------
    nodes : Nodes
    model : keras.Model
        Made by the functional API.

    *inputs : Value

    Returns
    -------
    outputs : list of Value

    Raises
    ------
    ValueError
        If a layer, or an argument of it, has no conversion; the message names the layer.
    """
    known = {
        id(tensor): replace(x, shape=tensor.shape)
        for tensor, x in zip(model.inputs, inputs, strict=True)
    }
    for call in calls_of(model):
        args, kwargs = call.arguments.fill_in(known)
        made = _converted(nodes, call.operation, args, kwargs)
        for tensor, value in zip(call.outputs, made, strict=True):
            known[id(tensor)] = replace(value, shape=tensor.shape)
    return [known[id(tensor)] for tensor in model.outputs]


def _converted(nodes, layer, args, kwargs):
    """Convert a call of a layer to a list of values."""
    layer = getattr(layer, "_functional", layer)  # the functional model of a Sequential
    kwargs = {name: x for name, x in kwargs.items() if x is not None and x is not False}
    kind, given = type(layer), [*args]
    if kind.__name__ in RECURRENT and "mask" in kwargs:
        given.append(kwargs.pop("mask"))
    if kwargs:
        raise refused(layer, f"is called with {min(kwargs)!r}")
    of_keras = kind.__module__.startswith("keras.")
    if of_keras and makes_calls(layer):
        return walked(nodes, layer, *_flat(given))
    known = LAYERS if isinstance(layer, import_keras().Layer) else OPERATIONS
    if not of_keras or kind.__name__ not in known:
        raise refused(layer, "has no conversion")
    return [known[kind.__name__](nodes, layer, *given)]


def refused(layer, why):
    """Return the error for a layer that can't be converted."""
    return ValueError(
        f"The network can't be converted to ONNX: its layer {layer.name!r}, of the class"
        f" {type(layer).__name__}, {why}."
    )


# -- activations


def _activated(nodes, layer, x):
    name = name_of(layer.activation)
    if name is None:
        raise refused(layer, f"has the activation {_shown(layer.activation)!r}")
    return ACTIVATIONS[name](nodes, x)


def _shown(function):
    return getattr(function, "__name__", function)


def _as(name):
    """Return the conversion of a Keras operation that is this activation."""
    return lambda nodes, layer, x: ACTIVATIONS[name](nodes, x)


def leaky_relu(nodes, layer, x):
    return nodes("LeakyRelu", x, alpha=float(layer.negative_slope))


def elu(nodes, layer, x):
    return nodes("Elu", x, alpha=float(layer.alpha))


def relu(nodes, layer, x):
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise refused(layer, "has max_value, negative_slope or threshold")
    return nodes("Relu", x)


def softmax(nodes, layer, x):
    return nodes("Softmax", x, axis=layer.axis)


# -- sums of products


def dense(nodes, layer, x):
    kernel, *bias = layer.get_weights()
    y = nodes("MatMul", x, kernel)
    return _activated(nodes, layer, nodes("Add", y, bias[0]) if bias else y)


def einsum_dense(nodes, layer, x):
    """Compute a product, element by element if the kernel only scales the last axes."""
    kernel, *bias = layer.get_weights()
    inputs, output = layer.equation.split("->")
    of_x, of_kernel = inputs.split(",")
    if of_x == output and of_x.endswith(of_kernel):
        y = nodes("Mul", x, kernel)
    else:
        y = nodes("Einsum", x, kernel, equation=layer.equation)
    return _activated(nodes, layer, nodes("Add", y, bias[0]) if bias else y)


def normalization(nodes, layer, x):
    if layer.invert:
        raise refused(layer, "has invert=True")
    mean, variance = (np.asarray(part) for part in (layer.mean, layer.variance))
    y = nodes("Sub", x, mean)
    spread = np.maximum(np.sqrt(variance), 1e-7)
    return y if (spread == 1).all() else nodes("Div", y, spread)


def batch_normalization(nodes, layer, x):
    """Multiply and shift by the moving mean and variance of training."""
    if layer.axis not in (-1, len(x.shape) - 1):
        raise refused(layer, f"goes along axis {layer.axis}")
    weights = iter(np.float64(part) for part in layer.get_weights())
    gamma = next(weights) if layer.scale else 1.0
    beta = next(weights) if layer.center else 0.0
    mean, variance = weights
    factor = gamma / np.sqrt(variance + layer.epsilon)
    return nodes("Add", nodes("Mul", x, factor), beta - mean * factor)


def layer_normalization(nodes, layer, x):
    """Standardise the last axis to a mean of zero and a variance of one."""
    if layer.axis not in (-1, [-1], len(x.shape) - 1):
        raise refused(layer, f"goes along axis {layer.axis}")
    if getattr(layer, "rms_scaling", False):
        raise refused(layer, "has rms_scaling=True")
    weights = iter(layer.get_weights())
    gamma = next(weights) if layer.scale else np.ones(x.shape[-1])
    beta = next(weights) if layer.center else np.zeros(x.shape[-1])
    epsilon = float(layer.epsilon)
    return nodes("LayerNormalization", x, gamma, beta, axis=-1, epsilon=epsilon)


def rescaling(nodes, layer, x):
    scale, offset = np.float64(layer.scale), np.float64(layer.offset)
    return nodes("Add", nodes("Mul", x, scale), offset)


# -- shapes


def same(nodes, layer, x):
    """Return x unchanged, for a layer that is active only in training."""
    return x


def _reshaped(nodes, x, shape):
    return replace(nodes("Reshape", x, [-1, *shape]), shape=(None, *shape))


def reshape(nodes, layer, x):
    """Reshape rows to the shape that Keras computes."""
    return _reshaped(nodes, x, layer.compute_output_shape(x.shape)[1:])


def permute(nodes, layer, x):
    return nodes("Transpose", x, perm=[0, *layer.dims])


def repeat(nodes, layer, x):
    y = _reshaped(nodes, x, (1, x.shape[-1]))
    return nodes("Tile", y, [1, layer.n, 1])


def _sizes(layer, x):
    """Return the sizes of the axes that are neither rows nor channels."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise refused(layer, f"has data_format={layer.data_format!r}")
    return x.shape[1:-1]


def _pairs(pairs, n_axes):
    """Return the numbers to crop or pad before and after each axis."""
    pairs = np.broadcast_to(np.asarray(pairs).reshape(-1, 2), (n_axes, 2))
    return [(int(before), int(after)) for before, after in pairs]


def cropping(nodes, layer, x):
    sizes = _sizes(layer, x)
    pairs = _pairs(layer.cropping, len(sizes))
    ends = [size - after for size, (_, after) in zip(sizes, pairs, strict=True)]
    axes = [*range(1, len(sizes) + 1)]
    return nodes("Slice", x, [before for before, _ in pairs], ends, axes)


def zero_padding(nodes, layer, x):
    pairs = _pairs(layer.padding, len(_sizes(layer, x)))
    before, after = zip((0, 0), *pairs, (0, 0), strict=True)
    return nodes("Pad", x, [*before, *after])


def upsampling(nodes, layer, x):
    """Repeat each value along each axis."""
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise refused(layer, f"has interpolation={layer.interpolation!r}")
    scales = [1.0, *np.broadcast_to(layer.size, len(_sizes(layer, x))), 1.0]
    return nodes(
        "Resize",
        x,
        np.zeros(0),
        np.float64(scales),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


# -- convolutions: ONNX has the channels first, Keras has them last


def _channels_first(nodes, x):
    n_axes = len(x.shape) - 2
    return nodes("Transpose", x, perm=[0, n_axes + 1, *range(1, n_axes + 1)])


def _channels_last(nodes, x, n_axes):
    return nodes("Transpose", x, perm=[0, *range(2, n_axes + 2), 1])


def _surroundings(padding, sizes, widths, strides):
    """Return the number of zeros before all axes, then after all axes."""
    if padding == "valid":
        return [0] * (2 * len(sizes))
    if padding == "causal":
        return [*(width - 1 for width in widths), *(0 for _ in widths)]
    totals = [
        max((-(-size // stride) - 1) * stride + width - size, 0)
        for size, width, stride in zip(sizes, widths, strides, strict=True)
    ]
    before = [n // 2 for n in totals]
    return [*before, *(n - first for n, first in zip(totals, before, strict=True))]


def convolution(nodes, layer, x):
    sizes, strides = _sizes(layer, x), [*layer.strides]
    dilations = [*layer.dilation_rate]
    widths = _widths(layer.kernel_size, dilations)
    kernel, *bias = layer.get_weights()
    kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
    y = nodes(
        "Conv",
        _channels_first(nodes, x),
        kernel,
        *bias,
        strides=strides,
        dilations=dilations,
        group=layer.groups,
        pads=_surroundings(layer.padding, sizes, widths, strides),
    )
    return _activated(nodes, layer, _channels_last(nodes, y, len(sizes)))


def _widths(kernel_size, dilations):
    """Return the width of a kernel, with dilation, along each axis."""
    pairs = zip(kernel_size, dilations, strict=True)
    return [(size - 1) * dilation + 1 for size, dilation in pairs]


def transposed_convolution(nodes, layer, x):
    if layer.output_padding is not None:
        raise refused(layer, f"has output_padding={layer.output_padding!r}")
    sizes, strides = _sizes(layer, x), [*layer.strides]
    dilations = [*layer.dilation_rate]
    outputs = layer.compute_output_shape(x.shape)[1:-1]
    widths = _widths(layer.kernel_size, dilations)
    excess = [  # negative where the kernel does not reach the end
        (size - 1) * stride + width - output
        for size, stride, width, output in zip(
            sizes, strides, widths, outputs, strict=True
        )
    ]
    before = [max(n, 0) // 2 for n in excess]
    after = [max(n, 0) - first for n, first in zip(excess, before, strict=True)]
    kernel, *bias = layer.get_weights()
    y = nodes(
        "ConvTranspose",
        _channels_first(nodes, x),
        np.moveaxis(kernel, (-1, -2), (0, 1)),
        *bias,
        strides=strides,
        dilations=dilations,
        pads=[*before, *after],
        output_padding=[max(-n, 0) for n in excess],
    )
    return _activated(nodes, layer, _channels_last(nodes, y, len(sizes)))


def _pooling(kind):
    def pooling(nodes, layer, x):
        sizes, strides, widths = _sizes(layer, x), layer.strides, layer.pool_size
        strides, widths = (
            [int(n) for n in np.broadcast_to(some, len(sizes))]
            for some in (strides, widths)
        )
        y = nodes(
            kind,
            _channels_first(nodes, x),
            kernel_shape=widths,
            strides=strides,
            pads=_surroundings(layer.padding, sizes, widths, strides),
        )
        return _channels_last(nodes, y, len(sizes))

    return pooling


def global_pooling(nodes, layer, x):
    """Compute the mean of each channel."""
    _sizes(layer, x)
    y = nodes("GlobalAveragePool", _channels_first(nodes, x))
    return _reshaped(nodes, y, layer.compute_output_shape(x.shape)[1:])


# -- recurrent layers

#: The places of Keras' gates in the order of ONNX.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}

#: Activations of the gates and the candidate, and their names in ONNX.
AT_GATES = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu"}


def recurrent(nodes, layer, x, mask=None, direction="forward"):
    """Convert a recurrent layer, which returns its last state or all states."""
    _check_recurrent(nodes, layer, mask, direction)
    kind = type(layer).__name__
    kernel, memory, *bias = (
        _by_gate(weights, GATES[kind], layer.units) for weights in layer.get_weights()
    )
    biases = np.zeros((2, kernel.shape[1]))  # for the input, and for the last state
    for one in bias:
        biases[: len(one)] = one
    attributes = {"linear_before_reset": int(layer.reset_after)} if kind == "GRU" else {}
    states, last = nodes(
        {"SimpleRNN": "RNN"}.get(kind, kind),
        nodes("Transpose", x, perm=[1, 0, 2]),
        kernel.T[None],
        memory.T[None],
        biases.reshape(1, -1),
        *([] if mask is None else [_n_steps(nodes, mask)]),
        n_outputs=3 if kind == "LSTM" else 2,
        hidden_size=layer.units,
        direction=direction,
        activations=_at_gates(layer, kind),
        **attributes,
    )[:2]
    if not layer.return_sequences:
        return _reshaped(nodes, last, (layer.units,))
    states = nodes("Transpose", states, perm=[2, 0, 1, 3])
    return _reshaped(nodes, states, (x.shape[1], layer.units))


def _check_recurrent(nodes, layer, mask, direction):
    if mask is not None and not nodes.masks:
        raise refused(layer, "is given a mask")
    if mask is not None and layer.return_sequences:
        raise refused(layer, "has a mask and return_sequences=True")
    if layer.go_backwards and direction == "forward":
        raise refused(layer, "has go_backwards=True")
    for name in ("stateful", "return_state"):
        if getattr(layer, name):
            raise refused(layer, f"has {name}=True")


def _by_gate(weights, order, units):
    """Reorder weights, whose last axis goes gate by gate, to the order of ONNX."""
    weights = weights.reshape(-1, len(order), units)
    return weights[:, order].reshape(len(weights), -1)


def _at_gates(layer, kind):
    functions = [layer.activation]
    if kind != "SimpleRNN":
        functions.insert(0, layer.recurrent_activation)
    if kind == "LSTM":
        functions.append(layer.activation)
    for function in functions:
        if name_of(function) not in AT_GATES:
            raise refused(layer, f"has the activation {_shown(function)!r}")
    return [AT_GATES[name_of(function)] for function in functions]


def _n_steps(nodes, mask):
    """Count the steps of each series."""
    steps = nodes("Cast", mask, is_float=False, to=TensorProto.INT32)
    return nodes("ReduceSum", steps, [1], is_float=False, keepdims=0)


def bidirectional(nodes, layer, x, mask=None):
    if layer.merge_mode != "concat":
        raise refused(layer, f"has merge_mode={layer.merge_mode!r}")
    one, other = layer.forward_layer, layer.backward_layer
    for inner in (one, other):
        if type(inner).__name__ not in GATES:
            raise refused(layer, f"is around a {type(inner).__name__}")
    forth = recurrent(nodes, one, x, mask)
    back = recurrent(nodes, other, x, mask, "reverse")
    return nodes("Concat", forth, back, axis=-1)


# -- operations of several values


def _flat(values):
    """Flatten values that are passed one by one or in lists."""
    lists = (v if isinstance(v, (list, tuple)) else [v] for v in values)
    return [*itertools.chain.from_iterable(lists)]


def _of_all(kind):
    """Return a conversion that combines several values, two at a time."""

    def together(nodes, layer, *values):
        values = [v if isinstance(v, Value) else np.float64(v) for v in _flat(values)]
        return reduce(lambda x, y: nodes(kind, x, y), values)

    return together


def average(nodes, layer, values):
    return nodes("Div", _of_all("Add")(nodes, layer, values), float(len(values)))


def concatenate(nodes, layer, values):
    return nodes("Concat", *values, axis=layer.axis)


# -- Keras' operations, where skae has them in place of layers


def take(nodes, layer, x, indices):
    return nodes("Gather", x, np.asarray(indices, np.int64), axis=layer.axis)


def total(nodes, layer, x):
    return nodes("ReduceSum", x, _axes(layer), keepdims=int(layer.keepdims))


def _axes(layer):
    if layer.axis is None:
        raise refused(layer, "goes along all axes")
    return [*layer.axis]


def log1p(nodes, layer, x):
    return nodes("Log", nodes("Add", x, 1.0))


def is_nan(nodes, layer, x):
    return nodes("IsNaN", x, is_float=False)


def every(nodes, layer, x):
    """Check whether all values are true along the axis, by counting false ones."""
    false = nodes("Not", x, is_float=False)
    count = nodes("Cast", false, is_float=False, to=TensorProto.INT64)
    keepdims = int(layer.keepdims)
    count = nodes("ReduceSum", count, _axes(layer), is_float=False, keepdims=keepdims)
    return nodes("Equal", count, np.int64(0), is_float=False)


def logical_not(nodes, layer, x):
    return nodes("Not", x, is_float=False)


def greater(nodes, layer, x, y):
    y = y if isinstance(y, Value) else np.float64(y)
    return nodes("Greater", x, y, is_float=False)


def log(nodes, layer, x):
    return nodes("Log", x)


def where(nodes, layer, condition, x, y):
    return nodes("Where", condition, x, y)


def zeros_like(nodes, layer, x):
    """Return a scalar zero, which is broadcast where it is used."""
    return nodes("Identity", np.zeros(()))


def nan_to_num(nodes, layer, x):
    return nodes("Where", is_nan(nodes, layer, x), float(layer.nan), x)


RECURRENT = {**dict.fromkeys(GATES, recurrent), "Bidirectional": bidirectional}

ARITHMETIC = {
    "Add": _of_all("Add"),
    "Subtract": _of_all("Sub"),
    "Multiply": _of_all("Mul"),
    "Maximum": _of_all("Max"),
    "Minimum": _of_all("Min"),
    "Concatenate": concatenate,
    "Softmax": softmax,
}

#: Conversions by the name of Keras' layer.
LAYERS = {
    **RECURRENT,
    **ARITHMETIC,
    **dict.fromkeys(["Conv1D", "Conv2D", "Conv3D"], convolution),
    **{f"Conv{n}DTranspose": transposed_convolution for n in (1, 2, 3)},
    **{f"MaxPooling{n}D": _pooling("MaxPool") for n in (1, 2, 3)},
    **{f"AveragePooling{n}D": _pooling("AveragePool") for n in (1, 2, 3)},
    **{f"UpSampling{n}D": upsampling for n in (1, 2, 3)},
    **{f"GlobalAveragePooling{n}D": global_pooling for n in (1, 2, 3)},
    **{f"Cropping{n}D": cropping for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": zero_padding for n in (1, 2, 3)},
    **dict.fromkeys(["Flatten", "Reshape"], reshape),
    **dict.fromkeys(["Dropout", "GaussianDropout", "GaussianNoise"], same),
    **dict.fromkeys(["AlphaDropout", "ActivityRegularization", "Identity"], same),
    **{f"SpatialDropout{n}D": same for n in (1, 2, 3)},
    "Activation": _activated,
    "Average": average,
    "BatchNormalization": batch_normalization,
    "Dense": dense,
    "EinsumDense": einsum_dense,
    "ELU": elu,
    "LeakyReLU": leaky_relu,
    "LayerNormalization": layer_normalization,
    "Normalization": normalization,
    "Permute": permute,
    "ReLU": relu,
    "RepeatVector": repeat,
    "Rescaling": rescaling,
}

#: Conversions by the name of Keras' operation, which functions of tensors add to a model.
OPERATIONS = {
    **ARITHMETIC,
    "All": every,
    "Divide": _of_all("Div"),
    "Exp": _as("exponential"),
    "Greater": greater,
    "Isnan": is_nan,
    "Log": log,
    "Log1p": log1p,
    "LogicalNot": logical_not,
    "NanToNum": nan_to_num,
    "Relu": _as("relu"),
    "ReLU": relu,
    "Sigmoid": _as("sigmoid"),
    "Softplus": _as("softplus"),
    "StopGradient": same,
    "Sum": total,
    "Take": take,
    "Tanh": _as("tanh"),
    "TrueDivide": _of_all("Div"),
    "Where": where,
    "ZerosLike": zeros_like,
}
