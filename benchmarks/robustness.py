"""What becomes of a study that is killed and of a store that is damaged, counted.

Kills: ``overparam run`` with two workers is killed (SIGKILL) at random moments, now and then only one of its workers,
and started again until it is done. No step whose result was in the store is run again, orphaned workers end by
themselves, and the table and every checkpoint are the bits of an undisturbed run.

Corruptions: one file of a finished store, drawn at random, is cut, gets one bit flipped or is deleted. Before the
repair the table shows only right numbers and says what is missing; ``Study.run`` reports the damage and computes again
what was lost, and the table is the same bits as before. A result whose numbers are deleted is as one that was never
computed: nobody can tell that it was there.

Run: ``python benchmarks/robustness.py [--kills 20] [--corruptions 500] [--seed 0]`` (Linux; some minutes).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from overparam import Store, Study, load_results
from overparam.errors import StoreError
from overparam.lab.describe import stored_facts
from overparam.lab.execute import Setup, Workshop
from overparam.lab.journal import JOURNAL_VARIABLE
from overparam.lab.results import MEASURED
from overparam.lab.run import execute
from overparam.lab.store import KINDS

KILLED = {
    "name": "killed",
    "world": {"dataset": "digits", "train_size": 800, "test_size": 200, "label_noise": {"rate": 0.2}},
    "network": {"name": "mlp", "hidden": [60]},
    "train": {"lr": 0.1, "batch_size": 8, "epochs": 8},
    "prune": {"fraction": 0.3},
    "chain": ["train", {"repeat": 6, "steps": ["prune", {"rewind": "20it"}, "train"]}],
    "sweep": {"seed": [0, 1]},
}

DAMAGED = {
    "name": "damaged",
    "world": {"dataset": "digits", "train_size": 60, "test_size": 40, "label_noise": {"rate": 0.2}},
    "network": {"name": "mlp", "hidden": [8]},
    "train": {"lr": 0.1, "batch_size": 20, "epochs": 2},
    "prune": {"fraction": 0.5},
    "chain": ["train", {"repeat": 2, "steps": ["prune", {"rewind": "2it"}, "train"]}],
    "variants": {"": {}, "diverging": {"train.lr": 1e30}},  # the second leaves a record of its failure
}

DAMAGES = ("truncation", "bit flip", "deletion")


def exact(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that are the same bits in every run."""
    return frame.drop(MEASURED, strict=False)


def step_files(store: Path) -> dict[str, bytes]:
    """Return all weights of a store by their path, and the curves by their step."""
    opened = Store(store, reading=True)
    weights = {str(p.relative_to(store)): p.read_bytes() for p in sorted((store / "steps").rglob("*.safetensors"))}
    curves = {name: opened.numbers("steps", name)["curve"] for name in opened.fingerprints("steps")}
    return {**weights, **{name: json.dumps(curve).encode() for name, curve in curves.items()}}


# Kills


@dataclass
class Kills:
    """What was counted."""

    mains: int = 0
    workers: int = 0
    rounds: int = 0
    journals: int = 0  # trainings that had left a journal when they were killed
    found: int = 0  # finished steps that a later run found
    repeated: list[str] = field(default_factory=list)  # steps run although their result was there: must stay empty
    slowest_orphan: float = 0.0  # seconds until the last worker of a killed run was gone


