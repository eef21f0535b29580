"""Nodes of an ONNX graph, written one after the other."""

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, helper, numpy_helper

#: Operations that onnxruntime has in float32 only: float64 is cast before and after.
SINGLE = {
    *("Erf", "Elu", "Selu", "LeakyRelu", "PRelu", "HardSigmoid", "Softplus", "Softsign"),
    *("Conv", "ConvTranspose", "AveragePool", "GlobalAveragePool", "Resize"),
    *("LSTM", "GRU", "RNN"),
}


@dataclass(frozen=True)
class Value:
    """The output of a node, by its name in the graph.

    Parameters
    ----------
    name : str
    shape : tuple of (int or None) or None, default=None
        None where it is not known.

    is_float : bool, default=True
        Whether it is of the graph's dtype; else booleans or counts.
    """

    name: str
    shape: tuple | None = None
    is_float: bool = True


class Nodes:
    """The nodes and the constants of a graph that computes in one dtype.

    A call adds a node: ``nodes("Add", x, 1.0)`` is the sum.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    new_name : callable
        Makes a name unique in the whole model.

    Attributes
    ----------
    masks : bool
        Whether masks in the model are of trailing steps, which ONNX can leave out.
    """

    def __init__(self, dtype, new_name):
        self.dtype, self.new_name, self.masks = np.dtype(dtype), new_name, False
        self.written, self.constants = [], []

    def __call__(self, kind, *inputs, n_outputs=1, is_float=True, **attributes):
        """Add a node.

        Parameters
        ----------
        kind : str
            ONNX' name of the operation.

        *inputs : Value, ndarray, list of int, float or bool
        n_outputs : int, default=1
        is_float : bool, default=True
            Whether the outputs are of the graph's dtype.

        **attributes : object

        Returns
        -------
        output : Value, or list of Value if there are several
        """
        single = kind in SINGLE and self.dtype == np.float64
        dtype = np.dtype(np.float32) if single else self.dtype
        names = [self._given(x, dtype) for x in inputs]
        outputs = [self.new_name(kind) for _ in range(n_outputs)]
        self.written.append((kind, names, outputs, attributes))
        values = [Value(name, is_float=is_float) for name in outputs]
        if single:
            values = [self.cast(value, self.dtype) for value in values]
        return values[0] if n_outputs == 1 else values

    def of(self, dtype):
        """Return nodes that compute in another dtype, in the same graph."""
        others = Nodes(dtype, self.new_name)
        others.written, others.constants = self.written, self.constants
        return others

    def cast(self, x, dtype):
        """Cast a value to another dtype."""
        dtype = np.dtype(dtype)
        to = helper.np_dtype_to_tensor_dtype(dtype)
        return self("Cast", x, is_float=dtype == self.dtype, to=to)

    def _given(self, x, dtype):
        """Return the name of an input, which is a value or a constant."""
        if not isinstance(x, Value):
            return self._constant(x, dtype)
        if x.is_float and dtype != self.dtype:
            return self.cast(x, dtype).name
        return x.name

    def _constant(self, x, dtype):
        x = np.asarray(x)
        if x.dtype.kind == "f":
            x = x.astype(dtype)
        name = self.new_name("constant")
        self.constants.append(numpy_helper.from_array(x, name))
        return name

    def needed(self, *names):
        """Return the nodes and the constants that these values depend on.

        Returns
        -------
        nodes : list of (kind, names of inputs, names of outputs, attributes)
        constants : list of onnx.TensorProto
        """
        names, nodes = {*names}, []
        for node in reversed(self.written):
            _, inputs, outputs, attributes = node
            if names.intersection(outputs):
                names.update(inputs, *(_outer(graph) for graph in attributes.values()))
                nodes.append(node)
        return nodes[::-1], [one for one in self.constants if one.name in names]

    def graph(self, name, outputs, inputs=()):
        """Make a graph of these nodes, for an If or a Loop.

        Parameters
        ----------
        name : str
        outputs, inputs : list of (Value, dtype)

        Returns
        -------
        graph : onnx.GraphProto
        """
        nodes, constants = self.needed(*(value.name for value, _ in outputs))
        nodes = [helper.make_node(*names, **attributes) for *names, attributes in nodes]
        told = [[_told(*pair) for pair in pairs] for pairs in (inputs, outputs)]
        return helper.make_graph(nodes, self.new_name(name), *told, constants)


def _told(value, dtype):
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(value.name, dtype, value.shape)


def _outer(graph):
    """Return the inputs of all nodes in a graph, some of which come from outside."""
    if not isinstance(graph, GraphProto):
        return ()
    return [name for node in graph.node for name in node.input]
