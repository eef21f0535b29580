"""Trainings side by side: as many as there are cores, with the bits of one by one."""

import os
import signal
import threading

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._backend.pool import Program, compiled, programs
from skae._training import workers
from skae._training.workers import n_cores
from skae.networks import DenseNetwork

DIGITS = load_digits().data[:1200] / 16


def small(cls, seed, **parameters):
    network = DenseNetwork((8,), dropout=0.1)
    return cls(2, network=network, max_iter=4, random_state=seed, **parameters)


@pytest.fixture
def cores(monkeypatch):
    """Set the number of cores, for fits that are all long enough to be worth them."""
    monkeypatch.setattr(workers, "STEPS_SIDE_BY_SIDE", 0)

    def set_to(n):
        monkeypatch.setattr(workers, "n_cores", lambda: n)
        programs.items.clear()
        compiled.clear()

    return set_to


@pytest.fixture
def threads(monkeypatch):
    """The threads in which programs train."""
    epoch, found = Program.epoch, set()

    def call(*args):
        found.add(threading.get_ident())
        return epoch(*args)

    monkeypatch.setattr(Program, "epoch", call)
    return found


@pytest.mark.parametrize(
    ("cls", "by_xla", "n_rows"),
    [
        (AutoencoderTransformer, False, 200),
        (AutoencoderTransformer, False, 1200),
        (AutoencoderTransformer, True, 200),
        (DenoisingAutoencoder, False, 200),
        (DenoisingAutoencoder, False, 1200),
        (VAETransformer, True, 1200),
        pytest.param(AutoencoderTransformer, True, 1200, marks=pytest.mark.slow),
        pytest.param(VAETransformer, True, 200, marks=pytest.mark.slow),
    ],
)
def test_trainings_side_by_side_have_the_bits_of_one_by_one(
    cls, n_rows, by_xla, cores, threads, monkeypatch
):
    """Five splits of 200 rows, two starts from 1,200; what is compiled is compiled once."""
    monkeypatch.setattr(DenseNetwork, "jit_compile", by_xla)
    monkeypatch.setattr(DenseNetwork, "jit_work", 0)
    X, found, n_programs = DIGITS[:n_rows], [], []
    for n in (1, 2):
        cores(n)
        threads.clear()
        found.append(small(cls, 0).fit(X))
        assert len(threads - {threading.get_ident()}) == (0 if n == 1 else 2)
        n_programs.append(len(programs.items))
        assert sum(program.n_traces for program in programs.items.values()) == 2
    assert n_programs == [1, 2]
    one, other = found
    assert one.history_ == other.history_
    assert len(one.history_["loss"]) == 4
    assert_array_equal(one.transform(X), other.transform(X))
    assert_array_equal(one.reconstruct(X), other.reconstruct(X))


def test_all_of_a_team_are_kept_for_the_next(cores, monkeypatch):
    cores(3)
    monkeypatch.setattr(programs, "max_items", 1)
    small(AutoencoderTransformer, 0).fit(DIGITS[:90])
    kept = [*programs.items.values()]
    assert len(kept) == 3
    small(AutoencoderTransformer, 1).fit(DIGITS[:90])
    assert {*map(id, programs.items.values())} == {*map(id, kept)}
    small(AutoencoderTransformer, 0, early_stopping=False, batch_size=8).fit(DIGITS[:90])
    assert len(programs.items) == 1


def test_no_more_side_by_side_than_there_is_to_do(cores, threads):
    cores(64)
    small(AutoencoderTransformer, 0, n_splits=3).fit(DIGITS[:90])
    assert len(programs.items) == 3
    cores(64)
    small(AutoencoderTransformer, 0, early_stopping=False).fit(DIGITS[:90])
    assert len(programs.items) == 1


@pytest.mark.parametrize("limit", ["1", "1,4", "0", "", "many", "4096"])
def test_workers_of_a_search_share_the_cores(limit, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    n = 1 if limit[:1] == "1" or limit == "0" else joblib.cpu_count()
    assert n_cores() == n


def test_joblib_gives_its_workers_their_share(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    n = joblib.cpu_count()
    found = joblib.Parallel(n_jobs=n)(joblib.delayed(n_cores)() for _ in range(n))
    assert found == [1] * n


def test_what_is_shown_of_two_starts_is_shown_one_after_the_other(cores, capsys):
    cores(2)
    small(AutoencoderTransformer, 0, verbose=1).fit(DIGITS)
    names = [line.split("epoch")[0] for line in capsys.readouterr().out.splitlines()]
    assert [name.strip("━╸╺ ") for name in names] == ["", "from random weights,"]


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("n_rows", [200, 1200])
def test_an_interrupt_comes_to_the_threads(n_rows, cores, monkeypatch):
    """Ctrl-C in the midst of two trainings, of which the caller waits for the end."""
    cores(2)
    epoch, calls, n_threads = Program.epoch, [], threading.active_count()

    def call(*args):
        calls.append(None)
        if len(calls) == 7:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return epoch(*args)

    monkeypatch.setattr(Program, "epoch", call)
    skae = small(AutoencoderTransformer, 0, n_iter_no_change=np.inf)
    skae.set_params(max_iter=1000)
    with pytest.warns(UserWarning, match="interrupted by user"):
        skae.fit(DIGITS[:n_rows])
    assert skae.n_iter_ < 100
    assert np.isfinite(skae.transform(DIGITS)).all()
    assert threading.active_count() == n_threads


def test_an_error_in_a_thread_is_the_fits_own_and_ends_the_others(cores, monkeypatch):
    cores(2)
    epoch, calls = Program.epoch, []

    def fail_at_first(*args):
        calls.append(None)
        if len(calls) == 1:
            raise FloatingPointError("of an epoch")
        return epoch(*args)

    monkeypatch.setattr(Program, "epoch", fail_at_first)
    skae = small(AutoencoderTransformer, 0, n_iter_no_change=np.inf)
    skae.set_params(max_iter=1000)
    with pytest.raises(FloatingPointError, match="of an epoch"):
        skae.fit(DIGITS)
    assert len(calls) < 10
    assert not hasattr(skae, "history_")
