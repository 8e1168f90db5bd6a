"""The shape of the source: files of one idea, short functions, no circle of imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median, quantiles

from test_architecture import PACKAGE, drawn

LINES = 400
MEDIAN, NINETIETH = 6, 20  # lines of the bodies of functions, without their docstrings

SOURCES = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def bodies() -> Iterator[int]:
    """Yield the lines of each function's body, its docstring left out; one of nothing else has none."""
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                said = isinstance(node.body[0], ast.Expr) and ast.get_docstring(node, clean=False) is not None
                body = node.body[said:]
                yield body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


def test_files_are_short() -> None:
    long = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    assert {name: lines for name, lines in long.items() if lines > LINES} == {}


def test_functions_are_short() -> None:
    found = list(bodies())
    assert median(found) <= MEDIAN
    assert quantiles(found, n=10)[-1] <= NINETIETH


def modules() -> dict[str, str]:
    """Return the file of each module by its dotted name."""
    return {
        ".".join(("overparam", *Path(name).with_suffix("").parts)).removesuffix(".__init__"): name for name in SOURCES
    }


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported, also inside functions, but for that which only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node)


def imported(module: str, tree: ast.AST, known: dict[str, str]) -> set[str]:
    """Return the modules of the package that a module needs, each the longest of which there is a file."""
    found = set()
    for name in imports(tree):
        while name and name not in known:
            name = name.rpartition(".")[0]
        found.add(name)
    return found & known.keys() - {module}


def test_imports_go_round_in_no_circle() -> None:
    known = modules()
    needs = {module: imported(module, TREES[file], known) for module, file in known.items()}
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the circle


def test_every_room_has_content() -> None:
    """Those drawn and no other: a room without a line of code, or a folder without a room, is none."""
    rooms = {Path(name).parts[0].removesuffix(".py") for name, tree in TREES.items() if has_code(tree)}
    assert rooms == set(drawn()) | {"__init__"}


def has_code(tree: ast.Module) -> bool:
    return any(isinstance(node, Function | ast.ClassDef | ast.Assign | ast.AnnAssign) for node in ast.walk(tree))
