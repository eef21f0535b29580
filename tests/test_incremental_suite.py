"""scikit-learn's own tests of IncrementalPCA, taken by an autoencoder that is not trained."""

import pytest
from sklearn.decomposition.tests import test_incremental_pca as suite

from skae import AutoencoderTransformer

#: The tests that only IncrementalPCA can pass, and why.
ONLY_THEIRS = {
    "test_incremental_pca_validation": "ours takes fewer rows than components",
    "test_incremental_pca_partial_fit_float_division": "sets n_samples_seen_",
    "test_incremental_pca_sparse": "ends with an error where ours takes sparse rows",
}


class IncrementalPCA(AutoencoderTransformer):
    """An autoencoder whose `n_components` may be None in PCA's sense, and `fit` in parts."""

    def fit(self, X, y=None):
        self._wanted(X)
        size = self.batch_size
        if size == "auto":
            return super().fit(X)
        parts = type(self)(**self.get_params())
        for start in range(0, X.shape[0], size):
            parts.partial_fit(X[start : start + size])
        vars(self).update(vars(parts))
        return self

    def partial_fit(self, X, y=None):
        self._wanted(X)
        return super().partial_fit(X)

    def _wanted(self, X):
        if self.n_components is None:
            self.n_components = min(X.shape)


def made(n_components=None, *, whiten=False, batch_size="auto"):
    return IncrementalPCA(
        n_components, whiten=whiten, batch_size=batch_size, max_iter=0, random_state=0
    )


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(suite, "IncrementalPCA", made)


@pytest.fixture
def global_random_seed():
    return 42


globals().update(
    {
        name: test
        for name, test in vars(suite).items()
        if name.startswith("test_") and name not in ONLY_THEIRS
    }
)
