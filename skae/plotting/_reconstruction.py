"""ReconstructionDisplay: samples of X and their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_consistent_length

from skae.plotting._drawing import (
    COLORS,
    Cells,
    View,
    decoded_rows,
    decoding_step,
    draw_images,
    encoded_rows,
    feature_names,
    fitted,
    label_columns,
    label_rows,
    legend_above,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike

#: The style of each kind of row where several are drawn in one cell.
STYLES = {
    "original": {"color": "#000000"},
    "noisy": {"color": "#BBBBBB"},
    "reconstructed": {"color": COLORS[1]},
}


class ReconstructionDisplay:
    """Samples of X and their reconstructions, one column each, with the squared error.

    Images are drawn one above the other. A series is a line, and a row of a table a bar
    for each feature, with the original and the reconstruction in one cell.

    Create it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, height, width), (n_samples, height, width, 3), \
            (n_samples, timesteps, n_features) or (n_samples, n_features)
        The samples: images, series, or rows of a table.

    X_reconstructed : ndarray of the shape of X
        Their reconstructions.

    X_noisy : ndarray of the shape of X or None, default=None
        The noisy samples that were reconstructed, drawn between the two; None is X.

    kind : {"image", "series", "table"}, default="image"
        The kind of a sample of X.

    feature_names : sequence of str or None, default=None
        The names of the features of a table.

    Attributes
    ----------
    errors : ndarray of shape (n_samples,)
        The squared error of each reconstruction, summed over features, in squared
        units of X.

    ax_ : matplotlib Axes
        The axes with all samples.

    figure_ : matplotlib Figure
        The figure of the axes.

    image_ : matplotlib AxesImage
        The mosaic of all images, if samples are images.

    lines_ : list of matplotlib Line2D or BarContainer
        The lines or bars, if samples are series or rows of a table.

    See Also
    --------
    CodeDisplay : The codes of the samples.
    ComponentsDisplay : The effect of each component.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ReconstructionDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(autoencoder, X)
    >>> display.errors.shape
    (10,)
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure
    image_: AxesImage
    lines_: list[Any]

    def __init__(
        self,
        X: np.ndarray,
        X_reconstructed: np.ndarray,
        *,
        X_noisy: np.ndarray | None = None,
        kind: str = "image",
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.X_noisy = X_noisy
        self.kind = kind
        self.feature_names = feature_names

    @property
    def errors(self) -> np.ndarray:
        """The squared error of each sample, summed over features."""
        difference = np.subtract(self.X, self.X_reconstructed, dtype=np.float64)
        return np.nansum(difference.reshape(len(difference), -1) ** 2, axis=1)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ReconstructionDisplay:
        """Draw the samples and their reconstructions.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``, ``plot`` or ``barh``.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.
        """
        rows = {
            "original": self.X,
            "noisy": self.X_noisy,
            "reconstructed": self.X_reconstructed,
        }
        rows = {name: values for name, values in rows.items() if values is not None}
        if self.kind == "image":
            kwargs = {"vmin": np.min(self.X), "vmax": np.max(self.X), **kwargs}
            draw_images(self, ax, np.stack(list(rows.values())), **kwargs)
            label_rows(self.ax_, list(rows))
        else:
            self._draw_over_each_other(rows, ax, **kwargs)
        errors = [f"{error:.3g}" for error in self.errors]
        label_columns(self.ax_, errors, title="squared error")
        return self

    def _draw_over_each_other(self, rows, ax, **kwargs):
        values = np.stack(list(rows.values()))
        n_columns = len(self.X)
        height = 1.5 if self.kind == "series" else max(1.0, 0.2 * values.shape[2])
        figsize = (min(12.0, 1.2 * n_columns + 1.5), min(12.0, height + 0.8))
        cells = Cells(self, ax, (1, n_columns), values, figsize)
        self.lines_, handles = [], []
        for i, (name, row) in enumerate(zip(rows, values, strict=True)):
            style = styled(kwargs, **STYLES[name])
            if self.kind == "series":
                drawn = cells.lines(row[None], **style)
            else:
                height = 0.8 / len(rows)
                shift = height * (i - (len(rows) - 1) / 2)
                drawn = cells.bars(row[None], height, shift, **style)
            self.lines_ += drawn
            handles.append(drawn[0])
        if self.kind == "table" and self.feature_names is not None:
            cells.name_bars(self.feature_names)
        legend_above(self.ax_, handles, list(rows))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        X_noisy: ArrayLike | None = None,
        n_samples: int = 10,
        kind: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ReconstructionDisplay:
        """Reconstruct the first samples of X, and draw both.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Any model with `transform` and `inverse_transform`, such as
            :class:`~sklearn.decomposition.PCA`. Images and series are drawn as they are
            in X. Rows of a table are drawn as the input of the last step of a Pipeline,
            and so are all samples if one of its steps has no inverse.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The samples.

        X_noisy : array-like of the shape of X or None, default=None
            Noisy samples to reconstruct instead of X, drawn between the two.

        n_samples : int, default=10
            The number of samples of X to draw.

        kind : {"auto", "image", "series", "table"}, default="auto"
            The kind of a sample of X. "auto" depends on `image_shape`, then on the
            `input_shape` of the estimator's network, then on the shape of the samples: a
            number of features that is the square of at least 5 is an image, any other a
            row of a table.

        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, 3)``. None uses the `input_shape` of
            the estimator's network, then the shape of the samples, then a square.

        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``, ``plot`` or ``barh``.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.
        """
        estimator = fitted(estimator)
        check_consistent_length(X, X_noisy)
        X = X[:n_samples]
        step, rows = decoding_step(estimator, X, kind, image_shape)
        if X_noisy is not None:
            X_noisy = X_noisy[:n_samples]
            X_noisy = decoding_step(estimator, X_noisy, kind, image_shape)[1]
        codes = step.transform(rows if X_noisy is None else X_noisy)
        back, names = decoded_rows(step, codes), feature_names(estimator, step, rows)
        rows = encoded_rows(step, rows)
        X_noisy = None if X_noisy is None else encoded_rows(step, X_noisy)
        display = cls._of(rows, back, X_noisy, kind, image_shape, names, estimator)
        return display.plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        X: ArrayLike,
        X_reconstructed: ArrayLike,
        *,
        X_noisy: ArrayLike | None = None,
        n_samples: int = 10,
        kind: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ReconstructionDisplay:
        """Draw samples and reconstructions that are already computed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The samples.

        X_reconstructed : array-like of the shape of X
            Their reconstructions.

        X_noisy : array-like of the shape of X or None, default=None
            The noisy samples that were reconstructed, drawn between the two; None is X.

        n_samples : int, default=10
            The number of samples of X to draw.

        kind : {"auto", "image", "series", "table"}, default="auto"
            The kind of a sample of X. "auto" depends on `image_shape`, then on the shape
            of the samples: a number of features that is the square of at least 5 is an
            image, any other a row of a table.

        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, 3)``. None uses the shape of the
            samples, or a square.

        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``, ``plot`` or ``barh``.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.
        """
        check_consistent_length(X, X_reconstructed, X_noisy)
        names = feature_names(None, None, X)
        X, X_reconstructed, X_noisy = (
            None if rows is None else rows[:n_samples]
            for rows in (X, X_reconstructed, X_noisy)
        )
        display = cls._of(X, X_reconstructed, X_noisy, kind, image_shape, names)
        return display.plot(ax, **kwargs)

    @classmethod
    def _of(cls, X, X_reconstructed, X_noisy, kind, image_shape, names, estimator=None):
        view = View.of(np.asarray(X), kind, image_shape, estimator)
        X, X_reconstructed, X_noisy = (
            None if rows is None else view.fold(rows)
            for rows in (X, X_reconstructed, X_noisy)
        )
        return cls(
            X, X_reconstructed, X_noisy=X_noisy, kind=view.kind, feature_names=names
        )
