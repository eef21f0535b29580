"""DenoisingAutoencoder: learns to undo noise, and starts as the best linear denoiser."""

import math
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
from scipy import sparse
from scipy.special import ndtr
from sklearn.base import _fit_context
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.sparsefuncs import min_max_axis
from sklearn.utils.validation import check_is_fitted

from skae._autoencoder import AutoencoderTransformer, Reconstruction
from skae._base import Moments, _dense, with_callbacks
from skae._keras import building
from skae._starts import (
    COVARIANCE_FEATURES,
    denoiser_start,
    logistic_start,
    shrunken_start,
    spread_rows,
)

#: Rows whose moments are computed at a time.
ROWS_AT_ONCE = 512

#: Where validation begins to count its draws: training does not come so far.
VALIDATION_DRAWS = 2**30

#: The seed of the noise that the start is computed with where that takes a draw.
DRAW_SEED = 20101


@dataclass(frozen=True)
class Denoising(Reconstruction):
    """The objective of a denoising autoencoder: the clean rows, from noisy ones."""

    noise: object
    clips: bool
    level: float = field(compare=False)

    def connect(self, x, encoder, decoder, named):
        from skae._layers import Corruption

        corrupt = Corruption(self.noise, self.clips, name="corruption")
        output = super().connect(corrupt(x), encoder, decoder, named)
        for name in ("level", "unit", "low", "high", "mean", "scale"):
            named[f"noise_{name}"] = getattr(corrupt, name)
        return output

    def validate(self, models, x, target, i):
        """The loss on rows with the same noise at each epoch."""
        import keras
        from keras import ops

        corrupt = models.trainer.get_layer("corruption")
        state = corrupt.seed_generator.state
        seed, draw = state.value[0], ops.cast(i + VALIDATION_DRAWS, state.dtype)
        with keras.StatelessScope([(state, ops.stack([seed, draw]))]):
            x = corrupt(x, training=True)
        z = models.encoder_core(x, training=False)
        return self.loss.per_sample(target, models.decoder_core(z, training=False))

    def schedule(self, epoch):
        return {"noise_level": self.level}


@dataclass(frozen=True)
class Noise:
    """The noise of one fit, in the units of X.

    `unit` is what the level is multiplied by; `low` and `high` are the ends that values
    are clipped to or replaced by.
    """

    kind: object
    level: float
    unit: float
    low: object
    high: object
    clips: bool

    def moments(self, x):
        """Mean and variance, over the noise, of what each value becomes.

        For clipped normal noise they are those of a rectified normal distribution.
        """
        std, p = self.level * self.unit, self.level
        clean = np.clip(x, self.low, self.high) if self.clips else x
        if self.kind == "gaussian":
            if not self.clips or std == 0:
                return clean, std**2
            low, high = (self.low - x) / std, (self.high - x) / std
            below, above = ndtr(low), ndtr(-high)
            low_density, high_density = _normal_density(low), _normal_density(high)
            mean = low * below + high * above + low_density - high_density
            square = low**2 * below + high**2 * above + 1 - below - above
            square += low * low_density - high * high_density
            return x + std * mean, std**2 * np.maximum(square - mean**2, 0)
        if self.kind == "masking":
            put = np.clip(0.0, self.low, self.high) if self.clips else 0.0
            spread = 0.0
        else:
            put, spread = (self.low + self.high) / 2, (self.high - self.low) / 2
        mean = (1 - p) * clean + p * put
        return mean, p * (1 - p) * (clean - put) ** 2 + p * spread**2

    def drawn(self, n_features):
        """A function that adds the noise to rows, drawn from a seed of its own."""
        with building("float32", 0):
            from skae._layers import Corruption

            corrupt = Corruption(self.kind, self.clips, seed=DRAW_SEED)
            corrupt.build((None, n_features))
        for name, value in self.weights(0.0, 1.0).items():
            weight = getattr(corrupt, name)
            weight.assign(np.broadcast_to(value, weight.shape))
        return lambda rows: np.asarray(corrupt(rows, training=True), np.float64)

    def weights(self, mean, scale):
        """The weights of `Corruption` on rows standardised by this mean and scale."""
        return {
            "level": self.level,
            "unit": self.unit / scale,
            "low": (self.low - mean) / scale,
            "high": (self.high - mean) / scale,
            "mean": mean,
            "scale": scale,
        }


