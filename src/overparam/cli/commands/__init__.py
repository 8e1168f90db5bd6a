"""One file a command; help lists them in the order in which they are named here."""

from __future__ import annotations

from importlib import import_module

COMMANDS = (
    "init",
    "run",
    "check",
    "table",
    "report",
    "claims",
    "figure",
    "cite",
    "list",
    "get",
    "store",
    "scan",
    "doctor",
    "schema",
)

for name in COMMANDS:
    import_module(f"{__name__}.{name}")
