"""Inference on every backend: the functions of a graph, and models that compute them."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from scipy import sparse
from sklearn.utils import gen_batches

from skae._backend.cache import Cache, Once
from skae._data.statistics import has_nan
from skae._model.graph import LINEAR_CODE, build
from skae._model.objectives import Widening

#: The largest number of values in the widest layer's output in one call.
CALL_VALUES = 2**20


class Function(NamedTuple):
    """A function of a graph: the shapes of its inputs, and the axis of rows by output.

    After the first input, so many are draws, which have no axis of rows.
    """

    compute: Callable
    shapes: list
    axes: tuple = (0,)
    n_draws: int = 1


class BaseInference:
    """The functions of a graph, compiled for one dtype and any number of rows.

    Weights and coordinates are arguments, so that one trace serves every fit. A backend's
    subclass defines `_compile`, and `_slopes`, the gradient of a function.
    """

    def __init__(self, specification, dtype):
        graph = build(specification, dtype)
        self.dtype = dtype
        self.weights = {path: v.dtype for path, v in graph.variables.items()}
        self.graph, self.compiled = graph, Once()
        rows, codes = graph.encoder.input_shape, graph.decoder.input_shape
        wide = [rows, codes, rows, (None, codes[-1], codes[-1])]
        self.functions = {
            "encode": Function(self._encode, [rows]),
            "decode": Function(self._decode, [codes]),
            "posterior": Function(self._posterior, [rows], (0, 0)),
            "log_weights": Function(self._log_weights, [rows, codes], (1,)),
            "wide_log_weights": Function(self._log_weights, wide, (1,)),
            "log_weights_of_features": Function(
                self._log_weights_of_features, wide, (1, 0)
            ),
            "expected": Function(self._expected, wide),
        }
        if not specification.objective.has_posterior:
            self.functions["losses"] = Function(self._losses, [rows, rows], n_draws=0)
        widest = max(
            math.prod(output.shape[1:])
            for model in (graph.encoder, graph.decoder)
            for layer in model.layers
            for output in keras.tree.flatten(layer.output)
        )
        self.batch_rows = max(1, CALL_VALUES // widest)
        size, n_features = codes[-1], specification.n_features
        self.place = dict.fromkeys(("mean", "spread", "unit"), (n_features,))
        if specification.rotates:
            self.place |= {"rotation": (size, size), "inverse": (size, size)}
            self.place["offset"] = (size,)

    @property
    def size(self):
        return self.graph.size

    def concrete(self, name):
        """Return a function of rows, coordinates and weights, compiled at first use."""
        function = self.functions[name]
        return self.compiled.of(
            name, lambda: self._compile(function.compute, function.shapes)
        )

    def _computed(self, function, inputs, place, weights):
        """Compute a function with these weights in place of the variables' values."""
        variables = self.graph.variables
        pairs = [(variables[path], weights[path]) for path in variables]
        with keras.StatelessScope(pairs):
            return function(place, *inputs)

    @property
    def _objective(self):
        return self.graph.specification.objective

    def _encode(self, place, x):
        """Compute the components of standardised rows."""
        z = self._objective.point(self.graph.encoder(x, training=False))
        if "rotation" not in place:
            return z
        return ops.matmul(z - place["offset"], place["rotation"])

    def _decode(self, place, z):
        """Compute the rows of components."""
        if "rotation" in place:
            z = ops.matmul(z, place["inverse"]) + place["offset"]
        output = self._objective.likelihood.mean(self.graph.decoder(z, training=False))
        output = output * place["spread"] + place["mean"]
        return ops.reshape(output, (-1, *self.graph.specification.row_shape))

    def _posterior(self, place, x):
        return self._objective.posterior(self.graph, x)

    def _log_weights(self, place, x, noise, *widening):
        objective, widening = self._widened(widening)
        found = objective.log_weights(self.graph, x, noise, place["unit"], widening)
        return found[0] + found[1]

    def _log_weights_of_features(self, place, x, noise, *widening):
        """Compute log-weights, and each feature's weighted mean log-likelihood.

        A row's log-likelihood is linear in the weight of each feature, so that its slope
        is the log-likelihood of the feature.
        """
        objective, widening = self._widened(widening)

        def total(present):
            log_likelihood, log_ratio = objective.log_weights(
                self.graph, x, noise, place["unit"], widening, present
            )
            log_weights = log_likelihood + log_ratio
            shares = ops.stop_gradient(ops.softmax(log_weights, axis=0))
            return ops.sum(shares * log_likelihood), log_weights

        present = ops.cast(~ops.isnan(x), x.dtype)
        slopes, log_weights = self._slopes(total, present)
        return log_weights, slopes * present

    def _losses(self, place, x, seen):
        """Compute the part of each value in the loss, which is linear in its weight."""

        def total(counts):
            loss = self._objective.total_loss(self.graph, x, seen, counts)
            return loss, counts

        there = ops.cast(~ops.isnan(x), x.dtype)
        slopes, _ = self._slopes(total, there)
        return slopes * there

    def _expected(self, place, x, noise, *widening):
        objective, widening = self._widened(widening)
        output = objective.expected(self.graph, x, noise, place["unit"], widening)
        return output * place["spread"] + place["mean"]

    def _widened(self, widening):
        """Return the objective, and the widening by missing values; None without any."""
        if not widening:
            return self._objective, None
        return replace(self._objective, missing=True), Widening(*widening)