def children(parent: int) -> list[int]:
    """Return the ids of the processes that ``parent`` started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_gone(processes: list[int], seconds: float = 20.0) -> float:
    """Wait until ``processes`` have ended; return how long that took; raises :class:`TimeoutError`."""
    began = time.monotonic()
    while any(alive(process) for process in processes):
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"processes {processes} did not end within {seconds} s")
        time.sleep(0.01)
    return time.monotonic() - began


def alive(process: int) -> bool:
    """Tell whether a process runs."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def events(log: Path) -> list[dict[str, Any]]:
    """Return what a run has logged so far; a line cut by a kill is left out."""
    found = []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def start(
    study: Path, store: Path, log: Path, environment: Mapping[str, str] | None = None, jobs: int = 2
) -> subprocess.Popen[str]:
    """Start ``overparam run`` in a session of its own."""
    command = [sys.executable, "-m", "overparam", "run", str(study), "--store", str(store), "--log", str(log)]
    return subprocess.Popen(
        [*command, "--jobs", str(jobs), "--threads", "1"],
        cwd=study.parent,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ran(log: Path, since: int = 0) -> list[str]:
    """Return the steps that were run, by the events from number ``since`` on."""
    return [e["step"] for e in events(log)[since:] if e["event"] == "finished" and e["ran"]]


def in_store(store: Path) -> set[str]:
    """Return the steps that have a result."""
    return {path.stem for path in (store / "steps").glob("*/*.json")}


def killed_round(study: Path, folder: Path, draws: random.Random, most: int, counts: Kills, journal: bool) -> Path:
    """Run a study to its end with at most ``most`` kills of the run at random moments; return its store."""
    store, log = folder / "runs", folder / "log.jsonl"
    done = 0
    while True:
        before, known = in_store(store), len(events(log))
        process = start(study, store, log, {JOURNAL_VARIABLE: "0"} if journal else {})
        while done < most and _wait_for_a_moment(process, log, known, draws):
            workers = children(process.pid)
            if workers and draws.random() < 0.25:
                os.kill(draws.choice(workers), signal.SIGKILL)  # the run starts another and goes on
                counts.workers += 1
                continue
            process.kill()
            done += 1
            counts.mains += 1
            counts.slowest_orphan = max(counts.slowest_orphan, wait_gone(workers))
            counts.journals += sum(1 for _ in (store / "journals").glob("*/*.safetensors"))
            break
        _, said = process.communicate()
        again = ran(log, known)
        counts.found += len(before)
        counts.repeated += [*before.intersection(again), *(name for name, times in Counter(again).items() if times > 1)]
        if process.returncode == 0:
            counts.rounds += 1
            return store
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the run ended with exit code {process.returncode}: {said}")


def _wait_for_a_moment(process: subprocess.Popen[str], log: Path, known: int, draws: random.Random) -> bool:
    """Wait until some more steps are done and a moment longer; tell whether the process still runs.

    One moment in ten is while the program starts.
    """
    goal = -1 if draws.random() < 0.1 else len(ran(log, known)) + draws.randrange(1, 12)
    while process.poll() is None and len(ran(log, known)) < goal:
        time.sleep(0.02)
    time.sleep(draws.uniform(0.0, 1.0))
    return process.poll() is None


def kills(number: int, seed: int, folder: Path) -> Kills:
    """Kill a study ``number`` times; raises :class:`AssertionError` if its results are not those of a quiet run."""
    study = folder / "killed.yaml"
    study.write_text(yaml.safe_dump(KILLED))
    quiet = Study.from_file(study).run(folder / "quiet", jobs=1, threads=1)
    bits = step_files(folder / "quiet")
    counts, draws = Kills(), random.Random(seed)
    while counts.mains < number:
        place = folder / f"round-{counts.rounds}"
        place.mkdir()
        store = killed_round(study, place, draws, number - counts.mains, counts, journal=counts.rounds % 2 == 1)
        results = load_results(Store(store), "killed")
        assert results.complete
        assert exact(results.frame).equals(exact(quiet.frame)), "the table differs from that of a quiet run"
        assert step_files(store) == bits, "a checkpoint differs from that of a quiet run"
        print(
            f"round {counts.rounds}: {counts.mains} kills of the run, {counts.workers} of a worker so far; same bits",
            flush=True,
        )
    return counts


# Corruptions


@dataclass
class Corruptions:
    """What was counted: trials by kind of damage and by kind of file, and steps computed again."""

    trials: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    rows_hidden: int = 0  # rows left out of tables before the repair
    tables_refused: int = 0  # tables not shown at all, because the study's record was gone or damaged


class Original:
    """A small finished store with all kinds of files in it, and what its table holds."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "original"
        self.study = Study.from_mapping(DAMAGED)
        self.study.run(self.store, jobs=1, threads=1)
        self._leave_journal()
        seen = load_results(Store(self.store, reading=True), "damaged")
        self.missing = seen.missing
        self.whole_rows = {(row["chain"], row["step"]): row for row in exact(seen.frame).rows(named=True)}
        shutil.copytree(self.store, folder / "whole")
        self.results = self.study.run(folder / "whole", jobs=1, threads=1)
        self.frame, self.layers = exact(self.results.frame), exact(self.results.layers)
        assert self.results.failures
        assert self.missing == self.results.missing + 1
        self.files = sorted(
            str(p.relative_to(self.store)) for p in self.store.rglob("*") if p.is_file() and p.suffix != ".lock"
        )

    def _leave_journal(self) -> None:
        """Take the last training out of the store again, as if it had been killed after its first epoch."""
        plan, store = self.study.plan, Store(self.store)
        last = [row.node for row in plan.rows if store.has("steps", row.node)][-1]
        store.remove("steps", last)
        os.environ[JOURNAL_VARIABLE] = "0"
        try:
            Workshop(store, Setup(plan.worlds, plan.world_prints, plan.networks, 1)).run(
                plan.nodes[last], _killed_at_the_end
            )
        except _Killed:
            assert list(store.journal(last).glob("*.safetensors"))
        finally:
            del os.environ[JOURNAL_VARIABLE]


class _Killed(BaseException):
    pass


def _killed_at_the_end(done: int, total: int, _: Mapping[str, float]) -> None:
    if done == total:
        raise _Killed


def damage(path: Path, kind: str, draws: random.Random) -> None:
    """Cut a file at a random length, flip one of its bits, or delete it."""
    content = path.read_bytes()
    if kind == "deletion":
        path.unlink()
    elif kind == "truncation":
        path.write_bytes(content[: draws.randrange(len(content))])
    else:
        place = draws.randrange(8 * len(content))
        flipped = content[place // 8] ^ 1 << place % 8
        path.write_bytes(content[: place // 8] + bytes([flipped]) + content[place // 8 + 1 :])


def corrupt(original: Original, folder: Path, name: str, kind: str, draws: random.Random, counts: Corruptions) -> None:
    """Damage one file of a copy of the store; raises :class:`AssertionError` if anything wrong comes of it.

    Weights that a run does not read are found damaged when all is verified, as ``overparam check --verify`` does.
    """
    store = folder / "copy"
    shutil.copytree(original.store, store)
    damage(store / name, kind, draws)
    what = f"{kind} of {name}"
    counts.trials[kind] += 1
    counts.files[sort_of(name)] += 1
    _check_before(original, store, what, counts)

    study = Study.from_mapping(DAMAGED)
    if name.endswith(".safetensors") and not name.startswith("journals"):
        told = stored_facts(study.plan, Store(store, reading=True), verify=True)["damage"]
        assert told, f"{what} was not found"
        assert any(name in line for line in told), f"{what} was not told"
    mended = study.run(store, jobs=1, threads=1)
    gone = kind == "deletion" and name.startswith(KINDS) and name.endswith(".json")
    assert gone or any(_mentions(note, name) for note in mended.notes), f"{what} was not reported"
    assert exact(mended.frame).equals(original.frame), f"{what}: the table differs"
    assert exact(mended.layers).equals(original.layers), f"{what}: the table of layers differs"
    assert mended.failures == original.results.failures, f"{what}: other failures"
    again = execute(study.plan, Store(store), jobs=1, threads=1)
    assert (again.ran, again.notes) == (0, []), f"{what} was not repaired"
    shutil.rmtree(store)


def _mentions(note: str, name: str) -> bool:
    """Tell whether a note names a file, or the folder of the journal or record that it belongs to."""
    return name in note or (name.startswith(("journals/", "studies/")) and str(Path(name).parent) in note)


def _check_before(original: Original, store: Path, what: str, counts: Corruptions) -> None:
    """Look at the table of a damaged store: each row must be right, and fewer rows must be said to be fewer."""
    try:
        seen = load_results(Store(store, reading=True), "damaged")
    except StoreError:
        counts.tables_refused += 1
        return
    hidden = len(original.whole_rows) - len(seen.frame)
    counts.rows_hidden += hidden
    assert hidden == seen.missing - original.missing, f"{what}: a row is missing and not said to be"
    for row in exact(seen.frame).rows(named=True):
        assert row == original.whole_rows[row["chain"], row["step"]], f"{what}: a wrong number in the table"


def sort_of(name: str) -> str:
    """Return what kind of file of a store ``name`` is."""
    parts = Path(name).parts
    return f"{parts[0]}{Path(name).suffix}" if parts[0] == "steps" else parts[0]


def corruptions(number: int, seed: int, folder: Path) -> Corruptions:
    """Damage a store ``number`` times, each time another copy of it."""
    original, counts, draws = Original(folder), Corruptions(), random.Random(seed)
    for _ in range(number):
        corrupt(original, folder, draws.choice(original.files), draws.choice(DAMAGES), draws, counts)
    return counts


def main() -> None:
    """Run both and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--corruptions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if wanted.corruptions:
            began = time.monotonic()
            (folder / "corruptions").mkdir()
            print(corruptions(wanted.corruptions, wanted.seed, folder / "corruptions"))
            print(f"{wanted.corruptions} corruptions, each detected, reported and repaired, {_since(began)}")
        if wanted.kills:
            began = time.monotonic()
            (folder / "kills").mkdir()
            counts = kills(wanted.kills, wanted.seed, folder / "kills")
            print(counts)
            print(f"{counts.mains} kills of the run: {len(counts.repeated)} finished steps run again, {_since(began)}")


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"


if __name__ == "__main__":
    main()
