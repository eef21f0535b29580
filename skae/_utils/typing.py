"""Types of arguments and return values, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import sparray, spmatrix


class Stored(Protocol):
    """Samples that are read in slices, such as arrays of Zarr, HDF5 and Dask."""

    @property
    def shape(self) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any: ...


#: Samples: arrays, lists, frames, sparse matrices and stored arrays.
MatrixLike = ArrayLike | spmatrix | sparray | Stored


class LinearTransformer(Protocol):
    """A fitted transformer of scikit-learn's whose codes are linear in X."""

    def transform(self, X: Any, /) -> Any: ...


Init = Literal["auto", "linear", "random"] | LinearTransformer
RandomState = int | np.random.RandomState | None

LossName = Literal[
    "squared_error",
    "absolute_error",
    "huber",
    "binary_crossentropy",
    "categorical_crossentropy",
    "poisson",
]
LikelihoodName = Literal[
    "auto",
    "gaussian",
    "gaussian_diag",
    "bernoulli",
    "categorical",
    "poisson",
    "negative_binomial",
]
NoiseName = Literal["gaussian", "masking", "salt_and_pepper", "swap"]

#: Pairs of a loss or likelihood, or its name, and its columns.
PairsByColumn = list[tuple[Any, Any]]

#: A method, whose type a decorator does not change.
Method = TypeVar("Method", bound=Callable[..., Any])
