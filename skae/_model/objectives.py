"""Objectives: the loss of a batch of rows, and the linear initialisation."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from skae._data.rows import points_of
from skae._model.graph import LEAST_NOISE, LOG_VARIANCE, NOISE
from skae._model.linear_path import linear_path
from skae._starts.em import filled_rows, pca_of
from skae._starts.glm import Examples, denoised_start
from skae._starts.linear import ppca_of, ppca_start
from skae._starts.wiener import COVARIANCE_FEATURES, denoiser_start, shrunken_start
from skae.likelihoods import Likelihood
from skae.likelihoods._base import MAX_LOG_VARIANCE, bounded, unbounded
from skae.noise import Noise

#: The number of rows whose moments are computed at once.
ROWS_AT_ONCE = 512

#: The number of draws from the posterior of each validation row.
VALIDATION_DRAWS = 4

#: The largest distance of a value from the domain that counts as rounding.
ROUNDING = 1e-6


class Loss(NamedTuple):
    """The loss of a batch: a loss for each row, a penalty, and the parts by name."""

    per_sample: object
    penalty: object
    parts: dict


@dataclass(frozen=True)
class Reconstruction:
    """The objective of an autoencoder: the loss of the output against the input.

    Parameters
    ----------
    likelihood : Likelihood
    missing : bool
        Whether rows may hold NaN, which are then left out of the loss.
    activity_l1 : float
        The strength of the penalty on the code.
    balance : ndarray of shape (n_features,) or None
        What the loss of each column is multiplied by, in the units of X; None is 1.
    """

    likelihood: Likelihood
    missing: bool = False
    activity_l1: float = field(default=0.0, compare=False)
    balance: np.ndarray | None = field(default=None, compare=False, kw_only=True)

    parameter = "loss"  # the estimator's parameter of the likelihood
    parts = ()  # names of the reported parts of the loss
    turns_features = False  # whether a code of the network's own features is rotated too
    has_posterior = False  # whether a code is a distribution

    @property
    def key(self):
        """The settings that determine a compiled program."""
        balanced = self.balance is not None
        return type(self), self.likelihood._key(), self.missing, balanced

    def balanced(self, rows):
        """Weigh the columns of a mixed table by the loss of their means."""
        loss = self.likelihood.loss_of_mean(rows.mean, rows.variance)
        return replace(self, balance=1 / loss)

    def check(self, rows, given, name="X"):
        """Raise if rows are outside of the likelihood's domain.

        Parameters
        ----------
        rows : Rows
        given : object
            The likelihood as passed to the estimator.

        name : str, default="X"
            The name of the rows.

        Raises
        ------
        ValueError
            If a value is outside; the message names the parameter and the rows.
        """
        for likelihood, columns in self.likelihood.blocks(rows.n_features):
            least, greatest = likelihood.domain
            low = float(np.min(np.ravel(rows.low)[columns]))
            high = float(np.max(np.ravel(rows.high)[columns]))
            if low < least - ROUNDING or high > greatest + ROUNDING:
                raise ValueError(
                    f"{self.parameter}={given!r} needs {name} in [{least:g},"
                    f" {greatest:g}], but its minimum is {low:.6g} and its maximum"
                    f" {high:.6g}. Scale it, for example with MinMaxScaler(clip=True),"
                    " or choose another."
                )

    def takes_mixtures(self, rows):
        """Check whether mixtures of rows are valid rows: no NaN, any real numbers."""
        if any(some.has_nan for some in (rows, rows.wanted)):
            return False
        blocks = self.likelihood.blocks(rows.n_features)
        return all(np.isinf(likelihood.domain).all() for likelihood, _ in blocks)

    # -- the graph

    def heads(self, z, features):
        """Return the encoder's outputs, from the code and the features it is made of."""
        return z

    def point(self, encoded):
        """Return the code, from the encoder's outputs."""
        return encoded

    def code_unit(self, scale):
        """Return the factor from the graph's code to the units of X.

        It is 1 if features have different scales, since there are then no such units.
        """
        return float(scale[0]) if np.ptp(scale) == 0 else 1.0

    # -- the loss

    def values(self, rows, coordinates):
        """Return the arrays that `loss` takes: new values need no new compilation."""
        unit = self.code_unit(coordinates.scale)
        values = {
            "mean": coordinates.mean.astype(rows.dtype),
            "scale": coordinates.scale.astype(rows.dtype),
            "activity_l1": np.float32(self.activity_l1 / unit),
        }
        if self.balance is not None:
            values["balance"] = self.weights_of_columns(coordinates).astype(np.float32)
        return values

    def weights_of_columns(self, coordinates):
        """Return the weight of each column's loss of standardised rows."""
        return self.balance * coordinates.scale**self.likelihood.degrees

    @property
    def is_squared_error(self):
        """True if the loss is the squared error, which means alone tell."""
        return self.balance is None and self.likelihood.is_squared_error

    def units_of_losses(self, coordinates):
        """Return what turns each column's loss of standardised rows into that of X.

        Returns
        -------
        factor, offset : ndarray of shape (n_features,)
            The offset is that of a log-density.
        """
        if self.balance is not None:
            return self.weights_of_columns(coordinates), np.zeros_like(coordinates.scale)
        return self.likelihood.units_of_losses(coordinates.scale)

    def corrupted(self, x, values, seed):
        """Corrupt standardised rows, as the network sees them in training."""
        return x

    def loss(self, graph, batch, values, seed, training):
        """Compute the loss of a batch: one forward pass, for training and validation.

        Parameters
        ----------
        graph : Graph
        batch : dict of str to tensor
            "rows" in the units of X and, if there are any, their targets ("wanted", whose
            NaN is left out), and the "extra_variance" that the missing values of each row
            add to its code.
        values : dict of str to tensor
        seed : Seed
        training : bool

        Returns
        -------
        loss : Loss
        """
        from keras import ops

        target = batch.get("wanted", batch["rows"])
        noisy = self.corrupted(_standardized(batch["rows"], values), values, seed)
        z = graph.encoder(ops.cast(noisy, "float32"), training=training)
        output = graph.decoder(z, training=training)
        target = ops.cast(_standardized(target, values), "float32")
        present, target = self._present(target)
        if self.balance is not None:
            present = ops.reshape(values["balance"], (1, -1)) * present
        per_sample = self.likelihood.per_sample(target, output, None, present)
        size = ops.reshape(ops.abs(z), (ops.shape(z)[0], -1))
        penalty = values["activity_l1"] * ops.mean(ops.sum(size, axis=-1))
        return Loss(per_sample, penalty, {})

    def total_loss(self, graph, x, seen, counts):
        """Compute the summed loss of rows, whose values have these counts."""
        from keras import ops

        z = self.point(graph.encoder(seen, training=False))
        output = graph.decoder(z, training=False)
        x = ops.where(ops.isnan(x), 0.0, x)
        return ops.sum(self.likelihood.per_sample(x, output, None, counts))

    def _present(self, x):
        """Return 1 where x is a number and 0 where it is NaN, and x with 0 for NaN."""
        from keras import ops

        if not self.missing:
            return 1.0, x
        missing = ops.isnan(x)
        return ops.cast(~missing, x.dtype), ops.where(missing, 0.0, x)

    def in_units(self, losses, coordinates):
        """Convert losses of standardised rows to the units of X, by name."""
        return {
            name: self.likelihood.in_units(value, coordinates.scale)
            for name, value in losses.items()
        }

    # -- the start

    def start(self, rows, n_components):
        """Compute the best linear model of its kind in closed form, a `LinearStart`."""
        return self._start(rows, n_components)

    def _start(self, rows, n_components):
        start = self.likelihood.point_start(rows, n_components)
        examples = partial(Examples.of, rows, start.linear_model)
        return self.likelihood.decoder_start(start, examples)

    def start_of(self, linear, rows, n_components):
        """Start at a linear model from elsewhere, with a decoder of this distribution."""
        likelihood = self.likelihood
        if not likelihood.sees_rows or likelihood.groups(rows.n_features):
            raise ValueError(
                "init: a fitted transformer needs a loss of numbers, or of 0 and 1, that is"
                f" the same for all columns. Got {likelihood!r}."
            )
        model = ppca_start(pca_of(rows, n_components), n_components).linear_model
        examples = partial(Examples.of, rows, model)
        return likelihood.decoder_start(replace(linear, linear_model=model), examples)

    def of_pca(self, rows, n_components):
        """Compute the loss of the linear model with so many components on the rows."""
        return self.likelihood.of_pca(rows.array, rows.array, n_components)

    @property
    def follows_moments(self):
        """True if the start depends on the mean and the covariance of the rows alone."""
        return self.likelihood.follows_moments

    @property
    def pca_is_best(self):
        """True if no other linear code and output have less loss than PCA's."""
        return self.likelihood.pca_is_best and not self.activity_l1

    @property
    def is_for_overcomplete(self):
        """True if a code with more components than the rank of X does not just copy X."""
        return self.activity_l1 > 0

    def start_rows(self, some, rows):
        """Return the rows to compute a start from: some, or None if it needs all rows."""
        return some if self.likelihood.knows_enough(some, rows) else None

    def weights(self, start, coordinates):
        """Compute the weights of a linear start, by path, and the output's unit."""
        return linear_path(start, coordinates, self.code_unit(coordinates.scale)), 1.0


