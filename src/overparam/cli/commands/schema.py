"""``overparam schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.root import app
from overparam.terminal import clear_errors, say, say_exactly


@app.command(short_help="Print the JSON Schema of study files, for editors.")
def schema(
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
) -> None:
    """Print the JSON Schema of study files, by which editors complete and check them.

    In an editor that knows yaml-language-server, the first line of a study file says where it is:
    # yaml-language-server: $schema=FILE
    """
    with clear_errors():
        if out is None:
            say_exactly(_text())
        else:
            say(str(written(out)))


def written(path: Path) -> Path:
    """Write the schema to a file and return its path."""
    from overparam.files import write_file

    write_file(path, _text())
    return path


def _text() -> str:
    from overparam.reference.schema import study_schema

    return json.dumps(study_schema(), indent=1) + "\n"
