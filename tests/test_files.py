"""Files: what they give back, what they refuse, and what becomes of them if things go wrong."""

import hashlib
import inspect
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

import skae
from skae import (
    AutoencoderTransformer,
    DenoisingAutoencoder,
    VAETransformer,
    _load,
    likelihoods,
    networks,
    noise,
)
from skae._estimator import files
from skae._model import objectives
from skae._model.shapes import is_seed, weight_shapes
from skae.likelihoods import Gaussian
from skae.networks import ConvNetwork, CustomNetwork, DenseNetwork, SequenceNetwork
from skae.noise import GaussianNoise, SaltAndPepperNoise

DIGITS = load_digits().data[:90] / 16
SERIES = DIGITS.reshape(-1, 8, 8).copy()
SERIES[::3, 6:] = np.nan
DENSE = DenseNetwork(np.array([6]), batch_normalization=True)
CONV = ConvNetwork((8, 8, 1), filters=(2, 2))
SEQUENCE = SequenceNetwork((8, 8), units=3)
CASES = {
    "dense": (AutoencoderTransformer(2, network=DENSE, whiten=True), DIGITS),
    "conv": (AutoencoderTransformer(None, network=CONV), DIGITS.astype(np.float32)),
    "sequence": (AutoencoderTransformer(2, network=SEQUENCE), SERIES),
    "denoising-dense": (
        DenoisingAutoencoder(
            2, network=DENSE, noise=GaussianNoise(0.2, clip=(0, np.float32(1)))
        ),
        DIGITS,
    ),
    "denoising-conv": (
        DenoisingAutoencoder(2, network=CONV, noise=SaltAndPepperNoise(0.1)),
        DIGITS,
    ),
    "denoising-sequence": (DenoisingAutoencoder(2, network=SEQUENCE), SERIES),
    "vae-dense": (VAETransformer(2, network=DENSE, likelihood="gaussian_diag"), DIGITS),
    "vae-conv": (VAETransformer(2, network=CONV, likelihood="bernoulli"), DIGITS),
    "vae-sequence": (VAETransformer(2, network=SEQUENCE, likelihood=Gaussian()), SERIES),
}


def answers(estimator, X):
    """All that a fitted estimator says of rows, as arrays by name."""
    codes = estimator.transform(X)
    found = {
        "codes": codes,
        "rows": estimator.inverse_transform(codes),
        "score": np.array(estimator.score(X)),
        "parameters": np.array(repr(estimator.get_params())),
    }
    names = [name for name in vars(estimator) if name.endswith("_")]
    names = [name for name in names if isinstance(getattr(estimator, name), np.ndarray)]
    return found | {name: getattr(estimator, name) for name in names}


@pytest.fixture(scope="module")
def fitted():
    with pytest.MonkeyPatch.context() as patch:
        for network in (DenseNetwork, SequenceNetwork):
            patch.setattr(network, "jit_compile", False)
        yield {
            name: clone(estimator)
            .set_params(max_iter=1, early_stopping=False, random_state=0)
            .fit(X)
            for name, (estimator, X) in CASES.items()
        }


@pytest.fixture(scope="module")
def path(fitted, tmp_path_factory):
    """The file of an estimator, to read and not to change."""
    path = tmp_path_factory.mktemp("file") / "dense.skae"
    fitted["dense"].save(path)
    return path


def run(script, *args):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)], capture_output=True, text=True
    )
    assert done.returncode in (0, -9), done.stderr
    return done


# -- there and back


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_bits(fitted, tmp_path):
    for name, estimator in fitted.items():
        estimator.save(tmp_path / f"{name}.skae")
        np.save(tmp_path / f"{name}.npy", CASES[name][1])
    script = f"""if True:
        import sys
        from pathlib import Path
        import numpy as np
        import skae
        loaded = {{path: skae.load(path) for path in Path(sys.argv[1]).glob("*.skae")}}
        assert not {{"keras", "tensorflow"}} & {{*sys.modules}}
        {inspect.getsource(answers).replace(chr(10), chr(10) + 8 * " ")}
        for path, estimator in loaded.items():
            X = np.load(path.with_suffix(".npy"))
            np.savez(path.with_suffix(".npz"), **answers(estimator, X))
        """
    run(script, tmp_path)
    for name, estimator in fitted.items():
        expected = answers(estimator, CASES[name][1])
        with np.load(tmp_path / f"{name}.npz") as found:
            assert {*found} == {*expected}
            for key, array in found.items():
                assert array.dtype == expected[key].dtype
                assert_array_equal(array, expected[key], err_msg=f"{name}: {key}")


