"""Seed: randomness as an explicit argument."""

import keras
from keras import ops

#: The dtype of seeds in the backend's generators.
DTYPE = "uint32" if keras.backend.backend() == "jax" else "int32"


class Seed(keras.random.SeedGenerator):
    """A seed without a state: each draw is the next one of a stream.

    ``keras.random`` accepts it as a seed generator.

    Parameters
    ----------
    stream, step : int or tensor of int32
        The stream of an epoch, and the step of a batch in it. They identify the draws.
    """

    def __init__(self, stream, step=0):
        self.stream, self.step, self.n_drawn = stream, step, 0

    def next(self, ordered=True):
        self.n_drawn += 1
        stream = ops.cast(self.stream, DTYPE) + (self.n_drawn - 1)
        return ops.stack([stream, ops.cast(self.step, DTYPE)])

    def uniform(self, shape, low=0.0):
        """Draw float32 numbers, uniform in [low, 1)."""
        return keras.random.uniform(shape, low, 1.0, dtype="float32", seed=self)

    def normal(self, shape):
        """Draw float32 numbers from the standard normal distribution."""
        return keras.random.normal(shape, dtype="float32", seed=self)
