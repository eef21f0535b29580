"""A fitted linear transformer as `init`: does training start at what it makes of rows?"""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_wine
from sklearn.decomposition import (
    NMF,
    PCA,
    FactorAnalysis,
    FastICA,
    SparsePCA,
    TruncatedSVD,
)
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork

WINE = StandardScaler().fit_transform(load_wine().data)
SMALL = DenseNetwork((8,))
pytestmark = pytest.mark.usefixtures("without_xla")


def fitted(transformer, X=WINE):
    if isinstance(transformer, PLSRegression):
        return transformer.fit(X, load_wine().target)
    return transformer.fit(X)


@pytest.mark.parametrize(
    "transformer",
    [
        PCA(3),
        FastICA(3, random_state=0),
        SparsePCA(3, random_state=0, max_iter=20),
        TruncatedSVD(3),
        PLSRegression(3),
    ],
    ids=lambda transformer: type(transformer).__name__,
)
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_max_iter_0_is_the_transformer_up_to_rotation(transformer, offset):
    X = WINE + offset
    init = fitted(transformer, X)
    model = AutoencoderTransformer(3, init=init, max_iter=0).fit(X)
    codes = init.transform(X)
    assert_allclose(model.reconstruct(X), init.inverse_transform(codes), atol=1e-8)
    own = model.transform(X)
    design = np.column_stack([codes, np.ones(len(X))])
    found = design @ np.linalg.lstsq(design, own, rcond=None)[0]
    assert_allclose(found, own, atol=1e-8)
    covariance = np.cov(own.T)
    assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-8)


def test_of_nmf_the_decoder_is_kept_and_the_encoder_is_its_pseudoinverse():
    X = load_wine().data / load_wine().data.max(axis=0)
    nmf = NMF(3, random_state=0, max_iter=2000).fit(X)
    model = AutoencoderTransformer(3, init=nmf, max_iter=0).fit(X)
    expected = X @ np.linalg.pinv(nmf.components_) @ nmf.components_
    assert_allclose(model.reconstruct(X), expected, atol=1e-8)


def test_without_inverse_transform_components_decode():
    init = FactorAnalysis(2).fit(WINE)
    assert not hasattr(init, "inverse_transform")
    model = AutoencoderTransformer(2, init=init, max_iter=0).fit(WINE)
    expected = init.transform(WINE) @ init.components_ + init.mean_
    assert_allclose(model.reconstruct(WINE), expected, atol=1e-8)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
@pytest.mark.parametrize("k", [2, 5])
def test_the_vae_is_probabilistic_pca_on_the_axes(likelihood, k):
    pca, ica = PCA(k).fit(WINE), FastICA(k, random_state=0).fit(WINE)
    vaes = [
        VAETransformer(k, likelihood=likelihood, init=init, max_iter=0).fit(WINE)
        for init in (pca, ica)
    ]
    for vae in vaes:  # the axes of FastICA span those of PCA, with which it whitens
        assert vae.score(WINE) == pytest.approx(pca.score(WINE), abs=1e-3)


def test_other_likelihoods_of_the_vae_are_refused():
    X = (WINE > 0).astype(float)
    vae = VAETransformer(2, likelihood="bernoulli", init=PCA(2).fit(X), max_iter=0)
    with pytest.raises(ValueError, match="needs likelihood='gaussian' or"):
        vae.fit(X)


def test_training_starts_there_and_is_kept_where_it_is_better():
    init = TruncatedSVD(2).fit(WINE + 3)
    start = AutoencoderTransformer(2, init=init, max_iter=0).fit(WINE + 3)
    model = clone(start).set_params(max_iter=60, network=SMALL, random_state=0)
    assert model.fit(WINE + 3).score(WINE + 3) > start.score(WINE + 3)


def test_a_denoiser_starts_there_as_well():
    init = FastICA(3, random_state=0).fit(WINE)
    model = DenoisingAutoencoder(3, init=init, max_iter=0).fit(WINE)
    assert_allclose(
        model.reconstruct(WINE), init.inverse_transform(init.transform(WINE)), atol=1e-8
    )


def test_other_losses_have_a_decoder_of_their_own():
    X = (WINE > 0).astype(float)
    init = PCA(3).fit(X)
    given = AutoencoderTransformer(3, loss="binary_crossentropy", init=init, max_iter=0)
    own = clone(given).set_params(init="linear")
    assert_allclose(given.fit(X).reconstruct(X), own.fit(X).reconstruct(X), atol=1e-6)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_missing_values_are_imputed_by_probabilistic_pca(kind):
    missing = np.where(np.random.default_rng(0).random(WINE.shape) < 0.1, np.nan, WINE)
    init = PCA(3).fit(WINE)
    model = kind(3, init=init, max_iter=0).fit(missing)
    filled = model.impute(missing)
    assert np.isfinite(filled).all()
    there = ~np.isnan(missing)
    assert_array_equal(filled[there], missing[there])
    error = np.square(filled - WINE)[~there].mean()
    assert error < 0.9 * np.square(WINE[~there]).mean()


