"""Callbacks: Keras' at fit and epoch boundaries, scikit-learn's, and the progress bar."""

import builtins
import csv
import io
import re
import sys
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer, VAETransformer
from skae.networks import DenseNetwork

keras = pytest.importorskip("keras")

X = load_digits(return_X_y=True)[0][:300]


def fit(*callbacks, **parameters):
    return AutoencoderTransformer(
        3,
        network=DenseNetwork((8,)),
        callbacks=list(callbacks),
        random_state=0,
        **{"max_iter": 3} | parameters,
    ).fit(X)


def test_csv_logger_writes_the_history(tmp_path):
    skae = fit(keras.callbacks.CSVLogger(tmp_path / "log.csv"))
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == pytest.approx(skae.loss_curve_)
    assert [float(row["val_loss"]) for row in rows] == pytest.approx(
        skae.history_["val_loss"]
    )


def test_tensorboard_writes_losses_of_both_kinds(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(keras.callbacks.TensorBoard(tmp_path, histogram_freq=1))
    for kind in ("train", "validation"):
        accumulator = EventAccumulator(str(tmp_path / kind))
        accumulator.Reload()
        assert "epoch_loss" in accumulator.Tags()["tensors"]
        assert len(accumulator.Tensors("epoch_loss")) == 3


def test_model_checkpoint_writes_a_model_on_raw_rows(tmp_path):
    path = tmp_path / "{epoch}.keras"
    skae = fit(keras.callbacks.ModelCheckpoint(path), early_stopping=False)
    loaded = keras.saving.load_model(tmp_path / "3.keras")
    np.testing.assert_allclose(
        loaded(X.astype(np.float32)), skae.reconstruct(X), atol=1e-3
    )


def test_learning_rate_scheduler_sets_the_rate():
    stopped = fit(
        keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3 if epoch == 0 else 0.0),
        early_stopping=False,
        alpha=0,
        shuffle=False,
        tol=0,
    )
    losses = stopped.loss_curve_
    assert losses[1] < losses[0]
    assert losses[2] == pytest.approx(losses[1], rel=1e-6)


def test_lambda_callback_hears_of_each_epoch_and_may_stop():
    heard = []

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    callback = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: heard.append("begin"),
        on_epoch_end=lambda epoch, logs: heard.append((epoch, sorted(logs))),
        on_train_end=lambda logs: heard.append("end"),
    )
    skae = fit(callback, Stop(), max_iter=9)
    assert heard == ["begin", (0, ["loss", "val_loss"]), (1, ["loss", "val_loss"]), "end"]
    assert skae.n_iter_ == 2


def test_early_stopping_of_keras_puts_its_best_weights_back():
    stop = keras.callbacks.EarlyStopping(
        monitor="loss", mode="max", patience=1, restore_best_weights=True
    )
    first = fit(early_stopping=False, max_iter=1)
    skae = fit(stop, early_stopping=False, max_iter=9)
    assert skae.n_iter_ == 2
    np.testing.assert_allclose(skae.score(X), first.score(X), rtol=1e-5)


def test_callbacks_are_copied():
    callback = keras.callbacks.EarlyStopping(monitor="loss")
    fit(callback)
    assert callback.model is None


class OnBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


