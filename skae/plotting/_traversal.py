"""TraversalDisplay: the effect of one component on given samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skae.plotting._drawing import (
    check_components,
    component_names,
    decoded,
    decoding_step,
    draw_steps,
    feature_names,
    fitted,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike


class TraversalDisplay:
    """Latent traversal: samples of X decoded with different values of one component.

    The component traverses the range of its values, starting from the code of each sample
    of X; the others are fixed. Images are drawn in a row for each sample, labelled with
    its own value; series and tables in a cell each, dark for low values and light for
    high ones.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_steps, height, width), \
            (n_samples, n_steps, height, width, 3), \
            (n_samples, n_steps, timesteps, n_features) or \
            (n_samples, n_steps, n_features)
        The decoded samples.

    values : ndarray of shape (n_steps,)
        The values of the component, ascending.

    own : ndarray of shape (n_samples,)
        The value of the component in the code of each sample of X.

    kind : {"image", "series", "table"}, default="image"
        The kind of the decoded samples: images, series, or rows of a table.

    name : str, default="component 0"
        The name of the component.

    feature_names : sequence of str or None, default=None
        The names of the features of a table.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with all decoded samples.

    figure_ : matplotlib Figure
        The figure of the axes.

    image_ : matplotlib AxesImage
        The mosaic of all images, if samples are images.

    lines_ : list of matplotlib Line2D
        The lines, or the points of each value, where rows are series or a table.

    See Also
    --------
    ComponentsDisplay : The effect of each component on the mean code.
    LatentManifoldDisplay : The joint effect of two components.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import TraversalDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(4, max_iter=10, random_state=0).fit(X)
    >>> display = TraversalDisplay.from_estimator(autoencoder, X, component=1)
    >>> display.rows.shape
    (5, 9, 8, 8)
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure
    image_: AxesImage
    lines_: list[Any]

    def __init__(
        self,
        rows: np.ndarray,
        values: np.ndarray,
        own: np.ndarray,
        *,
        kind: str = "image",
        name: str = "component 0",
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.rows = rows
        self.values = values
        self.own = own
        self.kind = kind
        self.name = name
        self.feature_names = feature_names

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> TraversalDisplay:
        """Draw the decoded samples.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow`` or ``plot``.

        Returns
        -------
        display : TraversalDisplay
            The display, drawn.
        """
        names = [f"row {i} at {own:.2g}" for i, own in enumerate(self.own)]
        values = [f"{value:.2g}" for value in self.values]
        draw_steps(
            self, ax, self.rows, names, values, self.name, self.feature_names, **kwargs
        )
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        component: int = 0,
        n_samples: int = 5,
        n_steps: int = 9,
        kind: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> TraversalDisplay:
        """Encode X, vary one component of the first codes, and draw the decoded samples.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Any model with `transform` and `inverse_transform`, such as
            :class:`~sklearn.decomposition.PCA`. Images and series are drawn as they are
            in X. Rows of a table are drawn as the input of the last step of a Pipeline,
            and so are all samples if one of its steps has no inverse.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Samples, the first of which are drawn. The codes of all give the range of the
            component, from the 1st percentile to the 99th.

        component : int, default=0
            The component to vary.

        n_samples : int, default=5
            The number of samples of X to start from.

        n_steps : int, default=9
            The number of values of the component.

        kind : {"auto", "image", "series", "table"}, default="auto"
            The kind of a decoded sample. "auto" depends on `image_shape`, then on the
            `input_shape` of the estimator's network, then on the shape of the decoded
            samples.

        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, 3)``. None uses the `input_shape` of
            the estimator's network, then the shape of the samples, then a square.

        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow`` or ``plot``.

        Returns
        -------
        display : TraversalDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no such component.
        """
        estimator = fitted(estimator)
        check_components([component], len(estimator.get_feature_names_out()))
        step, X = decoding_step(estimator, X, kind, image_shape)
        codes = np.asarray(step.transform(X))
        values = np.linspace(*np.percentile(codes[:, component], [1, 99]), n_steps)
        own = codes[:n_samples, component]
        along = np.repeat(codes[:n_samples, None], n_steps, axis=1)
        along[:, :, component] = values
        rows, kind = decoded(step, along, kind, image_shape, estimator)
        return cls(
            rows,
            values,
            own,
            kind=kind,
            name=component_names([component])[0],
            feature_names=feature_names(estimator, step, X),
        ).plot(ax, **kwargs)
