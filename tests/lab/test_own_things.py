"""What a user brings: it works as it is, in this process and in workers, and a changed one never finds old results."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
from torch import Tensor, nn

from overparam import Chain, Checkpoint, Dataset, Network, Prune, Repeat, Results, Study, Train, World
from overparam.errors import RunError
from overparam.lab.results import MEASURED
from overparam.probes import Measurements, Probe, View
from overparam.prune import Evidence
from overparam.spec import spec
from overparam.steps import Context, Outcome, Step
from small import MLP, vectors

SHORT = {"epochs": 2, "batch_size": 25}


def run(study: Study, store: Path, jobs: int = 1) -> tuple[Results, int]:
    """The results, and how many steps were run for them."""
    results = study.run(store, jobs=jobs, threads=1)
    assert results.failures == []
    assert results.complete
    found = re.match(r"(\d+) steps run", results.facts["run"])
    assert found
    return results, int(found[1])


def of(network: Any, store: Path, loss: Any = "cross-entropy", data: Any = None, **others: Any) -> tuple[Results, int]:
    training = Train(**SHORT, loss=loss)
    chain = others.pop("chain", None) or Chain(training, Prune(fraction=0.5), training)
    given = {"probes": ["accuracy"], **others}
    return run(Study("own", World(data or vectors()), network, chain, **given), store)


WHOLE = 4  # the steps of that chain, the initialisation included


def numbers(results: Results) -> list[float]:
    return results.frame["test_loss"].to_list()


def test_functions_lambdas_and_local_classes_are_networks(tmp_path: Path) -> None:
    class Local(nn.Module):
        def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
            super().__init__()
            self.layer = nn.Linear(*input_shape, classes)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs)

    def function(width: int = 5) -> nn.Module:
        return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))

    seen = []
    for network in (Local, function, Network(function, {"width": 6}), lambda: nn.Linear(4, 3, bias=False)):
        results, ran = of(network, tmp_path)
        assert ran == WHOLE
        seen.append(numbers(results))
        assert of(network, tmp_path)[1] == 0
    assert len({tuple(found) for found in seen}) == len(seen)


def test_everything_of_one_s_own_travels_to_workers(tmp_path: Path) -> None:
    """A local class, a closure as loss, a function as dataset, a step, a probe, a criterion: none can be imported."""
    scale = 0.5

    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs)

    @spec
    class Halve(Step):
        """Halve all weights."""

        kind: ClassVar[str] = "halve"

        def run(self, start: Checkpoint, context: Context) -> Outcome:
            return Outcome(start.with_state({name: scale * tensor for name, tensor in start.state.items()}))

    @spec
    class Norm(Probe):
        """The norm of all weights."""

        kind: ClassVar[str] = "norm"

        def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
            return Measurements({"norm": float(sum(tensor.norm() for tensor in checkpoint.state.values()))})

    class Smallest:
        def __call__(self, seen: Evidence) -> dict[str, Tensor]:
            return {name: -weight.abs() for name, weight in seen.weights.items()}

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return scale * nn.functional.cross_entropy(outputs, labels)

    def data() -> Dataset:
        return vectors(seed=3)

    training = Train(**SHORT, loss=loss)
    chain = Chain(training, Halve(), Prune(Smallest(), fraction=0.5), training)
    frames = []
    for jobs in (1, 2):
        study = Study("own", World(data), Local, chain, probes=[Norm(), "accuracy", "cost"], sweep={"seed": [0, 1]})
        results, ran = run(study, tmp_path / str(jobs), jobs=jobs)
        assert ran == 2 * 5
        frames.append(results.frame.drop(*MEASURED, strict=False))
    assert frames[0].equals(frames[1])
    assert frames[0]["criterion"].unique().to_list() == ["Smallest"]
    largest = Chain(training, Halve(), Prune(fraction=0.5), training)
    other, _ = run(Study("other", World(data), Local, largest, probes=[Norm()]), tmp_path / "1")
    assert other.frame["norm"][1] > frames[0].filter(pl.col("seed") == 0)["norm"][1], "the criterion was used"


def net(layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(4, 5), layers(), nn.Linear(5, 3))


def test_a_changed_network_never_finds_old_results(tmp_path: Path) -> None:
    """Each has the same initial weights, names and shapes; what differs is what it computes."""
    networks = [
        net(nn.ReLU),
        net(nn.Tanh),
        net(lambda: nn.LeakyReLU(0.1)),
        net(lambda: nn.LeakyReLU(0.2)),
        net(lambda: nn.Dropout(0.1)),
    ]
    found = []
    for network in networks:
        results, ran = of(network, tmp_path)
        assert ran == WHOLE, "nothing was found"
        found.append(tuple(numbers(results)))
    assert len(set(found)) == len(found)
    assert [of(network, tmp_path)[1] for network in networks] == [0] * len(networks)


def test_a_changed_global_is_seen_even_by_the_same_study(tmp_path: Path) -> None:
    settings = {"slope": 0.1}

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 5), nn.LeakyReLU(settings["slope"]), nn.Linear(5, 3))

    study = Study("own", World(vectors()), network, Chain(Train(**SHORT)), probes=["accuracy"])
    first, ran = run(study, tmp_path)
    assert ran == 2
    settings["slope"] = 0.5
    second, ran = run(study, tmp_path)
    assert ran == 2
    assert numbers(second) != numbers(first)


def test_a_changed_loss_never_finds_old_results(tmp_path: Path) -> None:
    def scaled(by: float) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda outputs, labels: by * nn.functional.cross_entropy(outputs, labels)

    def plain_net() -> nn.Module:
        return nn.Linear(4, 3)

    losses = ["cross-entropy", scaled(0.5), scaled(2.0), nn.CrossEntropyLoss(label_smoothing=0.2)]
    found = []
    for loss in losses:
        results, ran = of(plain_net, tmp_path, loss=loss)
        assert ran == WHOLE - (loss != "cross-entropy"), "the initialisation alone is shared"
        found.append(tuple(numbers(results)))
    assert len(set(found)) == len(found)
    assert [of(plain_net, tmp_path, loss=loss)[1] for loss in losses] == [0] * len(losses)
    same, ran = of(plain_net, tmp_path, loss=scaled(1.0))
    assert ran == WHOLE - 1
    assert tuple(numbers(same)) == found[0], "another loss by content, the same numbers"


def test_changed_data_never_find_old_results(tmp_path: Path) -> None:
    def plain_net() -> nn.Module:
        return nn.Linear(4, 3)

    base = vectors()
    flipped = base.train_targets.clone()
    flipped[0] = (flipped[0] + 1) % 3
    moved = base.train_inputs.clone()
    moved[0, 0] += 1e-6
    tensors = (base.train_inputs, base.train_targets, base.test_inputs, base.test_targets)
    changed = [base, Dataset("x", tensors[0], flipped, *tensors[2:]), Dataset("x", moved, *tensors[1:])]
    found = []
    for data in changed:
        results, ran = of(plain_net, tmp_path, data=data)
        assert ran == WHOLE - (data is not base)
        found.append(tuple(numbers(results)))
    assert found[1] != found[0]
    assert of(plain_net, tmp_path, data=Dataset("another name", *(t.clone() for t in tensors)))[1] == 0
    assert of(plain_net, tmp_path, data=lambda: vectors())[1] == 0, "a function that returns the same"
    assert of(plain_net, tmp_path, data=lambda: vectors(seed=1))[1] == WHOLE - 1


def test_changed_code_of_a_step_probe_or_criterion_never_finds_old_results(tmp_path: Path) -> None:
    def parts(factor: float) -> tuple[Step, Probe, Any]:
        @spec
        class Scale(Step):
            kind: ClassVar[str] = "scale"

            def run(self, start: Checkpoint, context: Context) -> Outcome:
                return Outcome(start.with_state({name: factor * tensor for name, tensor in start.state.items()}))

        @spec
        class Norm(Probe):
            kind: ClassVar[str] = "norm"

            def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
                return Measurements(
                    {"norm": factor * float(sum(tensor.norm() for tensor in checkpoint.state.values()))}
                )

        class Signed:
            def __call__(self, seen: Evidence) -> dict[str, Tensor]:
                return {name: factor * weight for name, weight in seen.weights.items()}

        return Scale(), Norm(), Signed()

    def run_with(step: Step, probe: Probe, criterion: Any) -> tuple[Results, int]:
        training = Train(**SHORT)
        chain = Chain(training, step, Prune(criterion, fraction=0.5), training)
        return of("mlp", tmp_path, chain=chain, probes=[probe])

    old, new = parts(1.0), parts(-1.0)
    first, ran = run_with(*old)
    assert ran == 5
    assert run_with(*parts(1.0))[1] == 0, "equal code"
    probed, ran = run_with(old[0], new[1], old[2])
    assert ran == 0
    assert probed.frame["norm"].to_list() == [-value for value in first.frame["norm"]]
    assert run_with(old[0], old[1], new[2])[1] == 2, "pruned and trained again"
    assert run_with(new[0], old[1], old[2])[1] == 3


MODULE = """
import torch
from torch import nn
from overparam import Dataset

