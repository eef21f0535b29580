"""What every estimator promises with every network, whatever it is trained for."""

import contextlib
import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import ConvNetwork, CustomNetwork, DenseNetwork, SequenceNetwork

#: What few epochs of a VAE may end at; draws decide.
pytestmark = pytest.mark.filterwarnings("ignore:No component is active")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 2)) @ RNG.normal(size=(2, 6)) + 0.3 * RNG.normal(size=(64, 6))
#: Rows with zeros in them, on a grid that float32 holds exactly.
GRID = np.round(8 * np.maximum(X, 0)) / 8


def body(x):
    """One layer of Keras' own."""
    from keras import layers

    return layers.Dense(4, activation="relu")(x)


def fail(epoch, logs):
    raise RuntimeError("in the middle")


ESTIMATORS = [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]
NETWORKS = {
    "dense": DenseNetwork((8,)),
    "conv": ConvNetwork((6, 1), filters=(2,)),
    "sequence": SequenceNetwork((3, 2), units=2, cell="gru"),
    "custom": CustomNetwork(body, body, jit_compile=False),
}


@pytest.fixture(scope="module", params=ESTIMATORS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(network, id=name, marks=[pytest.mark.slow] * (name == "sequence"))
        for name, network in NETWORKS.items()
    ],
)
def estimator(request, kind):
    """Not fitted; training goes on to the end, and is what the fit keeps."""
    return kind(
        2,
        network=request.param,
        init="random",
        early_stopping=False,
        batch_size=16,
        max_iter=2,
        random_state=0,
    )


@pytest.fixture
def fresh(estimator, without_xla):
    """A function from parameters to an estimator that is not fitted."""
    return lambda **parameters: clone(estimator).set_params(**parameters)


def assert_same_bits(one, other, rows=X):
    codes = one.transform(rows)
    assert_array_equal(other.transform(rows), codes)
    assert_array_equal(other.inverse_transform(codes), one.inverse_transform(codes))
    assert_array_equal(other.score_samples(rows), one.score_samples(rows))
    for name in ("explained_variance_", "mean_", "noise_variance_", "kl_per_component_"):
        assert_array_equal(getattr(other, name, None), getattr(one, name, None))


def assert_finite(fitted, rows):
    codes, output = fitted.transform(rows), fitted.reconstruct(rows)
    assert codes.shape == (len(rows), 2)
    assert output.shape == rows.shape
    assert np.isfinite(codes).all()
    assert np.isfinite(output).all()
    assert np.isfinite(fitted.score_samples(rows)).all()
    assert np.isfinite(fitted.explained_variance_ratio_).all()


#: Starts: the linear model with held-out rows, and random weights without.
LINEAR = {"init": "auto", "early_stopping": True}
starts = pytest.mark.parametrize(
    "start",
    [
        pytest.param(LINEAR, id="linear"),
        pytest.param({}, id="random", marks=pytest.mark.slow),
    ],
)


# -- the same bits


@starts
def test_one_seed_gives_the_same_bits_and_the_same_bytes(fresh, start):
    one, two = (fresh(**start).fit(X) for _ in range(2))
    assert one.history_ == two.history_
    assert_same_bits(one, two)
    assert pickle.dumps(one) == pickle.dumps(two)
    other = fresh(**start, random_state=1).fit(X)
    assert other.history_ != one.history_


def test_one_seed_gives_the_same_bits_with_xla(kind, with_xla):
    model = kind(2, network=DenseNetwork((8,)), max_iter=2, random_state=0).fit(X)
    again = clone(model).fit(X)
    assert again.history_ == model.history_
    assert pickle.dumps(again) == pickle.dumps(model)
    assert_same_bits(again, model)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_gives_the_same_bits(fresh, copied):
    fitted = fresh().fit(X)
    state = pickle.dumps(fitted)
    other = copied(fitted)
    assert_same_bits(fitted, other)
    assert pickle.dumps(fitted) == state, "using it changes nothing that is kept"
    assert fitted.partial_fit(X).loss_ == other.partial_fit(X).loss_
    assert_same_bits(fitted, other)


# -- rows of another kind


@starts
def test_sparse_rows_are_dense_ones(fresh, start):
    dense, other = fresh(**start).fit(GRID), fresh(**start).fit(sparse.csr_array(GRID))
    rows = sparse.csr_array(GRID)
    assert_allclose(other.history_["loss"], dense.history_["loss"], rtol=1e-4)
    assert_allclose(other.transform(rows), dense.transform(GRID), atol=1e-3)
    assert_allclose(other.score_samples(rows), dense.score_samples(GRID), rtol=1e-2)
    assert_allclose(other.score(rows), dense.score(GRID), rtol=1e-3)
    assert_allclose(dense.transform(rows), dense.transform(GRID), atol=1e-9)


