"""VAETransformer: the variational autoencoder, which starts as probabilistic PCA."""

import math
import warnings
from dataclasses import dataclass, field, replace
from numbers import Integral, Real

import numpy as np
from scipy.special import logsumexp
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skae._base import BaseAutoencoder, _dense
from skae._losses import LIKELIHOODS
from skae._starts import bernoulli_start, factor_start, fit_pca, ppca_start

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

    def output(self, y, named):
        """In units of the noise that training starts with, where there is one.

        Steps of the optimizer are then as large beside the noise for every feature.
        """
        if not self.likelihood.has_noise:
            return y
        from skae._layers import Unit

        unit = Unit(name="noise_unit")
        y = unit(y)
        named["noise_unit"] = unit.unit
        return y

    def connect(self, x, encoder, decoder, named):
        from skae._layers import NoiseLogVariance, Sampling

        sampling = Sampling(name="sampling")
        output = decoder(sampling(encoder(x)))
        named |= {"beta": sampling.beta, "warmup": sampling.warmup}
        if not self.likelihood.has_noise:
            return output
        noise = NoiseLogVariance(self.likelihood.noise_per_feature, name="noise")
        log_variance = noise(output)
        named |= {"noise": noise.noise, "least_noise": noise.least}
        return [output, log_variance]

    def per_sample(self, x, outputs):
        outputs = outputs if self.likelihood.has_noise else [outputs]
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
        output = models.decoder_core(ops.reshape(z, (-1, z.shape[-1])), training=False)
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
        algorithm = models.architecture.random_algorithm
        noise = tf.random.stateless_normal(
            shape, (i, DRAWS_SEED), dtype=x.dtype, alg=algorithm
        )
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
        names = ("loss", "reconstruction", "val_loss")
        found = {name: losses[name] + shift for name in names if name in losses}
        if "added" in losses:
            found["kl"] = losses["added"] / (losses["beta"] * losses["warmup"])
        return found