def test_clones_searches_streams_and_files_have_it(tmp_path):
    init = FastICA(2, random_state=0).fit(WINE)
    model = AutoencoderTransformer(2, init=init, max_iter=0)
    assert clone(model).init is init
    assert np.isfinite(cross_val_score(model, WINE, cv=3)).all()
    whole = clone(model).fit(WINE).reconstruct(WINE)
    stream = clone(model).partial_fit(WINE[:60]).partial_fit(WINE[60:])
    assert_allclose(stream.reconstruct(WINE), whole, atol=1e-8)
    with pytest.raises(TypeError, match="init=FastICA"):
        model.fit(WINE).save(tmp_path / "model.skae")
    model.set_params(init="linear").save(tmp_path / "model.skae")
    loaded = skae.load(tmp_path / "model.skae")
    assert_array_equal(loaded.reconstruct(WINE), model.reconstruct(WINE))


def test_frames_and_sparse_rows(tmp_path):
    pd, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    frame = pd.DataFrame(WINE).add_prefix("x")
    init = TruncatedSVD(2).fit(frame)
    model = AutoencoderTransformer(2, init=init, max_iter=0)
    expected = init.inverse_transform(init.transform(frame))
    assert_allclose(model.fit(frame).reconstruct(frame), expected, atol=1e-8)
    rows = sparse.csr_array(WINE)
    init = TruncatedSVD(2).fit(rows)
    expected = init.inverse_transform(init.transform(rows))
    model = AutoencoderTransformer(2, init=init, max_iter=0).fit(rows)
    assert_allclose(model.reconstruct(rows), expected, atol=1e-8)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_weights_are_repetitions(kind):
    weight = np.random.default_rng(0).integers(0, 3, len(WINE))
    init = FastICA(3, random_state=0).fit(WINE)
    model = kind(3, init=init, max_iter=0)
    weighted = clone(model).fit(WINE, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(WINE, weight, axis=0))
    assert_allclose(weighted.reconstruct(WINE), repeated.reconstruct(WINE), atol=1e-8)
    assert weighted.score(WINE) == pytest.approx(repeated.score(WINE), abs=1e-8)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_stored_rows_start_there_as_well(kind, tmp_path, monkeypatch):
    from skae._data import sources

    np.save(tmp_path / "rows.npy", WINE)
    init = FastICA(3, random_state=0).fit(WINE)
    model = kind(3, init=init, max_iter=0)
    expected = clone(model).fit(WINE)
    monkeypatch.setattr(sources, "IN_MEMORY", 0)
    monkeypatch.setattr(sources, "BLOCK_VALUES", 13 * 50)
    found = clone(model).fit(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert_allclose(found.reconstruct(WINE), expected.reconstruct(WINE), atol=1e-8)
    assert found.score(WINE) == pytest.approx(expected.score(WINE), abs=1e-8)


def test_more_features_than_samples():
    X = np.random.default_rng(0).normal(size=(20, 60))
    pca = PCA(4).fit(X)
    model = AutoencoderTransformer(4, init=pca, max_iter=0).fit(X)
    expected = pca.inverse_transform(pca.transform(X))
    assert_allclose(model.reconstruct(X), expected, atol=1e-8)


@pytest.mark.parametrize(
    "loss",
    [
        "poisson",
        "categorical_crossentropy",
        [("squared_error", slice(0, 6)), ("binary_crossentropy", slice(6, 13))],
    ],
    ids=["counts", "classes", "by column"],
)
@pytest.mark.parametrize("kind", [AutoencoderTransformer, DenoisingAutoencoder])
def test_rows_that_the_network_sees_otherwise_are_refused(kind, loss):
    X = np.eye(13)[np.arange(len(WINE)) % 13]
    model = kind(3, loss=loss, init=PCA(3).fit(X), max_iter=0)
    with pytest.raises(ValueError, match="init: a fitted transformer needs a loss of"):
        model.fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"init": PCA(3)}, "not fitted"),
        ({"init": PCA(3).fit(WINE)}, "init has 3 components, and n_components must be"),
        (
            {"init": PCA(2).fit(WINE[:, :5])},
            "init must be fitted to the 13 features of X",
        ),
        (
            {"init": StandardScaler().fit(WINE)},
            "init must be a fitted linear transformer",
        ),
        (
            {"init": PCA(2).fit(WINE), "code_activation": "relu"},
            "init, a fitted transformer, needs a dense, linear code",
        ),
        ({"init": "pca"}, "The 'init' parameter"),
    ],
)
def test_what_is_no_start_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(2, max_iter=0, **parameters).fit(WINE)
