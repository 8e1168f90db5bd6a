"""Tables of the sparse benchmarks: as text, and as sections of docs/sparse-benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from overparam.machine import available_cores, machine_facts

PAGE = Path(__file__).parents[1] / "docs" / "sparse-benchmarks.md"


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Return rows, the first one the head, as a Markdown table."""
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def circumstances() -> str:
    """Return machine, threads and versions in one line."""
    facts = machine_facts()
    packages = []
    for name in ("torch", "numba", "sparseprop", "sparselab"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} not installed")
    threads = f"{available_cores()} cores, {torch.get_num_threads()} threads"
    return f"{date.today().isoformat()}, {facts['processor']}, {threads}, {', '.join(packages)}"


def replace_section(name: str, text: str) -> None:
    """Put ``text`` between the marks of section ``name`` of the page."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{text}\n\n{circumstances()}\n{end}{after}")
