"""Files: a fitted estimator as a zip of JSON and raw arrays, which holds no code."""

import contextlib
import glob
import hashlib
import json
import math
import os
import stat
import struct
import uuid
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

from skae._data.quantiles import N_QUANTILES
from skae._data.table import Column, Table
from skae._estimator.scorer import Moments, Robust
from skae._model.components import Coordinates
from skae._model.graph import Specification
from skae._model.mixture import Mixture
from skae._model.objectives import Denoising, Evidence, Pairs, Reconstruction
from skae._model.shapes import is_seed, weight_shapes
from skae._model.state import State
from skae._starts.imputation import LinearGaussian
from skae._starts.moments import Stream
from skae._version import __version__
from skae.likelihoods import (
    AbsoluteError,
    Bernoulli,
    ByColumn,
    Categorical,
    Gaussian,
    Huber,
    Likelihood,
    NegativeBinomial,
    Poisson,
    SquaredError,
)
from skae.networks import ConvNetwork, DenseNetwork, Network, SequenceNetwork
from skae.networks._base import is_activation
from skae.noise import (
    GaussianNoise,
    MaskingNoise,
    SaltAndPepperNoise,
    SwapNoise,
    TableNoise,
)

#: The format that is written, and the formats that can be read. In format 1 the kinds of
#: values had no "$" before their names.
FORMAT, FORMATS = 2, (1, 2)

#: The member that describes the estimator; all other members are arrays.
DESCRIPTION = "estimator.json"

#: The size of the digest at the end of a file: the SHA-256 of all bytes before it, in
#: hexadecimal digits.
DIGEST_SIZE = 64

DTYPES = {
    "|b1",
    "|i1",
    "|u1",
    *(f"<{kind}" for kind in ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8"]),
}

#: The classes that a file may name, besides estimators: no other objects are ever made.
PARTS = {
    kind.__name__: kind
    for kind in (
        *(State, Specification, Coordinates, LinearGaussian, Stream),
        *(Reconstruction, Denoising, Pairs, Evidence),
        *(DenseNetwork, ConvNetwork, SequenceNetwork),
        *(GaussianNoise, MaskingNoise, SaltAndPepperNoise, SwapNoise, TableNoise),
        *(Table, Column),
        *(Robust, Mixture, Moments),
        *(SquaredError, AbsoluteError, Huber, Gaussian, Bernoulli, Categorical),
        *(Poisson, NegativeBinomial, ByColumn),
    )
}

#: Kinds and parts that had other names in earlier files.
RENAMED = {"Completion": "LinearGaussian", "completion": "linear_model"}

#: Parameters that estimators in earlier files may have and that were removed since.
REMOVED = {"smoothing"}

#: Attributes that are made again from the state.
MADE_AGAIN = {"_built", "network_"}

#: The errors that reading an arbitrary file may raise.
_NOT_READ = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError),
    *(RuntimeError, TypeError, ValueError, struct.error, zipfile.BadZipFile),
)


def write(path, estimator, detector=None):
    """Write a fitted estimator to a file, atomically.

    Parameters
    ----------
    path : str or path-like
    estimator : BaseAutoencoder
    detector : dict or None, default=None
        The parameters and fitted values of a detector around the estimator.

    Raises
    ------
    TypeError
        If a file can't hold an attribute of the estimator; the message names it.
    """
    kind, given, arrays = type(estimator), estimator.get_params(deep=False), {}
    if kind.__module__.partition(".")[0] != "skae":
        raise _not_saved(f"The class {kind.__qualname__}, which is not skae's own,")
    fitted = {
        name: value
        for name, value in vars(estimator).copy().items()
        if name not in given.keys() | MADE_AGAIN
    }
    for name in fitted:
        if not _is_fitted_attribute(name):
            raise _not_saved(f"The attribute {name}")
    description = {
        "format": FORMAT,
        "skae": __version__,
        "estimator": kind.__name__,
        "parameters": _described(given, ("parameters",), arrays),
        "fitted": _described(fitted, ("fitted",), arrays),
    }
    if detector is not None:
        description["detector"] = _described(detector, ("detector",), arrays)
    text = json.dumps(description, indent=1, allow_nan=False)
    with _taking_the_place_of(path) as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = bytes(DIGEST_SIZE)
            archive.writestr(_member(DESCRIPTION), text)
            for name, array in arrays.items():
                archive.writestr(_member(name), array.tobytes("A"))
        size = file.seek(0, os.SEEK_END) - DIGEST_SIZE
        digest = _digest(file, size)
        file.seek(size)
        file.write(digest)


