"""Noises for denoising autoencoders, with parameters to tune."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from skae._utils.keras import reason, symbolic
from skae._utils.params import Tunable
from skae._utils.sklearn import Interval

__all__ = ["GaussianNoise", "MaskingNoise", "Noise", "SaltAndPepperNoise", "SwapNoise"]

#: The seed of the noise that is drawn outside of training.
DRAW_SEED = 20101

#: The smallest float32 at which the inverse error function is finite.
_ABOVE_MINUS_ONE = float(np.nextafter(np.float32(-1), np.float32(0)))


class Noise(Tunable):
    """Base class of the noises, which corrupt the training samples of a denoiser.

    A subclass implements `corrupt`. If it implements `moments` too, a denoiser is
    initialised with the linear model for the expectation over the noise, and otherwise
    with the one for a single draw of the noise.
    """

    def values(self, rows: Any) -> dict[str, Any]:
        """Return the arrays that `corrupt` takes; other values need no new compilation.

        Parameters
        ----------
        rows : Rows
            The training samples, with their `typical_scale`, `low` and `high`.

        Returns
        -------
        values : dict of str to float or ndarray of shape (n_features,)
            The arrays, by names that the subclass chooses; empty by default.
        """
        return {}

    def corrupt(self, x: Any, values: dict[str, Any], seed: Any) -> Any:
        """Add noise to samples, in ``keras.ops``.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            Samples in the units of X; NaN stays NaN.

        values : dict of str to tensor
            The return value of `values`.

        seed : Seed
            A seed generator for the functions of ``keras.random``; its own `uniform` and
            `normal` are faster.

        Returns
        -------
        noisy : tensor of the shape and dtype of x
            The noisy samples.
        """
        raise NotImplementedError

    @property
    def follows_moments(self) -> bool:
        """True if the mean is linear and the variance quadratic in x in `moments`."""
        return False

    def moments(self, x: np.ndarray, values: dict[str, Any]) -> tuple | None:
        """Compute the mean and variance of each noisy value; None if unknown.

        Parameters
        ----------
        x : ndarray of shape (n_samples, n_features)
            Samples in the units of X.

        values : dict of str to float or ndarray
            The return value of `values`.

        Returns
        -------
        mean, variance : ndarrays of the shape of x, or floats
            The moments over the noise; a single None if they are unknown.
        """
        return

    def white_variance(self, values: dict[str, Any]) -> float | None:
        """Return the variance of the noise if it is the same for all values, else None.

        Parameters
        ----------
        values : dict of str to float or ndarray
            The return value of `values`.

        Returns
        -------
        variance : float or None
            In squared units of X.
        """
        return

    def of_table(self, numbers: np.ndarray, classes: list[np.ndarray]) -> Noise:
        """Return the noise of a mixed table.

        Parameters
        ----------
        numbers : ndarray of int
            The columns of the encoded matrix that hold numbers.

        classes : list of ndarray of int
            The columns of the encoded matrix of each category and boolean.

        Returns
        -------
        noise : Noise
            By default this one, which is given the encoded matrix.
        """
        return self

    def draw(self, x: ArrayLike, values: dict[str, Any], step: int = 0) -> np.ndarray:
        """Add noise with a fixed seed to samples, in float64.

        Parameters
        ----------
        x : array-like of shape (n_samples, n_features)
            Samples in the units of X.

        values : dict of str to float or ndarray
            The return value of `values`.

        step : int, default=0
            The index of the draw; each has other noise.

        Returns
        -------
        noisy : ndarray of shape (n_samples, n_features)
            The noisy samples.
        """
        from skae._utils.seed import Seed

        tensors = {name: np.asarray(v, np.float32) for name, v in values.items()}
        noisy = self.corrupt(np.asarray(x, np.float32), tensors, Seed(DRAW_SEED, step))
        return np.asarray(noisy, np.float64)


class GaussianNoise(Noise):
    """Normal noise, added to each value.

    Parameters
    ----------
    level : float, default=0.5
        The standard deviation of the noise.

    relative : bool, default=True
        Whether `level` is in units of the overall standard deviation of X, which is the
        root of the mean variance of its features; otherwise in the units of X.

    clip : (low, high) or None, default=None
        The values to clip noisy samples to, in the units of X.

    Examples
    --------
    >>> from skae import DenoisingAutoencoder
    >>> from skae.noise import GaussianNoise
    >>> DenoisingAutoencoder(noise=GaussianNoise(0.2))
    DenoisingAutoencoder(noise=GaussianNoise(level=0.2))
    """

    _parameter_constraints: dict = {
        "level": [Interval(Real, 0, None, closed="left")],
        "relative": ["boolean"],
        "clip": ["array-like", None],
    }

    def __init__(
        self, level: float = 0.5, *, relative: bool = True, clip: ArrayLike | None = None
    ) -> None:
        self.level = level
        self.relative = relative
        self.clip = clip

    def _validate_params(self):
        super()._validate_params()
        if self.clip is not None:
            self._ends()

    def _key(self):
        return type(self), self.clip is not None

    def values(self, rows: Any) -> dict[str, Any]:
        unit = rows.typical_scale if self.relative else 1.0
        values = {"std": self.level * unit}
        if self.clip is not None:
            values["low"], values["high"] = self._ends()
        return values

    def _ends(self):
        try:
            low, high = map(float, self.clip)
        except (TypeError, ValueError):
            low = high = math.nan
        if not -math.inf < low < high < math.inf:
            raise ValueError(
                "noise: clip must be None or two finite numbers (low, high), low < high."
                f" Got {self.clip!r}."
            )
        return low, high

    def corrupt(self, x: Any, values: dict[str, Any], seed: Any) -> Any:
        from keras import ops

        uniform = seed.uniform(ops.shape(x), low=_ABOVE_MINUS_ONE)
        normal = math.sqrt(2) * ops.erfinv(uniform)
        noisy = x + values["std"] * ops.cast(normal, x.dtype)
        if self.clip is None:
            return noisy
        return ops.clip(noisy, values["low"], values["high"])

    def white_variance(self, values: dict[str, Any]) -> float | None:
        return values["std"] ** 2 if self.clip is None else None

    @property
    def follows_moments(self) -> bool:
        return self.clip is None

    def moments(self, x: np.ndarray, values: dict[str, Any]) -> tuple | None:
        std = values["std"]
        if self.clip is None:
            return x, std**2
        if std == 0:
            return np.clip(x, values["low"], values["high"]), 0.0
        # clipped noise has the moments of a rectified normal distribution
        low, high = (values["low"] - x) / std, (values["high"] - x) / std
        below, above = ndtr(low), ndtr(-high)
        low_density, high_density = _normal_density(low), _normal_density(high)
        mean = low * below + high * above + low_density - high_density
        square = low**2 * below + high**2 * above + 1 - below - above
        square += low * low_density - high * high_density
        return x + std * mean, std**2 * np.maximum(square - mean**2, 0)

    def of_table(self, numbers: np.ndarray, classes: list[np.ndarray]) -> Noise:
        if not self.relative or self.clip is not None:
            raise ValueError(
                "noise: a mixed table has no common unit, so that GaussianNoise needs"
                f" relative=True and clip=None there. Got {self!r}."
            )
        # for which a noisy and a clean value have the same correlation as of numbers
        level = 1 - 1 / math.sqrt(1 + self.level**2)
        return TableNoise(self, numbers, classes, level)


def _normal_density(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


class MaskingNoise(Noise):
    """Masking noise, which replaces values by zero with the probability `level`.

    Parameters
    ----------
    level : float, default=0.5
        The probability that a value is replaced, in [0, 1].

    Examples
    --------
    >>> from skae import DenoisingAutoencoder
    >>> from skae.noise import MaskingNoise
    >>> DenoisingAutoencoder(noise=MaskingNoise(0.2))
    DenoisingAutoencoder(noise=MaskingNoise(level=0.2))
    """

    _parameter_constraints: dict = {"level": [Interval(Real, 0, 1, closed="both")]}

    def __init__(self, level: float = 0.5) -> None:
        self.level = level

    def _key(self):
        return (type(self),)

    def values(self, rows: Any) -> dict[str, Any]:
        return {"level": self.level}

    def corrupt(self, x: Any, values: dict[str, Any], seed: Any) -> Any:
        from keras import ops

        masked = seed.uniform(ops.shape(x)) < ops.cast(values["level"], "float32")
        return ops.where(masked & ~ops.isnan(x), ops.zeros_like(x), x)

    @property
    def follows_moments(self) -> bool:
        return True

    def moments(self, x: np.ndarray, values: dict[str, Any]) -> tuple | None:
        p = values["level"]
        return (1 - p) * x, p * (1 - p) * x**2

    def of_table(self, numbers: np.ndarray, classes: list[np.ndarray]) -> Noise:
        return TableNoise(self, numbers, classes, self.level, masks=True)


class SaltAndPepperNoise(MaskingNoise):
    """Salt-and-pepper noise, which replaces values by the feature's minimum or maximum.

    Parameters
    ----------
    level : float, default=0.5
        The probability that a value is replaced, in [0, 1]; the minimum and the maximum
        are equally likely.

    Examples
    --------
    >>> from skae import DenoisingAutoencoder
    >>> from skae.noise import SaltAndPepperNoise
    >>> DenoisingAutoencoder(noise=SaltAndPepperNoise(0.2))
    DenoisingAutoencoder(noise=SaltAndPepperNoise(level=0.2))
    """

    def values(self, rows: Any) -> dict[str, Any]:
        return {"level": self.level, "low": rows.low, "high": rows.high}

    def corrupt(self, x: Any, values: dict[str, Any], seed: Any) -> Any:
        from keras import ops

        drawn, level = seed.uniform(ops.shape(x)), ops.cast(values["level"], "float32")
        end = ops.where(drawn < level / 2, values["low"], values["high"])
        return ops.where((drawn < level) & ~ops.isnan(x), end, x)

    def moments(self, x: np.ndarray, values: dict[str, Any]) -> tuple | None:
        p, low, high = (values[name] for name in ("level", "low", "high"))
        middle, spread = (low + high) / 2, (high - low) / 2
        mean = (1 - p) * x + p * middle
        return mean, p * (1 - p) * (x - middle) ** 2 + p * spread**2

    def of_table(self, numbers: np.ndarray, classes: list[np.ndarray]) -> Noise:
        return TableNoise(self, numbers, classes, self.level)


class SwapNoise(MaskingNoise):
    """Swap noise, which replaces values by those of other samples.

    Each feature keeps its distribution, whatever it is. In a mixed table, the category of
    another sample replaces a category.

    Parameters
    ----------
    level : float, default=0.15
        The probability that a value is replaced, in [0, 1], by the feature's value of a
        sample of the same batch.

    Examples
    --------
    >>> from skae import DenoisingAutoencoder
    >>> from skae.noise import SwapNoise
    >>> DenoisingAutoencoder(noise=SwapNoise(0.2))
    DenoisingAutoencoder(noise=SwapNoise(level=0.2))
    """

    def __init__(self, level: float = 0.15) -> None:
        super().__init__(level)

    def values(self, rows: Any) -> dict[str, Any]:
        return {"level": self.level, "mean": rows.mean, "variance": rows.variance}

    def corrupt(self, x: Any, values: dict[str, Any], seed: Any) -> Any:
        from keras import ops

        swapped = seed.uniform(ops.shape(x)) < ops.cast(values["level"], "float32")
        other = _of_other_rows(x, seed.uniform(ops.shape(x)))
        return ops.where(swapped & ~ops.isnan(other) & ~ops.isnan(x), other, x)

    def moments(self, x: np.ndarray, values: dict[str, Any]) -> tuple | None:
        p, mean = values["level"], values["mean"]
        variance = p * (1 - p) * (x - mean) ** 2 + p * values["variance"]
        return (1 - p) * x + p * mean, variance

    def of_table(self, numbers: np.ndarray, classes: list[np.ndarray]) -> Noise:
        return TableNoise(self, numbers, classes, self.level)


def _of_other_rows(x, uniform):
    """Return, for each value, that of another row, which a uniform number chooses."""
    from keras import ops

    n = ops.shape(x)[0]
    place = ops.cast(ops.floor(uniform * ops.cast(n, uniform.dtype)), "int32")
    place = ops.minimum(place, ops.cast(n, "int32") - 1)
    return ops.take_along_axis(x, place, axis=0)


class TableNoise(Noise):
    """The noise of a mixed table: one of standardised numbers, and one of classes.

    Parameters
    ----------
    noise : Noise
        The noise of the numbers, each in units of its own standard deviation.

    numbers : array-like of int
        The columns of the encoded matrix that hold numbers.

    classes : list of array-like of int
        The columns of the encoded matrix of each category and boolean.

    level : float
        The probability that a class is replaced.

    masks : bool, default=False
        Whether the frequencies of the classes replace it; otherwise the class of another
        sample does.
    """

    def __init__(self, noise, numbers, classes, level, masks=False):
        self.noise, self.numbers, self.classes = noise, numbers, classes
        self.level, self.masks = level, masks

    def _key(self):
        classes = tuple(tuple(np.asarray(some).tolist()) for some in self.classes)
        numbers = tuple(np.asarray(self.numbers).tolist())
        return type(self), self.noise._key(), numbers, classes, self.masks

    @property
    def _of_classes(self):
        """The columns of all classes, and the place of the class of each."""
        columns = np.concatenate([np.empty(0, int), *map(np.asarray, self.classes)])
        sizes = [len(some) for some in self.classes]
        return columns, np.repeat(np.arange(len(sizes)), sizes)

    def values(self, rows: Any) -> dict[str, Any]:
        numbers = np.asarray(self.numbers, int)
        mean, width = rows.mean, rows.deviation
        X = (np.asarray(rows.array, np.float64) - mean) / width
        inner = self.noise.values(rows.replaced(X[:, numbers])) if len(numbers) else {}
        inner = {f"of_numbers_{name}": value for name, value in inner.items()}
        return {"level": self.level, "mean": mean, "width": width} | inner

    def _inner(self, values):
        start = "of_numbers_"
        return {
            k.removeprefix(start): v for k, v in values.items() if k.startswith(start)
        }

    def corrupt(self, x: Any, values: dict[str, Any], seed: Any) -> Any:
        from keras import ops

        columns, owner = self._of_classes
        numbers = np.asarray(self.numbers, np.int32)
        mean, width = values["mean"], values["width"]
        parts = []
        if len(numbers):
            standard = ops.take((x - mean) / width, numbers, axis=-1)
            noisy = self.noise.corrupt(standard, self._inner(values), seed)
            own = ops.take(width, numbers), ops.take(mean, numbers)
            parts.append(noisy * own[0] + own[1])
        if len(columns):
            clean = ops.take(x, columns.astype(np.int32), axis=-1)
            shape = ops.shape(x)[0], len(self.classes)
            hit = seed.uniform(shape) < ops.cast(values["level"], "float32")
            if self.masks:
                other = ops.take(mean, columns.astype(np.int32))
            else:
                place = ops.take(seed.uniform(shape), owner.astype(np.int32), axis=-1)
                other = _of_other_rows(clean, place)
            hit = ops.take(hit, owner.astype(np.int32), axis=-1)
            parts.append(ops.where(hit, other, clean))
        order = np.argsort(np.concatenate([numbers, columns])).astype(np.int32)
        return ops.take(ops.concatenate(parts, axis=-1), order, axis=-1)


class FunctionNoise(Noise):
    """A function ``noise(x, seed)`` of samples and a seed generator, as a noise."""

    def __init__(self, function):
        self.function = function

    def values(self, rows: Any) -> dict[str, Any]:
        """Return no arrays, but check the function before any training.

        Raises
        ------
        ValueError
            If the function can't be compiled, or makes numbers NaN.
        """
        import keras

        x = rows.filled(2)
        tensor = keras.KerasTensor(x.shape, dtype="float32")
        symbolic(lambda x: self._noisy(x, None), tensor)
        if not np.isfinite(self.draw(x, {})).all():
            raise ValueError(
                f"noise must return finite rows. Got NaN or infinity from {self.function!r}"
                " for rows that have none."
            )
        return {}

    def _noisy(self, x, seed):
        from keras import ops

        from skae._utils.seed import Seed

        seed = Seed(DRAW_SEED) if seed is None else seed
        try:
            return ops.convert_to_tensor(self.function(ops.cast(x, "float32"), seed))
        except Exception as error:
            raise ValueError(
                "noise must be a function noise(x, seed), of a tensor of rows and a seed"
                " generator, that returns noisy rows and is written in keras.ops. Got"
                f" {self.function!r}, which fails: {reason(error)}"
            ) from error

    def corrupt(self, x: Any, values: dict[str, Any], seed: Any) -> Any:
        from keras import ops

        x = ops.convert_to_tensor(x)
        noisy = self._noisy(x, seed)
        if noisy.shape != x.shape:
            raise ValueError(
                f"noise must return rows of the shape that it is given, {x.shape}. Got"
                f" {noisy.shape}."
            )
        return ops.cast(noisy, x.dtype)


#: The noises by name.
NOISES = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepperNoise,
    "swap": SwapNoise,
}
