from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import overparam
from overparam.errors import OverparamError


def test_all_is_what_it_says() -> None:
    assert overparam.__all__ == sorted(set(overparam.__all__), key=overparam.__all__.index)
    for name in overparam.__all__:
        thing = getattr(overparam, name)
        assert getattr(thing, "__name__", name) == name
        assert thing.__module__.startswith("overparam.")
    assert set(overparam.__all__) == set(overparam._HOME)
    assert set(overparam.__all__) <= set(dir(overparam))


def test_star_import_brings_exactly_all() -> None:
    space: dict[str, object] = {}
    exec("from overparam import *", space)
    assert set(space) - {"__builtins__"} == set(overparam.__all__)


def test_every_public_thing_has_a_docstring() -> None:
    for name in overparam.__all__:
        thing = getattr(overparam, name)
        first = (inspect.getdoc(thing) or "").split("\n")[0]
        assert first.endswith((".", ":", "``")), f"{name}: {first!r}"
        # what dataclass writes when there is none
        assert not first.startswith(f"{name}("), name


def test_our_errors_are_one_family() -> None:
    errors = [getattr(overparam, name) for name in overparam.__all__ if name.endswith("Error")]
    assert len(errors) == 6
    assert all(issubclass(error, OverparamError) for error in errors)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Prunes'"):
        overparam.Prunes  # noqa: B018


def test_the_version_is_the_package_s() -> None:
    assert overparam.__version__.count(".") == 2


@pytest.mark.parametrize("module", ["overparam", "overparam.cli", "overparam.errors"])
def test_importing_does_not_import_torch(module: str) -> None:
    code = (
        f"import sys, {module}; print(sorted({{'torch', 'polars', 'numpy', 'altair', 'sklearn'}} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
