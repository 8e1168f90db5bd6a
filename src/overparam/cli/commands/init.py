"""``overparam init``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from overparam.cli import completing
from overparam.cli.root import app
from overparam.terminal import clear_errors, say

SCHEMA = "overparam-study.schema.json"


@app.command(short_help="Write a study file with comments to begin with.")
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.", metavar="[FILE]")] = Path("study.yaml"),
    like: Annotated[
        str,
        typer.Option(
            "--like",
            metavar="STUDY",
            help="Begin with a study that comes with overparam.",
            show_default=False,
            autocompletion=completing.studies,
        ),
    ] = "",
    schema: Annotated[
        bool, typer.Option("--schema", help=f"Write {SCHEMA} beside it, by which editors complete and check it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a study file with comments, which runs in seconds, to begin with."""
    with clear_errors():
        from overparam.errors import SpecError
        from overparam.files import write_file
        from overparam.lab.study_files import starter

        if file.suffix not in (".yaml", ".yml"):
            raise SpecError(f"a study file ends with .yaml, got {str(file)!r}; try {str(file.with_suffix('.yaml'))!r}")
        if file.exists() and not force:
            raise SpecError(f"{str(file)!r} is there already; name another file, or replace it with --force")
        text = starter(file, like)
        if schema:
            from overparam.cli.commands.schema import written

            say(str(written(file.with_name(SCHEMA))))
            text = f"# yaml-language-server: $schema={SCHEMA}\n{text}"
        write_file(file, text)
        say(f"{file}\nnext: overparam run {shlex.quote(str(file))}")
