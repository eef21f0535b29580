"""Common code of the displays: views of samples, axes, colours."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

KINDS = ("auto", "image", "series", "table")

#: The minimum side of a square of features that is drawn as an image.
MIN_SIDE = 5

#: Colours that are distinct with any colour vision (Tol 2021, "muted"), and black.
COLORS = (
    "#332288",
    "#CC6677",
    "#88CCEE",
    "#117733",
    "#DDCC77",
    "#882255",
    "#44AA99",
    "#999933",
    "#AA4499",
    "#000000",
)

#: Markers for more classes than there are colours.
MARKERS = ("o", "^", "s", "v", "D", "P", "X", "*")

#: From low to high, for values and steps.
COLORMAP = "cividis"

#: The fraction of a cell's side that is drawn on.
CELL = 0.86


# -- the estimator


def fitted(estimator: Any) -> Any:
    """Return a fitted estimator, of a search its best one.

    Raises
    ------
    NotFittedError
        If the estimator, or the last step of a Pipeline, is not fitted.

    ValueError
        If a search was fitted with ``refit=False``, which leaves no best estimator.
    """
    if isinstance(estimator, Pipeline):
        last = fitted(estimator[-1])
        if last is estimator[-1]:
            return estimator
        return Pipeline([*estimator.steps[:-1], (estimator.steps[-1][0], last)])
    if hasattr(estimator, "fit"):
        check_is_fitted(estimator)
    if not hasattr(estimator, "cv_results_"):
        return estimator
    if not hasattr(estimator, "best_estimator_"):
        raise ValueError(
            f"A display of {type(estimator).__name__} is one of its best_estimator_, which"
            f" needs refit=True. Got refit={estimator.refit!r}."
        )
    return fitted(estimator.best_estimator_)


def last_step(estimator: Any) -> Any:
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def decoding_step(
    estimator: Any,
    X: ArrayLike | None,
    kind: str,
    image_shape: Sequence[int] | None,
) -> tuple[Any, ArrayLike | None]:
    """Return the step of a Pipeline to encode and decode with, and its input.

    Images and series go through the whole Pipeline and back if each of its steps has an
    inverse, so that they look as they do in X. Rows of a table, whose features may have
    different units, are drawn as the input of the last step.
    """
    if not isinstance(estimator, Pipeline):
        return estimator, X
    if hasattr(estimator, "inverse_transform"):
        given = np.empty((1, estimator.n_features_in_)) if X is None else X[:1]
        if View.of(np.asarray(given), kind, image_shape, estimator).kind != "table":
            return estimator, X
    return estimator[-1], None if X is None else estimator[:-1].transform(X)


def into_last_step(estimator: Any, X: ArrayLike) -> np.ndarray:
    """Transform X to the input of the last step of a Pipeline, as flat rows."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        X = estimator[:-1].transform(X)
    table = getattr(last_step(estimator), "table_", None)
    X = X if table is None else table.encode(X)
    X = check_array(X, allow_nd=True, dtype=[np.float64, np.float32])
    return X.reshape(len(X), -1)


def feature_names(estimator: Any, step: Any, X: ArrayLike) -> list[str] | None:
    """Return the names of the features that a step decodes to, if known."""
    if getattr(step, "table_", None) is not None:
        return [str(name) for name in step.table_.names]
    names = getattr(X, "columns", None)
    if names is None:
        names = getattr(step, "feature_names_in_", None)
    if names is None and step is not estimator:  # the last step of a Pipeline
        first = getattr(estimator, "feature_names_in_", None)
        if first is not None:
            names = estimator[:-1].get_feature_names_out()
    return None if names is None else [str(name) for name in names]


def component_names(indices: Sequence[int]) -> list[str]:
    return [f"component {i}" for i in indices]


def check_components(components: Sequence[int], n_components: int) -> list[int]:
    found = list(components)
    if not all(0 <= i < n_components for i in found) or len(found) != len(set(found)):
        raise ValueError(
            "components must be different numbers from 0 to"
            f" {n_components - 1}, for a code with {n_components} components."
            f" Got {tuple(components)!r}."
        )
    return found


# -- samples of X as images, series or rows of a table


