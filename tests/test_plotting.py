"""What do the displays draw, and do they leave everything else alone?"""

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import norm
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.manifold import Isomap
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    Normalizer,
    QuantileTransformer,
    StandardScaler,
)

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
from skae.plotting import (
    CodeDisplay,
    ComponentsDisplay,
    ExplainedVarianceDisplay,
    LatentManifoldDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    TraversalDisplay,
)
from skae.plotting._drawing import CELL, COLORS

matplotlib = pytest.importorskip("matplotlib")
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
    display = ReconstructionDisplay.from_estimator(autoencoder, X, n_samples=3)
    mosaic = np.asarray(display.image_.get_array().filled(np.nan))
    assert mosaic.shape == (2 * 8 + 1, 3 * 8 + 2)
    np.testing.assert_array_equal(mosaic[:8, 9:17], X[1].reshape(8, 8))
    np.testing.assert_allclose(
        mosaic[9:, 9:17], autoencoder.reconstruct(X)[1].reshape(8, 8), rtol=1e-5
    )
    assert np.isnan(mosaic[8]).all()
    texts = [text.get_text() for text in display.ax_.texts]
    errors = ((X - autoencoder.reconstruct(X)) ** 2).sum(axis=1)[:3]
    np.testing.assert_allclose(display.errors, errors, rtol=1e-4)
    written = [f"{error:.3g}" for error in display.errors]
    assert texts == ["original", "reconstructed", *written, "squared error"]


def test_noisy_images_are_what_is_reconstructed():
    noisy = X + 1
    display = ReconstructionDisplay.from_estimator(PCA(64).fit(X), X, X_noisy=noisy)
    assert [text.get_text() for text in display.ax_.texts][1] == "noisy"
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
    assert LatentSpaceDisplay.from_estimator(pipeline, frame, y).codes.shape == (200, 2)
    assert len(LossCurveDisplay.from_estimator(pipeline).lines_) == 3


