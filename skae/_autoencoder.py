"""AutoencoderTransformer: the classical autoencoder, which starts as PCA."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skae._data.dask import lazily
from skae._estimator.base import BaseAutoencoder
from skae._model import components
from skae._model.objectives import Reconstruction
from skae._utils.sklearn import available_if
from skae._utils.typing import Init, LossName, MatrixLike, PairsByColumn, RandomState
from skae.likelihoods import Likelihood
from skae.likelihoods._names import LOSSES
from skae.networks import Network

if TYPE_CHECKING:
    import keras


def _is_pca(estimator):
    """Whether the fitted model is PCA, as it is until training changes it."""
    check_is_fitted(estimator)
    state = estimator._state
    return state.is_start and state.specification.objective.likelihood.is_linear


class AutoencoderTransformer(BaseAutoencoder):
    """Autoencoder: a Keras network that encodes rows and decodes the codes again.

    It takes the place of :class:`~sklearn.decomposition.PCA`. Next to the network runs
    a linear path that starts at PCA, and the network's own contribution starts at zero,
    so that training begins with PCA's components and is kept only where it lowers the
    loss on held-out rows. (With 1,000 to 4,999 rows a second training begins at random
    weights: see `init`.) ``init="random"`` leaves the linear path out: the classical
    autoencoder [1]_.

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
        Where training starts. "linear": at PCA of the rows that are trained on, which
        needs a dense and linear code. "random": at random layers, without a
        linear path. "auto": at PCA wherever it can; with 1,000 to 4,999 rows training
        begins once more, at random weights, and what is better on the validation rows
        is kept. (Not where values are missing, or callbacks or several splits watch.)

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
        nothing missing, and a `loss` of any real numbers. "auto" is 0.5 where that is
        so, rows are fewer than 1,000 and several splits choose the epochs, else 0.

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
    sklearn.decomposition.PCA : What it starts as.

    Notes
    -----
    With ``max_iter=0``, or where training is not kept, the fitted attributes are PCA's.
    `get_covariance` and `get_precision` are there as long as they are.

    With ``loss="binary_crossentropy"`` and a linear code, the encoder starts as PCA's and
    the decoder at the logistic regression of X on the components [2]_.

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
    }

    noise_variance_: float

    def __init__(
        self,
        n_components: float | Literal["mle"] | None = 2,
        *,
        network: Network | None = None,
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

    def _fit(self, *args, **kwargs):
        if self.whiten and (
            self.n_components is None or self.code_activation != "linear"
        ):
            raise ValueError(
                "whiten=True needs a linear code (n_components a number and"
                f" code_activation='linear'), but got n_components={self.n_components!r}"
                f" and code_activation={self.code_activation!r}."
            )
        return super()._fit(*args, **kwargs)

    def _components(self, model, rows, variance=None):
        found = components.of_code(model, rows, variance)
        return found.whitened if self.whiten else found

    @lazily
    def score_features(self, X: MatrixLike) -> np.ndarray:
        """Each feature's share of `score_samples`: minus its squared error.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            Rows of the shape that `fit` was given.

        Returns
        -------
        scores : ndarray of the shape of X
            The higher the better, in squared units of X; 0 where X is NaN. Summed over
            the features of a row they are its score.
        """
        check_is_fitted(self)
        return self._minus_own_error_of_features(X)

    # -- the density, while it is PCA

    @available_if(_is_pca)
    def get_covariance(self) -> np.ndarray:
        """The covariance of X in the model of probabilistic PCA.

        It is there while the model is PCA: its loss has a linear output, and nothing that
        training found was better than the start. `whiten` plays no part in it.

        Returns
        -------
        covariance : ndarray of shape (n_features, n_features)
            ``components_.T @ diag(explained_variance_ - noise_variance_) @ components_
            + noise_variance_ * identity``.
        """
        return self._pca().get_covariance()

    @available_if(_is_pca)
    def get_precision(self) -> np.ndarray:
        """The inverse of `get_covariance`, and there where that is.

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
