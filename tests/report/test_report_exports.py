from __future__ import annotations

import ast
import subprocess
import sys
from inspect import ismodule
from pathlib import Path

import overparam.report
from overparam.papers.sparse_double_descent import finding, phases
from overparam.report import arms, curve, curves


def test_every_name_that_the_other_rooms_import_is_there():
    package = Path(overparam.report.__file__).parents[1]
    wanted = {
        alias.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "overparam.report"
        for alias in node.names
    }
    assert {"write_page", "export"} <= wanted
    assert wanted <= set(overparam.report.__all__)


def test_names_are_functions_and_not_the_modules_they_share_a_name_with():
    assert not any(ismodule(getattr(overparam.report, name)) for name in overparam.report.__all__)
    assert all(callable(thing) for thing in (arms, curve, curves, finding, phases))


def test_tables_and_claims_do_not_load_what_draws():
    code = "import sys, overparam.report, overparam.papers.sparse_double_descent.claims; print('altair' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
