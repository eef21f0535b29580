"""VAETransformer: the variational autoencoder, which starts as probabilistic PCA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from skae._data.dask import lazily
from skae._data.rows import float_dtype
from skae._data.stored import rows_of
from skae._estimator.attributes import is_linear_start
from skae._estimator.base import BaseAutoencoder
from skae._estimator.sampling import SampleMethods
from skae._model import components
from skae._model.graph import LEAST_NOISE, NOISE
from skae._model.objectives import Evidence
from skae._utils.params import made
from skae._utils.sklearn import Interval, StrOptions, available_if, in_columns
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
from skae.networks._dense import NetworkLike

if TYPE_CHECKING:
    import keras

#: The KL divergence from the prior, in nats, above which a component is active.
ACTIVE = 0.01

#: The seed of the draws for the bounds, and the number of draws at a time.
DRAWS_SEED, DRAWS_AT_ONCE = 20151, 64

#: How often missing values are imputed, each time from the row as imputed before.
PASSES = 3


class VAETransformer(SampleMethods, BaseAutoencoder):
    """Variational autoencoder: a latent variable model with a density, in nats.

    It replaces :class:`~sklearn.decomposition.PCA` as a probabilistic model, or
    :class:`~sklearn.decomposition.FactorAnalysis`. A code is drawn from a standard normal
    prior, and a sample from a distribution around the decoder's mean. The encoder gives
    the mean and the standard deviation of the code of a sample. Both are trained together
    to maximise the evidence lower bound (ELBO), a lower bound of the log-likelihood of X.

    A linear path parallel to the network is initialised with probabilistic PCA or factor
    analysis, where the bound is the log-likelihood itself. The network's own contribution
    is initialised to zero, and the result of training is used only where it raises the
    bound on held-out samples.

    Parameters
    ----------
    n_components : int, float in (0, 1), "mle" or None, default=2
        The number of components of the code. A float selects as many as PCA needs to
        explain that fraction of the variance, and "mle" as many as PCA selects by
        Minka's method. None uses the network's output as the code, such as the flattened
        feature maps of a :class:`~skae.networks.ConvNetwork`.

    network : Network, tuple of int, list of int or None, default=None
        The layers on each side of the code, with parameters of its own. Numbers are the
        `hidden_layer_sizes` of a :class:`~skae.networks.DenseNetwork`, and None is one
        with its defaults. ``set_params(network__dropout=0.1)`` acts on that network too.

    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        The columns of X that are categories, for frames of pandas, polars and pyarrow.
        "from_dtype": those of strings and categories; booleans next to them are yes or
        no, and dates and durations are numbers. Names, indices or a mask: these and no
        others, also the columns of an array. None: none. A table with such a column is
        encoded by `table_`, and samples are returned in its form.

    likelihood : {"auto", "gaussian", "gaussian_diag", "bernoulli", "categorical", \
            "poisson", "negative_binomial"}, Likelihood or list of pairs, default="auto"
        The distribution of a sample around the decoder's mean. "auto": "gaussian", and in
        a table with categories what suits each column: "gaussian_diag" for numbers,
        "bernoulli" for booleans and "categorical" for categories; any other name is for
        the numbers of such a table, and pairs for the columns that they name. "gaussian": normal, with
        one noise variance, which is learned, so that the bound balances itself on any
        scale of X. "gaussian_diag": normal, with a noise variance for each feature, for
        features in any units. "bernoulli": each feature is a probability or a binary
        number, and X must be in [0, 1]. "categorical": all columns are one one-hot group.
        "poisson" and "negative_binomial": counts. A list of (likelihood, columns) pairs
        is for tables with columns of several kinds; it takes columns as
        :class:`~sklearn.compose.ColumnTransformer` does, and each "categorical" is a
        group of its own. Objects of :mod:`skae.likelihoods` have parameters.

    beta : float, default=1.0
        The weight of the Kullback-Leibler (KL) divergence in the loss. Above 1, fewer
        components stay active. Scores do not depend on it.

    n_importance_samples : int, default=64
        The number of draws from the posterior of a sample that `score_samples` and `elbo`
        are computed from. More draws bring the score closer to the log-likelihood.

    init : {"auto", "linear", "random"} or fitted transformer, default="auto"
        The initialisation. "linear": the best linear model (see Notes), which needs a
        dense code. "random": random layers, without a linear path. "auto": the linear
        model wherever possible; with 1,000 to 4,999 samples a second training starts at
        random weights, and the model that is better on the validation samples is used.
        (There is no second training with missing values, callbacks or several splits.)
        A fitted linear transformer with as many components, such as FastICA or SparsePCA:
        training starts at probabilistic PCA on its axes, which needs a normal likelihood.
        Clones keep it.

    optimizer : str or keras.optimizers.Optimizer, default="adam"
        The name of a Keras optimizer, or an instance, which is copied at each fit and
        has its own learning rate.

    learning_rate : {"adaptive", "constant"}, default="adaptive"
        "adaptive" lowers the rate when the loss stops falling, and stops training when
        that no longer helps. With 50,000 samples or more it follows a plan: a warm-up,
        then a cosine decay, over some ``5000 / sqrt(n_samples)`` epochs. "constant" keeps
        the rate. A learning rate that is a Keras schedule is used as it is.

    learning_rate_init : float, "auto" or \
            keras.optimizers.schedules.LearningRateSchedule, default="auto"
        The initial learning rate of an optimizer given by its name, or the rate at the
        peak of the plan. For Adam, "auto" depends on the batch size: 2e-3 up to 32
        samples, then proportional to the square root of the batch size, at most 6e-3. For
        other optimizers it is Keras' default.

    alpha : float, default=1e-4
        The strength of the L2 penalty on the network's weights, divided by the batch
        size when added to the loss, as in
        :class:`~sklearn.neural_network.MLPRegressor`.

    batch_size : int or "auto", default="auto"
        The number of samples in a batch, at most the number of training samples. "auto"
        is 16 with fewer than 5,000 samples, 64 with fewer than 10,000 and otherwise 128.
        The last batch of an epoch is filled up with samples from its beginning.

    max_iter : int, default=200
        The maximum number of epochs. With 0 the model stays at its initialisation. If
        training reaches `max_iter` before the loss has settled, a `ConvergenceWarning`
        is issued.

    shuffle : bool, default=True
        Whether to shuffle the samples at each epoch.

    tol : float, default=1e-4
        The loss must fall by more than `tol` nats per feature to count as an
        improvement.

    n_iter_no_change : int or inf, default=20
        The number of epochs without improvement after which training stops. An adaptive
        rate is lowered after a quarter of them, but not before the first improvement.
        With inf, training runs for `max_iter` epochs.

    early_stopping : bool, default=True
        Whether to set validation samples aside, start from the linear model of the other
        samples, stop when the bound on the validation samples no longer improves, and
        keep the weights with the best bound on them. These must be better than their
        initialisation, and not worse than the linear model of all samples, each by more
        than the standard error of the difference; otherwise the fit is the linear model
        of all samples. If False, the training loss decides when to stop, and the last
        weights are used.

    validation_fraction : float, default=0.15
        The fraction of the samples to set aside for early stopping.

    n_splits : int or "auto", default="auto"
        The number of splits into training and validation samples that early stopping
        uses, at most 100. With several, a model is trained on each split from its own
        initialisation. The mean of their validation losses determines the number of
        epochs, for which the model is then trained on all samples. "auto" is 5 with
        fewer than 1,000 samples and otherwise 1; it is 1 with callbacks, which watch a
        single training.

    warm_start : bool, default=False
        Whether `fit` continues from the weights of the last fit.

    callbacks : list of keras.callbacks.Callback or None, default=None
        Keras callbacks, called at the beginning and the end of the fit and of each epoch
        with a Keras model of raw samples. They are copied at each fit.

    verbose : int, default=0
        If not 0, show a progress bar with the losses of the last epoch, which are those
        of `history_`, in a terminal and in a notebook. Elsewhere print one line at the end.

    random_state : int, RandomState instance or None, default=None
        Determines the initial weights, the split into training and validation samples,
        their order and all noise. Pass an int for reproducible results across calls.

    Attributes
    ----------
    n_components_ : int
        The number of components.

    network_ : Network
        The network that was used, a clone of `network`.

    encoder_, decoder_, autoencoder_ : keras.Model
        The encoder from raw samples to codes, the decoder from codes to samples, and both
        together.

    mean_ : ndarray of shape (n_features,)
        The mean of X.

    kl_per_component_ : ndarray of shape (`n_components_`,)
        The KL divergence of each component's posterior from the prior, averaged over the
        samples of X, in nats: the information in the component about a sample. Components
        are sorted by it in descending order, and have the signs that PCA would give them.

    n_active_components_ : int
        The number of components whose KL divergence is above 0.01 nat.

    components_ : ndarray of shape (`n_components_`, n_features)
        The least-squares slopes of the reconstruction on the components over the samples
        of X: how much one unit of a component adds to each feature, on average.

    noise_variance_ : float, ndarray of shape (n_features,) or None
        The learned variance around the decoder's mean, in squared units of X; None if the
        likelihood is not normal. With likelihoods by column, NaN for columns that are not
        normal.

    explained_variance_ : ndarray of shape (`n_components_`,)
        The variance of X explained by the linear regression of X on each component alone,
        in squared units of X.

    explained_variance_ratio_ : ndarray of shape (`n_components_`,)
        `explained_variance_` as fractions of the variance of X. Missing values are
        imputed for it.

    singular_values_ : ndarray of shape (`n_components_`,)
        The square roots of ``(n_samples_ - 1) * explained_variance_``.

    n_samples_ : int
        The number of samples of X.

    posteriors_ : ndarray of shape (n_posteriors, 2, `n_components_`)
        The means and the standard deviations of the posteriors of at most 4,096 training
        samples, drawn by their weights, in float32: what ``sample(prior="codes")`` needs.

    quantiles_ : ndarray of shape (256, n_numbers) or None
        The quantiles of each column of numbers of these samples, from the least to the
        greatest value: what ``sample(margins="data")`` needs. None if there are more than
        1,024 such columns.

    history_ : dict of str to list of float
        The losses after each epoch, in nats of X. "loss" is the sum of "reconstruction"
        (minus the log-likelihood given the code), of the KL divergence "kl" (recorded
        without its weight) times `beta`, and of the penalty `alpha`; with early stopping
        there is "val_loss". With several splits these are means over the splits, and
        "refit_loss" is the loss of the training on all samples.

    start_loss_ : float or None
        The loss of the linear initialisation on the validation samples, where the curve
        of "val_loss" begins: with several splits, the mean over them. None without early
        stopping, without an epoch, or without a linear initialisation.

    loss_curve_ : list of float
        The training loss after each epoch.

    loss_ : float
        The training loss of the last epoch.

    best_loss_ : float or None
        The least training loss; None with early stopping, or without an epoch.

    validation_scores_ : list of float or None
        Minus the loss on the validation samples after each epoch; None without early
        stopping.

    n_iter_ : int
        The number of epochs trained.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has names that are all strings.

    table_ : Table or None
        The columns of X with their kinds, where it is a table with categories; None for
        other X. ``table_.encode(X)`` is the matrix that `encoder_` takes,
        ``table_.decode(matrix)`` a table, and ``table_.names`` are the names of the
        matrix' columns, in which `mean_` and `components_` are.

    Warns
    -----
    ConvergenceWarning
        If no component is active after `fit`.

    See Also
    --------
    sklearn.decomposition.PCA : The initialisation.
    sklearn.decomposition.FactorAnalysis : The initialisation with "gaussian_diag".
    AutoencoderTransformer : The classical autoencoder.

    Notes
    -----
    The loss is minus the evidence lower bound [1]_

    .. math:: E_{q(z|x)} \\log p(x|z) - \\beta \\, KL(q(z|x) \\| N(0, I)),

    with the reconstruction summed over features, the KL divergence summed over
    components, and both averaged over samples.

    With ``max_iter=0`` and "gaussian", the decoder and the noise variance are those of
    probabilistic PCA [2]_ (equations 7 and 8), whose posterior is normal, linear and
    diagonal: the bound equals ``PCA(n_components).score(X)``. If PCA keeps all components
    and leaves no noise variance, half of the smallest variance kept is used instead,
    which gives the same density. On data of lower rank, it is a millionth of the
    features' mean variance. With "gaussian_diag" the bound equals
    ``FactorAnalysis(n_components).score(X)`` of features divided by their standard
    deviations, in the units of X. Its factors are rotated until the posterior is
    diagonal, and constant features stay at their initialisation. `components_` are the
    loadings of either model. With "bernoulli" the model is logistic PCA [3]_ with a
    linear encoder. For the codes, another `beta` is equivalent to a noise variance `beta`
    times as large; components that don't rise above it are initialised to zero [4]_.

    With early stopping, training starts from the linear model of the training samples
    alone. If it does not improve on the validation samples, the fit is the linear model
    of all samples.

    Log-variances are limited to values between -32 and 32, in units of the features' mean
    variance, by ``x / (1 + abs(x) / 32)``, whose gradient is never zero.

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

    _objects: dict = {
        **BaseAutoencoder._objects,
        "likelihood": partial(made, by_name=LIKELIHOODS),
    }

    kl_per_component_: np.ndarray
    posteriors_: np.ndarray
    quantiles_: np.ndarray | None

    def __init__(
        self,
        n_components: float | Literal["mle"] | None = 2,
        *,
        network: NetworkLike = None,
        categorical_features: Literal["from_dtype"] | ArrayLike | None = "from_dtype",
        likelihood: LikelihoodName | Likelihood | PairsByColumn = "auto",
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
        warm_start: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.network = network
        self.categorical_features = categorical_features
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
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state

    def _objective(self, rows, missing):
        likelihood = self._by_name(LIKELIHOODS, "likelihood", rows)
        return Evidence(likelihood, missing, beta=self.beta)

    _components = staticmethod(components.of_posterior)

    def _fit(self, *args, **kwargs):
        super()._fit(*args, **kwargs)
        if self.n_active_components_ == 0:
            trouble = ConvergenceWarning(
                "No component is active: the posterior of each is within"
                f" {ACTIVE} nat of the prior, and the code says nothing about X. Lower"
                " beta, train longer (max_iter), or check that the features of X depend"
                " on each other."
            )
            warn_user(trouble)
        return self

    # -- the density

    @available_if(is_linear_start)
    def get_covariance(self) -> np.ndarray:
        """Compute the covariance of X in the model, while it is linear.

        It is available with "gaussian" and "gaussian_diag" while training found nothing
        better than the initialisation: then it is that of probabilistic PCA or of factor
        analysis.

        Returns
        -------
        covariance : ndarray of shape (n_features, n_features)
            ``components_.T @ components_ + noise_variance_ * identity``.
        """
        noise = np.broadcast_to(self.noise_variance_, len(self.mean_))
        components = np.asarray(self.components_, np.float64)
        return components.T @ components + np.diag(noise)

    @available_if(is_linear_start)
    def get_precision(self) -> np.ndarray:
        """Compute the inverse of the covariance of `get_covariance`.

        It is available under the same conditions.

        Returns
        -------
        precision : ndarray of shape (n_features, n_features)
            ``get_covariance() @ precision`` is the identity.
        """
        return linalg.inv(self.get_covariance())

    @with_numpy_defaults
    def posterior(self, X: MatrixLike) -> tuple[np.ndarray, np.ndarray]:
        """Compute the posterior of the codes: normal, with independent components.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        Returns
        -------
        mean, std : ndarrays of shape (n_samples, n_components)
            The mean, which `transform` returns too, and the standard deviation.
        """
        check_is_fitted(self)
        X, _ = self._known_rows(X)
        model = self._fitted(float_dtype(X))
        mean, log_variance = model.posterior(X)
        matrix = model.coordinates.rotation.astype(float_dtype(X))
        std = model.deviation(X, log_variance)
        return mean @ matrix, std @ np.abs(matrix)

    @with_numpy_defaults
    def elbo(self, X: MatrixLike) -> np.ndarray:
        """Compute the evidence lower bound (ELBO) of the log-likelihood of each sample.

        It is the mean of ``log p(x, z) - log q(z | x)`` over `n_importance_samples` draws
        z from the posterior ``q(z | x)``. The draws are the same at each call. The bound
        does not depend on `beta`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        Returns
        -------
        bounds : ndarray of shape (n_samples,)
            In nats.
        """
        log_weights = self._log_weights(X)
        return log_weights.mean(axis=0)

    @lazily
    def score_samples(self, X: MatrixLike) -> np.ndarray:
        """Compute the importance-weighted log-likelihood bound of each sample [5]_.

        It is the logarithm of the mean of ``p(x, z) / q(z | x)`` over
        `n_importance_samples` draws z from the posterior ``q(z | x)``. It is never below
        `elbo`, and rises to the log-likelihood with the number of draws. The draws are
        the same at each call and for each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In nats, and in the units of :meth:`sklearn.decomposition.PCA.score_samples`.
            With missing values, the score is that of the observed values. A class that
            was not seen in `fit` (zeros in all columns of a categorical group) costs
            ``log(n_samples_ + 2)``.

        References
        ----------
        .. [5] Burda, Y., Grosse, R. and Salakhutdinov, R. (2016). Importance weighted
           autoencoders. International Conference on Learning Representations.
        """
        log_weights = self._log_weights(X)
        return logsumexp(log_weights, axis=0) - math.log(len(log_weights))

    @lazily
    @in_columns
    def score_features(self, X: MatrixLike) -> Any:
        """Return the contribution of each feature to `score_samples`.

        With the draws z of a sample, and their weights ``p(x, z) / q(z | x)`` normalised
        to a sum of one as w, the score is ``sum(w * log p(x | z))``, which is a sum over
        features, plus a remainder that measures how unusual the code is. The remainder is
        divided equally among the features.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        Returns
        -------
        scores : ndarray of the shape of X, or DataFrame with its columns
            In nats; 0 where X is NaN. Summed over features, they are the score of the
            sample.
        """
        check_is_fitted(self)
        X, row_shape = self._check_rows(X)
        X, unknown = self._known(X)
        rows, model = rows_of(X), self._fitted(float_dtype(X))
        likelihood, scale = self._likelihood, model.coordinates.scale
        model.specification.objective.check(rows, self.likelihood)
        width = X.shape[1] if self.table_ is None else self.n_features_in_
        noise, found = self._draws(float_dtype(X)), np.empty((X.shape[0], width))
        logs = likelihood.in_units(0.0, scale, np.eye(len(scale)))
        for batch in rows.batches(max(1, model.batch_rows // len(noise))):
            dense = rows.dense(batch)
            log_weights, of_features = model.log_weights_of_features(dense, noise)
            score = logsumexp(log_weights, axis=0) - math.log(len(noise))
            there, rest = ~np.isnan(dense), score - of_features.sum(axis=1)
            of_features = there * (of_features - logs)
            if self.table_ is not None:
                there = ~self.table_.absent(dense) & self.table_.informs
                of_features = self.table_.by_column(of_features)
            rest = rest / np.maximum(there.sum(axis=1), 1)
            found[batch] = of_features + there * rest[:, None]
        if unknown is not None:
            self._add_unknown(found, unknown)
        shape = row_shape if self.table_ is None else (width,)
        return found.reshape(-1, *shape)

    def _draws(self, dtype):
        rng = np.random.default_rng(DRAWS_SEED)
        shape = int(self.n_importance_samples), self.n_components_
        noise = rng.standard_normal(shape)
        return noise.astype(dtype)

    def _log_weights(self, X):
        """Compute ``log p(x, z) - log q(z | x)`` for each draw (axis 0) and row (axis 1).

        Every row has the same draws, so that no row depends on another.
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

    def impute(
        self,
        X: MatrixLike,
        *,
        n_draws: int | None = None,
        random_state: RandomState = None,
    ) -> Any:
        """Replace missing values with the model's expectation, given the observed values.

        The expectation is estimated by importance sampling [6]_: the decoder's means are
        averaged over `n_importance_samples` draws z of the code and their mirror images,
        weighted by ``p(x, z) / q(z | x)`` of the observed values. This is repeated three
        times, each time with the posterior of the samples as imputed before. The estimate
        converges to the expectation with the number of draws, and with ``max_iter=0`` it
        is exact. The draws are the same at each call and for each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Samples of the shape that `fit` was given.

        n_draws : int or None, default=None
            The number of imputed tables, for multiple imputation [7]_: their missing values
            are drawn from the model given the observed values, by sampling importance
            resampling of `n_importance_samples` draws of the code. In a mixed table,
            numbers stay in the range of the training samples. None: one table, of
            expectations.

        random_state : int, RandomState instance or None, default=None
            Determines the draws, where `n_draws` is given.

        Returns
        -------
        X_imputed : ndarray or frame of the shape of X, or list of `n_draws` of them
            X without missing values; other values are unchanged. A DataFrame with the
            columns of X if `set_output` asks for DataFrames, and a frame like X if it is a
            mixed table.

        References
        ----------
        .. [6] Mattei, P.-A. and Frellsen, J. (2019). MIWAE: deep generative modelling and
           imputation of incomplete data sets. International Conference on Machine
           Learning.

        .. [7] Rubin, D. B. (1987). Multiple imputation for nonresponse in surveys. Wiley.
        """
        return super().impute(X, n_draws=n_draws, random_state=random_state)

    def _expected(self, X):
        expected, model = super()._expected(X), self._fitted(float_dtype(X))
        holes = np.flatnonzero(np.isnan(X).any(axis=1))
        if not model.coordinates.imputes or not len(holes):
            return expected
        model.specification.objective.check(rows_of(X), self.likelihood)
        draws = self._mirrored_draws(X.dtype)
        for batch in gen_batches(len(holes), max(1, model.batch_rows // len(draws[0]))):
            expected[holes[batch]] = model.expected(X[holes[batch]], draws)
        return expected

    def _mirrored_draws(self, dtype):
        """Draw for each pass codes of mean zero, so that linear terms have no error."""
        rng = np.random.default_rng(DRAWS_SEED)
        shape = PASSES, int(self.n_importance_samples), self.n_components_
        noise = rng.standard_normal(shape).astype(dtype)
        return np.concatenate([noise, -noise], axis=1)

    # -- the likelihood

    @property
    def _likelihood(self):
        return self._state.specification.objective.likelihood

    @property
    def _noise(self):
        """Return the learned noise variances in standardised units, or None."""
        weights = self._state.weights
        if NOISE not in weights:
            return None
        log_variance = bounded(np.asarray(weights[NOISE], np.float64))
        return np.exp(np.maximum(log_variance, weights[LEAST_NOISE]))

    @property
    def noise_variance_(self) -> float | np.ndarray | None:
        """The variance of the noise around the decoder's mean, in squared units of X."""
        check_is_fitted(self)
        return self._likelihood.noise_variance(self._noise, self._state.coordinates.scale)

    @property
    def n_active_components_(self) -> int:
        """The number of components with `kl_per_component_` above 0.01 nat."""
        return int(np.sum(self.kl_per_component_ > ACTIVE))
