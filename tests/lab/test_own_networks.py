"""Networks of the user's in a study: each module comes from the factory, and pretrained ones have a dense row."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from overparam import Chain, Checkpoint, Network, Prune, Results, SpecError, Study, Train, World
from overparam.checkpoint import state_of
from overparam.lab.plan import Plan
from overparam.papers.sparse_double_descent.phases import find_phases
from overparam.prune import Evidence
from overparam.report import arms
from overparam.spec import spec
from overparam.steps import Context, Outcome, Step
from overparam.train import TrainSettings, fit
from small import IMAGE_NETWORKS, images, same_bits, vectors

TRAIN = Train(epochs=2, batch_size=16)


class Closure(nn.Module):
    """Computes with functions that hold its layers: in a copy they would hold the original's."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(4, 16), nn.Linear(16, 3)
        self.body = lambda x: self.o(torch.relu(self.a(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Plain(Closure):
    def forward(self, x: Tensor) -> Tensor:
        return self.o(torch.relu(self.a(x)))


class Chancy(Closure):
    """Chance from everywhere, a counter, and an activation that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.body(x + 0.1 * torch.randn_like(x))
        return self.last * (1 + 0.1 * random.random() + 0.1 * np.random.rand())  # noqa: NPY002


def study(network: Any, chain: Any = None, **others: Any) -> Study:
    chain = chain or Chain(TRAIN, Prune("gradient", fraction=0.5), TRAIN)
    given = {"probes": ["accuracy"], "engine": "dense", **others}
    return Study("own", World(vectors()), network, chain, **given)


def run(made: Study, store: Path, **options: Any) -> Results:
    results = made.run(store, **{"jobs": 1, "threads": 1, **options})
    assert results.failures == []
    return results


def test_a_network_of_closures_is_trained_as_one_without(tmp_path: Path) -> None:
    chain = Chain(TRAIN, Prune(fraction=0.5), TRAIN)
    one, other = (run(study(kind, chain), tmp_path / kind.__name__).frame for kind in (Closure, Plain))
    assert one.select(pl.selectors.float()).equals(other.select(pl.selectors.float()))
    assert one["train_accuracy"].min() > 0.8


def test_every_architecture_may_be_copied() -> None:
    """Built-in modules are the ones that the lab copies: a copy computes the same, with tensors of its own."""
    small = {"mlp": {"hidden": [5]}}
    for name in IMAGE_NETWORKS:
        network = Network(name, small.get(name, {"width": 0.1}))
        assert network.built_in
        module = network.build((1, 32, 32), 10, seed=0)
        copied = copy.deepcopy(module)
        inputs = torch.randn(3, 1, 32, 32)
        outputs = copied(inputs)
        assert torch.equal(outputs, module(inputs))
        outputs.sum().backward()
        assert all(weight.grad is not None for weight in copied.parameters()), name
        assert all(weight.grad is None for weight in module.parameters()), name
        assert same_bits(state_of(module), state_of(copied))


def test_chance_and_state_give_the_same_numbers_in_one_job_and_in_two(tmp_path: Path) -> None:
    made = study(Chancy, sweep={"seed": [0, 1]})
    random.seed(1)
    one = run(made, tmp_path / "one")
    random.seed(2)
    two = run(made, tmp_path / "two", jobs=2)
    assert one.frame.select(pl.selectors.numeric()).equals(two.frame.select(pl.selectors.numeric()))
    assert len(one.notes) == 1, "told once, not once a training"
    assert one.notes[0].startswith("calls: changed in training"), "and not what is kept to be looked at"
    assert two.notes == one.notes


class Drifting:
    """A criterion with chance and state: each pruning begins with it as it was given."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        self.calls += 1
        noise = random.random() + self.calls
        return {name: torch.rand_like(weight) * noise + np.random.rand() for name, weight in seen.weights.items()}  # noqa: NPY002


@spec
class Noise(Step):
    """Adds noise from the global generators."""

    kind: ClassVar[str] = "noise"

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        return Outcome(start.with_state({name: t + torch.randn_like(t) for name, t in start.state.items()}))


def test_criteria_and_steps_draw_the_same_each_time(tmp_path: Path) -> None:
    chain = Chain(TRAIN, Prune(Drifting(), fraction=0.5), Noise(), Noise(), TRAIN)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        found.append(run(study(Plain, chain, sweep={"seed": [0, 1]}), tmp_path / str(seed)))
    assert found[0].frame["test_loss"].to_list() == found[1].frame["test_loss"].to_list()
    assert found[0].notes == []


SEEN: list[int] = []


@spec
class Remembering(Step):
    """Keeps state in a global, which it is filed by."""

    kind: ClassVar[str] = "remembering"

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        SEEN.append(len(SEEN))
        return Outcome(start)


def test_state_in_globals_is_told(tmp_path: Path) -> None:
    results = run(study(Plain, Chain(Remembering(), TRAIN)), tmp_path)
    assert "remembering: your code is not what it was when this began" in results.notes[0]


class Dictionary(Plain):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


class Undecided(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.shift = float(np.random.default_rng().random())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Dictionary, "'_extra_state' of its state dict is of type dict, and a checkpoint holds tensors only"),
        (Undecided, r"made differently each time though the seed is the same \(shift\)"),
    ],
)
def test_networks_whose_results_could_not_be_kept_are_refused(network: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        study(network).plan  # noqa: B018


# Networks that come with weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """Those of a network that has learned the task."""
    torch.manual_seed(0)
    return fit(
        Plain(), World(vectors()).build(), TrainSettings(optimizer="adam", lr=0.05, epochs=40, batch_size=50)
    ).state


def pretrained(weights: dict[str, Tensor]) -> Callable[[], nn.Module]:
    def factory() -> nn.Module:
        module = Plain()
        module.load_state_dict(weights)
        return module

    return factory


def kinds(plan: Plan) -> list[tuple[int, int, str]]:
    return [(row.level, row.step, row.kind) for row in plan.rows]


FINETUNE = Train(called="finetune", epochs=1, batch_size=16, lr=0.01)
PRUNED_FIRST = Chain(Prune(fraction=0.5), FINETUNE, Prune(fraction=0.5), FINETUNE)


def test_a_pretrained_network_has_its_dense_row(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    made = study(pretrained(weights), PRUNED_FIRST, sweep={"seed": [0, 1]}, probes=["accuracy", "cost", "density"])
    results = run(made, tmp_path)
    assert kinds(made.plan)[:3] == [(0, -1, "init"), (1, 1, "finetune"), (2, 3, "finetune")]
    dense = results.frame.filter(level=0)
    assert dense["kind"].to_list() == ["init", "init"]
    assert dense["density"].to_list() == [1.0, 1.0]
    assert dense["train_accuracy"].min() > 0.95
    assert dense["engine"].to_list() == [None, None]
    (arm,) = arms(results.frame)
    found = find_phases(arm)
    assert found is not None
    assert (found.shape.dense.level, found.shape.dense.density) == (0, 1.0)
    assert results.table()["level"].to_list() == [0, 1, 2]
    assert results.report(tmp_path / "page.html").exists()
    again = run(made, tmp_path)
    assert again.facts["run"].startswith("0 steps run")


def test_a_training_of_the_dense_network_stays_the_dense_point(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    results = run(study(pretrained(weights), Chain(FINETUNE, Prune(fraction=0.5), FINETUNE)), tmp_path)
    assert results.frame.select("level", "kind").rows() == [(0, "init"), (0, "finetune"), (1, "finetune")]
    (arm,) = arms(results.frame)
    assert arm.frame["kind"].to_list() == ["finetune", "finetune"]


def constant() -> nn.Module:
    module = Plain()
    for weight in module.parameters():
        nn.init.constant_(weight, 0.1)
    return module


def new_head(weights: dict[str, Tensor]) -> Callable[[], nn.Module]:
    def factory() -> nn.Module:
        module = Plain()
        module.load_state_dict({**module.state_dict(), "a.weight": weights["a.weight"]})
        return module

    return factory


def test_networks_without_trained_weights_have_no_row_before_training(weights: dict[str, Tensor]) -> None:
    """At chance level it would be taken for the dense network that pruned ones are compared with."""
    for network in ("mlp", Plain, constant, new_head(weights)):
        assert kinds(study(network, PRUNED_FIRST).plan) == [(1, 1, "finetune"), (2, 3, "finetune")]
        assert kinds(study(network).plan) == [(0, 0, "train"), (1, 2, "train")]


def test_a_chain_that_never_trains_is_refused_with_weights_too(weights: dict[str, Tensor]) -> None:
    with pytest.raises(SpecError, match="no step that trains"):
        study(pretrained(weights), Chain(Prune(fraction=0.5))).plan  # noqa: B018


# A last batch of one example


def with_norm(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, classes))


def squeezing() -> nn.Module:
    class Squeezing(Plain):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).squeeze()

    return Squeezing()


def single(network: Any = with_norm, **training: Any) -> Study:
    """On 50 examples."""
    return study(network, Chain(Train(**{"epochs": 2, "batch_size": 7, **training})))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            single(),
            r"the last batch of an epoch has a single example \(batch_size 7, 50 training examples\)",
        ),
        (single(), r"Expected more than 1 value per channel.*; set drop_last: true, or another batch_size"),
        (single(length="8it", epochs=None), "the last batch of an epoch has a single example"),
        (single(batch_size=1), "each batch has a single example .*; raise batch_size"),
        (single(squeezing), r"its output has the shape \(3,\) instead of \(1, 3\); set drop_last"),
    ],
)
def test_a_batch_of_one_example_that_would_fail_is_told_before_anything_runs(made: Study, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        made.checked()


@pytest.mark.parametrize(
    "made",
    [
        single(drop_last=True),
        single(batch_size=10),
        single(batch_size=50),
        single(length="7it", epochs=None),
        single(Plain),
        single("mlp", batch_size=1, lr=0.01),
    ],
)
def test_other_last_batches_are_trained_on(made: Study, tmp_path: Path) -> None:
    assert run(made, tmp_path).complete


def test_convolutions_take_a_batch_of_one(tmp_path: Path) -> None:
    """Batch norm over many pixels has its statistics from a single image."""
    chain = Chain(Train(length="8it", batch_size=7))
    assert Study("c", World(images(side=8)), {"name": "resnet-20", "width": 0.1}, chain).checked().nodes
