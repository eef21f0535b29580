"""Folds: models of a fit that have not seen some of its rows, for those who ask."""

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from skae._model.state import State
from skae._training.selection import Candidate

#: Receives the candidates of the next fits of this thread; None where nobody asks.
_ASKED = ContextVar("skae_folds", default=None)


@dataclass(frozen=True)
class Fold:
    """A model of a fit, and the rows that it was not trained on.

    Parameters
    ----------
    state : State
    attributes : dict
        The fitted attributes of the model, by name.

    held_out : ndarray of int
        The places of these rows in X. They have chosen the number of epochs.
    """

    state: State
    attributes: dict
    held_out: np.ndarray


@contextmanager
def collected():
    """Collect the folds of the last fit that is made meanwhile in this thread."""
    folds = []
    token = _ASKED.set(folds)
    try:
        yield folds
    finally:
        _ASKED.reset(token)


def asked():
    """Check whether the caller of a fit asks for its folds."""
    return _ASKED.get() is not None


def candidates_of(program, runs):
    """Return the best candidates of trainings on several splits."""
    found = []
    for run in runs:
        program.turn_to(run.best_bookmark)
        found.append(Candidate(program.weights(), program.coordinates))
    return found


def record(candidates, splits, describe):
    """Describe the models of splits for the caller of the fit.

    Parameters
    ----------
    candidates : list of Candidate
    splits : list of (Rows, Rows)
    describe : callable
        Maps a candidate to a state and fitted attributes.
    """
    folds = _ASKED.get()
    folds.clear()
    for candidate, (_, held_out) in zip(candidates, splits, strict=False):
        if held_out is not None and held_out.index is not None:
            folds.append(Fold(*describe(candidate), held_out.index))
