"""VAETransformer: the variational autoencoder, which starts as probabilistic PCA."""

import math
import warnings
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skae._base import BaseAutoencoder, _dense, _mean_and_total_variance, _total_variance
from skae._linear import factor_start, ppca_start
from skae._losses import LIKELIHOODS

#: Nats of divergence from the prior above which a component is active.
ACTIVE = 0.01

#: Draws from the posterior of each validation row.
VALIDATION_DRAWS = 4

#: The seed of the draws that bounds are computed with, and how many at a time.
DRAWS_SEED, DRAWS_AT_ONCE = 20151, 64


@dataclass(frozen=True)
class EvidenceBound:
    """The objective of a variational autoencoder: minus the evidence lower bound."""

    likelihood: object
    beta: float = field(compare=False)
    kl_warmup: int = field(compare=False)

    rotates = True

    @property
    def output_activation(self):
        return self.likelihood.output_activation

    @property
    def unit_interval(self):
        return self.likelihood.unit_interval

    def code(self, z, features, named):
        from keras import layers

        from skae._layers import LogVariance

        head = layers.Dense(
            z.shape[-1], kernel_initializer="zeros", name="log_variance_head"
        )
        log_variance = LogVariance(name="log_variance")(head(features))
        named["log_variance"] = head.bias
        return [z, log_variance]

    def code_shape(self, z):
        return z[0].shape[1:]

    def point(self, z):
        return z[0]

    def connect(self, x, encoder, decoder, named):
        from skae._layers import NoiseLogVariance, Sampling

        sampling = Sampling(name="sampling")
        output = decoder(sampling(encoder(x)))
        named |= {"beta": sampling.beta, "warmup": sampling.warmup}
        if not self.likelihood.has_noise:
            return [output]
        noise = NoiseLogVariance(self.likelihood.noise_per_feature, name="noise")
        log_variance = noise(output)
        named["noise"] = noise.noise
        return [output, log_variance]

    def per_sample(self, x, outputs):
        return self.likelihood.per_sample(x, *outputs)

    def log_weights(self, models, x, noise):
        """``log p(x | z)`` and ``log p(z) - log q(z | x)`` at draws z from ``q(z | x)``.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            Standardised rows.

        noise : tensor of shape (n_draws, 1 or n_samples, n_components)

        Returns
        -------
        log_likelihood, log_ratio : tensors of shape (n_draws, n_samples)
        """
        from keras import ops

        mean, log_variance = models.encoder_core(x, training=False)
        z = mean + ops.exp(log_variance / 2) * noise
        output = models.decoder_core(
            ops.reshape(z, (-1, z.shape[-1])), training=False
        )
        outputs = [ops.reshape(output, (-1, ops.shape(x)[0], x.shape[-1]))]
        if self.likelihood.has_noise:
            outputs.append(models.trainer.get_layer("noise")(output))
        log_likelihood = -self.likelihood.per_sample(x, *outputs)
        square = ops.square(noise) - ops.square(z)
        return log_likelihood, ops.sum(square + log_variance, axis=-1) / 2

    def validate(self, models, x, target, i):
        """Minus the bound at its full weight, with the same draws at each epoch.

        All of it is estimated from draws, the divergence too: where the posterior is
        exact, as at the start, each draw gives the same bound.
        """
        import tensorflow as tf

        shape = (VALIDATION_DRAWS, x.shape[0], models.decoder_core.input_shape[-1])
        noise = tf.random.stateless_normal(shape, (i, DRAWS_SEED), dtype=x.dtype)
        log_likelihood, log_ratio = self.log_weights(models, x, noise)
        beta = tf.convert_to_tensor(models.named["beta"])
        return -tf.reduce_mean(log_likelihood + beta * log_ratio, axis=0)

    def functions(self, models):
        standardize = models.encoder.get_layer("standardize")
        rows = (None, models.architecture.n_features)

        def posterior(rows):
            return models.encoder_core(standardize(rows), training=False)

        def log_weights(rows, noise):
            found = self.log_weights(models, standardize(rows), noise[:, None])
            return found[0] + found[1]

        return {
            "posterior": (posterior, [rows]),
            "log_weights": (log_weights, [rows, models.decoder_core.input_shape]),
        }

    def schedule(self, epoch):
        warmup = min(1.0, (epoch + 1) / self.kl_warmup) if self.kl_warmup else 1.0
        return {"beta": self.beta, "warmup": warmup}

    def report(self, losses, scale, n_features):
        shift = n_features * math.log(scale)
        kl = losses["added"] / (losses["beta"] * losses["warmup"])
        names = ("loss", "reconstruction", "val_loss")
        found = {name: losses[name] + shift for name in names if name in losses}
        return {**found, "kl": kl}


