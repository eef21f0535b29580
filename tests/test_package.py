"""What the package says of itself, in several files, is the same in all of them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import skae

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read(path):
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


@pytest.mark.parametrize(
    "described", [read("CITATION.cff"), read("conda/recipe.yaml")["package"]]
)
def test_the_version_is_everywhere(described):
    assert described["version"] == skae.__version__


def test_the_recipe_needs_what_the_package_needs():
    needed = read("conda/recipe.yaml")["requirements"]["run"]
    python, *others = (one.replace(" ", "") for one in needed)
    assert python == f"python{PROJECT['requires-python']}"
    assert others == PROJECT["dependencies"]


def test_all_is_all_that_users_have():
    extras = PROJECT["optional-dependencies"]
    users = ",".join(sorted({*extras} - {"all", "check", "docs", "test", "tools"}))
    assert extras["all"] == [f"skae[{users}]"]


def test_the_lines_for_jax_install_all_but_tensorflow():
    page = (ROOT / "docs/getting_started.rst").read_text("utf-8")
    installed, alone = re.findall(r"\$ .venv/bin/pip install (.*)\n", page)[1:]
    (of_jax,) = PROJECT["optional-dependencies"]["jax"]
    named = {re.match("[a-z-]+", one)[0] for one in [*PROJECT["dependencies"], of_jax]}
    come_with_others = {"numpy", "scipy"}
    assert {*installed.split()} == named - {"tensorflow"} - come_with_others
    assert alone == "--no-deps ."


#: A fit where TensorFlow is not installed, as far as an import can tell.
WITHOUT_TENSORFLOW = """
import sys
import numpy as np
import skae
sys.modules["tensorflow"] = None
X = np.random.default_rng(0).normal(size=(60, 4))
try:
    model = skae.AutoencoderTransformer(2, max_iter=2, n_splits=1, random_state=0)
    print(model.fit(X).transform(X).shape)
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("backend", "who"),
    [
        (None, "Keras runs on 'tensorflow' unless KERAS_BACKEND is set"),
        ("tensorflow", "KERAS_BACKEND is set to 'tensorflow'"),
    ],
)
def test_without_a_backend_both_ways_are_named(backend, who, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))  # without a configuration file
    if backend is not None:
        monkeypatch.setenv("KERAS_BACKEND", backend)
    said = " ".join(run(WITHOUT_TENSORFLOW, tmp_path))
    assert said.startswith("ImportError skae needs TensorFlow or JAX")
    assert f"{who}, but tensorflow is not installed" in said
    assert "`pip install tensorflow`" in said
    assert "`pip install jax`, and set KERAS_BACKEND=jax" in said


def test_jax_runs_without_tensorflow(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    code = "import warnings; warnings.simplefilter('ignore')\n" + WITHOUT_TENSORFLOW
    assert run(code, tmp_path) == ["(60,", "2)"]


def test_links_of_the_readme_lead_to_files_of_the_repository():
    """Its picture shows before there is a release, and in a clone without a network."""
    links = re.findall(r"\]\(([^)]*)\)", README)
    inside = [link for link in links if not link.startswith("https://")]
    assert "docs/images/quickstart.png" in inside
    assert [link for link in inside if not (ROOT / link).exists()] == []


def run(code, folder):
    """Run code in a fresh process, and return what it prints, by words."""
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def number(word):
    try:
        return float(word)
    except ValueError:
        return None


@pytest.mark.slow
def test_the_code_of_the_readme_runs_when_pasted(tmp_path):
    ((code, printed),) = re.findall(
        r"```python\n(.*?)```\s*```\n(.*?)```", README, re.DOTALL
    )
    for shown, promised in zip(run(code, tmp_path), printed.split(), strict=True):
        if number(promised) is None:
            assert shown == promised
        else:
            assert float(shown) == pytest.approx(float(promised), abs=1.0, nan_ok=True)
