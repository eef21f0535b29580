"""Keras callbacks for autoencoders; importing them imports Keras."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import itertools
import math
import re
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from skae._utils.keras import import_keras
from skae.plotting import LatentSpaceDisplay, ReconstructionDisplay
from skae.plotting._drawing import View, mosaic, new_figure

keras = import_keras()

__all__ = ["TensorBoard"]


class TensorBoard(keras.callbacks.TensorBoard):
    """TensorBoard callback: logs losses, pictures and codes to a new folder for each fit.

    Each fit makes the next of the folders "fit-1", "fit-2", ... in a folder named after
    the estimator's parameters that differ from their defaults, such as
    "n_components=8,noise__level=0.1". So the candidates of a grid search have names, and
    their folds do not overwrite each other, even in several processes at once. Run
    ``tensorboard --logdir`` with `log_dir` to compare them.

    It needs TensorBoard: ``pip install skae[tensorboard]``.

    Pictures and codes show the validation samples, or without early stopping the training
    samples. The codes are those of the model in training; only the code of the fitted
    model is rotated to components.

    Parameters
    ----------
    log_dir : str or path-like, default="logs"
        The parent of all these folders.

    pictures_freq : int, default=0
        The number of epochs between pictures of reconstructions and of the first two
        components. 0 draws none. It needs matplotlib.

    codes_freq : int, default=0
        The number of epochs between sets of codes for the embedding projector. 0 writes
        none.

    n_samples : int, default=10
        The number of samples in the picture of reconstructions.

    max_codes : int, default=1000
        The maximum number of samples for the projector.

    kind : {"auto", "image", "series", "table"}, default="auto"
        The kind of a sample of X: see :class:`~skae.plotting.ReconstructionDisplay`.

    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, 3)``, if the samples of X are images.

    **kwargs : dict
        Passed on to :class:`keras.callbacks.TensorBoard`.

    Attributes
    ----------
    log_dir : str
        The folder of the fit, in the copy of the callback that the fit has made.

    Raises
    ------
    ImportError
        If TensorBoard is not installed, or if pictures are asked for and matplotlib is
        not installed.

    See Also
    --------
    skae.plotting.ReconstructionDisplay : The picture of reconstructions.
    skae.plotting.LatentSpaceDisplay : The picture of the first two components.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.callbacks import TensorBoard
    >>> X, _ = load_digits(return_X_y=True)
    >>> with tempfile.TemporaryDirectory() as logs:
    ...     callback = TensorBoard(logs, pictures_freq=5, codes_freq=5)
    ...     autoencoder = AutoencoderTransformer(4, max_iter=10, callbacks=[callback])
    ...     _ = autoencoder.fit(X).fit(X)
    ...     print(os.listdir(logs))
    ...     print(sorted(os.listdir(os.path.join(logs, "max_iter=10,n_components=4"))))
    ['max_iter=10,n_components=4']
    ['fit-1', 'fit-2']
    """

    def __init__(
        self,
        log_dir: str | PathLike[str] = "logs",
        *,
        pictures_freq: int = 0,
        codes_freq: int = 0,
        n_samples: int = 10,
        max_codes: int = 1000,
        kind: Literal["auto", "image", "series", "table"] = "auto",
        image_shape: tuple[int, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "skae.callbacks.TensorBoard needs tensorboard, which is not installed:"
                " pip install skae[tensorboard]"
            )
        super().__init__(log_dir, **kwargs)
        self.parent_dir = self.log_dir
        self.pictures_freq = pictures_freq
        self.codes_freq = codes_freq
        self.n_samples = n_samples
        self.max_codes = max_codes
        self.kind = kind
        self.image_shape = image_shape
        if pictures_freq:
            new_figure(self)

    def set_model(self, model):
        self._model = model

    def on_train_begin(self, logs=None):
        name = run_name(self.params.get("estimator"))
        self.log_dir = str(_new_folder(Path(self.parent_dir) / name))
        self.written = []
        super().set_model(self._model)  # which writes the graph to the folder
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        pictures = self.pictures_freq and epoch % self.pictures_freq == 0
        projected = self.codes_freq and epoch % self.codes_freq == 0
        if not pictures and not projected:
            return
        rows = self._rows()
        codes = self.model.get_layer("encoder").predict_on_batch(rows)
        if pictures:
            self._write_pictures(epoch, rows, codes)
        if projected:
            some = slice(self.max_codes)
            self._write_codes(epoch, rows[some], codes[some])

    def _rows(self):
        if "rows" not in self.params:
            raise ValueError(
                "TensorBoard: pictures and codes need the rows of an skae estimator; with"
                " Keras' own fit set pictures_freq=0 and codes_freq=0."
            )
        return self.params["rows"](max(self.n_samples, self.max_codes))

    def _view(self, rows):
        estimator = self.params["estimator"]
        return View.of(rows, self.kind, self.image_shape, estimator)

    def _writer_and_folder(self):
        if self.params["validates"]:
            return self._val_writer, Path(self._val_dir)
        return self._train_writer, Path(self._train_dir)

    def _write_pictures(self, epoch, rows, codes):
        some = slice(self.n_samples)
        back = self.model.get_layer("decoder").predict_on_batch(codes[some])
        view = self._view(rows)
        display = ReconstructionDisplay(
            view.fold(rows[some]), view.fold(back), kind=view.kind
        )
        figures = {"reconstructions": _figure(display, (1 + 0.9 * len(back), 3))}
        if codes.shape[1] > 1:
            figures["codes"] = _figure(LatentSpaceDisplay(codes[:, :2]), (5, 5))
        writer, _ = self._writer_and_folder()
        with writer.as_default():
            for name, figure in figures.items():
                self.summary.image(name, figure[None], step=epoch)

    def _write_codes(self, epoch, rows, codes):
        """Write codes for the embedding projector, and rows of X as its sprites."""
        from tensorboard.plugins import projector

        _, folder = self._writer_and_folder()
        folder.mkdir(exist_ok=True)
        name = f"codes-{epoch}.tsv"
        np.savetxt(folder / name, codes, fmt="%.6g", delimiter="\t")
        view = self._view(rows)
        if view.kind == "image" and not self.written:
            _write_sprites(folder / "rows.png", view.fold(rows))
        self.written.append(name)
        config = projector.ProjectorConfig()
        for name in self.written:
            embedding = config.embeddings.add()
            embedding.tensor_name = name.removesuffix(".tsv")
            embedding.tensor_path = name
            if view.kind == "image":
                embedding.sprite.image_path = "rows.png"
                embedding.sprite.single_image_dim.extend(view.shape[1::-1])
        projector.visualize_embeddings(str(folder), config)


#: Parameters that do not affect the fitted model.
_UNNAMED = {"callbacks", "verbose"}

#: The maximum length of a name: file systems allow some 250 characters.
_LONGEST = 200


def run_name(estimator):
    """Name a folder after the estimator's parameters that differ from their defaults."""
    if estimator is None:
        return ""
    found = {}
    for name, value in sorted(estimator.get_params(deep=False).items()):
        if name not in _UNNAMED:
            found |= _changed(name, value, _default(estimator, name))
    text = ",".join(f"{name}={value}" for name, value in found.items())
    return re.sub(r"[^\w.,=()+-]+", "_", text)[:_LONGEST]


