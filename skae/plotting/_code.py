"""CodeDisplay: codes as grey images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from skae._utils.keras import flat_layers
from skae.plotting._drawing import draw_images, fitted, last_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike


class CodeDisplay:
    """Codes as grey images, one column for each sample of X.

    Feature maps, such as the code of a convolutional network with
    ``n_components=None``, are drawn below each other, one image each. Any other code is
    one image: a square if possible, or else a column.

    Create it with :meth:`from_estimator`, or of codes in their shape and :meth:`plot` it.

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
        The mosaic of all images.

    See Also
    --------
    LatentSpaceDisplay : Two components as coordinates.

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

    ax_: Axes
    figure_: Figure
    image_: AxesImage

    def __init__(self, codes: np.ndarray) -> None:
        self.codes = codes

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> CodeDisplay:
        """Draw the codes.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : CodeDisplay
            The display, drawn.
        """
        draw_images(self, ax, np.moveaxis(self.codes, 3, 0), **kwargs)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        n_samples: int = 10,
        code_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> CodeDisplay:
        """Encode the first samples of X, and draw their codes.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Any model with `transform`.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The samples to encode.

        n_samples : int, default=10
            The number of samples of X to encode.

        code_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, n_maps)``. None takes the shape
            of the network's feature maps where those are the code, then a square, or
            else a column.

        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : CodeDisplay
            The display, drawn.
        """
        estimator = fitted(estimator)
        codes = np.asarray(estimator.transform(X[:n_samples]))
        if code_shape is None:
            side = math.isqrt(codes.shape[1])
            square = (side, side) if side**2 == codes.shape[1] else (-1, 1)
            code_shape = _feature_shape(estimator) or square
        height, width, n_maps = (*code_shape, 1)[:3]
        return cls(codes.reshape(len(codes), height, width, n_maps)).plot(ax, **kwargs)


def _feature_shape(estimator: Any) -> tuple[int, ...] | None:
    """Return the shape of the network's feature maps if they are the code."""
    estimator = last_step(estimator)
    if getattr(estimator, "n_components", 0) is not None:
        return None
    layers = {layer.name: layer for layer in flat_layers(estimator.encoder_)}
    if "features" not in layers:
        return None
    shape = layers["features"].input.shape[1:]
    return tuple(shape) if len(shape) == 3 else None
