"""LossCurveDisplay: the losses by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skae.plotting._drawing import (
    COLORS,
    fitted,
    into_last_step,
    last_step,
    put_axes,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

#: The entries of `history_` that are losses, and the style of each.
STYLES = {
    "loss": {"color": COLORS[0]},
    "val_loss": {"color": COLORS[1]},
    "reconstruction": {"color": COLORS[6], "linestyle": "--"},
    "kl": {"color": COLORS[7], "linestyle": "-."},
}


class LossCurveDisplay:
    """Training and validation losses by epoch; for a VAE, reconstruction and KL too.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    history : mapping of str to sequence of float
        The losses after each epoch, by name.

    pca_loss : float or None, default=None
        PCA's loss, drawn as a horizontal line.

    start_loss : float or None, default=None
        The validation loss of the linear initialisation, drawn as a horizontal line.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the curves.

    figure_ : matplotlib Figure
        The figure of the axes.

    lines_ : list of matplotlib Line2D
        The curves; the line of PCA or of the linear initialisation is the last.

    See Also
    --------
    ReconstructionDisplay : The reconstructions that the losses measure.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import LossCurveDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(8, max_iter=10, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(autoencoder, X)
    >>> [line.get_label() for line in display.lines_]
    ['loss', 'val_loss', 'PCA']
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure
    lines_: list[Any]

    def __init__(
        self,
        history: Mapping[str, Sequence[float]],
        pca_loss: float | None = None,
        *,
        start_loss: float | None = None,
    ) -> None:
        self.history = history
        self.pca_loss = pca_loss
        self.start_loss = start_loss

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.
        """
        ax = put_axes(self, ax)
        self.lines_ = []
        for name, losses in self.history.items():
            style = styled(kwargs, label=name, **STYLES.get(name, {}))
            self.lines_ += ax.plot(np.arange(1, len(losses) + 1), losses, **style)
        lines = {"linear start": self.start_loss, "PCA": self.pca_loss}
        for name, loss in lines.items():
            if loss is not None:
                style = {"color": "#777777", "linestyle": ":", "label": name}
                self.lines_.append(ax.axhline(loss, **style))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel="epoch", ylabel="loss")
        if self.lines_:
            ax.legend(frameon=False)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        *,
        names: Sequence[str] = tuple(STYLES),
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LossCurveDisplay:
        """Draw the losses of a fitted estimator.

        With "val_loss", a line shows the validation loss of the linear initialisation,
        `start_loss_`, below which training is an improvement.

        Parameters
        ----------
        estimator : fitted estimator or Pipeline
            An estimator with a `history_`, or a Pipeline that ends in one.

        X : array-like of shape (n_samples, n_features) or (n_samples, ...) or None, \
                default=None
            The training samples, for a line at the loss of PCA with as many components on
            them, in place of the line of the initialisation: the squared error; for
            :class:`~skae.DenoisingAutoencoder`, that of PCA's reconstruction of noisy
            samples; for :class:`~skae.VAETransformer`, minus the log-likelihood of PCA,
            or of FactorAnalysis for "gaussian_diag".

        names : sequence of str, default=("loss", "val_loss", "reconstruction", "kl")
            The entries of `history_` to draw; missing ones are left out.

        ax : matplotlib Axes or None, default=None
            The axes to draw on; None makes a new figure.

        **kwargs : dict
            Passed on to matplotlib's ``plot``.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If X is given and PCA has no comparable loss, which is the squared error, or
            the likelihood "gaussian" or "gaussian_diag".
        """
        estimator = fitted(estimator)
        last = last_step(estimator)
        history = {name: last.history_[name] for name in names if name in last.history_}
        pca_loss = None if X is None else last._pca_loss(into_last_step(estimator, X))
        start_loss = None
        if X is None and "val_loss" in history:
            start_loss = getattr(last, "start_loss_", None)
        return cls(history, pca_loss, start_loss=start_loss).plot(ax, **kwargs)
