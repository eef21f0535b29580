"""What do the displays draw, and do they leave everything else alone?"""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skae import AutoencoderTransformer, VAETransformer
from skae.networks import ConvNetwork
from skae.plotting import (
    CodeDisplay,
    LatentDisplay,
    LossDisplay,
    ManifoldDisplay,
    ReconstructionDisplay,
)

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")

X, y = load_digits(return_X_y=True)
X, y = X[:200].astype(np.float32), y[:200]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def autoencoder():
    return AutoencoderTransformer(16, max_iter=2, random_state=0).fit(X)


@pytest.fixture(scope="module")
def vae():
    return VAETransformer(2, max_iter=2, random_state=0).fit(X)


def test_reconstructions_stand_under_their_originals(autoencoder):
    display = ReconstructionDisplay.from_estimator(autoencoder, X, n_images=3)
    mosaic = np.asarray(display.image_.get_array().filled(np.nan))
    assert mosaic.shape == (2 * 8 + 1, 3 * 8 + 2)
    np.testing.assert_array_equal(mosaic[:8, 9:17], X[1].reshape(8, 8))
    np.testing.assert_allclose(
        mosaic[9:, 9:17], autoencoder.reconstruct(X)[1].reshape(8, 8), rtol=1e-5
    )
    assert np.isnan(mosaic[8]).all()
    names = [text.get_text() for text in display.ax_.texts]
    assert names == ["original", "reconstructed"]


def test_noisy_images_are_what_is_reconstructed():
    noisy = X + 1
    display = ReconstructionDisplay.from_estimator(PCA(64).fit(X), X, X_noisy=noisy)
    assert len(display.ax_.texts) == 3
    np.testing.assert_array_equal(display.X_noisy, noisy[:10].reshape(-1, 8, 8))
    np.testing.assert_allclose(display.X_reconstructed, display.X_noisy, atol=1e-3)


def test_displays_take_pipelines_and_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"pixel_{i}" for i in range(64)])
    autoencoder = AutoencoderTransformer(16, loss="binary_crossentropy", max_iter=1)
    pipeline = make_pipeline(MinMaxScaler(), autoencoder).set_output(transform="pandas")
    codes = pipeline.fit_transform(frame)
    display = ReconstructionDisplay.from_estimator(pipeline, frame)
    np.testing.assert_allclose(
        display.X_reconstructed.reshape(10, 64),
        pipeline.inverse_transform(codes)[:10],
        rtol=1e-4,
        atol=1e-4,
    )
    assert CodeDisplay.from_estimator(pipeline, frame).codes.shape == (10, 4, 4, 1)
    assert LatentDisplay.from_estimator(pipeline, frame, y).codes.shape == (200, 2)
    assert len(LossDisplay.from_estimator(pipeline).lines_) == 2


@pytest.mark.parametrize(
    ("rows", "shape", "expected"),
    [
        (np.zeros((4, 12)), (3, 4), (3, 4)),
        (np.zeros((4, 12)), (3, 4, 1), (3, 4)),
        (np.zeros((4, 12)), (2, 2, 3), (2, 2, 3)),
        (np.zeros((4, 16)), None, (4, 4)),
        (np.zeros((4, 3, 5)), None, (3, 5)),
        (np.zeros((4, 3, 5, 1)), None, (3, 5)),
        (np.zeros((4, 3, 5, 3)), None, (3, 5, 3)),
    ],
)
def test_shape_of_images(rows, shape, expected):
    display = ReconstructionDisplay.from_predictions(rows, rows, image_shape=shape)
    assert display.X.shape == (4, *expected)


def test_shape_of_images_comes_from_the_network():
    network = ConvNetwork(input_shape=(4, 16, 1), filters=(2,))
    autoencoder = AutoencoderTransformer(2, network=network, max_iter=0).fit(X)
    display = ReconstructionDisplay.from_estimator(autoencoder, X)
    assert display.X.shape == (10, 4, 16)


def test_images_that_are_none_are_refused_by_name():
    with pytest.raises(ValueError, match=r"15 features are not a square.*image_shape"):
        ReconstructionDisplay.from_predictions(np.zeros((4, 15)), np.zeros((4, 15)))
    with pytest.raises(ValueError, match=r"image_shape must be .* Got \(2, 4, 2\)"):
        ReconstructionDisplay.from_predictions(
            np.zeros((4, 16)), np.zeros((4, 16)), image_shape=(2, 4, 2)
        )


