"""What a run tells while it goes on."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from overparam.lab.execute import Done
from overparam.lab.plan import Node


class Reporter:
    """Hears of everything that happens in a run; this one says nothing. Subclasses override what they need."""

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        """Begin a run of ``nodes`` steps, ``finished`` of which are in the store; ``trainings`` are to be run."""

    def started(self, node: Node) -> None:
        """A task was handed out."""

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        """A training has done ``done`` of ``total`` iterations; ``row`` has the newest numbers."""

    def finished(self, node: Node, done: Done) -> None:
        """A task is done."""

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        """A step failed, and ``blocked`` steps that depend on it will not be run."""

    def note(self, text: str) -> None:
        """Something the user should know, such as a damaged file."""

    def end(self) -> None:
        """The run is over, finished or not."""


def reporter_for(stream: TextIO | None) -> Reporter:
    """Return a live display for a terminal that can change lines in place, plain lines for anything else."""
    if stream is None:  # closed
        return Reporter()
    console = Console(file=stream)
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveReporter(console) if live else PlainReporter(stream)


@dataclass
class _Clock:
    """Guesses the time left from the trainings that are done."""

    trainings: int = 0
    jobs: int = 1
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def left(self, under_way: float = 0.0) -> str:
        finished = self.done + under_way
        if finished < 0.5:
            return "?"
        spent = time.monotonic() - self.started
        return duration(spent / finished * max(self.trainings - finished, 0.0))


def duration(seconds: float) -> str:
    """Return seconds as ``42 s``, ``3 min 20 s`` or ``2 h 05 min``.

    >>> duration(42), duration(200), duration(7500)
    ('42 s', '3 min 20 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def newest(values: Mapping[str, Any]) -> str:
    """Return the newest measurements in a few words."""
    parts = []
    for column, title in (("train_accuracy", "train"), ("test_accuracy", "test")):
        if isinstance(values.get(column), float):
            parts.append(f"{title} {values[column]:.1%}")
    return ", ".join(parts)


class PlainReporter(Reporter):
    """One line for each trained network: for log files and pipes.

    A pipe that nobody reads any more ends the run, as it ends other programs; a full disk under a log file does not.
    """

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.stream = stream
        self.clock = _Clock()

    def _say(self, text: str) -> None:
        try:
            print(text, file=self.stream, flush=True)
        except BrokenPipeError:
            raise
        except OSError:
            self.stream = io.StringIO()

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        self.clock = _Clock(trainings, jobs)
        self._say(f"{nodes} steps, {finished} already in the store, {jobs} at a time")

    def finished(self, node: Node, done: Done) -> None:
        if node.step is not None and node.step.trains:
            self.clock.done += done.ran
            numbers = newest(done.values)
            self._say(
                f"[{self.clock.done}/{self.clock.trainings}] {node.name}"
                f"{': ' + numbers if numbers else ''} ({done.seconds:.1f} s, {self.clock.left()} left)"
            )

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self._say(f"FAILED {node.name}: {reason} ({blocked} steps depend on it)")

    def note(self, text: str) -> None:
        self._say(f"note: {text}")


class LiveReporter(Reporter):
    """A few lines that change in place: what runs, how much is done, the time left, the newest numbers."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.clock = _Clock()
        self.nodes = self.done = self.failures = 0
        self.running: dict[str, tuple[Node, float, str]] = {}
        self.latest = ""
        self.live = Live(console=console, refresh_per_second=4, get_renderable=self._render, transient=True)

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        self.nodes, self.done, self.clock = nodes, finished, _Clock(trainings, jobs)
        self.live.start()

    def started(self, node: Node) -> None:
        self.running[node.fingerprint] = (node, 0.0, "")

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        self.running[node.fingerprint] = (node, done / total, f"loss {row.get('loss', float('nan')):.4f}")

    def finished(self, node: Node, done: Done) -> None:
        self.running.pop(node.fingerprint, None)
        self.done += done.ran
        if node.step is not None and node.step.trains:
            self.clock.done += done.ran
            if numbers := newest(done.values):
                self.latest = f"{node.name}: {numbers}"

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self.running.pop(node.fingerprint, None)
        self.failures += 1
        self.console.print(Text(f"failed: {node.name}: {reason}", style="red"))

    def note(self, text: str) -> None:
        self.console.print(Text(f"note: {text}", style="yellow"))

    def end(self) -> None:
        self.live.stop()

    def _render(self) -> Group:
        under_way = sum(share for node, share, _ in self.running.values() if node.step and node.step.trains)
        head = Text.assemble(
            (f"{self.done}/{self.nodes} steps", "bold"),
            f" · {duration(time.monotonic() - self.clock.started)} so far · {self.clock.left(under_way)} left",
            (f" · {self.failures} failed" if self.failures else "", "red"),
        )
        table = Table.grid(padding=(0, 2))
        for node, share, numbers in list(self.running.values()):
            if node.step is not None and node.step.trains:
                filled = round(share * 20)
                bar = Text("━" * filled, style="green") + Text("━" * (20 - filled), style="dim")
                table.add_row(node.name, bar, f"{share:4.0%}", numbers)
        latest = Text(f"newest: {self.latest}" if self.latest else "", style="dim")
        return Group(head, table, latest)


class LogReporter(Reporter):
    """Passes everything on to another reporter and writes it to a file, one JSON object a line."""

    def __init__(self, inner: Reporter, path: Path) -> None:
        self.inner = inner
        self.file: BinaryIO | None = path.open("ab", buffering=0)

    def _write(self, event: str, **facts: Any) -> None:
        if self.file is None:
            return
        try:
            self.file.write(json.dumps({"time": time.time(), "event": event, **facts}).encode() + b"\n")
        except OSError as error:
            name, self.file = self.file.name, None
            self.inner.note(f"the log {name} cannot be written ({error.strerror}) and ends here")

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        self._write("begin", nodes=nodes, finished=finished, jobs=jobs)
        self.inner.begin(nodes, finished, jobs, trainings)

    def started(self, node: Node) -> None:
        self._write("started", step=node.fingerprint, title=node.title, seed=node.seed)
        self.inner.started(node)

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        self.inner.progress(node, done, total, row)

    def finished(self, node: Node, done: Done) -> None:
        self._write("finished", step=node.fingerprint, ran=done.ran, seconds=done.seconds)
        self.inner.finished(node, done)

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self._write("failed", step=node.fingerprint, reason=reason, blocked=blocked)
        self.inner.failed(node, reason, blocked)

    def note(self, text: str) -> None:
        self._write("note", text=text)
        self.inner.note(text)

    def end(self) -> None:
        self._write("end")
        if self.file is not None:
            self.file.close()
        self.inner.end()
