"""ONNX: fitted estimators, and Pipelines with them, for programs without TensorFlow."""

from skae.onnx._convert import register_converters

__all__ = ["register_converters"]

register_converters.__module__ = __name__  # where users find it
