"""FittedViews: what a fitted estimator shows of itself, made from its state on demand."""

import html

import numpy as np

from skae._graph import build, raw
from skae._version import DOCUMENTATION


class FittedViews:
    """Keras models, singular values, notebook summary and losses of a fitted estimator."""

    # -- Keras models of the fitted estimator

    @property
    def encoder_(self):
        """The encoder, a Keras model from raw rows to codes."""
        return self._keras_models().encoder

    @property
    def decoder_(self):
        """The decoder, a Keras model from codes to raw rows."""
        return self._keras_models().decoder

    @property
    def autoencoder_(self):
        """The autoencoder, a Keras model from raw rows to their reconstruction."""
        return self._keras_models().autoencoder

    def _keras_models(self):
        built = _fitted_only(self, "_built")
        if "models" not in built:
            state = self._state
            graph = build(state.specification, self.mean_.dtype.name)
            graph.load(state.weights)
            built["models"] = raw(graph, state.coordinates)
        return built["models"]

    # -- as PCA has it

    @property
    def singular_values_(self):
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
        """Keras' summary of the encoder and decoder, folded away; none before `fit`."""
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
    def loss_curve_(self):
        """The training loss after each epoch."""
        return _fitted_only(self, "history_").get("loss", [])

    @property
    def loss_(self):
        """The training loss of the last epoch; NaN if there was none."""
        return self.loss_curve_[-1] if self.loss_curve_ else np.nan

    @property
    def n_iter_(self):
        """The number of epochs trained."""
        return len(self.loss_curve_)

    @property
    def validation_scores_(self):
        """Minus the validation loss after each epoch; None without early stopping."""
        losses = _fitted_only(self, "history_").get("val_loss")
        return None if losses is None else [-loss for loss in losses]


def _fitted_only(estimator, name):
    try:
        return vars(estimator)[name]
    except KeyError:
        raise AttributeError(f"{type(estimator).__name__} is not fitted yet.") from None
