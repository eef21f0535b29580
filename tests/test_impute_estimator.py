"""Does AutoencoderImputer stand where scikit-learn's imputers stand, with the right values?"""

import itertools

import pytest
from sklearn.impute.tests import test_common as theirs
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae.impute import AutoencoderImputer


@parametrize_with_checks([AutoencoderImputer()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def cases():
    """scikit-learn's tests of all imputers, each with its arguments."""
    for name, test in vars(theirs).items():
        marks = {
            mark.args[0]: mark.args[1]
            for mark in getattr(test, "pytestmark", [])
            if mark.name == "parametrize"
        }
        if "imputer" in marks and "sparse" not in name:
            del marks["imputer"]
            for values in itertools.product(*marks.values()):
                yield pytest.param(
                    test, dict(zip(marks, values, strict=True)), id=f"{name}-{values}"
                )


@pytest.mark.parametrize(("test", "arguments"), list(cases()))
def test_scikit_learns_tests_of_imputers(test, arguments):
    test(imputer=AutoencoderImputer(random_state=0), **arguments)