@pytest.mark.parametrize(
    "callback",
    [
        OnBatch(),
        keras.callbacks.TensorBoard(update_freq="batch"),
        keras.callbacks.ModelCheckpoint("x.keras", save_freq=10),
        keras.callbacks.LambdaCallback(on_train_batch_begin=print),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_of_batches_are_refused_by_name(callback):
    with pytest.raises(ValueError, match=type(callback).__name__):
        fit(callback)


class MlflowCallback(keras.callbacks.Callback):
    """What MLflow's class of this name does."""

    def __init__(self, log_every_epoch=True, log_every_n_steps=None):
        super().__init__()
        self.log_every_epoch = log_every_epoch
        self.log_every_n_steps = log_every_n_steps

    def on_train_begin(self, logs=None):
        self.rate = self.model.optimizer.get_config()["learning_rate"]
        self.model.summary(print_fn=lambda line, *args, **kwargs: None)

    def on_epoch_end(self, epoch, logs=None):
        if self.log_every_epoch:
            LOGGED.append(logs)

    def on_batch_end(self, batch, logs=None):
        raise AssertionError


LOGGED = []


class Subclass(MlflowCallback):
    """One of the user's own, with MLflow's hook."""


@pytest.mark.parametrize("kind", [MlflowCallback, Subclass])
@pytest.mark.parametrize(
    "module", ["mlflow.keras.callback", "mlflow.tensorflow.callback"]
)
def test_a_callback_of_mlflow_that_logs_epochs_is_accepted(kind, module, monkeypatch):
    monkeypatch.setattr(MlflowCallback, "__module__", module)
    LOGGED.clear()
    history = fit(kind()).history_
    assert [logs["loss"] for logs in LOGGED] == history["loss"]
    assert [logs["val_loss"] for logs in LOGGED] == history["val_loss"]
    with pytest.raises(ValueError, match=f"callbacks: {kind.__name__} needs .* batch"):
        fit(kind(log_every_epoch=False, log_every_n_steps=2))


def test_a_class_of_that_name_alone_is_refused():
    with pytest.raises(
        ValueError, match=r"callbacks: MlflowCallback needs .* every batch"
    ):
        fit(MlflowCallback())


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match="callbacks must be a list of Keras callbacks"):
        fit(print)


def shown(text):
    """What a display shows at its ends: what was counted, and the losses by name."""
    text = re.sub("\x1b\\[[?\\d;]*[A-Za-z]", "", text)  # colours, and the cursor's moves
    found = []
    for line in filter(str.strip, text.split("\n")):
        last = line.rsplit("\r", 1)[-1]
        count = re.match(r"[━╸╺ ]+ ([\w, ]+?) (\d+)/(\d+) ", last).groups()
        losses = {name: float(v) for name, v in re.findall(r"(\w+): (\S+)", last)}
        found.append((*count, losses))
    return found


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("in_terminal", [False, True])
@pytest.mark.parametrize("ends_by", ["max_iter", "patience", "splits"])
def test_verbose_shows_the_history(in_terminal, ends_by, monkeypatch, without_xla):
    parameters = {
        "max_iter": {"max_iter": 3},
        "patience": {"max_iter": 50, "n_iter_no_change": 2, "tol": 1e3},
        "splits": {"max_iter": 3, "n_splits": 2},
    }[ends_by]
    out = Terminal() if in_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    skae = fit(**{"n_splits": 1, "init": "linear", "verbose": 1} | parameters)
    assert sys.stdout is out
    last = {name: values[-1] for name, values in skae.history_.items()}
    displays = shown(out.getvalue())
    name, count, most, losses = displays[0]
    assert (name, count) == ("epoch", str(skae.n_iter_))
    assert most == str(parameters["max_iter"])
    for other in displays[1:]:
        assert other[0] == "refit"
        losses |= other[3]
    assert len(displays) == 1 + (ends_by == "splits")
    assert losses == pytest.approx(last, rel=1e-5)
    assert out.getvalue().endswith("\n" if not in_terminal else "\x1b[?25h")
    assert ("\r" in out.getvalue()) == in_terminal


class Handle:
    """What IPython's display returns with a display_id."""

    def __init__(self, data):
        self.shown = [data]

    def update(self, data, *, raw):
        assert raw
        self.shown.append(data)


@pytest.mark.parametrize("n_splits", [1, 2])
def test_a_notebook_has_one_output_for_each_training_that_is_updated(
    n_splits, monkeypatch, capfd, without_xla
):
    handles = []

    def display(data, *, raw, display_id):
        assert raw
        assert display_id
        handles.append(Handle(data))
        return handles[-1]

    shell = type("ZMQInteractiveShell", (), {})()  # by which rich knows a notebook
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    ipython = SimpleNamespace(display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    monkeypatch.setattr("skae._training.progress.LEAST_TIME", 0.0)
    skae = fit(n_splits=n_splits, verbose=1, max_iter=4, n_iter_no_change=np.inf)
    assert len(handles) == n_splits
    found = [shown(data["text/plain"])[0] for data in handles[0].shown[1:-1]]
    assert [(name, count) for name, count, *_ in found] == [
        ("epoch", str(i)) for i in range(1, 5)
    ]
    for (*_, losses), loss in zip(found, skae.history_["loss"], strict=True):
        assert losses["loss"] == pytest.approx(loss, rel=1e-5)
    if n_splits > 1:
        ((*name, losses),) = shown(handles[1].shown[-1]["text/plain"])
        assert name[0] == "refit"
        assert losses == {"refit_loss": pytest.approx(skae.history_["refit_loss"][-1])}
    assert all({*data} == {"text/plain"} for one in handles for data in one.shown)
    assert capfd.readouterr() == ("", "")
    handles.clear()
    monkeypatch.setattr("skae._training.progress.LEAST_TIME", 1e9)
    fit(n_splits=1, verbose=1, max_iter=4)
    assert len(handles[0].shown) == 2  # the begin and the end: no flicker


def test_verbose_shows_both_starts(capfd, without_xla):
    skae = AutoencoderTransformer(2, verbose=1, max_iter=2, n_iter_no_change=np.inf)
    skae.fit(load_digits().data[:1000])
    linear, random = shown(capfd.readouterr().out)
    assert linear[:3] == ("epoch", "2", "2")
    assert random[:3] == ("from random weights, epoch", "2", "2")
    kept = pytest.approx(skae.history_["loss"][-1], rel=1e-5)
    assert linear[3]["loss"] == kept or random[3]["loss"] == kept
    assert linear[3] != random[3]


def test_verbose_counts_the_calls_of_partial_fit(capfd, without_xla):
    skae = fit(verbose=0, max_iter=2)
    assert capfd.readouterr() == ("", "")
    skae.set_params(verbose=1).partial_fit(X)
    ((*count, losses),) = shown(capfd.readouterr().out)
    assert count == ["epoch", "3", "3"]
    assert losses["loss"] == pytest.approx(skae.loss_curve_[2], rel=1e-5)


@pytest.mark.parametrize("call", [2, 5])
def test_a_display_ends_with_a_training_that_fails(call, monkeypatch, without_xla):
    """In the first of two starts, and in the second."""
    from skae._training.epochs import Run

    out, epoch, calls = Terminal(), Run.epoch, []

    def failing(*args):
        calls.append(None)
        if len(calls) == call:
            raise RuntimeError("failed")
        return epoch(*args)

    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(Run, "epoch", failing)
    skae = AutoencoderTransformer(2, verbose=1, max_iter=3, n_iter_no_change=np.inf)
    with pytest.raises(RuntimeError, match="failed"):
        skae.fit(load_digits().data[:1000])
    assert sys.stdout is out
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("rich"):
            thread.join(10)
            assert not thread.is_alive()


# -- where max_iter is too few


@pytest.mark.parametrize(
    ("parameters", "unsettled"),
    [
        ({}, True),
        ({"n_splits": 2}, True),
        ({"early_stopping": False}, True),
        ({"max_iter": 0}, False),
        ({"max_iter": 50, "n_iter_no_change": 2, "tol": 1e3}, False),
        ({"n_iter_no_change": np.inf}, False),
    ],
    ids=str,
)
def test_a_loss_that_has_not_settled_is_warned_of(parameters, unsettled, without_xla):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(**{"n_splits": 1} | parameters)
    found = [w for w in caught if w.category is ConvergenceWarning]
    assert len(found) == unsettled
    if unsettled:
        assert "Maximum iterations (3) reached" in str(found[0].message)
        assert found[0].filename == __file__


def test_who_stops_training_is_not_warned(without_xla):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation")  # Keras' own
        fit(Stop())
        AutoencoderTransformer(3, network=DenseNetwork((8,))).partial_fit(X)


def test_planned_epochs_are_enough(monkeypatch, without_xla):
    from skae._training.defaults import Defaults

    monkeypatch.setattr(Defaults, "of", classmethod(lambda cls, n: cls(1, 1, 0.0, 16, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation")  # Keras' own
        assert fit(max_iter=3).n_iter_ == 2
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(1\) reached"):
        fit(max_iter=1)


def test_scikit_learns_scoring_monitor():
    callback = pytest.importorskip("sklearn.callback")
    monitor = callback.ScoringMonitor(
        scoring=lambda estimator, X, y=None: {"score": estimator.score(X)}
    )
    skae = AutoencoderTransformer(
        3, network=DenseNetwork((8,)), early_stopping=False, max_iter=3, random_state=0
    )
    skae.set_callbacks(monitor).fit(X)
    scores = [
        row["score"] for row in monitor.get_logs().data if row["task_name"] == "epoch"
    ]
    assert len(scores) == 3
    assert scores[-1] == pytest.approx(skae.score(X), rel=1e-6)


def test_scikit_learns_progress_bar(capsys):
    callback = pytest.importorskip("sklearn.callback")
    skae = AutoencoderTransformer(3, network=DenseNetwork((8,)), max_iter=2)
    skae.set_callbacks(callback.ProgressBar()).fit(X)
    assert "AutoencoderTransformer" in capsys.readouterr().out


class Shift(keras.callbacks.Callback):
    """Puts other weights in place when training ends."""

    def on_train_end(self, logs=None):
        self.model.set_weights([w + 0.01 for w in self.model.get_weights()])


def test_weights_that_a_callback_puts_in_place_are_kept():
    """Also where the trained VAE alone would give way to the start of all rows.

    In noise there is nothing to find, whatever the bits of a machine.
    """
    rows = np.random.default_rng(0).normal(size=(300, 12))

    def codes(**parameters):
        plain = {"learning_rate": "constant", "learning_rate_init": 1e-3, "n_splits": 1}
        parameters |= {"likelihood": "gaussian_diag", "batch_size": 200, **plain}
        vae = VAETransformer(4, random_state=9, **parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of components that are not active
            return vae.fit(rows).transform(rows)

    untouched = codes(max_iter=60)
    np.testing.assert_array_equal(untouched, codes(max_iter=0))
    assert np.abs(codes(max_iter=60, callbacks=[Shift()]) - untouched).max() > 0.01
