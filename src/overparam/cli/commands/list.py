"""``overparam list``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.root import app
from overparam.terminal import clear_errors, say

KINDS = (
    *("datasets", "networks", "criteria", "scopes", "patterns", "steps", "probes"),
    *("losses", "optimisers", "schedules", "events", "constraints", "studies", "results"),
)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.", show_default=False, metavar="KIND")] = "",
    store: Annotated[Path, typer.Option(help="Folder of results, for `list results`.")] = Path("runs"),
) -> None:
    """List what there is, with one line on each."""
    with clear_errors():
        from overparam.errors import SpecError
        from overparam.registry import suggest

        if not kind:
            raise SpecError(f"name what to list: {', '.join(KINDS)}")
        if kind not in KINDS:
            raise SpecError(f"cannot list {kind!r}{suggest(kind, KINDS)} (known: {', '.join(KINDS)})")
        from overparam.listing import entries

        found = entries(kind, store)
        width = max((len(name) for name, _ in found), default=0)
        for name, line in found:
            say(f"{name:<{width}}  {line}")