SCALE = {scale}

def network(input_shape, classes, width=4):
    return nn.Sequential(nn.Linear(*input_shape, width), nn.ReLU(), nn.Linear(width, classes))

def loss(outputs, labels):
    return SCALE * nn.functional.cross_entropy(outputs, labels)

def data():
    inputs = torch.arange(60.0).reshape(30, 2) / 30
    return Dataset("mine", inputs, torch.arange(30) % 2, inputs[:9].clone(), torch.arange(9) % 2)

class Largest:
    def __call__(self, seen):
        return {{name: weight.abs() for name, weight in seen.weights.items()}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_things", None)


def by_path(folder: Path, name: str = "my_things") -> Study:
    return Study.from_mapping(
        {
            "name": "by-path",
            "world": {"dataset": f"{name}:data"},
            "network": {"name": f"{name}:network", "width": 3},
            "train": {**SHORT, "loss": f"{name}:loss"},
            "chain": ["train", {"prune": {"criterion": f"{name}:Largest", "fraction": 0.5}}, "train"],
            "probes": ["accuracy"],
        }
    )


def test_import_paths_in_a_study_file(folder: Path) -> None:
    (folder / "my_things.py").write_text(MODULE.format(scale=1.0))
    results, ran = run(by_path(folder), folder / "runs")
    assert ran == WHOLE
    assert run(by_path(folder), folder / "runs")[1] == 0
    assert results.frame["criterion"].unique().to_list() == ["my_things:Largest"]
    (folder / "my_things.py").write_text(MODULE.format(scale=2.0))
    sys.modules.pop("my_things")  # as a new process would have it
    changed, ran = run(by_path(folder), folder / "runs")
    assert ran == WHOLE, "the source of the network changed too, being the same file"
    assert numbers(changed) != numbers(results)


def test_the_record_of_a_study_describes_what_yaml_cannot_hold(tmp_path: Path) -> None:
    def my_loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, labels)

    results, _ = of(lambda: nn.Linear(4, 3), tmp_path, loss=my_loss)
    assert "my_loss" in results.spec
    assert "lambda" in results.spec
    assert "vectors" in results.spec
    assert "0x" not in results.spec, "no memory addresses"


