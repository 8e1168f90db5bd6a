"""The command line. Heavy imports stand inside the commands, so that help and completion answer at once."""

from __future__ import annotations

import signal

from overparam.cli import commands as commands
from overparam.cli.root import app
from overparam.signals import obey
from overparam.terminal import open_standard_streams


def main() -> None:
    """Entry point of the ``overparam`` command; once stopped, it ends in its own time, however often it is told."""
    obey()
    open_standard_streams()
    try:
        app()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's own end would else give it its first meaning back
