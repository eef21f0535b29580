"""BaseAutoencoder: the bookkeeping that all estimators share."""

import contextlib
import html
import math
from dataclasses import replace
from functools import cached_property
from numbers import Integral, Real

import numpy as np
from scipy import linalg, sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    RealNotInt,
    StrOptions,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from skae._keras import import_keras
from skae._model import Architecture, build
from skae._starts import fit_pca
from skae._version import DOCUMENTATION
from skae.networks import DenseNetwork, Network

try:  # scikit-learn 1.9 and later
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:
        """Stands in for scikit-learn's own where it has no callbacks yet."""

        def _init_callback_context(self, **_):
            return None

    def with_callbacks(method):
        return method


class BaseAutoencoder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base class of the autoencoders: all bookkeeping of fit, transform and score.

    A subclass names its objective by these hooks; everything else is here.

    - `_objective()` returns the objective: an object that adds its layers to the Keras
      models and computes losses per sample (see `Reconstruction`);
    - `_linear_start(X, target, moments, n_components)` returns the best linear model of its
      kind in closed form, a `LinearStart`;
    - `_named_weights` and `_hyperparameters` return the values of the objective's own
      variables, by name: at the start, and at each fit.
    """

    _parameter_constraints: dict = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "network": [Network, None],
        "code_activation": [str],
        "init": [StrOptions({"auto", "pca", "random"})],
        "optimizer": [str, HasMethods(["get_config", "apply"])],
        "learning_rate_init": [
            Interval(Real, 0, None, closed="neither"),
            HasMethods(["get_config", "__call__"]),
        ],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "warm_start": ["boolean"],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    # -- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Fit the model to X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            The training rows.

        y : Ignored
            Present for API consistency.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is not what the estimator needs; the message names it.
        """
        with self._all_or_nothing():
            return self._fit(X)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train for one epoch on X, from where the last call left off.

        The first call starts as `fit` does, on the rows it is given. Early stopping
        plays no part, and the components keep the scale, order and signs that the
        first call gave them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows of this call.

        y : Ignored
            Present for API consistency.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with self._all_or_nothing():
            return self._fit(X, incremental=True)

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """Put the estimator back as it was if fitting fails."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            now = vars(self)
            theirs = ("_callback_fit", "_skl_callbacks")  # scikit-learn tears them down
            kept = {name: now[name] for name in now if name.startswith(theirs)}
            now.clear()
            now.update(before | kept)
            raise

    def _fit(self, X, target=None, incremental=False):
        going_on = (incremental or self.warm_start) and hasattr(self, "_weights")
        network = DenseNetwork() if self.network is None else clone(self.network)
        network._validate_params()
        X = self._check_rows(X, reset=not going_on, network=network)
        import_keras()
        from skae._callbacks import Monitor
        from skae._training import Optimizer, borrowed, train

        optimizer = Optimizer.of(self.optimizer, self.learning_rate_init)
        objective = self._objective()
        if objective.unit_interval and target is None:
            self._check_unit_interval(X)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        if going_on:
            seed = self._seed
        moments = Moments(X, None if going_on else self._fit_pca(X))
        architecture = Architecture(
            network=network,
            objective=objective,
            row_shape=self._row_shape,
            n_components=self._code_size(moments.pca),
            code_activation=self.code_activation,
            linear=self._starts_linear(),
            seed=seed,
        )
        if going_on and architecture.key != self._architecture.key:
            raise ValueError(
                "warm_start and partial_fit go on from the last fit, but parameters that"
                " shape the model have changed since: network, n_components,"
                " code_activation, loss or init. Fit a clone, or set them back."
            )
        rows, validation = self._split(X, target, seed, incremental)
        with borrowed(
            architecture,
            optimizer,
            self._batch_size(X.shape[0]),
            X.dtype,
            paired=target is not None,
        ) as program:
            models, paths = program.models, program.models.paths
            if going_on:
                weights = self._weights
            else:
                named = self._starting_weights(X, target, moments, architecture)
                weights = models.with_named(models.fresh(seed), named)
            mean, scale = weights[paths["mean"]], weights[paths["scale"]]
            hyperparameters = self._hyperparameters(X, moments, mean, float(scale))
            begin = weights = models.with_named(weights, hyperparameters)
            if validation and architecture.linear and self.max_iter and not going_on:
                begin = self._training_start(
                    X, target, rows, architecture, models, weights
                )

            def report(losses, scale=float(begin[paths["scale"]])):
                return objective.report(losses, scale, architecture.n_features)

            monitor = Monitor(
                self,
                X if sparse.issparse(X) else X.reshape(-1, *self._row_shape),
                rows,
                validation,
                max_iter=1 if incremental else self.max_iter,
                fitted=lambda weights: {
                    "_architecture": architecture,
                    "_built": {},
                    **self._fitted(X, moments, architecture, paths, weights),
                },
            )
            monitor.attach(program, begin)
            program.load(
                begin,
                optimizer.learning_rate,
                self._optimizer_state if going_on and incremental else None,
            )
            training = train(
                program,
                begin,
                rows,
                validation,
                seed=seed,
                first_epoch=self.n_iter_ if going_on else 0,
                shuffle=self.shuffle,
                alpha=self.alpha,
                tolerance=self.tol * architecture.n_features,
                patience=self.n_iter_no_change,
                monitor=monitor,
                schedule=objective.schedule,
                report=report,
            )
            optimizer_state = program.optimizer_state() if incremental else None
            if begin is not weights and training.weights is not begin:
                rate = optimizer.learning_rate
                training = self._held_against(
                    weights, training, begin, program, rate, validation, report
                )
        if training.weights is begin:
            training = replace(training, weights=weights)
        fitted = {
            "_architecture": architecture,
            "_seed": seed,
            "_optimizer_state": optimizer_state,
            "network_": network,
            "history_": self._course(training, going_on),
            "_weights": training.weights,
            "_built": {},
        }
        unchanged = training.weights is weights
        if not going_on or not (incremental or unchanged):
            weights = training.weights
            fitted |= self._fitted(X, moments, architecture, paths, weights, unchanged)
        vars(self).update(fitted)
        return self

    def _training_start(self, X, target, rows, architecture, models, weights):
        """Where training starts: the linear model of `_start_rows`."""
        index = self._start_rows(X, rows)
        if index is None:
            return weights
        X, target = X[index], None if target is None else target[index]
        moments = Moments(X, fit_pca(X, architecture.n_components))
        named = self._starting_weights(X, target, moments, architecture)
        return models.with_named(weights, named)

    def _held_against(self, weights, training, begin, program, rate, validation, report):
        """The training, or its own start where the start of all rows is better."""
        if training.validation_losses is None:  # a callback has put weights in place
            return training
        from skae._training import is_better

        program.load(weights, rate)
        scale = float(weights[program.models.paths["scale"]])
        of_all = report({"val_loss": program.measure(validation)}, scale)
        reached = report({"val_loss": training.validation_losses})
        if is_better(reached["val_loss"], of_all["val_loss"]):
            return replace(training, weights=begin)
        return training

    def _start_rows(self, X, rows):
        """The rows whose linear model training starts from; None: all given to `fit`.

        Without the validation rows among them, these compare what training leads to with
        a start that has not seen them either.
        """

    def _hyperparameters(self, X, moments, mean, scale):
        """Values of variables that stand for parameters: set at each fit, by name."""
        return {}

    def _named_weights(self, start, mean, scale):
        """Values of the objective's own variables at the start, by name."""
        return {}

    def _starts_linear(self):
        """Whether the linear path runs next to the network."""
        obstacle = None
        if self.n_components is None:
            obstacle = "n_components=None, whose code is the network's own features"
        elif self.code_activation != "linear":
            obstacle = f"code_activation={self.code_activation!r}"
        if self.init == "pca" and obstacle is not None:
            raise ValueError(
                "init='pca' needs a dense, linear code (n_components a number and"
                f" code_activation='linear'), but got {obstacle}. Use init='auto' or"
                " init='random'."
            )
        return obstacle is None and self.init != "random"

    def _fit_pca(self, X):
        """PCA of X, where the start or the number of components needs it."""
        if self._starts_linear() or isinstance(self.n_components, float):
            return fit_pca(X, self.n_components)
        return None

    def _allows_missing(self):
        return self.network is not None and self.network.allows_missing

    def _code_size(self, pca):
        """The number of components to build: None leaves it to the network."""
        if self.n_components is None:
            return None
        if isinstance(self.n_components, Integral):
            return int(self.n_components)
        return self.n_components_ if pca is None else len(pca.components_)

    def _starting_weights(self, X, target, moments, architecture):
        """The variables that have a name, at their start: it works on standardised rows."""
        mean, total = moments.mean, moments.total_variance
        if not np.isfinite(total):
            raise ValueError(
                "X's values are too large: their variance is not finite. Scale X."
            )
        scale = math.sqrt(total / len(mean)) or 1.0
        if architecture.objective.unit_interval:
            mean, scale = np.zeros_like(mean), 1.0
        named = {"mean": mean, "scale": scale, "output_mean": mean, "output_scale": scale}
        start, unit = None, self._code_unit(scale)
        if architecture.linear:
            start = self._linear_start(X, target, moments, architecture.n_components)
            named["encoder_kernel"] = scale * start.encoder / unit
            named["encoder_bias"] = (mean - start.mean) @ start.encoder / unit
            named["decoder_kernel"] = unit * start.decoder / scale
            named["decoder_bias"] = (start.intercept - mean) / scale
        if architecture.rotates and architecture.n_components is not None:
            identity = np.eye(architecture.n_components)
            named["rotation"], named["inverse_rotation"] = (
                identity * unit,
                identity / unit,
            )
        return named | self._named_weights(start, mean, scale)

    def _code_unit(self, scale):
        """What the code inside the model is multiplied by to be in the units of X."""
        return scale

    def _fitted(self, X, moments, architecture, paths, weights, untrained=False):
        """The attributes that follow from the weights; the code rotated where it may be.

        Untrained components are PCA's as they are, where the start keeps them.
        """
        weights = dict(weights)
        mean, total, pca = moments.mean, moments.total_variance, moments.pca
        if untrained and pca is not None and architecture.linear and self._keeps_start:
            variance = np.zeros(architecture.n_components)
            variance[: len(pca.components_)] = pca.explained_variance_
        else:
            variance = self._orient(X, architecture, paths, weights, total)
        share = variance / total if total > 0 else np.zeros_like(variance)
        return {
            "_weights": weights,
            "mean_": mean.astype(X.dtype),
            "explained_variance_": variance,
            "explained_variance_ratio_": share,
            "n_components_": len(variance),
        }

    _keeps_start = True

    def _orient(self, X, architecture, paths, weights, total):
        """Rotate the code of X to centred, uncorrelated components, in falling order.

        Its overall scale is set so that the components' variances add up to the
        variance of X that the reconstruction explains, as PCA's do. The rotation and
        its inverse are written to `weights`; the model's function stays the same.
        A code that can't be rotated (behind an activation) stays as it is.

        Returns
        -------
        variance : ndarray of shape (n_components,)
            The variance of each component over the rows of X.
        """
        from skae._inference import Fitted, inference

        unit = self._code_unit(float(weights[paths["scale"]]))
        n_components = architecture.n_components

        def rotate(axes, factor, center):
            weights[paths["rotation"]] = axes * (unit * factor)
            weights[paths["inverse_rotation"]] = axes.T / (unit * factor)
            weights[paths["offset"]] = center / unit
            weights[paths["inverse_offset"]] = center / unit

        rotates = architecture.rotates and n_components is not None
        if rotates:
            rotate(np.eye(n_components), 1.0, np.zeros(n_components))
        model = Fitted(inference(architecture, X.dtype), weights)
        if not rotates:
            codes = _scaler(X, lambda rows: model.encode(_dense(rows)), model.batch_rows)
            return codes.var_ * _unbiased(X)
        codes, unexplained = [], 0.0
        scale = X.dtype.type(math.sqrt(total / X.shape[1]) or 1.0)
        for batch in gen_batches(X.shape[0], model.batch_rows):
            rows = _dense(X[batch])
            codes.append(model.encode(rows))
            error = (rows - model.decode(codes[-1]).reshape(rows.shape)) / scale
            if architecture.network.allows_missing:
                error = np.nan_to_num(error)
            unexplained += np.einsum("ij,ij", error, error, dtype=np.float64)
        unexplained *= float(scale) ** 2
        codes = np.concatenate(codes).astype(np.float64)
        center = codes.mean(axis=0)
        variance, axes = linalg.eigh(np.atleast_2d(np.cov(codes, rowvar=False)))
        variance, axes = np.maximum(variance[::-1], 0), axes[:, ::-1]
        # each in the direction of the starting component that it lies nearest to
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))])
        explained = total - unexplained / (len(codes) - 1)
        factor = 1.0
        if explained > 0 and variance.sum() > 0:
            factor = math.sqrt(explained / variance.sum())
        rotate(axes, factor, center)
        return variance * factor**2

    def _course(self, training, going_on):
        """The history of the losses, which goes on where training does."""
        before = self.history_ if going_on else {}
        names = [*before, *(name for name in training.history if name not in before)]
        return {
            name: [*before.get(name, []), *training.history.get(name, [])]
            for name in names
        }

    def _split(self, X, target, seed, incremental):
        """The rows to train on, and those that early stopping looks at."""
        from skae._training import Rows

        if incremental or not self.early_stopping:
            return Rows(X, target), None
        n_samples = X.shape[0]
        n_validation = math.ceil(self.validation_fraction * n_samples)
        if not 0 < n_validation < n_samples:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n_samples} samples"
                f" leaves {n_validation} to validate on and {n_samples - n_validation} to"
                " train on; early stopping needs at least one of each. Change"
                " validation_fraction or set early_stopping=False."
            )
        order = np.random.default_rng((seed, _SPLIT)).permutation(n_samples)
        return (
            Rows(X, target, order[n_validation:]),
            Rows(X, target, order[:n_validation]),
        )

    def _batch_size(self, n_samples):
        return min(200, n_samples) if self.batch_size == "auto" else self.batch_size

    # -- input

    def _check_rows(self, X, *, reset, network=None):
        """X as rows of numbers: validated, and flat, whatever the shape it came in."""
        series = getattr(X, "ndim", 2) == 3
        X = validate_data(
            self,
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            order="C" if reset else None,
            allow_nd=True,
            ensure_all_finite="allow-nan" if series else True,
            ensure_min_samples=2 if reset else 1,
            reset=reset,
        )
        if reset:
            self._row_shape = X.shape[1:]
        elif X.shape[1:] != self._row_shape:
            raise ValueError(
                f"X has rows of shape {X.shape[1:]}, but {type(self).__name__} was fitted"
                f" with rows of shape {self._row_shape}."
            )
        if series:
            _check_series(X, self.network_ if network is None else network)
        return X.reshape(X.shape[0], -1) if X.ndim > 2 else X

    def _check_unit_interval(self, X, name="X"):
        low, high = (
            (X.min(), X.max()) if sparse.issparse(X) else (np.nanmin(X), np.nanmax(X))
        )
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ValueError(
                f"{self._unit_interval_reason()} needs {name} in [0, 1], but its minimum"
                f" is {low:.6g} and its maximum {high:.6g}. Scale it, for example with"
                " MinMaxScaler(clip=True), or choose another."
            )

    def _unit_interval_reason(self):
        return f"loss={self.loss!r}"

    # -- using the fitted model

    def transform(self, X):
        """Encode X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            The code of each row, in float32 for float32 rows and else in float64.
        """
        check_is_fitted(self)
        return self._encode(self._check_rows(X, reset=False))

    def inverse_transform(self, X):
        """Decode codes to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features) or (n_samples, ...)
            Rows of the shape that `fit` was given.

        Raises
        ------
        ValueError
            If X has another number of columns than there are components.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if X.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__}."
                f"inverse_transform is expecting {self.n_components_} features as input:"
                " one for each component."
            )
        return self._decode(X)

    def reconstruct(self, X):
        """Encode X and decode the codes: ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        X_reconstructed : ndarray of the shape of X
            The reconstructed rows.
        """
        check_is_fitted(self)
        return self._decode(self._encode(self._check_rows(X, reset=False)))

    def score_samples(self, X):
        """Minus the squared error of each row's reconstruction, summed over features.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The higher the better, in squared units of X; zero is perfect.
        """
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        return self._minus_squared_error(X, X)

    def score(self, X, y=None):
        """The mean of `score_samples` over the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        y : Ignored
            Present for API consistency.

        Returns
        -------
        score : float
            The higher the better.
        """
        return float(np.mean(self.score_samples(X)))

    def _minus_squared_error(self, X, target):
        rows = self._inference(X.dtype).batch_rows
        scores = np.empty(X.shape[0])
        for batch in gen_batches(X.shape[0], rows):
            output = self._decode(self._encode(X[batch])).reshape(-1, X.shape[1])
            difference = np.subtract(_dense(target[batch]), output, dtype=np.float64)
            scores[batch] = -np.nansum(np.square(difference), axis=1)
        return scores

    def _encode(self, X):
        return self._inference(X.dtype).encode(X)

    def _decode(self, Z):
        return self._inference(Z.dtype).decode(Z)

    def _inference(self, dtype):
        if dtype not in self._built:
            import_keras()
            from skae._inference import Fitted, inference

            compiled = inference(self._architecture, dtype)
            self._built[dtype] = Fitted(compiled, self._weights)
        return self._built[dtype]

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
            built["models"] = build(self._architecture, self.mean_.dtype.name)
            built["models"].assign(self._weights)
        return built["models"]

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
        if not hasattr(self, "_weights"):
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

    # -- state

    def __getstate__(self):
        """Parameters and plain arrays: what is built from them is built again."""
        state = dict(super().__getstate__())
        if "_built" in state:
            state["_built"] = {}
        return state

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


#: The stream of the seed that splits off validation rows; epochs have 0, 1, 2, ...
_SPLIT = 2**32

#: How far out of [0, 1] rounding may carry a scaled value.
_ROUNDING = 1e-6


def _check_series(X, network):
    """Refuse NaN but for the trailing steps of series, where the network takes them."""
    missing = np.isnan(X)
    if not missing.any():
        return
    if not network.allows_missing:
        raise ValueError(
            "X contains NaN. Series of different lengths, which end in steps of NaN, need"
            f" network=SequenceNetwork(...); {type(network).__name__} takes numbers only."
        )
    step = missing.any(axis=2)
    if (step != missing.all(axis=2)).any() or (step[:, :-1] & ~step[:, 1:]).any():
        raise ValueError(
            "X contains NaN where a series has not ended: only whole steps at its end"
            " may be NaN."
        )
    if step[:, 0].any():
        row = int(step[:, 0].argmax())
        raise ValueError(f"X contains a series without any step: row {row} is all NaN.")


def _fitted_only(estimator, name):
    try:
        return vars(estimator)[name]
    except KeyError:
        raise AttributeError(f"{type(estimator).__name__} is not fitted yet.") from None


def _dense(X):
    return X.toarray() if sparse.issparse(X) else X


class Moments:
    """The means of X and the sum of its unbiased variances: PCA's, where it has some.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
    pca : PCA or None
    """

    def __init__(self, X, pca=None):
        self.X, self.pca = X, pca

    @cached_property
    def mean(self):
        source = self._scaler if self.pca is None else self.pca
        return np.asarray(source.mean_, np.float64)

    @cached_property
    def total_variance(self):
        if self.pca is None:
            return float(self._scaler.var_.sum()) * _unbiased(self.X)
        first = float(self.pca.explained_variance_[0])
        if not np.isfinite(first):
            return np.inf
        return first / float(self.pca.explained_variance_ratio_[0]) if first > 0 else 0.0

    @cached_property
    def _scaler(self):
        return _scaler(self.X)


def _scaler(X, function=lambda rows: rows, batch_rows=4096):
    """Means and variances of a function of the rows of X, in bounded memory."""
    scaler = StandardScaler(with_mean=not sparse.issparse(X))
    for batch in gen_batches(X.shape[0], batch_rows):
        scaler.partial_fit(function(X[batch]))
    return scaler


def _unbiased(X):
    """What makes a variance over the rows of X that of the population they are from."""
    return X.shape[0] / max(X.shape[0] - 1, 1)
