"""scikit-learn's own checks, for several settings of each estimator."""

import numpy as np
import pytest
from checks import XLA_CHECKS, parametrize_with_training_checks, run_checks
from scipy import sparse
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimators_partial_fit_n_features,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork
from skae.noise import MaskingNoise

SMALL = DenseNetwork(hidden_layer_sizes=(8,))

#: Which three epochs from random weights may well leave
pytestmark = pytest.mark.filterwarnings("ignore:No component is active")


class Squashing:
    """Brings rows of any range to [0, 1]; a Pipeline's own checks expect failures."""

    def _check_rows(self, *args, **keywords):
        X, row_shape = super()._check_rows(*args, **keywords)
        X = X.toarray() if sparse.issparse(X) else X
        return (1 + np.sin(X)) / 2, row_shape


class Squashed(Squashing, AutoencoderTransformer):
    pass


class SquashedVAE(Squashing, VAETransformer):
    pass


ESTIMATORS = [
    kind(max_iter=3, network=SMALL)
    for kind in (AutoencoderTransformer, DenoisingAutoencoder, VAETransformer)
]
#: With one split, as of many rows; those above have the five of few.
OTHER_SETTINGS = [
    AutoencoderTransformer(20, init="random", n_splits=1, max_iter=3, network=SMALL),
    Squashed(
        3,
        network=DenseNetwork(hidden_layer_sizes=()),
        code_activation="relu",
        loss="binary_crossentropy",
        n_splits=1,
        max_iter=3,
    ),
    AutoencoderTransformer(
        network=DenseNetwork((8, 4), dropout=0.2, batch_normalization=True),
        n_splits=1,
        max_iter=3,
    ),
    AutoencoderTransformer(warm_start=True, n_splits=1, max_iter=3, network=SMALL),
    DenoisingAutoencoder(noise=MaskingNoise(0.3), n_splits=1, max_iter=3, network=SMALL),
    VAETransformer(
        3, likelihood="gaussian_diag", beta=0.5, n_splits=1, max_iter=3, network=SMALL
    ),
    VAETransformer(
        init="random", early_stopping=False, n_splits=1, max_iter=3, network=SMALL
    ),
    SquashedVAE(likelihood="bernoulli", beta=0.01, n_splits=1, max_iter=3, network=SMALL),
]


#: As scikit-learn says of its own MLPRegressor. `test_weights.py` holds what they mean.
IN_BATCHES = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "A batch of weighted rows is another one than of repeated rows.",
)


def trained_in_batches(estimator):
    """What differs where training leaves the start, which is kept by the others here."""
    leaves = estimator.init == "random" or isinstance(estimator, Squashed)
    if estimator.n_splits == "auto":
        leaves = not isinstance(estimator, VAETransformer)
    return IN_BATCHES if leaves else {}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=trained_in_batches)
def test_scikit_learn_checks(estimator, check, without_xla):
    check(estimator)


@pytest.mark.slow
@parametrize_with_training_checks(
    OTHER_SETTINGS, expected_failed_checks=trained_in_batches
)
def test_scikit_learn_checks_of_other_settings(estimator, check, without_xla):
    """What training can change; the defaults above are given all checks."""
    check(estimator)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
@pytest.mark.parametrize("name", sorted(IN_BATCHES))
def test_weights_are_repetitions_where_the_start_is_kept(kind, name):
    run_checks(kind(max_iter=0, network=SMALL), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(XLA_CHECKS))
@pytest.mark.parametrize(
    "estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__
)
def test_scikit_learn_checks_of_what_xla_can_change(estimator, name, with_xla):
    """Fits that agree, dtypes, and rows or columns that are few; see `XLA_CHECKS`."""
    run_checks(estimator, name)


#: What scikit-learn runs on its own estimators only.
OWN_CHECKS = [
    check_dataframe_column_names_consistency,
    check_estimators_partial_fit_n_features,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
]


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # theirs
@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("check", OWN_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__
)
def test_checks_that_scikit_learn_runs_on_itself(estimator, check, without_xla):
    check(type(estimator).__name__, estimator)