@spec
class Below(Probe):
    """A probe whose numbers are below zero, or none, or not finite."""

    kind: ClassVar[str] = "below"

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Return such numbers."""
        low = -1.5 - checkpoint.level
        layers = {name: {"low": low} for name in checkpoint.masks}
        return Measurements({"below": low, "whole": -3, "tiny": -1e-7, "zero": -0.0, "least": -math.inf}, layers)


def test_numbers_below_zero_are_numbers(tmp_path: Path) -> None:
    train = Train(epochs=1, batch_size=25)
    chain = Chain(train, Repeat(2, Prune(fraction=0.5), train))
    made = Study("below", vectors(), MLP, chain, probes=["accuracy", "density", Below()], axis="below")
    results = made.run(tmp_path / "runs", jobs=1, threads=1)
    for found in (results, made.results(tmp_path / "runs")):
        assert found.frame["below"].to_list() == [-1.5, -2.5, -3.5]
        assert found.frame["whole"].to_list() == [-3, -3, -3]
        assert found.frame["tiny"].to_list() == [-1e-7] * 3
        assert found.frame["least"].to_list() == [-math.inf] * 3
        assert set(found.layers["low"]) == {-1.5, -2.5, -3.5}
    table = results.table()
    assert table["below"].to_list() == [-1.5, -2.5, -3.5]
    assert not results.failures


@spec
class One(Probe):
    """States nothing, as a probe of one's own may."""

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        return Measurements({"found": 1.0})


class Two(One):
    """Measures the same column."""


def test_two_probes_that_state_nothing_may_not_measure_one_column(tmp_path: Path) -> None:
    made = Study("clash", World(vectors()), "mlp", [Train(epochs=1)], probes=[One(), Two()])
    for _ in range(2):  # nothing is left of it to be found
        with pytest.raises(RunError, match=r": probe (one|two) measures 'found', too, so it would have two meanings"):
            made.run(tmp_path, jobs=1)


@spec
class Bare(Step):
    """Forgets the outcome around its checkpoint."""

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        return start  # type: ignore[return-value]


def test_a_step_that_returns_no_outcome_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="step bare: run must return an Outcome, got a Checkpoint; return Outcome"):
        Study("bare", World(vectors()), "mlp", [Bare(), Train(epochs=1)]).run(tmp_path, jobs=1)