kept_inference = Cache(128)

#: The largest mean of a feature, in units of its scale, at which rows are multiplied
#: before they are centred: three bits are lost.
NEAR_ZERO = 8


class BaseFitted:
    """Compiled functions with the weights and coordinates of one fit.

    A backend's subclass defines `_make` (an inference), `_bind` (weights and
    coordinates), `_call` (a function by its name) and `_tensor` (of an array).

    Parameters
    ----------
    specification : Specification
    weights : dict of str to ndarray
    coordinates : Coordinates
    dtype : dtype of the rows
    """

    def __init__(self, specification, weights, coordinates, dtype):
        name = np.dtype(dtype).name
        inference = kept_inference.get(
            (specification, name), lambda: self._make(specification, name)
        )
        self.batch_rows, self.coordinates = inference.batch_rows, coordinates
        self.specification, self.weights = specification, weights
        self.mean = coordinates.mean.astype(dtype)
        self.scale = np.asarray(coordinates.scale, dtype)
        place = {
            "mean": coordinates.mean,
            "spread": coordinates.scale * coordinates.unit,
            "unit": coordinates.unit,
        }
        if coordinates.rotation is not None:
            place["rotation"] = coordinates.rotation
            place["inverse"] = coordinates.inverse
            place["offset"] = coordinates.offset
        self.inference = inference
        self._bind(
            {key: np.asarray(value, name) for key, value in place.items()},
            {
                path: np.asarray(weights[path], dtype)
                for path, dtype in inference.weights.items()
            },
        )

    def compile(self):
        """Compile the functions of every estimator; raise if the network can't be."""
        for name in ("encode", "decode"):
            self.inference.concrete(name)

    def imputed(self, X):
        """Replace missing values with the linear model's expectation."""
        model = self.coordinates.linear_model
        if model is None or sparse.issparse(X) or not has_nan(X):
            return X
        return model.filled(X)

    def encode(self, X):
        """Compute the codes, of shape (n_samples, n_components), of flat rows."""
        if X.dtype.kind != "f" or self._affine is None:  # whole numbers by batches
            return self._in_batches("encode", X, self._seen)
        kernel, offset = self._affine
        codes = X.astype(self.mean.dtype, copy=False) @ kernel
        codes += offset
        holes = np.isnan(codes).any(axis=1)  # by NaN in a row, or overflow
        if holes.any() and not sparse.issparse(X):
            codes[holes] = self._in_batches("encode", X[holes], self._seen)
        return codes

    @cached_property
    def _affine(self):
        """The kernel and the offset of the code, if it is an affine function of rows.

        None if the network is not affine, or if rows are so far from zero that
        subtracting their mean last would lose digits.
        """
        coordinates, weights = self.coordinates, self.weights
        far = np.abs(coordinates.mean) > NEAR_ZERO * coordinates.scale
        if not self.inference.graph.encodes_linearly or far.any():
            return None
        scale = np.broadcast_to(coordinates.scale, coordinates.mean.shape)
        kernel = weights[f"{LINEAR_CODE}/kernel"] / scale[:, None]
        offset = weights[f"{LINEAR_CODE}/bias"] - coordinates.mean @ kernel
        if coordinates.rotation is not None:
            kernel = kernel @ coordinates.rotation
            offset = (offset - coordinates.offset) @ coordinates.rotation
        return kernel.astype(self.mean.dtype), offset.astype(self.mean.dtype)

    def decode(self, Z):
        """Compute the rows of codes, in their original shape."""
        return self._in_batches("decode", Z, self._tensor)

    def reconstructed(self, X, codes):
        """Compute the flat rows of codes, on the scale of the rows to compare with."""
        output = self.decode(codes).reshape(X.shape)
        return self.specification.objective.likelihood.like(X, output)

    def posterior(self, X):
        """Compute the mean and log-variance of the code of flat rows, before rotation."""
        return self._in_batches("posterior", X, self._seen)

    def losses(self, X, target):
        """Compute the loss of each value of the targets of rows X; 0 where it is NaN."""
        factor, offset = self.specification.objective.units_of_losses(self.coordinates)
        found = self._call("losses", self._standardized(target), self._seen(X))
        return found.astype(np.float64) * factor + offset * ~np.isnan(target)

    def log_weights(self, X, noise):
        """Compute ``log p(x, z) - log q(z | x)`` at draws of the code.

        The units are those of standardised rows.
        """
        if self.coordinates.linear_model is None or not has_nan(X):
            return self._call("log_weights", self._standardized(X), noise)
        found = np.empty((len(noise), len(X)))
        missing = np.isnan(X).any(axis=1)
        whole = self._standardized(X[~missing])
        found[:, ~missing] = self._call("log_weights", whole, noise)
        found[:, missing] = self._widely("wide_log_weights", X[missing], noise)
        return found

    def log_weights_of_features(self, X, noise):
        """Compute log-weights, and each feature's weighted mean log-likelihood."""
        return self._widely("log_weights_of_features", X, noise)

    def expected(self, X, draws):
        """Impute missing values with their expectation, given the observed values.

        Each pass draws codes from the posterior of the rows imputed by the pass before.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        draws : ndarray of shape (n_passes, n_draws, n_components)

        Returns
        -------
        X_imputed : ndarray of the shape of X
        """
        imputed, covariance = self.imputed(X), self._extra_covariance(X)
        x, covariance = self._standardized(X), covariance.astype(X.dtype)
        for noise in draws:
            seen = self._standardized(imputed)
            expected = self._call("expected", x, noise, seen, covariance)
            imputed = np.where(np.isnan(X), expected, X)
        return imputed

    def drawn(self, X, imputed, noise, rng):
        """Draw a code of each row, given its observed values, and decode it.

        Of the draws from the posterior of the imputed row, one is chosen with probability
        ``p(x, z) / q(z | x)``: sampling importance resampling (Rubin 1987).

        Parameters
        ----------
        X, imputed : ndarray of shape (n_samples, n_features)
        noise : ndarray of shape (n_draws, n_components)
        rng : RandomState

        Returns
        -------
        mean : ndarray of shape (n_samples, ...)
            In the units of X.
        """
        seen, covariance = self._standardized(imputed), self._extra_covariance(X)
        wide = seen, covariance.astype(X.dtype)
        log_weights = self._call("wide_log_weights", self._standardized(X), noise, *wide)
        chosen = (log_weights + rng.gumbel(size=log_weights.shape)).argmax(axis=0)
        mean, log_variance = (
            np.float64(found) for found in self._call("posterior", seen)
        )
        covariance = covariance + np.exp(log_variance)[..., None] * np.eye(mean.shape[1])
        root = np.linalg.cholesky(covariance)
        z = mean + np.einsum("nij,nj->ni", root, noise[chosen])
        return self.decode((z @ self.coordinates.rotation).astype(X.dtype))

    def _widely(self, name, X, noise):
        """Call a function of rows whose missing values widen the posterior."""
        seen, covariance = self._seen(X), self._extra_covariance(X).astype(X.dtype)
        return self._call(name, self._standardized(X), noise, seen, covariance)

    def deviation(self, X, log_variance):
        """Compute the standard deviations of codes, which missing values increase."""
        variance = np.exp(log_variance)
        if self._widens and not sparse.issparse(X) and has_nan(X):
            extra = self.coordinates.linear_model.extra_variance(X)
            variance = variance + extra.astype(X.dtype)
        return np.sqrt(variance)

    @property
    def _widens(self):
        """Return True if missing values widen the posterior: not the end of a series."""
        return self.specification.n_extra_variances and self.coordinates.imputes

    def _extra_covariance(self, X):
        """Compute the covariance that missing values add to the code of each row."""
        if self._widens and has_nan(X):
            return self.coordinates.linear_model.extra_covariance(X)
        size = self.inference.graph.decoder.input_shape[-1]
        return np.zeros((len(X), size, size))

    def _seen(self, X):
        """Impute and standardise rows, as the network sees them."""
        return self._standardized(self.imputed(X))

    def _standardized(self, X):
        X = X.astype(self.mean.dtype, copy=False)

        def standardize(out, rows):  # during the copy, at no extra time
            np.subtract(rows, self.mean, out=out)
            np.divide(out, self.scale, out=out)

        return self._tensor(X, standardize)

    def _in_batches(self, name, X, tensor):
        if isinstance(X, np.ndarray) and len(X) <= self.batch_rows:
            return self._call(name, tensor(X))
        found = [
            self._call(name, tensor(X[some].toarray() if sparse.issparse(X) else X[some]))
            for some in gen_batches(X.shape[0], self.batch_rows)
        ]
        if isinstance(found[0], tuple):
            return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
        return np.concatenate(found)
