"""Which of scikit-learn's checks are run for the further settings of an estimator.

An estimator's defaults are given all of them. Parameters, tags, messages and types are
settled before training, the same for every setting, and are not asked for again.
"""

import pytest
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

#: What XLA can change: the numbers that come out of training, so whether two fits agree,
#: in either dtype, and whether a fit of few rows or columns compiles at all.
XLA_CHECKS = {
    "check_estimators_dtypes",
    "check_dtype_object",
    "check_estimators_pickle",
    "check_fit2d_1sample",
    "check_fit2d_1feature",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_pipeline_consistency",
    "check_transformer_general",
    "check_transformer_preserve_dtypes",
}

#: What a loss, a start, a network or a detector's model can change: how the values of
#: sparse rows, weights and missing values get to training, and how many epochs it takes.
TRAINING_CHECKS = XLA_CHECKS | {
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimators_nan_inf",  # of networks that take no missing values
    "check_outliers_fit_predict",
    "check_outliers_train",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    "check_transformer_n_iter",
}


def parametrize_with_training_checks(estimators, **keywords):
    """Parametrize by `TRAINING_CHECKS`, as scikit-learn's decorator does by all checks."""
    every = parametrize_with_checks(estimators, **keywords)
    names, cases = every.args
    checks = [getattr(case, "values", case)[1] for case in cases]
    chosen = [
        case
        for case, check in zip(cases, checks, strict=True)
        if check.func.__name__ in TRAINING_CHECKS
    ]
    return pytest.mark.parametrize(names, chosen, **every.kwargs)


def run_checks(estimator, name):
    """Run those of scikit-learn's checks that have this name."""
    checks = [
        check
        for _, check in estimator_checks_generator(estimator)
        if check.func.__name__ == name
    ]
    assert checks
    for check in checks:
        check(estimator)