def read(path, estimators, detector):
    """Read a file of `write`, without running or importing anything that it names.

    Parameters
    ----------
    path : str or path-like
    estimators : dict of str to type
        The estimators that the file may name.

    detector : type
        The detector that the file may hold around an estimator.

    Returns
    -------
    estimator : BaseAutoencoder or ReconstructionOutlierDetector

    Raises
    ------
    ValueError
        If the file is damaged, or this version can't read it.
    """
    with open(os.fspath(path), "rb") as file:
        try:
            return _read(file, estimators, detector)
        except _NOT_READ as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"{os.fspath(path)!r} can't be loaded: {reason}") from error


def _read(file, estimators, detector):
    size = file.seek(0, os.SEEK_END) - DIGEST_SIZE
    if size < 0 or _digest(file, size) != file.read():
        raise ValueError("it is damaged, or is not a file that skae has saved.")
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        _check_members(members, archive, size)
        description = json.loads(
            archive.read(members.pop(DESCRIPTION)), parse_constant=_refuse_constant
        )
        if description["format"] not in FORMATS:
            raise ValueError(
                f"its format is {description['format']!r}, and this version of skae reads"
                f" up to {FORMAT}. It was saved by skae {description['skae']}."
            )
        reader = _Reader(archive, members)
        parameters = reader.values(description["parameters"])
        fitted = reader.values(description["fitted"])
        around = reader.values(description.get("detector", {}))
    if members:
        raise ValueError(f"it holds {min(members)!r}, which nothing refers to.")
    if strangers := [name for name in fitted if not _is_fitted_attribute(name)]:
        raise ValueError(f"{strangers} are no fitted attributes.")
    estimator = _made(_kind(description["estimator"], estimators), parameters, fitted)
    if not around:
        return estimator
    _check_detector(around, fitted)
    return detector._loaded(estimator, **around)


def _made(kind, parameters, fitted):
    """Make a fitted estimator, whose parts are checked."""
    for name in (REMOVED & parameters.keys()) - {*kind._get_param_names()}:
        del parameters[name]
    estimator = kind(**parameters)
    estimator._validate_params()
    _check_state(fitted["_state"])
    _check_fitted(fitted)
    made_again = {"_built": {}, "network_": fitted["_state"].specification.network}
    vars(estimator).update(fitted | made_again)
    return estimator


# -- from values to JSON


def _described(values, place, arrays):
    return {name: _plain(value, (*place, name), arrays) for name, value in values.items()}


