"""Displays of what an autoencoder does: reconstructions, codes, losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = [
    "CodeDisplay",
    "LatentDisplay",
    "LossDisplay",
    "ManifoldDisplay",
    "ReconstructionDisplay",
]


class ReconstructionDisplay:
    """Images over their reconstructions, one column for each.

    Create it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    X : ndarray of shape (n_images, height, width) or (n_images, height, width, 3)
        The images.

    X_reconstructed : ndarray of the shape of X
        Their reconstructions.

    X_noisy : ndarray of the shape of X or None, default=None
        What was reconstructed, if not the images as they are: a row between the two.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the images.

    figure_ : matplotlib Figure
        The figure of the axes.

    image_ : matplotlib AxesImage
        All images side by side.

    See Also
    --------
    CodeDisplay : The codes in between.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ReconstructionDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(autoencoder, X)
    >>> plt.show()
    """

    def __init__(
        self,
        X: np.ndarray,
        X_reconstructed: np.ndarray,
        *,
        X_noisy: np.ndarray | None = None,
    ) -> None:
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.X_noisy = X_noisy

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ReconstructionDisplay:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : ReconstructionDisplay
        """
        rows = {
            "original": self.X,
            "noisy": self.X_noisy,
            "reconstructed": self.X_reconstructed,
        }
        rows = {name: images for name, images in rows.items() if images is not None}
        kwargs = {"vmin": np.min(self.X), "vmax": np.max(self.X), **kwargs}
        _draw(self, ax, np.stack(list(rows.values())), **kwargs)
        _label_rows(self.ax_, list(rows))
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        X_noisy: ArrayLike | None = None,
        n_images: int = 10,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ReconstructionDisplay:
        """Reconstruct the first rows of X, and draw both.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Anything with `transform` and `inverse_transform`, :class:`~sklearn.\
decomposition.PCA` too.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The images, one a row.

        X_noisy : array-like of the shape of X or None, default=None
            What to reconstruct in place of X: a row of its own.

        n_images : int, default=10
            The number of rows of X to draw.

        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, 3)``. None takes the `input_shape`
            of the estimator's network, then the shape of the rows of X, then a square.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : ReconstructionDisplay
        """
        X = X[:n_images]
        X_noisy = None if X_noisy is None else X_noisy[:n_images]
        codes = estimator.transform(X if X_noisy is None else X_noisy)
        return cls.from_predictions(
            X,
            estimator.inverse_transform(codes),
            X_noisy=X_noisy,
            n_images=n_images,
            image_shape=image_shape or _network_shape(estimator),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        X: ArrayLike,
        X_reconstructed: ArrayLike,
        *,
        X_noisy: ArrayLike | None = None,
        n_images: int = 10,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ReconstructionDisplay:
        """Draw images and reconstructions that are there already.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The images, one a row.

        X_reconstructed : array-like of the shape of X
            Their reconstructions.

        X_noisy : array-like of the shape of X or None, default=None
            What was reconstructed, if not X: a row of its own.

        n_images : int, default=10
            The number of rows of X to draw.

        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, 3)``. None takes the shape of the
            rows of X, or a square.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : ReconstructionDisplay
        """
        images = [
            None if rows is None else _images(rows[:n_images], image_shape)
            for rows in (X, X_reconstructed, X_noisy)
        ]
        return cls(images[0], images[1], X_noisy=images[2]).plot(ax, **kwargs)


class CodeDisplay:
    """Codes as grey images, one column for each row of X.

    Feature maps, such as the code of a convolutional network with
    ``n_components=None``, stand below each other, one image each. Any other code is
    one image: a square where that is possible, or else a column.

    Parameters
    ----------
    codes : ndarray of shape (n_codes, height, width, n_maps)
        The codes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the images.

    figure_ : matplotlib Figure
        The figure of the axes.

    image_ : matplotlib AxesImage
        All images side by side.

    See Also
    --------
    LatentDisplay : Two components as coordinates.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import CodeDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(16, max_iter=10, random_state=0).fit(X)
    >>> display = CodeDisplay.from_estimator(autoencoder, X)
    >>> display.codes.shape
    (10, 4, 4, 1)
    >>> plt.show()
    """

    def __init__(self, codes: np.ndarray) -> None:
        self.codes = codes

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> CodeDisplay:
        """Draw the codes.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : CodeDisplay
        """
        return _draw(self, ax, np.moveaxis(self.codes, 3, 0), **kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        n_images: int = 10,
        code_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> CodeDisplay:
        """Encode the first rows of X, and draw their codes.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Anything with `transform`.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The rows to encode.

        n_images : int, default=10
            The number of rows of X to encode.

        code_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, n_maps)``. None takes the shape
            of the network's feature maps where those are the code.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : CodeDisplay
        """
        codes = estimator.transform(X[:n_images])
        return cls.from_predictions(
            codes,
            n_images=n_images,
            code_shape=code_shape or _feature_shape(estimator),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        codes: ArrayLike,
        *,
        n_images: int = 10,
        code_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> CodeDisplay:
        """Draw codes that are there already.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_components)
            The codes.

        n_images : int, default=10
            The number of codes to draw.

        code_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, n_maps)``. None is a square, or
            else a column.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : CodeDisplay
        """
        codes = np.asarray(codes)[:n_images]
        if code_shape is None:
            side = math.isqrt(codes.shape[1])
            code_shape = (side, side) if side**2 == codes.shape[1] else (-1, 1)
        if len(code_shape) == 2:
            code_shape = (*code_shape, 1)
        return cls(codes.reshape(len(codes), *code_shape)).plot(ax, **kwargs)


class LatentDisplay:
    """Rows of X as points on the plane of two components, coloured by class.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, 2)
        The coordinates.

    y : ndarray of shape (n_samples,) or None, default=None
        The classes.

    names : sequence of str, default=("component 0", "component 1")
        The names of the two components.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the points.

    figure_ : matplotlib Figure
        The figure of the axes.

    scatter_ : list of matplotlib PathCollection
        The points of each class.

    See Also
    --------
    ManifoldDisplay : What is decoded from the points of the plane.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import LatentDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = LatentDisplay.from_estimator(autoencoder, X, y)
    >>> plt.show()
    """

    def __init__(
        self,
        codes: np.ndarray,
        y: np.ndarray | None = None,
        *,
        names: Sequence[str] = ("component 0", "component 1"),
    ) -> None:
        self.codes = codes
        self.y = y
        self.names = names

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> LatentDisplay:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``scatter``.

        Returns
        -------
        display : LatentDisplay
        """
        self.ax_ = _axes(self, ax)
        self.figure_ = self.ax_.figure
        kwargs = {"s": 6, "linewidths": 0, **kwargs}
        y = np.zeros(len(self.codes)) if self.y is None else self.y
        classes = np.unique(y)
        if len(classes) > 1:
            palette = "tab10" if len(classes) <= 10 else "turbo"
            colors = _palette(palette, len(classes))
            self.ax_.set_prop_cycle(color=colors)
        self.scatter_ = [
            self.ax_.scatter(*self.codes[y == label].T, label=str(label), **kwargs)
            for label in classes
        ]
        self.ax_.set(xlabel=self.names[0], ylabel=self.names[1])
        if self.y is not None:
            self.ax_.legend(
                loc="center left", bbox_to_anchor=(1, 0.5), markerscale=3, frameon=False
            )
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        components: tuple[int, int] = (0, 1),
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LatentDisplay:
        """Encode X, and draw two components of the codes.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Anything with `transform`.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The rows to encode.

        y : array-like of shape (n_samples,) or None, default=None
            The classes, which colour the points.

        components : tuple of two int, default=(0, 1)
            Which components to draw.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``scatter``.

        Returns
        -------
        display : LatentDisplay
        """
        return cls.from_predictions(
            estimator.transform(X), y, components=components, ax=ax, **kwargs
        )

    @classmethod
    def from_predictions(
        cls,
        codes: ArrayLike,
        y: ArrayLike | None = None,
        *,
        components: tuple[int, int] = (0, 1),
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LatentDisplay:
        """Draw codes that are there already, a t-SNE of codes too.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_components)
            The codes, of at least two components.

        y : array-like of shape (n_samples,) or None, default=None
            The classes, which colour the points.

        components : tuple of two int, default=(0, 1)
            Which components to draw.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``scatter``.

        Returns
        -------
        display : LatentDisplay
        """
        codes = np.asarray(codes)
        if codes.shape[1] <= max(components):
            raise ValueError(
                f"components={tuple(components)!r} is out of the range of codes with"
                f" {codes.shape[1]} components."
            )
        names = [f"component {i}" for i in components]
        y = None if y is None else np.asarray(y)
        return cls(codes[:, list(components)], y, names=names).plot(ax, **kwargs)


class ManifoldDisplay:
    """What a variational autoencoder generates over the plane of two components.

    The images stand at the quantiles of the normal prior, so that each stands for the
    same share of what the model generates; the first component grows to the right, the
    second upwards.

    Parameters
    ----------
    images : ndarray of shape (n, n, height, width) or (n, n, height, width, 3)
        The images, by rows from the top.

    quantiles : ndarray of shape (n,)
        The coordinates, ascending.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the images.

    figure_ : matplotlib Figure
        The figure of the axes.

    image_ : matplotlib AxesImage
        All images side by side.

    See Also
    --------
    LatentDisplay : Where on the plane given rows are.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import VAETransformer
    >>> from skae.plotting import ManifoldDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = VAETransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = ManifoldDisplay.from_estimator(vae, n=15)
    >>> display.images.shape
    (15, 15, 8, 8)
    >>> plt.show()
    """

    def __init__(self, images: np.ndarray, quantiles: np.ndarray) -> None:
        self.images = images
        self.quantiles = quantiles

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ManifoldDisplay:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : ManifoldDisplay
        """
        _draw(self, ax, self.images, gap=0, figsize=(6, 6), **kwargs)
        height, width = self.images.shape[2:4]
        n = len(self.quantiles)
        shown = np.unique([0, n // 4, (n - 1) // 2, n - 1 - n // 4, n - 1])
        labels = [f"{self.quantiles[i]:.1f}" for i in shown]
        self.ax_.set_axis_on()
        self.ax_.set_xticks((shown + 0.5) * width - 0.5, labels)
        self.ax_.set_yticks((n - shown - 0.5) * height - 0.5, labels)
        self.ax_.set(xlabel="component 0", ylabel="component 1")
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n: int = 15,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ManifoldDisplay:
        """Decode a grid of codes, and draw the images.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            With `inverse_transform` and two components of standard normal prior.

        n : int, default=15
            The number of images on each side.

        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, 3)``. None takes the `input_shape`
            of the estimator's network, then the shape of the rows, then a square.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : ManifoldDisplay
        """
        n_components = len(estimator.get_feature_names_out())
        if n_components != 2:
            raise ValueError(
                "ManifoldDisplay needs an estimator with n_components=2. Got one with"
                f" {n_components} components."
            )
        quantiles = norm.ppf((np.arange(n) + 0.5) / n)
        second, first = np.meshgrid(quantiles[::-1], quantiles, indexing="ij")
        rows = estimator.inverse_transform(np.column_stack([first.flat, second.flat]))
        images = _images(rows, image_shape or _network_shape(estimator))
        return cls(images.reshape(n, n, *images.shape[1:]), quantiles).plot(ax, **kwargs)


class LossDisplay:
    """Losses by epoch.

    Parameters
    ----------
    history : mapping of str to sequence of float
        The losses after each epoch, by name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the curves.

    figure_ : matplotlib Figure
        The figure of the axes.

    lines_ : list of matplotlib Line2D
        The curves.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import LossDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X)
    >>> display = LossDisplay.from_estimator(autoencoder)
    >>> plt.show()
    """

    def __init__(self, history: Mapping[str, Sequence[float]]) -> None:
        self.history = history

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> LossDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : LossDisplay
        """
        self.ax_ = _axes(self, ax)
        self.figure_ = self.ax_.figure
        self.lines_ = [
            self.ax_.plot(np.arange(1, len(losses) + 1), losses, label=name, **kwargs)[0]
            for name, losses in self.history.items()
        ]
        self.ax_.set(xlabel="epoch", ylabel="loss")
        if self.lines_:
            self.ax_.legend(frameon=False)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        names: Sequence[str] = ("loss", "val_loss"),
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LossDisplay:
        """Draw the losses of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator or Pipeline
            With a `history_`, or a Pipeline that ends in one.

        names : sequence of str, default=("loss", "val_loss")
            Which entries of `history_` to draw; those that it lacks are left out.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : LossDisplay
        """
        history = _last_step(estimator).history_
        history = {name: history[name] for name in names if name in history}
        return cls(history).plot(ax, **kwargs)


# -- what the displays share


def _last_step(estimator: Any) -> Any:
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _network_shape(estimator: Any) -> tuple[int, ...] | None:
    """The shape of an image, as far as the estimator's network knows it."""
    network = getattr(_last_step(estimator), "network_", None)
    shape = getattr(network, "input_shape", None)
    return tuple(shape) if shape is not None and len(shape) > 1 else None


def _feature_shape(estimator: Any) -> tuple[int, ...] | None:
    """The shape of the network's feature maps, where they are the code."""
    estimator = _last_step(estimator)
    if getattr(estimator, "n_components", 0) is not None:
        return None
    layers = {layer.name: layer for layer in estimator.encoder_._flatten_layers()}
    if "features" not in layers:
        return None
    shape = layers["features"].input.shape[1:]
    return tuple(shape) if len(shape) == 3 else None


def _images(rows: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    """Rows as images; a last axis of length one is dropped."""
    rows = np.asarray(rows)
    if shape is None:
        shape = rows.shape[1:]
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        if side**2 != shape[0]:
            raise ValueError(
                f"{shape[0]} features are not a square image: pass image_shape."
            )
        shape = (side, side)
    if len(shape) == 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise ValueError(
            "image_shape must be (height, width) or (height, width, 3)."
            f" Got {tuple(shape)!r}."
        )
    return rows.reshape(len(rows), *shape)


def _mosaic(grid: np.ndarray, gap: int) -> np.ndarray:
    """Images of shape (rows, columns, height, width, ...) as one, NaN in the gaps."""
    pad = [(0, 0), (0, 0), (0, gap), (0, gap), *[(0, 0)] * (grid.ndim - 4)]
    grid = np.pad(np.asarray(grid, np.float64), pad, constant_values=np.nan)
    rows, columns, height, width = grid.shape[:4]
    one = grid.swapaxes(1, 2).reshape(rows * height, columns * width, *grid.shape[4:])
    return one[: rows * height - gap, : columns * width - gap]


def _draw(
    display: Any,
    ax: Axes | None,
    grid: np.ndarray,
    gap: int = 1,
    figsize: tuple[float, float] | None = None,
    **kwargs: Any,
) -> Any:
    mosaic = _mosaic(grid, gap)
    if figsize is None:
        width = min(12.0, 0.9 * grid.shape[1] + 1)
        figsize = (width, min(12.0, width * mosaic.shape[0] / mosaic.shape[1] + 0.3))
    display.ax_ = _axes(display, ax, figsize)
    display.figure_ = display.ax_.figure
    kwargs = {"cmap": "gray", "interpolation": "nearest", **kwargs}
    if mosaic.ndim == 3:  # imshow clips colours, and does not scale them
        low = kwargs.pop("vmin", np.nanmin(mosaic))
        high = kwargs.pop("vmax", np.nanmax(mosaic))
        mosaic = np.clip((mosaic - low) / (high - low or 1.0), 0, 1)
        mosaic = np.nan_to_num(mosaic, nan=1.0)
    display.image_ = display.ax_.imshow(mosaic, **kwargs)
    display.ax_.set_axis_off()
    return display


def _label_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names to the left of the rows of a mosaic."""
    for i, name in enumerate(names):
        ax.text(
            -0.01,
            1 - (i + 0.5) / len(names),
            name,
            transform=ax.transAxes,
            ha="right",
            va="center",
        )


def _axes(
    display: Any, ax: Axes | None, figsize: tuple[float, float] | None = None
) -> Axes:
    if ax is not None:
        return ax
    return _pyplot(display).subplots(figsize=figsize, layout="constrained")[1]


def _pyplot(display: Any) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} needs matplotlib: pip install 'skae[plot]'."
        ) from error
    return plt


def _palette(name: str, n_colors: int) -> Any:
    import matplotlib

    colors = matplotlib.colormaps[name]
    if n_colors <= colors.N < 256:
        return colors(np.arange(n_colors))
    return colors(np.linspace(0, 1, n_colors))
