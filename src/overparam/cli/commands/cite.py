"""``overparam cite``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overparam.cli.asked import is_file, results_for
from overparam.cli.options import StoreOption
from overparam.cli.root import app
from overparam.terminal import clear_errors, say_exactly, tell

if TYPE_CHECKING:
    from overparam.lab.citing import Citation


@app.command(short_help="Say how results came about and which works to cite.")
def cite(
    name: Annotated[
        str,
        typer.Argument(
            help="A study that was run, by its name, NAME@REVISION or YAML file; else a study or a paper that comes "
            "with overparam.",
            show_default=False,
            metavar="STUDY|PAPER",
        ),
    ],
    store: StoreOption = Path("runs"),
    format: Annotated[str, typer.Option("--format", help="text (in words, and BibTeX), or bibtex.")] = "text",
) -> None:
    """Say how results came about and which works to cite, in words and as BibTeX."""
    with clear_errors():
        from overparam.errors import SpecError

        if format not in ("text", "bibtex"):
            raise SpecError(f"--format must be text or bibtex, got {format!r}")
        found = _citation(name, store)
        say_exactly(found.bibtex if format == "bibtex" else f"{found.text}\n\n{found.bibtex}")


def _citation(name: str, store: Path) -> Citation:
    """Return the citation of results, or else of a study or paper that comes with overparam."""
    from overparam.errors import SpecError
    from overparam.lab import Store, built_in_studies
    from overparam.lab.citing import cite, cite_results
    from overparam.lab.record import studies
    from overparam.lab.store import is_store
    from overparam.papers import paper_names
    from overparam.registry import suggest

    run = studies(Store(store, reading=True)) if is_store(store) else []
    if is_file(name) or name.partition("@")[0] in run:
        return cite_results(results_for(name, None, None, store, None))
    papers, built_in = paper_names(), built_in_studies()
    if name not in papers and name not in built_in:
        near, have = suggest(name, [*run, *built_in, *papers]), ", ".join(run) or "none"
        raise SpecError(
            f"no study or paper {name!r}{near} (run in store {str(store)!r}: {have}; papers: {', '.join(papers)}; "
            "`overparam list studies` has the studies that come with overparam)"
        )
    tell(f"{name} was not run in store {store}: these are the works alone")
    return cite(name if name in papers else _paper_of(built_in[name]))


def _paper_of(study: str) -> str:
    """Return the paper that the text of a built-in study names."""
    from overparam.lab import parse_yaml

    return str(parse_yaml(study, "study").get("paper", ""))
