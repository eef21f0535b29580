"""DenoisingAutoencoder: learns to undo noise, and starts as the best linear denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skae._autoencoder import AutoencoderTransformer
from skae._data.dask import lazily
from skae._model.objectives import Denoising, Pairs
from skae._utils.params import made
from skae._utils.sklearn import (
    StrOptions,
    all_or_nothing,
    fit_context,
    in_columns,
    with_callbacks,
)
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
from skae.networks._dense import NetworkLike
from skae.noise import NOISES, FunctionNoise, Noise

if TYPE_CHECKING:
    import keras


class DenoisingAutoencoder(AutoencoderTransformer):
    """Denoising autoencoder: a network trained to reconstruct samples from noisy copies.

    New noise is drawn for every batch of training [1]_, and none in `transform` or
    `reconstruct`. A linear path parallel to the network is initialised with the best linear
    denoiser of that rank for this noise, the reduced-rank Wiener filter [2]_. The
    network's own contribution is initialised to zero, and the result of training is used
    only where it lowers the loss on held-out samples. ``fit(X, X_clean=...)`` learns from
    samples that are already noisy and their clean counterparts.

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

    code_activation : str, default="linear"
        The name of the Keras activation of the code.

    whiten : bool, default=False
        Whether to divide each component by its standard deviation over the samples of X,
        as PCA does, so that its variance is one. The reconstruction is unchanged. It
        needs a linear code.

    noise : Noise, {"gaussian", "masking", "salt_and_pepper"} or callable, \
            default="gaussian"
        The noise that corrupts the training samples: an object of :mod:`skae.noise`, with
        parameters of its own, or the name of one with its defaults. A function
        ``noise(x, seed)`` takes a Keras tensor of flat samples in the units of X, of
        shape (n_samples, n_features), and returns noisy samples; `seed` is for the
        functions of ``keras.random`` that it calls. The function is compiled, so it must
        use ``keras.ops``.

    activity_l1 : float, default=0.0
        The strength of the L1 penalty that makes the code sparse: `activity_l1` times the
        mean over samples of the sum of the code's absolute values is added to the loss.
        It does not depend on the batch size.

    loss : {"squared_error", "absolute_error", "huber", "binary_crossentropy", \
            "categorical_crossentropy", "poisson"}, Likelihood or list of pairs, \
            default="squared_error"
        The loss, summed over features and averaged over samples. For
        "binary_crossentropy" the output is a sigmoid, and X must be in [0, 1];
        "absolute_error" and "huber" are for heavy tails. A list of (loss, columns) pairs
        is for tables with columns of several kinds; it takes columns as
        :class:`~sklearn.compose.ColumnTransformer` does. Errors of numbers are then in
        units of the mean variance of their columns. Objects of :mod:`skae.likelihoods`
        have parameters.

    init : {"auto", "linear", "random"} or fitted transformer, default="auto"
        The initialisation. "linear": the best linear denoiser of the training samples for
        this noise, which needs a dense and linear code. "random": random layers, without
        a linear path. "auto": the linear denoiser wherever possible; with 1,000 to 4,999
        samples a second training starts at random weights, and the model that is better
        on the validation samples is used. (There is no second training with missing
        values, callbacks or several splits.)
        A fitted linear transformer with as many components, such as FastICA, SparsePCA,
        TruncatedSVD or PLSRegression: training starts at its reconstruction. Its codes are
        rotated as all linear codes are, to be uncorrelated. Clones keep it.

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
        The loss must fall by more than `tol` times the loss of the mean of X to count
        as an improvement; for "binary_crossentropy", by more than `tol` nats per
        feature.

    n_iter_no_change : int or inf, default=20
        The number of epochs without improvement after which training stops. An adaptive
        rate is lowered after a quarter of them, but not before the first improvement.
        With inf, training runs for `max_iter` epochs.

    early_stopping : bool, default=True
        Whether to set validation samples aside, stop when the loss on them no longer
        improves, and keep the weights with the lowest validation loss. The initialisation
        is one of the candidates: trained weights replace it only for an improvement
        larger than its standard error. If False, the training loss decides when to stop,
        and the last weights are used.

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

    components_ : ndarray of shape (`n_components_`, n_features)
        The least-squares slopes of the reconstruction on the components over the samples
        of X: how much one unit of a component adds to each feature, on average.

    explained_variance_ : ndarray of shape (`n_components_`,)
        The variance of each component over the samples of X, in squared units of X,
        before any whitening. A linear code is rotated and scaled after training, which
        does not change the model's function: its components are centred, uncorrelated and
        ordered by variance, and their variances add up to the variance that the
        reconstruction explains.

    explained_variance_ratio_ : ndarray of shape (`n_components_`,)
        `explained_variance_` as fractions of the variance of X. Missing values are
        imputed for it.

    singular_values_ : ndarray of shape (`n_components_`,)
        The square roots of ``(n_samples_ - 1) * explained_variance_``.

    noise_variance_ : float
        The mean of the discarded variances: the variance of X that the reconstruction
        does not explain, divided by ``min(n_samples, n_features) - n_components``, or by
        ``n_features - n_components`` where values are missing; 0 if no variance is
        discarded.

    n_samples_ : int
        The number of samples of X.

    history_ : dict of str to list of float
        The losses after each epoch, in the units of X, by Keras' names: "loss" and,
        with early stopping, "val_loss". With several splits these are means over the
        splits, and "refit_loss" is the loss of the training on all samples.

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

    See Also
    --------
    AutoencoderTransformer : The autoencoder without noise.

    Notes
    -----
    The linear denoiser of noisy samples y is ``U U' G S^-1 (y - mean(y)) + mean(x)``,
    where ``S = cov(y)``, ``G = cov(x, y)`` and U are the first eigenvectors of
    ``G S^-1 G'``. For normal noise without clipping, U are PCA's components, and the
    codes are shrunken by ``variance / (variance + noise variance)``; a level of zero
    gives PCA itself. For the other noises of :mod:`skae.noise`, the expectation of G and
    S over the noise is known for each sample. For a function, G and S are computed from
    one draw for each sample, and for pairs from the pairs. Above 4096 samples and
    features, it is the best denoiser based on PCA's components of the noisy samples
    alone. With ``loss="binary_crossentropy"``, the decoder is initialised with the
    logistic regression of clean samples on the codes of noisy ones.

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
    >>> X_denoised = autoencoder.reconstruct(X_noisy)
    >>> bool(((X - X_denoised) ** 2).sum() < ((X - X_pca) ** 2).sum())
    True
    """

    _parameter_constraints: dict = {
        **AutoencoderTransformer._parameter_constraints,
        "noise": [StrOptions(set(NOISES)), Noise, callable],
    }
    _parameter_constraints.pop("smoothing")

    _objects: dict = {
        **AutoencoderTransformer._objects,
        "noise": partial(made, by_name=NOISES),
    }

    def __init__(
        self,
        n_components: float | Literal["mle"] | None = 2,
        *,
        network: NetworkLike = None,
        categorical_features: Literal["from_dtype"] | ArrayLike | None = "from_dtype",
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
        warm_start: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.network = network
        self.categorical_features = categorical_features
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
        """Fit the model to X with noise, or to pairs of noisy and clean samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            The training samples: clean, or noisy where `X_clean` is given.

        y : Ignored
            Present for API consistency.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            The clean counterparts of the samples of X. The model learns to reconstruct
            them from X, and no noise is added.

        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. Integer weights are equivalent to repeating samples, and 0
            leaves a sample out. None is 1.

        X_val : {array-like, sparse matrix} of shape (n_val, n_features) or (n_val, ...), \
                default=None
            Validation samples, with the columns and the shape of X. They replace the
            samples that `validation_fraction` and `n_splits` would set aside. A grid
            search splits it where it has as many samples as X, and a warning is issued.

        X_val_clean : {array-like, sparse matrix} of the shape of X_val, default=None
            The clean counterparts of the samples of X_val, where `X_clean` is given.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, X_clean or a parameter is invalid; the message names it.
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
        """Train for one epoch on X, continuing from the last call.

        Training begins at the call with which more than five samples for each component
        have been seen. It begins on all samples so far, and their mean and variance
        standardise the samples of all calls. Until then the model is the closed-form
        initialisation of all samples; a first call needs at least two. Early stopping is
        not used. `mean_` is the mean of the values of all calls. The components, with
        their scale, order and signs, are those of some 2,000 samples drawn from all
        calls, and are computed on demand.

        With ``max_iter=0`` no call trains, and the model is the linear denoiser of the
        samples of all calls. Beyond some 2,000 samples, which are stored, that needs
        samples without missing values, a noise that has `moments`, and no `X_clean`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples of this call: clean, or noisy where `X_clean` is given.

        y : Ignored
            Present for API consistency.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            The clean counterparts of the samples of X, given in every call or in none.

        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. Integer weights are equivalent to repeating samples, and 0
            leaves a sample out. None is 1.

        Returns
        -------
        self : object
            The fitted estimator.

        Warns
        -----
        UserWarning
            If the mean of X is more than three standard deviations from that of the first
            call. Pass samples in random order.
        """
        _refuse_clean_rows(X, y, X_clean)
        with all_or_nothing(self):
            return self._fit_call(X, sample_weight, X_clean=X_clean)

    @lazily
    def score_samples(
        self, X: MatrixLike, X_clean: MatrixLike | None = None
    ) -> np.ndarray:
        """Return minus the loss of each sample: how well it is reconstructed.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            The samples to compare the reconstruction with; None is X itself.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the loss, summed over features, in the units of `history_`: with the
            default, squared units of X. Higher is better.
        """
        check_is_fitted(self)
        return self._minus_loss(X, X_clean)

    @lazily
    @in_columns
    def score_features(self, X: MatrixLike, X_clean: MatrixLike | None = None) -> Any:
        """Return the contribution of each feature to `score_samples`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            The samples to compare the reconstruction with; None is X itself.

        Returns
        -------
        scores : ndarray of the shape of X, or DataFrame with its columns
            Minus the loss of each value, by default its squared error, and in a mixed
            table of each column; 0 where X is NaN. Summed over features, they are the
            score of the sample.
        """
        check_is_fitted(self)
        return self._minus_loss_of_features(X, X_clean)

    def score(
        self,
        X: MatrixLike,
        y: object = None,
        *,
        X_clean: MatrixLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the mean of `score_samples` over the samples of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        y : Ignored
            Present for API consistency.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            The samples to compare the reconstruction with; None is X itself.

        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. None is 1.

        Returns
        -------
        score : float
            Higher is better.
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
        if self.table_ is not None:
            noise = noise.of_table(self.table_.numbers, self.table_.classes)
        return Denoising(*plain, noise)


def _refuse_clean_rows(X, y, X_clean):
    """Refuse clean samples passed as y, which is where Keras' own `fit` takes them."""
    shape = getattr(X, "shape", ())
    alike = len(shape) > 1 and shape[1:] != (1,) and getattr(y, "shape", None) == shape
    if X_clean is None and alike:
        raise ValueError(
            f"y has the shape of X, {shape}, and is ignored. If it holds the clean rows,"
            " pass them by name: fit(X_noisy, X_clean=X_clean)."
        )