def test_colours_keep_their_scale():
    rows = np.random.default_rng(0).uniform(0, 255, (2, 48))
    display = ReconstructionDisplay.from_predictions(rows, rows, image_shape=(4, 4, 3))
    mosaic = np.asarray(display.image_.get_array())
    assert mosaic.shape == (9, 9, 3)
    assert mosaic.min() == 0
    assert mosaic.max() == 1


def test_feature_maps_stand_below_each_other():
    network = ConvNetwork(input_shape=(8, 8, 1), filters=(4, 3))
    autoencoder = AutoencoderTransformer(None, network=network, max_iter=1).fit(X / 16)
    display = CodeDisplay.from_estimator(autoencoder, X / 16, n_images=5)
    assert display.codes.shape == (5, 2, 2, 3)
    np.testing.assert_array_equal(
        display.codes.reshape(5, -1), autoencoder.transform(X[:5] / 16)
    )
    mosaic = display.image_.get_array()
    assert mosaic.shape == (3 * 2 + 2, 5 * 2 + 4)
    np.testing.assert_array_equal(mosaic[3:5, 6:8], display.codes[2, :, :, 1])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [(None, (5, 1, 1)), ((1, 5), (1, 5, 1)), ((1, 1, 5), (1, 1, 5))],
)
def test_shape_of_codes(shape, expected):
    display = CodeDisplay.from_predictions(X[:, :5], code_shape=shape)
    assert display.codes.shape == (10, *expected)


def test_each_class_has_a_colour(autoencoder):
    display = LatentDisplay.from_estimator(autoencoder, X, y, components=(3, 1))
    assert len(display.scatter_) == len(np.unique(y))
    colors = {tuple(points.get_facecolor()[0]) for points in display.scatter_}
    assert len(colors) == len(display.scatter_)
    np.testing.assert_array_equal(
        display.scatter_[7].get_offsets(), autoencoder.transform(X)[y == 7][:, [3, 1]]
    )
    assert display.ax_.get_xlabel() == "component 3"
    assert len(LatentDisplay.from_estimator(autoencoder, X).scatter_) == 1
    assert len(LatentDisplay.from_predictions(X, np.arange(200) % 30).scatter_) == 30


def test_components_out_of_range_are_refused(autoencoder):
    with pytest.raises(ValueError, match=r"components=\(0, 16\)"):
        LatentDisplay.from_estimator(autoencoder, X, components=(0, 16))


def test_manifold_stands_at_the_quantiles_of_the_prior(vae):
    display = ManifoldDisplay.from_estimator(vae, n=5)
    np.testing.assert_allclose(norm.cdf(display.quantiles), [0.1, 0.3, 0.5, 0.7, 0.9])
    assert display.images.shape == (5, 5, 8, 8)
    assert display.image_.get_array().shape == (40, 40)
    low, high = display.quantiles[[0, -1]]
    corners = vae.inverse_transform([[low, high], [high, high], [low, low]])
    found = display.images[[0, 0, 4], [0, 4, 0]].reshape(3, 64)
    np.testing.assert_allclose(found, corners, rtol=1e-4, atol=1e-4)


def test_manifold_needs_two_components(autoencoder):
    with pytest.raises(ValueError, match=r"n_components=2.* 16 components"):
        ManifoldDisplay.from_estimator(autoencoder)


def test_losses_are_those_of_the_history(vae):
    display = LossDisplay.from_estimator(vae, names=("loss", "kl", "not there"))
    assert [line.get_label() for line in display.lines_] == ["loss", "kl"]
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), vae.history_["kl"])
    np.testing.assert_array_equal(display.lines_[1].get_xdata(), [1, 2])


@pytest.mark.parametrize(
    "draw",
    [
        lambda model, ax: ReconstructionDisplay.from_estimator(model, X, ax=ax),
        lambda model, ax: CodeDisplay.from_estimator(model, X, ax=ax),
        lambda model, ax: LatentDisplay.from_estimator(model, X, y, ax=ax),
        lambda model, ax: ManifoldDisplay.from_estimator(model, n=3, ax=ax),
        lambda model, ax: LossDisplay.from_estimator(model, ax=ax),
    ],
)
def test_given_axes_are_drawn_on(vae, draw):
    figure, ax = plt.subplots()
    display = draw(vae, ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert len(plt.get_fignums()) == 1
    assert display.plot().ax_ is not ax


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, skae.plotting; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"LossDisplay needs matplotlib.*skae\[plot\]"):
        LossDisplay({"loss": [1.0]}).plot()