def _changed(name, value, default):
    """Return a parameter if it differs from its default; of an object, its own ones."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        kind = type(value).__name__
        found = {} if type(value) is type(default) else {name: kind}
        for inner, own in sorted(value.get_params(deep=False).items()):
            found |= _changed(f"{name}__{inner}", own, _default(value, inner))
        return found
    if repr(value) == repr(default):
        return {}
    return {name: getattr(value, "__name__", None) or _short(value)}


def _short(value):
    plain = isinstance(value, (str, int, float, tuple, list, np.generic)) or value is None
    return str(value).replace(" ", "") if plain else type(value).__name__


def _default(estimator, name):
    return inspect.signature(type(estimator).__init__).parameters[name].default


def _new_folder(parent):
    """Make the first of "fit-1", "fit-2", ... that does not exist, atomically."""
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    number = itertools.count(1)
    while True:
        folder = parent / f"fit-{next(number)}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder


def _figure(display, figsize):
    """Draw a display as pixels, without pyplot."""
    figure, canvas = new_figure(display, figsize)
    display.plot(figure.subplots())
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _write_sprites(path, images):
    """Write all images as one square mosaic, the format that TensorBoard reads."""
    import tensorflow as tf

    side = math.ceil(math.sqrt(len(images)))
    low, high = np.nanmin(images), np.nanmax(images)
    pixels = np.zeros((side * side, *images.shape[1:]), np.uint8)
    pixels[: len(images)] = 255 * ((images - low) / (high - low or 1))
    pixels = mosaic(pixels.reshape(side, side, *images.shape[1:]), gap=0)
    pixels = pixels.reshape(*pixels.shape[:2], -1).astype(np.uint8)
    tf.io.write_file(str(path), tf.io.encode_png(pixels))
