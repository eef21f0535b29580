"""Losses per sample: summed over features, in the units of the estimator's score."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SquaredError:
    """Squared error, summed over features."""

    output_activation = "linear"
    unit_interval = False

    def per_sample(self, x, output):
        from keras import ops

        return ops.sum(ops.square(x - output), axis=-1)


@dataclass(frozen=True)
class BinaryCrossentropy:
    """Binary cross-entropy of a sigmoid output, from logits, summed over features.

    ``max(a, 0) - a x + log(1 + exp(-abs(a)))`` for a logit ``a``: the same number as
    from probabilities, with no clipping, so that gradients never vanish.
    """

    output_activation = "sigmoid"
    unit_interval = True

    def per_sample(self, x, output):
        from keras import ops

        return ops.sum(
            ops.relu(output) - output * x + ops.softplus(-ops.abs(output)), axis=-1
        )


LOSSES = {"squared_error": SquaredError(), "binary_crossentropy": BinaryCrossentropy()}
