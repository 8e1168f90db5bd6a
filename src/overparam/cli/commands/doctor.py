"""``overparam doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from overparam.cli.asked import is_json, say_json
from overparam.cli.options import FormOption
from overparam.cli.root import app
from overparam.terminal import clear_errors, say, show


@app.command(short_help="Say what this machine is and which layers are sparse on it.")
def doctor(
    threads: Annotated[int | None, typer.Option(min=1, help="Torch's threads; default: torch's own.")] = None,
    format: FormOption = "text",
) -> None:
    """Say what this machine is, what its sparse kernels use, and which layers are sparse by default."""
    with clear_errors():
        as_json = is_json(format)
        import torch
        from rich.text import Text

        from overparam.doctor import doctor as examine
        from overparam.doctor import facts

        before = torch.get_num_threads()
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            if as_json:
                say_json(facts())
            else:
                examine(say, lambda line: show(Text(line, style="bold")))
        finally:
            torch.set_num_threads(before)
