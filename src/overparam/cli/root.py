"""The command ``overparam`` itself, to which each file of ``commands/`` adds one."""

from __future__ import annotations

from typing import Annotated

import typer

from overparam.terminal import say

app = typer.Typer(
    name="overparam",
    help="Find how many parameters a network really needs, and how generalization changes on the way there.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would take longer to import than all the rest of the help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"overparam {version('overparam')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which version this is, and exit.")
    ] = False,
) -> None:
    """What stands before a command."""
