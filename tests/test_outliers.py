"""Does the detector tell outliers, of any model, as scikit-learn's detectors do?"""

import pickle
from dataclasses import replace
from functools import partial

import dask.array
import dask.dataframe
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from checks import parametrize_with_training_checks
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.stats import median_abs_deviation, multivariate_normal, multivariate_t
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
)
from sklearn.decomposition import NMF, PCA, FactorAnalysis, TruncatedSVD
from sklearn.ensemble import IsolationForest
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    parametrize_with_checks,
)

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._model.mixture import Mixture
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
from skae.outliers import ReconstructionOutlierDetector

SMALL = DenseNetwork(hidden_layer_sizes=(8,))
QUICK = {"network": SMALL, "n_splits": 1, "max_iter": 3, "random_state": 0}

X, y = load_breast_cancer(return_X_y=True)
BENIGN, MALIGNANT = X[y == 1], X[y == 0]
SCALER = StandardScaler().fit(BENIGN)
BENIGN, MALIGNANT = SCALER.transform(BENIGN), SCALER.transform(MALIGNANT)

DETECTORS = [
    ReconstructionOutlierDetector(PCA(1)),
    ReconstructionOutlierDetector(AutoencoderTransformer(**QUICK)),
]
OTHER_DETECTORS = [
    ReconstructionOutlierDetector(TruncatedSVD(1, algorithm="arpack")),
    ReconstructionOutlierDetector(VAETransformer(likelihood="gaussian_diag", **QUICK)),
    ReconstructionOutlierDetector(DenoisingAutoencoder(1, **QUICK), contamination=0.5),
    ReconstructionOutlierDetector(make_pipeline(StandardScaler(), PCA(1))),
]


#: `test_weights_are_how_often_samples_count` holds what weights mean.
BY_CHANCE = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "PCA takes no weights, and folds and batches of weighted rows are others.",
)


def expected(_):
    return BY_CHANCE


@parametrize_with_checks(DETECTORS, expected_failed_checks=expected)
def test_scikit_learn_checks(estimator, check, without_xla):
    check(estimator)


@parametrize_with_checks(
    [ReconstructionOutlierDetector(PCA(1), novelty=False)],
    expected_failed_checks=expected,
)
def test_scikit_learn_checks_where_contamination_is_of_training_samples(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [ReconstructionOutlierDetector()], expected_failed_checks=expected
)
def test_scikit_learn_checks_of_the_default(estimator, check, without_xla):
    check(estimator)


@pytest.mark.slow
@parametrize_with_training_checks(OTHER_DETECTORS, expected_failed_checks=expected)
def test_scikit_learn_checks_of_other_models(estimator, check, without_xla):
    check(estimator)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # theirs
@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize(
    "check", [check_dataframe_column_names_consistency, check_param_validation]
)
def test_checks_that_scikit_learn_runs_on_itself(check, without_xla):
    for detector in DETECTORS:
        check(type(detector).__name__, detector)


# -- what it says