@dataclass(frozen=True)
class View:
    """The way to draw a sample of X: as an image, a series or a row of a table."""

    kind: str
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        kind: str = "auto",
        image_shape: Sequence[int] | None = None,
        estimator: Any = None,
    ) -> View:
        """Choose the view by the arguments, the network's `input_shape`, or the rows."""
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}. Got {kind!r}.")
        last = last_step(estimator)
        if getattr(last, "table_", None) is not None:
            if image_shape is not None or kind not in ("auto", "table"):
                raise ValueError(
                    "Rows of a mixed table are drawn with kind='table' and without an"
                    f" image_shape. Got kind={kind!r} and image_shape={image_shape!r}."
                )
            kind = "table"
        network = getattr(last, "network_", getattr(last, "network", None))
        folded = getattr(network, "input_shape", None)
        shape = rows.shape[1:]
        if folded is not None and math.prod(folded) == math.prod(shape):
            shape = tuple(folded)
        if kind == "auto":
            kind = "image"
            if image_shape is None and len(shape) == 2 and folded is not None:
                kind = "series"
            elif image_shape is None and len(shape) == 1:
                side = math.isqrt(shape[0])
                kind = "image" if side >= MIN_SIDE and side**2 == shape[0] else "table"
        if kind == "image":
            return cls(kind, _image_shape(shape if image_shape is None else image_shape))
        if kind == "series":
            return cls(kind, (shape[0], math.prod(shape[1:])))
        return cls(kind, (math.prod(shape),))

    def fold(self, rows: ArrayLike) -> np.ndarray:
        """Reshape rows to this shape."""
        rows = np.asarray(rows)
        if math.prod(rows.shape[1:]) != math.prod(self.shape):
            raise ValueError(
                f"image_shape={self.shape!r} has {math.prod(self.shape)} values, but the"
                f" rows have {math.prod(rows.shape[1:])}."
            )
        return rows.reshape(len(rows), *self.shape)


def decoded_rows(step: Any, codes: np.ndarray) -> np.ndarray:
    """Decode codes to rows of numbers; of a mixed table to its encoded columns."""
    if getattr(step, "table_", None) is None:
        return np.asarray(step.inverse_transform(codes))
    return in_range(step.table_, np.asarray(step.decoder_(codes)))


def encoded_rows(step: Any, X: ArrayLike) -> ArrayLike:
    """Return rows to draw; of a mixed table its encoded columns."""
    if getattr(step, "table_", None) is None:
        return X
    return in_range(step.table_, step.table_.encode(X))


def in_range(table: Any, matrix: np.ndarray) -> np.ndarray:
    """Scale numbers to 0 and 1 at their least and greatest value in `fit`.

    So they have the unit of classes, whose columns are probabilities.
    """
    low, high = (np.where(np.isinf(end), i, end) for i, end in enumerate(table.limits))
    return (matrix - low) / np.where(high > low, high - low, 1.0)


def decoded(
    step: Any,
    codes: np.ndarray,
    kind: str,
    image_shape: Sequence[int] | None,
    estimator: Any,
) -> tuple[np.ndarray, str]:
    """Decode codes of shape (a, b, n_components), and return the kind of samples too."""
    rows = decoded_rows(step, codes.reshape(-1, codes.shape[2]))
    view = View.of(rows, kind, image_shape, estimator)
    return view.fold(rows).reshape(*codes.shape[:2], *view.shape), view.kind


def _image_shape(shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(shape)
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
            f"image_shape must be (height, width) or (height, width, 3). Got {shape!r}."
        )
    return shape


def mosaic(grid: np.ndarray, gap: int) -> np.ndarray:
    """Join images of shape (rows, columns, height, width, ...), with NaN in gaps."""
    pad = [(0, 0), (0, 0), (0, gap), (0, gap), *[(0, 0)] * (grid.ndim - 4)]
    grid = np.pad(np.asarray(grid, np.float64), pad, constant_values=np.nan)
    rows, columns, height, width = grid.shape[:4]
    one = grid.swapaxes(1, 2).reshape(rows * height, columns * width, *grid.shape[4:])
    return one[: rows * height - gap, : columns * width - gap]