def _normal_density(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _range(X):
    """The least and the greatest value of each feature."""
    if sparse.issparse(X):
        return min_max_axis(X, axis=0)
    return np.nanmin(X, axis=0), np.nanmax(X, axis=0)


def _filled(X, mean):
    """Rows to compute with, the mean in place of the steps after a series has ended."""
    rows = np.asarray(_dense(X), np.float64)
    return np.where(np.isnan(rows), mean, rows)


def _moments(X, target, noise, mean, draw=False):
    """Clean rows, the mean of the noisy ones and its variance, as `denoiser_start` asks.

    Those of pairs and of noise that is drawn are what they are, without variance.
    """
    corrupt = noise.drawn(X.shape[1]) if draw and target is None else None
    for batch in gen_batches(X.shape[0], ROWS_AT_ONCE):
        rows = _filled(X[batch], mean)
        if target is not None:
            yield _filled(target[batch], mean), rows, 0.0
        elif draw:
            yield rows, corrupt(rows), 0.0
        else:
            yield rows, *noise.moments(rows)


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
    n_components : int, float in (0, 1) or None, default=2
        The number of components of the code. A float takes as many as PCA needs to
        explain that share of the variance. None takes what the network gives, such as
        the flattened feature maps of a :class:`~skae.networks.ConvNetwork`.

    network : Network or None, default=None
        The layers on each side of the code, with parameters of its own; None is
        :class:`~skae.networks.DenseNetwork` with its defaults.

    code_activation : str, default="linear"
        The name of the Keras activation of the code.

    noise : {"gaussian", "masking", "salt_and_pepper"} or callable, default="gaussian"
        What is done to the rows that the network sees while it is trained. "gaussian"
        adds normal noise to each value. The other two change each value with the
        probability `noise_level`: "masking" to zero, "salt_and_pepper" to the least or
        the greatest value, which are those of `noise_clip` or else of the feature in X.
        A function ``noise(x, seed)`` takes a Keras tensor of flat rows in the units of
        X, of shape (n_rows, n_features), and returns noisy rows; `seed` is for the
        functions of ``keras.random`` that it calls. It is compiled, so that it must be
        made of ``keras.ops``, and `noise_level` and `noise_scale` play no part.

    noise_level : float, default=0.5
        The standard deviation of "gaussian" noise, or the probability that one of the
        other two changes a value. Another level does not compile anything anew.

    noise_scale : {"relative", "absolute"}, default="relative"
        The unit of `noise_level` for "gaussian" noise: the overall standard deviation
        of X, which is the root of the mean variance of its features, or the unit of X.

    noise_clip : (low, high) or None, default=None
        Clips noisy rows to these values, in the units of X.

    activity_l1 : float, default=0.0
        The penalty that makes the code sparse: `activity_l1` times the mean over
        samples of the sum of the code's absolute values is added to the loss. It does
        not depend on the batch size.

    loss : {"squared_error", "binary_crossentropy"}, default="squared_error"
        The loss, summed over features and averaged over samples. For
        "binary_crossentropy" the output is a sigmoid, and X must be in [0, 1].

    init : {"auto", "pca", "random"}, default="auto"
        Where training starts. "pca": at the linear denoiser that PCA becomes for this
        noise, computed on all rows given to `fit`, which needs a dense and linear code.
        "random": at random layers, without a linear path. "auto": at the linear
        denoiser wherever it can.

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

    batch_size : int or "auto", default=32
        The number of rows in a batch; "auto" is ``min(200, n_samples)``. The last batch
        of an epoch is filled up with rows of its beginning.

    max_iter : int, default=200
        The largest number of epochs. With 0 the model stays at its start.

    shuffle : bool, default=True
        Whether to draw a new order of the rows at each epoch.

    tol : float, default=1e-4
        The loss must fall by more than `tol` times the loss of the mean of X to count
        as an improvement; for "binary_crossentropy", by more than `tol` nats per
        feature.

    n_iter_no_change : int or inf, default=20
        The number of epochs without improvement after which training stops.

    early_stopping : bool, default=True
        Whether to set validation rows aside, stop when the loss on them no longer
        improves, and keep the weights that did best on them, the start among them:
        it is left only for an improvement larger than its standard error. If False,
        the training loss decides when to stop, and the last weights are kept.

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

    explained_variance_ : ndarray of shape (`n_components_`,)
        The variance of each component over the rows of X, in squared units of X. A
        linear code is rotated and scaled after training, which leaves the model's
        function as it is: its components are centred, uncorrelated, ordered by variance,
        and their variances add up to the variance that the reconstruction explains.

    explained_variance_ratio_ : ndarray of shape (`n_components_`,)
        `explained_variance_` as shares of the variance of X.

    history_ : dict of str to list of float
        The losses after each epoch, in the units of X, by Keras' names: "loss" and,
        with early stopping, "val_loss".

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
    For "gaussian" noise without clipping, these are PCA's components, with codes
    shrunken by ``variance / (variance + noise variance)``; a `noise_level` of zero gives
    PCA itself. For the other kinds, the expectation of G and S over the noise is known
    for each row. For a function, they are computed from one draw for each row, and for
    pairs from these. Above 4096 features it is the best denoiser that sees PCA's
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
    >>> X, _ = load_digits(return_X_y=True)
    >>> X_noisy = X + np.random.default_rng(0).normal(0, 4, X.shape)
    >>> autoencoder = DenoisingAutoencoder(
    ...     16, noise_level=4, noise_scale="absolute", max_iter=20, random_state=0
    ... ).fit(X)
    >>> pca = PCA(16).fit(X)
    >>> X_pca = pca.inverse_transform(pca.transform(X_noisy))
    >>> X_denoised = autoencoder.denoise(X_noisy)
    >>> bool(((X - X_denoised) ** 2).sum() < ((X - X_pca) ** 2).sum())
    True
    """

    _parameter_constraints: dict = {
        **AutoencoderTransformer._parameter_constraints,
        "noise": [StrOptions({"gaussian", "masking", "salt_and_pepper"}), callable],
        "noise_level": [Interval(Real, 0, None, closed="left")],
        "noise_scale": [StrOptions({"relative", "absolute"})],
        "noise_clip": ["array-like", None],
    }

    def __init__(
        self,
        n_components=2,
        *,
        network=None,
        code_activation="linear",
        noise="gaussian",
        noise_level=0.5,
        noise_scale="relative",
        noise_clip=None,
        activity_l1=0.0,
        loss="squared_error",
        init="auto",
        optimizer="adam",
        learning_rate_init=1e-3,
        alpha=1e-4,
        batch_size=32,
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
        self.code_activation = code_activation
        self.noise = noise
        self.noise_level = noise_level
        self.noise_scale = noise_scale
        self.noise_clip = noise_clip
        self.activity_l1 = activity_l1
        self.loss = loss
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

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, X_clean=None):
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
        with self._all_or_nothing():
            return self._fit(X, self._check_pairs(X, X_clean, self.warm_start))

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, X_clean=None):
        """Train for one epoch on X, from where the last call left off.

        The first call starts as `fit` does, on the rows it is given. Early stopping
        plays no part, and the components keep the scale, order and signs that the
        first call gave them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows of this call: clean ones, or noisy ones where `X_clean` is given.

        y : Ignored
            Present for API consistency.

        X_clean : {array-like, sparse matrix} of the shape of X, default=None
            What the rows of X were before they became noisy, in every call or in none.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with self._all_or_nothing():
            target = self._check_pairs(X, X_clean, True)
            return self._fit(X, target, incremental=True)

    def _check_pairs(self, X, X_clean, goes_on):
        """X_clean as rows of X's dtype, or None; notes which of the two it is."""
        paired = X_clean is not None
        if goes_on and hasattr(self, "_weights") and paired != self._paired:
            raise ValueError(
                "X_clean must be given in every call that goes on from the last fit or in"
                f" none. Got {'X_clean' if paired else 'no X_clean'}, unlike before."
            )
        self._paired = paired
        if not paired:
            return None
        X_clean = self._check_clean(X, X_clean)
        if self._objective().unit_interval:
            self._check_unit_interval(X_clean, "X_clean")
        return X_clean

    def _check_clean(self, X, X_clean):
        series = self._allows_missing() and np.ndim(X_clean) == 3
        options = {
            "accept_sparse": "csr",
            "allow_nd": True,
            "ensure_all_finite": "allow-nan" if series else True,
            "estimator": self,
        }
        X = check_array(X, dtype=[np.float64, np.float32], input_name="X", **options)
        X_clean = check_array(
            X_clean, dtype=X.dtype, order="C", input_name="X_clean", **options
        )
        if X_clean.shape != X.shape:
            raise ValueError(
                f"X_clean must have the shape of X, {X.shape}. Got {X_clean.shape}."
            )
        return X_clean.reshape(X.shape[0], -1) if X.ndim > 2 else X_clean

    def denoise(self, X):
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

    def score_samples(self, X, X_clean=None):
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
        target = None if X_clean is None else self._check_clean(X, X_clean)
        X = self._check_rows(X, reset=False)
        return self._minus_squared_error(X, X if target is None else target)

    def score(self, X, y=None, X_clean=None):
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

        Returns
        -------
        score : float
            The higher the better.
        """
        return float(np.mean(self.score_samples(X, X_clean)))

    # -- the objective and its start

    _keeps_start = False

    def _objective(self):
        plain = super()._objective()
        if self._paired:
            return plain
        self._check_noise()
        return Denoising(
            loss=plain.loss,
            noise=self.noise,
            clips=self.noise_clip is not None,
            level=float(self.noise_level),
        )

    def _check_noise(self):
        if self.noise in ("masking", "salt_and_pepper") and self.noise_level > 1:
            raise ValueError(
                f"noise_level must be a probability, in [0, 1], for noise={self.noise!r}."
                f" Got {self.noise_level}."
            )
        if self.noise_clip is None:
            return
        try:
            low, high = map(float, self.noise_clip)
        except (TypeError, ValueError):
            low = high = np.nan
        if not -np.inf < low < high < np.inf:
            raise ValueError(
                "noise_clip must be None or two finite numbers (low, high), low < high."
                f" Got {self.noise_clip!r}."
            )

    def _noise(self, X, moments):
        """The noise that the parameters describe for these rows."""
        unit, low, high = 1.0, 0.0, 0.0
        if self.noise_scale == "relative" and self.noise == "gaussian":
            unit = math.sqrt(moments.total_variance / X.shape[1])
        if self.noise_clip is not None:
            low, high = map(float, self.noise_clip)
        elif self.noise == "salt_and_pepper":
            low, high = _range(X)
        clips = self.noise_clip is not None
        return Noise(self.noise, float(self.noise_level), unit, low, high, clips)

    def _hyperparameters(self, X, moments, mean, scale):
        named = super()._hyperparameters(X, moments, mean, scale)
        if self._paired:
            return named
        weights = self._noise(X, moments).weights(mean, scale)
        return named | {f"noise_{name}": value for name, value in weights.items()}

    def _linear_start(self, X, target, moments, n_components):
        pca = moments.pca
        noise = None if self._paired else self._noise(X, moments)
        if noise is not None and noise.kind == "gaussian" and not noise.clips:
            variance = (noise.level * noise.unit) ** 2
            start = shrunken_start(pca, n_components, variance)
        else:
            axes = pca.components_.T if X.shape[1] > COVARIANCE_FEATURES else None
            rows = _moments(X, target, noise, pca.mean_, draw=callable(self.noise))
            start = denoiser_start(rows, n_components, axes)
        if not self._objective().unit_interval:
            return start
        some = spread_rows(X.shape[0])
        target = target[some] if self._paired else None
        rows = _moments(X[some], target, noise, pca.mean_, draw=True)
        clean, noisy = zip(*((clean, noisy) for clean, noisy, _ in rows), strict=True)
        return logistic_start(start, np.concatenate(noisy), np.concatenate(clean))

    def _pca_loss(self, X):
        """The loss that PCA of X has on X with noise, in the units of `history_`."""
        if self._paired:
            raise ValueError(
                "PCA's loss on noisy rows needs a noise to draw, but this estimator was"
                " fitted to pairs: leave X out."
            )
        draw = self._noise(X, Moments(X)).drawn(X.shape[1])
        return self._squared_error_of_pca(X, draw(X))
