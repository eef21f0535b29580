"""Kinds of columns: classes that are none, classes nobody knows, counts of rows of any size."""

import warnings

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import nbinom, poisson
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.likelihoods import Huber, NegativeBinomial, Poisson, from_transformer
from skae.networks import CustomNetwork, DenseNetwork
from skae.noise import GaussianNoise, MaskingNoise
from skae.outliers import ReconstructionOutlierDetector

pytestmark = pytest.mark.usefixtures("without_xla")

WINE = load_wine()
CLASSES = np.eye(3)[WINE.target]
NUMBERS = StandardScaler().fit_transform(WINE.data[:, :4])
MIXED = np.hstack([NUMBERS, CLASSES])
PAIRS = [("gaussian_diag", [0, 1, 2, 3]), ("categorical", [4, 5, 6])]
LOSSES = [("squared_error", [0, 1, 2, 3]), ("categorical_crossentropy", [4, 5, 6])]
SMALL = DenseNetwork((6,))


def vae(max_iter=0, **more):
    more = {"likelihood": PAIRS, "network": SMALL, "random_state": 0} | more
    return VAETransformer(2, max_iter=max_iter, **more)


# -- classes that nobody knows


@pytest.mark.parametrize("max_iter", [0, 4])
def test_an_unknown_class_is_a_missing_value_that_costs_what_a_new_class_does(max_iter):
    model = vae(max_iter).fit(MIXED)
    unknown, missing = MIXED.copy(), MIXED.copy()
    unknown[:, 4:], missing[:, 4:] = 0, np.nan
    for method in ("transform", "reconstruct", "impute"):
        found = getattr(model, method)(unknown)
        assert_array_equal(found, getattr(model, method)(missing))
    # the marginal of the rest, and Laplace's rule of succession for the class
    marginal = model.score_samples(missing)
    assert_allclose(model.score_samples(unknown), marginal - np.log(178 + 2), rtol=1e-9)
    assert model.score(unknown) < model.score(MIXED)
    features = model.score_features(unknown)
    assert_allclose(features.sum(axis=1), model.score_samples(unknown), rtol=1e-6)
    assert_allclose(features[:, 4:].sum(axis=1), -np.log(180), rtol=1e-9)
    # a few of them in a fit are left out of its loss
    some = MIXED.copy()
    some[:5, 4:] = 0
    holes = np.where(
        some[:, 4:].any(axis=1, keepdims=True) | (np.arange(7) < 4), some, np.nan
    )
    assert_array_equal(
        vae(max_iter).fit(some).transform(MIXED),
        vae(max_iter).fit(holes).transform(MIXED),
    )


@pytest.mark.parametrize("score_by", ["robust", "model"])
@pytest.mark.parametrize(
    "model", [vae(), AutoencoderTransformer(2, loss=LOSSES, max_iter=0)]
)
def test_rows_of_an_unknown_class_are_outliers_more_often(model, score_by):
    table = np.column_stack([WINE.data[:, :4], WINE.target])
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((StandardScaler(), [0, 1, 2, 3]), (encoder, [4]))
    pairs = from_transformer(columns.fit(table))
    assert [list(c) for _, c in pairs] == [list(c) for _, c in PAIRS]
    detector = ReconstructionOutlierDetector(model, score_by=score_by)
    pipeline = make_pipeline(columns, detector).fit(table)
    unknown = table.copy()
    unknown[:, 4] = 99
    share = np.mean(pipeline.predict(table) == -1)
    assert np.mean(pipeline.predict(unknown) == -1) >= share
    if isinstance(model, VAETransformer):
        assert np.mean(pipeline.predict(unknown) == -1) > 0.5
        odd = pipeline[-1].score_features(pipeline[0].transform(unknown))
        assert np.isin(odd.argmin(axis=1), [4, 5, 6]).mean() > 0.5


def test_sparse_rows_may_have_an_unknown_class_too():
    from scipy import sparse

    model, unknown = vae().fit(MIXED), MIXED.copy()
    unknown[:, 4:] = 0
    assert_allclose(
        model.score_samples(sparse.csr_array(unknown)), model.score_samples(unknown)
    )


