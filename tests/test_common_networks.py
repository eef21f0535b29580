"""scikit-learn's own checks, for every other network under both its estimators."""

import keras
import pytest
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


#: As in `test_common.py`; the starts of the others are kept.
IN_BATCHES = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "A batch of weighted rows is another one than of repeated rows.",
)


OTHER_NETWORKS = [
    FoldingConv(),
    FoldingSequence(),
    CustomNetwork(DenseBody(), DenseBody(), jit_compile=False),
]


def trained_in_batches(estimator):
    """What differs where training leaves the start; TensorFlow's draws let some keep it."""
    network = estimator.network
    if isinstance(estimator, DenoisingAutoencoder):
        keeps = not isinstance(network, FoldingSequence)
    else:
        keeps = isinstance(network, CustomNetwork)
    on_tensorflow = keras.backend.backend() == "tensorflow"
    return {} if keeps and on_tensorflow else IN_BATCHES


@pytest.mark.slow
@parametrize_with_checks(
    [
        kind(network=network, max_iter=2)
        for kind in (AutoencoderTransformer, DenoisingAutoencoder)
        for network in OTHER_NETWORKS
    ],
    expected_failed_checks=trained_in_batches,
)
def test_scikit_learn_checks(estimator, check, without_xla):
    check(estimator)
