"""Only the pages are doctested: neither Sphinx' configuration nor what it writes."""

from importlib.util import find_spec

import pytest
from threadpoolctl import threadpool_limits

collect_ignore = ["_extensions", "_build", "api.rst", "conf.py", "gallery", "generated"]
TOOLS = (
    "imblearn",
    "mlflow",
    "optuna",
    "optuna_integration",
    "shap",
    "skops",
    "sqlalchemy",
)
if not all(find_spec(name) for name in TOOLS):  # the extra `tools`
    collect_ignore.append("user_guide/tools.rst")


def pytest_collection_modifyitems(items):
    """What other tools warn of is not ours."""
    for item in items:
        if item.path.name == "tools.rst":
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """What a page writes goes to a folder of its own, and its pictures nowhere."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Without XLA, which compiles for longer than such small models train.

    And on one thread: t-SNE's threads wait for each other where others use the cores.
    """
    from skae.networks import Network

    monkeypatch.setattr(Network, "jit_compile", False)
    with threadpool_limits(1):
        yield