# -- groups that are none


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (np.hstack([CLASSES, CLASSES]), "adds up to 2"),
        (2 * CLASSES / 3 + 1 / 3, "adds up to 1.66667"),
        (CLASSES / 2, "adds up to 0.5"),
        (CLASSES[:, 1:], "33% of the rows have none of its classes"),  # drop="first"
    ],
    ids=["two groups", "more than one", "less", "one dropped"],
)
@pytest.mark.parametrize("named", [False, True])
def test_a_group_that_is_none_is_refused_by_its_columns(columns, said, named):
    X = np.hstack([NUMBERS, columns])
    group = list(range(4, X.shape[1]))
    pairs = [("gaussian_diag", [0, 1, 2, 3]), ("categorical", group)]
    names = [f"c{i}" for i in range(X.shape[1])]
    rows = pd.DataFrame(X, columns=names) if named else X
    shown = r"\['c4', 'c5'" if named else r"\[4, 5"
    with pytest.raises(ValueError, match=rf"likelihood: .*columns {shown}.*{said}"):
        vae(likelihood=pairs).fit(rows)
    losses = [("squared_error", [0, 1, 2, 3]), ("categorical_crossentropy", group)]
    with pytest.raises(ValueError, match=rf"loss: .*{shown}"):
        AutoencoderTransformer(1, loss=losses, max_iter=0).fit(rows)


def test_a_group_that_is_none_is_refused_by_all_that_reads_rows():
    model, wrong = vae().fit(MIXED), MIXED.copy()
    wrong[3, 4:] = 1
    for method in ("score", "transform", "score_samples", "impute"):
        with pytest.raises(ValueError, match="row 3 adds up to 3"):
            getattr(model, method)(wrong)


def test_shares_and_classes_of_which_a_part_is_missing_are_right():
    shares = MIXED.copy()
    shares[:50, 4:] = [0.2, 0.3, 0.5]
    assert np.isfinite(vae().fit(shares).score(shares))
    said, lost = MIXED.copy(), MIXED.copy()
    ones = WINE.target == 1
    said[ones, 4] = np.nan  # the one is there: the others are zeros
    lost[ones, 5] = np.nan  # it is not: the class is missing
    model, missing = vae().fit(MIXED), MIXED.copy()
    missing[ones, 4:] = np.nan
    assert_array_equal(model.transform(said), model.transform(MIXED))
    assert_array_equal(model.transform(lost), model.transform(missing))


# -- columns


def test_pairs_without_columns_and_a_class_that_is_always_there():
    X = np.hstack([NUMBERS, np.ones((178, 1))])
    pairs = [("gaussian_diag", slice(0, 4)), ("categorical", [4]), ("bernoulli", [])]
    always = vae(likelihood=pairs).fit(X)
    numbers = vae(likelihood="gaussian_diag").fit(NUMBERS)
    assert_allclose(always.score(X), numbers.score(NUMBERS), rtol=0.02)
    with pytest.raises(ValueError, match=r"likelihood must be a list of at least one"):
        vae(likelihood=[]).fit(X)
    with pytest.raises(ValueError, match=r"likelihood must have each column of X"):
        vae(likelihood=[("categorical", [])]).fit(X)


def test_columns_are_selected_as_a_column_transformer_selects_them():
    frame = pd.DataFrame(MIXED, columns=[*"abcd", "x0", "x1", "x2"])
    selected = [
        ("gaussian_diag", make_column_selector(pattern="^[a-d]$")),
        ("categorical", make_column_selector(pattern="^x")),
    ]
    found = vae(likelihood=selected).fit(frame)
    assert_array_equal(found.transform(frame), vae().fit(frame).transform(frame))
    with pytest.raises(ValueError, match=r"likelihood: .* are no columns of X"):
        vae(likelihood=selected).fit(MIXED)


# -- NumPy's numbers

F = np.float64


@pytest.mark.parametrize(
    ("numpys", "pythons"),
    [
        (
            VAETransformer(2, likelihood=Poisson(F(50))),
            VAETransformer(2, likelihood=Poisson(50.0)),
        ),
        (
            VAETransformer(2, likelihood=NegativeBinomial(np.array(50.0))),
            VAETransformer(2, likelihood=NegativeBinomial(50.0)),
        ),
        (
            VAETransformer(
                2, likelihood=[(Poisson(F(50)), slice(0, 8)), ("poisson", [8, 9])]
            ),
            VAETransformer(
                2, likelihood=[(Poisson(50.0), slice(0, 8)), ("poisson", [8, 9])]
            ),
        ),
        (
            AutoencoderTransformer(2, loss=Huber(np.float32(0.5))),
            AutoencoderTransformer(2, loss=Huber(0.5)),
        ),
        (
            DenoisingAutoencoder(2, noise=GaussianNoise(F(0.5), clip=(F(0), F(16)))),
            DenoisingAutoencoder(2, noise=GaussianNoise(0.5, clip=(0, 16))),
        ),
        (
            DenoisingAutoencoder(2, noise=MaskingNoise(F(0.2))),
            DenoisingAutoencoder(2, noise=MaskingNoise(0.2)),
        ),
        (
            AutoencoderTransformer(2, network=DenseNetwork(np.int64(4), dropout=F(0.1))),
            AutoencoderTransformer(2, network=DenseNetwork(4, dropout=0.1)),
        ),
        (
            VAETransformer(np.int32(2), beta=F(2), alpha=F(1e-3), tol=F(1e-3)),
            VAETransformer(2, beta=2.0, alpha=1e-3, tol=1e-3),
        ),
    ],
    ids=lambda model: "",
)
def test_numpys_numbers_are_pythons(numpys, pythons):
    X, more = load_digits().data[:60, 18:28], {"max_iter": 2, "random_state": np.int64(0)}
    found, wanted = (m.set_params(**more).fit(X) for m in (numpys, pythons))
    assert_array_equal(found.transform(X), wanted.transform(X))
    assert found.loss_curve_ == wanted.loss_curve_


