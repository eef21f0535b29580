"""numpydoc's own validation of all that is public."""

import inspect
import pkgutil
from importlib import import_module

import pytest
from numpydoc.validate import validate

import skae

#: Matters of style: no long summary, no examples or references at each method, names for
#: what is returned, and first words that end in s, as "Rows" does.
STYLE = {"ES01", "EX01", "SA01", "RT02", "SS05"}


def public():
    """The names of public objects, and of what their classes document themselves."""
    modules = [f"skae.{module.name}" for module in pkgutil.iter_modules(skae.__path__)]
    for module in ("skae", *(name for name in modules if "._" not in name)):
        for name in import_module(module).__all__:
            if name.startswith("_"):
                continue
            yield f"{module}.{name}"
            found = getattr(import_module(module), name)
            if inspect.isclass(found):
                yield from (f"{module}.{name}.{member}" for member in members(found))


def members(kind):
    for name, member in inspect.getmembers(kind):
        own = getattr(member, "fget", member)  # of a property
        ours = (getattr(own, "__module__", None) or "").startswith("skae.")
        several = [vars(base).get(name) for base in kind.__mro__]
        overrides = own.__doc__ is None and any(inspect.getdoc(one) for one in several)
        if ours and not name.startswith("_") and not overrides:
            yield name


@pytest.mark.parametrize("name", sorted(public()))
def test_numpydoc_finds_nothing_wrong(name):
    errors = validate(name)["errors"]
    assert [message for code, message in errors if code not in STYLE] == []
