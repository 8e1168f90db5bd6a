"""What a run tells while it goes on."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from overparam.errors import counted
from overparam.lab.execute import Done
from overparam.lab.forecast import Forecast
from overparam.lab.plan import Node, Plan


class Reporter:
    """Hears of everything that happens in a run; this one says nothing. Subclasses override what they need.

    A step is told of together with the measurements of its result; those alone that fail are told of by themselves.
    """

    def expect(self, forecast: Forecast) -> None:
        """Get what knows, from the first training's end on, how long the rest of the run takes."""

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        """Begin a run of ``nodes`` steps, ``finished`` of which are in the store; ``trainings`` are to be run."""

    def started(self, node: Node) -> None:
        """A step, or the measuring of its result, was begun."""

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        """A training has done ``done`` of ``total`` iterations; ``row`` has the newest numbers."""

    def finished(self, node: Node, done: Done) -> None:
        """A step is done, and what can be measured of it now; ``done`` sums up both."""

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        """A step or probe failed, and ``blocked`` steps that depend on it will not be run."""

    def note(self, text: str) -> None:
        """Something the user should know, such as a damaged file."""

    def end(self) -> None:
        """The run is over, finished or not."""


class Tally:
    """What came of each step and of the measurements of its result, of which a reporter hears together."""

    def __init__(self, plan: Plan, reporter: Reporter) -> None:
        self.plan, self.reporter = plan, reporter
        self.forecast: Forecast | None = None
        self._open: dict[str, Done | None] = {}

    def subject(self, node: Node) -> str:
        """Return the step that a node runs or measures."""
        return node.fingerprint if node.kind == "steps" or node.start is None else node.start

    def begin(self, node: Node) -> None:
        """Hear that a node was handed out."""
        name = self.subject(node)
        if name not in self._open:
            self._open[name] = None
            self.reporter.started(self.plan.nodes[name])

    def end(self, node: Node, done: Done | None, under_way: Collection[str]) -> None:
        """Hear that a node has ended, well if there is ``done``, while other nodes run or can be run."""
        name = self.subject(node)
        so_far = self._open.get(name)
        if done is not None:
            done = replace(done, ran=done.ran and node.kind == "steps")
            self._open[name] = so_far = done if so_far is None else so_far.followed_by(done)
        if any(self.subject(self.plan.nodes[other]) == name for other in under_way):
            return
        self._open.pop(name, None)
        if so_far is not None:
            if self.forecast:
                self.forecast.finished(self.plan.nodes[name], so_far.seconds)
            self.reporter.finished(self.plan.nodes[name], so_far)

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        """Hear how far a training is."""
        if self.forecast:
            self.forecast.progress(node, done / total)
        self.reporter.progress(node, done, total, row)

    def fail(self, node: Node, reason: str, blocked: Collection[str]) -> None:
        """Hear that a node failed, so that others will not be run."""
        if self.forecast:
            self.forecast.abandoned([node.fingerprint, *blocked])
        self.reporter.failed(node, reason, len(blocked))


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


def time_left(forecast: Forecast | None) -> str:
    """Return what is left of a run as a reader sees it; a question mark as long as it is not known."""
    left = forecast.left() if forecast else None
    return "?" if left is None else duration(left)


def newest(values: Mapping[str, Any]) -> str:
    """Return the newest measurements in a few words: accuracies, or losses where there are none."""
    for metric, form in (("accuracy", ".1%"), ("loss", ".3g")):
        named = {split: values.get(f"{split}_{metric}") for split in ("train", "test")}
        parts = [f"{split} {value:{form}}" for split, value in named.items() if isinstance(value, float)]
        if parts:
            return ", ".join(parts) + (" (loss)" if metric == "loss" else "")
    return ""


class PlainReporter(Reporter):
    """One line for each trained network: for log files and pipes.

    A pipe that nobody reads any more ends the run, as it ends other programs; a full disk under a log file does not.
    """

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.stream = stream
        self.trainings = self.done = 0
        self.forecast: Forecast | None = None

    def _say(self, text: str) -> None:
        try:
            print(text, file=self.stream, flush=True)
        except BrokenPipeError:
            raise
        except OSError:
            self.stream = io.StringIO()

    def expect(self, forecast: Forecast) -> None:
        self.forecast = forecast

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        self.trainings = trainings
        self._say(f"{counted(nodes, 'step')}, {finished} already in the store, {jobs} at a time")
        if jobs > 1:
            self._say(f"starting {jobs} workers")

    def finished(self, node: Node, done: Done) -> None:
        numbers = newest(done.values)
        if node.trains and (done.ran or numbers):
            self.done += done.ran
            self._say(
                f"[{self.done}/{self.trainings}] {node.name}"
                f"{': ' + numbers if numbers else ''} ({done.seconds:.1f} s, {time_left(self.forecast)} left)"
            )

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self._say(f"FAILED {node.name}: {reason} (not run because of it: {counted(blocked, 'step')})")

    def note(self, text: str) -> None:
        self._say(f"note: {text}")