class VAETransformer(BaseAutoencoder):
    """Variational autoencoder.
    """

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "likelihood": [StrOptions(set(LIKELIHOODS))],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "kl_warmup": [Interval(Integral, 0, None, closed="left")],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
    }
    _parameter_constraints.pop("code_activation")

    code_activation = "linear"

    def __init__(
        self,
        n_components=2,
        *,
        network=None,
        likelihood="gaussian",
        beta=1.0,
        kl_warmup=0,
        n_importance_samples=64,
        init="auto",
        optimizer="adam",
        learning_rate_init=1e-3,
        alpha=1e-4,
        batch_size="auto",
        max_iter=200,
        shuffle=True,
        tol=1e-4,
        n_iter_no_change=10,
        early_stopping=True,
        validation_fraction=0.1,
        warm_start=False,
        callbacks=None,
        verbose=0,
        random_state=None,
    ):
        self.n_components = n_components
        self.network = network
        self.likelihood = likelihood
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.n_importance_samples = n_importance_samples
        self.init = init
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state

    # -- what the base asks for

    def _objective(self):
        return EvidenceBound(LIKELIHOODS[self.likelihood], self.beta, self.kl_warmup)

    def _unit_interval_reason(self):
        return f"likelihood={self.likelihood!r}"

    def _linear_start(self, X, target, pca, n_components):
        if self.likelihood == "gaussian_diag":
            return factor_start(X, n_components, self.beta)
        return ppca_start(pca, n_components, X.shape[0], self.beta)

    def _widths(self, start, scale):
        return np.ones(len(start.posterior_variance))

    def _named_weights(self, start, width, mean, scale):
        from skae._layers import LogVariance

        if start is None:
            return {}
        inverse = LogVariance().inverse
        named = {"log_variance": inverse(np.log(start.posterior_variance))}
        if start.noise_variance is not None:
            named["noise"] = np.atleast_1d(
                inverse(np.log(start.noise_variance / scale**2))
            )
        return named

    def _fit(self, X, target=None, incremental=False):
        super()._fit(X, target, incremental)
        if self.n_active_components_ == 0:
            warnings.warn(
                "No component is active: the posterior of each is within"
                f" {ACTIVE} nat of the prior, and the code says nothing about X. Lower"
                " beta, train longer (max_iter), raise kl_warmup, or check that the"
                " features of X depend on each other.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _fitted(self, X, architecture, positions, weights, width, pca=None):
        """The attributes that follow from the weights; components in falling order."""
        from skae._inference import Fitted, inference

        weights = list(weights)
        mean, total = _mean_and_total_variance(X)
        if pca is not None:
            mean, total = np.asarray(pca.mean_, np.float64), _total_variance(pca)
        model = Fitted(inference(architecture, X.dtype), weights)
        moment, loadings, kl, square = 0.0, 0.0, 0.0, 0.0
        for batch in gen_batches(X.shape[0], model.batch_rows):
            rows = _dense(X[batch])
            z, log_variance = map(np.float64, model.functions["posterior"](rows))
            surplus = np.expm1(log_variance) - log_variance
            kl = kl + (z**2 + surplus).sum(axis=0) / 2
            moment, square = moment + z.sum(axis=0), square + (z**2).sum(axis=0)
            loadings = loadings + z.T @ (rows - mean)
        n_samples = X.shape[0]
        variance = (square - moment**2 / n_samples) / max(n_samples - 1, 1)
        loadings /= max(n_samples - 1, 1)
        kl = np.maximum(kl / n_samples, 0)

        order = np.argsort(-kl, kind="stable")
        largest = loadings[np.arange(len(kl)), np.abs(loadings).argmax(axis=1)]
        matrix = np.eye(len(kl))[:, order] * np.where(largest < 0, -1.0, 1.0)[order]
        weights[positions["rotation"]] = matrix
        weights[positions["inverse_rotation"]] = matrix.T
        for name in ("offset", "inverse_offset"):
            weights[positions[name]] = np.zeros(len(kl))

        explained = np.zeros(len(kl))
        np.divide((loadings**2).sum(axis=1), variance, out=explained, where=variance > 0)
        explained = explained[order]
        share = explained / total if total > 0 else np.zeros_like(explained)
        return {
            "_weights": weights,
            "mean_": mean.astype(X.dtype),
            "explained_variance_": explained.astype(X.dtype),
            "explained_variance_ratio_": share.astype(X.dtype),
            "kl_per_component_": kl[order].astype(X.dtype),
            "n_components_": len(kl),
        }

    # -- the density

    def posterior(self, X):
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        model = self._inference(X.dtype)
        found = [
            model.functions["posterior"](_dense(X[batch]))
            for batch in gen_batches(X.shape[0], model.batch_rows)
        ]
        mean, log_variance = (np.concatenate(parts) for parts in zip(*found, strict=True))
        matrix = model.named["rotation"].astype(X.dtype)
        return mean @ matrix, np.exp(log_variance / 2) @ np.abs(matrix)

    def elbo(self, X):
        log_weights = self._log_weights(X)
        return log_weights.mean(axis=0)

    def score_samples(self, X):
        log_weights = self._log_weights(X)
        return logsumexp(log_weights, axis=0) - math.log(len(log_weights))

    def _log_weights(self, X):
        """``log p(x, z) - log q(z | x)`` of shape (n_importance_samples, n_samples).

        Every row is given the same draws, so that no row depends on another.
        """
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if self._objective().unit_interval:
            self._check_unit_interval(X)
        model = self._inference(X.dtype)
        rng = np.random.default_rng(DRAWS_SEED)
        noise = rng.standard_normal((self.n_importance_samples, self.n_components_))
        noise = noise.astype(X.dtype)
        at_once = min(len(noise), DRAWS_AT_ONCE)
        found = np.empty((len(noise), X.shape[0]))
        for rows in gen_batches(X.shape[0], max(1, model.batch_rows // at_once)):
            for draws in gen_batches(len(noise), at_once):
                found[draws, rows] = model.functions["log_weights"](
                    _dense(X[rows]), noise[draws]
                )
        return found - X.shape[1] * math.log(model.named["scale"])

    # -- generation

    def sample(self, n_samples=1, random_state=None, add_noise=False):
        check_is_fitted(self)
        rng = check_random_state(random_state)
        Z = rng.standard_normal((n_samples, self.n_components_))
        X = self.inverse_transform(Z.astype(self.mean_.dtype))
        if not add_noise:
            return X
        if self.likelihood == "bernoulli":
            return rng.binomial(1, X).astype(X.dtype)
        std = np.sqrt(self.noise_variance_) * np.ones(self.n_features_in_)
        noise = std * rng.standard_normal((n_samples, self.n_features_in_))
        return X + noise.reshape(X.shape).astype(X.dtype)

    @property
    def noise_variance_(self):
        """The variance of the noise around the decoder's mean, in squared units of X."""
        check_is_fitted(self)
        from skae._layers import LogVariance

        model = self._inference(self.mean_.dtype)
        if "noise" not in model.named:
            return None
        log_variance = np.float64(LogVariance().call(model.named["noise"]))
        variance = np.exp(log_variance) * float(model.named["scale"]) ** 2
        return variance if len(variance) > 1 else float(variance[0])

    @property
    def n_active_components_(self):
        """The number of components whose `kl_per_component_` is above 0.01 nat."""
        return int(np.sum(self.kl_per_component_ > ACTIVE))