def _standardized(x, values):
    return (x - values["mean"]) / values["scale"]


class Noisy(Reconstruction):
    """The objective of a denoising autoencoder: predict clean rows from noisy ones."""

    def start(self, rows, n_components):
        # codes of noisy rows are uncorrelated, but differ from PCA's
        return replace(self._start(rows, n_components), in_order=False)

    @property
    def is_for_overcomplete(self):
        return True


@dataclass(frozen=True)
class Denoising(Noisy):
    """The objective that adds noise to clean rows."""

    noise: Noise = None

    @property
    def key(self):
        return *super().key, self.noise._key()

    @property
    def follows_moments(self):
        return super().follows_moments and self.noise.follows_moments

    def values(self, rows, coordinates):
        noise = self.noise.values(rows)
        noise = {f"noise_{name}": np.asarray(v, rows.dtype) for name, v in noise.items()}
        return super().values(rows, coordinates) | noise

    def corrupted(self, x, values, seed):
        noise = {
            name.removeprefix("noise_"): value
            for name, value in values.items()
            if name.startswith("noise_")
        }
        # from standardised rows, not from x: XLA takes half the time for it
        x = self.noise.corrupt(x * values["scale"] + values["mean"], noise, seed)
        return _standardized(x, values)

    def _start(self, rows, n_components):
        values = self.noise.values(rows)

        def noisy(clean):
            return _moments_of_noise(self.noise, clean, values)

        if not self.likelihood.sees_rows:
            seen = self.likelihood.blocks(rows.n_features)
            if self.balance is None or not all(one.sees_rows for one, _ in seen):
                return super()._start(rows, n_components)
            draw = partial(_drawn, self.noise, values)
            return denoised_start(self.likelihood, rows, n_components, draw)
        white = self.noise.white_variance(values)
        pca = pca_of(rows, n_components)
        linear_model = ppca_start(pca, n_components).linear_model
        if white is not None:
            start = shrunken_start(pca, n_components, white)
        else:
            clean = self._without_holes(rows, linear_model)
            moments = _noisy_moments(clean, self.noise, values)
            start = denoiser_start(moments, n_components, _axes(pca))
            start = replace(start, linear_model=linear_model)
        examples = partial(Examples.of, rows, linear_model, noisy)
        return self.likelihood.decoder_start(start, examples)

    def _without_holes(self, rows, linear_model):
        """Return complete rows with the same best linear denoiser as incomplete rows.

        If the denoiser depends on the moments alone, these are points with the expected
        mean and covariance. Otherwise missing values are imputed with expectations.
        """
        if not rows.has_missing:
            return rows
        if self.noise.follows_moments and rows.n_features <= COVARIANCE_FEATURES:
            found = linear_model.moments(rows)
            return points_of(found.mean, found.scatter, rows.size, rows.dtype)
        return filled_rows(rows, linear_model)

    def of_pca(self, rows, n_components):
        """Compute the loss of PCA of the rows, on the rows with noise."""
        X_noisy = self.noise.draw(rows.array, self.noise.values(rows))
        return self.likelihood.of_pca(rows.array, X_noisy, n_components)


