"""What the package says of itself, in several files, is the same in all of them."""

import tomllib
from pathlib import Path

import pytest
import yaml

import skae

ROOT = Path(__file__).parents[1]
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
    users = ",".join(sorted({*extras} - {"all", "docs", "test"}))
    assert extras["all"] == [f"skae[{users}]"]
