"""The components: what moving along each does, and how much variance it explains."""

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
    into_last_step,
    last_step,
    put_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


class ComponentsDisplay:
    """What moving along each component does to what is decoded.

    From a code in the middle, each component in turn goes from below to above, while
    the others stay. Images stand in a row for each component. Series are lines in a cell
    for each component, dark below and light above. For a table, a cell for each
    component shows by how much each feature moves.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    rows : ndarray of shape (n_components, n_steps, height, width), \
            (n_components, n_steps, height, width, 3), \
            (n_components, n_steps, timesteps, n_features) or \
            (n_components, n_steps, n_features)
        What is decoded along each component.

    steps : ndarray of shape (n_steps,)
        How far each code lies from the middle, in standard deviations of the component.

    kind : {"image", "series", "table"}, default="image"
        What is decoded: images, series, or rows of a table.

    names : sequence of str or None, default=None
        The names of the components.

    feature_names : sequence of str or None, default=None
        The names of the features of a table.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with all that is decoded.

    figure_ : matplotlib Figure
        The figure of the axes.

    image_ : matplotlib AxesImage
        All images side by side, where rows are images.

    lines_ : list of matplotlib Line2D
        The lines, or the points of each step, where rows are series or a table.

    See Also
    --------
    LatentManifoldDisplay : What two components do together.
    ExplainedVarianceDisplay : How much each component matters.

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
        """Draw what is decoded.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

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
        """Decode codes along each component, and draw what they are decoded to.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            With `transform` and `inverse_transform`, :class:`~sklearn.decomposition.PCA`
            too. Images and series are drawn as they are in X; rows of a table, and
            all rows where a step of a Pipeline has no inverse, as its last step is given
            them.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...) or None, \
                default=None
            Rows whose codes give the middle, by their mean, and the standard
            deviations; steps end where the codes of X do. None takes the prior of a
            :class:`~skae.VAETransformer`, and for a linear code zero and
            `explained_variance_`.

        components : sequence of int or None, default=None
            Which components to draw; None draws the first ten.

        n_steps : int, default=7
            The number of codes along each component, an odd number.

        limit : float, default=2.0
            How far to go to each side, in standard deviations.

        kind : {"auto", "image", "series", "table"}, default="auto"
            What is decoded. "auto" goes by `image_shape`, then by the `input_shape` of the
            estimator's network, then by the shape of what is decoded.

        image_shape : tuple of int or None, default=None
            ``(height, width)`` or ``(height, width, 3)``. None takes the `input_shape`
            of the estimator's network, then the shape of the rows, then a square.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

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
    """The codes' middle, standard deviations, least and greatest values."""
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
            " linear, so that only the codes of X tell its middle and its range."
        )
    unbounded = np.full(len(std), np.inf)
    return np.zeros(len(std)), std, -unbounded, unbounded


class ExplainedVarianceDisplay:
    """The share of the variance that each component explains, next to PCA's.

    Create it with :meth:`from_estimator`, or of the shares and :meth:`plot` it.

    Parameters
    ----------
    ratio : ndarray of shape (n_components,)
        The shares of the variance, such as `explained_variance_ratio_`.

    pca_ratio : ndarray of shape (n_components,) or None, default=None
        Those of PCA, to compare with.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the bars.

    figure_ : matplotlib Figure
        The figure of the axes.

    bars_ : matplotlib BarContainer
        The share of each component.

    lines_ : list of matplotlib Line2D
        The share of each component of PCA, as one line of marks, where they are given.

    See Also
    --------
    ComponentsDisplay : What each component does.

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

    def __init__(self, ratio: np.ndarray, pca_ratio: np.ndarray | None = None) -> None:
        self.ratio = ratio
        self.pca_ratio = pca_ratio

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ExplainedVarianceDisplay:
        """Draw the shares.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``bar``.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display, drawn.
        """
        ax = put_axes(self, ax)
        label = f"components, {self.ratio.sum():.1%} in all"
        kwargs = {"color": COLORS[2], "label": label, **kwargs}
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
        ax.set(xlabel="component", ylabel="share of the variance", ylim=(0, None))
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
        """Draw the shares of a fitted estimator's components.

        Parameters
        ----------
        estimator : fitted estimator or Pipeline
            With `explained_variance_ratio_`, or a Pipeline that ends in one.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...) or None, \
                default=None
            The training rows, to compare with PCA of the same number of components
            fitted to them: to what the steps before the last make of them, in a Pipeline.

        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``bar``.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display, drawn.
        """
        ratio = last_step(estimator).explained_variance_ratio_
        pca_ratio = None
        if X is not None:
            X = into_last_step(estimator, X)
            pca = PCA(min(len(ratio), *X.shape), random_state=0).fit(X)
            pca_ratio = pca.explained_variance_ratio_
        return cls(ratio, pca_ratio).plot(ax, **kwargs)
