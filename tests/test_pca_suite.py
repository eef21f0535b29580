"""scikit-learn's own tests of PCA, taken by an autoencoder that is not trained."""

import itertools
import types

import numpy as np
import pytest
from sklearn import decomposition
from sklearn.decomposition.tests import test_pca as suite

from skae import AutoencoderTransformer, VAETransformer

SOLVERS = "svd_solver and what belongs to it: how PCA computes is not a parameter here"
FUNCTIONS = "calls private functions of scikit-learn's, and no estimator"
SCORE = "score is minus the squared error; VAETransformer has PCA's log-likelihood"
ARRAYS = "array API: arrays are NumPy's"

#: The tests that only PCA can pass, and why.
ONLY_PCA = {
    "test_sparse_pca_solver_error": SOLVERS,
    "test_n_components_mle_error": SOLVERS,
    "test_pca_svd_solver_auto": SOLVERS,
    "test_pca_randomized_svd_n_oversamples": SOLVERS,
    "test_pca_validation": "no n_components is too large: those beyond the rank are zero",
    "test_pca_score": SCORE,
    "test_pca_score3": SCORE,
    "test_assess_dimension_bad_rank": FUNCTIONS,
    "test_assess_dimension_rank_one": FUNCTIONS,
    "test_small_eigenvalues_mle": FUNCTIONS,
    "test_pca_array_api_compliance": ARRAYS,
    "test_pca_mle_array_api_compliance": ARRAYS,
    "test_array_api_error_and_warnings_on_unsupported_params": ARRAYS,
}

#: The tests that compare solvers, and the one which stays PCA's: the others are ours.
COMPARED = {
    "test_pca_solver_equivalence": "full",
    "test_pca_singular_values_consistency": "full",
    "test_pca_score_consistency_solvers": "full",
    "test_sparse_pca_auto_arpack_singular_values_consistency": "arpack",
}


class PCA(AutoencoderTransformer):
    """An autoencoder whose `n_components` may be None in PCA's sense: as many as can be."""

    def fit(self, X, y=None):
        if self.n_components is None:
            self.n_components = min(X.shape)
        return super().fit(X)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch, request):
    """Give scikit-learn's tests an autoencoder for PCA."""
    name = request.node.originalname
    scored = name == "test_pca_score_consistency_solvers"

    def made(n_components=None, *, whiten=False, random_state=None, **how):
        if how.get("svd_solver", "auto") == COMPARED.get(name):
            random_state = 0 if random_state is None else random_state
            how |= {"whiten": whiten, "random_state": random_state}
            return decomposition.PCA(n_components, **how)
        if scored:
            return VAETransformer(n_components, max_iter=0, random_state=random_state)
        return PCA(n_components, whiten=whiten, max_iter=0, random_state=random_state)

    monkeypatch.setattr(suite, "PCA", made)


@pytest.fixture
def global_random_seed():
    return 42


@pytest.fixture(params=[np.float32, np.float64])
def global_dtype(request):
    return request.param


def once(test):
    """The test with the first of PCA's solvers: to the autoencoder they are the same."""
    copy = types.FunctionType(test.__code__, test.__globals__, test.__name__)
    copy.pytestmark = []
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names, values, *others = mark.args
            solvers = {"solver", "svd_solver"} & set(names.replace(" ", "").split(","))
            values = list(values)[:1] if solvers else values
            mark = pytest.mark.parametrize(names, values, *others, **mark.kwargs).mark
        copy.pytestmark.append(mark)
    return copy


def spread(test):
    """Mark slow all cases but a dozen, which have each value of each parameter."""
    axes = sorted((mark.args for mark in test.pytestmark), key=lambda axis: len(axis[1]))
    cases = []
    for places in itertools.product(*(range(len(values)) for _, values in axes)):
        *others, i, j = places
        wanted = [(i + step * j) % len(axes[step][1]) for step, _ in enumerate(others)]
        values = [axis[1][place] for axis, place in zip(axes, places, strict=True)]
        marks = [] if others == wanted else [pytest.mark.slow]
        cases.append(pytest.param(*values, marks=marks))
    names = [name for name, _ in axes]
    test.pytestmark = [pytest.mark.parametrize(names, cases).mark]
    return test


globals().update(
    {
        name: once(test)
        for name, test in vars(suite).items()
        if name.startswith("test_") and name not in ONLY_PCA
    }
)
test_pca_sparse = spread(globals()["test_pca_sparse"])
