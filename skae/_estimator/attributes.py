"""FittedViews: attributes of a fitted estimator that are computed on demand."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._model.graph import build
from skae._model.raw import raw
from skae._utils.keras import import_keras
from skae._version import DOCUMENTATION

if TYPE_CHECKING:
    import keras

    from skae._data.table import Table
    from skae._utils.typing import MatrixLike
    from skae.networks import Network


def is_linear_start(estimator):
    """Return True while the fitted model is its linear start, which has a covariance."""
    check_is_fitted(estimator)
    state = estimator._state
    return state.is_start and state.specification.objective.likelihood.is_linear


class FittedViews:
    """Keras models, singular values, notebook summary and losses of a fitted estimator."""

    n_components_: int
    network_: Network
    mean_: np.ndarray
    components_: np.ndarray
    explained_variance_: np.ndarray
    explained_variance_ratio_: np.ndarray
    history_: dict[str, list[float]]
    start_loss_: float | None = None  # which earlier files do not have
    n_samples_: int
    n_features_in_: int
    feature_names_in_: np.ndarray
    table_: Table | None = None

    if TYPE_CHECKING:  # scikit-learn's own, which have no types

        def fit_transform(
            self, X: MatrixLike, y: object = None, **fit_params: Any
        ) -> np.ndarray: ...

        def get_feature_names_out(self, input_features: object = None) -> np.ndarray: ...

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...

        def set_output(self, *, transform: str | None = None) -> Self: ...

    # -- Keras models of the fitted estimator

    @property
    def encoder_(self) -> keras.Model:
        """The encoder, a Keras model from raw samples to codes."""
        return self._keras_models().encoder

    @property
    def decoder_(self) -> keras.Model:
        """The decoder, a Keras model from codes to raw samples."""
        return self._keras_models().decoder

    @property
    def autoencoder_(self) -> keras.Model:
        """The autoencoder, a Keras model from raw samples to their reconstruction."""
        return self._keras_models().autoencoder

    def _keras_models(self):
        built = _fitted_only(self, "_built")
        import_keras()
        from skae._backend.pool import shown_dtype

        dtype = shown_dtype(self.mean_.dtype)
        if ("models", dtype) not in built:
            state = self._state
            graph = build(state.specification, dtype)
            graph.load(state.weights)
            built["models", dtype] = raw(graph, state.coordinates)
        return built["models", dtype]

    # -- PCA's attributes

    @property
    def singular_values_(self) -> np.ndarray:
        """The square roots of ``(n_samples_ - 1) * explained_variance_``."""
        variance = _fitted_only(self, "explained_variance_")
        return np.sqrt(variance) * np.sqrt(max(self.n_samples_ - 1, 1))

    # -- in a notebook

    _doc_link_module = "skae"
    _doc_link_template = (
        f"{DOCUMENTATION}/generated/{{estimator_module}}.{{estimator_name}}.html"
    )

    def _repr_html_inner(self):
        return super()._repr_html_inner() + self._summary_html()

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += self._summary_html()
        return bundle

    def _summary_html(self):
        """Return Keras' summary of encoder and decoder, collapsed; none before `fit`."""
        if not hasattr(self, "_state"):
            return ""
        lines = []
        for model in (self.encoder_, self.decoder_):
            model.summary(print_fn=lines.append, line_length=88, expand_nested=True)
        text = html.escape("\n".join(lines))
        return (
            "<details><summary>Network</summary>"
            f'<pre style="line-height: 1.2">{text}</pre></details>'
        )

    # -- the course of training

    @property
    def loss_curve_(self) -> list[float]:
        """The training loss after each epoch."""
        return _fitted_only(self, "history_").get("loss", [])

    @property
    def loss_(self) -> float:
        """The training loss of the last epoch; NaN if there was none."""
        return self.loss_curve_[-1] if self.loss_curve_ else np.nan

    @property
    def best_loss_(self) -> float | None:
        """The least training loss; None with early stopping, or without an epoch."""
        if self.validation_scores_ is not None or not self.loss_curve_:
            return None
        return min(self.loss_curve_)

    @property
    def n_iter_(self) -> int:
        """The number of epochs trained."""
        return len(self.loss_curve_)

    @property
    def validation_scores_(self) -> list[float] | None:
        """Minus the validation loss after each epoch; None without early stopping."""
        losses = _fitted_only(self, "history_").get("val_loss")
        return None if losses is None else [-loss for loss in losses]


def _fitted_only(estimator, name):
    try:
        return getattr(estimator, name)
    except AttributeError:
        raise AttributeError(f"{type(estimator).__name__} is not fitted yet.") from None
