"""The table of rooms in docs/architecture.md is what the code does: no import against the arrows, no room forgotten."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "overparam"


def drawn() -> dict[str, set[str]]:
    """Return the rooms of the page, in its order, and what each may use."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ?([\w, ]*?) ?\|$", (ROOT / "docs" / "architecture.md").read_text(), re.M)
    return {room: set(filter(None, used.split(", "))) for room, used in rows}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Yield the room of each import of the package, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "overparam":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from room_in(node.module or "")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from room_in(alias.name)


def room_in(module: str) -> list[str]:
    parts = module.split(".")
    return parts[1:2] if parts[0] == "overparam" else []


FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem not in ("__init__", "__main__") or path.parent != PACKAGE
]


def test_every_room_is_drawn() -> None:
    assert {room_of(path) for path in FILES} == set(drawn())


def test_arrows_point_down() -> None:
    above: set[str] = set()
    for room, used in drawn().items():
        assert used <= above, room
        above.add(room)


@pytest.mark.parametrize("room", drawn())
def test_a_room_imports_what_is_drawn(room: str) -> None:
    allowed = drawn()[room] | {room}
    wrong = {
        str(path.relative_to(PACKAGE)): found
        for path in FILES
        if room_of(path) == room and (found := set(imported(path)) & set(drawn()) - allowed)
    }
    assert wrong == {}
