"""AutoencoderTransformer: the classical autoencoder, which starts as PCA."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from skae._data.dask import lazily
from skae._estimator.attributes import is_linear_start
from skae._estimator.base import BaseAutoencoder
from skae._model import components
from skae._model.objectives import Reconstruction
from skae._utils.params import made
from skae._utils.sklearn import Interval, StrOptions, available_if, in_columns
from skae._utils.typing import (
    Init,
    LossName,
    MatrixLike,
    PairsByColumn,
    RandomState,
)
from skae.likelihoods import Likelihood
from skae.likelihoods._names import LOSSES
from skae.networks._dense import NetworkLike

if TYPE_CHECKING:
    import keras


class AutoencoderTransformer(BaseAutoencoder):
    """Autoencoder: a Keras network that encodes samples and decodes their codes.

    It replaces :class:`~sklearn.decomposition.PCA`. A linear path parallel to the network
    is initialised with PCA, and the network's own contribution is initialised to zero.
    So training starts at PCA, and its result is used only where it lowers the loss on
    held-out samples. (With 1,000 to 4,999 samples a second training starts at random
    weights: see `init`.) ``init="random"`` leaves the linear path out: the classical
    autoencoder [1]_.

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
        The initialisation. "linear": PCA of the training samples, which needs a dense and
        linear code. "random": random layers, without a linear path. "auto": PCA wherever
        possible; with 1,000 to 4,999 samples a second training starts at random weights,
        and the model that is better on the validation samples is used. (There is no
        second training with missing values, callbacks or several splits.)
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

    smoothing : float or "auto", default="auto"
        Bandwidth of the smoothed bootstrap that augments the training samples, as a
        fraction of their standard deviation; at most 2. Each sample is mixed at random
        with a few others, such that the expected mean and covariance are unchanged. So
        the network overfits single samples less. The bandwidth falls with the learning
        rate, and 0 trains on the samples themselves. Mixtures of samples must be valid
        samples: no missing values, and a `loss` of any real numbers. "auto" is 0.5 where
        that holds, there are fewer than 1,000 samples and several splits choose the
        number of epochs; otherwise it is 0.

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
    sklearn.decomposition.PCA : The initialisation.

    Notes
    -----
    With ``max_iter=0``, or where training brings no improvement, the fitted attributes
    are PCA's, and `get_covariance` and `get_precision` are available.

    With ``loss="binary_crossentropy"`` and a linear code, the encoder is initialised with
    PCA and the decoder with the logistic regression of X on the components [2]_.

    References
    ----------
    .. [1] Hinton, G. E. and Salakhutdinov, R. R. (2006). Reducing the dimensionality of
       data with neural networks. Science 313, 504-507.

    .. [2] Böhning, D. and Lindsay, B. G. (1988). Monotonicity of quadratic-approximation
       algorithms. Annals of the Institute of Statistical Mathematics 40, 641-663.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import AutoencoderTransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(8, max_iter=20, random_state=0).fit(X)
    >>> autoencoder.transform(X).shape
    (1797, 8)
    >>> pca = PCA(8).fit(X)
    >>> X_pca = pca.inverse_transform(pca.transform(X))
    >>> bool(((X - autoencoder.reconstruct(X)) ** 2).sum() < ((X - X_pca) ** 2).sum())
    True
    """

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "whiten": ["boolean"],
        "loss": [StrOptions(set(LOSSES)), Likelihood, list],
        "activity_l1": [Interval(Real, 0, None, closed="left")],
        "smoothing": [StrOptions({"auto"}), Interval(Real, 0, 2, closed="both")],
    }

    _objects: dict = {
        **BaseAutoencoder._objects,
        "loss": partial(made, by_name=LOSSES),
    }

    noise_variance_: float

    def __init__(
        self,
        n_components: float | Literal["mle"] | None = 2,
        *,
        network: NetworkLike = None,
        categorical_features: Literal["from_dtype"] | ArrayLike | None = "from_dtype",
        code_activation: str = "linear",
        whiten: bool = False,
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
        self.categorical_features = categorical_features
        self.code_activation = code_activation
        self.whiten = whiten
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

    def _given(self, *args, **kwargs):
        if self.whiten and (
            self.n_components is None or self.code_activation != "linear"
        ):
            raise ValueError(
                "whiten=True needs a linear code (n_components a number and"
                f" code_activation='linear'), but got n_components={self.n_components!r}"
                f" and code_activation={self.code_activation!r}."
            )
        return super()._given(*args, **kwargs)

    def _components(self, model, rows, variance=None, some=None):
        found = components.of_code(model, rows, variance, some)
        return found.whitened if self.whiten else found

    @lazily
    @in_columns
    def score_features(self, X: MatrixLike) -> Any:
        """Return the contribution of each feature to `score_samples`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Samples of the shape that `fit` was given.

        Returns
        -------
        scores : ndarray of the shape of X, or DataFrame with its columns
            Minus the loss of each value, by default its squared error, and in a mixed
            table of each column; 0 where X is NaN. Summed over features, they are the
            score of the sample.
        """
        check_is_fitted(self)
        return self._minus_loss_of_features(X)

    # -- the density, while it is PCA

    @available_if(is_linear_start)
    def get_covariance(self) -> np.ndarray:
        """Compute the covariance of X in the model of probabilistic PCA.

        It is available while the model is PCA: the loss has a linear output, and training
        found nothing better than the initialisation. It does not depend on `whiten`.

        Returns
        -------
        covariance : ndarray of shape (n_features, n_features)
            ``components_.T @ diag(explained_variance_ - noise_variance_) @ components_
            + noise_variance_ * identity``.
        """
        return self._pca().get_covariance()

    @available_if(is_linear_start)
    def get_precision(self) -> np.ndarray:
        """Compute the inverse of the covariance of `get_covariance`.

        It is available under the same conditions.

        Returns
        -------
        precision : ndarray of shape (n_features, n_features)
            ``get_covariance() @ precision`` is the identity.
        """
        return self._pca().get_precision()

    def _pca(self):
        pca = PCA(self.n_components_)
        for name in ("components_", "explained_variance_", "noise_variance_"):
            setattr(pca, name, getattr(self, name))
        pca.n_components_ = self.n_components_
        return pca

    def _objective(self, rows, missing):
        loss = self._by_name(LOSSES, "loss", rows)
        return Reconstruction(loss, missing, self.activity_l1)
