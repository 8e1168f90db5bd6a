"""Where a run tells of itself: in a notebook, in a terminal, or line by line."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console

from overparam.lab.notebook import NotebookReporter, in_notebook
from overparam.lab.progress import LiveReporter, PlainReporter, Reporter


def reporter_for(stream: TextIO | None) -> Reporter:
    """Return a live display for a notebook, or for a terminal that can change lines in place, else plain lines."""
    if in_notebook():
        return NotebookReporter()
    if stream is None:  # closed
        return Reporter()
    console = Console(file=stream)
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveReporter(console) if live else PlainReporter(stream)
