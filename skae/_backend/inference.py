"""Inference on every backend: the functions of a graph, and a model that computes them."""

import math
from dataclasses import replace
from functools import cached_property

import keras
import numpy as np
from keras import ops
from scipy import sparse
from sklearn.utils import gen_batches

from skae._backend.cache import Cache, Once
from skae._data.statistics import has_nan
from skae._model.graph import LINEAR_CODE, build
from skae._model.objectives import Widening

#: Values in the widest layer's output that one call may hold.
CALL_VALUES = 2**20


class BaseInference:
    """The functions of a graph, compiled for one dtype and any number of rows.

    Weights and coordinates are arguments, so that one trace serves every fit. A backend's
    own says how it will `_compile` a function, and what the `_slopes` of one are.
    """

    def __init__(self, specification, dtype):
        graph = build(specification, dtype)
        self.dtype = dtype
        self.weights = {path: v.dtype for path, v in graph.variables.items()}
        self.graph, self.compiled = graph, Once()
        rows, codes = graph.encoder.input_shape, graph.decoder.input_shape
        wide = [rows, codes, rows, (None, codes[-1], codes[-1])]
        self.functions = {
            "encode": (self._encode, [rows]),
            "decode": (self._decode, [codes]),
            "posterior": (self._posterior, [rows]),
            "log_weights": (self._log_weights, [rows, codes]),
            "wide_log_weights": (self._log_weights, wide),
            "log_weights_of_features": (self._log_weights_of_features, wide),
            "expected": (self._expected, wide),
        }
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
        """A function of rows, coordinates and weights, compiled at its first use."""
        return self.compiled.of(name, lambda: self._compile(*self.functions[name]))

    def _computed(self, function, inputs, place, weights):
        """What a function gives for these weights, whatever the variables hold."""
        variables = self.graph.variables
        pairs = [(variables[path], weights[path]) for path in variables]
        with keras.StatelessScope(pairs):
            return function(place, *inputs)

    @property
    def _objective(self):
        return self.graph.specification.objective

    def _encode(self, place, x):
        """Components of standardised rows."""
        z = self._objective.point(self.graph.encoder(x, training=False))
        if "rotation" not in place:
            return z
        return ops.matmul(z - place["offset"], place["rotation"])

    def _decode(self, place, z):
        """Rows of components."""
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
        """The weights, and each feature's log-likelihood averaged by them.

        A row's log-likelihood is linear in how much each feature counts, so that its
        slope is that of the feature.
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

    def _expected(self, place, x, noise, *widening):
        objective, widening = self._widened(widening)
        output = objective.expected(self.graph, x, noise, place["unit"], widening)
        return output * place["spread"] + place["mean"]

    def _widened(self, widening):
        """The objective, and what missing values make of the posterior, if there are any."""
        if not widening:
            return self._objective, None
        return replace(self._objective, missing=True), Widening(*widening)


kept_inference = Cache(128)

#: How many scales the mean of a feature may be off zero where its rows are multiplied as
#: they are: three bits are lost.
NEAR_ZERO = 8


class BaseFitted:
    """What is compiled, with the weights and coordinates of one fit.

    A backend's own says how it will `_make` an inference, how it will `_bind` weights and
    coordinates and `_call` a function by its name, and what a `_tensor` of an array is.

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
        """Compile what every estimator needs, which fails if the network can't be."""
        for name in ("encode", "decode"):
            self.inference.concrete(name)

    def imputed(self, X):
        """Replace missing values with what the linear model expects."""
        model = self.coordinates.linear_model
        if model is None or sparse.issparse(X) or not has_nan(X):
            return X
        return model.filled(X)

    def encode(self, X):
        """Codes, of shape (n_samples, n_components), of flat rows."""
        if X.dtype.kind != "f" or self._affine is None:  # whole numbers by batches
            return self._in_batches("encode", X, self._seen)
        kernel, offset = self._affine
        codes = X.astype(self.mean.dtype, copy=False) @ kernel
        codes += offset
        holes = np.isnan(codes).any(axis=1)  # of rows with NaN, and of what overflows
        if holes.any() and not sparse.issparse(X):
            codes[holes] = self._in_batches("encode", X[holes], self._seen)
        return codes

    @cached_property
    def _affine(self):
        """What a code is of a row, a kernel and an offset, where it is that and no more.

        None also where rows are so far from zero that to subtract their mean last would
        cost digits.
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
        """Rows, in their own shape, of codes."""
        return self._in_batches("decode", Z, self._tensor)

    def reconstructed(self, X, codes):
        """Flat rows of codes, on the scale of the rows that they are held against."""
        output = self.decode(codes).reshape(X.shape)
        return self.specification.objective.likelihood.like(X, output)

    def posterior(self, X):
        """Mean and log-variance of the code of flat rows, before it is turned."""
        return self._in_batches("posterior", X, self._seen)

    def log_weights(self, X, noise):
        """``log p(x, z) - log q(z | x)`` at draws of the code, in standardised units."""
        if self.coordinates.linear_model is None or not has_nan(X):
            return self._call("log_weights", self._standardized(X), noise)
        found = np.empty((len(noise), len(X)))
        missing = np.isnan(X).any(axis=1)
        whole = self._standardized(X[~missing])
        found[:, ~missing] = self._call("log_weights", whole, noise)
        found[:, missing] = self._widely("wide_log_weights", X[missing], noise)
        return found

    def log_weights_of_features(self, X, noise):
        """The log-weights, and the log-likelihood of each feature averaged by them."""
        return self._widely("log_weights_of_features", X, noise)

    def expected(self, X, draws):
        """Impute missing values with their expectation given those that are there.

        Each pass draws codes from the posterior of rows as the pass before imputed them.

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

    def _widely(self, name, X, noise):
        """Call a function of rows whose missing values widen the posterior."""
        seen, covariance = self._seen(X), self._extra_covariance(X).astype(X.dtype)
        return self._call(name, self._standardized(X), noise, seen, covariance)

    def deviation(self, X, log_variance):
        """The standard deviations of codes, which missing values make larger."""
        variance = np.exp(log_variance)
        if sparse.issparse(X) or not has_nan(X) or not self._n_extra_variances:
            return np.sqrt(variance + X.dtype.type(0))
        extra = self.coordinates.linear_model.extra_variance(X).astype(X.dtype)
        return np.sqrt(variance + extra)

    @property
    def _n_extra_variances(self):
        return self.specification.n_extra_variances

    def _extra_covariance(self, X):
        """What the missing values of each row add to the covariance of its code."""
        if self._n_extra_variances and has_nan(X):
            return self.coordinates.linear_model.extra_covariance(X)
        size = self.inference.graph.decoder.input_shape[-1]
        return np.zeros((len(X), size, size))

    def _seen(self, X):
        """Rows as the network sees them."""
        return self._standardized(self.imputed(X))

    def _standardized(self, X):
        X = X.astype(self.mean.dtype, copy=False)

        def standardize(out, rows):  # while they are copied, it costs no time
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