class VAETransformer(BaseAutoencoder):
    """Variational autoencoder: a latent variable model with a density, in nats.

    It takes the place of :class:`~sklearn.decomposition.PCA` as a probabilistic model,
    or of :class:`~sklearn.decomposition.FactorAnalysis`. A code is drawn from a standard
    normal prior, and a row around the mean that the decoder gives; the encoder gives
    the mean and the standard deviation of the code of a row. Both are trained together
    to raise the evidence lower bound, a lower bound of the log-likelihood of X.

    Next to the network runs a linear path that starts at probabilistic PCA, or at factor
    analysis, where the bound is the log-likelihood itself. The network's own contribution
    starts at zero, and training is kept only where it raises the bound on held-out rows.

    Parameters
    ----------
    n_components : int, float in (0, 1) or None, default=2
        The number of components of the code. A float takes as many as PCA needs to
        explain that share of the variance. None takes what the network gives, such as
        the flattened feature maps of a :class:`~skae.networks.ConvNetwork`.

    network : Network or None, default=None
        The layers on each side of the code, with parameters of its own; None is
        :class:`~skae.networks.DenseNetwork` with its defaults.

    likelihood : {"gaussian", "gaussian_diag", "bernoulli"}, default="gaussian"
        The distribution of a row around the decoder's mean. "gaussian": normal, with one
        noise variance, which is learned, so that the bound balances itself on any scale
        of X. "gaussian_diag": normal, with a noise variance for each feature.
        "bernoulli": each feature is a probability or a binary number, so that X must be
        in [0, 1].

    beta : float, default=1.0
        The weight of the Kullback-Leibler divergence in the loss. Above 1 fewer
        components stay active. Scores do not depend on it.

    kl_warmup : int, default=0
        The number of epochs over which the weight of the divergence rises to `beta`.
        Early stopping looks at the loss with all of it.

    n_importance_samples : int, default=64
        The number of draws from the posterior of a row that `score_samples` and `elbo`
        are computed from. The more, the closer is the score to the log-likelihood.

    init : {"auto", "pca", "random"}, default="auto"
        Where training starts. "pca": at the best linear model (see Notes), which needs a
        dense code. "random": at random layers, without a linear path. "auto": at the
        linear model wherever it can.

    optimizer : str or keras.optimizers.Optimizer, default="adam"
        The name of a Keras optimizer, or an instance, which is copied at each fit and
        brings its own learning rate.

    learning_rate_init : float or keras.optimizers.schedules.LearningRateSchedule, \
            default=1e-3
        The learning rate of an optimizer given by its name.

    alpha : float, default=1e-4
        The strength of the L2 penalty on the network's weights, divided by the batch
        size when added to the loss, as in
        :class:`~sklearn.neural_network.MLPRegressor`.

    batch_size : int or "auto", default="auto"
        The number of rows in a batch; "auto" is ``min(200, n_samples)``. The last batch
        of an epoch is filled up with rows of its beginning.

    max_iter : int, default=200
        The largest number of epochs. With 0 the model stays at its start.

    shuffle : bool, default=True
        Whether to draw a new order of the rows at each epoch.

    tol : float, default=1e-4
        The loss must fall by more than `tol` nats per feature to count as an
        improvement.

    n_iter_no_change : int or inf, default=20
        The number of epochs without improvement after which training stops.

    early_stopping : bool, default=True
        Whether to set validation rows aside, start from the linear model of the other
        rows, stop when the bound on the validation rows no longer improves, and keep
        the weights that did best on them. These must be better than where they started,
        and not worse than the linear model of all rows, each by more than the standard
        error of the difference; otherwise the linear model of all rows is kept. If
        False, the training loss decides when to stop, and the last weights are kept.

    validation_fraction : float, default=0.15
        The share of the rows to set aside for early stopping.

    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit.

    callbacks : list of keras.callbacks.Callback or None, default=None
        Called at the boundaries of fit and epochs with a Keras model on raw rows, and
        copied at each fit.

    verbose : int, default=0
        If not 0, shows a progress bar with the losses.

    random_state : int, RandomState instance or None, default=None
        Determines the initial weights, the split into training and validation rows,
        their order and all noise. Pass an int for the same results at each call.

    Attributes
    ----------
    n_components_ : int
        The number of components.

    network_ : Network
        The network that was used, a clone of `network`.

    encoder_, decoder_, autoencoder_ : keras.Model
        From raw rows to codes, from codes to rows, and both together.

    mean_ : ndarray of shape (n_features,)
        The mean of X.

    kl_per_component_ : ndarray of shape (`n_components_`,)
        The Kullback-Leibler divergence of each component's posterior from the prior,
        averaged over the rows of X, in nats: how much the component says about a row.
        Components are ordered by it, in falling order, and have the signs that PCA
        would give them.

    n_active_components_ : int
        The number of components whose divergence is above 0.01 nat.

    noise_variance_ : float, ndarray of shape (n_features,) or None
        The learned variance around the decoder's mean, in squared units of X; None for
        "bernoulli".

    explained_variance_ : ndarray of shape (`n_components_`,)
        The variance of X that the linear regression of X on each component alone
        explains, in squared units of X.

    explained_variance_ratio_ : ndarray of shape (`n_components_`,)
        `explained_variance_` as shares of the variance of X.

    history_ : dict of str to list of float
        What each epoch came to, in nats of X: "loss", which is the sum of
        "reconstruction" (minus the log-likelihood given the code), of the weighted "kl"
        (which is given without its weight) and of the penalty `alpha`; and, with early
        stopping, "val_loss".

    loss_curve_ : list of float
        The training loss after each epoch.

    loss_ : float
        The training loss of the last epoch.

    validation_scores_ : list of float or None
        Minus the loss on the validation rows after each epoch; None without early
        stopping.

    n_iter_ : int
        The number of epochs trained.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has names that are all strings.

    Warns
    -----
    ConvergenceWarning
        If no component is active after `fit`.

    See Also
    --------
    sklearn.decomposition.PCA : What it starts as.
    sklearn.decomposition.FactorAnalysis : What it starts as with "gaussian_diag".
    AutoencoderTransformer : The classical autoencoder.

    Notes
    -----
    The loss is minus the evidence lower bound [1]_

    .. math:: E_{q(z|x)} \\log p(x|z) - \\beta \\, KL(q(z|x) \\| N(0, I)),

    the reconstruction summed over features, the divergence over components, and both
    averaged over rows.

    With ``max_iter=0`` and "gaussian", the decoder and the noise variance are those of
    probabilistic PCA [2]_ (equations 7 and 8), whose posterior is normal, linear and
    diagonal: the bound equals ``PCA(n_components).score(X)``. Where PCA keeps all
    components and leaves no noise variance, half the least one kept takes its place: it
    gives the same density. On data of lower rank, a millionth of the features' mean
    variance does. With "gaussian_diag" the bound equals
    ``FactorAnalysis(n_components).score(X)``, its factors rotated until the posterior is
    diagonal; constant features stay as they start. With "bernoulli" it is logistic PCA
    [3]_ with a linear encoder. Another `beta` is a noise variance `beta` times as large
    to the codes, and components that don't rise above it start at zero [4]_.

    If early stopping is on, training goes from the linear model of the training rows
    alone, and where it does not get better on the validation rows, the linear model of
    all rows is the fit.

    Log-variances are kept between -32 and 32, in units of the features' mean variance,
    by ``x / (1 + abs(x) / 32)``, whose gradient is never zero.

    References
    ----------
    .. [1] Kingma, D. P. and Welling, M. (2014). Auto-encoding variational Bayes.
       International Conference on Learning Representations.

    .. [2] Tipping, M. E. and Bishop, C. M. (1999). Probabilistic principal component
       analysis. Journal of the Royal Statistical Society B 61, 611-622.

    .. [3] Tipping, M. E. (1998). Probabilistic visualisation of high-dimensional binary
       data. Advances in Neural Information Processing Systems 11.

    .. [4] Lucas, J., Tucker, G., Grosse, R. and Norouzi, M. (2019). Don't blame the ELBO!
       A linear VAE perspective on posterior collapse. Advances in Neural Information
       Processing Systems 32.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import VAETransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> X_train, X_test = X[:1500], X[1500:]
    >>> vae = VAETransformer(4, max_iter=20, random_state=0).fit(X_train)
    >>> vae.score(X_test) > PCA(4).fit(X_train).score(X_test)
    True
    >>> vae.sample(3, random_state=0).shape
    (3, 64)
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
        n_iter_no_change=20,
        early_stopping=True,
        validation_fraction=0.15,
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
        likelihood = replace(LIKELIHOODS[self.likelihood], missing=self._allows_missing())
        return EvidenceBound(likelihood, self.beta, self.kl_warmup)

    def _unit_interval_reason(self):
        return f"likelihood={self.likelihood!r}"

    def _start_rows(self, X, rows):
        index = np.sort(rows.index)
        if self.likelihood == "gaussian_diag":
            dense = _dense(X)
            varies = (dense != dense[0]).any(axis=0)
            if not (dense[index] != dense[index[0]]).any(axis=0)[varies].all():
                return None  # a feature would be taken for a constant
        return index

    def _linear_start(self, X, target, moments, n_components):
        if self.likelihood == "gaussian_diag":
            return factor_start(X, n_components, self.beta)
        if self.likelihood == "bernoulli":
            return bernoulli_start(moments.pca, X, n_components, self.beta)
        return ppca_start(moments.pca, n_components, X.shape[0], self.beta)

    def _code_unit(self, scale):
        return 1.0

    def _named_weights(self, start, mean, scale):
        from skae._layers import MAX_LOG_VARIANCE, LogVariance

        if start is None:
            return {}
        inverse = LogVariance().inverse
        named = {"log_variance": inverse(np.log(start.posterior_variance))}
        if start.noise_variance is not None:
            noise = start.noise_variance / scale**2
            unit = np.sqrt(noise) * np.ones(len(mean))
            # Of constant features below the least, which is theirs in full precision
            named["noise"] = np.atleast_1d(inverse(np.log(noise) - start.constant))
            named["decoder_kernel"] = start.decoder / scale / unit
            named["decoder_bias"] = (start.intercept - mean) / scale / unit
            named["noise_unit"] = unit * np.logical_not(start.constant)
            least = np.where(start.constant, np.log(noise), -MAX_LOG_VARIANCE)
            named["least_noise"] = np.atleast_1d(least)
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

    def _fitted(self, X, moments, architecture, paths, weights, untrained=False):
        """The attributes that follow from the weights; components in falling order."""
        from skae._inference import Fitted, inference

        weights = dict(weights)
        mean, total = moments.mean, moments.total_variance
        model = Fitted(inference(architecture, X.dtype), weights)
        moment, loadings, kl, square = 0.0, 0.0, 0.0, 0.0
        for batch in gen_batches(X.shape[0], model.batch_rows):
            rows = _dense(X[batch])
            z, log_variance = (
                output.astype(np.float64) for output in model.functions["posterior"](rows)
            )
            surplus = np.expm1(log_variance) - log_variance
            kl = kl + (z**2 + surplus).sum(axis=0) / 2
            moment, square = moment + z.sum(axis=0), square + (z**2).sum(axis=0)
            centered = rows - mean.astype(rows.dtype)
            if architecture.network.allows_missing:
                centered = np.nan_to_num(centered)
            loadings = loadings + z.astype(rows.dtype).T @ centered
        n_samples = X.shape[0]
        variance = (square - moment**2 / n_samples) / max(n_samples - 1, 1)
        loadings /= max(n_samples - 1, 1)
        kl = np.maximum(kl / n_samples, 0)

        order = np.argsort(-kl, kind="stable")
        largest = loadings[np.arange(len(kl)), np.abs(loadings).argmax(axis=1)]
        matrix = np.eye(len(kl))[:, order] * np.where(largest < 0, -1.0, 1.0)[order]
        weights[paths["rotation"]] = matrix
        weights[paths["inverse_rotation"]] = matrix.T
        for name in ("offset", "inverse_offset"):
            weights[paths[name]] = np.zeros(len(kl))

        explained = np.zeros(len(kl))
        np.divide((loadings**2).sum(axis=1), variance, out=explained, where=variance > 0)
        explained = explained[order]
        share = explained / total if total > 0 else np.zeros_like(explained)
        return {
            "_weights": weights,
            "mean_": mean.astype(X.dtype),
            "explained_variance_": explained,
            "explained_variance_ratio_": share,
            "kl_per_component_": kl[order],
            "n_components_": len(kl),
        }

    # -- the density

    def posterior(self, X):
        """The posterior of the code of each row: normal, its components independent.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        mean, std : ndarrays of shape (n_samples, n_components)
            The mean, which is what `transform` gives, and the standard deviation.
        """
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
        """The evidence lower bound of the log-likelihood of each row.

        It is the mean of ``log p(x, z) - log q(z | x)`` over `n_importance_samples` draws
        z from the posterior ``q(z | x)``, the same draws at each call. `beta` plays no
        part in it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        bounds : ndarray of shape (n_samples,)
            In nats.
        """
        log_weights = self._log_weights(X)
        return log_weights.mean(axis=0)

    def score_samples(self, X):
        """The importance-weighted bound of the log-likelihood of each row [5]_.

        It is the logarithm of the mean of ``p(x, z) / q(z | x)`` over
        `n_importance_samples` draws z from the posterior ``q(z | x)``. It is never below
        `elbo`, and rises to the log-likelihood as the draws grow in number. The draws are
        the same at each call and for each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In nats, and in the units of :meth:`sklearn.decomposition.PCA.score_samples`.

        References
        ----------
        .. [5] Burda, Y., Grosse, R. and Salakhutdinov, R. (2016). Importance weighted
           autoencoders. International Conference on Learning Representations.
        """
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
        log_scale = math.log(model.named["scale"])
        found = np.empty((len(noise), X.shape[0]))
        for rows in gen_batches(X.shape[0], max(1, model.batch_rows // DRAWS_AT_ONCE)):
            batch = _dense(X[rows])
            for draws in gen_batches(len(noise), DRAWS_AT_ONCE):
                found[draws, rows] = model.functions["log_weights"](batch, noise[draws])
            found[:, rows] -= log_scale * (~np.isnan(batch)).sum(axis=1)
        return found

    # -- generation

    def sample(self, n_samples=1, random_state=None, add_noise=False):
        """Draw rows from the model: codes from the prior, decoded.

        Parameters
        ----------
        n_samples : int, default=1
            The number of rows.

        random_state : int, RandomState instance or None, default=None
            Determines the draws. Pass an int for the same rows at each call.

        add_noise : bool, default=False
            Whether to draw each row from its distribution around the decoder's mean;
            otherwise the mean is returned.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_samples, ...)
            Rows of the shape that `fit` was given.
        """
        check_is_fitted(self)
        rng = check_random_state(random_state)
        Z = rng.standard_normal((n_samples, self.n_components_))
        X = self.inverse_transform(Z.astype(self.mean_.dtype))
        if not add_noise:
            return X
        if self.likelihood == "bernoulli":
            return rng.binomial(1, X).astype(X.dtype)
        noise = rng.standard_normal((n_samples, math.prod(X.shape[1:])))
        noise *= np.sqrt(self.noise_variance_)
        return X + noise.reshape(X.shape).astype(X.dtype)

    @property
    def noise_variance_(self):
        """The variance of the noise around the decoder's mean, in squared units of X."""
        check_is_fitted(self)
        from skae._layers import LogVariance

        model = self._inference(self.mean_.dtype)
        if "noise" not in model.named:
            return None
        log_variance = LogVariance().call(np.asarray(model.named["noise"], np.float64))
        log_variance = np.maximum(log_variance, model.named["least_noise"])
        variance = np.exp(log_variance) * float(model.named["scale"]) ** 2
        return variance if len(variance) > 1 else float(variance[0])

    @property
    def n_active_components_(self):
        """The number of components whose `kl_per_component_` is above 0.01 nat."""
        return int(np.sum(self.kl_per_component_ > ACTIVE))

    def _pca_loss(self, X):
        """Minus the log-likelihood of the linear model of X on X, in nats."""
        if self.likelihood == "bernoulli":
            raise ValueError(
                "PCA's log-likelihood is that of normal noise, which does not compare with"
                " likelihood='bernoulli': leave X out."
            )
        if self.likelihood == "gaussian_diag":
            linear = FactorAnalysis(self.n_components_).fit(X)
        else:
            linear = fit_pca(X, self.n_components_)
        return -float(linear.score(X))