@pytest.mark.parametrize("name", ["dense", "vae-conv"])
def test_what_is_loaded_is_what_was_saved(fitted, tmp_path, name):
    estimator = fitted[name]
    estimator.save(tmp_path / "one")
    loaded = skae.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert loaded.history_ == estimator.history_
    assert loaded.n_iter_ == estimator.n_iter_
    assert vars(loaded).keys() == vars(estimator).keys()
    for name, value in vars(estimator).items():
        assert type(vars(loaded)[name]) is type(value)


def test_a_loaded_estimator_goes_on(fitted, tmp_path):
    one = clone(fitted["dense"]).partial_fit(DIGITS)
    one.save(tmp_path / "file")
    two = skae.load(tmp_path / "file")
    assert one.partial_fit(DIGITS).loss_ == two.partial_fit(DIGITS).loss_
    assert_array_equal(one.transform(DIGITS), two.transform(DIGITS))


def test_names_and_output_are_kept(fitted, tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(DIGITS, columns=[f"pixel {i}" for i in range(64)])
    estimator = clone(fitted["dense"]).set_params(max_iter=0).fit(frame)
    estimator.set_output(transform="pandas").save(tmp_path / "file")
    loaded = skae.load(tmp_path / "file")
    assert_array_equal(loaded.feature_names_in_, frame.columns)
    pd.testing.assert_frame_equal(loaded.transform(frame), estimator.transform(frame))


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.1),
        np.int64(3),
        np.bool_(True),
        -np.inf,
        (1, [2.5, None]),
        slice(1, 3),
    ],
    ids=repr,
)
def test_values_come_back_as_they_were(value):
    stored = json.loads(json.dumps(files._plain(value, (), {}), allow_nan=False))
    found = files._Reader(None, {}).value(stored)
    assert type(found) is type(value)
    assert found == value


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", [">f8", "<f4", "i8", "?"])
def test_arrays_come_back_as_they_were(fitted, tmp_path, dtype, order):
    estimator = clone(fitted["dense"]).set_params(max_iter=0).fit(DIGITS)
    estimator.extra_ = np.asarray(DIGITS[:3, 20:24].round(1), dtype, order=order)
    estimator.empty_ = np.zeros((0, 3), dtype)
    estimator.save(tmp_path / "file")
    loaded = skae.load(tmp_path / "file")
    assert_array_equal(loaded.extra_, estimator.extra_)
    assert loaded.extra_.dtype == estimator.extra_.dtype.newbyteorder("=")
    assert loaded.extra_.flags.f_contiguous == (order == "F")
    assert loaded.empty_.shape == (0, 3)
    assert loaded.extra_.flags.writeable


def test_a_file_of_the_first_version_loads():
    """Made by DenseNetwork((4,)) on all digits / 16 in float32, from random_state=0."""
    loaded = skae.load(Path(__file__).parent / "data" / "autoencoder-1.skae")
    assert_allclose(loaded.transform(DIGITS[:3]), FIRST_CODES, rtol=1e-6)


FIRST_CODES = [
    [0.5349322557449341, -1.3174164295196533, 0.6379417181015015],
    [0.3355969488620758, 1.2090924978256226, -0.418224960565567],
    [0.35414013266563416, 0.7649520039558411, -0.227829709649086],
]


def test_every_public_class_is_known_or_refused():
    refused = {CustomNetwork, noise.FunctionNoise}
    bases = {networks.Network, noise.Noise, likelihoods.Likelihood, objectives.Noisy}
    for module in (networks, noise, likelihoods, objectives):
        for kind in vars(module).values():
            base = (*bases, objectives.Reconstruction)
            if isinstance(kind, type) and issubclass(kind, base):
                known = files.PARTS.get(kind.__name__) is kind
                assert known != (kind in refused | bases), kind
    assert {"load", "__version__", *_load.ESTIMATORS} == {*skae.__all__}


# -- what is refused


def shifted(x):
    return x


class Mine(AutoencoderTransformer):
    pass


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"network": DenseNetwork((4,), activation=shifted)}, "network__activation="),
        ({"network": CustomNetwork(shifted, shifted)}, "network=CustomNetwork"),
        ({"random_state": np.random.RandomState(0)}, "random_state="),
        ({"optimizer": "keras.optimizers.Adam()"}, "optimizer="),
        ({"callbacks": "[keras.callbacks.TerminateOnNaN()]"}, "callbacks__0="),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_data_is_refused_by_name(fitted, tmp_path, parameters, name):
    import keras

    parameters = {
        key: eval(value, {"keras": keras}) if isinstance(value, str) else value
        for key, value in parameters.items()
    }
    estimator = pickle.loads(pickle.dumps(fitted["dense"])).set_params(**parameters)
    with pytest.raises(TypeError, match=rf"(?s)^{name}.*can't be saved.*Pickle"):
        estimator.save(tmp_path / "file")
    assert not [*tmp_path.iterdir()]


