from __future__ import annotations

import contextlib
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from overparam import Chain, IncompleteWarning, Prune, RunError, Study, Train
from overparam.lab import LogReporter, PlainReporter, Reporter, reporter_for
from overparam.lab.progress import LiveReporter, duration, newest
from small import MLP, vectors

CHAIN = Chain(Train(epochs=2, batch_size=25), Prune(fraction=0.5), Train(epochs=2, batch_size=25))


def run(store: Path, reporter: Reporter, chain: Chain = CHAIN) -> None:
    with contextlib.suppress(RunError), warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        Study("told", vectors(), MLP, chain).run(store, jobs=1, threads=1, reporter=reporter)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_newest_numbers_in_words() -> None:
    assert newest({"train_accuracy": 0.987, "test_accuracy": 0.5, "loss": 3.0}) == "train 98.7%, test 50.0%"
    assert newest({"test_accuracy": None}) == ""


def test_plain_lines_for_files_and_pipes(tmp_path: Path) -> None:
    stream = io.StringIO()
    run(tmp_path, PlainReporter(stream))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "4 steps, 0 already in the store, 1 at a time"
    assert len(lines) == 3
    for place, line in enumerate(lines[1:]):
        assert line.startswith(f"[{place + 1}/2] train (level {place}), seed 0: train ")
        assert line.endswith("s left)")
    assert lines[-1].endswith("0 s left)")
    assert "\x1b" not in stream.getvalue()


def test_failures_and_notes_are_lines_too(tmp_path: Path) -> None:
    stream = io.StringIO()
    bad = Chain(Train(epochs=1, batch_size=25, lr=1e30), Prune(fraction=0.5), Train(epochs=1))
    run(tmp_path, PlainReporter(stream), bad)
    assert "FAILED train (level 0), seed 0: training diverged" in stream.getvalue()
    assert "(not run because of it: 2 steps)" in stream.getvalue()
    PlainReporter(stream).note("a word")
    assert stream.getvalue().endswith("note: a word\n")


def test_a_terminal_shows_what_runs_and_what_is_left(tmp_path: Path) -> None:
    class Looking(LiveReporter):
        """Keeps what is on the screen at each event."""

        screens: list[str]

        def look(self) -> None:
            console = Console(file=io.StringIO(), width=160)
            console.print(self.bars.get_renderable())
            self.screens.append(console.file.getvalue())

        def progress(self, *event: object) -> None:
            super().progress(*event)
            self.look()

        def finished(self, *event: object) -> None:
            super().finished(*event)
            self.look()

        def failed(self, *event: object) -> None:
            super().failed(*event)
            self.look()

    shown = io.StringIO()
    reporter = Looking(Console(file=shown, force_terminal=True, width=160))
    reporter.screens = []
    chain = Chain(*CHAIN.steps, Train(epochs=1, batch_size=25, lr=1e30))
    run(tmp_path, reporter, chain)
    screens = reporter.screens
    assert "1/5 steps" in screens[0]
    half = next(screen for screen in screens if "50%" in screen)
    assert "train (level 0), seed 0" in half
    assert "loss " in half
    assert "━" in half
    assert re.search(r"all, 1 at a time .* 1\d% +0:00:0\d", half), "half of the first training of three"
    after = next(screen for screen in screens if "2/5 steps" in screen)
    assert "newest: train (level 0), seed 0: train " in after
    assert re.search(r"33% +0:00:0\d +\d+ s left, 2/5 steps", after), "gone by, and left"
    assert "? left" in screens[0], "nothing is known as long as no training has ended"
    assert "1 failed" in screens[-1]
    assert "failed: train (level 1), seed 0: training diverged" in " ".join(shown.getvalue().split())


@pytest.mark.parametrize(("options", "width"), [({"no_color": True}, 60), ({}, 40), ({}, 10)])
def test_a_narrow_terminal_and_one_without_colours(options: dict[str, Any], width: int, tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=width, color_system="standard", **options)
    reporter = LiveReporter(console)
    chain = Chain(Train(epochs=2, batch_size=25), Prune(fraction=0.5), Train(epochs=1, batch_size=25, lr=1e30))
    run(tmp_path, reporter, chain)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert "diverged" in "".join(text.split())
    assert all(len(line) <= width for line in re.split(r"[\r\n]+", text))
    assert shown.getvalue().rstrip().endswith("\x1b[2K"), "the lines of the bars are gone at the end"
    assert bool(re.search(r"\x1b\[[0-9;]*3\dm", shown.getvalue())) != bool(options), "colours, unless there are none"


def test_a_step_that_is_begun_again_has_one_bar() -> None:
    reporter = LiveReporter(Console(file=io.StringIO(), force_terminal=True))
    node = next(n for n in Study("told", vectors(), MLP, CHAIN).plan.nodes.values() if n.trains)
    reporter.begin(4, 0, 2, 2)
    for _ in range(2):
        reporter.started(node)
        reporter.progress(node, 1, 2, {"loss": 0.5})
    assert [task.percentage for task in reporter.bars.tasks] == [25.0, 50.0]
    reporter.end()


def test_a_terminal_is_told_from_a_pipe() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(reporter_for(io.StringIO()), PlainReporter)
    assert isinstance(reporter_for(Terminal()), LiveReporter)


def test_the_log_has_an_object_a_line_and_passes_everything_on(tmp_path: Path) -> None:
    stream, path = io.StringIO(), tmp_path / "log.jsonl"
    path.write_text('{"event": "older"}\n')
    run(tmp_path / "runs", LogReporter(PlainReporter(stream), path))
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["event"] for event in events] == [
        "older",
        "begin",
        *["started", "finished"] * 4,
        "end",
    ]
    assert events[1] | {"time": 0} == {"time": 0, "event": "begin", "nodes": 4, "finished": 0, "jobs": 1}
    assert all(event["ran"] and event["seconds"] > 0 for event in events if event["event"] == "finished")
    times = [event["time"] for event in events[1:]]
    assert times == sorted(times)
    assert len(stream.getvalue().splitlines()) == 3


def test_starting_workers_is_said() -> None:
    stream = io.StringIO()
    PlainReporter(stream).begin(8, 0, 2, 4)
    assert stream.getvalue().splitlines() == ["8 steps, 0 already in the store, 2 at a time", "starting 2 workers"]
    reporter = LiveReporter(Console(file=io.StringIO(), force_terminal=True))
    reporter.begin(8, 0, 2, 4)
    assert reporter.bars.tasks[0].fields["words"] == "starting 2 workers"
    reporter.end()


def test_every_line_names_its_arm(tmp_path: Path) -> None:
    stream = io.StringIO()
    variants = {"a": {}, "b": {"prune.criterion": "random"}}
    study = Study("told", vectors(), MLP, CHAIN, variants=variants)
    study.run(tmp_path, jobs=1, threads=1, reporter=PlainReporter(stream))
    told = [line.partition(": ")[0].partition("] ")[2] for line in stream.getvalue().splitlines()[1:]]
    assert sorted(told) == [
        "train (level 0), shared by 2 arms, seed 0",
        "train (level 1), a, seed 0",
        "train (level 1), b, seed 0",
    ]
