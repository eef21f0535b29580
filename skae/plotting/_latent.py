"""Displays of the latent space: the codes of samples, and samples decoded from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import check_consistent_length

from skae.plotting._drawing import (
    COLORMAP,
    COLORS,
    MARKERS,
    Cells,
    check_components,
    component_names,
    decoded,
    decoding_step,
    draw_images,
    fitted,
    last_step,
    put_axes,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike

    from skae._utils.typing import MatrixLike

#: The maximum number of distinct numbers in y that are taken for classes.
MAX_CLASSES = 20

#: The fraction of a cell that the axes of a pair take in a grid of pairs.
PAIR = 0.94


class LatentSpaceDisplay:
    """Scatter plot of samples in the latent space, coloured by class or by value.

    Two components are drawn in a plane, and more in a grid with a plane for each pair.

    Create it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        The coordinates of each sample, at least two.

    y : ndarray of shape (n_samples,) or None, default=None
        Classes, which get a legend, or values, which get a colour bar. Numbers are values
        if more than 20 of them are distinct or if some are not integers.

    names : sequence of str or None, default=None
        The names of the components.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the points, or the axes that contain the grid of pairs.

    axes_ : ndarray of shape (n_components - 1, n_components - 1) of matplotlib Axes
        The axes of the pairs. Row i, column j has component j on the x-axis and component
        i + 1 on the y-axis; None where j > i.

    figure_ : matplotlib Figure
        The figure of the axes.

    scatter_ : list of matplotlib PathCollection
        The points of each class, or all points, for each pair of components.

    See Also
    --------
    LatentManifoldDisplay : Samples decoded from a grid of points of the plane.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import LatentSpaceDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = LatentSpaceDisplay.from_estimator(autoencoder, X, y)
    >>> len(display.scatter_)
    10
    >>> plt.show()
    """

    ax_: Axes
    axes_: np.ndarray
    figure_: Figure
    scatter_: list[PathCollection]

    def __init__(
        self,
        codes: np.ndarray,
        y: np.ndarray | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        self.codes = codes
        self.y = y
        self.names = names

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> LatentSpaceDisplay:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``scatter``.

        Returns
        -------
        display : LatentSpaceDisplay
            The display, drawn.
        """
        n = self.codes.shape[1] - 1
        names = self.names or component_names(range(n + 1))
        side = 2.2 * n if n > 1 else 4.8
        put_axes(self, ax, (side + 1.2, side))
        self.axes_ = np.full((n, n), None)
        if n == 1:
            self.axes_[0, 0] = self.ax_
        else:
            self._make_pairs(n)
        points = self._styles({"s": 6 if n == 1 else 3, "linewidths": 0, **kwargs})
        self.scatter_ = []
        for i, j in zip(*np.tril_indices(n), strict=True):
            ax = self.axes_[i, j]
            drawn = [
                ax.scatter(self.codes[rows, j], self.codes[rows, i + 1], **style)
                for rows, style in points
            ]
            self.scatter_ += drawn
            if i == n - 1:
                ax.set_xlabel(names[j])
            if j == 0:
                ax.set_ylabel(names[i + 1])
        self._explain(drawn)
        return self

    def _make_pairs(self, n):
        self.ax_.set_axis_off()
        for i, j in zip(*np.tril_indices(n), strict=True):
            box = (j / n, (n - 1 - i) / n, PAIR / n, PAIR / n)
            ax = self.axes_[i, j] = self.ax_.inset_axes(
                box,
                sharex=self.axes_[j, j] if i > j else None,
                sharey=self.axes_[i, 0] if j else None,
            )
            ax.tick_params(labelbottom=i == n - 1, labelleft=j == 0)

    def _styles(self, kwargs):
        """Return the rows that are drawn together, with their style."""
        everything = slice(None)
        colored = "c" in kwargs or "color" in kwargs  # by the user, in place of y
        if self.y is None:
            color = {} if colored else {"color": COLORS[0]}
            return [(everything, {**color, **kwargs})]
        if _are_values(self.y):
            color = {} if colored else {"c": self.y, "cmap": COLORMAP}
            return [(everything, {**color, **kwargs})]
        looks = itertools.product(MARKERS, COLORS)
        found = []
        for label, (marker, color) in zip(
            np.unique(self.y), itertools.cycle(looks), strict=False
        ):
            style = {"marker": marker, "label": str(label)}
            style |= {} if colored else {"color": color}
            rows = self.y == label
            found.append((rows, {**style, **self._of_rows(kwargs, rows)}))
        return found

    def _of_rows(self, kwargs, rows):
        """Return arguments with the values of some rows, where c has one for each."""
        values = kwargs.get("c")
        if values is None or isinstance(values, str) or np.size(values) < len(rows):
            return kwargs
        values = np.asarray(values)
        limits = {}
        if values.ndim == 1 and values.dtype.kind in "iuf" and "norm" not in kwargs:
            limits = {"vmin": np.nanmin(values), "vmax": np.nanmax(values)}
        return {**limits, **kwargs, "c": values[rows]}

    def _explain(self, drawn):
        if self.y is None:
            return
        if _are_values(self.y):
            if drawn[0].get_array() is not None:  # not one colour of the user's
                self.figure_.colorbar(drawn[0], ax=self.ax_, shrink=0.8)
            return
        self.ax_.legend(
            handles=drawn,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            markerscale=3 if len(self.axes_) == 1 else 4,
            ncols=math.ceil(len(drawn) / MAX_CLASSES),
            frameon=False,
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: MatrixLike,
        y: ArrayLike | None = None,
        *,
        components: Sequence[int] = (0, 1),
        projection: Any = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LatentSpaceDisplay:
        """Encode X, and draw components of the codes.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Any model with `transform`.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            The samples to encode.

        y : array-like of shape (n_samples,) or None, default=None
            Classes or values, which colour the points.

        components : sequence of int, default=(0, 1)
            The components to draw: two, or more for a grid of pairs. Ignored with a
            `projection`.

        projection : {"pca", "tsne"}, transformer or None, default=None
            The projection of all components to a plane: their first two principal
            components, :class:`~sklearn.manifold.TSNE` with its defaults, or any
            transformer with `fit_transform`.

        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``scatter``.

        Returns
        -------
        display : LatentSpaceDisplay
            The display, drawn.
        """
        estimator = fitted(estimator)
        codes = estimator.transform(X)
        return cls.from_predictions(
            codes, y, components=components, projection=projection, ax=ax, **kwargs
        )

    @classmethod
    def from_predictions(
        cls,
        codes: ArrayLike,
        y: ArrayLike | None = None,
        *,
        components: Sequence[int] = (0, 1),
        projection: Any = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LatentSpaceDisplay:
        """Draw codes that are already computed.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_components)
            The codes.

        y : array-like of shape (n_samples,) or None, default=None
            Classes or values, which colour the points.

        components : sequence of int, default=(0, 1)
            The components to draw: two, or more for a grid of pairs. Ignored with a
            `projection`.

        projection : {"pca", "tsne"}, transformer or None, default=None
            The projection of all components to a plane: their first two principal
            components, :class:`~sklearn.manifold.TSNE` with its defaults, or any
            transformer with `fit_transform`.

        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``scatter``.

        Returns
        -------
        display : LatentSpaceDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there are no such components, if there are fewer than two, or if y and the
            codes differ in length.
        """
        codes = np.asarray(codes)
        check_consistent_length(codes, y)
        if projection is not None:
            name, projector = _projector(projection)
            codes = np.asarray(projector.fit_transform(codes))
            names = [f"{name} {i}" for i in range(codes.shape[1])]
        else:
            chosen = check_components(components, codes.shape[1])
            if len(chosen) < 2:
                raise ValueError(
                    f"components must be at least two. Got {tuple(components)!r}."
                )
            codes, names = codes[:, chosen], component_names(chosen)
        y = None if y is None else np.asarray(y)
        return cls(codes, y, names=names).plot(ax, **kwargs)


class LatentManifoldDisplay:
    """Samples decoded from a grid of codes in the plane of two components.

    The first component increases to the right, the second upwards. For a variational
    autoencoder the points are quantiles of the normal prior, so that each represents the
    same fraction of the generated samples. For any other model, they are evenly spaced
    over the range of the codes of X, from the 1st percentile to the 99th.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    rows : ndarray of shape (n, n, height, width), (n, n, height, width, 3), \
            (n, n, timesteps, n_features) or (n, n, n_features)
        The decoded samples; the first row of the grid is at the top.

    first, second : ndarray of shape (n,)
        The coordinates along the first and the second component, ascending.

    kind : {"image", "series", "table"}, default="image"
        The kind of the decoded samples: images, series, or rows of a table.

    names : sequence of str, default=("component 0", "component 1")
        The names of the two components.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with all decoded samples.

    figure_ : matplotlib Figure
        The figure of the axes.

    image_ : matplotlib AxesImage
        The mosaic of all images, if samples are images.

    lines_ : list of matplotlib Line2D or BarContainer
        The lines or bars, if samples are series or rows of a table.

    See Also
    --------
    LatentSpaceDisplay : The codes of given samples in the plane.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import VAETransformer
    >>> from skae.plotting import LatentManifoldDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = VAETransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = LatentManifoldDisplay.from_estimator(vae, n=15)
    >>> display.rows.shape
    (15, 15, 8, 8)
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure
    image_: AxesImage
    lines_: list[Any]

    def __init__(
        self,
        rows: np.ndarray,
        first: np.ndarray,
        second: np.ndarray,
        *,
        kind: str = "image",
        names: Sequence[str] = ("component 0", "component 1"),
    ) -> None:
        self.rows = rows
        self.first = first
        self.second = second
        self.kind = kind
        self.names = names

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> LatentManifoldDisplay:
        """Draw the decoded samples.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow``, ``plot`` or ``barh``.

        Returns
        -------
        display : LatentManifoldDisplay
            The display, drawn.
        """
        n, height, width = len(self.first), 1, 1
        if self.kind == "image":
            draw_images(self, ax, self.rows, 0, (6, 6), **kwargs)
            height, width = self.rows.shape[2:4]
        else:
            cells = Cells(self, ax, (n, n), self.rows, (6, 6))
            draw = cells.lines if self.kind == "series" else cells.bars
            self.lines_ = draw(self.rows, **styled(kwargs, color=COLORS[0]))
        shown = np.unique([0, n // 4, (n - 1) // 2, n - 1 - n // 4, n - 1])
        self.ax_.set_axis_on()
        self.ax_.set_xticks(
            (shown + 0.5) * width - 0.5, [f"{self.first[i]:.2g}" for i in shown]
        )
        self.ax_.set_yticks(
            (n - shown - 0.5) * height - 0.5, [f"{self.second[i]:.2g}" for i in shown]
        )
        self.ax_.set(xlabel=self.names[0], ylabel=self.names[1])
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        *,
        components: Sequence[int] = (0, 1),
        n: int = 15,
        kind: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LatentManifoldDisplay:
        """Decode a grid of codes, and draw the decoded samples.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Any model with `transform` and `inverse_transform`, such as
            :class:`~sklearn.decomposition.PCA`. Images and series are drawn as they are
            in X. Rows of a table are drawn as the input of the last step of a Pipeline,
            and so are all samples if one of its steps has no inverse.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...) or None, \
                default=None
            Samples whose codes give the range of the grid; components that are not drawn
            are fixed at their median. None uses the quantiles of the prior, which only
            :class:`~skae.VAETransformer` has, with the other components at zero.

        components : sequence of two int, default=(0, 1)
            The two components of the plane.

        n : int, default=15
            The number of points on each side.

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
            Passed on to matplotlib's ``imshow``, ``plot`` or ``barh``.

        Returns
        -------
        display : LatentManifoldDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `components` are not two of the estimator's, or if X is needed.
        """
        estimator = fitted(estimator)
        last = last_step(estimator)
        chosen = check_components(components, len(estimator.get_feature_names_out()))
        if len(chosen) != 2:
            raise ValueError(f"components must be two. Got {tuple(components)!r}.")
        if X is not None:
            step, X = decoding_step(estimator, X, kind, image_shape)
            codes = np.asarray(step.transform(X))
            center = np.median(codes, axis=0)
            low, high = np.percentile(codes[:, chosen], [1, 99], axis=0)
            first, second = np.linspace(low, high, n).T
        elif hasattr(last, "posterior"):
            step = decoding_step(estimator, None, kind, image_shape)[0]
            center = np.zeros(last.n_components_)
            first = second = norm.ppf((np.arange(n) + 0.5) / n)
        else:
            raise ValueError(
                f"X is needed to draw the manifold of {type(last).__name__}: its code has"
                " no prior, so that the range comes from the codes of X."
            )
        codes = np.tile(center, (n, n, 1))
        codes[:, :, chosen] = np.stack(np.meshgrid(first, second[::-1]), axis=2)
        rows, kind = decoded(step, codes, kind, image_shape, estimator)
        names = component_names(chosen)
        return cls(rows, first, second, kind=kind, names=names).plot(ax, **kwargs)


def _are_values(y):
    """Return True if y contains values on a continuous scale, not classes."""
    if y.dtype.kind not in "iuf":
        return False
    found = np.unique(y)
    return len(found) > MAX_CLASSES or bool((found % 1 != 0).any())


def _projector(projection):
    if isinstance(projection, str) and projection == "pca":
        return "principal component", PCA(2)
    if isinstance(projection, str) and projection == "tsne":
        return "t-SNE", TSNE(random_state=0)
    if hasattr(projection, "fit_transform"):
        return type(projection).__name__, projection
    raise ValueError(
        "projection must be None, 'pca', 'tsne' or a transformer with fit_transform."
        f" Got {projection!r}."
    )
