"""``overparam list``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import is_json, say_json
from overparam.cli.completing import one_of
from overparam.cli.options import FormOption
from overparam.cli.root import app
from overparam.terminal import clear_errors, say

KINDS = {
    "studies": "what comes with overparam to be run: a paper's experiment each",
    "results": "what was run: the studies in the folder --store, and their revisions",
    "steps": "what a chain is made of",
    "probes": "what measures a checkpoint",
    "criteria": "which weights go first",
    "scopes": "among which weights is compared",
    "patterns": "what goes together",
    "datasets": "what is learned from",
    "networks": "what is trained",
    "losses": "what training makes small",
    "optimisers": "how weights are moved",
    "schedules": "how the learning rate changes",
    "events": "what changes masks within a training",
    "constraints": "how a tensor is made from what is trained",
    "loggers": "what hears of a run's rows",
}


@app.command("list", short_help="List what there is of a kind: studies, criteria, steps, ...")
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help=f"One of: {', '.join(KINDS)}.",
            show_default=False,
            metavar="[KIND]",
            autocompletion=one_of(*KINDS),
        ),
    ] = "",
    store: Annotated[Path, typer.Option(help="Folder of results, for `list results`.")] = Path("runs"),
    format: FormOption = "text",
) -> None:
    """List what there is of a kind, with one line on each; without a kind, list the kinds."""
    with clear_errors():
        as_json = is_json(format)
        found = list(KINDS.items()) if not kind else _things(kind, store)
        if as_json:
            say_json([{"name": name, "summary": line} for name, line in found])
            return
        width = max((len(name) for name, _ in found), default=0)
        for name, line in found:
            say(f"{name:<{width}}  {line}")
        if not kind:
            say("\nnext: overparam list KIND")


def _things(kind: str, store: Path) -> list[tuple[str, str]]:
    from overparam.errors import SpecError, suggest

    if kind not in KINDS:
        raise SpecError(f"cannot list {kind!r}{suggest(kind, KINDS)} (known: {', '.join(KINDS)})")
    from overparam.listing import entries

    return entries(kind, store)
