"""DenoisingAutoencoder: its noise, its start, and pairs."""

import keras
import numpy as np
import pytest
import sklearn
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import factorial2
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder
from skae._data.rows import Rows
from skae._starts.pca import fit_pca
from skae._starts.wiener import denoiser_start, shrunken_start
from skae._utils.seed import Seed
from skae.networks import CustomNetwork, DenseNetwork
from skae.noise import NOISES, GaussianNoise, MaskingNoise, SaltAndPepperNoise

SMALL = DenseNetwork(hidden_layer_sizes=(8,))

GAUSSIAN = GaussianNoise()
KINDS = {
    "gaussian": GaussianNoise(0.8),
    "clipped": GaussianNoise(0.8, clip=(-1.0, 1.5)),
    "masking": MaskingNoise(0.4),
    "salt_and_pepper": SaltAndPepperNoise(0.3),
}


def correlated(n_samples=300, n_features=6, seed=0):
    """Rows near a plane, off the origin."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 2)) @ rng.normal(size=(2, n_features))
    return X + 0.3 * rng.normal(size=X.shape) + rng.normal(size=n_features)


def noisy(X, fitted_to, seed=1, noise=GAUSSIAN):
    """The noise of the documentation, in NumPy."""
    rng = np.random.default_rng(seed)
    chance = rng.random(X.shape)
    if isinstance(noise, GaussianNoise):
        std = np.sqrt(fitted_to.var(axis=0, ddof=1).mean())
        X = X + noise.level * std * rng.normal(size=X.shape)
        return X if noise.clip is None else np.clip(X, *noise.clip)
    if isinstance(noise, SaltAndPepperNoise):
        low, high = fitted_to.min(axis=0), fitted_to.max(axis=0)
        end = np.where(rng.random(X.shape) < 0.5, low, high)
        return np.where(chance < noise.level, end, X)
    return np.where(chance < noise.level, 0, X)


def start(n_components=2, **params):
    return DenoisingAutoencoder(n_components, max_iter=0, random_state=0, **params)


def squared_error(X, Y):
    return np.square(X - Y).sum(axis=1).mean()


# -- the linear denoiser that training starts from


@pytest.mark.parametrize("kind", KINDS)
def test_starts_at_the_linear_denoiser_of_least_expected_error(kind):
    """Found once more by alternating least squares on 600 noisy copies of each row."""
    X = correlated(100)
    clean = np.tile(X, (600, 1))
    drawn = noisy(clean, X, noise=KINDS[kind])
    x, y = clean - clean.mean(axis=0), drawn - drawn.mean(axis=0)
    decoder = np.random.default_rng(2).normal(size=(2, 6))
    for _ in range(50):
        encoder = np.linalg.lstsq(y.T @ y, y.T @ x @ np.linalg.pinv(decoder), rcond=None)[
            0
        ]
        decoder = np.linalg.lstsq(y @ encoder, x, rcond=None)[0]
    brute_force = y @ encoder @ decoder + clean.mean(axis=0)
    model = start(noise=KINDS[kind]).fit(X)
    assert_allclose(
        squared_error(clean, model.reconstruct(drawn)),
        squared_error(clean, brute_force),
        rtol=2e-3,
    )
    assert_allclose(model.reconstruct(drawn[:99]), brute_force[:99], atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_start_denoises_no_worse_than_pca(kind):
    X = correlated(2000)
    drawn = noisy(X, X, noise=KINDS[kind])
    pca = PCA(2).fit(X)
    by_pca = squared_error(X, pca.inverse_transform(pca.transform(drawn)))
    assert squared_error(X, start(noise=KINDS[kind]).fit(X).reconstruct(drawn)) < by_pca


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_without_noise_it_starts_at_pca(kind):
    X = correlated()
    X[:, 3] = 1.0  # a constant feature: its variance can't be divided by
    pca = PCA(2).fit(X)
    model = start(noise=NOISES[kind](level=0.0)).fit(X)
    assert_allclose(model.transform(X), pca.transform(X), atol=1e-5)
    assert_allclose(model.explained_variance_, pca.explained_variance_, rtol=1e-5)
    assert_allclose(
        model.reconstruct(X), pca.inverse_transform(pca.transform(X)), atol=1e-5
    )


def test_pca_shrunken_is_the_wiener_filter_of_gaussian_noise():
    X = correlated()
    pca = fit_pca(X, 3)
    closed = shrunken_start(pca, 3, 0.7 * len(X) / (len(X) - 1))
    found = denoiser_start([(X, X, 0.7, 1.0)], 3)
    assert_allclose(closed.encoder, found.encoder, atol=1e-10)
    assert_allclose(closed.decoder, found.decoder, atol=1e-10)
    assert_allclose(
        closed.explained_variance[:2], found.explained_variance[:2], rtol=0.01
    )


def test_denoiser_of_some_axes_sees_nothing_else():
    X, n = correlated(), 500
    noise = MaskingNoise(0.4)
    axes = fit_pca(X, 2).components_.T
    moments = [(X, *noise.moments(X, noise.values(Rows(X))), 1.0)]
    narrow, wide = denoiser_start(moments, 2, axes), denoiser_start(moments, 2)
    away = np.eye(6) - axes @ axes.T
    assert_allclose(away @ narrow.encoder, 0, atol=1e-12)
    assert np.abs(away @ wide.encoder).max() > 0.01
    clean = np.tile(X, (n, 1))
    drawn = noisy(clean, X, noise=noise)
    projected = drawn @ axes
    design = np.column_stack([projected, np.ones(len(drawn))])
    best = design @ np.linalg.lstsq(design, clean, rcond=None)[0]
    output = (drawn - narrow.mean) @ narrow.encoder @ narrow.decoder + narrow.intercept
    assert_allclose(squared_error(clean, output), squared_error(clean, best), rtol=1e-3)


def test_more_components_than_features_are_zero():
    X = correlated(n_features=3)
    model = start(5, noise="masking").fit(X)
    assert (model.explained_variance_[3:] < 1e-8).all()
    assert np.isfinite(model.reconstruct(X)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_code_of_the_start_is_centred_uncorrelated_and_ordered(kind):
    X = correlated()
    model = start(3, noise=KINDS[kind]).fit(X)
    Z = model.transform(X)
    covariance = np.cov(Z, rowvar=False)
    assert_allclose(Z.mean(axis=0), 0, atol=1e-5)
    assert_allclose(covariance, np.diag(model.explained_variance_), atol=1e-4)
    assert (np.diff(model.explained_variance_) <= 0).all()


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_constant_rows(kind):
    X = np.ones((10, 3))
    model = start(noise=kind).fit(X)
    assert_allclose(model.reconstruct(X), X, atol=1e-6)


def test_sparse_rows_start_like_dense_ones():
    X = np.maximum(correlated(), 0)
    for kind in ("masking", "salt_and_pepper"):
        dense = start(noise=kind).fit(X).reconstruct(X)
        assert_allclose(start(noise=kind).fit(sparse.csr_matrix(X)).reconstruct(X), dense)


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_logistic_start_is_better_on_noisy_rows_than_the_mean(kind):
    X = load_digits().data[:500] / 16
    model = start(8, noise=NOISES[kind](level=0.3), loss="binary_crossentropy").fit(X)
    drawn = noisy(X, X, noise=NOISES[kind](level=0.3))

    def loss(P):
        P = np.clip(P, 1e-6, 1 - 1e-6)
        return -np.mean(X * np.log(P) + (1 - X) * np.log(1 - P))

    mean = np.broadcast_to(X.mean(axis=0), X.shape)
    assert loss(model.reconstruct(drawn)) < 0.95 * loss(mean)


# -- the noise


@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_those_of_the_noise_that_is_drawn(kind):
    X, noise = correlated(20), KINDS[kind]
    values = noise.values(Rows(X))
    drawn = noise.draw(np.tile(X, (3000, 1)), values).reshape(3000, 20, 6)
    mean, variance = noise.moments(X, values)
    variance = np.broadcast_to(variance, X.shape)
    errors = np.sqrt(variance.max() / 3000)
    assert_allclose(drawn.mean(axis=0), mean, atol=5 * errors)
    assert_allclose(drawn.var(axis=0), variance, rtol=0.25, atol=0.02)
    assert_allclose(drawn.var(axis=0).mean(), variance.mean(), rtol=0.02)
    in_numpy = noisy(np.tile(X, (3000, 1)), X, noise=KINDS[kind])
    assert_allclose(drawn.std(), in_numpy.std(), rtol=0.02)


@pytest.mark.parametrize("by_xla", [False, True])
def test_normal_noise_is_normal(by_xla):
    def draw(step):
        values, x = {"std": ops.ones(())}, ops.zeros((400, 500))
        return GaussianNoise(1.0).corrupt(x, values, seed_kind(1, step))

    seed_kind = Seed
    if keras.backend.backend() == "jax" and by_xla:
        import jax

        draw = jax.jit(draw)
    elif by_xla:
        import tensorflow as tf

        from skae._backend.tensorflow import FastSeed as seed_kind  # noqa: N813

        draw = tf.function(draw, jit_compile=True)

    first, second = (np.float64(draw(np.int32(i))) for i in range(2))
    for power, moment in enumerate([0, 1, 0, 3, 0, 15], start=1):
        spread = np.sqrt(factorial2(2 * power - 1) / first.size)  # of the mean's estimate
        assert_allclose(np.mean(first**power), moment, atol=4 * spread)
    assert abs(np.mean(first * second)) < 0.01
    assert abs(np.mean(first[1:] * first[:-1])) < 0.01
    assert np.isfinite(first).all()


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_missing_stays_missing(kind):
    noise = NOISES[kind](level=0.9)
    values = noise.values(Rows(correlated(n_features=4)))
    assert np.isnan(noise.draw(np.full((5, 4), np.nan), values)).all()


def test_full_masking_and_full_salt_and_pepper():
    X = correlated(50)
    assert_array_equal(MaskingNoise(1.0).draw(X, {"level": 1.0}), 0)
    low, high = X.min(axis=0), X.max(axis=0)
    noise = SaltAndPepperNoise(1.0)
    ends = noise.draw(X, noise.values(Rows(X)))
    assert_allclose(np.minimum(abs(ends - low), abs(ends - high)), 0, atol=1e-6)
    assert_allclose((abs(ends - low) < 1e-6).mean(), 0.5, atol=0.15)


def test_absolute_noise_is_in_the_units_of_X():
    X = 100 * correlated()
    std = np.sqrt(X.var(axis=0, ddof=1).mean())
    relative = start(noise=GaussianNoise(0.5)).fit(X)
    absolute = start(noise=GaussianNoise(0.5 * std, relative=False)).fit(X)
    assert_allclose(
        relative.reconstruct(X), absolute.reconstruct(X), rtol=1e-4, atol=1e-3
    )


def test_relative_noise_is_relative_for_binary_crossentropy_too():
    X = np.clip(0.5 + 0.1 * correlated(), 0, 1)
    std = np.sqrt(X.var(axis=0, ddof=1).mean())
    params = {"loss": "binary_crossentropy", "max_iter": 1, "random_state": 0}
    params |= {"init": "random", "network": SMALL}
    relative, absolute, other = (
        DenoisingAutoencoder(noise=GaussianNoise(level, relative=unit), **params).fit(X)
        for level, unit in ((3.0, True), (3.0 * std, False), (3.0, False))
    )
    assert_allclose(relative.loss_, absolute.loss_, rtol=1e-5)
    assert other.loss_ > 1.01 * relative.loss_


def test_validation_noise_stays_the_same_and_training_noise_does_not():
    X = correlated()
    model = DenoisingAutoencoder(
        optimizer="sgd", learning_rate_init=1e-30, max_iter=4, random_state=0
    ).fit(X)
    assert len(set(model.history_["val_loss"])) == 1
    assert len(set(model.history_["loss"])) == 4
    assert model.history_["val_loss"][0] > 1.1 * -start().fit(X).score(X)


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_validation_noise_depends_on_the_seed(kind):
    params = {"noise": kind, "network": SMALL, "max_iter": 1, "validation_fraction": 0.9}
    losses = [
        DenoisingAutoencoder(random_state=seed, **params)
        .fit(correlated())
        .history_["val_loss"]
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_transform_sees_no_noise():
    X = correlated()
    model = DenoisingAutoencoder(noise="masking", max_iter=2, random_state=0).fit(X)
    assert_array_equal(model.transform(X), model.transform(X))
    assert_allclose(model.encoder_(X, training=True), model.transform(X), atol=1e-5)
    names = [layer.name for layer in model.autoencoder_._flatten_layers()]
    assert "corruption" not in names


def test_another_level_compiles_nothing():
    from skae._backend.pool import programs

    X = correlated()
    model = DenoisingAutoencoder(max_iter=2, network=SMALL, random_state=0)

    def traces():
        return sum(program.n_traces for program in programs.items.values())

    losses = [model.set_params(noise=GaussianNoise(0.1, clip=(-5, 5))).fit(X).loss_]
    before = traces()
    for level in (0.5, 2.0):
        losses.append(
            model.set_params(noise=GaussianNoise(level, clip=(-9, 9))).fit(X).loss_
        )
    assert traces() == before
    assert losses == sorted(losses)


def test_warm_start_goes_on_with_another_level():
    X = correlated()
    model = DenoisingAutoencoder(
        noise=GaussianNoise(0.0), max_iter=1, warm_start=True, learning_rate_init=1e-12
    ).fit(X)
    quiet = model.loss_
    model.set_params(noise__level=2.0).fit(X)
    assert model.loss_ > 2 * quiet


# -- noise of one's own


def brighter(x, seed):
    """Multiplies each row by a random factor."""
    import keras

    return x * keras.random.uniform((x.shape[0], 1), 0.5, 1.5, seed=seed)


def like_gaussian(x, seed):
    """Gaussian noise of unit variance."""
    import keras

    return x + keras.random.normal(x.shape, seed=seed)


def column(x, seed):
    return x[:, :1]


def test_a_function_is_noise():
    X = correlated()
    model = DenoisingAutoencoder(noise=brighter, max_iter=3, random_state=0).fit(X)
    again = clone(model).fit(X)
    assert_array_equal(model.transform(X), again.transform(X))
    assert len(set(model.history_["loss"])) == 3
    assert np.isfinite(model.reconstruct(X)).all()


def test_a_function_starts_at_its_linear_denoiser():
    X = correlated(4000)
    drawn = start(noise=like_gaussian).fit(X)
    known = start(noise=GaussianNoise(1.0, relative=False)).fit(X)
    assert_allclose(drawn.reconstruct(X), known.reconstruct(X), atol=0.15)


def test_a_function_must_keep_the_shape():
    with pytest.raises(ValueError, match=r"noise must return rows of the shape"):
        DenoisingAutoencoder(noise=column, max_iter=1).fit(correlated())


# -- pairs


def test_pairs_start_at_the_linear_map_between_them():
    X = correlated()
    X_clean = 3 - 2 * X[:, ::-1]
    model = start(6).fit(X, X_clean=X_clean)
    assert_allclose(model.reconstruct(X), X_clean, atol=1e-4)
    assert model.score(X, X_clean=X_clean) > -1e-6
    assert model.score(X) < -1
    assert_allclose(
        model.score_samples(X, X_clean),
        -np.square(model.reconstruct(X) - X_clean).sum(axis=1),
        atol=1e-9,
    )


def test_pairs_see_no_other_noise():
    X = correlated()
    model = DenoisingAutoencoder(
        noise=GaussianNoise(100.0),
        optimizer="sgd",
        learning_rate_init=1e-30,
        max_iter=2,
        shuffle=False,
    ).fit(noisy(X, X), X_clean=X)
    assert_allclose(*model.history_["loss"], rtol=1e-6)
    assert model.loss_ < X.var(axis=0).sum()


@pytest.mark.slow
def test_pairs_learn_what_is_not_linear():
    rng = np.random.default_rng(0)
    X_clean = np.repeat(rng.normal(size=(800, 2)), 3, axis=1)
    X = X_clean**3 / 3 + 0.05 * rng.normal(size=X_clean.shape)
    params = {"random_state": 0, "learning_rate_init": 5e-3}
    linear = start().fit(X[:600], X_clean=X_clean[:600])
    model = DenoisingAutoencoder(max_iter=100, **params)
    model.fit(X[:600], X_clean=X_clean[:600])
    error = -model.score(X[600:], X_clean=X_clean[600:])
    assert error < -0.5 * linear.score(X[600:], X_clean=X_clean[600:])


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_pairs_of_another_type_and_format(dtype):
    X_clean = np.round(10 * np.maximum(correlated(), 0))
    X = noisy(X_clean, X_clean, noise=MaskingNoise())
    expected = DenoisingAutoencoder(max_iter=1, random_state=0).fit(X, X_clean=X_clean)
    model = clone(expected).fit(X, X_clean=sparse.csr_matrix(X_clean.astype(dtype)))
    assert_allclose(model.transform(X), expected.transform(X), atol=1e-4)
    single = clone(expected).fit(X.astype(np.float32), X_clean=X_clean.tolist())
    assert single.reconstruct(X.astype(np.float32)).dtype == np.float32


def test_pairs_of_images():
    X = correlated(40, 12).reshape(40, 4, 3)
    model = DenoisingAutoencoder(max_iter=1, network=SMALL).fit(X + 1, X_clean=X)
    assert model.reconstruct(X).shape == X.shape
    assert model.score_samples(X + 1, X_clean=X).shape == (40,)


def test_pairs_by_partial_fit():
    X = correlated()
    drawn = noisy(X, X)
    model = DenoisingAutoencoder(network=SMALL, random_state=0)
    for _ in range(3):
        model.partial_fit(drawn, X_clean=X)
    assert model.n_iter_ == 3
    with pytest.raises(ValueError, match="or whether X_clean is given"):
        model.partial_fit(X)
    assert model.n_iter_ == 3
    assert model.partial_fit(drawn, X_clean=X).n_iter_ == 4
    assert clone(model).fit(X).partial_fit(X).n_iter_ > 1


def test_pairs_go_through_a_pipeline():
    X = correlated()
    drawn = noisy(X, X)
    scaler = StandardScaler().fit(drawn)
    with sklearn.config_context(enable_metadata_routing=True):
        model = DenoisingAutoencoder(max_iter=2, network=SMALL, random_state=0)
        model.set_fit_request(X_clean=True).set_score_request(X_clean=True)
        pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_clean"])
        pipeline.fit(drawn, X_clean=X)
        expected = clone(model).fit(scaler.transform(drawn), X_clean=scaler.transform(X))
        assert_allclose(
            pipeline.transform(drawn), expected.transform(scaler.transform(drawn))
        )
        search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2)
        search.fit(drawn, X_clean=X)
        assert search.best_params_ == {"n_components": 2}


def test_grid_search_over_the_level():
    X = correlated(120)
    model = DenoisingAutoencoder(max_iter=2, network=SMALL, random_state=0)
    model.set_params(noise=GaussianNoise())
    grid = {"noise__level": [0.0, 3.0], "noise__relative": [True, False]}
    search = GridSearchCV(model, grid, cv=2).fit(X)
    assert search.best_params_["noise__level"] == 0.0


# -- what it is for


@pytest.mark.slow
def test_denoises_held_out_digits_better_than_pca_and_its_start():
    X = load_digits().data
    X, held_out = X[:1400], X[1400:]
    drawn = noisy(held_out, X)
    pca = PCA(8).fit(X)
    by_pca = squared_error(held_out, pca.inverse_transform(pca.transform(drawn)))
    model = DenoisingAutoencoder(8, max_iter=30, random_state=0).fit(X)
    error = squared_error(held_out, model.reconstruct(drawn))
    assert error < 0.8 * by_pca
    assert error < 0.8 * squared_error(held_out, start(8).fit(X).reconstruct(drawn))
    plain = AutoencoderTransformer(8, max_iter=30, random_state=0).fit(X)
    assert error < squared_error(held_out, plain.reconstruct(drawn))


def convolution(x):
    from keras import layers

    return layers.Conv2D(4, 3, padding="same", activation="relu")(x)


def image(z):
    from keras import layers

    return layers.Conv2D(1, 3, padding="same")(layers.Reshape((8, 8, 4))(z))


def test_convolutional_denoiser_compiled_without_xla():
    X = load_digits().data[:200] / 16
    model = DenoisingAutoencoder(
        None,
        network=CustomNetwork(
            convolution, image, input_shape=(8, 8, 1), jit_compile=False
        ),
        noise=GaussianNoise(relative=False, clip=(0, 1)),
        loss="binary_crossentropy",
        max_iter=3,
        random_state=0,
    ).fit(X)
    assert model.loss_curve_[2] < model.loss_curve_[0]
    assert model.reconstruct(X).shape == X.shape
    assert len(set(model.history_["val_loss"])) == 3


# -- errors


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (MaskingNoise(1.5), r"'level' parameter of MaskingNoise .*\[0.0, 1.0\].*1\.5"),
        (SaltAndPepperNoise(2), "'level' parameter of SaltAndPepperNoise .*Got 2"),
        (GaussianNoise(clip=(1, 0)), r"noise: clip must be .*low < high.*\(1, 0\)"),
        (GaussianNoise(clip=(0, 1, 2)), r"noise: clip must be .*Got \(0, 1, 2\)"),
        (GaussianNoise(clip=(0, np.inf)), "noise: clip must be .*finite"),
        (GaussianNoise(clip=(0, "one")), "noise: clip must be .*one"),
        ("brown", "The 'noise' parameter .*'brown'"),
        (GaussianNoise(-1), "The 'level' parameter of GaussianNoise .*-1"),
        (GaussianNoise(relative="log"), "The 'relative' parameter .*'log'"),
    ],
)
def test_bad_noise_is_named(noise, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(noise=noise, max_iter=1).fit(correlated())


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_clean_rows_in_the_place_of_y_are_refused(method):
    X = correlated()
    denoiser = DenoisingAutoencoder(max_iter=0)
    with pytest.raises(ValueError, match=r"fit\(X_noisy, X_clean=X_clean\)"):
        getattr(denoiser, method)(noisy(X, X), X)
    getattr(denoiser, method)(X, X[:, 0])


def test_bad_pairs_are_named():
    X = correlated()
    model = DenoisingAutoencoder()
    with pytest.raises(ValueError, match=r"X_clean must have .*\(300, 6\).*\(299, 6\)"):
        model.fit(X, X_clean=X[1:])
    with pytest.raises(ValueError, match=r"X_clean contains infinity"):
        model.fit(X, X_clean=np.full_like(X, np.inf))
    with pytest.raises(ValueError, match=r"needs X_clean in \[0, 1\]"):
        clone(model).set_params(loss="binary_crossentropy").fit(
            np.clip(X, 0, 1), X_clean=X
        )
    assert not hasattr(model, "network_")
    model.set_params(max_iter=0).fit(X)
    with pytest.raises(ValueError, match="X_clean must have the shape"):
        model.score(X, X_clean=X[:, 1:])
