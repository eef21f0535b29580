"""skae.callbacks.TensorBoard: what is in the files that it writes?"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.callbacks import TensorBoard, _new_folder, run_name
from skae.networks import DenseNetwork, SequenceNetwork
from skae.noise import MaskingNoise

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("matplotlib")

X = load_digits(return_X_y=True)[0][:200]
NETWORK = DenseNetwork((8,))


def events(folder):
    """What the event files of a folder hold: (tag, step) -> tensor."""
    found = {}
    for path in sorted(Path(folder).rglob("*tfevents*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found[value.tag, event.step] = tf.make_ndarray(value.tensor)
    return found


def fit_folder(logs):
    """The folder of the only fit."""
    (folder,) = Path(logs).rglob("fit-1")
    return folder


def projected(folder):
    from tensorboard.plugins.projector import ProjectorConfig

    config = (folder / "projector_config.pbtxt").read_text()
    return text_format.Parse(config, ProjectorConfig())


def test_losses_are_those_of_the_history(tmp_path):
    autoencoder = AutoencoderTransformer(
        2, network=NETWORK, max_iter=3, callbacks=[TensorBoard(tmp_path)], random_state=0
    ).fit(X)
    for folder, tag, name in [
        ("train", "epoch_loss", "loss"),
        ("validation", "epoch_loss", "val_loss"),
    ]:
        found = events(fit_folder(tmp_path) / folder)
        written = [found[tag, epoch] for epoch in range(3)]
        np.testing.assert_allclose(written, autoencoder.history_[name], rtol=1e-6)
        assert not any(tag == "reconstructions" for tag, _ in found)
    assert not list(tmp_path.rglob("*.tsv"))


def test_pictures_show_the_validation_rows(tmp_path):
    callback = TensorBoard(tmp_path, pictures_freq=2, n_samples=4)
    AutoencoderTransformer(2, network=NETWORK, max_iter=4, callbacks=[callback]).fit(X)
    found = events(fit_folder(tmp_path) / "validation")
    pictures = {key for key in found if key[0] in ("reconstructions", "codes")}
    assert pictures == {
        (tag, step) for tag in ("reconstructions", "codes") for step in (0, 2)
    }
    for key in pictures:
        width, height, png = found[key]
        image = tf.io.decode_png(png).numpy()
        assert image.shape[:2] == (int(height), int(width))
        assert len(np.unique(image)) > 10
    first, later = (found["reconstructions", step][2] for step in (0, 2))
    assert first != later


def test_projector_has_the_codes_of_the_epoch(tmp_path):
    """At a rate of almost zero, those of the start, of rows that the sprites show."""
    callback = TensorBoard(tmp_path, codes_freq=2, max_codes=20)
    autoencoder = AutoencoderTransformer(
        3,
        network=NETWORK,
        max_iter=3,
        learning_rate_init=1e-12,
        early_stopping=False,
        callbacks=[callback],
    ).fit(X)
    folder = fit_folder(tmp_path) / "train"
    config = projected(folder)
    names = [embedding.tensor_name for embedding in config.embeddings]
    assert names == ["codes-0", "codes-2"]
    assert list(config.embeddings[0].sprite.single_image_dim) == [8, 8]
    codes = np.loadtxt(folder / config.embeddings[1].tensor_path, delimiter="\t")
    assert codes.shape == (20, 3)
    sprites = tf.io.decode_png((folder / "rows.png").read_bytes()).numpy()[..., 0]
    assert sprites.shape == (5 * 8, 5 * 8)
    shown = sprites.reshape(5, 8, 5, 8).swapaxes(1, 2).reshape(25, 64)[:20]
    shown = shown * (16 / 255)  # the largest value of a pixel
    distance = ((X[None] - shown[:, None]) ** 2).sum(axis=2)
    assert distance.min(axis=1).max() < 64 * 0.1**2
    expected = autoencoder.transform(X[distance.argmin(axis=1)])
    np.testing.assert_allclose(codes, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("estimator", "rows"),
    [
        (VAETransformer(2, network=NETWORK), X),
        (AutoencoderTransformer(1, network=NETWORK), X[:, :7]),
        (
            AutoencoderTransformer(
                2, network=SequenceNetwork(input_shape=(8, 8), units=3)
            ),
            X,
        ),
    ],
)
def test_any_rows_without_early_stopping(tmp_path, estimator, rows):
    callback = TensorBoard(tmp_path, pictures_freq=1, codes_freq=1)
    estimator.set_params(max_iter=1, early_stopping=False, callbacks=[callback])
    estimator.fit(rows)
    folder = fit_folder(tmp_path) / "train"
    assert ("reconstructions", 0) in events(folder)
    (embedding,) = projected(folder).embeddings
    assert np.loadtxt(folder / embedding.tensor_path).shape[0] == 200
    assert not (fit_folder(tmp_path) / "validation").exists()


@pytest.mark.slow
def test_each_fit_of_a_grid_search_has_a_folder(tmp_path):
    callback = TensorBoard(tmp_path)
    search = GridSearchCV(
        AutoencoderTransformer(network=NETWORK, max_iter=1, callbacks=[callback]),
        {"n_components": [2, 3]},
        cv=2,
        n_jobs=2,
    ).fit(X)
    folders = [*tmp_path.rglob("fit-*")]
    best, fits = search.best_params_["n_components"], {}
    for folder in folders:
        fits.setdefault(folder.parent.name, set()).add(folder.name)
    fixed, several = (
        "network=DenseNetwork,network__hidden_layer_sizes=(8,)",
        {"fit-1", "fit-2"},
    )
    assert fits == {
        f"max_iter=1,{'' if k == 2 else 'n_components=3,'}{fixed}": several
        | ({"fit-3"} if k == best else set())
        for k in (2, 3)
    }
    for folder in folders:
        assert (
            len([tag for tag, _ in events(folder / "train") if tag == "epoch_loss"]) == 1
        )
    assert search.best_estimator_.callbacks[0].log_dir == str(tmp_path)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (AutoencoderTransformer(callbacks=[TensorBoard()], verbose=1), ""),
        (
            AutoencoderTransformer(8, network=DenseNetwork(dropout=0.1), random_state=0),
            "n_components=8,network=DenseNetwork,network__dropout=0.1,random_state=0",
        ),
        (
            DenoisingAutoencoder(noise=MaskingNoise(0.2), loss="absolute_error"),
            "loss=absolute_error,noise=MaskingNoise,noise__level=0.2",
        ),
        (
            AutoencoderTransformer(
                optimizer=keras.optimizers.SGD(),
                network=SequenceNetwork((8, 2)),
                random_state=np.random.RandomState(0),
            ),
            "network=SequenceNetwork,network__input_shape=(8,2),optimizer=SGD,"
            "random_state=RandomState",
        ),
    ],
)
def test_names_carry_the_parameters(estimator, name):
    assert run_name(estimator) == name


def test_folders_are_made_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(_new_folder, [tmp_path / "logs"] * 40))
    assert len(set(folders)) == 40


def test_pictures_leave_pyplot_alone(tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    callback = TensorBoard(tmp_path, pictures_freq=1)
    AutoencoderTransformer(2, network=NETWORK, max_iter=1, callbacks=[callback]).fit(X)
    assert plt.get_fignums() == before


def test_pictures_need_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"TensorBoard needs matplotlib.*skae\[plot\]"):
        TensorBoard(tmp_path, pictures_freq=1)
    TensorBoard(tmp_path, codes_freq=1)


def test_it_needs_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"needs tensorboard.*skae\[tensorboard\]"):
        TensorBoard(tmp_path)


def test_keras_own_fit_has_losses_alone(tmp_path):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    model.compile("adam", "mse")
    model.fit(X, X, verbose=0, callbacks=[TensorBoard(tmp_path)])
    assert ("epoch_loss", 0) in events(fit_folder(tmp_path) / "train")
    with pytest.raises(ValueError, match="need the rows of an skae estimator"):
        model.fit(X, X, verbose=0, callbacks=[TensorBoard(tmp_path, codes_freq=1)])


@pytest.mark.parametrize("update_freq", ["batch", 10])
def test_batches_are_refused(tmp_path, update_freq):
    callback = TensorBoard(tmp_path, update_freq=update_freq)
    with pytest.raises(ValueError, match="TensorBoard needs to be called at every batch"):
        AutoencoderTransformer(2, callbacks=[callback]).fit(X)
