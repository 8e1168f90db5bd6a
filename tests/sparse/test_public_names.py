from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys

import pytest

import overparam
import overparam.sparse


def test_all_is_what_it_says() -> None:
    sparse = overparam.sparse
    assert sparse.__all__ == sorted(set(sparse.__all__))
    for name in sparse.__all__:
        thing = getattr(sparse, name)
        assert thing.__name__ == name
        assert thing.__module__.startswith("overparam.sparse.")
        first = (inspect.getdoc(thing) or "").split("\n")[0]
        assert first.endswith((".", ":")), f"{name}: {first!r}"
    assert set(sparse.__all__) == set(sparse._HOME) == set(dir(sparse))


def test_no_module_takes_the_place_of_a_public_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(overparam.sparse.__path__)}
    assert not modules & set(overparam.sparse.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"overparam\.sparse' has no attribute 'converts'"):
        overparam.sparse.converts  # noqa: B018


@pytest.mark.parametrize(
    "program",
    [
        "import overparam.sparse",
        "import overparam; overparam.sparse",
        "from overparam import sparse; dir(sparse)",
        "import overparam.sparse as s\ntry: s.unknown\nexcept AttributeError: pass",
    ],
)
def test_the_package_imports_nothing_heavy(program: str) -> None:
    code = f"{program}\nimport sys; print(sorted({{'torch', 'numba', 'llvmlite', 'numpy'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_convert_is_the_function_whatever_was_imported_before() -> None:
    code = (
        "import overparam.sparse.networks.conversion, overparam.train.sparse_trainees\n"
        "import overparam\nfrom overparam.sparse import convert\n"
        "assert overparam.sparse.convert is convert and callable(convert), convert"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
