"""VAETransformer: the variational autoencoder, which starts as probabilistic PCA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skae._data.dask import lazily
from skae._data.rows import float_dtype
from skae._data.stored import rows_of
from skae._estimator.base import MOST_VALUES, BaseAutoencoder
from skae._model import components
from skae._model.graph import LEAST_NOISE, NOISE
from skae._model.objectives import Evidence
from skae._utils.typing import (
    Init,
    LikelihoodName,
    MatrixLike,
    PairsByColumn,
    RandomState,
)
from skae._utils.warnings import warn_user, with_numpy_defaults
from skae.likelihoods import Likelihood
from skae.likelihoods._base import bounded
from skae.likelihoods._names import LIKELIHOODS
from skae.networks import Network

if TYPE_CHECKING:
    import keras

#: Nats of divergence from the prior above which a component is active.
ACTIVE = 0.01

#: The seed of the draws that bounds are computed with, and how many at a time.
DRAWS_SEED, DRAWS_AT_ONCE = 20151, 64

#: How often a row with holes is completed, each time from what it was before.
PASSES = 3


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
    n_components : int, float in (0, 1), "mle" or None, default=2
        The number of components of the code. A float takes as many as PCA needs to
        explain that share of the variance, and "mle" as many as PCA does by Minka's
        method. None takes what the network gives, such as the flattened feature maps of
        a :class:`~skae.networks.ConvNetwork`.

    network : Network or None, default=None
        The layers on each side of the code, with parameters of its own; None is
        :class:`~skae.networks.DenseNetwork` with its defaults.

    likelihood : {"gaussian", "gaussian_diag", "bernoulli", "categorical", "poisson", \
            "negative_binomial"}, Likelihood or list of pairs, default="gaussian"
        The distribution of a row around the decoder's mean. "gaussian": normal, with one
        noise variance, which is learned, so that the bound balances itself on any scale
        of X. "gaussian_diag": normal, with a noise variance for each feature, whatever
        its unit. "bernoulli": each feature is a probability or a binary number, so that
        X must be in [0, 1]. "categorical": all columns are one one-hot group. "poisson"
        and "negative_binomial": counts. A list of (likelihood, columns) pairs, which
        takes columns as :class:`~sklearn.compose.ColumnTransformer` does, is for tables
        of several kinds; there each "categorical" is a group of its own. Objects of
        :mod:`skae.likelihoods` have parameters.

    beta : float, default=1.0
        The weight of the Kullback-Leibler divergence in the loss. Above 1 fewer
        components stay active. Scores do not depend on it.

    n_importance_samples : int, default=64
        The number of draws from the posterior of a row that `score_samples` and `elbo`
        are computed from. The more, the closer is the score to the log-likelihood.

    init : {"auto", "linear", "random"}, default="auto"
        Where training starts. "linear": at the best linear model (see Notes), which needs a
        dense code. "random": at random layers, without a linear path. "auto": at the
        linear model wherever it can; with 1,000 to 4,999 rows training begins once more,
        at random weights, and what is better on the validation rows is kept. (Not where
        values are missing, or callbacks or several splits watch.)

    optimizer : str or keras.optimizers.Optimizer, default="adam"
        The name of a Keras optimizer, or an instance, which is copied at each fit and
        brings its own learning rate.

    learning_rate : {"adaptive", "constant"}, default="adaptive"
        "adaptive" lowers the rate where the loss stops falling, and ends training when
        that brings nothing more; with 50,000 rows and more, it follows a plan: a warm-up,
        then a cosine, over some ``5000 / sqrt(n_samples)`` epochs. "constant" leaves the
        rate as it is. A rate that is a schedule goes its own way.

    learning_rate_init : float, "auto" or \
            keras.optimizers.schedules.LearningRateSchedule, default="auto"
        The learning rate of an optimizer given by its name, at first, or at the peak of
        the plan. "auto" is Adam's for the batch size: 2e-3 up to 32 rows, from there on as
        the square root, 6e-3 at most; of other optimizers it is what Keras gives them.

    alpha : float, default=1e-4
        The strength of the L2 penalty on the network's weights, divided by the batch
        size when added to the loss, as in
        :class:`~sklearn.neural_network.MLPRegressor`.

    batch_size : int or "auto", default="auto"
        The number of rows in a batch; no more than there are. "auto" is 16 with fewer
        than 5,000 rows, 64 with fewer than 10,000 and else 128. The last batch of an
        epoch is filled up with rows of its beginning.

    max_iter : int, default=200
        The largest number of epochs. With 0 the model stays at its start. Where training
        ends at it and the loss has not settled, a `ConvergenceWarning` says so.

    shuffle : bool, default=True
        Whether to draw a new order of the rows at each epoch.

    tol : float, default=1e-4
        The loss must fall by more than `tol` nats per feature to count as an
        improvement.

    n_iter_no_change : int or inf, default=20
        The number of epochs without improvement after which training stops. An adaptive
        rate is lowered after a quarter of them, but not before the first improvement.
        With inf there are `max_iter` epochs.

    early_stopping : bool, default=True
        Whether to set validation rows aside, start from the linear model of the other
        rows, stop when the bound on the validation rows no longer improves, and keep
        the weights that did best on them. These must be better than where they started,
        and not worse than the linear model of all rows, each by more than the standard
        error of the difference; otherwise the linear model of all rows is kept. If
        False, the training loss decides when to stop, and the last weights are kept.

    validation_fraction : float, default=0.15
        The share of the rows to set aside for early stopping.

    n_splits : int or "auto", default="auto"
        The number of splits into training and validation rows, at most 100, that early
        stopping looks at. With several, each is trained from its own start; the mean of
        their validation losses says how many epochs are best, and the model is trained
        for these on all rows. "auto" is 5 with fewer than 1,000 rows, else 1, and 1
        with callbacks, which watch one training.

    smoothing : float or "auto", default="auto"
        How far around the rows training draws what the network is shown, at first, as a
        share of their standard deviation; it falls as the learning rate does. At most
        2. Each row is mixed at random with a few others, such that their mean and
        covariance stay as they are on average. So the network bends less to single
        rows; 0 shows the rows themselves. Mixtures of rows must be rows as well:
        nothing missing, and a `likelihood` of any real numbers. "auto" is 0: that a
        code is drawn does as much.

    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit.

    callbacks : list of keras.callbacks.Callback or None, default=None
        Called at the boundaries of fit and epochs with a Keras model on raw rows, and
        copied at each fit.

    verbose : int, default=0
        If not 0, shows a progress bar with the losses of the last epoch, those of
        `history_`: in a terminal and in a notebook. Elsewhere the line comes at the end.

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

    components_ : ndarray of shape (`n_components_`, n_features)
        The slopes of the reconstruction on the components, by least squares over the
        rows of X: what one more of a component adds to each feature, on average.

    noise_variance_ : float, ndarray of shape (n_features,) or None
        The learned variance around the decoder's mean, in squared units of X; None where
        the likelihood is not normal, and NaN for such columns of several kinds.

    explained_variance_ : ndarray of shape (`n_components_`,)
        The variance of X that the linear regression of X on each component alone
        explains, in squared units of X.

    explained_variance_ratio_ : ndarray of shape (`n_components_`,)
        `explained_variance_` as shares of the variance of X, of completed rows where
        values are missing.

    singular_values_ : ndarray of shape (`n_components_`,)
        The square roots of ``(n_samples_ - 1) * explained_variance_``.

    n_samples_ : int
        The number of rows of X.

    history_ : dict of str to list of float
        What each epoch came to, in nats of X: "loss", which is the sum of
        "reconstruction" (minus the log-likelihood given the code), of the weighted "kl"
        (which is given without its weight) and of the penalty `alpha`; and, with early
        stopping, "val_loss"; with several splits these are means over them, and
        "refit_loss" is that of the training on all rows.

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
    ``FactorAnalysis(n_components).score(X)`` of features divided by their standard
    deviations, in the units of X, its factors rotated until the posterior is diagonal;
    constant features stay as they start. `components_` are the loadings of
    either. With "bernoulli" it is logistic PCA [3]_ with a linear encoder. Another `beta`
    is a noise variance `beta` times as large to the codes, and components that don't rise
    above it start at zero [4]_.

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
        "likelihood": [StrOptions(set(LIKELIHOODS)), Likelihood, list],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
    }
    _parameter_constraints.pop("code_activation")

    code_activation = "linear"

    kl_per_component_: np.ndarray

    def __init__(
        self,
        n_components: float | Literal["mle"] | None = 2,
        *,
        network: Network | None = None,
        likelihood: LikelihoodName | Likelihood | PairsByColumn = "gaussian",
        beta: float = 1.0,
        n_importance_samples: int = 64,
        init: Init = "auto",
        optimizer: str | keras.optimizers.Optimizer = "adam",
        learning_rate: Literal["adaptive", "constant"] = "adaptive",
        learning_rate_init: float
        | Literal["auto"]
        | keras.optimizers.schedules.LearningRateSchedule = "auto",
        alpha: float = 1e-4,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: float = 20,
        early_stopping: bool = True,
        validation_fraction: float = 0.15,
        n_splits: int | Literal["auto"] = "auto",
        smoothing: float | Literal["auto"] = "auto",
        warm_start: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.network = network
        self.likelihood = likelihood
        self.beta = beta
        self.n_importance_samples = n_importance_samples
        self.init = init
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_splits = n_splits
        self.smoothing = smoothing
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state

    def _objective(self, rows, missing):
        likelihood = self._by_name(LIKELIHOODS, "likelihood", rows)
        return Evidence(likelihood, missing, beta=self.beta)

    _components = staticmethod(components.of_posterior)

    def _fit(self, *args, one_epoch=False, **kwargs):
        super()._fit(*args, one_epoch=one_epoch, **kwargs)
        if not one_epoch and self.n_active_components_ == 0:
            message = (
                "No component is active: the posterior of each is within"
                f" {ACTIVE} nat of the prior, and the code says nothing about X. Lower"
                " beta, train longer (max_iter), or check that the features of X depend"
                " on each other."
            )
            warn_user(ConvergenceWarning(message))
        return self

    # -- the density

    @with_numpy_defaults
    def posterior(self, X: MatrixLike) -> tuple[np.ndarray, np.ndarray]:
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
        X, _ = self._known_rows(X)
        model = self._fitted(float_dtype(X))
        mean, log_variance = model.posterior(X)
        matrix = model.coordinates.rotation.astype(float_dtype(X))
        std = np.sqrt(np.exp(log_variance) + model.surplus(X))
        return mean @ matrix, std @ np.abs(matrix)

    @with_numpy_defaults
    def elbo(self, X: MatrixLike) -> np.ndarray:
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

    @lazily
    def score_samples(self, X: MatrixLike) -> np.ndarray:
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
            Of what is there, where values are missing; a class that the fit has not seen
            (zeros in all columns of a categorical group) costs ``log(n_samples_ + 2)``.

        References
        ----------
        .. [5] Burda, Y., Grosse, R. and Salakhutdinov, R. (2016). Importance weighted
           autoencoders. International Conference on Learning Representations.
        """
        log_weights = self._log_weights(X)
        return logsumexp(log_weights, axis=0) - math.log(len(log_weights))

    @lazily
    def score_features(self, X: MatrixLike) -> np.ndarray:
        """Each feature's share of `score_samples`.

        With the draws z of a row, and their weights ``p(x, z) / q(z | x)`` as shares w,
        the score is ``sum(w * log p(x | z))``, which is a sum over features, and a rest
        that tells how unusual the code is, which is shared out evenly.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        scores : ndarray of the shape of X
            In nats; 0 where X is NaN. Summed over the features of a row they are its
            score.
        """
        check_is_fitted(self)
        X, row_shape = self._check_rows(X)
        X, unknown = self._known(X)
        rows, model = rows_of(X), self._fitted(float_dtype(X))
        likelihood, scale = self._likelihood, model.coordinates.scale
        model.specification.objective.check(rows, self.likelihood)
        noise, found = self._draws(float_dtype(X)), np.empty(X.shape)
        logs = likelihood.in_units(0.0, scale, np.eye(len(scale)))
        for batch in rows.batches(max(1, model.batch_rows // len(noise))):
            dense = rows.dense(batch)
            log_weights, of_features = model.log_weights_of_features(dense, noise)
            score = logsumexp(log_weights, axis=0) - math.log(len(noise))
            there = ~np.isnan(dense)
            rest = (score - of_features.sum(axis=1)) / np.maximum(there.sum(axis=1), 1)
            found[batch] = there * (of_features + rest[:, None] - logs)
        if unknown is not None:
            groups = likelihood.groups(X.shape[1])
            for columns, here in zip(groups, unknown.T, strict=True):
                found[np.ix_(here, columns)] = self._log_unknown / len(columns)
        return found.reshape(-1, *row_shape)

    @property
    def _log_unknown(self):
        """The logarithm of the probability of a class that no row of the fit had.

        By Laplace's rule of succession, one of two more than the rows.
        """
        return -math.log(self.n_samples_ + 2)

    def _draws(self, dtype):
        rng = np.random.default_rng(DRAWS_SEED)
        shape = int(self.n_importance_samples), self.n_components_
        noise = rng.standard_normal(shape)
        return noise.astype(dtype)

    def _log_weights(self, X):
        """``log p(x, z) - log q(z | x)`` of shape (n_importance_samples, n_samples).

        Every row is given the same draws, so that no row depends on another.
        """
        check_is_fitted(self)
        X, _ = self._check_rows(X)
        X, unknown = self._known(X)
        rows, model = rows_of(X), self._fitted(float_dtype(X))
        objective = model.specification.objective
        objective.check(rows, self.likelihood)
        noise = self._draws(float_dtype(X))
        found = np.empty((len(noise), len(rows)))
        for batch in rows.batches(max(1, model.batch_rows // DRAWS_AT_ONCE)):
            dense = rows.dense(batch)
            for draws in gen_batches(len(noise), DRAWS_AT_ONCE):
                found[draws, batch] = model.log_weights(dense, noise[draws])
            found[:, batch] = -objective.likelihood.in_units(
                -found[:, batch], self._state.coordinates.scale, ~np.isnan(dense)
            )
        if unknown is not None:
            found += self._log_unknown * unknown.sum(axis=1)
        return found

    def impute(self, X: MatrixLike) -> np.ndarray:
        """X with the values that the model expects, given what is there, in place of NaN.

        They are the means of the decoder over draws z of the code, `n_importance_samples`
        and these mirrored, weighted by ``p(x, z) / q(z | x)`` of the values that are
        there [6]_; three times, each time from the posterior of rows as they were
        completed before. They come to the expectation as the draws grow in number, and
        with ``max_iter=0`` they are it. The draws are the same at each call and for each
        row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        X_imputed : ndarray of the shape of X
            The values that are not NaN as they were; a frame with the columns of X where
            `set_output` asks for frames.

        References
        ----------
        .. [6] Mattei, P.-A. and Frellsen, J. (2019). MIWAE: deep generative modelling and
           imputation of incomplete data sets. International Conference on Machine
           Learning.
        """
        return super().impute(X)

    def _expected(self, X):
        expected, model = super()._expected(X), self._fitted(float_dtype(X))
        holes = np.flatnonzero(np.isnan(X).any(axis=1))
        if model.coordinates.completion is None or not len(holes):
            return expected
        model.specification.objective.check(rows_of(X), self.likelihood)
        draws = self._mirrored_draws(X.dtype)
        for batch in gen_batches(len(holes), max(1, model.batch_rows // len(draws[0]))):
            expected[holes[batch]] = model.expected(X[holes[batch]], draws)
        return expected

    def _mirrored_draws(self, dtype):
        """For each pass, draws whose mean is zero: what is linear has no error then."""
        rng = np.random.default_rng(DRAWS_SEED)
        shape = PASSES, int(self.n_importance_samples), self.n_components_
        noise = rng.standard_normal(shape).astype(dtype)
        return np.concatenate([noise, -noise], axis=1)

    # -- generation

    @with_numpy_defaults
    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
        add_noise: bool = False,
    ) -> np.ndarray:
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
        if not isinstance(n_samples, Integral) or not 1 <= n_samples <= self._most_rows:
            raise ValueError(
                f"n_samples must be an int from 1 to {self._most_rows}, of which the rows"
                f" fit into memory. Got {n_samples!r}."
            )
        rng = check_random_state(random_state)
        Z = rng.standard_normal((n_samples, self.n_components_))
        Z = Z.astype(self.mean_.dtype)
        X = self._fitted(Z.dtype).decode(Z)
        if not add_noise:
            return X
        likelihood, scale = self._likelihood, self._state.coordinates.scale
        flat = X.reshape(n_samples, -1)
        return likelihood.sample(flat, self._noise, scale, rng).reshape(X.shape)

    @property
    def _most_rows(self):
        """Rows that a matrix may have."""
        return MOST_VALUES // max(self._last_state.specification.n_features, 1)

    @property
    def _likelihood(self):
        return self._state.specification.objective.likelihood

    @property
    def _noise(self):
        """What the likelihood has learned of the noise, in standardised units, or None."""
        weights = self._state.weights
        if NOISE not in weights:
            return None
        log_variance = bounded(np.asarray(weights[NOISE], np.float64))
        return np.exp(np.maximum(log_variance, weights[LEAST_NOISE]))

    @property
    def noise_variance_(self) -> float | np.ndarray | None:
        """The variance of the noise around the decoder's mean, in squared units of X."""
        check_is_fitted(self)
        scale = self._state.coordinates.scale
        return self._likelihood.noise_variance(self._noise, scale)

    @property
    def n_active_components_(self) -> int:
        """The number of components whose `kl_per_component_` is above 0.01 nat."""
        return int(np.sum(self.kl_per_component_ > ACTIVE))
