"""A study that is killed goes on where it was, runs nothing twice and ends with the bits of an undisturbed one.

A short form of what ``benchmarks/robustness.py`` does twenty times. Ctrl-C is in here too: it is the gentle kill.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from overparam import Store, Study
from overparam.lab import LogReporter, Reporter, Results, load_results
from overparam.lab.execute import JOURNAL_VARIABLE
from robustness import children, events, exact, in_store, ran, start, step_files, wait_gone

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")

SMALL = str(Path(__file__).parents[1])  # the folder of small.py
STUDY = {
    "name": "killed",
    "world": {"dataset": "small:vectors", "label_noise": {"rate": 0.2}},
    "network": {"name": "mlp", "hidden": [16]},
    "train": {"lr": 0.05, "batch_size": 5, "epochs": 50},
    "prune": {"fraction": 0.3},
    "chain": ["train", {"repeat": 5, "steps": ["prune", {"rewind": "10it"}, "train"]}],
    "sweep": {"seed": [0, 1]},
}
STEPS = 2 * (1 + 1 + 5 * 3)


@dataclass
class Story:
    """What happened to a study that was killed three times, once by Ctrl-C, and then left to end."""

    store: Path
    log: Path
    study: Path
    repeated: list[str] = field(default_factory=list)
    found: list[int] = field(default_factory=list)
    journals: int = 0
    interrupted: tuple[int, str, str] = (0, "", "")
    scratch: list[Path] = field(default_factory=list)
    results: Results | None = None

    def begin(self, **environment: str) -> tuple[subprocess.Popen[str], int]:
        self.found.append(len(in_store(self.store)))
        known = len(events(self.log))
        return start(self.study, self.store, self.log, {"PYTHONPATH": SMALL, **environment}), known

    def wait(self, process: subprocess.Popen[str], known: int, finished: int) -> None:
        """Wait until the process has logged something, and has run so many steps."""
        deadline = time.monotonic() + 200
        while len(events(self.log)) <= known or len(ran(self.log, known)) < finished:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kept(self) -> int:
        """Return how many trainings have left a journal."""
        return sum(1 for _ in (self.store / "journals").glob("*/*.safetensors"))

    def check(self, before: set[str], known: int) -> None:
        again = ran(self.log, known)
        self.repeated += before.intersection(again)
        self.repeated += [step for step, times in Counter(again).items() if times > 1]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    told = Story(folder / "runs", folder / "log.jsonl", folder / "killed.yaml")
    told.study.write_text(yaml.safe_dump(STUDY))

    # a worker dies, the run goes on; then the run is killed, in the middle of trainings that keep journals
    process, known = told.begin(**{JOURNAL_VARIABLE: "0"})
    told.wait(process, known, 3)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    told.wait(process, known, len(ran(told.log, known)) + 4)
    while not told.kept():
        assert process.poll() is None, process.communicate()
    workers = children(process.pid)
    process.kill()
    process.communicate()
    wait_gone(workers)
    told.check(set(), known)
    told.journals = told.kept()

    # the run is killed while it starts its workers
    before = in_store(told.store)
    process, known = told.begin()
    told.wait(process, known, 0)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    wait_gone(workers)
    told.check(before, known)

    # Ctrl-C, as a terminal sends it: to the whole group of processes
    before = in_store(told.store)
    process, known = told.begin()
    told.wait(process, known, 3)
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert not workers or wait_gone(workers) < 1.0  # they are gone before the run is
    told.interrupted = (process.returncode, out, err)
    told.scratch = list((told.store / "scratch").iterdir())
    told.check(before, known)

    before, known = in_store(told.store), len(events(told.log))
    told.found.append(len(before))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [SMALL, *sys.path])
        reporter = LogReporter(Reporter(), told.log)
        told.results = Study.from_file(told.study).run(told.store, jobs=1, threads=1, reporter=reporter)
    told.check(before, known)
    return told


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    store = tmp_path_factory.mktemp("quiet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [SMALL, *sys.path])
        return store, Study.from_mapping(STUDY).run(store, jobs=1, threads=1)


def test_each_run_found_what_was_done_before(story: Story) -> None:
    assert story.found[0] == 0
    assert story.found == sorted(story.found)
    assert story.found[1] >= 7
    assert story.found[3] > story.found[2]
    assert len(in_store(story.store)) == STEPS


def test_no_finished_step_is_run_again(story: Story) -> None:
    assert story.repeated == []


def test_same_table(story: Story, quiet: tuple[Path, Results]) -> None:
    assert story.results is not None
    assert story.results.complete
    assert not story.results.failures
    assert exact(story.results.frame).equals(exact(quiet[1].frame))
    assert exact(story.results.layers).equals(exact(quiet[1].layers))


def test_same_bits_of_every_checkpoint(story: Story, quiet: tuple[Path, Results]) -> None:
    """Trainings that went on from a journal, and those that ran in workers, included."""
    assert story.journals >= 1
    assert step_files(story.store) == step_files(quiet[0])


def test_journals_are_gone_when_all_is_done(story: Story) -> None:
    assert list((story.store / "journals").iterdir()) == []


def test_ctrl_c_is_clean(story: Story) -> None:
    code, out, err = story.interrupted
    assert code == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.strip().split("\n")[-1] == (
        f"stopped; every finished step of killed is in {story.store}. "
        "Run the same command again to go on."
    )
    assert story.scratch == []


def test_log_ends_well_after_ctrl_c(story: Story) -> None:
    logged = [event["event"] for event in events(story.log)]
    assert logged.count("begin") == 4
    assert logged.count("end") == 2  # of the run that Ctrl-C stopped, and of the last one


def test_two_runs_at_once(tmp_path: Path, quiet: tuple[Path, Results]) -> None:
    """Both end well with the same table, whoever ran which step."""
    study = tmp_path / "killed.yaml"
    study.write_text(yaml.safe_dump(STUDY))
    both = [
        start(study, tmp_path / "runs", tmp_path / f"log-{n}", {"PYTHONPATH": SMALL, JOURNAL_VARIABLE: "0"}, jobs=1)
        for n in range(2)
    ]
    said = [process.communicate(timeout=250) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    results = load_results(Store(tmp_path / "runs"), "killed")
    assert results.complete
    assert exact(results.frame).equals(exact(quiet[1].frame))
    assert step_files(tmp_path / "runs") == step_files(quiet[0])