def draw_images(
    display: Any,
    ax: Axes | None,
    grid: np.ndarray,
    gap: int = 1,
    figsize: tuple[float, float] | None = None,
    **kwargs: Any,
) -> None:
    """Draw a grid of images of shape (rows, columns, height, width, ...) as `image_`."""
    pixels = mosaic(grid, gap)
    if figsize is None:
        width = min(11.0, 0.9 * grid.shape[1])
        height = min(11.0, width * pixels.shape[0] / pixels.shape[1])
        figsize = (width + 1, height + 0.5)
    put_axes(display, ax, figsize)
    kwargs = {"cmap": "gray", "interpolation": "nearest", **kwargs}
    if pixels.ndim == 3:  # imshow clips colours, and does not scale them
        low = kwargs.pop("vmin", np.nanmin(pixels))
        high = kwargs.pop("vmax", np.nanmax(pixels))
        pixels = np.clip((pixels - low) / (high - low or 1.0), 0, 1)
        pixels = np.nan_to_num(pixels, nan=1.0)
    display.image_ = display.ax_.imshow(pixels, **kwargs)
    display.ax_.set_axis_off()


class Cells:
    """A grid of cells of one unit on one axes, with one range of values for all.

    The first cell has its middle at (0, 0); the next ones go to the right and down.

    Parameters
    ----------
    display : object
        Stores the axes as `ax_`, and the figure as `figure_`.

    ax : matplotlib Axes or None
        None makes a new figure.

    size : tuple of two int
        The number of rows and of columns.

    values : ndarray
        All values that will be drawn. Their range is the range of each cell.

    figsize : tuple of two float
        The size of a new figure, in inches.
    """

    def __init__(
        self,
        display: Any,
        ax: Axes | None,
        size: tuple[int, int],
        values: np.ndarray,
        figsize: tuple[float, float],
    ) -> None:
        n_rows, n_columns = size
        self.ax = put_axes(display, ax, figsize)
        self.ax.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
        self.ax.set_xticks([])
        self.ax.set_yticks([])
        for side in self.ax.spines.values():
            side.set_visible(False)
        self.low, self.high = float(np.nanmin(values)), float(np.nanmax(values))
        if self.high <= self.low:
            self.high = self.low + 1.0

    def lines(self, grid: np.ndarray, **kwargs: Any) -> list:
        """Draw series (rows, columns, timesteps, n_features), a line for each feature."""
        along, drawn = _along(grid.shape[2]), []
        for i, j in np.ndindex(*grid.shape[:2]):
            drawn += self.ax.plot(j + along, i - self._share(grid[i, j]), **kwargs)
        return drawn

    def bars(
        self, grid: np.ndarray, height: float = 0.8, shift: float = 0.0, **kwargs: Any
    ) -> list:
        """Draw rows (rows, columns, n_features), a horizontal bar for each feature.

        The bars begin at zero, or at the end of the range that is nearest to zero.
        `height` and `shift` are fractions of the space for one bar.
        """
        along, room = _along(grid.shape[2]), CELL / grid.shape[2]
        zero = self._share(np.clip(0.0, self.low, self.high))
        return [
            self.ax.barh(
                i + along + shift * room,
                self._share(grid[i, j]) - zero,
                left=j + zero,
                height=height * room,
                **kwargs,
            )
            for i, j in np.ndindex(*grid.shape[:2])
        ]

    def points(self, grid: np.ndarray, **kwargs: Any) -> list:
        """Draw rows (rows, columns, n_features), a point for each feature."""
        along, drawn = _along(grid.shape[2]), []
        kwargs = styled(kwargs, linestyle="none", marker="o", markersize=4)
        for i, j in np.ndindex(*grid.shape[:2]):
            drawn += self.ax.plot(j + self._share(grid[i, j]), i + along, **kwargs)
        return drawn

    def name_bars(self, names: Sequence[str]) -> None:
        """Label the bars of the first row of cells with the features' names."""
        self.ax.set_yticks(_along(len(names)), names)
        self.ax.tick_params(axis="y", length=0)

    def _share(self, values: np.ndarray) -> np.ndarray:
        return CELL * ((values - self.low) / (self.high - self.low) - 0.5)