@pytest.mark.parametrize(
    "model",
    [
        PCA(2),
        TruncatedSVD(2, random_state=0),
        FactorAnalysis(2),
        KernelDensity(),
        AutoencoderTransformer(2, **QUICK),
        VAETransformer(2, likelihood="gaussian_diag", **QUICK),
        make_pipeline(PCA(10), AutoencoderTransformer(2, max_iter=0)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_model_tells_malignant_from_benign(model, without_xla):
    detector = ReconstructionOutlierDetector(model).fit(BENIGN[:250])
    usual, outliers = map(detector.score_samples, (BENIGN[250:], MALIGNANT))
    truth = np.repeat([1, 0], [len(usual), len(outliers)])
    assert roc_auc_score(truth, np.concatenate([usual, outliers])) > 0.9
    assert (detector.predict(MALIGNANT) == -1).mean() > 0.75
    assert not hasattr(model, "n_features_in_")


def test_the_models_own_score_goes_before_its_reconstruction():
    pca = PCA(2).fit(BENIGN)
    detector = ReconstructionOutlierDetector(PCA(2), score_by="model").fit(BENIGN)
    assert_allclose(detector.score_samples(MALIGNANT), pca.score_samples(MALIGNANT))


def test_without_a_score_it_is_the_squared_error():
    svd = TruncatedSVD(2, random_state=0).fit(BENIGN)
    detector = ReconstructionOutlierDetector(svd, score_by="model").fit(BENIGN)
    errors = (MALIGNANT - svd.inverse_transform(svd.transform(MALIGNANT))) ** 2
    assert_allclose(detector.score_samples(MALIGNANT), -errors.sum(axis=1))
    assert_allclose(detector.score_features(MALIGNANT), -errors)


def test_errors_and_codes_count_by_how_large_they_usually_are():
    pca = PCA(2).fit(BENIGN)
    detector = ReconstructionOutlierDetector(PCA(2)).fit(BENIGN)
    least = 1e-3 * BENIGN.var(axis=0).mean()
    usual = np.mean((BENIGN - pca.inverse_transform(pca.transform(BENIGN))) ** 2, axis=0)
    assert_allclose(detector.error_variance_, usual + least)
    codes = pca.transform(MALIGNANT)
    errors = (MALIGNANT - pca.inverse_transform(codes)) ** 2 / (usual + least)
    of_code = np.sum(
        [
            weight * multivariate_t(mean, covariance, df=4).pdf(codes)
            for weight, mean, covariance in zip(
                detector.code_weights_,
                detector.code_means_,
                detector.code_covariances_,
                strict=True,
            )
        ],
        axis=0,
    )
    scores = np.log(of_code) - np.log1p(errors).sum(axis=1)
    assert_allclose(detector.score_samples(MALIGNANT), scores)
    shares = detector.score_features(MALIGNANT)
    assert_allclose(shares, -np.log1p(errors) + np.log(of_code)[:, None] / 30)
    with pytest.raises(AttributeError, match="code_means_"):
        _ = ReconstructionOutlierDetector(PCA(2), score_by="model").fit(X).code_means_


def test_the_density_of_codes_of_one_group_is_that_of_all():
    Z = np.random.default_rng(0).normal(size=(5000, 2)) @ [[2.0, 1.0], [0.0, 1.0]]
    mixture = Mixture.by_bic(Z, np.ones(5000), 0)
    assert len(mixture.weights) == 1
    wanted = multivariate_normal(Z.mean(axis=0), np.cov(Z.T)).logpdf(Z)
    assert_allclose(mixture.log_density(Z), wanted, atol=0.05)


def test_few_wide_codes_have_one_tied_normal():
    Z = np.random.default_rng(0).normal(size=(20, 50))
    mixture = Mixture.by_bic(Z, np.ones(20), 0)
    assert len(mixture.weights) == 1
    new = np.random.default_rng(1).normal(size=(20, 50))
    gap = mixture.log_density(Z).mean() - mixture.log_density(new).mean()
    assert 0 < gap < 50


def test_between_two_clusters_is_nothing_usual():
    """scikit-learn's own example of outlier detection: two clusters, and noise."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[2.0, 2.0], [-2.0, -2.0]], 150, axis=0)
    clusters = centres + 0.3 * rng.normal(size=centres.shape)
    inliers = centres + 0.3 * rng.normal(size=centres.shape)
    outliers = rng.uniform(-6, 6, size=(500, 2))
    off = np.abs(outliers[:, None] - [[2.0, 2.0], [-2.0, -2.0]]).max(axis=2).min(axis=1)
    outliers = outliers[off > 1]
    detector = ReconstructionOutlierDetector(VAETransformer(0.8, max_iter=0))
    usual, odd = map(detector.fit(clusters).score_samples, (inliers, outliers))
    truth = np.repeat([1, 0], [len(usual), len(odd)])
    assert roc_auc_score(truth, np.concatenate([usual, odd])) >= 0.98
    assert detector.predict([[0.0, 0.0]]) == -1
    assert len(detector.code_weights_) == 2


def test_one_feature_alone_does_not_decide():
    """Errors of all features a little off count for more than one that is far off."""
    directions = PCA(2).fit(BENIGN).components_
    noise = np.random.default_rng(0).normal(size=(40, 30)) * BENIGN.std(axis=0)
    noise -= noise @ directions.T @ directions
    all_off = BENIGN[:40] + 3 * noise
    one_off = BENIGN[:40].copy()
    one_off[:, 4] += 30
    by_errors, by_model = (
        ReconstructionOutlierDetector(PCA(2), score_by=kind).fit(BENIGN)
        for kind in ("robust", "model")
    )
    assert (
        np.mean(by_errors.score_samples(all_off) < by_errors.score_samples(one_off)) > 0.9
    )
    assert (
        np.mean(by_model.score_samples(all_off) > by_model.score_samples(one_off)) > 0.9
    )


def test_features_that_never_change_are_no_obstacle():
    rows = np.c_[BENIGN, np.ones(len(BENIGN))]
    detector = ReconstructionOutlierDetector(PCA(2)).fit(rows)
    assert np.isfinite(detector.score_samples(rows)).all()
    odd = rows[:1] + np.eye(31)[30:]
    assert detector.score_features(odd)[0].argmin() == 30


# -- the threshold


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_of_the_training_samples_it_leaves_out_the_share_that_was_asked_for(
    contamination,
):
    detector = ReconstructionOutlierDetector(
        PCA(2), contamination=contamination, novelty=False
    )
    share = (detector.fit_predict(BENIGN) == -1).mean()
    assert_allclose(share, contamination, atol=1 / len(BENIGN))
    scores = detector.score_samples(BENIGN)
    assert detector.offset_ == pytest.approx(np.percentile(scores, 100 * contamination))
    assert_allclose(detector.decision_function(BENIGN), scores - detector.offset_)


def digits_of(number):
    X, y = load_digits(return_X_y=True)
    return X[y == number]


TABLES = {
    "benign": lambda: BENIGN,
    "wine": lambda: load_wine().data,
    "diabetes": lambda: load_diabetes().data,
    "digits 3": lambda: digits_of(3),
}


def false_alarms(name, model, **params):
    """The fraction of fresh inliers that are flagged, of three halves of a table."""
    found = []
    for seed in range(3):
        halves = train_test_split(TABLES[name](), test_size=0.5, random_state=seed)
        train, fresh = map(StandardScaler().fit(halves[0]).transform, halves)
        detector = ReconstructionOutlierDetector(model, **params).fit(train)
        found.append(np.mean(detector.predict(fresh) == -1))
    return np.mean(found)


@pytest.mark.parametrize("model", [VAETransformer(0.8, max_iter=0), PCA(0.8)])
@pytest.mark.parametrize("name", TABLES)
def test_new_inliers_are_flagged_as_often_as_was_promised(name, model):
    assert false_alarms(name, model) == pytest.approx(0.1, abs=0.05)
    assert false_alarms(name, model, contamination="auto") < 0.06


@pytest.mark.parametrize("name", ["benign", "digits 3"])
def test_so_are_those_of_a_trained_model(name, without_xla):
    """By the training samples' own scores .15 and .37 are flagged."""
    model = AutoencoderTransformer(0.8, random_state=0, network=SMALL, max_iter=30)
    assert false_alarms(name, model) == pytest.approx(0.1, abs=0.05)
    assert false_alarms(name, model, novelty=False) > 0.14


def test_the_folds_of_a_fit_are_found_in_a_pipeline(without_xla):
    model = AutoencoderTransformer(2, random_state=0, network=SMALL, max_iter=5)
    pipeline = make_pipeline(StandardScaler(), model)
    found, wanted = (
        ReconstructionOutlierDetector(one, score_by="model") for one in (pipeline, model)
    )
    wanted.fit(StandardScaler().fit_transform(X))
    assert found.fit(X).offset_ == pytest.approx(wanted.offset_, rel=1e-4)


def test_auto_is_three_deviations_below_the_median():
    params = {"contamination": "auto", "novelty": False}
    detector = ReconstructionOutlierDetector(PCA(2), **params).fit(BENIGN)
    scores = detector.score_samples(BENIGN)
    wanted = np.median(scores) - 3 * median_abs_deviation(scores, scale=1 / 1.4826)
    assert detector.offset_ == pytest.approx(wanted)


def test_a_threshold_of_training_samples_comes_with_a_warning():
    with pytest.warns(UserWarning, match=r"scores of the training samples.*four fifths"):
        ReconstructionOutlierDetector(PCA(9)).fit(BENIGN[:10])


def test_new_samples_are_not_those_of_fit():
    with pytest.raises(AttributeError) as found:
        ReconstructionOutlierDetector(PCA(2)).fit_predict(BENIGN)
    assert "novelty=False" in str(found.value.__cause__)


# -- weights


def test_weights_are_how_often_samples_count():
    rng = np.random.default_rng(0)
    times = rng.integers(0, 4, size=len(BENIGN))
    model = VAETransformer(3, max_iter=0, random_state=0)
    weighted, repeated = (
        ReconstructionOutlierDetector(model, novelty=False) for _ in range(2)
    )
    weighted.fit(BENIGN, sample_weight=times)
    repeated.fit(np.repeat(BENIGN, times, axis=0))
    scores = [one.score_samples(MALIGNANT) for one in (weighted, repeated)]
    assert_allclose(*scores, rtol=1e-4)
    assert weighted.offset_ == pytest.approx(repeated.offset_, rel=1e-4)


def test_weights_reach_the_last_step_and_no_model_that_takes_none():
    times = np.repeat([1.0, 0.0], [300, len(BENIGN) - 300])
    for model in (make_pipeline(StandardScaler(), VAETransformer(3, max_iter=0)), PCA(2)):
        found = ReconstructionOutlierDetector(model).fit(BENIGN, sample_weight=times)
        wanted = ReconstructionOutlierDetector(model).fit(BENIGN[:300])
        assert_allclose(*(d.score_samples(MALIGNANT) for d in (found, wanted)), rtol=1e-5)
        assert found.offset_ == pytest.approx(wanted.offset_, rel=1e-5)


def test_metadata_are_routed_to_the_model():
    times = np.linspace(0.5, 2, len(BENIGN))
    with config_context(enable_metadata_routing=True):
        model = VAETransformer(3, max_iter=0).set_fit_request(sample_weight=True)
        routed = ReconstructionOutlierDetector(model).fit(BENIGN, sample_weight=times)
    wanted = ReconstructionOutlierDetector(VAETransformer(3, max_iter=0))
    wanted.fit(BENIGN, sample_weight=times)
    assert_allclose(*(d.score_samples(MALIGNANT) for d in (routed, wanted)))
    with pytest.raises(ValueError, match="X_val"):
        wanted.fit(BENIGN, X_val=BENIGN)


# -- files


@pytest.mark.parametrize("score_by", ["robust", "model"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_file_holds_a_detector(tmp_path, score_by, missing):
    rows = BENIGN.copy()
    if missing:
        rows[np.random.default_rng(0).random(rows.shape) < 0.1] = np.nan
    model = VAETransformer(3, max_iter=0)
    detector = ReconstructionOutlierDetector(
        model, score_by=score_by, contamination="auto"
    ).fit(rows)
    detector.save(tmp_path / "detector.skae")
    loaded = skae.load(tmp_path / "detector.skae")
    assert repr(loaded) == repr(detector)
    assert_array_equal(loaded.decision_function(rows), detector.decision_function(rows))
    assert_array_equal(loaded.score_features(rows), detector.score_features(rows))


def test_a_file_holds_the_default_and_no_other_models(tmp_path, without_xla):
    detector = ReconstructionOutlierDetector().fit(BENIGN[:60])
    detector.save(tmp_path / "detector.skae")
    loaded = skae.load(tmp_path / "detector.skae")
    assert loaded.estimator is None
    assert_array_equal(loaded.predict(BENIGN), detector.predict(BENIGN))
    with pytest.raises(TypeError, match=r"save needs.*PCA\(n_components=2\).*Pickle"):
        ReconstructionOutlierDetector(PCA(2)).fit(X).save(tmp_path / "pca.skae")


def test_a_file_whose_detector_does_not_fit_is_refused(tmp_path):
    detector = ReconstructionOutlierDetector(VAETransformer(3, max_iter=0)).fit(X)
    robust = detector._robust
    means = robust.codes.means[:, :2]
    forged = replace(robust, codes=replace(robust.codes, means=means))
    for one in (forged, robust.moments, replace(robust, error_variance=np.ones(3))):
        detector._robust = one
        detector.save(tmp_path / "detector.skae")
        with pytest.raises(ValueError, match="can't be loaded"):
            skae.load(tmp_path / "detector.skae")


# -- the default


def test_none_is_a_vae_that_is_the_same_at_each_fit(without_xla):
    detectors = [ReconstructionOutlierDetector().fit(BENIGN[:60]) for _ in range(2)]
    assert isinstance(detectors[0].estimator_, VAETransformer)
    assert_array_equal(*(detector.score_samples(MALIGNANT) for detector in detectors))


# -- features


@pytest.mark.parametrize(
    "model",
    [AutoencoderTransformer(2, **QUICK), DenoisingAutoencoder(2, **QUICK)],
    ids=lambda model: type(model).__name__,
)
def test_features_share_the_score(model, without_xla):
    detector = ReconstructionOutlierDetector(model, score_by="model").fit(BENIGN)
    shares = detector.score_features(MALIGNANT)
    assert shares.shape == MALIGNANT.shape
    assert_allclose(shares.sum(axis=1), detector.score_samples(MALIGNANT))
    assert_array_equal(shares, detector.estimator_.score_features(MALIGNANT))


def test_clean_rows_are_what_features_are_held_against(without_xla):
    denoiser = DenoisingAutoencoder(2, **QUICK).fit(BENIGN)
    noisy = BENIGN + 1
    shares = denoiser.score_features(noisy, X_clean=BENIGN)
    assert_allclose(shares, -((denoiser.reconstruct(noisy) - BENIGN) ** 2))
    assert_allclose(shares.sum(axis=1), denoiser.score_samples(noisy, X_clean=BENIGN))


@pytest.mark.parametrize(
    "model",
    [
        PCA(5),
        AutoencoderTransformer(5, **QUICK),
        VAETransformer(5, likelihood="gaussian_diag", **QUICK),
        make_pipeline(StandardScaler(), PCA(5)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_feature_that_is_off_is_found(model, without_xla):
    off = BENIGN.copy()
    column = np.arange(len(off)) % off.shape[1]
    off[np.arange(len(off)), column] += 8
    detector = ReconstructionOutlierDetector(model).fit(BENIGN)
    found = detector.score_features(off).argmin(axis=1)
    assert (found == column).mean() > 0.8


def test_features_of_a_density_are_told_by_their_own_noise():
    """An error that is small for other features is large where there is no noise."""
    steady = np.c_[BENIGN[:, :10], BENIGN[:, 0] + 0.001 * BENIGN[:, 29]]
    model = VAETransformer(3, likelihood="gaussian_diag", max_iter=0)
    detector = ReconstructionOutlierDetector(model, score_by="model").fit(steady)
    odd = steady[:1].copy()
    odd[0, 10] += 0.3
    shares = detector.score_features(odd)
    assert shares[0].argmin() in (0, 10)
    assert_allclose(shares.sum(axis=1), detector.score_samples(odd))


def test_a_model_that_only_has_a_density_has_no_features_to_score():
    assert not hasattr(ReconstructionOutlierDetector(KernelDensity()), "score_features")


# -- rows of any kind


def test_images_and_series_come_and_go_in_their_shape(without_xla):
    images = np.random.default_rng(0).random((30, 6, 6, 1))
    network = ConvNetwork((6, 6, 1), filters=(2,))
    model = AutoencoderTransformer(2, network=network, max_iter=1, random_state=0)
    detector = ReconstructionOutlierDetector(model).fit(images)
    shares = detector.score_features(images)
    assert shares.shape == images.shape
    assert_allclose(shares.sum(axis=(1, 2, 3)), detector.score_samples(images))


def test_steps_that_a_series_does_not_have_score_nothing(without_xla):
    series = np.random.default_rng(0).normal(size=(30, 5, 2))
    series[:10, 3:] = np.nan
    network = SequenceNetwork((5, 2), units=2)
    model = AutoencoderTransformer(2, network=network, max_iter=1, random_state=0)
    detector = ReconstructionOutlierDetector(model).fit(series)
    shares = detector.score_features(series)
    assert (shares[:10, 3:] == 0).all()
    assert_allclose(shares.sum(axis=(1, 2)), detector.score_samples(series))


@pytest.mark.parametrize(
    "model",
    [
        AutoencoderTransformer(2, **QUICK),
        NMF(2, init="nndsvda", tol=0.1),
        TruncatedSVD(2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_sparse_rows_go_where_the_model_takes_them(model, without_xla):
    rows = sparse.random(60, 8, density=0.3, format="csr", random_state=0)
    detector = ReconstructionOutlierDetector(model).fit(rows)
    assert_allclose(
        detector.score_samples(rows), detector.score_samples(rows.toarray()), rtol=1e-5
    )
    assert detector.score_features(rows).shape == rows.shape


def test_frames_keep_their_names(without_xla):
    frame = load_breast_cancer(as_frame=True).data
    detector = ReconstructionOutlierDetector(PCA(2)).fit(frame)
    assert list(detector.feature_names_in_) == list(frame.columns)
    assert detector.n_features_in_ == 30
    with pytest.raises(ValueError, match="feature names should match"):
        detector.predict(frame.rename(columns={"mean radius": "radius"}))


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "dask", "dask array"])
def test_frames_of_any_kind_and_arrays_of_dask_have_folds(kind):
    frame = load_wine(as_frame=True).data
    made = {
        "polars": lambda: pl.from_pandas(frame),
        "pyarrow": lambda: pa.Table.from_pandas(frame),
        "dask": lambda: dask.dataframe.from_pandas(frame, npartitions=2),
        "dask array": lambda: dask.array.from_array(frame.to_numpy(), chunks=(50, 13)),
    }[kind]()
    detector = ReconstructionOutlierDetector(VAETransformer(2, max_iter=0))
    wanted = clone(detector).fit(frame)
    detector.fit(made)
    assert detector.offset_ == pytest.approx(wanted.offset_)
    assert_allclose(detector.score_samples(made), wanted.score_samples(frame), rtol=1e-6)


# -- in scikit-learn


def test_in_a_pipeline_a_grid_and_a_pickle(without_xla):
    truth = np.repeat([1, -1], [len(BENIGN), 30])
    rows = np.concatenate([BENIGN, MALIGNANT[:30]])
    detector = ReconstructionOutlierDetector(AutoencoderTransformer(**QUICK))
    name = "reconstructionoutlierdetector__estimator__n_components"
    pipeline = make_pipeline(StandardScaler(), detector)
    cv = StratifiedKFold(3)
    search = GridSearchCV(pipeline, {name: [2, 5]}, scoring="roc_auc", cv=cv)
    search.fit(rows, truth)
    assert search.best_score_ > 0.7
    again = pickle.loads(pickle.dumps(search))
    assert_array_equal(again.predict(rows), search.predict(rows))


# -- refusals


@pytest.mark.parametrize("model", [TSNE(), IsolationForest])
def test_what_can_tell_nothing_is_refused(model):
    with pytest.raises((TypeError, ValueError), match="estimator"):
        ReconstructionOutlierDetector(model).fit(BENIGN)


def test_the_refusal_says_what_is_needed():
    with pytest.raises(TypeError, match=r"score_samples.* inverse_transform.*TSNE\(\)"):
        ReconstructionOutlierDetector(TSNE()).fit(BENIGN)


@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")  # PCA's own
@pytest.mark.parametrize("rank", [3, 9])
def test_rows_that_pca_has_no_density_on_are_refused(rank):
    by_density = partial(ReconstructionOutlierDetector, score_by="model")
    rows = BENIGN[:, :rank] @ np.random.default_rng(0).normal(size=(rank, 10))
    rows[:, 0] = 0
    with pytest.raises(ValueError, match=r"PCA\(\) has no density.*fewer components"):
        by_density(PCA()).fit(rows)
    fewer = by_density(PCA(rank - 1)).fit(rows)
    assert (fewer.predict(rows) == -1).mean() < 0.11


def test_before_it_is_fitted_it_has_no_features():
    detector = ReconstructionOutlierDetector(PCA())
    for name in ("n_features_in_", "feature_names_in_"):
        with pytest.raises(AttributeError, match=name):
            getattr(detector, name)


def test_a_fit_that_fails_leaves_the_old_one():
    detector = ReconstructionOutlierDetector(PCA(2)).fit(BENIGN)
    before = detector.score_samples(MALIGNANT)
    with pytest.raises(ValueError, match="NaN"):
        detector.fit(np.full((5, 3), np.nan))
    assert_array_equal(detector.score_samples(MALIGNANT), before)
