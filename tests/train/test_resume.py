"""Five epochs, a kill, five more: the same bits as ten at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from overparam import Checkpoint, Dataset, Network
from overparam.lab import journal as journals
from overparam.lab.journal import FileJournal
from overparam.lab.store import checksum
from overparam.train import Fit, StopAt, TrainSettings, fit
from overparam.train.loop import Journal
from overparam.worlds import Augmentation, WorldData
from small import CONV, MLP, begin, built, half_pruned, images, same_bits, vectors


class Killed(Exception):
    pass


class MemoryJournal:
    """Keeps everything, and dies after the epochs it is told."""

    def __init__(self, die_after: int | None = None) -> None:
        self.kept: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self.die_after, self.saves = die_after, 0

    def due(self) -> bool:
        return True

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.kept = ({name: tensor.clone() for name, tensor in tensors.items()}, dict(facts))
        self.saves += 1
        if self.saves == self.die_after:
            raise Killed

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return self.kept


def run(network: Network, data: WorldData, settings: TrainSettings, start: Checkpoint, journal: Journal | None) -> Fit:
    module = start.load_into(network.build(data.input_shape, data.classes, 99))
    return fit(module, data, settings, masks=start.masks, seed=3, journal=journal)


CASES: dict[str, tuple[Network, Dataset, dict[str, Any]]] = {
    "sgd": (MLP, vectors(), {}),
    "momentum, weight decay, l1": (
        MLP,
        vectors(),
        {"optimizer": {"sgd": {"momentum": 0.9, "weight_decay": 0.01}}, "l1": 0.001},
    ),
    "nesterov, milestones": (
        MLP,
        vectors(),
        {"optimizer": {"sgd": {"momentum": 0.9, "nesterov": True}}, "schedule": {"multistep": {"milestones": [3, 6]}}},
    ),
    "adam, cosine": (MLP, vectors(), {"optimizer": "adam", "lr": 0.01, "schedule": "cosine"}),
    "adamw, warmup": (MLP, vectors(), {"optimizer": {"adamw": {"weight_decay": 0.1}}, "lr": 0.01, "warmup": 6}),
    "batch norm, dropout, augmentation": (
        CONV,
        images(),
        {"optimizer": {"sgd": {"momentum": 0.9}}, "save": ("1ep", "6it", "7ep")},
    ),
    "adam, batch norm, dropout": (CONV, images(), {"optimizer": "adam", "lr": 0.01, "evaluate_every": "6it"}),
}


@pytest.mark.parametrize("stop", [1, 5])
@pytest.mark.parametrize("case", CASES)
def test_five_epochs_and_five_more_are_ten_bit_for_bit(case: str, stop: int) -> None:
    network, dataset, changes = CASES[case]
    augmentation = Augmentation(crop=1, flip=True) if "augmentation" in case else None
    data = built(dataset, augmentation=augmentation)
    settings = TrainSettings(**{"epochs": 10, "batch_size": 16, **changes})
    start = half_pruned(begin(network, data), 0.7)
    whole = run(network, data, settings, start, None)
    journal = MemoryJournal(die_after=stop)
    with pytest.raises(Killed):
        run(network, data, settings, start, journal)
    journal.die_after = None
    resumed = run(network, data, settings, start, journal)
    assert journal.saves == 9, "the nine epochs that were not the last, each once"
    assert same_bits(resumed.state, whole.state)
    assert list(resumed.points) == list(whole.points)
    assert all(same_bits(resumed.points[point], state) for point, state in whole.points.items())
    assert resumed.curve == whole.curve
    assert (resumed.iterations, resumed.stopped_early) == (whole.iterations, whole.stopped_early)


@pytest.mark.parametrize("case", ["adam, batch norm, dropout", "batch norm, dropout, augmentation"])
def test_the_journal_on_disk_keeps_every_bit(case: str, tmp_path: Path) -> None:
    network, dataset, changes = CASES[case]
    data = built(dataset)
    settings = TrainSettings(**{"epochs": 4, "batch_size": 16, **changes, "save": ("1ep",)})
    start = half_pruned(begin(network, data), 0.7)
    whole = run(network, data, settings, start, None)

    class Dying(FileJournal):
        def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
            super().save(tensors, facts)
            if facts["iteration"] == 8:
                raise Killed

    with pytest.raises(Killed):
        run(network, data, settings, start, Dying(tmp_path / "journal", seconds=0))
    kept = FileJournal(tmp_path / "journal", seconds=1e9)
    resumed = run(network, data, settings, start, kept)
    assert kept.notes == []
    assert asdict(resumed).keys() == asdict(whole).keys()
    assert same_bits(resumed.state, whole.state)
    assert same_bits(resumed.points["1ep"], whole.points["1ep"])
    assert resumed.curve == whole.curve
    kept.clear()
    assert not (tmp_path / "journal").exists()


def test_a_training_that_stopped_early_is_not_taken_up_behind_its_end() -> None:
    data = built(vectors())
    settings = TrainSettings(epochs=10, batch_size=16, stop_at=StopAt(train_accuracy=0.5))
    start = begin(MLP, data)
    journal = MemoryJournal()
    whole = run(MLP, data, settings, start, journal)
    assert whole.stopped_early
    again = run(MLP, data, settings, start, journal)  # killed after its end, before its result was written
    assert same_bits(again.state, whole.state)
    assert again.iterations == whole.iterations


def test_a_journal_changes_nothing() -> None:
    data = built(vectors())
    settings = TrainSettings(epochs=2, batch_size=16)
    start = begin(MLP, data)
    assert same_bits(
        run(MLP, data, settings, start, None).state, run(MLP, data, settings, start, MemoryJournal()).state
    )


def test_a_journal_that_another_run_clears_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = built(vectors())
    settings = TrainSettings(epochs=2, batch_size=16)
    start = begin(MLP, data)
    whole = run(MLP, data, settings, start, None)
    run(MLP, data, settings, start, FileJournal(tmp_path / "journal", seconds=0))
    assert list((tmp_path / "journal").glob("*.safetensors"))

    def and_gone(content: bytes) -> str:
        found = checksum(content)
        for path in (tmp_path / "journal").glob("*.safetensors"):
            path.unlink()
        return found

    monkeypatch.setattr(journals, "checksum", and_gone)
    journal = FileJournal(tmp_path / "journal", seconds=1e9)
    assert same_bits(run(MLP, data, settings, start, journal).state, whole.state)
    assert journal.notes == []  # what was read is whole