def _along(n: int) -> np.ndarray:
    """Return the centres of n equal intervals of a cell."""
    return CELL * ((np.arange(n) + 0.5) / n - 0.5)


def draw_steps(
    display: Any,
    ax: Axes | None,
    rows: np.ndarray,
    names: Sequence[str],
    steps: Sequence[str],
    title: str,
    feature_names: Sequence[str] | None,
    **kwargs: Any,
) -> None:
    """Draw rows of shape (n_names, n_steps, ...), one row or cell for each name.

    Images are drawn in a row for each name. Series and tables are drawn as lines or
    points over each other in a cell for each name, from dark to light.
    """
    if display.kind == "image":
        draw_images(display, ax, rows, **kwargs)
        label_rows(display.ax_, names)
        label_columns(display.ax_, steps, title)
        return
    series = display.kind == "series"
    height = 2.0 if series else max(1.0, 0.2 * rows.shape[2])
    figsize = (min(12.0, 1.8 * len(names) + 2), min(12.0, height + 0.8))
    cells = Cells(display, ax, (1, len(names)), rows, figsize)
    draw = cells.lines if series else cells.points
    display.lines_, handles = [], []
    for i, color in enumerate(gradient(len(steps))):
        drawn = draw(rows[None, :, i], **styled(kwargs, color=color))
        display.lines_ += drawn
        handles.append(drawn[0])
    if not series and feature_names is not None:
        cells.name_bars(feature_names)
    label_columns(display.ax_, names)
    style = {"columnspacing": 1.0, "handlelength": 1.0}
    legend_above(display.ax_, handles, steps, title=title, **style)


# -- axes and colours


def put_axes(
    display: Any, ax: Axes | None, figsize: tuple[float, float] | None = None
) -> Axes:
    """Store the axes to draw on as `ax_` and `figure_`; None makes a new figure."""
    if ax is None:
        with _needing_matplotlib(display):
            import matplotlib.pyplot as plt
        ax = plt.subplots(figsize=figsize, layout="constrained")[1]
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def new_figure(
    display: Any, figsize: tuple[float, float] | None = None
) -> tuple[Any, Any]:
    """Make a figure and its canvas, without pyplot and any backend."""
    with _needing_matplotlib(display):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize, layout="constrained")
    return figure, FigureCanvasAgg(figure)


@contextlib.contextmanager
def _needing_matplotlib(display: Any) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} needs matplotlib: pip install 'skae[plot]'."
        ) from error


def label_rows(ax: Axes, names: Sequence[str]) -> None:
    """Write names to the left of the rows of a grid."""
    for i, name in enumerate(names):
        ax.text(
            -0.01,
            1 - (i + 0.5) / len(names),
            name,
            transform=ax.transAxes,
            ha="right",
            va="center",
        )


def label_columns(ax: Axes, names: Sequence[str], title: str = "") -> None:
    """Write names below the columns of a grid, with a title to the left."""
    for i, name in enumerate(names):
        ax.text(
            (i + 0.5) / len(names),
            -0.02,
            name,
            transform=ax.transAxes,
            ha="center",
            va="top",
            fontsize="small",
        )
    ax.text(
        -0.01,
        -0.02,
        title,
        transform=ax.transAxes,
        ha="right",
        va="top",
        fontsize="small",
    )


def legend_above(
    ax: Axes, handles: Sequence, names: Sequence[str], **kwargs: Any
) -> None:
    """Add a legend in one line above the axes."""
    ax.legend(
        handles,
        names,
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=len(names),
        frameon=False,
        **kwargs,
    )


def styled(kwargs: dict[str, Any], **style: Any) -> dict[str, Any]:
    """Complete the user's arguments with a style, which short names such as c replace too.

    They are arguments of lines and bars.
    """
    from matplotlib import cbook, lines

    return {**style, **cbook.normalize_kwargs(kwargs, lines.Line2D)}


def gradient(n: int) -> np.ndarray:
    """Return n colours from low to high."""
    import matplotlib

    return matplotlib.colormaps[COLORMAP](np.linspace(0, 0.95, n))
