"""First users of other chains and of pairs, on real data: as a file and in Python, stopped and resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from overparam import Chain, LinearPath, MaskOverlap, Prune, Repeat, Results, Rewind, Store, Study, Train
from overparam.lab import Reporter, parse_yaml
from overparam.lab.execute import Done
from overparam.lab.journal import JOURNAL_VARIABLE
from overparam.lab.plan import Node
from overparam.lab.results import MEASURED
from overparam.train import Distill

WORLD = {"dataset": "digits", "train_size": 200, "test_size": 200}
SMALL = {"name": "mlp", "hidden": [12]}
TRAINING = {"lr": 0.1, "batch_size": 32, "epochs": 4}

DISTILLED = """
name: distilled
world: {dataset: digits, train_size: 200, test_size: 200}
network: {name: mlp, hidden: [12]}
train: {lr: 0.1, batch_size: 32, epochs: 4}
chain: [train]
variants:
  teacher:
    network: {name: lenet-300-100, width: 0.2}
    chain: [{train: {epochs: 6}}, {prune: 0.5}, {finetune: {epochs: 2}}]
  alone: {}
  student: {train.loss: {distill: {teacher: teacher/last, temperature: 4, weight: 0.9}}}
probes: [accuracy]
"""

PAIRS = """
name: pairs
world: {dataset: digits, train_size: 200, test_size: 200}
network: {name: mlp, hidden: [12]}
train: {lr: 0.1, batch_size: 32, epochs: 4}
prune: {criterion: magnitude, fraction: 0.5}
chain: [train, {repeat: 2, steps: [prune, {rewind: 5it}, train]}]
probes:
  - mask-overlap
  - mask-overlap: {against: seed+1}
  - linear-path: {against: seed+1, points: 3}
  - linear-path: {points: 3}
sweep: {seed: [0, 1]}
"""


def distilled() -> Study:
    training = Train(**TRAINING)
    teacher = Chain(Train(**{**TRAINING, "epochs": 6}), Prune(fraction=0.5), Train(called="finetune", epochs=2))
    variants = {
        "teacher": {"network": {"name": "lenet-300-100", "width": 0.2}, "chain": teacher},
        "alone": {},
        "student": {"chain": Chain(Train(**TRAINING, loss=Distill("teacher/last", temperature=4, weight=0.9)))},
    }
    return Study("distilled", WORLD, SMALL, Chain(training), variants=variants, probes=["accuracy"])


def pairs() -> Study:
    training = Train(**TRAINING)
    chain = Chain(training, Repeat(2, Prune("magnitude", fraction=0.5), Rewind("5it"), training))
    paths = [LinearPath("seed+1", points=3), LinearPath(points=3)]
    return Study(
        "pairs", WORLD, SMALL, chain, probes=[MaskOverlap(), MaskOverlap("seed+1"), *paths], sweep={"seed": [0, 1]}
    )


class Stopping(Reporter):
    """Stops a run, as Ctrl-C does, in the second epoch of a training, or when a step is done."""

    def __init__(self, in_title: str = "", after: int = 0) -> None:
        self.in_title, self.left = in_title, after
        self.ran: list[str] = []

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        if self.in_title and self.in_title in node.title and row["epoch"] == 2:
            raise KeyboardInterrupt

    def finished(self, node: Node, done: Done) -> None:
        if done.ran:
            self.ran.append(node.fingerprint)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def run(study: Study, store: Path, reporter: Reporter | None = None) -> Results:
    return study.run(store, jobs=1, threads=1, reporter=reporter)


def exact(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(MEASURED, strict=False)


def weights(study: Study, store: Path) -> dict[str, bytes]:
    return {name: Store(store, reading=True).weights(name) for name in study.plan.steps}


@pytest.mark.parametrize(("text", "made"), [(DISTILLED, distilled), (PAIRS, pairs)], ids=["distilled", "pairs"])
def test_the_file_and_the_python_code_are_one(text: str, made: Any) -> None:
    from_file = Study.from_mapping(parse_yaml(text, "study"))
    assert list(from_file.plan.nodes) == list(made().plan.nodes)


def test_a_student_that_is_stopped_goes_on_with_its_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOURNAL_VARIABLE, "0")
    study, stopping, going = distilled(), Stopping("student"), Stopping()
    whole = run(study, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "stopped", stopping)
    (journal,) = (tmp_path / "stopped" / "journals").iterdir()
    assert study.plan.nodes[journal.name].given, "in the middle of the student's training"
    assert list(journal.glob("*.safetensors"))
    resumed = run(study, tmp_path / "stopped", going)
    assert going.ran == [journal.name], "nothing but it is run"
    assert exact(resumed.frame).equals(exact(whole.frame))
    assert weights(study, tmp_path / "stopped") == weights(study, tmp_path / "whole")
    by_arm = {row["variant"]: row for row in whole.frame.iter_rows(named=True)}
    assert by_arm["student"]["fingerprint"] != by_arm["alone"]["fingerprint"]
    assert by_arm["teacher"]["weights"] != by_arm["student"]["weights"], "of another architecture"
    assert by_arm["student"]["test_accuracy"] > 0.3, "a guess is right in 0.1"


def test_pairs_that_are_stopped_are_measured_in_the_end(tmp_path: Path) -> None:
    study = pairs()
    whole = run(study, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "stopped", stopping := Stopping(after=12))
    resumed = run(study, tmp_path / "stopped", going := Stopping())
    assert not set(stopping.ran) & set(going.ran), "nothing is run twice"
    assert exact(resumed.frame).equals(exact(whole.frame))
    assert weights(study, tmp_path / "stopped") == weights(study, tmp_path / "whole")


def test_what_pairs_measure(tmp_path: Path) -> None:
    frame = run(Study.from_mapping(parse_yaml(PAIRS, "study")), tmp_path).frame
    assert frame["seed"].to_list() == [0, 0, 0, 1, 1, 1], "that of the third seed is trained and has no row"
    assert frame["mask_overlap"].to_list() == pytest.approx([1, 0.5, 0.5] * 2, abs=0.01), "halved each time"
    for row in frame.iter_rows(named=True):
        chance = row["mask_overlap_expected_seed_1"]
        assert chance == pytest.approx({0: 1, 1: 1 / 3, 2: 1 / 7}[row["level"]], abs=0.1), "layers are not alike"
        assert chance - 0.05 <= row["mask_overlap_seed_1"] <= 1
        ends = [row[f"path_test_loss_{place}_seed_1"] for place in (0, 2)]
        highest = max(row[f"path_test_loss_{place}_seed_1"] for place in range(3))
        assert row["test_loss_barrier_seed_1"] == pytest.approx(highest - sum(ends) / 2)
    assert frame["test_error_barrier_seed_1"][0] > 0.05, "two seeds lie in valleys of their own"
