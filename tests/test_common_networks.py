"""scikit-learn's own checks, for every other network under both its estimators."""

import pytest
from checks import parametrize_with_training_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae import AutoencoderTransformer, DenoisingAutoencoder
from skae.networks import ConvNetwork, CustomNetwork, SequenceNetwork


class Folding:
    """Takes rows of every length that the checks have, as so many steps."""

    def encode(self, x):
        self.input_shape = (x.shape[-1], 1)
        return super().encode(x)


class FoldingConv(Folding, ConvNetwork):
    def __init__(self, filters=(2,)):
        super().__init__(None, filters=filters)


class FoldingSequence(Folding, SequenceNetwork):
    def __init__(self, units=2):
        super().__init__(None, units=units, cell="gru")


class DenseBody:
    """A function whose name is the same in every process, as names of tests must be."""

    def __call__(self, x):
        from keras import layers

        return layers.Dense(4, activation="relu")(x)

    def __repr__(self):
        return "DenseBody()"


CUSTOM, *OTHERS = [
    kind(network=network, n_splits=1, max_iter=2)
    for network in (
        CustomNetwork(DenseBody(), DenseBody(), jit_compile=False),
        FoldingConv(),
        FoldingSequence(),
    )
    for kind in (AutoencoderTransformer, DenoisingAutoencoder)
]


@pytest.mark.slow
@parametrize_with_checks([CUSTOM])
def test_scikit_learn_checks(estimator, check, without_xla):
    """All of them, with a network of one's own."""
    check(estimator)


@pytest.mark.slow
@parametrize_with_training_checks(OTHERS)
def test_scikit_learn_checks_of_what_training_can_change(estimator, check, without_xla):
    check(estimator)
