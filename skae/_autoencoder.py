"""AutoencoderTransformer: the classical autoencoder, which starts as PCA."""

from dataclasses import dataclass
from numbers import Real

from sklearn.utils._param_validation import Interval, StrOptions

from skae._base import BaseAutoencoder
from skae._linear import pca_start
from skae._losses import LOSSES


@dataclass(frozen=True)
class Reconstruction:
    """The objective of an autoencoder: the loss of the output against the input."""

    loss: object

    rotates = True

    @property
    def output_activation(self):
        return self.loss.output_activation

    @property
    def unit_interval(self):
        return self.loss.unit_interval

    def code(self, z, x, named):
        return z

    def code_shape(self, z):
        return z.shape[1:]

    def point(self, z):
        return z

    def connect(self, x, encoder, decoder, named):
        from skae._layers import ActivityPenalty

        penalty = ActivityPenalty(name="activity_penalty")
        z = penalty(encoder(x))
        named["activity_l1"] = penalty.l1
        return decoder(z)

    def per_sample(self, x, output):
        return self.loss.per_sample(x, output)

    def validate(self, models, x, target, i):
        return self.loss.per_sample(target, models.trainer(x, training=False))

    def report(self, losses, scale, n_features):
        names = ("loss", "val_loss")
        return {name: losses[name] * scale**2 for name in names if name in losses}


class AutoencoderTransformer(BaseAutoencoder):
    """Autoencoder."""

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
        "activity_l1": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components=2,
        *,
        network=None,
        code_activation="linear",
        activity_l1=0.0,
        loss="squared_error",
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
        self.code_activation = code_activation
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

    def _objective(self):
        return Reconstruction(LOSSES[self.loss])

    def _linear_start(self, X, target, pca, n_components):
        return pca_start(pca, n_components)

    def _named_weights(self, start, width, mean, scale):
        width = 1.0 if width is None else width
        return {"activity_l1": self.activity_l1 * width / scale**2}