@dataclass(frozen=True)
class Pairs(Noisy):
    """The objective of pairs of noisy and clean rows."""

    follows_moments = False

    def _start(self, rows, n_components):
        if not self.likelihood.sees_rows:
            return super()._start(rows, n_components)
        pca = pca_of(rows, n_components)
        linear_model = ppca_start(pca, n_components).linear_model
        seen, target = filled_rows(rows, linear_model), rows.target
        if target.has_missing:
            of_target = ppca_start(pca_of(target, n_components), n_components)
            target = filled_rows(target, of_target.linear_model)
        moments = (
            (target.filled(some), seen.filled(some), 0.0, _column(rows, some))
            for some in rows.batches(ROWS_AT_ONCE)
        )
        start = denoiser_start(moments, n_components, _axes(pca))
        start = replace(start, linear_model=linear_model)
        examples = partial(Examples.of, rows, linear_model)
        return self.likelihood.decoder_start(start, examples)

    def of_pca(self, rows, n_components):
        raise ValueError(
            "PCA's loss on noisy rows needs a noise to draw, but this estimator was"
            " fitted to pairs: leave X out."
        )


def _axes(pca):
    wide = pca.components_.shape[1] > COVARIANCE_FEATURES
    return pca.components_.T if wide else None


def _noisy_moments(rows, noise, values):
    """Yield clean rows, and the mean and the variance of their noisy versions.

    `denoiser_start` takes these. If the moments of the noise are unknown, a draw takes
    the place of the mean, without variance.
    """
    for batch in rows.batches(ROWS_AT_ONCE):
        clean = rows.filled(batch)
        moments = _moments_of_noise(noise, clean, values, batch.start)
        yield clean, *moments, _column(rows, batch)


