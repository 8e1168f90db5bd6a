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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from overparam import Store, Study
from overparam.lab import LogReporter, Reporter, Results, load_results
from overparam.lab.journal import JOURNAL_VARIABLE
from robustness import alive, children, events, exact, in_store, ran, start, step_files, wait_gone

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")

SMALL = str(Path(__file__).parents[1])  # the folder of small.py
STUDY = {
    "name": "killed",
    "world": {"dataset": "small:vectors", "label_noise": {"rate": 0.2}},
    "network": {"name": "mlp", "hidden": [16]},
    "train": {"lr": 0.05, "batch_size": 10, "epochs": 30},
    "prune": {"fraction": 0.3},
    "chain": [
        {"train": {"epochs": 300}},  # long enough to be killed in the middle
        {"repeat": 5, "steps": ["prune", {"rewind": "10it"}, "train"]},
    ],
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
    orphans: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    scratch: list[Path] = field(default_factory=list)
    results: Results | None = None

    def begin(self, **environment: str) -> tuple[subprocess.Popen[str], int]:
        self.found.append(len(in_store(self.store)))
        known = len(events(self.log))
        return start(self.study, self.store, self.log, {"PYTHONPATH": SMALL, **environment}), known

    def wait(self, until: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 200
        while not until():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self, process: subprocess.Popen[str]) -> list[float]:
        """Kill the run and return the seconds until the last of its workers had ended by itself."""
        workers = children(process.pid)
        process.kill()
        process.communicate()
        return [wait_gone(workers)] if workers else []

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

    # killed in the middle of the first trainings, which keep journals
    process, known = told.begin(**{JOURNAL_VARIABLE: "0"})
    told.wait(lambda: told.kept() > 0, process)
    told.orphans += told.kill(process)
    told.check(set(), known)
    told.journals = told.kept()

    # killed while its workers start
    before = in_store(told.store)
    process, known = told.begin()
    told.wait(lambda: len(children(process.pid)) == 2, process)
    told.orphans += told.kill(process)
    told.check(before, known)

    # a worker is killed and the run goes on, until Ctrl-C, as a terminal sends it: to the whole group of processes
    before = in_store(told.store)
    process, known = told.begin()
    told.wait(lambda: len(ran(told.log, known)) >= 3, process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    told.wait(lambda: len(ran(told.log, known)) >= 6, process)
    workers = children(process.pid)
    while process.poll() is None:  # somebody who cannot wait
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    out, err = process.communicate(timeout=60)
    told.interrupted = (process.returncode, out, err)
    told.left = [worker for worker in workers if alive(worker)]
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
    assert story.found == sorted(story.found)
    assert story.found[0] == 0
    assert story.found[3] >= story.found[2] + 6
    assert len(in_store(story.store)) == STEPS


def test_orphaned_workers_end_by_themselves(story: Story) -> None:
    assert len(story.orphans) == 2
    assert max(story.orphans) < 15  # a fifth of a second, or the time that Python takes to start


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
        f"stopped; every finished step of killed is in {story.store}. Run the same command again to go on."
    )
    assert story.left == []
    assert story.scratch == []


def test_log_ends_well_after_ctrl_c(story: Story) -> None:
    logged = [event["event"] for event in events(story.log)]
    assert logged.count("begin") == 4
    assert logged.count("end") == 2  # of the run that Ctrl-C stopped, and of the last one


def test_two_runs_at_once(tmp_path: Path, quiet: tuple[Path, Results], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both end well with the same table, whoever ran which step; here they also write journals in the same places."""
    study, store, log = tmp_path / "killed.yaml", tmp_path / "runs", tmp_path / "log.jsonl"
    study.write_text(yaml.safe_dump(STUDY))
    other = start(study, store, log, {"PYTHONPATH": SMALL, JOURNAL_VARIABLE: "0"}, jobs=1)
    while not any(event["event"] == "started" for event in events(log)):
        assert other.poll() is None, other.communicate()
        time.sleep(0.01)
    monkeypatch.setenv(JOURNAL_VARIABLE, "0")
    results = Study.from_file(study).run(store, jobs=1, threads=1)
    _, said = other.communicate(timeout=200)
    assert other.returncode == 0, said
    assert results.complete
    assert exact(results.frame).equals(exact(quiet[1].frame))
    assert exact(load_results(Store(store), "killed").frame).equals(exact(quiet[1].frame))
    assert step_files(store) == step_files(quiet[0])


def test_taking_up_a_study_keeps_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two chains one is left to run: it has as many threads as when there were two, and so the same bits."""
    monkeypatch.setattr("overparam.lab.run.available_cores", lambda: 2)
    study = Study.from_mapping({**STUDY, "chain": [{"train": {"epochs": 1}}]})
    study.run(tmp_path, jobs=1, threads=1)
    store = Store(tmp_path)
    last = study.plan.rows[-1].node
    store.remove("steps", last)
    study.run(tmp_path)
    assert store.numbers("steps", last)["machine"]["threads"] == "1"
