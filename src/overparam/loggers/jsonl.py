"""A file of JSON lines."""

from __future__ import annotations

import json
from typing import BinaryIO

from overparam.files import finite
from overparam.loggers.base import LOGGERS, Logger, Row, Session, Told
from overparam.loggers.lines import begun, check_log, whole_lines
from overparam.spec import spec


@LOGGERS.named("jsonl")
@spec
class JsonLines(Logger):
    """A file with a JSON object a row: the columns of the table, and its learning curve as columns under ``curve``.

    Args:
        path: of the file; what it holds of other studies stays.

    Example:
        {jsonl: {path: rows.jsonl}}
    """

    target = "path"

    path: str

    def check(self) -> None:
        """Refuse a file that cannot be written, or that holds something else."""
        check_log(self.path, "log jsonl:", lambda line: _owner(line) != "")

    def begin(self, told: Told) -> Session:
        """Begin; lines of other studies, and of other revisions of this one, stay."""
        others = [line for line in whole_lines(self.path) if _owner(line) not in ("", told.title)]
        return _Lines(told, begun(self.path, others))


class _Lines(Session):
    def __init__(self, told: Told, file: BinaryIO) -> None:
        self.told, self.file = told, file

    def row(self, row: Row) -> None:
        columns = {**row.columns, "study": self.told.name, "revision": self.told.revision, "curve": row.curve}
        self.file.write(json.dumps(finite(columns), allow_nan=False).encode() + b"\n")

    def end(self, complete: bool) -> None:
        self.file.close()


def _owner(line: str) -> str:
    """Return the study and revision that a line is of; empty if it is none of ours."""
    try:
        found = json.loads(line)
        return f"{found['study']}@{found['revision']}"
    except (ValueError, KeyError, TypeError):
        return ""