# -- counts of rows of any size

SIZES = np.random.default_rng(0).choice([1.0, 10.0], (400, 1))
COUNTS = np.random.default_rng(1).poisson(10 * SIZES * np.ones((1, 12))).astype(float)


@pytest.mark.parametrize("likelihood", [Poisson(120.0), NegativeBinomial(120.0)])
@pytest.mark.parametrize("max_iter", [0, 3])
def test_the_size_of_a_row_is_that_of_the_values_that_are_there(likelihood, max_iter):
    model = vae(max_iter, likelihood=likelihood).fit(COUNTS)
    half, one = COUNTS.copy(), COUNTS.copy()
    half[:, :6], one[:, 0] = np.nan, np.nan
    dispersion = 1e-4
    if isinstance(likelihood, NegativeBinomial):
        shape, mean = 1 / dispersion, 10 * SIZES
        right = nbinom(shape, shape / (shape + mean)).logpmf(COUNTS[:, 6:]).sum(axis=1)
    else:
        right = poisson.logpmf(COUNTS[:, 6:], 10 * SIZES).sum(axis=1)
    assert model.score(half) == pytest.approx(right.mean(), abs=1.0)
    filled, big = model.impute(one)[:, 0], SIZES.ravel() == 10
    assert filled[big].mean() == pytest.approx(100, rel=0.05)
    assert filled[~big].mean() == pytest.approx(10, rel=0.05)
    features = model.score_features(half)
    assert_allclose(features.sum(axis=1), model.score_samples(half), rtol=1e-5)


def test_errors_are_those_of_rows_on_their_own_scale():
    model = AutoencoderTransformer(1, loss=Poisson(120.0), max_iter=0).fit(COUNTS)
    nats = poisson.logpmf(COUNTS, 10 * SIZES).sum(axis=1)
    assert model.score(COUNTS) == pytest.approx(nats.mean(), abs=1.5)
    one = COUNTS.copy()
    one[:, 0] = np.nan
    assert model.impute(one)[SIZES.ravel() == 10, 0].mean() == pytest.approx(
        100, rel=0.05
    )
    detector = ReconstructionOutlierDetector(model).fit(COUNTS)
    errors = detector.error_variance_.mean()  # of both sizes, Poisson's variances
    assert errors == pytest.approx((10 * SIZES).mean(), rel=0.2)


# -- the detector


def test_a_detector_does_what_it_was_fitted_with():
    X = StandardScaler().fit_transform(WINE.data)
    detector = ReconstructionOutlierDetector(VAETransformer(2, max_iter=0)).fit(X)
    wanted = detector.predict(X), detector.score_features(X)
    detector.set_params(score_by="model", contamination=0.4)
    detector.set_params(estimator=make_pipeline(StandardScaler()))
    assert_array_equal(detector.predict(X), wanted[0])
    assert_array_equal(detector.score_features(X), wanted[1])


def test_a_fit_has_its_own_likelihood_and_noise():
    counts = load_digits().data[:80, 18:28]
    model = vae(likelihood=Poisson(50.0)).fit(counts)
    wanted = model.inverse_transform(model.transform(counts)), model.score(counts)
    model.set_params(likelihood__total=7.0)
    again = model.inverse_transform(model.transform(counts))
    assert_array_equal(again, wanted[0])
    assert model.score(counts) == wanted[1]


