"""scikit-learn's own checks, for several settings of each estimator, no exceptions."""

import numpy as np
import pytest
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

from skae import AutoencoderTransformer, VAETransformer
from skae.networks import DenseNetwork

SMALL = DenseNetwork(hidden_layer_sizes=(8,))


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
    AutoencoderTransformer(max_iter=3, network=SMALL),
    AutoencoderTransformer(20, init="random", max_iter=3, network=SMALL),
    Squashed(
        3,
        network=DenseNetwork(hidden_layer_sizes=()),
        code_activation="relu",
        loss="binary_crossentropy",
        max_iter=3,
    ),
    AutoencoderTransformer(
        network=DenseNetwork((8, 4), dropout=0.2, batch_normalization=True), max_iter=3
    ),
    AutoencoderTransformer(warm_start=True, max_iter=3, network=SMALL),
    AutoencoderTransformer(early_stopping=False, max_iter=3, network=SMALL),
    SquashedVAE(likelihood="bernoulli", beta=0.01, max_iter=3, network=SMALL),
]


@parametrize_with_checks(ESTIMATORS[:1])
def test_scikit_learn_checks_with_xla(estimator, check):
    check(estimator)


@parametrize_with_checks(ESTIMATORS[1:])
def test_scikit_learn_checks(estimator, check, without_xla):
    check(estimator)


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
    "estimator",
    ESTIMATORS,
    ids=lambda estimator: type(estimator).__name__,
)
def test_checks_that_scikit_learn_runs_on_itself(estimator, check, without_xla):
    check(type(estimator).__name__, estimator)