@pytest.mark.parametrize(
    ("rows", "shape", "expected"),
    [
        (np.zeros((4, 12)), (3, 4), (3, 4)),
        (np.zeros((4, 12)), (3, 4, 1), (3, 4)),
        (np.zeros((4, 12)), (2, 2, 3), (2, 2, 3)),
        (np.zeros((4, 25)), None, (5, 5)),
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
    rows = np.zeros((4, 15))
    with pytest.raises(ValueError, match=r"15 features are not a square.*image_shape"):
        ReconstructionDisplay.from_predictions(rows, rows, kind="image")
    with pytest.raises(ValueError, match=r"image_shape must be .* Got \(2, 4, 2\)"):
        ReconstructionDisplay.from_predictions(rows, rows, image_shape=(2, 4, 2))
    with pytest.raises(ValueError, match=r"image_shape=\(3, 4\) has 12 values.* have 15"):
        ReconstructionDisplay.from_predictions(rows, rows, image_shape=(3, 4))
    with pytest.raises(ValueError, match=r"kind must be one of .* Got 'movie'"):
        ReconstructionDisplay.from_predictions(rows, rows, kind="movie")


@pytest.fixture(scope="module")
def wine():
    return load_wine(as_frame=True, return_X_y=True)


@pytest.fixture(scope="module")
def wine_pipeline(wine):
    autoencoder = AutoencoderTransformer(3, max_iter=2, random_state=0)
    return make_pipeline(StandardScaler(), autoencoder).fit(wine[0])


def lengths(bars):
    return [bar.get_width() / CELL for bar in bars]


def test_rows_of_a_table_are_bars_in_the_units_of_the_last_step(wine, wine_pipeline):
    display = ReconstructionDisplay.from_estimator(wine_pipeline, wine[0], n_samples=4)
    scaled = wine_pipeline[0].transform(wine[0])[:4]
    back = wine_pipeline[1].reconstruct(scaled)
    np.testing.assert_allclose(display.X, scaled)
    span = max(scaled.max(), back.max()) - min(scaled.min(), back.min())
    assert len(display.lines_) == 2 * 4
    np.testing.assert_allclose(lengths(display.lines_[1]), scaled[1] / span)
    np.testing.assert_allclose(lengths(display.lines_[5]), back[1] / span, atol=1e-6)
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert names == list(wine[0].columns)


def test_series_are_lines():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(30, 12, 2))
    series[::2, 9:] = np.nan
    network = SequenceNetwork(input_shape=(12, 2), units=3)
    autoencoder = AutoencoderTransformer(2, network=network, max_iter=1).fit(series)
    display = ReconstructionDisplay.from_estimator(autoencoder, series, n_samples=5)
    assert display.kind == "series"
    assert len(display.lines_) == 2 * 5 * 2
    drawn = -display.lines_[3].get_ydata()  # the second row's second feature
    span = [display.X, display.X_reconstructed]
    slope = CELL / (np.nanmax(span) - np.nanmin(span))
    expected = slope * (series[1, :, 1] - series[1, 0, 1])
    np.testing.assert_allclose(drawn - drawn[0], expected, atol=1e-6)
    assert np.isfinite(display.errors).all()


def test_a_step_without_inverse_is_left_out(wine):
    steps = [QuantileTransformer(n_quantiles=10), Normalizer()]
    pipeline = make_pipeline(*steps, AutoencoderTransformer(3, max_iter=1))
    pipeline.fit(wine[0])
    display = ReconstructionDisplay.from_estimator(pipeline, wine[0], kind="table")
    np.testing.assert_allclose(display.X, pipeline[:-1].transform(wine[0])[:10])
    assert display.feature_names == list(wine[0].columns)


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
    display = CodeDisplay.from_estimator(autoencoder, X / 16, n_samples=5)
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
    pca = PCA(5).fit(X)
    display = CodeDisplay.from_estimator(pca, X, code_shape=shape)
    assert display.codes.shape == (10, *expected)


def test_each_class_has_a_colour(autoencoder):
    display = LatentSpaceDisplay.from_estimator(autoencoder, X, y, components=(3, 1))
    assert len(display.scatter_) == len(np.unique(y))
    colors = {tuple(points.get_facecolor()[0]) for points in display.scatter_}
    assert len(colors) == len(display.scatter_)
    np.testing.assert_array_equal(
        display.scatter_[7].get_offsets(), autoencoder.transform(X)[y == 7][:, [3, 1]]
    )
    assert display.ax_.get_xlabel() == "component 3"
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == [str(label) for label in range(10)]
    assert len(LatentSpaceDisplay.from_estimator(autoencoder, X).scatter_) == 1


def test_more_classes_than_colours_differ_by_marker():
    names = np.array([f"class {i:02}" for i in np.arange(200) % 30])
    display = LatentSpaceDisplay.from_predictions(X, names)
    looks = {
        (tuple(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes())
        for points in display.scatter_
    }
    assert len(looks) == 30


@pytest.mark.parametrize("values", [np.arange(200), np.linspace(0, 1, 200) % 0.1])
def test_values_have_a_colour_bar(values):
    display = LatentSpaceDisplay.from_predictions(X, values)
    (points,) = display.scatter_
    np.testing.assert_array_equal(points.get_array(), values)
    assert display.ax_.get_legend() is None
    assert len(display.figure_.axes) == 2


def test_three_components_are_pairs(autoencoder):
    display = LatentSpaceDisplay.from_estimator(
        autoencoder, X, y > 4, components=(5, 0, 2)
    )
    codes = autoencoder.transform(X)
    assert display.axes_.shape == (2, 2)
    assert display.axes_[0, 1] is None
    assert len(display.scatter_) == 3 * 2
    lowest_right = display.axes_[1, 1].collections
    np.testing.assert_array_equal(lowest_right[1].get_offsets(), codes[y > 4][:, [0, 2]])
    assert display.axes_[1, 0].get_xlabel() == "component 5"
    assert display.axes_[1, 0].get_ylabel() == "component 2"


@pytest.mark.slow
def test_projections_of_the_code(autoencoder):
    codes = autoencoder.transform(X)
    display = LatentSpaceDisplay.from_estimator(autoencoder, X, projection="pca")
    expected = PCA(2).fit_transform(codes)
    np.testing.assert_allclose(display.codes, expected, rtol=1e-3, atol=1e-3)
    display = LatentSpaceDisplay.from_estimator(autoencoder, X, projection="tsne")
    assert display.ax_.get_xlabel() == "t-SNE 0"
    isomap = Isomap(n_components=2, n_neighbors=30)
    display = LatentSpaceDisplay.from_predictions(codes, projection=isomap)
    np.testing.assert_array_equal(display.codes, isomap.embedding_)
    with pytest.raises(ValueError, match=r"projection must be .* Got 'umap'"):
        LatentSpaceDisplay.from_predictions(codes, projection="umap")


@pytest.mark.parametrize("components", [(0, 16), (-1, 0), (1, 1), (0,)])
def test_components_that_are_none_are_refused(autoencoder, components):
    with pytest.raises(ValueError, match=r"components must be .* Got \("):
        LatentSpaceDisplay.from_estimator(autoencoder, X, components=components)


def test_manifold_stands_at_the_quantiles_of_the_prior(vae):
    display = LatentManifoldDisplay.from_estimator(vae, n=5)
    np.testing.assert_allclose(norm.cdf(display.first), [0.1, 0.3, 0.5, 0.7, 0.9])
    assert display.rows.shape == (5, 5, 8, 8)
    assert display.image_.get_array().shape == (40, 40)
    low, high = display.second[[0, -1]]
    corners = vae.inverse_transform([[low, high], [high, high], [low, low]])
    found = display.rows[[0, 0, 4], [0, 4, 0]].reshape(3, 64)
    np.testing.assert_allclose(found, corners, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("estimator", [AutoencoderTransformer(4, max_iter=1), PCA(4)])
def test_manifold_spans_the_codes_of_any_two_components(estimator):
    codes = estimator.fit(X).transform(X)
    display = LatentManifoldDisplay.from_estimator(estimator, X, components=(2, 0), n=5)
    low, high = np.percentile(codes, [1, 99], axis=0)
    corner = np.median(codes, axis=0)
    corner[[2, 0]] = high[2], low[0]
    np.testing.assert_allclose(
        display.rows[4, 4].reshape(1, 64),
        estimator.inverse_transform([corner]),
        rtol=1e-3,
        atol=1e-3,
    )
    assert display.ax_.get_ylabel() == "component 0"


def test_manifold_says_what_it_needs(autoencoder):
    with pytest.raises(ValueError, match="X is needed to draw the manifold"):
        LatentManifoldDisplay.from_estimator(autoencoder)
    with pytest.raises(ValueError, match="components must be two"):
        LatentManifoldDisplay.from_estimator(autoencoder, X, components=(0, 1, 2))


def test_manifold_of_series_and_tables(wine, wine_pipeline):
    display = LatentManifoldDisplay.from_estimator(wine_pipeline, wine[0], n=3)
    assert display.kind == "table"
    assert len(display.lines_) == 9
    rows = np.random.default_rng(0).normal(size=(30, 12))
    display = LatentManifoldDisplay.from_estimator(
        PCA(2).fit(rows), rows, n=3, kind="series"
    )
    assert len(display.lines_) == 9


def test_components_move_one_at_a_time(autoencoder):
    display = ComponentsDisplay.from_estimator(
        autoencoder, components=(1, 0), n_steps=5, limit=1
    )
    assert display.rows.shape == (2, 5, 8, 8)
    code = np.zeros((1, 16))
    code[0, 1] = -np.sqrt(autoencoder.explained_variance_[1])
    np.testing.assert_allclose(
        display.rows[0, 0].reshape(1, 64),
        autoencoder.inverse_transform(code),
        rtol=1e-3,
        atol=1e-3,
    )
    np.testing.assert_array_equal(display.rows[0, 2], display.rows[1, 2])
    texts = [text.get_text() for text in display.ax_.texts]
    steps = ["-1.0", "-0.5", "0", "+0.5", "+1.0"]
    assert texts == ["component 1", "component 0", *steps, "standard deviations"]


def test_components_stay_in_the_range_of_the_codes():
    network = DenseNetwork((8,))
    autoencoder = AutoencoderTransformer(
        3, network=network, code_activation="relu", max_iter=3, random_state=0
    ).fit(X)
    with pytest.raises(ValueError, match="X is needed to draw the components"):
        ComponentsDisplay.from_estimator(autoencoder)
    display = ComponentsDisplay.from_estimator(autoencoder, X, limit=50)
    codes = autoencoder.transform(X)
    for i in range(3):
        ends = np.tile(codes.mean(axis=0), (2, 1))
        ends[:, i] = codes[:, i].min(), codes[:, i].max()
        np.testing.assert_allclose(
            display.rows[i, [0, -1]].reshape(2, 64),
            autoencoder.inverse_transform(ends),
            rtol=1e-3,
            atol=1e-3,
        )


def test_components_of_a_vae_move_in_units_of_the_prior(vae):
    display = ComponentsDisplay.from_estimator(vae, n_steps=3, limit=1)
    expected = vae.inverse_transform([[-1, 0], [0, 0], [1, 0]])
    found = display.rows[0].reshape(3, 64)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_traversal_moves_one_component_of_each_row(autoencoder):
    display = TraversalDisplay.from_estimator(
        autoencoder, X, component=2, n_samples=3, n_steps=5
    )
    codes = autoencoder.transform(X)
    low, high = np.percentile(codes[:, 2], [1, 99])
    np.testing.assert_allclose(display.values, np.linspace(low, high, 5), rtol=1e-6)
    np.testing.assert_allclose(display.own, codes[:3, 2])
    assert display.rows.shape == (3, 5, 8, 8)
    code = codes[1].copy()
    code[2] = display.values[3]
    np.testing.assert_allclose(
        display.rows[1, 3].reshape(1, 64),
        autoencoder.inverse_transform([code]),
        rtol=1e-3,
        atol=1e-3,
    )
    texts = [text.get_text() for text in display.ax_.texts]
    assert texts[1] == f"row 1 at {codes[1, 2]:.2g}"
    assert texts[3:] == [*(f"{value:.2g}" for value in display.values), "component 2"]
    with pytest.raises(ValueError, match="components must be different numbers"):
        TraversalDisplay.from_estimator(autoencoder, X, component=16)


def test_a_traversal_of_series_and_tables(wine, wine_pipeline):
    display = TraversalDisplay.from_estimator(wine_pipeline, wine[0], n_steps=3)
    assert display.kind == "table"
    assert len(display.lines_) == 15
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert names == list(wine[0].columns)
    rows = np.random.default_rng(0).normal(size=(30, 12))
    display = TraversalDisplay.from_estimator(PCA(2).fit(rows), rows, kind="series")
    assert len(display.lines_) == 45


@pytest.mark.parametrize(
    "draw",
    [
        lambda: LatentSpaceDisplay.from_predictions(X[:, :2], y[:-1]),
        lambda: ReconstructionDisplay.from_predictions(X, X[:-1]),
        lambda: ReconstructionDisplay.from_predictions(X, X, X_noisy=X[:-1]),
    ],
)
def test_lengths_that_differ_are_refused(draw):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        draw()


def test_components_of_a_table_are_points(wine_pipeline):
    display = ComponentsDisplay.from_estimator(wine_pipeline, n_steps=5)
    assert len(display.lines_) == 5 * 3
    middle = display.lines_[2 * 3].get_xdata()  # no step: no change
    np.testing.assert_allclose(middle, middle[0])
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert names[0] == "alcohol"
    with pytest.raises(ValueError, match="n_steps must be 3, 5"):
        ComponentsDisplay.from_estimator(wine_pipeline, n_steps=4)


def test_losses_are_those_of_the_history(vae):
    display = LossCurveDisplay.from_estimator(vae, names=("loss", "kl", "not there"))
    assert [line.get_label() for line in display.lines_] == ["loss", "kl"]
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), vae.history_["kl"])
    np.testing.assert_array_equal(display.lines_[1].get_xdata(), [1, 2])
    names = [line.get_label() for line in LossCurveDisplay.from_estimator(vae).lines_]
    assert names == ["loss", "val_loss", "reconstruction", "kl", "linear start"]


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(3),
        DenoisingAutoencoder(3),
        VAETransformer(3),
        VAETransformer(3, likelihood="gaussian_diag"),
    ],
)
def test_line_of_pca_is_where_training_starts(estimator):
    """The losses of a model that does not leave its start, on all rows."""
    rows = load_wine().data
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    estimator.set_params(
        max_iter=1, early_stopping=False, learning_rate_init=1e-9, alpha=0, batch_size=89
    ).fit(rows)
    display = LossCurveDisplay.from_estimator(estimator, rows)
    line = display.lines_[-1].get_ydata()[0]
    tolerance = 0.1 if isinstance(estimator, DenoisingAutoencoder) else 0.02
    assert line == pytest.approx(estimator.loss_, rel=tolerance)


