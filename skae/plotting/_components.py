"""Displays of the components: their effects, and the variance that they explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA

from skae.plotting._drawing import (
    COLORS,
    check_components,
    component_names,
    decoded,
    decoding_step,
    draw_steps,
    feature_names,
    fitted,
    into_last_step,
    last_step,
    put_axes,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike


class ComponentsDisplay:
    """The effect of each component on the decoded samples.

    From the mean code, each component in turn is moved from a low to a high value, while
    the others are fixed. Images are drawn in a row for each component. Series are lines
    in a cell for each component, dark for low and light for high values. For a table, a
    cell for each component shows the change of each feature.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    rows : ndarray of shape (n_components, n_steps, height, width), \
            (n_components, n_steps, height, width, 3), \
            (n_components, n_steps, timesteps, n_features) or \
            (n_components, n_steps, n_features)
        The decoded samples along each component.

    steps : ndarray of shape (n_steps,)
        The distance of each code from the mean, in standard deviations of the component.

    kind : {"image", "series", "table"}, default="image"
        The kind of the decoded samples: images, series, or rows of a table.

    names : sequence of str or None, default=None
        The names of the components.

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
        The lines of series, or the points of each step for rows of a table.

    See Also
    --------
    LatentManifoldDisplay : The joint effect of two components.
    ExplainedVarianceDisplay : The variance that each component explains.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ComponentsDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(4, max_iter=10, random_state=0).fit(X)
    >>> display = ComponentsDisplay.from_estimator(autoencoder, X)
    >>> display.rows.shape
    (4, 7, 8, 8)
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure
    image_: AxesImage
    lines_: list[Any]

    def __init__(
        self,
        rows: np.ndarray,
        steps: np.ndarray,
        *,
        kind: str = "image",
        names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.rows = rows
        self.steps = steps
        self.kind = kind
        self.names = names
        self.feature_names = feature_names

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ComponentsDisplay:
        """Draw the decoded samples.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``imshow`` or ``plot``.

        Returns
        -------
        display : ComponentsDisplay
            The display, drawn.
        """
        n_components, n_steps = self.rows.shape[:2]
        rows = self.rows
        if self.kind == "table":
            rows = rows - rows[:, [n_steps // 2]]
        steps = [f"{step:+.1f}" if step else "0" for step in self.steps]
        names = self.names or component_names(range(n_components))
        title = "standard deviations"
        draw_steps(self, ax, rows, names, steps, title, self.feature_names, **kwargs)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        *,
        components: Sequence[int] | None = None,
        n_steps: int = 7,
        limit: float = 2.0,
        kind: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ComponentsDisplay:
        """Decode codes along each component, and draw the decoded samples.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Any model with `transform` and `inverse_transform`, such as
            :class:`~sklearn.decomposition.PCA`. Images and series are drawn as they are
            in X. Rows of a table are drawn as the input of the last step of a Pipeline,
            and so are all samples if one of its steps has no inverse.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...) or None, \
                default=None
            Samples whose codes give the mean and the standard deviations; steps end where
            the codes of X do. None uses the prior of a :class:`~skae.VAETransformer`, and
            for a linear code zero and `explained_variance_`.

        components : sequence of int or None, default=None
            The components to draw; None draws the first ten.

        n_steps : int, default=7
            The number of codes along each component, an odd number.

        limit : float, default=2.0
            The distance to move to each side, in standard deviations.

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
        display : ComponentsDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there are no such components, if X is needed, or if `n_steps` is even.
        """
        estimator = fitted(estimator)
        if n_steps < 3 or n_steps % 2 == 0:
            raise ValueError(f"n_steps must be 3, 5, 7 or so. Got {n_steps!r}.")
        n_components = len(estimator.get_feature_names_out())
        if components is None:
            components = range(min(n_components, 10))
        chosen = check_components(components, n_components)
        step, X = decoding_step(estimator, X, kind, image_shape)
        center, std, low, high = _spread(step, last_step(estimator), X)
        steps = np.linspace(-limit, limit, n_steps)
        codes = np.tile(center, (len(chosen), n_steps, 1))
        for codes_along, i in zip(codes, chosen, strict=True):
            codes_along[:, i] = np.clip(center[i] + steps * std[i], low[i], high[i])
        rows, kind = decoded(step, codes, kind, image_shape, estimator)
        return cls(
            rows,
            steps,
            kind=kind,
            names=component_names(chosen),
            feature_names=feature_names(estimator, step, X),
        ).plot(ax, **kwargs)


def _spread(step, last, X):
    """Return the means, standard deviations, minima and maxima of the codes."""
    if X is not None:
        codes = np.asarray(step.transform(X), np.float64)
        return codes.mean(axis=0), codes.std(axis=0), codes.min(axis=0), codes.max(axis=0)
    if hasattr(last, "posterior") or getattr(last, "whiten", False):
        std = np.ones(last.n_components_)
    elif getattr(last, "code_activation", "linear") == "linear" and (
        getattr(last, "n_components", 0) is not None
    ):
        std = np.sqrt(last.explained_variance_)
    else:
        raise ValueError(
            f"X is needed to draw the components of {type(last).__name__}: its code is not"
            " linear, so that its mean and its range are those of the codes of X."
        )
    unbounded = np.full(len(std), np.inf)
    return np.zeros(len(std)), std, -unbounded, unbounded


class ExplainedVarianceDisplay:
    """The fraction of the variance that each component explains, next to PCA's.

    Create it with :meth:`from_estimator`, or of the fractions and :meth:`plot` it.

    Parameters
    ----------
    ratio : ndarray of shape (n_components,)
        The explained fractions of the variance, such as `explained_variance_ratio_`.

    pca_ratio : ndarray of shape (n_components,) or None, default=None
        The fractions of PCA, for comparison.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the bars.

    figure_ : matplotlib Figure
        The figure of the axes.

    bars_ : matplotlib BarContainer
        The fraction of each component.

    lines_ : list of matplotlib Line2D
        The fractions of PCA's components, as one line of marks, if they are given.

    See Also
    --------
    ComponentsDisplay : The effect of each component.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ExplainedVarianceDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(8, max_iter=20, random_state=0).fit(X)
    >>> display = ExplainedVarianceDisplay.from_estimator(autoencoder, X)
    >>> bool(display.ratio.sum() > display.pca_ratio.sum())
    True
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure
    bars_: Any
    lines_: list[Any]

    def __init__(self, ratio: np.ndarray, pca_ratio: np.ndarray | None = None) -> None:
        self.ratio = ratio
        self.pca_ratio = pca_ratio

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ExplainedVarianceDisplay:
        """Draw the explained fractions.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``bar``.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display, drawn.
        """
        ax = put_axes(self, ax)
        label = f"components, {self.ratio.sum():.1%} in all"
        kwargs = styled(kwargs, color=COLORS[2], label=label)
        self.bars_ = ax.bar(range(len(self.ratio)), self.ratio, **kwargs)
        self.lines_ = []
        if self.pca_ratio is not None:
            self.lines_ = ax.plot(
                self.pca_ratio,
                color=COLORS[1],
                linestyle="none",
                marker="_",
                markersize=10,
                markeredgewidth=2,
                label=f"PCA, {self.pca_ratio.sum():.1%} in all",
            )
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel="component", ylabel="fraction of the variance", ylim=(0, None))
        ax.legend(frameon=False)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ExplainedVarianceDisplay:
        """Draw the variance that a fitted estimator's components explain.

        Parameters
        ----------
        estimator : fitted estimator or Pipeline
            An estimator with `explained_variance_ratio_`, or a Pipeline that ends in one.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...) or None, \
                default=None
            The training samples, to compare with PCA of the same number of components. In
            a Pipeline, PCA is fitted to the input of the last step.

        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``bar``.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display, drawn.
        """
        estimator = fitted(estimator)
        ratio = last_step(estimator).explained_variance_ratio_
        pca_ratio = None
        if X is not None:
            X = into_last_step(estimator, X)
            pca = PCA(min(len(ratio), *X.shape), random_state=0).fit(X)
            pca_ratio = pca.explained_variance_ratio_
        return cls(ratio, pca_ratio).plot(ax, **kwargs)
