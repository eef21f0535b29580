"""Likelihoods and losses: a distribution around the decoder's output."""

from skae.likelihoods._base import Likelihood
from skae.likelihoods._by_column import ByColumn, from_transformer
from skae.likelihoods._classes import Bernoulli, Categorical
from skae.likelihoods._counts import NegativeBinomial, Poisson
from skae.likelihoods._real import AbsoluteError, Gaussian, Huber, SquaredError

__all__ = [
    "AbsoluteError",
    "Bernoulli",
    "ByColumn",
    "Categorical",
    "Gaussian",
    "Huber",
    "Likelihood",
    "NegativeBinomial",
    "Poisson",
    "SquaredError",
    "from_transformer",
]

for _name in __all__:  # the module that users, pickles and documentation refer to
    globals()[_name].__module__ = __name__
