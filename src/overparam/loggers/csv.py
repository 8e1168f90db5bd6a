"""A CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from overparam.loggers.base import LOGGERS, Logger, Row, Session, Told
from overparam.loggers.lines import begun, check_log, whole_lines
from overparam.spec import spec

HEAD = ("study", "revision")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


@LOGGERS.named("csv")
@spec
class Csv(Logger):
    """A CSV file with a line a row: the columns of the table, without learning curves.

    Text that a spreadsheet would take for a formula has a ``'`` in front.

    Args:
        path: of the file; what it holds of other studies stays.

    Example:
        {csv: {path: rows.csv}}
    """

    target = "path"

    path: str

    def check(self) -> None:
        """Refuse a file that cannot be written, or that holds something else."""
        check_log(self.path, "log csv:", lambda line: line.startswith(",".join(HEAD)))

    def begin(self, told: Told) -> Session:
        """Begin; rows of other studies, and of other revisions of this one, stay."""
        old = list(csv.DictReader(whole_lines(self.path)))
        others = [row for row in old if f"{row['study']}@{row['revision']}" != told.title and None not in row.values()]
        return _Table(self.path, told, others)


class _Table(Session):
    def __init__(self, path: str, told: Told, rows: list[dict[str, Any]]) -> None:
        self.path, self.told, self.rows = path, told, rows
        self.names = dict.fromkeys([*HEAD, *(name for row in rows for name in row)])
        self.file = self._written()

    def _written(self) -> BinaryIO:
        lines = [_line(self.names), *(_line(row.get(name) for name in self.names) for row in self.rows)]
        return begun(self.path, lines)

    def row(self, row: Row) -> None:
        named = {**row.columns, "study": self.told.name, "revision": self.told.revision}
        cells = {name: _cell(value) for name, value in named.items()}
        self.rows.append(cells)
        if new := dict.fromkeys(name for name in cells if name not in self.names):
            self.names |= new
            self.file.close()
            self.file = self._written()
        else:
            self.file.write(_line(cells.get(name) for name in self.names).encode())

    def end(self, complete: bool) -> None:
        self.file.close()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else ""
    text = value if isinstance(value, str | int | None) else str(value)
    return f"'{text}" if isinstance(text, str) and text.startswith(FORMULA) else text


def _line(cells: Iterable[Any] | Mapping[str, Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
