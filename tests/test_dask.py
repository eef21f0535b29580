"""Dask's arrays and frames: fitted to from their workers, transformed where they are."""

import os
import signal

import dask
import dask.array as da
import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._data import sources
from skae.networks import DenseNetwork

RNG = np.random.default_rng(0)
X = np.tanh(RNG.standard_normal((1200, 3)) @ RNG.standard_normal((3, 12)))
X = (X + 0.1 * RNG.standard_normal(X.shape)).astype(np.float32)
NAMES = [f"column {i}" for i in range(12)]
SMALL = DenseNetwork(hidden_layer_sizes=(8,))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
    ),
]


@pytest.fixture(scope="module")
def client():
    """Two workers, each a process."""
    dask.config.set({"distributed.comm.timeouts.connect": "60s"})
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(sources, "IN_MEMORY", 1000)


def array():
    return da.from_array(X, chunks=(250, 5))


def frame():
    return dd.from_pandas(pd.DataFrame(X, columns=NAMES), npartitions=5)


@pytest.mark.parametrize("rows", [array, frame])
@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(3, max_iter=0),
        DenoisingAutoencoder(3, max_iter=0, noise="masking"),
        VAETransformer(3, max_iter=0, likelihood="gaussian_diag"),
    ],
    ids=["ae", "dae", "vae"],
)
def test_the_start_is_found_on_the_workers(estimator, rows, client, little_memory):
    wanted = estimator.fit(X).transform(X)
    found = estimator.fit(rows())
    tolerance = 1e-2 if "diag" in str(estimator) else 1e-5
    like = pd.DataFrame(X, columns=NAMES) if rows is frame else X
    assert_allclose(found.transform(like), wanted, atol=tolerance)
    assert hasattr(found, "feature_names_in_") == (rows is frame)


def test_training_streams_from_the_workers(client, little_memory):
    model = AutoencoderTransformer(3, network=SMALL, random_state=0, max_iter=12)
    start = model.set_params(max_iter=0).fit(X).score(X)
    wanted = model.set_params(max_iter=12).fit(X).score(X)
    model.fit(array(), sample_weight=np.ones(len(X)))
    assert model.score(X) - start > 0.8 * (wanted - start) > 0
    assert model.score(array()) == pytest.approx(model.score(X))


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_what_is_asked_of_an_array_is_one(kind, client):
    model = kind(3, network=SMALL, max_iter=1).fit(X)
    for method in ("transform", "reconstruct", "score_samples", "score_features"):
        found, wanted = getattr(model, method)(array()), getattr(model, method)(X)
        assert isinstance(found, da.Array)  # nothing is computed yet
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        assert found.chunks[0] == array().chunks[0]
        assert_allclose(found.compute(), wanted, atol=1e-5)
    codes = model.transform(array())
    assert_allclose(model.inverse_transform(codes), model.reconstruct(X), atol=1e-5)


def test_what_is_asked_of_a_frame_is_one(client):
    model = AutoencoderTransformer(3, network=SMALL, max_iter=1)
    model.fit(pd.DataFrame(X, columns=NAMES))
    codes = model.transform(frame())
    assert isinstance(codes, dd.DataFrame)
    assert [*codes.columns] == [*model.get_feature_names_out()]
    assert codes.divisions == frame().divisions
    there = codes.compute()
    assert_array_equal(there.index, np.arange(len(X)))
    assert_allclose(there, model.transform(pd.DataFrame(X, columns=NAMES)), atol=1e-5)
    rows = model.reconstruct(frame())
    assert [*rows.columns] == NAMES
    assert rows.divisions == frame().divisions
    assert model.score_samples(frame()).compute().index.equals(there.index)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame()[NAMES[::-1]])
    other = frame().rename(columns={NAMES[0]: "another"})
    with pytest.raises(ValueError, match="feature names"):
        model.fit(frame()).partial_fit(other)


def test_images_and_unknown_lengths(client, little_memory):
    images = X.reshape(-1, 4, 3)
    model = AutoencoderTransformer(2, max_iter=0).fit(da.from_array(images, (300, 2, 3)))
    lazily = model.reconstruct(da.from_array(images, (300, 2, 3)))
    assert lazily.shape == images.shape
    assert_allclose(lazily, model.reconstruct(images), atol=1e-5)
    positive = array()[array()[:, 0] > 0]  # no one knows how many
    wanted = AutoencoderTransformer(2, max_iter=0).fit(X[X[:, 0] > 0])
    found = AutoencoderTransformer(2, max_iter=0).fit(positive)
    assert_allclose(found.components_, wanted.components_, atol=1e-5)


def test_bad_rows_are_refused_by_the_workers(client, little_memory):
    bad = da.where(array() > X.max() - 1e-6, np.inf, array())
    model = AutoencoderTransformer(2)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.fit(bad)
    assert not hasattr(model, "n_features_in_")
    model = DenoisingAutoencoder(2, max_iter=0).fit(array())
    with pytest.raises(ValueError, match="no other arguments than X"):
        model.score_samples(array(), X_clean=X)


GRID = {"n_components": [1, 2], "network__hidden_layer_sizes": [(4,), (8,)]}


def search(kind=GridSearchCV):
    model = AutoencoderTransformer(network=SMALL, max_iter=3, random_state=0)
    return kind(model, GRID, cv=2, refit=False, n_jobs=2)


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV])
def test_a_search_over_the_cluster_is_that_of_one_process(kind, client):
    options = {"random_state": 0} if kind is HalvingGridSearchCV else {}
    wanted = search(kind).set_params(n_jobs=1, **options).fit(X).cv_results_
    with joblib.parallel_config("dask"):
        found = search(kind).set_params(**options).fit(X).cv_results_
    assert_array_equal(found["mean_test_score"], wanted["mean_test_score"])


class DiesOnce(AutoencoderTransformer):
    """Takes its worker with it the first time."""

    def fit(self, X, y=None):
        from distributed import get_worker

        folder = get_worker().local_directory
        sign = os.path.join(os.path.dirname(folder), "died")
        if not os.path.exists(sign):
            open(sign, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X)


def test_a_killed_worker_costs_a_retry_not_the_search(client):
    wanted = search().set_params(n_jobs=1).fit(X).cv_results_["mean_test_score"]
    model = DiesOnce(network=SMALL, max_iter=3, random_state=0)
    with joblib.parallel_config("dask", scatter=[X]):  # on more than one worker
        found = GridSearchCV(model, GRID, cv=2, refit=False).fit(X)
    assert_array_equal(found.cv_results_["mean_test_score"], wanted)
