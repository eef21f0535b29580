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


def test_links_of_the_readme_hold_on_a_package_index():
    links = re.findall(r"\]\(([^)]*)\)", README)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.slow
def test_the_first_code_of_the_readme_runs_when_pasted(tmp_path):
    code, printed = re.findall(r"```(?:python)?\n(.*?)```", README, re.DOTALL)[:2]
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    shown, promised = ran.stdout.split(), printed.split()
    assert shown[::2] == promised[::2]
    for error, said in zip(shown[1::2], promised[1::2], strict=True):
        assert float(error) == pytest.approx(float(said), abs=0.02)
