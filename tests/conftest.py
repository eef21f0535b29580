"""Set before SciPy is imported, so that no check of scikit-learn's is left out."""

import os

os.environ["SCIPY_ARRAY_API"] = "1"

import pytest


@pytest.fixture
def without_xla(monkeypatch):
    """Train without XLA, which takes three times as long to compile a tiny network."""
    from skae.networks import DenseNetwork, SequenceNetwork

    for network in (DenseNetwork, SequenceNetwork):
        monkeypatch.setattr(network, "jit_compile", False)
