"""Surgery and events as users meet them: from a study file and from Python, on real data, stopped and taken up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from overparam import Chain, Checkpoint, Compact, Prune, Study, Train, World
from overparam.errors import StoreError
from overparam.lab import load_module, parse_yaml
from overparam.lab.weights import checkpoint_from_bytes
from overparam.networks import Network
from stopped import stopped_and_taken_up

FILTERS = """
name: filters
world: {dataset: digits, train_size: 300, test_size: 100}
network: NETWORK
train: {epochs: 4, batch_size: 50, lr: 0.05}
finetune: {epochs: 1, batch_size: 50, lr: 0.01}
chain: [train, {prune: {fraction: 0.3, pattern: units, scope: per-layer}}, finetune, compact, finetune]
probes: [accuracy, density, cost, learning-distance]
"""


def filters(network: str, python: bool) -> Study:
    if not python:
        return Study.from_mapping(parse_yaml(FILTERS.replace("NETWORK", network), "page"))
    train, tune = Train(epochs=4, batch_size=50, lr=0.05), Train(epochs=1, batch_size=50, lr=0.01)
    return Study(
        "filters",
        World("digits", train_size=300, test_size=100),
        network,
        Chain(train, Prune(fraction=0.3, pattern="units", scope="per-layer"), tune, Compact(), tune),
        probes=["accuracy", "density", "cost", "learning-distance"],
    )


FRESH = """
import sys, torch
from overparam.lab import load_module
module = load_module(sys.argv[1], sys.argv[2]).eval()
torch.manual_seed(0)
print(*module(torch.randn(5, 1, 8, 8)).detach().flatten().tolist())
"""


@pytest.mark.parametrize(("network", "python"), [("conv-2", False), ("lenet-300-100", True)])
def test_a_third_of_the_filters_is_gone(
    network: str, python: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = filters(network, python)
    results, store = stopped_and_taken_up(study, tmp_path, monkeypatch)
    _, _, _, masked, smaller, tuned = study.plan.steps
    before, after = (checkpoint_from_bytes(store.weights(node)) for node in (masked, smaller))
    for name, mask in after.masks.items():
        assert mask.all()
        assert mask.shape[0] == (10 if after.roles[name] == "output" else round(0.7 * before.masks[name].shape[0]))
    assert (
        store.numbers("steps", smaller)["tensors"]["checkpoint"]["bytes"]
        < (store.numbers("steps", masked)["tensors"]["checkpoint"]["bytes"])
    )
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        outputs = [load_module(store, node).eval().to(dtype)(inputs(dtype)).detach() for node in (masked, smaller)]
        assert float((outputs[0] - outputs[1]).abs().max()) <= tolerance * float(outputs[0].abs().max())
    rows = results.frame.sort("step")
    assert rows["test_accuracy"].null_count() == 0
    assert rows["multiply_adds"][2] < rows["multiply_adds"][1]
    assert rows["learning_distance"].is_null().to_list() == [False, False, True]
    printed = subprocess.run(
        [sys.executable, "-c", FRESH, str(store.root), tuned], capture_output=True, text=True, check=True
    ).stdout
    torch.manual_seed(0)
    here = load_module(store, tuned).eval()(torch.randn(5, 1, 8, 8)).detach().flatten()
    assert torch.allclose(torch.tensor([float(word) for word in printed.split()]), here, atol=1e-6)


def inputs(dtype: torch.dtype) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(16, 1, 8, 8, dtype=dtype)


def test_a_network_without_a_name_is_loaded_into_a_module_of_ones_own(tmp_path: Path) -> None:
    network = Network(lambda input_shape, outputs: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)))
    study = Study("own", World("digits", train_size=100), network, Chain(Train(epochs=1)), probes=["accuracy"])
    node = study.run(tmp_path, jobs=1).frame["fingerprint"][0]
    with pytest.raises(StoreError, match="pass the module that its weights are to be loaded into"):
        load_module(tmp_path, node)
    module = load_module(tmp_path, node, network.build((1, 8, 8), 10, 0))
    assert module(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


REWIRED = """
name: rewired
world: {dataset: digits, train_size: 500, test_size: 200}
network: lenet-300-100
train: {epochs: 6, batch_size: 50, lr: 0.05, optimizer: {sgd: {momentum: 0.9}}, events: [EVENT]}
chain: CHAIN
probes: [accuracy, density]
engine: sparse
"""
RANDOM = "[{prune: {density: 0.05, criterion: random, scope: erk}}, train]"
EVENTS = {
    "rigl": ("{rigl: {every: 7it, fraction: 0.3}}", RANDOM, 0.05),
    "gradual": ("{gradual: {density: 0.1, every: 5it, until: 40it}}", "[train]", 0.1),
}


@pytest.mark.parametrize("python", [False, True], ids=["yaml", "python"])
@pytest.mark.parametrize("name", EVENTS)
def test_masks_change_while_a_lenet_trains(
    name: str, python: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, chain, density = EVENTS[name]
    study = Study.from_mapping(parse_yaml(REWIRED.replace("EVENT", event).replace("CHAIN", chain), "page"))
    if python:
        assert rewired(name).plan.nodes.keys() == study.plan.nodes.keys()
        return
    results, store = stopped_and_taken_up(study, tmp_path, monkeypatch)
    trained = list(study.plan.steps)[-1]
    checkpoint: Checkpoint = checkpoint_from_bytes(store.weights(trained))
    assert checkpoint.density == pytest.approx(density, abs=1e-4)
    assert all(not bool(checkpoint.state[n][~mask].any()) for n, mask in checkpoint.masks.items())
    assert results.frame["test_accuracy"][-1] > 0.7
    start = checkpoint_from_bytes(store.weights(list(study.plan.steps)[-2]))
    assert any(not checkpoint.masks[n].equal(mask) for n, mask in start.masks.items())


def rewired(name: str) -> Study:
    from overparam.train.events import Gradual, RigL
    from overparam.train.optimisers import SGD

    steps: dict[str, tuple[Any, ...]] = {
        "rigl": (Prune(density=0.05, criterion="random", scope="erk"),),
        "gradual": (),
    }
    event = RigL(every="7it", fraction=0.3) if name == "rigl" else Gradual(density=0.1, every="5it", until="40it")
    train = Train(epochs=6, batch_size=50, lr=0.05, optimizer=SGD(momentum=0.9), events=(event,))
    world = World("digits", train_size=500, test_size=200)
    chain = Chain(*steps[name], train)
    return Study("rewired", world, "lenet-300-100", chain, probes=["accuracy", "density"], engine="sparse")
