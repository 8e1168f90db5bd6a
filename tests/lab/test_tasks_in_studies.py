"""Each kind of task and world in a study, as YAML and as Python, stopped and resumed with the same bits."""

from __future__ import annotations

import pydoc_data.topics
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from overparam import Chain, Network, Prune, Study, Train, World
from overparam.lab import Results, load_module
from overparam.lab.journal import FileJournal
from overparam.train import evaluate

LETTERS = "".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)[:4])[:8000]
TEXT = {"text": {"path": "letters.txt", "context": 16}}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "transformer": (
        """
        world: {dataset: {text: {path: letters.txt, context: 16}}, validation: 0.1}
        network: {name: transformer, layers: 1, heads: 2, width: 16}
        chain:
          - train: {optimizer: adamw, lr: 3e-3, batch_size: 64, epochs: 4, evaluate_at: log}
          - prune: {fraction: 0.5, include: [embedding]}
          - train: {optimizer: adamw, lr: 1e-3, batch_size: 64, epochs: 1}
        """,
        {
            "world": World(TEXT, validation=0.1),
            "network": Network("transformer", {"layers": 1, "heads": 2, "width": 16}),
            "chain": Chain(
                Train(optimizer="adamw", lr=3e-3, batch_size=64, epochs=4, evaluate_at="log"),
                Prune(fraction=0.5, include=("embedding",)),
                Train(optimizer="adamw", lr=1e-3, batch_size=64, epochs=1),
            ),
        },
    ),
    "gru": (
        """
        world: {dataset: {text: {path: letters.txt, context: 16}}}
        network: {name: gru, hidden: 16, embedding: 8}
        chain:
          - train: {optimizer: adam, lr: 0.01, batch_size: 64, epochs: 4, evaluate_every: 2}
          - prune: {density: 0.3}
          - train: {optimizer: adam, lr: 0.01, batch_size: 64, epochs: 1}
        """,
        {
            "world": World(TEXT),
            "network": Network("gru", {"hidden": 16, "embedding": 8}),
            "chain": Chain(
                Train(optimizer="adam", lr=0.01, batch_size=64, epochs=4, evaluate_every=2),
                Prune(density=0.3),
                Train(optimizer="adam", lr=0.01, batch_size=64, epochs=1),
            ),
        },
    ),
    "regression": (
        """
        world: {dataset: diabetes, validation: 50}
        network: {name: mlp, hidden: [16]}
        chain:
          - train: {lr: 0.05, batch_size: 32, epochs: 6, stop_at: {patience: 3}}
          - prune: {fraction: 0.5}
          - train: {lr: 0.05, batch_size: 32, epochs: 2}
        """,
        {
            "world": World("diabetes", validation=50),
            "network": Network("mlp", {"hidden": [16]}),
            "chain": Chain(
                Train(lr=0.05, batch_size=32, epochs=6, stop_at={"patience": 3}),
                Prune(fraction=0.5),
                Train(lr=0.05, batch_size=32, epochs=2),
            ),
        },
    ),
    "reconstruction": (
        """
        world: {dataset: digits, train_size: 200, task: reconstruction}
        network: {name: mlp, hidden: [12]}
        chain:
          - train: {optimizer: adam, lr: 0.01, batch_size: 32, epochs: 4}
          - prune: {fraction: 0.5}
          - train: {optimizer: adam, lr: 0.01, batch_size: 32, epochs: 1}
        """,
        {
            "world": World("digits", train_size=200, task="reconstruction"),
            "network": Network("mlp", {"hidden": [12]}),
            "chain": Chain(
                Train(optimizer="adam", lr=0.01, batch_size=32, epochs=4),
                Prune(fraction=0.5),
                Train(optimizer="adam", lr=0.01, batch_size=32, epochs=1),
            ),
        },
    ),
    "endless": (
        """
        world: {dataset: mnist-1d, endless: 300, test_size: 100}
        network: {name: mlp, hidden: [20]}
        chain:
          - train: {lr: 0.1, batch_size: 50, epochs: 5}
          - prune: {criterion: gradient, fraction: 0.5}
          - train: {lr: 0.1, batch_size: 50, epochs: 1}
        """,
        {
            "world": World("mnist-1d", endless=300, test_size=100),
            "network": Network("mlp", {"hidden": [20]}),
            "chain": Chain(
                Train(lr=0.1, batch_size=50, epochs=5),
                Prune("gradient", fraction=0.5),
                Train(lr=0.1, batch_size=50, epochs=1),
            ),
        },
    ),
    "labels and images, noisy": (
        """
        world: {dataset: digits, train_size: 200, validation: 100, label_noise: {kind: symmetric, rate: 0.3}}
        network: {name: mlp, hidden: [20]}
        chain:
          - train: {lr: 0.1, batch_size: 50, epochs: 5}
          - prune: {fraction: 0.5}
          - train: {lr: 0.1, batch_size: 50, epochs: 1}
        """,
        {
            "world": World("digits", train_size=200, validation=100, label_noise={"kind": "symmetric", "rate": 0.3}),
            "network": Network("mlp", {"hidden": [20]}),
            "chain": Chain(
                Train(lr=0.1, batch_size=50, epochs=5),
                Prune(fraction=0.5),
                Train(lr=0.1, batch_size=50, epochs=1),
            ),
        },
    ),
}
COLUMNS = {
    "transformer": {f"{split}_{name}" for split in ("train", "validation", "test") for name in ("loss", "bits")},
    "gru": {"train_accuracy", "test_accuracy", "test_bits"},
    "regression": {"train_mse", "validation_r2", "test_r2"},
    "reconstruction": {"train_mse", "test_r2"},
    "endless": {"train_accuracy", "test_accuracy", "test_soft_error"},
    "labels and images, noisy": {"train_accuracy_noisy_part", "validation_accuracy_clean", "test_accuracy"},
}