def test_other_refusals(fitted, tmp_path):
    with pytest.raises(NotFittedError):
        AutoencoderTransformer().save(tmp_path / "file")
    mine = Mine(max_iter=0, network=DenseNetwork((4,))).fit(DIGITS)
    with pytest.raises(TypeError, match=r"class Mine.* can't be saved"):
        mine.save(tmp_path / "file")
    noisy = clone(fitted["denoising-dense"]).set_params(noise=lambda x, seed: x)
    with pytest.raises(TypeError, match=r"noise=<function.* can't be saved"):
        noisy.set_params(max_iter=0).fit(DIGITS).save(tmp_path / "file")
    other = pickle.loads(pickle.dumps(fitted["dense"]))
    other._more = 1
    with pytest.raises(TypeError, match="attribute _more can't be saved"):
        other.save(tmp_path / "file")
    with pytest.raises(ValueError, match="max_iter"):
        other.set_params(max_iter=-1).save(tmp_path / "file")
    with pytest.raises(ValueError, match="path must be that of a file"):
        fitted["dense"].save(tmp_path)
    assert not [*tmp_path.iterdir()]
    with pytest.raises(FileNotFoundError):
        skae.load(tmp_path / "file")


# -- damage and malice


def loads(data, tmp_path):
    path = tmp_path / "changed.skae"
    path.write_bytes(data)
    return skae.load(path)


