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