def test_line_of_pca_in_a_pipeline(wine, wine_pipeline):
    display = LossCurveDisplay.from_estimator(wine_pipeline, wine[0])
    scaled = wine_pipeline[0].transform(wine[0])
    pca = PCA(3).fit(scaled)
    error = (scaled - pca.inverse_transform(pca.transform(scaled))) ** 2
    assert display.pca_loss == pytest.approx(error.sum(axis=1).mean())


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (AutoencoderTransformer(2, loss="binary_crossentropy"), "binary_crossentropy"),
        (VAETransformer(2, likelihood="bernoulli"), "likelihood='bernoulli'"),
    ],
)
def test_no_line_of_pca_for_cross_entropies(estimator, message):
    estimator.set_params(max_iter=1).fit(X / 16)
    with pytest.raises(ValueError, match=f"{message}.*leave X out"):
        LossCurveDisplay.from_estimator(estimator, X / 16)


def test_no_line_of_pca_for_pairs():
    estimator = DenoisingAutoencoder(2, max_iter=1).fit(X + 1, X_clean=X)
    with pytest.raises(ValueError, match="fitted to pairs: leave X out"):
        LossCurveDisplay.from_estimator(estimator, X)


def test_shares_of_the_variance(autoencoder, wine, wine_pipeline):
    display = ExplainedVarianceDisplay.from_estimator(autoencoder)
    ratio = autoencoder.explained_variance_ratio_
    heights = [bar.get_height() for bar in display.bars_]
    np.testing.assert_allclose(heights, ratio)
    assert display.lines_ == []
    display = ExplainedVarianceDisplay.from_estimator(wine_pipeline, wine[0])
    pca = PCA(3).fit(wine_pipeline[0].transform(wine[0]))
    expected = pca.explained_variance_ratio_
    np.testing.assert_allclose(display.lines_[0].get_ydata(), expected)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert sorted(labels)[0] == f"PCA, {expected.sum():.1%} in all"