def test_no_byte_is_without_meaning(path, tmp_path):
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.choice(len(data), 1000, replace=False):
        changed = bytearray(data)
        changed[place] ^= rng.integers(1, 256)
        with pytest.raises(ValueError, match="damaged"):
            loads(changed, tmp_path)
    for size in rng.choice(len(data), 200, replace=False):
        with pytest.raises(ValueError, match="damaged"):
            loads(data[:size], tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        loads(data + b"\0", tmp_path)


def signed(data):
    data = data[: -files.DIGEST_SIZE]
    return bytes(data) + hashlib.sha256(data).hexdigest().encode()


def test_damage_that_is_signed_is_an_error_or_an_estimator(path, tmp_path):
    data, rng = path.read_bytes(), np.random.default_rng(1)
    n_refused = 0
    for place in rng.choice(len(data) - files.DIGEST_SIZE, 1000, replace=False):
        changed = bytearray(data)
        changed[place] ^= rng.integers(1, 256)
        try:
            loads(signed(changed), tmp_path)
        except ValueError:
            n_refused += 1
    assert n_refused > 900  # others change the date of a member, or the like


def forged(path, change=lambda description: None, more=(), **options):
    """A file with another description, and more members, that is whole all the same."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(file, "w", **options) as new:
        new.comment = bytes(files.DIGEST_SIZE)
        description = json.loads(archive.read(files.DESCRIPTION))
        text = change(description) or json.dumps(description)
        new.writestr(files.DESCRIPTION, text)
        for name in archive.namelist()[1:]:
            new.writestr(name, archive.read(name))
        for name, content in more:
            new.writestr(name, content)
    return signed(file.getvalue())


def state_of(description):
    return description["fitted"]["_state"]["$State"]


def array_of(description):
    return description["fitted"]["mean_"]["$array"]


FORGERIES = {
    "a class": (
        lambda d: d["parameters"].update(network={"CustomNetwork": {}}),
        "holds a 'CustomNetwork'",
    ),
    "a module": (
        lambda d: d["parameters"].update(noise={"os.system": {"command": "ls"}}),
        "holds a 'os.system'",
    ),
    "an estimator": (lambda d: d.update(estimator="Pipeline"), "holds a 'Pipeline'"),
    "a version": (lambda d: d.update(format=3), "its format is 3, and this version"),
    "a parameter": (lambda d: d["parameters"].update(power=9), "power"),
    "a value": (lambda d: d["parameters"].update(alpha=-1), "'alpha' parameter"),
    "a type": (lambda d: d["parameters"].update(loss=7), "'loss' parameter"),
    "a part": (
        lambda d: state_of(d).update(specification=state_of(d)["coordinates"]),
        "",
    ),
    "a method": (lambda d: d["fitted"].update(transform=1), "'transform'"),
    "objects": (lambda d: array_of(d).update(dtype="|O"), r"kind '\|O'"),
    "a struct": (lambda d: array_of(d).update(dtype="V8"), "kind 'V8'"),
    "gigabytes": (lambda d: array_of(d).update(shape=[10**12]), "not of shape"),
    "a product": (lambda d: array_of(d).update(shape=[10**12, "x"]), "not of shape"),
    "less than none": (lambda d: array_of(d).update(shape=[-8, -8]), "not of shape"),
    "no room": (lambda d: array_of(d).update(shape=[0, 10**30]), "not of shape"),
    "another member": (lambda d: array_of(d).update(member="/etc/passwd"), "is missing"),
    "a member twice": (
        lambda d: d["fitted"].update(
            components_={"$array": {**array_of(d), "member": "fitted/mean_"}}
        ),
        "referred to twice",
    ),
    "infinity": (lambda d: '{"format": Infinity}', "Infinity"),
    "depth": (lambda d: '{"format": ' + 100_000 * "[" + 100_000 * "]" + "}", ""),
    "a big number": (lambda d: '{"format": ' + 10_000 * "1" + "}", ""),
    "no description": (lambda d: "[]", ""),
    "not text": (lambda d: b"\xff\xfe", ""),
    "no state": (lambda d: d["fitted"].pop("_state"), ""),
    "another state": (lambda d: d["fitted"].update(_state=1), ""),
    "rows": (
        lambda d: state_of(d)["specification"]["$Specification"].update(
            row_shape=[10**12, "x"]
        ),
        "rows of shape",
    ),
}


def specification_of(description):
    return state_of(description)["specification"]["$Specification"]


def network_of(description):
    return specification_of(description)["network"]["$DenseNetwork"]


OF_THE_NETWORK = {
    "larger layers": lambda d: network_of(d).update(hidden_layer_sizes=[3000]),
    "more layers": lambda d: network_of(d).update(hidden_layer_sizes=[6, 6]),
    "no normalization": lambda d: network_of(d).update(batch_normalization=False),
    "another activation": lambda d: network_of(d).update(activation="nonsense"),
    "more components": lambda d: specification_of(d).update(n_components=3),
    "no linear path": lambda d: specification_of(d).update(linear=False),
    "another code": lambda d: specification_of(d).update(code_activation="relu"),
    "a list for a flag": lambda d: specification_of(d).update(linear=[]),
    "other features": lambda d: d["fitted"].update(n_features_in_=3000),
    "other columns": lambda d: d["fitted"].update(n_components_="two"),
}


@pytest.mark.parametrize("change", OF_THE_NETWORK.values(), ids=OF_THE_NETWORK)
def test_weights_are_held_against_the_network_before_it_is_built(path, tmp_path, change):
    """By `load` alone, and not by whatever TensorFlow says of them later."""
    with pytest.raises(ValueError, match=r"changed\.skae' can't be loaded"):
        loads(forged(path, lambda d: kept(change(d))), tmp_path)


ARCHITECTURES = [
    DenseNetwork((5, 4)),
    DenseNetwork(()),
    DenseNetwork((5,), batch_normalization=True, dropout=0.1),
    DenseNetwork((4,), encoder_layer_sizes=()),
    ConvNetwork((6, 4, 1), filters=(3, 2)),
    ConvNetwork((6, 4, 1), filters=()),
    ConvNetwork((12, 2), filters=(3, 2), downsampling="strides", kernel_size=2),
    ConvNetwork((2, 3, 2, 2), filters=(3,), kernel_size=(2, 1, 3)),
    SequenceNetwork((12, 2), units=3),
    SequenceNetwork((12, 2), units=3, cell="gru", bidirectional=True, head="recurrent"),
]


@pytest.mark.parametrize("network", ARCHITECTURES, ids=str)
@pytest.mark.parametrize("n_components", [2, None])
@pytest.mark.parametrize("init", ["auto", "random"])
def test_the_shapes_of_weights_are_known_without_keras(network, n_components, init):
    X = DIGITS[:40, :24]
    for kind in (AutoencoderTransformer, VAETransformer):
        model = kind(n_components, network=network, init=init, max_iter=0).fit(X)
        state = model._state
        found = {p: w.shape for p, w in state.weights.items() if not is_seed(p)}
        assert weight_shapes(state.specification) == found


def test_saving_over_a_file_keeps_its_mode(tmp_path):
    model, path = AutoencoderTransformer(2, max_iter=0).fit(DIGITS), tmp_path / "a.skae"
    model.save(path)
    path.chmod(0o600)
    model.save(path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="processes are told by their number")
def test_what_a_killed_save_leaves_is_cleared_by_the_next(tmp_path):
    script = f"""if True:
        import os, signal
        import numpy as np
        from skae import AutoencoderTransformer
        from skae._estimator import files
        model = AutoencoderTransformer(2, max_iter=0).fit(np.eye(6))
        files.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
        model.save({str(tmp_path / "a.skae")!r})
        """
    subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    (left,) = tmp_path.iterdir()
    ours = tmp_path / f".a.skae.{os.getpid()}-0{files.UNFINISHED}"
    ours.touch()  # of a thread of ours, which is still writing
    model = AutoencoderTransformer(2, max_iter=0).fit(DIGITS)
    model.save(tmp_path / "a.skae")
    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.skae", ours.name}


def test_errors_name_the_path_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = AutoencoderTransformer(2, max_iter=0).fit(DIGITS)
    with pytest.raises(FileNotFoundError, match=r"'nowhere/a\.skae'"):
        model.save("nowhere/a.skae")
    Path("folder").mkdir()
    with pytest.raises(ValueError, match="Got 'folder'"):
        model.save("folder")
    with pytest.raises(FileNotFoundError, match=r"'b\.skae'"):
        skae.load("b.skae")
    for wrong in (5, None, 1.5):
        with pytest.raises(TypeError, match=r"os\.PathLike"):
            skae.load(wrong)


@pytest.mark.parametrize(("change", "message"), FORGERIES.values(), ids=FORGERIES)
def test_forgeries_are_refused(path, tmp_path, change, message):
    with pytest.raises(ValueError, match=rf"changed.skae' can't be loaded: .*{message}"):
        loads(forged(path, lambda d: kept(change(d))), tmp_path)


def kept(changed):
    return changed if isinstance(changed, (str, bytes)) else None


def test_other_archives_are_refused(path, tmp_path):
    assert_array_equal(
        loads(forged(path), tmp_path).transform(DIGITS), skae.load(path).transform(DIGITS)
    )
    with pytest.raises(ValueError, match=r"'\.\./\.\./evil', which nothing refers to"):
        loads(forged(path, more=[("../../evil", b"x")]), tmp_path)
    bomb = forged(path, more=[("bomb", bytes(10**7))], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed"):
        loads(bomb, tmp_path)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = forged(path, more=[("fitted/mean_", bytes(512))])
    with pytest.raises(ValueError, match="two members"):
        loads(twice, tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        loads(b"", tmp_path)
    with pytest.raises(ValueError, match="can't be loaded"):
        loads(signed(bytes(200)), tmp_path)
    assert not (tmp_path.parent.parent / "evil").exists()


# -- saving goes wrong


SAVE = """if True:
    import os, resource, signal, sys
    import skae
    estimator = skae.load(sys.argv[1])
    estimator.mean_ += 1
"""


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_process_killed_while_saving_leaves_the_old_file(path, tmp_path, function):
    old = tmp_path / "old.skae"
    old.write_bytes(path.read_bytes())
    kill = f"    os.{function} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    done = run(SAVE + kill + "    estimator.save(sys.argv[1])\n", old)
    assert done.returncode == -9
    assert old.read_bytes() == path.read_bytes()


def test_a_full_disk_leaves_the_old_file(path, tmp_path):
    """A file may grow to 8,192 bytes, of which the kernel then writes no more."""
    old = tmp_path / "old.skae"
    old.write_bytes(path.read_bytes())
    assert old.stat().st_size > 8192
    script = SAVE + (
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "    try:\n"
        "        estimator.save(sys.argv[1])\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
    )
    assert "File too large" in run(script, old).stdout
    assert old.read_bytes() == path.read_bytes()
    assert [*tmp_path.iterdir()] == [old]


def test_a_file_has_the_rights_of_any_other(fitted, tmp_path):
    fitted["dense"].save(tmp_path / "one")
    (tmp_path / "two").touch()
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "two").stat().st_mode
    (tmp_path / "link").symlink_to(tmp_path / "two")
    fitted["dense"].save(str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


def test_names_of_earlier_files_are_read(tmp_path):
    path = tmp_path / "vae.skae"
    vae = VAETransformer(2, max_iter=0).fit(DIGITS)
    vae.save(path)

    def earlier(description):
        description["parameters"]["smoothing"] = "auto"
        content = state_of(description)["coordinates"]["$Coordinates"]
        model = content.pop("linear_model")
        content["completion"] = {"$Completion": model["$LinearGaussian"]}

    loaded = loads(forged(path, earlier), tmp_path)
    assert "smoothing" not in loaded.get_params()
    missing = np.where(np.arange(DIGITS.shape[1]) % 7 == 0, np.nan, DIGITS)
    assert_array_equal(loaded.transform(missing), vae.transform(missing))