@starts
def test_float32_in_float32_out_and_near_float64(fresh, start):
    rows = GRID.astype(np.float32)
    double, single = fresh(**start).fit(GRID), fresh(**start).fit(rows)
    codes = single.transform(rows)
    assert codes.dtype == np.float32
    assert single.inverse_transform(codes).dtype == np.float32
    assert single.reconstruct(rows).dtype == np.float32
    assert double.transform(GRID).dtype == double.reconstruct(GRID).dtype == np.float64
    assert_allclose(codes, double.transform(GRID), atol=2e-3)
    assert_allclose(single.reconstruct(rows), double.reconstruct(GRID), atol=2e-3)
    assert_allclose(single.score_samples(rows), double.score_samples(GRID), rtol=1e-2)
    assert_allclose(double.transform(rows), double.transform(GRID), atol=1e-5)


# -- going on


def test_warm_start_goes_on(fresh):
    same = {"init": "auto", "optimizer": "sgd"}  # which keeps nothing but its rate
    once, twice = fresh(max_iter=4, **same).fit(X), fresh(warm_start=True, **same)
    twice.fit(X).fit(X)
    assert twice.n_iter_ == once.n_iter_ == 4
    assert twice.history_.keys() == once.history_.keys()
    for name, losses in once.history_.items():
        assert_allclose(twice.history_[name], losses, rtol=1e-5)
    assert_allclose(twice.reconstruct(X), once.reconstruct(X), atol=1e-4)


def test_partial_fit_goes_on(fresh):
    whole, parts = fresh(max_iter=3, init="auto").fit(X), fresh(init="auto")
    for n_calls in (1, 2, 3):
        assert parts.partial_fit(X).n_iter_ == n_calls
        assert len(parts.loss_curve_) == n_calls
    assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-6)
    assert_allclose(parts.reconstruct(X), whole.reconstruct(X), atol=1e-4)
    assert_allclose(parts.score(X), whole.score(X), rtol=1e-6)
    assert parts.partial_fit(X[:1]).n_iter_ == 4
    assert_finite(parts, X)


# -- what may go wrong


def test_a_failed_refit_leaves_the_old_fit_whole(fresh):
    from keras.callbacks import LambdaCallback

    fitted = fresh().fit(X)
    codes, state = fitted.transform(X), dict(vars(fitted))
    fitted.callbacks = [LambdaCallback(on_epoch_end=fail)]
    for refit in (fitted.fit, fitted.partial_fit):
        with pytest.raises(RuntimeError, match="in the middle"):
            refit(X[:32] + 1)
    with pytest.raises((RuntimeError, ValueError), match=r"in the middle|3 features"):
        fitted.fit(X[:, :3])
    fitted.callbacks = None
    assert vars(fitted) == state
    assert_array_equal(fitted.transform(X), codes)


@pytest.mark.parametrize(
    ("rows", "start"),
    [(np.full((20, 6), 7.0), LINEAR), (np.full((20, 6), 7.0), {}), (X[:2], LINEAR)],
    ids=["constant-linear", "constant-random", "two-linear"],
)
def test_rows_with_nothing_to_find_are_finite(fresh, start, rows):
    model, says = fresh(**start), contextlib.nullcontext()
    if isinstance(model, VAETransformer) and not rows.std(axis=0).any():
        says = pytest.warns(ConvergenceWarning, match="No component is active")
    with says:
        model.fit(rows)
    assert_finite(model, rows)
    assert_finite(model, X[:2])


def test_other_rows_compile_nothing_anew(fresh):
    from skae._backend.inference import kept_inference
    from skae._backend.pool import programs

    def traces():
        return {key: program.n_traces for key, program in programs.items.items()}

    def fitted(rows, **parameters):
        model = fresh(early_stopping=True, **parameters).fit(rows)
        return model.transform(rows), model.score(rows), model.reconstruct(rows)

    fitted(X)
    before, n_kept = traces(), len(kept_inference.items)
    for n_samples in (20, 33, 57):
        fitted(X[:n_samples] + n_samples, alpha=1.0, learning_rate_init=1e-4)
    assert traces() == before
    assert len(kept_inference.items) == n_kept
