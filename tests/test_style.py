"""Ruff's lint and format are part of the tests, and so is what the guide says of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_ruff(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", str(ROOT)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_guarantees_are_tested():
    page = (ROOT / "docs/user_guide/guarantees.rst").read_text("utf-8")
    files = (ROOT / "tests").glob("test_*.py")
    known = {
        name
        for path in files
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)
    }
    named = re.findall(r"``(test_\w+)``", page)
    assert named
    assert sorted({*named} - known) == []
