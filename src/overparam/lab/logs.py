"""Loggers hear of a run: each row of the study's table once, those that the store had first, as the rows come in."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch

from overparam.errors import in_words
from overparam.files import check_writable
from overparam.lab.progress import LogReporter, Passing, Reporter
from overparam.lab.store import DamagedError, Store
from overparam.lab.tables import row_columns
from overparam.loggers import LOGGERS, LoggedChain, Logger, Row, Session, Told
from overparam.signals import Stopped
from overparam.streams import global_stream

if TYPE_CHECKING:
    from overparam.lab.execute import Done
    from overparam.lab.plan import Node
    from overparam.lab.record import Record

LONGEST = 300  # characters of what a logger's error says
OF_ROWS = ("study", "fingerprint", "chain", "level", "step", "kind", "density", "kept", "weights")
"""Columns of every table that are no settings of a chain."""


def loggers_from(given: Any, option: str = "log") -> tuple[list[Logger], list[Path]]:
    """Return the loggers and the event files that ``log`` of :meth:`Study.run` or ``--log`` means.

    Raises :class:`SpecError` for one that there is not, or that cannot log on this machine.
    """
    every = given if isinstance(given, list | tuple) else [] if given is None else [given]
    files = [Path(each) for each in every if isinstance(each, Path) or _is_file(each)]
    loggers = [LOGGERS.resolve(each) for each in every if not (isinstance(each, Path) or _is_file(each))]
    for logger in loggers:
        logger.check()
    for path in files:
        check_writable(path, option)
    return loggers, files


def _is_file(given: Any) -> bool:
    """Tell the name of a file from that of a logger: it has no colon, or a slash before it."""
    return isinstance(given, str) and given not in LOGGERS and (":" not in given or "/" in given.partition(":")[0])


def logged(
    reporter: Reporter, loggers: Sequence[Logger], files: Sequence[Path], record: Record, store: Store
) -> Logging:
    """Return a reporter that passes all on, writes events to files, and has loggers hear what ``store`` gets."""
    for path in files:
        reporter = LogReporter(reporter, path)
    made = Logging(reporter, loggers, record, store)
    made.open()
    return made


class Logging(Passing):
    """Has loggers hear of a run, each row once, in order within a chain.

    A logger that fails hears no more, and that is told once; ``troubles`` has the sentences. It runs where it can
    disturb nothing: what it is handed is its own, and what it does to random generators and torch's settings is undone.
    """

    def __init__(self, inner: Reporter, loggers: Sequence[Logger], record: Record, store: Store) -> None:
        super().__init__(inner)
        self.loggers, self.record, self.store = loggers, record, store
        self.sessions: dict[str, Session] = {}
        self.troubles: list[str] = []
        self.rows: dict[int, list[Mapping[str, Any]]] = defaultdict(list)  # of each chain, those not told yet
        self.chains: dict[str, list[int]] = defaultdict(list)  # in which a step has a row
        for row in record.rows if loggers else ():
            self.rows[row["chain"]].append(row)
            self.chains[row["node"]].append(row["chain"])
        self.levels = {chain: len({row["level"] for row in rows}) == len(rows) for chain, rows in self.rows.items()}
        self.gone: dict[int, int] = defaultdict(int)  # iterations of each chain's trainings that are told
        self.points: dict[int, set[int]] = defaultdict(set)  # of the training after those, which are told

    def open(self) -> None:
        """Open the loggers, and tell them the rows that the store has."""
        chains = {number: _chain(self.record, rows) for number, rows in self.rows.items()}
        told = Told(self.record.name, self.record.revision, self.record.spec, chains)
        for place, logger in enumerate(self.loggers):
            name = f"{LOGGERS.label(logger)}{f' {place + 1}' if len(self.loggers) > 1 else ''}"
            self._safely(name, partial(self._open, name, logger, told))
        for number in chains:
            self._tell_rows(number)

    def _open(self, name: str, logger: Logger, told: Told) -> None:
        self.sessions[name] = logger.begin(told)

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        """Tell of what a training under way has measured, in each chain whose next row it is."""
        for number in self.chains.get(node.fingerprint, ()):
            if self.rows[number] and self.rows[number][0]["node"] == node.fingerprint:
                self._tell_point(number, dict(row))
        super().progress(node, done, total, row)

    def finished(self, node: Node, done: Done) -> None:
        """Tell of the rows that are whole now."""
        for number in self.chains.get(node.fingerprint, ()):
            self._tell_rows(number)
        super().finished(node, done)

    def end(self) -> None:
        """Tell of rows behind others that failed, and close the loggers."""
        for number in self.rows:
            self._tell_rows(number, gaps=True)
        complete = not any(self.rows.values())
        for name in list(self.sessions):
            self._safely(name, partial(self.sessions.pop(name).end, complete))
        super().end()

    def _tell_rows(self, number: int, gaps: bool = False) -> None:
        """Tell the next rows of a chain, as far as they are there, or beyond those that are not."""
        lacking = []
        while self.sessions and self.rows[number]:
            row = self.rows[number].pop(0)
            if (parts := self._parts(row)) is not None:
                self._tell_row(number, row, *parts)
            else:
                lacking.append(row)
                if not gaps:
                    break
        self.rows[number] = lacking + self.rows[number]

    def _parts(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return what the store has of a row's step, and what was measured; None if it lacks some, or it is damaged."""
        has = self.store.has
        if not has("steps", row["node"]) or not all(has("probes", name) for name in row["measurements"]):
            return None
        try:
            measured = [self.store.numbers("probes", name)["values"] for name in row["measurements"]]
            return self.store.numbers("steps", row["node"]), {k: v for values in measured for k, v in values.items()}
        except DamagedError:
            return None

    def _tell_row(
        self, number: int, row: Mapping[str, Any], step: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> None:
        for place in range(len(step["curve"].get("iteration", ()))):
            self._tell_point(number, {name: values[place] for name, values in step["curve"].items()})
        self.gone[number] += int(max(step["curve"].get("iteration", ()), default=0))
        self.points[number].clear()
        columns = {**row_columns(self.record.name, row, step), **measured}
        numbers = _numbers({name: columns[name] for name in ("level", "density", "kept", *measured)})
        place = row["level" if self.levels[number] else "step"]
        for name, session in list(self.sessions.items()):
            own = Row(number, place, dict(columns), dict(numbers), {k: list(v) for k, v in step["curve"].items()})
            self._safely(name, partial(session.row, own))

    def _tell_point(self, number: int, point: Mapping[str, Any]) -> None:
        """Tell of one point of a learning curve, unless it was told as the training went on."""
        iteration = int(point.get("iteration") or 0)
        if iteration in self.points[number]:
            return
        self.points[number].add(iteration)
        numbers = _numbers({name: value for name, value in point.items() if name != "iteration"})
        for name, session in list(self.sessions.items()):
            self._safely(name, partial(session.point, number, self.gone[number] + iteration, dict(numbers)))

    def _safely(self, name: str, call: Callable[[], None]) -> None:
        try:
            with _undisturbed():
                call()
        except Stopped:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a logger may raise anything)
            if (failed := self.sessions.pop(name, None)) is not None:
                with contextlib.suppress(Exception, SystemExit):
                    failed.end(False)  # what it holds open, it may still close
            why = shorten(in_words(error), LONGEST, placeholder=" ...")
            self.troubles.append(f"logger {name} failed and hears no more; no result depends on it ({why})")
            self.note(self.troubles[-1])


def _chain(record: Record, rows: Sequence[Mapping[str, Any]]) -> LoggedChain:
    """Return a chain as loggers know it."""
    columns = row_columns(record.name, rows[0], None)
    settings = {name: value for name, value in columns.items() if name not in OF_ROWS}
    swept = [name for name in rows[0]["coordinates"] if name != "seed"]
    told = [f"{name.rpartition('.')[2]} {settings[name]}" for name in swept if settings[name] is not None]
    name = ", ".join(filter(None, [rows[0]["variant"], *told, f"seed {rows[0]['seed']}"]))
    return LoggedChain(name, settings, len(rows))


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Undo what a block does to the generators of randomness and to torch's settings of the whole process."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    precision = torch.get_float32_matmul_precision()
    try:
        with global_stream(0, "logger"), torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