@pytest.fixture(autouse=True)
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own help texts, as a file in a data folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letters.txt").write_text(LETTERS)
    monkeypatch.setenv("OVERPARAM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OVERPARAM_JOURNAL_SECONDS", "0")


def from_yaml(name: str, folder: Path) -> Study:
    path = folder / "tasks.yaml"
    path.write_text("name: tasks\nprobes: [accuracy, density, cost]\n" + textwrap.dedent(CASES[name][0]))
    return Study.from_file(path)


def values(results: Results) -> pl.DataFrame:
    return results.frame.drop("seconds", "seconds_before", "peak_memory_bytes")


@pytest.mark.parametrize("name", CASES)
def test_stopped_in_the_middle_it_ends_with_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = from_yaml(name, tmp_path).run(store=tmp_path / "whole", threads=1)
    saved: list[int] = []
    loaded: list[int] = []
    save, load = FileJournal.save, FileJournal.load

    def dying(journal: FileJournal, tensors: Any, facts: Any) -> None:
        save(journal, tensors, facts)
        saved.append(facts["iteration"])
        if len(saved) == 2:
            raise KeyboardInterrupt

    def noting(journal: FileJournal) -> Any:
        found = load(journal)
        loaded.extend([found[1]["iteration"]] if found else [])
        return found

    monkeypatch.setattr(FileJournal, "save", dying)
    monkeypatch.setattr(FileJournal, "load", noting)
    with pytest.raises(KeyboardInterrupt):
        from_yaml(name, tmp_path).run(store=tmp_path / "stopped", threads=1)
    resumed = from_yaml(name, tmp_path).run(store=tmp_path / "stopped", threads=1)
    assert loaded == saved[1:2], "taken up where it was stopped"
    assert_frame_equal(values(resumed), values(whole), check_exact=True)
    assert resumed.curves.equals(whole.curves)
    assert COLUMNS[name] <= set(whole.frame.columns)
    assert whole.frame["density"][1] < 1
    assert whole.chosen_on == ("validation" if "validation_loss" in whole.frame.columns else "test")
    data = from_yaml(name, tmp_path).experiments[0].world.build()
    rebuilt = evaluate(load_module(tmp_path / "whole", whole.frame["fingerprint"][-1]), data.test.examples(), data.task)
    assert {f"test_{metric}": rebuilt[metric] for metric in data.task.metrics} == {
        f"test_{metric}": whole.frame[f"test_{metric}"][-1] for metric in data.task.metrics
    }
    assert whole.sections()[0][0].title.startswith("Test accuracy " if "test_accuracy" in COLUMNS[name] else "Test ")
    assert "not measured" not in whole.sections()[0][0].title, "the task's own metric is told"
    assert whole.frame.select(COLUMNS[name]).null_count().sum_horizontal().item() == 0


@pytest.mark.parametrize("name", CASES)
def test_python_means_the_same_as_yaml(name: str, tmp_path: Path) -> None:
    ours = Study("tasks", **CASES[name][1], probes=["accuracy", "density", "cost"])
    assert list(ours.plan.nodes) == list(from_yaml(name, tmp_path).plan.nodes)
    assert list(ours.plan.measurements) == list(from_yaml(name, tmp_path).plan.measurements)
