"""Networks whose `input_shape` X shows, and lists of series of different lengths."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
from skae.outliers import ReconstructionOutlierDetector

RNG = np.random.default_rng(0)
GIVEN = {"max_iter": 1, "n_splits": 1, "random_state": 0}

pytestmark = pytest.mark.usefixtures("without_xla")


# -- the shape of images and series is that of X


@pytest.mark.parametrize(
    ("network", "rows", "shape"),
    [
        (ConvNetwork(filters=2), (8, 8), (8, 8, 1)),
        (ConvNetwork(filters=2), (6, 8, 3), (6, 8, 3)),
        (ConvNetwork(filters=2), (4, 4, 4, 2), (4, 4, 4, 2)),
        (SequenceNetwork(units=2), (7, 2), (7, 2)),
    ],
    ids=str,
)
def test_input_shape_is_taken_from_rows(network, rows, shape, tmp_path):
    X = RNG.normal(size=(40, *rows))
    model = AutoencoderTransformer(2, network=network, **GIVEN).fit(X)
    assert model.network_.input_shape == shape
    assert network.input_shape is None
    named = clone(model).set_params(network__input_shape=shape).fit(X)
    assert_array_equal(model.transform(X), named.transform(X))
    assert model.reconstruct(X).shape == X.shape
    model.save(tmp_path / "model")
    loaded = skae.load(tmp_path / "model")
    assert_array_equal(loaded.transform(X), model.transform(X))
    assert loaded.network.input_shape is None
    again = model.set_params(warm_start=True).fit(X)
    assert again.network_.input_shape == shape
    assert model.set_params(warm_start=False).fit(X[:, :4]).network_.input_shape[0] == 4


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_flat_rows_do_not_show_their_shape(kind):
    X = RNG.normal(size=(40, 64))
    message = r"ConvNetwork needs input_shape.*samples of shape \(64,\).*28, 28, 1"
    with pytest.raises(ValueError, match=message):
        kind(2, network=ConvNetwork(), **GIVEN).fit(X)
    message = r"SequenceNetwork needs input_shape.*an X of shape \(n_samples, 20, 1\)"
    with pytest.raises(ValueError, match=message):
        kind(2, network=SequenceNetwork(), **GIVEN).partial_fit(X)
    with pytest.raises(ValueError, match=r"SequenceNetwork needs .* shape \(4, 4, 4\)"):
        kind(2, network=SequenceNetwork(), **GIVEN).fit(X.reshape(40, 4, 4, 4))


# -- lists of series


def series(n, n_features, most, rng=RNG, least=3):
    return [rng.normal(size=(k, n_features)) for k in rng.integers(least, most + 1, n)]


def by_hand(several, n_steps):
    found = np.full((len(several), n_steps, several[0].shape[1]), np.nan)
    for row, one in zip(found, several, strict=True):
        row[: len(one)] = one
    return found


LIST = [*series(39, 2, 9), RNG.normal(size=(9, 2))]
ARRAY = by_hand(LIST, 9)
NETWORK = SequenceNetwork(units=4)


@pytest.mark.parametrize("n_steps", [None, 9, 12])
@pytest.mark.parametrize("kind", [AutoencoderTransformer, DenoisingAutoencoder])
def test_a_list_of_series_is_padded_as_by_hand(kind, n_steps):
    shape = None if n_steps is None else (n_steps, 2)
    given = {"network": SequenceNetwork(shape, units=4), **GIVEN}
    array = by_hand(LIST, n_steps or 9)
    one, other = kind(2, **given).fit(LIST), kind(2, **given).fit(array)
    assert one.network_.input_shape == (n_steps or 9, 2)
    assert one.history_ == other.history_
    for method in (
        "transform",
        "reconstruct",
        "score_samples",
        "score_features",
        "impute",
    ):
        found = getattr(one, method)(LIST)
        assert_array_equal(found, getattr(other, method)(array))
    assert one.inverse_transform(one.transform(LIST)).shape == array.shape
    some = [LIST[3][:4], LIST[5][:4]]  # shorter, and of one length
    assert_array_equal(one.transform(some), other.transform(by_hand(some, n_steps or 9)))
    assert one.score(LIST) == other.score(array)


@pytest.mark.parametrize("name", ["X_val", "X_clean"])
def test_what_comes_with_a_list_is_padded_too(name):
    kind = DenoisingAutoencoder if name == "X_clean" else AutoencoderTransformer
    beside = LIST if name == "X_clean" else LIST[:7]
    array = by_hand(beside, 9)
    given = {"network": NETWORK, **GIVEN}
    one = kind(2, **given).fit(LIST, **{name: beside})
    other = kind(2, **given).fit(ARRAY, **{name: array})
    assert one.history_ == other.history_
    long = [np.zeros((11, 2)), *beside[1:]]
    with pytest.raises(ValueError, match=f"{name} has a series of 11 time steps, row 0"):
        kind(2, **given).fit(LIST, **{name: long})


def test_calls_of_partial_fit_are_padded_to_the_first():
    given = {"network": NETWORK, **GIVEN}
    one, other = (AutoencoderTransformer(2, **given) for _ in range(2))
    for some, array in ((LIST, ARRAY), (LIST[:20], ARRAY[:20])):
        one.partial_fit(some)
        other.partial_fit(array)
    assert_array_equal(one.transform(LIST), other.transform(ARRAY))
    with pytest.raises(ValueError, match="series of 10 time steps, row 1"):
        one.partial_fit([LIST[0], np.zeros((10, 2))])


def test_series_of_numbers_have_one_feature():
    flat = [one[:, 0] for one in LIST]
    model = AutoencoderTransformer(2, network=NETWORK, **GIVEN)
    codes = model.fit([one.tolist() for one in flat]).transform(flat)
    assert_array_equal(codes, model.fit(ARRAY[:, :, :1]).transform(ARRAY[:, :, :1]))
    assert_array_equal(model.transform([flat[0][:3]]), model.transform([LIST[0][:3, :1]]))


def test_frames_are_series():
    frames = [pd.DataFrame(one) for one in LIST]
    model = AutoencoderTransformer(2, network=NETWORK, **GIVEN)
    assert_array_equal(model.fit_transform(frames), model.fit_transform(ARRAY))


def test_series_longer_than_those_of_the_fit_are_refused_in_those_words():
    model = AutoencoderTransformer(2, network=NETWORK, **GIVEN).fit(LIST)
    message = "time steps.*but the model was fitted with series of at most 9"
    long = [LIST[0], RNG.normal(size=(14, 2))]
    for method in (model.transform, model.score_samples, model.reconstruct):
        with pytest.raises(ValueError, match=f"X has a series of 14 {message}"):
            method(long)
        with pytest.raises(ValueError, match=f"X has series of 14 {message}"):
            method(np.zeros((3, 14, 2)))
    with pytest.raises(ValueError, match=r"series of 5 time steps.*Pad them with NaN"):
        model.transform(np.zeros((3, 5, 2)))
    with pytest.raises(ValueError, match=r"a series of 9 time steps.*network takes 8"):
        clone(model).set_params(network__input_shape=(8, 2)).fit(LIST)


@pytest.mark.parametrize("network", [None, (8,), DenseNetwork((8,)), ConvNetwork()])
def test_other_networks_refuse_series_of_different_lengths(network):
    message = r"different lengths, from \d to 9.*SequenceNetwork\(input_shape=\(9, 2\)\)"
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(2, network=network, **GIVEN).fit(LIST)


def test_series_with_different_features_are_refused():
    with pytest.raises(ValueError, match=r"different numbers of features: \[1, 2\]"):
        AutoencoderTransformer(2, network=NETWORK, **GIVEN).fit([*LIST, np.zeros((4, 1))])


def test_searches_and_detectors_take_lists():
    model = AutoencoderTransformer(2, network=SequenceNetwork((9, 2), units=4), **GIVEN)
    scores = [
        GridSearchCV(model, {"alpha": [0.1]}, cv=2, error_score="raise")
        .fit(X)
        .cv_results_["mean_test_score"]
        for X in (LIST, ARRAY)
    ]
    assert_array_equal(*scores)
    one, other = (ReconstructionOutlierDetector(model).fit(X) for X in (LIST, ARRAY))
    assert one.offset_ == other.offset_
    assert_array_equal(one.score_samples(LIST), other.score_samples(ARRAY))
    assert_array_equal(one.score_features(LIST), other.score_features(ARRAY))
