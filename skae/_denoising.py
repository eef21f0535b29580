"""DenoisingAutoencoder: learns to undo noise, and starts as the best linear denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skae._autoencoder import AutoencoderTransformer
from skae._data.dask import lazily
from skae._data.validation import check_beside
from skae._model.objectives import Denoising, Pairs
from skae._utils.params import made
from skae._utils.sklearn import all_or_nothing, fit_context, with_callbacks
from skae._utils.typing import (
    Init,
    LossName,
    MatrixLike,
    NoiseName,
    PairsByColumn,
    RandomState,
)
from skae.likelihoods import Likelihood
from skae.likelihoods._names import LOSSES
from skae.networks import Network
from skae.noise import NOISES, FunctionNoise, Noise

if TYPE_CHECKING:
    import keras


class DenoisingAutoencoder(AutoencoderTransformer):
    """Denoising autoencoder: trained to reconstruct rows from noisy copies of them.

    The noise is drawn afresh for every batch of training [1]_, and never in `transform`
    or `denoise`. Next to the network runs a linear path that starts at the best linear
    denoiser with as many components for this noise, the reduced-rank Wiener filter
    [2]_, and the network's own contribution starts at zero, so that training is kept
    only where it lowers the loss on held-out rows. ``fit(X, X_clean=...)`` learns from
    rows that are noisy already, with their clean counterparts.

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

    code_activation : str, default="linear"
        The name of the Keras activation of the code.

    whiten : bool, default=False
        Whether each component is divided by its standard deviation over the rows of X,
        as PCA's are, so that its variance is one. The reconstruction stays as it is. It
        takes a linear code.

    noise : Noise, {"gaussian", "masking", "salt_and_pepper"} or callable, \
            default="gaussian"
        What is done to the rows that the network sees while it is trained: one of
        :mod:`skae.noise`, with parameters of its own, or its name for the one with its
        defaults. A function ``noise(x, seed)`` takes a Keras tensor of flat rows in the
        units of X, of shape (n_rows, n_features), and returns noisy rows; `seed` is for
        the functions of ``keras.random`` that it calls. It is compiled, so that it must
        be made of ``keras.ops``.

    activity_l1 : float, default=0.0
        The penalty that makes the code sparse: `activity_l1` times the mean over
        samples of the sum of the code's absolute values is added to the loss. It does
        not depend on the batch size.

    loss : {"squared_error", "absolute_error", "huber", "binary_crossentropy", \
            "categorical_crossentropy", "poisson"}, Likelihood or list of pairs, \
            default="squared_error"
        The loss, summed over features and averaged over samples. For
        "binary_crossentropy" the output is a sigmoid, and X must be in [0, 1];
        "absolute_error" and "huber" are for heavy tails. A list of (loss, columns) pairs,
        which takes columns as :class:`~sklearn.compose.ColumnTransformer` does, is for
        tables of several kinds: errors of numbers are then in units of the mean variance
        of their columns. Objects of :mod:`skae.likelihoods` have parameters.

    init : {"auto", "linear", "random"}, default="auto"
        Where training starts. "linear": at the linear denoiser that PCA becomes for this
        noise, of the rows that are trained on, which needs a dense and linear code.
        "random": at random layers, without a linear path. "auto": at the linear
        denoiser wherever it can; with 1,000 to 4,999 rows training begins once more, at
        random weights, and what is better on the validation rows is kept. (Not where
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
        The loss must fall by more than `tol` times the loss of the mean of X to count
        as an improvement; for "binary_crossentropy", by more than `tol` nats per
        feature.

    n_iter_no_change : int or inf, default=20
        The number of epochs without improvement after which training stops. An adaptive
        rate is lowered after a quarter of them, but not before the first improvement.
        With inf there are `max_iter` epochs.

    early_stopping : bool, default=True
        Whether to set validation rows aside, stop when the loss on them no longer
        improves, and keep the weights that did best on them, the start among them:
        it is left only for an improvement larger than its standard error. If False,
        the training loss decides when to stop, and the last weights are kept.

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
        nothing missing, and a `loss` of any real numbers. "auto" is 0: the noise does
        as much.

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

    components_ : ndarray of shape (`n_components_`, n_features)
        The slopes of the reconstruction on the components, by least squares over the
        rows of X: what one more of a component adds to each feature, on average.

    explained_variance_ : ndarray of shape (`n_components_`,)
        The variance of each component over the rows of X, in squared units of X, before
        any whitening. A linear code is rotated and scaled after training, which leaves
        the model's function as it is: its components are centred, uncorrelated, ordered
        by variance, and their variances add up to the variance that the reconstruction
        explains.

    explained_variance_ratio_ : ndarray of shape (`n_components_`,)
        `explained_variance_` as shares of the variance of X, of completed rows where
        values are missing.

    singular_values_ : ndarray of shape (`n_components_`,)
        The square roots of ``(n_samples_ - 1) * explained_variance_``.

    noise_variance_ : float
        The mean of the variances that are discarded: what the reconstruction leaves of
        the variance of X, divided by ``min(n_samples, n_features) - n_components``, or
        where values are missing by ``n_features - n_components``; 0 if nothing is.

    n_samples_ : int
        The number of rows of X.

    history_ : dict of str to list of float
        The losses after each epoch, in the units of X, by Keras' names: "loss" and,
        with early stopping, "val_loss"; with several splits these are means over them,
        and "refit_loss" is that of the training on all rows.

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

    See Also
    --------
    AutoencoderTransformer : The same without noise.

    Notes
    -----
    The linear denoiser of noisy rows y is ``U U' G S^-1 (y - mean(y)) + mean(x)``, where
    ``S = cov(y)``, ``G = cov(x, y)`` and U are the first eigenvectors of ``G S^-1 G'``.
    For normal noise without clipping, these are PCA's components, with codes shrunken
    by ``variance / (variance + noise variance)``; a level of zero gives
    PCA itself. For the other kinds, the expectation of G and S over the noise is known
    for each row. For a function, they are computed from one draw for each row, and for
    pairs from these. Above 4096 rows and features it is the best denoiser that sees PCA's
    components of noisy rows alone. With ``loss="binary_crossentropy"``, the decoder
    starts at the logistic regression of clean rows on the codes of noisy ones.

    References
    ----------
    .. [1] Vincent, P., Larochelle, H., Lajoie, I., Bengio, Y. and Manzagol, P.-A. (2010).
       Stacked denoising autoencoders: learning useful representations in a deep network
       with a local denoising criterion. Journal of Machine Learning Research 11,
       3371-3408.

    .. [2] Izenman, A. J. (1975). Reduced-rank regression for the multivariate linear
       model. Journal of Multivariate Analysis 5, 248-264.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import DenoisingAutoencoder
    >>> from skae.noise import GaussianNoise
    >>> X, _ = load_digits(return_X_y=True)
    >>> X_noisy = X + np.random.default_rng(0).normal(0, 4, X.shape)
    >>> noise = GaussianNoise(4, relative=False)
    >>> autoencoder = DenoisingAutoencoder(16, noise=noise, max_iter=20, random_state=0)
    >>> autoencoder = autoencoder.fit(X)
    >>> pca = PCA(16).fit(X)
    >>> X_pca = pca.inverse_transform(pca.transform(X_noisy))
    >>> X_denoised = autoencoder.denoise(X_noisy)
    >>> bool(((X - X_denoised) ** 2).sum() < ((X - X_pca) ** 2).sum())
    True
    """

    _parameter_constraints: dict = {
        **AutoencoderTransformer._parameter_constraints,
        "noise": [StrOptions(set(NOISES)), Noise, callable],
    }

    def __init__(
        self,
        n_components: float | Literal["mle"] | None = 2,
        *,
        network: Network | None = None,
        code_activation: str = "linear",
        whiten: bool = False,
        noise: NoiseName | Noise | Callable[[Any, Any], Any] = "gaussian",
        activity_l1: float = 0.0,
        loss: LossName | Likelihood | PairsByColumn = "squared_error",
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
        self.code_activation = code_activation
        self.whiten = whiten
        self.noise = noise
        self.activity_l1 = activity_l1
        self.loss = loss
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

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: MatrixLike,
        y: object = None,
        *,
        X_clean: MatrixLike | None = None,
        sample_weight: ArrayLike | None = None,
        X_val: MatrixLike | None = None,
        X_val_clean: MatrixLike | None = None,
    ) -> Self:
        """Fit the model to X with noise, or to pairs of noisy and clean rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            The training rows: clean ones, or noisy ones where `X_clean` is given.

        y : Ignored
            Present for API consistency.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            What the rows of X were before they became noisy. The model learns to
            reconstruct them from X, and no noise is added.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: 2 is the row twice, and 0 leaves it out. None is 1.

        X_val : {array-like, sparse matrix} of shape (n_val, n_features) or (n_val, ...), \
                default=None
            Rows to validate on, of the columns and the shape of X. `validation_fraction`
            and `n_splits` then play no part. A search cuts what has as many rows as X,
            of which there is a warning.

        X_val_clean : {array-like, sparse matrix} of the shape of X_val, default=None
            What they were before they became noisy, where `X_clean` is given.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, X_clean or a parameter is not what the estimator needs; the message
            names it.
        """
        _refuse_clean_rows(X, y, X_clean)
        if X_val is not None and (X_clean is None) != (X_val_clean is None):
            raise ValueError(
                "X_clean and X_val_clean go together, but one of them is None."
            )
        with all_or_nothing(self):
            return self._fit(
                X,
                sample_weight,
                X_clean=X_clean,
                X_val=X_val,
                X_val_clean=X_val_clean,
            )

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike,
        y: object = None,
        *,
        X_clean: MatrixLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on X, from where the last call left off.

        Training begins with the call by which there have been more than five rows for
        each component, on all rows so far, by whose mean and variance those of all calls
        are standardised. Until then the model is the closed form of all rows, which a
        first call may begin with as few as two. Early stopping plays no part. The mean is
        that of the values of all calls; the components, with their scale, order and
        signs, are those of some 2,000 rows, drawn from all, and are computed when they
        are asked for.

        With ``max_iter=0`` no call trains, and the linear denoiser is that of the rows of
        all calls. Beyond some 2,000 rows, which are kept, that takes complete rows, a
        noise that knows its `moments`, and no `X_clean`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows of this call: clean ones, or noisy ones where `X_clean` is given.

        y : Ignored
            Present for API consistency.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            What the rows of X were before they became noisy, in every call or in none.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: 2 is the row twice, and 0 leaves it out. None is 1.

        Returns
        -------
        self : object
            The fitted estimator.

        Warns
        -----
        UserWarning
            If the mean of X is more than three standard deviations off that of the first
            call. Pass rows in random order.
        """
        _refuse_clean_rows(X, y, X_clean)
        with all_or_nothing(self):
            return self._fit(X, sample_weight, X_clean=X_clean, one_epoch=True)

    def denoise(self, X: MatrixLike) -> np.ndarray:
        """Reconstruct X without its noise: the same as `reconstruct`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Noisy rows, of the shape that `fit` was given.

        Returns
        -------
        X_denoised : ndarray of the shape of X
            The reconstructed rows.
        """
        return self.reconstruct(X)

    @lazily
    def score_samples(
        self, X: MatrixLike, X_clean: MatrixLike | None = None
    ) -> np.ndarray:
        """Minus the squared error of each row's reconstruction, summed over features.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            What the reconstruction is held against; None is X itself.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The higher the better, in squared units of X; zero is perfect.
        """
        check_is_fitted(self)
        if X_clean is None:
            return self._minus_own_error(X)
        X, row_shape = self._known_rows(X)
        like = (X, row_shape, self.network_)
        target = check_beside(self, "X_clean", X_clean, *like, paired=True)
        return self._minus_squared_error(X, target)

    @lazily
    def score_features(
        self, X: MatrixLike, X_clean: MatrixLike | None = None
    ) -> np.ndarray:
        """Each feature's share of `score_samples`: minus its squared error.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            What the reconstruction is held against; None is X itself.

        Returns
        -------
        scores : ndarray of the shape of X
            The higher the better, in squared units of X; 0 where X is NaN. Summed over
            the features of a row they are its score.
        """
        check_is_fitted(self)
        if X_clean is None:
            return self._minus_own_error_of_features(X)
        X, row_shape = self._known_rows(X)
        like = (X, row_shape, self.network_)
        target = check_beside(self, "X_clean", X_clean, *like, paired=True)
        return self._minus_squared_error_of_features(X, target, row_shape)

    def score(
        self,
        X: MatrixLike,
        y: object = None,
        *,
        X_clean: MatrixLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """The mean of `score_samples` over the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        y : Ignored
            Present for API consistency.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            What the reconstruction is held against; None is X itself.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts. None is once.

        Returns
        -------
        score : float
            The higher the better.
        """
        scores = np.asarray(self.score_samples(X, X_clean))
        return self._mean(scores, sample_weight)

    def _objective(self, rows, missing):
        plain = (self._by_name(LOSSES, "loss", rows), missing, self.activity_l1)
        if rows.target is not None:
            return Pairs(*plain)
        noise = made(self.noise, NOISES)
        noise = noise if isinstance(noise, Noise) else FunctionNoise(noise)
        noise._validate_params()
        return Denoising(*plain, noise)


def _refuse_clean_rows(X, y, X_clean):
    """Refuse clean rows in the place of y, where Keras' own `fit` has them."""
    shape = getattr(X, "shape", ())
    alike = len(shape) > 1 and shape[1:] != (1,) and getattr(y, "shape", None) == shape
    if X_clean is None and alike:
        raise ValueError(
            f"y has the shape of X, {shape}, and is ignored. If it holds the clean rows,"
            " pass them by name: fit(X_noisy, X_clean=X_clean)."
        )
