"""Shapes of the weights of a network, computed without Keras and without any memory.

A file names the network of its weights. Weights that do not fit are refused before
anything of the size that the file declares is built.
"""

import math

from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
from skae.networks._base import sizes_of

#: The number of columns for each unit, in the kernel and the bias of a recurrent layer.
GATES = {"lstm": 4, "gru": 3}


def weight_shapes(specification):
    """Compute the shape of each weight by its path, except seeds, which Keras numbers.

    Parameters
    ----------
    specification : Specification
        Its network is a `DenseNetwork`, `ConvNetwork` or `SequenceNetwork`.

    Returns
    -------
    shapes : dict of str to tuple of int
    """
    n, k = specification.n_features, specification.n_components
    linear, objective = specification.linear, specification.objective
    encode, decode = _SIDES[type(specification.network)]
    encoder, features = encode(specification.network, n)
    width, code = features or n, k or features or n
    if k is not None and (not linear or features is not None):
        encoder |= _dense("code", width, k)
    if linear:
        encoder |= _dense("linear_code", n, k)
    if objective.has_posterior:
        encoder |= _dense("log_variance_head", width, code)
    decoder, output = decode(specification.network, code, n)
    if output is not None and not (linear and output == 0):
        decoder |= _dense("output", output or code, n)
    elif linear and output is None:
        decoder["output_gate/kernel"] = (1,)
    if linear:
        decoder |= _dense("linear_output", code, n)
    shapes = {f"encoder/{name}": shape for name, shape in encoder.items()}
    shapes |= {f"decoder/{name}": shape for name, shape in decoder.items()}
    n_noise = objective.likelihood.n_noise(n)
    return shapes | dict.fromkeys(["noise", "least_noise"] if n_noise else [], (n_noise,))


def is_seed(path):
    """Check whether a weight is the state of a random number generator."""
    return path.endswith("/seed_generator_state")


def _dense(name, n_in, n_out, bias=True):
    found = {f"{name}/kernel": (n_in, n_out)}
    return found | {f"{name}/bias": (n_out,)} if bias else found


# -- the sides of each network: the encoder's weights and its number of features, None
# if these are the rows themselves; the decoder's weights and the number of features that
# a dense output layer takes, 0 if these are the code, None without such a layer


def _hidden(network, n_in, sizes, side):
    found, normalizes = {}, network.batch_normalization
    for i, size in enumerate(sizes):
        found |= _dense(f"{side}_dense_{i}", n_in, size, not normalizes)
        if normalizes:
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            found |= {f"{side}_normalization_{i}/{name}": (size,) for name in names}
        n_in = size
    return found, n_in if sizes else None


def _encode_dense(network, n):
    given = network.encoder_layer_sizes
    given = network.hidden_layer_sizes if given is None else given
    return _hidden(network, n, sizes_of(given, "hidden_layer_sizes"), "encoder")


def _decode_dense(network, code, n):
    sizes = sizes_of(network.hidden_layer_sizes, "hidden_layer_sizes")[::-1]
    found, width = _hidden(network, code, sizes, "decoder")
    return found, width or 0


def _convolution(network, name, n_in, n_out, transposed=False):
    n_axes, size = len(network.input_shape) - 1, network.kernel_size
    kernel = (size,) * n_axes if isinstance(size, int) else tuple(size)
    ends = (n_out, n_in) if transposed else (n_in, n_out)
    return {f"{name}/kernel": (*kernel, *ends), f"{name}/bias": (n_out,)}


def _encode_convolutions(network, n):
    filters, sizes, channels = network._maps()
    found, n_in = {}, channels
    for i, n_out in enumerate(filters):
        found |= _convolution(network, f"encoder_conv_{i}", n_in, n_out)
        n_in = n_out
    return found, math.prod(sizes[-1]) * n_in


def _decode_convolutions(network, code, n):
    filters, sizes, channels = network._maps()
    n_in = filters[-1] if filters else channels
    maps, found = math.prod(sizes[-1]) * n_in, {}
    if code != maps:
        found |= _dense("decoder_dense", code, maps)
    transposed = network.downsampling == "strides"
    for i in reversed(range(len(filters))):
        name = f"decoder_conv_{i}"
        found |= _convolution(network, name, n_in, filters[i], transposed)
        n_in = filters[i]
    return found | _convolution(network, "output_conv", n_in, channels), None


def _recurrent(network, name, n_in, units):
    gates = GATES[network.cell] * units
    bias = (gates,) if network.cell == "lstm" else (2, gates)
    name = f"{name}/{network.cell}_cell"
    return {
        f"{name}/kernel": (n_in, gates),
        f"{name}/recurrent_kernel": (units, gates),
        f"{name}/bias": bias,
    }


def _encode_series(network, n):
    _, n_features = network._shape()
    if not network.bidirectional:
        found = _recurrent(network, "encoder_recurrent", n_features, network.units)
        return found, network.units
    found = {}
    for way in ("forward", "backward"):
        name = f"encoder_bidirectional/{way}_encoder_recurrent"
        found |= _recurrent(network, name, n_features, network.units)
    return found, 2 * network.units


def _decode_series(network, code, n):
    _, n_features = network._shape()
    units = network.units if network.head == "linear" else n_features
    found = _recurrent(network, "decoder_recurrent", code, units)
    if network.head == "linear":
        found |= _dense("output_dense", units, n_features)
    return found, None


_SIDES = {
    DenseNetwork: (_encode_dense, _decode_dense),
    ConvNetwork: (_encode_convolutions, _decode_convolutions),
    SequenceNetwork: (_encode_series, _decode_series),
}