#: How linear RGB looks with one kind of cone missing (Machado et al. 2009, severity 1).
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_differ_for_any_eye(deficiency):
    """By 15 and more in CIE Lab, where some 2 are just noticed."""
    rgb = np.array([matplotlib.colors.to_rgb(color) for color in COLORS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(DEFICIENCIES[deficiency]), 0, 1)
    to_xyz = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
    xyz = seen @ np.transpose(to_xyz) / [0.9505, 1, 1.089]
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.column_stack(
        [
            116 * root[:, 1] - 16,
            500 * (root[:, 0] - root[:, 1]),
            200 * (root[:, 1] - root[:, 2]),
        ]
    )
    assert pdist(lab).min() > 15


@pytest.mark.parametrize(
    "draw",
    [
        lambda model, ax: ReconstructionDisplay.from_estimator(model, X, ax=ax),
        lambda model, ax: CodeDisplay.from_estimator(model, X, ax=ax),
        lambda model, ax: LatentSpaceDisplay.from_estimator(model, X, y, ax=ax),
        lambda model, ax: LatentManifoldDisplay.from_estimator(model, n=3, ax=ax),
        lambda model, ax: LossCurveDisplay.from_estimator(model, ax=ax),
        lambda model, ax: ComponentsDisplay.from_estimator(model, ax=ax),
        lambda model, ax: TraversalDisplay.from_estimator(model, X, ax=ax),
        lambda model, ax: ExplainedVarianceDisplay.from_estimator(model, ax=ax),
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
    with pytest.raises(
        ImportError, match=r"LossCurveDisplay needs matplotlib.*skae\[plot\]"
    ):
        LossCurveDisplay({"loss": [1.0]}).plot()


# -- fitted models, searches and styles

DISPLAYS = [
    ReconstructionDisplay,
    LatentSpaceDisplay,
    LatentManifoldDisplay,
    ComponentsDisplay,
    CodeDisplay,
    TraversalDisplay,
]


@pytest.mark.parametrize("display", DISPLAYS)
def test_models_that_are_not_fitted_are_refused(display):
    models = [
        AutoencoderTransformer(2),
        make_pipeline(StandardScaler(), AutoencoderTransformer(2)),
        GridSearchCV(AutoencoderTransformer(2), {"alpha": [0, 1]}),
        PCA(2),
    ]
    for model in models:
        with pytest.raises(NotFittedError):
            display.from_estimator(model, X)
    for display in (LossCurveDisplay, ExplainedVarianceDisplay):
        with pytest.raises(NotFittedError):
            display.from_estimator(models[0])


def test_displays_of_a_search_are_those_of_its_best_estimator():
    estimator = AutoencoderTransformer(2, max_iter=1, n_splits=1, random_state=0)
    search = GridSearchCV(estimator, {"alpha": [1e-4]}, cv=2).fit(X)
    best = search.best_estimator_
    piped = make_pipeline(MinMaxScaler(), clone(search)).fit(X)
    for display in DISPLAYS:
        display.from_estimator(search, X)
        display.from_estimator(piped, X)
    found = LatentSpaceDisplay.from_estimator(search, X).codes
    np.testing.assert_array_equal(found, best.transform(X))
    found = ReconstructionDisplay.from_estimator(search, X).X_reconstructed
    np.testing.assert_array_equal(found, best.reconstruct(X[:10]).reshape(-1, 8, 8))
    assert LossCurveDisplay.from_estimator(search).history["loss"] == best.loss_curve_
    ratio = ExplainedVarianceDisplay.from_estimator(search).ratio
    np.testing.assert_array_equal(ratio, best.explained_variance_ratio_)
    search = GridSearchCV(estimator, {"alpha": [1e-4]}, cv=2, refit=False).fit(X)
    with pytest.raises(ValueError, match=r"needs refit=True\. Got refit=False"):
        LatentSpaceDisplay.from_estimator(search, X)


@pytest.mark.parametrize("name", ["c", "color"])
@pytest.mark.parametrize("given", [None, y, np.linspace(0, 1, len(y))])
def test_a_colour_of_the_user_replaces_that_of_points(name, given):
    codes = np.random.default_rng(0).normal(size=(len(y), 2))
    display = LatentSpaceDisplay(codes, given).plot(**{name: "red"})
    assert len(display.scatter_) == (10 if given is y else 1)
    for points in display.scatter_:
        np.testing.assert_array_equal(points.get_facecolor(), [[1, 0, 0, 1]])
    assert len(display.figure_.axes) == 1  # no colour bar of values that are not drawn


def test_values_of_the_user_are_divided_among_the_classes():
    codes, values = np.zeros((len(y), 2)), np.linspace(0, 1, len(y))
    display = LatentSpaceDisplay(codes, y).plot(c=values)
    for label, points in enumerate(display.scatter_):
        np.testing.assert_array_equal(points.get_array(), values[y == label])
        assert points.get_clim() == (0, 1)


@pytest.mark.parametrize("name", ["c", "color"])
def test_a_colour_of_the_user_replaces_that_of_lines_and_bars(
    name, vae, wine, wine_pipeline
):
    displays = [
        LossCurveDisplay.from_estimator(vae, **{name: "red", "lw": 3}),
        ComponentsDisplay.from_estimator(wine_pipeline, **{name: "red"}),
    ]
    line = displays[0].lines_[0]
    assert (line.get_color(), line.get_linewidth()) == ("red", 3)
    assert {line.get_color() for line in displays[1].lines_} == {"red"}
    bars = [
        ExplainedVarianceDisplay.from_estimator(vae, **{name: "red"}).bars_,
        *ReconstructionDisplay.from_estimator(
            wine_pipeline, wine[0], **{name: "red"}
        ).lines_,
        *LatentManifoldDisplay.from_estimator(
            wine_pipeline, wine[0], n=2, **{name: "red"}
        ).lines_,
    ]
    for some in bars:
        assert {bar.get_facecolor() for bar in some} == {(1, 0, 0, 1)}


@pytest.mark.parametrize("n_splits", [1, 3])
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_the_line_of_the_linear_start(kind, n_splits, tmp_path):
    rows = X[:, :20].astype(np.float64)
    given = {"init": "linear", "n_splits": n_splits, "random_state": 0, "alpha": 0}
    model = kind(2, max_iter=3, learning_rate_init=1e-9, **given).fit(rows)
    # training that does not leave its start: the first validation loss is the start's
    assert model.start_loss_ == pytest.approx(model.history_["val_loss"][0], rel=1e-4)
    display = LossCurveDisplay.from_estimator(model)
    assert display.lines_[-1].get_label() == "linear start"
    assert display.lines_[-1].get_ydata()[0] == model.start_loss_
    model.save(tmp_path / "model")
    assert skae.load(tmp_path / "model").start_loss_ == model.start_loss_
    start = model.start_loss_
    assert model.set_params(warm_start=True, max_iter=1).fit(rows).start_loss_ == start
    assert LossCurveDisplay.from_estimator(model, rows).start_loss is None


def test_the_start_is_a_validation_loss_of_pca_that_training_falls_from():
    rows, held_out = X[:150].astype(np.float64), X[150:].astype(np.float64)
    model = AutoencoderTransformer(2, max_iter=3, random_state=0, init="linear")
    model.fit(rows, X_val=held_out)
    pca = PCA(2).fit(rows)
    errors = (held_out - pca.inverse_transform(pca.transform(held_out))) ** 2
    assert model.start_loss_ == pytest.approx(errors.sum(axis=1).mean(), rel=1e-3)


@pytest.mark.parametrize(
    "params", [{"early_stopping": False}, {"max_iter": 0}, {"init": "random"}], ids=str
)
def test_no_line_where_there_is_no_linear_start(params):
    model = AutoencoderTransformer(2, **{"max_iter": 1, "random_state": 0} | params)
    assert model.fit(X).start_loss_ is None
    labels = [line.get_label() for line in LossCurveDisplay.from_estimator(model).lines_]
    assert labels == [name for name in ("loss", "val_loss") if name in model.history_]