class LiveReporter(Reporter):
    """Bars that change in place: of the whole run, with the newest numbers, and of each training under way."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column()),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}", markup=False, table_column=Column()),  # breaks where it is narrow
            console=console,
            transient=True,
        )
        self.running: dict[str, TaskID] = {}
        self.nodes = self.steps = self.trainings = self.failures = 0
        self.newest = ""
        self.forecast: Forecast | None = None

    def expect(self, forecast: Forecast) -> None:
        self.forecast = forecast

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        self.nodes, self.steps = nodes, finished
        self.whole = self.bars.add_task(f"all, {jobs} at a time", total=trainings, words="")
        self._tell()
        self.bars.update(self.whole, words=f"starting {jobs} workers" if jobs > 1 else "starting")
        self.bars.start()

    def _tell(self) -> None:
        """Show how much is done of the run: trainings in the bar, steps and the newest numbers in words."""
        failed = f", {self.failures} failed" if self.failures else ""
        under_way = sum(task.percentage / 100 for task in self.bars.tasks if task.id != self.whole)
        words = f"{time_left(self.forecast)} left, {self.steps}/{self.nodes} steps{failed}{self.newest}"
        self.bars.update(self.whole, completed=self.trainings + under_way, words=words)

    def started(self, node: Node) -> None:
        self._ended(node)  # a worker may have died at it
        if node.trains:
            self.running[node.fingerprint] = self.bars.add_task(node.name, total=None, words="")

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        if node.fingerprint in self.running:
            words = f"loss {row['loss']:.4f}" if "loss" in row else ""
            self.bars.update(self.running[node.fingerprint], completed=done, total=total, words=words)
            self._tell()

    def _ended(self, node: Node) -> None:
        if node.fingerprint in self.running:
            self.bars.remove_task(self.running.pop(node.fingerprint))

    def finished(self, node: Node, done: Done) -> None:
        self._ended(node)
        self.steps += done.ran
        self.trainings += done.ran and node.trains
        if numbers := newest(done.values):
            self.newest = f"; newest: {node.name}: {numbers}"
        self._tell()

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self._ended(node)
        self.failures += 1
        self._tell()
        self.console.print(Text(f"failed: {node.name}: {reason}", style="red"))

    def note(self, text: str) -> None:
        self.console.print(Text(f"note: {text}", style="yellow"))

    def end(self) -> None:
        self.bars.stop()


class Passing(Reporter):
    """Passes everything on to another reporter."""

    def __init__(self, inner: Reporter) -> None:
        self.inner = inner

    def expect(self, forecast: Forecast) -> None:
        self.inner.expect(forecast)

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        self.inner.begin(nodes, finished, jobs, trainings)

    def started(self, node: Node) -> None:
        self.inner.started(node)

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        self.inner.progress(node, done, total, row)

    def finished(self, node: Node, done: Done) -> None:
        self.inner.finished(node, done)

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self.inner.failed(node, reason, blocked)

    def note(self, text: str) -> None:
        self.inner.note(text)

    def end(self) -> None:
        self.inner.end()


class LogReporter(Passing):
    """Passes everything on to another reporter and writes it to a file, one JSON object a line."""

    def __init__(self, inner: Reporter, path: Path) -> None:
        super().__init__(inner)
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
        super().begin(nodes, finished, jobs, trainings)

    def started(self, node: Node) -> None:
        self._write("started", step=node.fingerprint, title=node.title, seed=node.seed)
        super().started(node)

    def finished(self, node: Node, done: Done) -> None:
        self._write("finished", step=node.fingerprint, ran=done.ran, seconds=done.seconds)
        super().finished(node, done)

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self._write("failed", step=node.fingerprint, reason=reason, blocked=blocked)
        super().failed(node, reason, blocked)

    def note(self, text: str) -> None:
        self._write("note", text=text)
        super().note(text)

    def end(self) -> None:
        self._write("end")
        if self.file is not None:
            self.file.close()
        super().end()