def _drawn(noise, values, clean, step):
    return noise.draw(clean, values, step)


def _moments_of_noise(noise, clean, values, step=0):
    """Return mean and variance of noisy rows; if unknown, a draw and 0."""
    return noise.moments(clean, values) or (noise.draw(clean, values, step), 0.0)


def _column(rows, some):
    return 1.0 if rows.weight is None else rows.weight[some, None]


class Widening(NamedTuple):
    """The effect of missing values on a posterior.

    The posterior's mean is the one of the `imputed` rows, of shape (n_samples,
    n_features). `covariance` is added to its covariance, and has the shape (n_samples,
    n_components, n_components).
    """

    imputed: object
    covariance: object


@dataclass(frozen=True)
class Evidence(Reconstruction):
    """The objective of a variational autoencoder: minus the evidence lower bound.

    Parameters
    ----------
    beta : float
        The weight of the KL divergence from the prior.
    """

    beta: float = field(default=1.0, compare=False)

    parameter = "likelihood"
    parts = ("reconstruction", "kl")
    has_posterior = turns_features = True
    pca_is_best = False

    # -- the graph

    @property
    def is_for_overcomplete(self):
        return True  # the KL divergence gives up components that are not needed

    def heads(self, z, features):
        from keras import layers

        head = layers.Dense(
            z.shape[-1], kernel_initializer="zeros", name="log_variance_head"
        )
        return [z, head(features)]

    def point(self, encoded):
        return encoded[0]

    def code_unit(self, scale):
        return 1.0

    # -- the loss

    def values(self, rows, coordinates):
        return {
            "mean": coordinates.mean.astype(rows.dtype),
            "scale": coordinates.scale.astype(rows.dtype),
            "unit": coordinates.unit.astype(np.float32),
            "beta": np.float32(self.beta),
        }

    def loss(self, graph, batch, values, seed, training):
        """Compute minus the evidence lower bound of a batch.

        The KL divergence is in closed form for training, and estimated by draws for
        validation. If the posterior is exact, as at the start, each draw gives the same
        bound.
        """
        from keras import ops

        target = batch.get("wanted", batch["rows"])
        x = ops.cast(_standardized(batch["rows"], values), "float32")
        target = ops.cast(_standardized(target, values), "float32")
        n_draws = 1 if training else VALIDATION_DRAWS
        noise = seed.normal((n_draws, ops.shape(x)[0], graph.decoder.input_shape[-1]))
        mean, log_variance = self.posterior(graph, x, training)
        if "extra_variance" in batch:
            extra = ops.cast(batch["extra_variance"], "float32")
            log_variance = ops.log(ops.exp(log_variance) + extra)
        log_likelihood, log_ratio = self._at_draws(
            graph, target, mean, log_variance, noise, values["unit"], training
        )
        if training:
            kl = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
            kl = ops.sum(kl, axis=-1) / 2
        else:
            kl = -ops.mean(log_ratio, axis=0)
        reconstruction = -ops.mean(log_likelihood, axis=0)
        parts = {"reconstruction": ops.mean(reconstruction), "kl": ops.mean(kl)}
        return Loss(reconstruction + values["beta"] * kl, 0.0, parts)

    def posterior(self, graph, x, training=False):
        """Compute the mean and log-variance of the code of standardised rows."""
        mean, log_variance = graph.encoder(x, training=training)
        return mean, bounded(log_variance)

    def log_weights(self, graph, x, noise, unit, widening=None, present=None):
        """Compute the parts of ``log p(x, z) - log q(z | x)`` at draws z.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
        noise : tensor of shape (n_draws, n_components)
        unit : tensor of shape (n_features,)
        widening : Widening or None, default=None
            The effect of missing values on the posterior; None is none.
        present : tensor of shape (n_samples, n_features) or None
            The weight of each feature; None is 1 where it is a number.

        Returns
        -------
        log_likelihood, log_ratio : tensors of shape (n_draws, n_samples)
        """
        if widening is None:
            code = self.posterior(graph, x)
            return self._at_draws(graph, x, *code, noise[:, None], unit, False)
        z, log_ratio = self._wide_draws(graph, noise, widening)
        return self._log_likelihood(graph, x, z, unit, False, present), log_ratio

    def expected(self, graph, x, noise, unit, widening):
        """Average the decoder's output over draws with weights ``p(x, z) / q(z)``.

        With many draws it tends to the expectation of a row given its observed values.
        The parameters are the same as in `log_weights`.

        Returns
        -------
        output : tensor of shape (n_samples, n_features)
            Not yet in the units of X.
        """
        from keras import ops

        z, log_ratio = self._wide_draws(graph, noise, widening)
        log_likelihood = self._log_likelihood(graph, x, z, unit, False)
        present, present_x = self._present(x)
        shares = ops.softmax(log_likelihood + log_ratio, axis=0)
        output = graph.decoder(z, training=False)
        output = ops.reshape(output, (ops.shape(noise)[0], -1, x.shape[-1]))
        output = self.likelihood.expectation(present_x, output, present)
        return ops.einsum("dn,dnf->nf", shares, output)

    def _wide_draws(self, graph, noise, widening):
        """Draw z from a posterior that missing values widen.

        Returns
        -------
        z : tensor of shape (n_draws * n_samples, n_components)
            One draw after the other.

        log_ratio : tensor of shape (n_draws, n_samples)
            ``log p(z) - log q(z | x)``.
        """
        from keras import ops

        mean, log_variance = self.posterior(graph, widening.imputed)
        covariance = ops.exp(log_variance)[..., None] * ops.eye(
            mean.shape[-1], dtype=mean.dtype
        )
        covariance += widening.covariance
        root = ops.cholesky(covariance)
        z = mean + ops.einsum("nij,dj->dni", root, noise)
        log_ratio = ops.sum(ops.square(noise[:, None]) - ops.square(z), axis=-1) / 2
        log_ratio += ops.sum(ops.log(ops.diagonal(root, axis1=1, axis2=2)), axis=-1)
        return ops.reshape(z, (-1, z.shape[-1])), log_ratio

    def _at_draws(self, graph, x, mean, log_variance, noise, unit, training):
        """Compute ``log p(x | z)`` and ``log p(z) - log q(z | x)`` at draws z of ``q``.

        Parameters
        ----------
        x, mean, log_variance : tensors of shape (n_samples, ...)
        noise : tensor of shape (n_draws, 1 or n_samples, n_components)

        Returns
        -------
        log_likelihood, log_ratio : tensors of shape (n_draws, n_samples)
        """
        from keras import ops

        z = mean + ops.exp(log_variance / 2) * noise
        flat = ops.reshape(z, (-1, z.shape[-1]))
        square = ops.square(noise) - ops.square(z)
        return (
            self._log_likelihood(graph, x, flat, unit, training),
            ops.sum(square + log_variance, axis=-1) / 2,
        )

    def _log_likelihood(self, graph, x, z, unit, training, counts=None):
        """Compute ``log p(x | z)``, of shape (n_draws, n_samples), of stacked draws."""
        from keras import ops

        output = graph.decoder(z, training=training) * unit
        output = ops.reshape(output, (-1, ops.shape(x)[0], x.shape[-1]))
        present, x = self._present(x)
        present = present if counts is None else counts
        return -self.likelihood.per_sample(x, output, graph.log_noise(), present)

    def in_units(self, losses, coordinates):
        kl = {name: losses[name] for name in ("kl",) if name in losses}
        others = {name: losses[name] for name in losses if name not in kl}
        return super().in_units(others, coordinates) | kl

    # -- the start

    def start(self, rows, n_components):
        return self.likelihood.generative_start(rows, n_components, self.beta)

    def start_of(self, linear, rows, n_components):
        if not self.likelihood.follows_moments:
            raise ValueError(
                "init: a fitted transformer needs likelihood='gaussian' or"
                f" 'gaussian_diag'. Got {self.likelihood!r}."
            )
        return ppca_of(linear, rows, n_components, self.beta)

    def weights(self, start, coordinates):
        weights = {LOG_VARIANCE: unbounded(np.log(start.posterior_variance))}
        noise, unit = self.likelihood.noise_of(start, coordinates.scale)
        if noise is not None:
            # Noise of constant features is below the least, which has full precision
            weights[NOISE] = unbounded(np.log(noise) - start.constant)
            weights[LEAST_NOISE] = np.where(
                start.constant, np.log(noise), -MAX_LOG_VARIANCE
            )
        path = linear_path(start, coordinates, 1.0, unit)
        return path | weights, unit * np.logical_not(start.constant)
