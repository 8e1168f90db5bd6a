"""A display of a run in a notebook: HTML that is replaced in place, with what a notebook has and nothing more."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from html import escape
from typing import Any, cast

from overparam.errors import counted
from overparam.lab.execute import Done
from overparam.lab.forecast import Forecast
from overparam.lab.plan import Node
from overparam.lab.progress import Reporter, duration, newest, time_left

PAUSE = 0.3  # seconds between two pictures, at least: a notebook keeps up with no more


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook; IPython is not imported for it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


class NotebookReporter(Reporter):
    """Bars in a notebook: of the whole run, with the newest numbers, and of each training under way; what failed."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.shown = self.began = 0.0
        self.nodes = self.steps = self.trainings = self.done = self.jobs = 0
        self.running: dict[str, tuple[str, float]] = {}
        self.newest = ""
        self.told: list[str] = []
        self.over = False
        self.forecast: Forecast | None = None

    def expect(self, forecast: Forecast) -> None:
        self.forecast = forecast

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        self.nodes, self.steps, self.jobs, self.trainings = nodes, finished, jobs, trainings
        self.began = time.monotonic()
        self._show(now=True)

    def started(self, node: Node) -> None:
        if node.trains:
            self.running[node.fingerprint] = (node.name, 0.0)
            self._show()

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        self.running[node.fingerprint] = (node.name, done / max(total, 1))
        self._show()

    def finished(self, node: Node, done: Done) -> None:
        self.running.pop(node.fingerprint, None)
        self.steps += done.ran
        self.done += done.ran and node.trains
        if numbers := newest(done.values):
            self.newest = f"{node.name}: {numbers}"
        self._show()

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self.running.pop(node.fingerprint, None)
        self._tell(f"failed: {node.name}: {reason} (not run because of it: {counted(blocked, 'step')})")

    def note(self, text: str) -> None:
        self._tell(f"note: {text}")

    def end(self) -> None:
        self.over = True
        self.running.clear()
        if self.handle is not None:
            self._show(now=True)

    def _tell(self, text: str) -> None:
        self.told.append(text)
        self._show(now=True)

    def _show(self, now: bool = False) -> None:
        """Draw anew, unless it was just now."""
        if not now and time.monotonic() - self.shown < PAUSE:
            return
        self.shown = time.monotonic()
        with suppress(Exception):  # no run stops because it cannot be seen
            from IPython import display

            if self.handle is None:
                self.handle = cast(Any, display.display)(self, display_id=True)
            else:
                self.handle.update(self)

    def __repr__(self) -> str:
        return "\n".join([f"{self.steps} of {counted(self.nodes, 'step')}{self._time()}", *self.told])

    def _repr_html_(self) -> str:
        """Return the picture; every text is escaped, since it may be a user's."""
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{bar}</td></tr>" for name, bar in self._bars())
        words = [f"newest: {self.newest}"] if self.newest else []
        return f"<table>{rows}</table>{''.join(f'<div>{escape(text)}</div>' for text in [*words, *self.told])}"

    def _bars(self) -> Iterator[tuple[str, str]]:
        under_way = sum(share for _, share in self.running.values())
        share = (self.done + under_way) / self.trainings if self.trainings else 1.0
        yield f"{self.steps} of {counted(self.nodes, 'step')}{self._time()}", _bar(share)
        yield from ((name, _bar(share)) for name, share in self.running.values())

    def _time(self) -> str:
        """Say how long it took, and while it goes on what is left."""
        if not self.began:
            return ""
        left = "" if self.over else f", {self.jobs} at a time, {time_left(self.forecast)} left"
        return f", {duration(time.monotonic() - self.began)}{left}"


def _bar(share: float) -> str:
    return f'<progress value="{min(max(share, 0.0), 1.0):.3f}" max="1"></progress> {share:.0%}'
