"""BaseAutoencoder: the bookkeeping that all estimators share."""

import contextlib
from numbers import Integral, Real

import numpy as np
from scipy import sparse
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
    StrOptions,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from skae._keras import import_keras
from skae._linear import fit_pca, pca_start
from skae._losses import LOSSES
from skae._model import Architecture, build
from skae.networks import DenseNetwork, Network

try:  # scikit-learn 1.9 and later
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:
        """Stands in for scikit-learn's own where it has no callbacks yet."""

    def with_callbacks(method):
        return method


_VOLATILE = ("_inference_cache", "_models_cache")


class BaseAutoencoder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base class of the autoencoders: all bookkeeping of fit, transform and score."""

    _parameter_constraints: dict = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "network": [Network, None],
        "code_activation": [str],
        "loss": [StrOptions(set(LOSSES))],
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

    # -- fit

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        with self._all_or_nothing():
            return self._fit(X)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        with self._all_or_nothing():
            return self._fit(X, incremental=True)

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """Put the estimator back as it was if fitting fails."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _fit(self, X, target=None, incremental=False):
        from skae._callbacks import Monitor, check_callbacks

        going_on = hasattr(self, "_weights") and (incremental or self.warm_start)
        X = self._check_rows(X, reset=not (going_on and incremental))
        network = clone(self.network) if self.network is not None else DenseNetwork()
        network._validate_params()
        import_keras()
        callbacks = check_callbacks(self.callbacks)
        optimizer = self._optimizer_config()
        objective = self._objective()
        if objective.loss.unit_interval:
            self._check_unit_interval(X)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        if going_on:
            seed = self._seed

        linear = self._starts_linear(network)
        pca = None
        if linear or isinstance(self.n_components, float):
            pca = fit_pca(X, self.n_components, seed)
        n_components = self.n_components
        if isinstance(n_components, float):
            n_components = len(pca.components_)
        architecture = Architecture(
            network=network,
            objective=objective,
            row_shape=self._row_shape,
            n_components=None if n_components is None else int(n_components),
            code_activation=self.code_activation,
            linear=linear,
            seed=seed,
        )
        from skae._training import borrowed, train

        dtype = X.dtype
        with borrowed(architecture, optimizer, self._batch_size(X), dtype) as program:
            weights = program.models.fresh(seed)
            named = {}
            if pca is None:
                mean, variance = _mean_and_variance(X)
            else:
                mean = np.asarray(pca.mean_, np.float64)
                variance = None
            start = pca_start(pca, n_components) if linear else None
            total = variance.sum() if pca is None else _total_variance(pca)
            scale = np.sqrt(total / X.shape[1]) or 1.0
            shift, factor = (mean, scale)
            if objective.loss.unit_interval:
                shift, factor = np.zeros_like(mean), 1.0
            named |= {"mean": shift, "scale": np.asarray(factor, np.float64)}
            named |= {"output_mean": shift, "output_scale": named["scale"]}
            if linear:
                width = np.sqrt(start.explained_variance)
                import os
                if os.environ.get("SK_WHITEN", "1") == "1":
                    lo = float(os.environ.get("SK_WMIN", "0.1"))
                    width = np.maximum(width, lo * width.max())
                    width[width == 0] = scale
                else:
                    width = np.full_like(width, scale)
                named["encoder_kernel"] = factor * start.encoder / width
                named["encoder_bias"] = (shift - start.mean) @ start.encoder / width
                named["decoder_kernel"] = width[:, None] * start.decoder / factor
                named["decoder_bias"] = (start.intercept - shift) / factor
                named["rotation"] = np.diag(width)
                named["inverse_rotation"] = np.diag(1 / width)
            self._set_hyperparameters(named, None, factor)
            positions = program.models.positions
            for name, value in named.items():
                weights[positions[name]] = np.asarray(value)
            rows, validation = self._split(X, seed)
            program.load(weights, None, self._learning_rate())
            n_features = X.shape[1]

            def report(loss, per_sample):
                logs = {"loss": objective.in_units(loss[0], factor, n_features)}
                if per_sample is not None:
                    logs["val_loss"] = objective.in_units(per_sample.mean(), factor, n_features)
                return logs

            monitor = Monitor(callbacks, self.max_iter, self.verbose, None, self, None, X)
            monitor.attach(program, weights, optimizer)
            result = train(
                program, weights, rows, validation,
                seed=seed, first_epoch=0, max_iter=self.max_iter, shuffle=self.shuffle,
                alpha=self.alpha, tolerance=self.tol * n_features,
                patience=self.n_iter_no_change, monitor=monitor, report=report,
            )
        self._architecture = architecture
        self._positions = positions
        self._weights = result.weights
        self._seed = seed
        self.network_ = network
        self.history_ = result.history
        self.loss_curve_ = result.history.get("loss", [])
        self.n_iter_ = result.n_epochs
        self.mean_ = mean
        self.best_is_start_ = result.weights is weights
        return self

    def _learning_rate(self):
        rate = self.learning_rate_init
        return float(rate) if isinstance(rate, Real) else None

    def _batch_size(self, X):
        return min(200, X.shape[0]) if self.batch_size == "auto" else self.batch_size

    def _split(self, X, seed):
        from skae._training import Rows

        if not self.early_stopping:
            return Rows(X), None
        n_samples = X.shape[0]
        n_validation = int(np.ceil(self.validation_fraction * n_samples))
        order = np.random.default_rng((seed, 2**32)).permutation(n_samples)
        return Rows(X, index=order[n_validation:]), Rows(X, index=order[:n_validation])

    def _starts_linear(self, network):
        possible = self.code_activation == "linear" and self.n_components is not None
        return possible and self.init != "random"

    def _optimizer_config(self):
        keras = import_keras()
        try:
            optimizer = keras.optimizers.get(self.optimizer)
        except ValueError:
            raise ValueError(
                f"optimizer must be the name of a Keras optimizer. Got {self.optimizer!r}."
            ) from None
        config = keras.saving.serialize_keras_object(optimizer)
        return config

    def _check_unit_interval(self, X):
        pass

    def _check_rows(self, X, reset):
        X = validate_data(
            self, X, accept_sparse="csr", dtype=[np.float64, np.float32], allow_nd=True,
            order="C" if reset else None, reset=reset, ensure_min_samples=2 if reset else 1,
        )
        if reset:
            self._row_shape = X.shape[1:]
        return X.reshape(X.shape[0], -1) if X.ndim > 2 else X

    def _inference(self, dtype):
        from skae._inference import inference

        cache = vars(self).setdefault("_inference_cache", {})
        if dtype not in cache:
            found = inference(self._architecture, dtype)
            cache[dtype] = (found.encode(self._weights), found.decode(self._weights))
        return cache[dtype]

    def transform(self, X):
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        return self._inference(X.dtype)[0](X)

    def inverse_transform(self, X):
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32])
        return self._inference(X.dtype)[1](X)

    def reconstruct(self, X):
        return self.inverse_transform(self.transform(X))


def _total_variance(pca):
    if pca.explained_variance_[0] > 0:
        return pca.explained_variance_[0] / pca.explained_variance_ratio_[0]
    return 0.0


def _mean_and_variance(X):
    scaler = StandardScaler(with_mean=not sparse.issparse(X))
    for batch in gen_batches(X.shape[0], 4096):
        scaler.partial_fit(X[batch])
    return scaler.mean_.astype(np.float64), scaler.var_.astype(np.float64)