def _plain(value, place, arrays):
    """Convert a value for JSON: unchanged, or to {kind: content}.

    Parameters
    ----------
    value : object
    place : tuple of str
        The path of the value in the estimator.

    arrays : dict of str to ndarray
        Receives the arrays, by the names of their members.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if kind is list:
        return [_plain(item, (*place, str(i)), arrays) for i, item in enumerate(value)]
    if kind is tuple:
        return {"$tuple": _plain([*value], place, arrays)}
    if kind is slice:
        return {"$slice": _plain([value.start, value.stop, value.step], place, arrays)}
    if kind is dict and all(type(name) is str for name in value):
        return {"$dict": _described(value, place, arrays)}
    if isinstance(value, np.generic) and value.dtype.str in DTYPES:
        return {"$number": [value.dtype.str, _plain(value.item(), place, arrays)]}
    if kind is np.ndarray and value.dtype == object:
        if value.ndim == 1 and all(isinstance(name, str) for name in value):
            return {"$names": [str(name) for name in value]}
    elif kind is np.ndarray and _stored_dtype(value).str in DTYPES:
        return {"$array": _set_apart(value, "/".join(place), arrays)}
    if PARTS.get(kind.__name__) is kind:
        return {f"${kind.__name__}": _described(_content(value), place, arrays)}
    raise _not_saved(f"{'__'.join(place[1:])}={value!r}")


def _content(part):
    """Return the arguments that a part is made from."""
    if is_dataclass(part):
        return {field.name: getattr(part, field.name) for field in fields(part)}
    return part.get_params(deep=False)


def _stored_dtype(array):
    return array.dtype.newbyteorder("<")


def _set_apart(array, name, arrays):
    """Move an array to its own member, and return its description."""
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    array = np.asarray(array, _stored_dtype(array), order="F" if fortran else "C")
    arrays[name] = array
    return {
        "member": name,
        "dtype": array.dtype.str,
        "shape": [*array.shape],
        "order": "F" if fortran else "C",
    }


def _is_fitted_attribute(name):
    public = name.endswith("_") and not name.startswith("_")
    return public or name in ("_state", "_sklearn_output_config")


def _not_saved(what):
    return TypeError(
        f"{what} can't be saved: a file holds numbers, strings, arrays and skae's own"
        " networks, noises and likelihoods, but no code and no other objects. Pickle the"
        " estimator, or save its Keras models, as in encoder_.save('encoder.keras')."
    )


# -- from JSON to values, without trusting the file


class _Reader:
    """A reader of the values in JSON, and of the arrays in members.

    Parameters
    ----------
    archive : ZipFile
    members : dict of str to ZipInfo
        The arrays, by name; they are removed once they are read.
    """

    def __init__(self, archive, members):
        self.archive, self.members = archive, members

    def values(self, stored):
        return {name: self.value(value) for name, value in stored.items()}

    def value(self, stored):
        if isinstance(stored, list):
            return [self.value(item) for item in stored]
        if not isinstance(stored, dict):
            return stored
        ((kind, content),) = stored.items()
        kind = kind.removeprefix("$")
        if kind == "float":
            return float(content)
        if kind == "tuple":
            return tuple(self.value(content))
        if kind == "slice":
            return slice(*self.value(content))
        if kind == "dict":
            return self.values(content)
        if kind == "number":
            dtype, number = content
            return _known(dtype).type(self.value(number))
        if kind == "names":
            return np.array([str(name) for name in content], dtype=object)
        if kind == "array":
            return self.array(**content)
        content = {RENAMED.get(name, name): value for name, value in content.items()}
        return _kind(RENAMED.get(kind, kind), PARTS)(**self.values(content))

    def array(self, member, dtype, shape, order):
        """Read the array in a member; raise if it has not the declared size."""
        if member not in self.members:
            raise ValueError(f"the array {member!r} is missing, or referred to twice.")
        dtype, info = _known(dtype), self.members.pop(member)
        if not _is_shape(shape) or math.prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError(f"{member!r} is not of shape {shape}.")
        array = np.frombuffer(self.archive.read(info), dtype)
        return array.reshape(shape, order=order).astype(dtype.newbyteorder("="))


def _is_shape(shape):
    return all(type(size) is int and size >= 0 for size in shape)


def _known(dtype):
    if dtype not in DTYPES:
        raise ValueError(f"it holds numbers of the kind {dtype!r}.")
    return np.dtype(dtype)


def _kind(name, kinds):
    if name not in kinds:
        raise ValueError(
            f"it holds a {name!r}, which this version of skae does not know."
        )
    return kinds[name]


def _refuse_constant(name):
    raise ValueError(f"it holds {name}, which is no JSON.")


def _check_members(members, archive, size):
    """Raise if members are repeated, compressed, encrypted, or larger than the file."""
    infos = archive.infolist()
    if len(members) != len(infos):
        raise ValueError("it holds two members of one name.")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ValueError(f"{info.filename!r} is compressed or encrypted.")
    if sum(info.file_size for info in infos) > size:
        raise ValueError("it declares more than it holds.")


def _check_state(state):
    """Raise if a part of a state has the wrong type or shape."""
    specification, coordinates = state.specification, state.coordinates
    objective = specification.objective
    for part, kind in (
        (state, State),
        (specification, Specification),
        (specification.network, Network),
        (objective, Reconstruction),
        (objective.likelihood, Likelihood),
        (coordinates, Coordinates),
        (coordinates.linear_model, LinearGaussian | None),
    ):
        if not isinstance(part, kind):
            name = getattr(kind, "__name__", kind)
            raise ValueError(f"it holds {part!r} in the place of a {name}.")
    _check_specification(specification)
    if not _is_shape(specification.row_shape):
        raise ValueError(f"it has rows of shape {specification.row_shape}.")
    flat = (specification.n_features,)
    shapes = {"mean": flat, "scale": flat, "unit": flat}
    if specification.rotates:
        n_components = len(coordinates.offset)
        shapes |= {"rotation": 2 * (n_components,), "offset": (n_components,)}
    for name, shape in shapes.items():
        if not _is(getattr(coordinates, name), shape):
            raise ValueError(f"{name!r} is not of shape {shape}.")
    _check_weights(state)
    _check_arrays(state)


def _check_specification(specification):
    """Raise if a specification does not describe a network."""
    network, objective = specification.network, specification.objective
    network._validate_params()
    for part in (objective.likelihood, getattr(objective, "noise", None)):
        if part is not None:
            part._validate_params()
    n_components, linear = specification.n_components, specification.linear
    counts = n_components is None or (type(n_components) is int and n_components > 0)
    code_activation = specification.code_activation
    if (
        not counts
        or type(linear) is not bool
        or type(objective.missing) is not bool
        or type(specification.seed) is not int
        or (linear and (n_components is None or code_activation != "linear"))
    ):
        raise ValueError("its specification is that of no network.")
    folded = network._row_shape
    if folded is not None and math.prod(folded) != specification.n_features:
        raise ValueError(f"its network takes rows of shape {folded}.")
    names = [code_activation, getattr(network, "activation", "linear")]
    for name in names:
        if not (isinstance(name, str) and is_activation(name)):
            raise ValueError(f"its activation {name!r} is none that Keras knows.")


def _check_fitted(fitted):
    """Raise if the numbers of features and components do not match the network."""
    specification = fitted["_state"].specification
    found = fitted.get("n_features_in_"), fitted.get("n_components_")
    n_features, n_components = specification.row_shape[0], specification.n_components
    table = fitted.get("table_")
    if table is not None:
        _check_table(table, n_features)
        n_features = len(table.columns)
    if type(found[0]) is not int or found[0] != n_features:
        raise ValueError(f"n_features_in_ is {found[0]!r} of rows of {n_features}.")
    right = n_components is None or found[1] == n_components
    if type(found[1]) is not int or found[1] < 1 or not right:
        raise ValueError(f"n_components_ is {found[1]!r}, of {n_components}.")
    names = fitted.get("feature_names_in_")
    if names is not None and np.shape(names) != (n_features,):
        raise ValueError(f"feature_names_in_ are not {n_features} names.")
    _check_samples(fitted, specification)


def _check_samples(fitted, specification):
    """Raise if what samples are drawn by does not match the network."""
    posteriors, quantiles = (fitted.get(f"{one}_") for one in ("posteriors", "quantiles"))
    if posteriors is not None:
        shape = (*np.shape(posteriors)[:1], 2, fitted["n_components_"])
        if not _is(posteriors, shape) or not len(posteriors):
            raise ValueError(f"posteriors_ are not of shape {shape}.")
    if quantiles is not None:
        numbers = specification.objective.likelihood.numbers(specification.n_features)
        shape = N_QUANTILES, len(numbers)
        if not _is(quantiles, shape):
            raise ValueError(f"quantiles_ are not of shape {shape}.")


def _check_table(table, n_features):
    """Raise if an encoded table has not the features of the network."""
    if not isinstance(table, Table) or len(table.names) != n_features:
        raise ValueError(f"table_ is none of {n_features} encoded columns.")


def _check_detector(around, fitted):
    """Raise if what a detector scores rows by does not match its estimator."""
    robust, moments = around["robust"], around["moments"]
    table, shape = fitted.get("table_"), fitted["_state"].specification.row_shape
    shape = shape if table is None else (len(table.columns),)
    if type(around["offset"]) is not float:
        raise ValueError("its threshold is no number.")
    for part, kind in ((robust, Robust | None), (moments, Moments | None)):
        if not isinstance(part, kind):
            raise ValueError(f"it holds {part!r} in the place of a {kind}.")
    if robust is not None:
        moments, codes, width = robust.moments, robust.codes, fitted["n_components_"]
        if not (isinstance(codes, Mixture) and isinstance(moments, Moments)):
            raise ValueError("its detector has no density of codes.")
        n_normals = len(codes.weights)
        _check_shapes(codes, weights=(n_normals,), means=(n_normals, width))
        _check_shapes(codes, roots=(n_normals, width, width))
        _check_shapes(robust, error_variance=shape)
    if moments is not None:
        _check_shapes(moments, mean=(math.prod(shape),), variance=(math.prod(shape),))
        if type(moments.covariance) not in (float, np.float64):
            raise ValueError("its moments have no covariance.")


def _check_shapes(part, **shapes):
    for name, shape in shapes.items():
        if not _is(getattr(part, name), shape):
            raise ValueError(f"{name!r} of its detector is not of shape {shape}.")


def _check_weights(state):
    """Raise if weights do not match the network, before anything of it is built."""
    wanted = weight_shapes(state.specification)
    for path, weight in state.weights.items():
        kind = getattr(getattr(weight, "dtype", None), "kind", None)
        if is_seed(path):
            if kind not in "ui" or weight.shape != (2,):
                raise ValueError(f"{path!r} is no state of a generator.")
        elif path not in wanted:
            raise ValueError(f"it holds {path!r}, which its network does not have.")
        elif kind != "f" or weight.shape != wanted.pop(path):
            raise ValueError(f"{path!r} is not as its network has it.")
    if wanted:
        raise ValueError(f"it lacks {min(wanted)!r}, which its network has.")


def _check_arrays(state):
    """Raise if arrays of the linear model have the wrong shape."""
    n_features = state.specification.n_features
    for coordinates in (state.coordinates, state.origin):
        linear_model = coordinates and coordinates.linear_model
        if linear_model is None:
            continue
        flat, wide = (n_features,), (len(linear_model.loadings), n_features)
        shapes = {"mean": flat, "noise": flat, "loadings": wide, "information": wide}
        for name, shape in shapes.items():
            value = getattr(linear_model, name)
            if not (value is None and name == "information") and not _is(value, shape):
                raise ValueError(f"{name!r} of what is missing is not of shape {shape}.")


def _is(value, shape):
    """Check whether a value is an array of floats of this shape."""
    return (
        isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.shape == shape
    )


# -- bytes


def _member(name):
    """Make a member whose bytes do not depend on the time and the platform."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    return info


