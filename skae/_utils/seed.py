"""Seed: randomness as an argument that is handed down."""

import keras
from keras import ops

#: What seeds are to the backend's generators.
DTYPE = "uint32" if keras.backend.backend() == "jax" else "int32"


class Seed(keras.random.SeedGenerator):
    """A seed without a state: each draw is the next of the stream that it names.

    It stands wherever ``keras.random`` takes a seed generator.

    Parameters
    ----------
    stream, step : int or tensor of int32
        What names the stream: that of an epoch, and a batch of it.
    """

    def __init__(self, stream, step=0):
        self.stream, self.step, self.n_drawn = stream, step, 0

    def next(self, ordered=True):
        self.n_drawn += 1
        stream = ops.cast(self.stream, DTYPE) + (self.n_drawn - 1)
        return ops.stack([stream, ops.cast(self.step, DTYPE)])

    def uniform(self, shape, low=0.0):
        """Float32 numbers in [low, 1)."""
        return keras.random.uniform(shape, low, 1.0, dtype="float32", seed=self)

    def normal(self, shape):
        """Float32 numbers from the standard normal distribution."""
        return keras.random.normal(shape, dtype="float32", seed=self)