@pytest.mark.parametrize("score_by", ["robust", "model"])
@pytest.mark.parametrize("n_gone", [10, 20])
def test_rows_of_few_values_are_flagged_as_often_as_others(score_by, n_gone):
    data = load_breast_cancer()
    rng = np.random.default_rng(0)
    benign, malignant = data.data[data.target == 1], data.data[data.target == 0]
    order = rng.permutation(len(benign))
    scaler = StandardScaler().fit(benign[order[:240]])
    train, fresh, malignant = (
        scaler.transform(rows)
        for rows in (benign[order[:240]], benign[order[240:]], malignant)
    )

    def flagged(rows, n_gone=0):
        rows = rows.copy()
        for row in rows:
            row[rng.permutation(30)[:n_gone]] = np.nan
        return np.mean(detector.predict(rows) == -1)

    model = VAETransformer(0.4, max_iter=0)
    detector = ReconstructionOutlierDetector(model, score_by=score_by).fit(train)
    assert flagged(fresh, n_gone) == pytest.approx(flagged(fresh), abs=0.07)
    # by "model" .41 of them were found before
    assert flagged(malignant, n_gone) > flagged(malignant) - 0.2 > 0.41


# -- layers that hold a tensor


def normalized(x):
    layer = keras.layers.Normalization(mean=np.full(10, 5.0), variance=np.full(10, 4.0))
    return keras.layers.Dense(6, "relu")(layer(x))


def with_a_table(x):
    places = keras.ops.convert_to_tensor(np.linspace(-1, 1, 10, dtype="f4")[None])
    shifted = keras.layers.Lambda(lambda y: y + keras.ops.cast(places, y.dtype))(x)
    return keras.layers.Dense(6, "relu")(shifted)


def looked_up(x):
    layers = keras.layers
    whole = layers.Lambda(lambda y: keras.ops.cast(keras.ops.round(y), "int64"))(x)
    found = layers.IntegerLookup(vocabulary=[0, 1, 2, 3])(whole)
    found = layers.Lambda(lambda y: keras.ops.cast(y, x.dtype))(found)
    return layers.Dense(6, "relu")(found)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("encoder", [normalized, with_a_table, looked_up])
def test_layers_may_hold_tensors_and_tables(encoder, dtype, keras_in_float64):
    if encoder is looked_up and keras.backend.backend() != "tensorflow":
        pytest.skip("lookup tables are TensorFlow's")
    X = load_digits().data[:80, 18:28].astype(dtype)
    network = CustomNetwork(
        encoder, lambda z: keras.layers.Dense(6)(z), jit_compile=False
    )
    model = AutoencoderTransformer(2, network=network, max_iter=2, random_state=0).fit(X)
    codes = model.transform(X)
    assert_allclose(np.asarray(model.encoder_(X)), codes, rtol=1e-3, atol=1e-3)
    again = AutoencoderTransformer(2, network=network, max_iter=2, random_state=0).fit(X)
    assert_array_equal(again.transform(X), codes)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is TensorFlow's")
def test_a_variable_that_keras_does_not_know_is_refused():
    import tensorflow as tf

    hidden = tf.Variable(1.0, trainable=False)

    def encoder(x):
        def scaled(y):
            return y * tf.cast(hidden, y.dtype)

        return keras.layers.Dense(4)(keras.layers.Lambda(scaled)(x))

    network = CustomNetwork(encoder, lambda z: z, jit_compile=False)
    model = AutoencoderTransformer(2, network=network, max_iter=1, random_state=0)
    with pytest.raises(ValueError, match=r"network has a layer with a tf.Variable"):
        model.fit(NUMBERS)


# -- limits


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"smoothing": 5.0}, "'smoothing' parameter"),
        ({"smoothing": np.inf}, "'smoothing' parameter"),
        ({"n_splits": 10**6}, "'n_splits' parameter"),
    ],
)
def test_parameters_have_limits(params, named):
    with pytest.raises(ValueError, match=named):
        AutoencoderTransformer(2, **params).fit(NUMBERS)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3", None, 10**12])
def test_samples_have_limits(n_samples):
    model = vae(likelihood="gaussian").fit(NUMBERS)
    with pytest.raises(ValueError, match="n_samples must be an int from 1 to"):
        model.sample(n_samples)
    assert model.sample(np.int64(2)).shape == (2, 4)


def test_validation_rows_that_a_search_may_cut_are_warned_of():
    model = AutoencoderTransformer(2, network=SMALL, max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match="X_val has as many rows as X"):
        model.fit(NUMBERS[:80], X_val=NUMBERS[80:160])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="Maximum iterations")
        model.fit(NUMBERS[:80], X_val=NUMBERS[80:150])