def _digest(file, size):
    """Compute the digest of the first bytes of a file, and leave the file after them."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (some := file.read(min(size, 2**20))):
        digest.update(some)
        size -= len(some)
    return digest.hexdigest().encode()


@contextlib.contextmanager
def _taking_the_place_of(path):
    """Open a new file that replaces the file at `path` once it is written completely.

    It gets the mode of the file that it replaces. Unfinished files of a save that was
    killed are removed.
    """
    given, path = path, Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise ValueError(f"path must be that of a file. Got {os.fspath(given)!r}.")
    mark = f".{path.name}."
    new = path.with_name(f"{mark}{os.getpid()}-{uuid.uuid4().hex}{UNFINISHED}")
    try:
        for left in path.parent.glob(f"{glob.escape(mark)}*{UNFINISHED}"):
            if not _is_being_written(left.name.removeprefix(mark)):
                left.unlink(missing_ok=True)
        file = open(new, "x+b")  # noqa: SIM115 (its errors name the path as it was given)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, os.fspath(given)) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            new.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


#: The suffix of a file that is being written.
UNFINISHED = ".skae-tmp"


def _is_being_written(name):
    """Check whether the process that began a file may still write it."""
    process = name.partition("-")[0]
    if not process.isdigit() or os.name != "posix":
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
