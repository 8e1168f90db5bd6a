from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from overparam import (
    Accuracy,
    Checkpoint,
    Cost,
    Dataset,
    Density,
    LabelNoise,
    LearningDistance,
    Network,
    Prune,
    SpecError,
    World,
)
from overparam.checkpoint import Given, state_of
from overparam.constraints import Masked, Quantised, Supermask, Uniform, masked
from overparam.networks import prunable, tensor_roles
from overparam.probes import Latency, LayerError, View
from overparam.worlds import WorldData
from small import MLP, begin, built, context_of, given, half_pruned, images, vectors


def blank(shape: tuple[int, ...], classes: int = 10) -> WorldData:
    labels = torch.tensor([0, classes - 1])
    return built(Dataset("blank", torch.zeros(2, *shape), labels, torch.zeros(1, *shape), labels[:1]))


def view_of(init: Checkpoint, module: nn.Module | None = None, data: WorldData | None = None) -> View:
    return View(data or blank((2,)), lambda: module or nn.Identity(), against=Given(init, nn.Identity))


def whole(network: Network, shape: tuple[int, ...], classes: int = 10) -> tuple[Checkpoint, nn.Module]:
    module = network.build(shape, classes, 0)
    roles, state = tensor_roles(module, torch.zeros(1, *shape)), state_of(module)
    masks = {name: torch.ones(state[name].shape, dtype=torch.bool) for name in prunable(roles)}
    return Checkpoint(state, masked(masks), roles), module


def test_distances_are_right_triangles() -> None:
    roles = {"w": "linear", "v": "output", "b": "bias"}
    dense = {"w": torch.ones(1, 2, dtype=torch.bool), "v": torch.ones(1, 2, dtype=torch.bool)}
    state = {"w": torch.tensor([[3.0, 1.0]]), "v": torch.tensor([[0.0, 12.0]]), "b": torch.tensor([1.0])}
    init = Checkpoint({**state, "count": torch.tensor(5)}, masked(dense), roles)
    # w: one weight moved by 4 and stays, the other, 1 at first, was pruned; v: both pruned, 0 and 12; b moved by 2
    masks = {"w": torch.tensor([[True, False]]), "v": torch.tensor([[False, False]])}
    moved = {"w": torch.tensor([[7.0, 9.0]]), "v": torch.tensor([[5.0, 5.0]]), "b": torch.tensor([3.0])}
    now = Checkpoint({**moved, "count": torch.tensor(900)}, masked(dense), roles).masked(masks)
    found = LearningDistance().measure(now, view_of(init))
    assert found.values["learning_distance"] == pytest.approx(math.sqrt(4**2 + 1**2 + 12**2 + 2**2))
    assert found.values["learning_distance_kept"] == pytest.approx(math.sqrt(4**2 + 2**2))
    assert found.values["learning_distance_pruned"] == pytest.approx(math.sqrt(1 + 12**2))
    assert found.layers["w"] == pytest.approx(
        {"learning_distance": math.sqrt(17), "learning_distance_kept": 4, "learning_distance_pruned": 1}
    )
    assert found.layers["v"] == pytest.approx(
        {"learning_distance": 12, "learning_distance_kept": 0, "learning_distance_pruned": 12}
    )
    assert set(found.layers) == {"w", "v"}


def test_a_three_four_five_triangle() -> None:
    mask = {"w": torch.ones(2, dtype=torch.bool)}
    init = Checkpoint({"w": torch.tensor([4.0, 0.0])}, masked(mask), {"w": "linear"})
    now = Checkpoint({"w": torch.tensor([9.0, 3.0])}, masked(mask), {"w": "linear"})
    now = now.masked({"w": torch.tensor([False, True])})
    assert LearningDistance().measure(now, view_of(init)).values == {
        "learning_distance": 5.0,
        "learning_distance_kept": 3.0,
        "learning_distance_pruned": 4.0,
    }


def test_the_initialisation_is_at_distance_zero_exactly() -> None:
    init, _ = whole(Network("lenet-300-100"), (1, 4, 4))
    assert set(LearningDistance().measure(init, view_of(init)).values.values()) == {0.0}
    pruned = half_pruned(init)
    found = LearningDistance().measure(pruned, view_of(init)).values
    assert found["learning_distance_kept"] == 0.0
    norm = math.sqrt(sum(init.state[n][~m].double().square().sum() for n, m in pruned.masks.items()))
    assert found["learning_distance"] == found["learning_distance_pruned"] == pytest.approx(norm, rel=1e-12)


def test_dead_units_of_a_hand_made_mask() -> None:
    roles = {"one": "linear", "conv": "conv", "last": "output"}
    masks = {
        "one": torch.tensor([[1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]]).bool(),  # units 1 and 3; input 1 unused
        "conv": torch.zeros(3, 2, 2, 2, dtype=torch.bool),
        "last": torch.tensor([[0, 0], [1, 1]]).bool(),  # an output without inputs is no dead unit
    }
    masks["conv"][0, 1, 1, 0] = True  # filters 1 and 2 dead, channel 0 unused
    state = {name: mask.float() for name, mask in masks.items()}
    found = Density().measure(Checkpoint(state, masked(masks), roles), view_of(Checkpoint(state, masked(masks), roles)))
    counts = {"dead_units": 4, "collapsed_layers": 2, "parameters": 40, "density_of_all": 6 / 40}
    assert found.values == {**counts, "stored_bits": 40 + 6 * 32}
    keys = ("kept", "weights", "density", "dead_units", "unused_inputs", "collapsed", "share_of_all")
    assert {name: tuple(row[key] for key in keys) for name, row in found.layers.items()} == {
        "one": (3, 12, 0.25, 2, 1, 1, 12 / 40),  # three weights cannot reach four units
        "conv": (1, 24, 1 / 24, 2, 1, 1, 24 / 40),
        "last": (2, 4, 0.5, 1, 0, 0, 4 / 40),
    }
    assert [(row["role"], row["masked"]) for row in found.layers.values()] == [
        ("linear", 1),
        ("conv", 1),
        ("output", 1),
    ]


def test_dead_units_of_grouped_and_transposed_convolutions() -> None:
    module = nn.Sequential(nn.Conv1d(4, 4, 2, groups=4), nn.ConvTranspose1d(4, 6, 1, groups=2))
    masks = {"0.weight": torch.ones(4, 1, 2).bool(), "1.weight": torch.ones(4, 3, 1).bool()}
    masks["0.weight"][1:3] = False  # channels 1 and 2 are cut off on both sides
    masks["1.weight"][0] = (
        False  # input 0 is read by no output, output 5 (the last of group 2) reads none of inputs 2, 3
    )
    masks["1.weight"][2:, 2] = False
    roles = dict.fromkeys(masks, "conv")
    checkpoint = Checkpoint({name: mask.float() for name, mask in masks.items()}, masked(masks), roles)
    found = Density().measure(checkpoint, view_of(checkpoint, module))
    assert found.values["dead_units"] == 2 + 1
    assert [(row["dead_units"], row["unused_inputs"]) for row in found.layers.values()] == [(2, 2), (1, 1)]


def test_density_is_of_the_masked_and_of_all_parameters() -> None:
    """An embedding of 30 x 4 and a norm of 4 + 4 beside 4 x 10 weights, a tenth of which stays, and 10 biases."""
    roles = {"emb": "embedding", "scale": "norm", "shift": "norm", "head": "output", "bias": "bias"}
    shapes = {"emb": (30, 4), "scale": (4,), "shift": (4,), "head": (10, 4), "bias": (10,)}
    state = {name: torch.ones(shape) for name, shape in shapes.items()}
    mask = torch.zeros(10, 4, dtype=torch.bool)
    mask[0] = True
    checkpoint = Checkpoint(state, masked({"head": mask}), roles).masked({"head": mask})
    found = Density().measure(checkpoint, view_of(checkpoint))
    assert checkpoint.density == 0.1
    assert found.values["parameters"] == 178
    assert found.values["density_of_all"] == (178 - 36) / 178
    assert found.layers["emb"] == {
        "role": "embedding",
        "masked": 0,
        "kept": 120,
        "weights": 120,
        "density": 1.0,
        "share_of_all": 120 / 178,
        "stored_bits": 120 * 32,
    }
    assert found.values["stored_bits"] == (120 + 8 + 10) * 32 + 40 + 4 * 32
    few = checkpoint.constrained({"head": Quantised(checkpoint.state["head"], mask, Uniform(4))})
    found = Density().measure(few, view_of(few))
    assert found.layers["head"]["stored_bits"] == 40 + 4 * 4 + 32, "positions, codes and a step"
    assert list(found.layers) == ["head", "emb"]  # biases and norms are nobody's surprise


def test_multiply_adds_of_lenet() -> None:
    # 784 x 300 + 300 x 100 + 100 x 10, as in the paper: no biases
    shape = (1, 28, 28)
    checkpoint, module = whole(Network("lenet-300-100"), shape)
    data = blank(shape)
    found = Cost().measure(checkpoint, view_of(checkpoint, module, data))
    assert found.values["multiply_adds"] == found.values["multiply_adds_effective"] == 266_200
    assert [row["multiply_adds"] for row in found.layers.values()] == [235_200, 30_000, 1_000]
    pruned = half_pruned(checkpoint, 0.1)
    assert Cost().measure(pruned, view_of(pruned, module, data)).values["multiply_adds_effective"] == pruned.kept


def test_multiply_adds_of_a_small_convolution() -> None:
    def factory() -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(3 * 4 * 3, 5))

    shape = (2, 7, 6)  # 4 x 3 positions of 3 filters of 2 x 3 x 3; then 36 x 5
    checkpoint, module = whole(Network(factory), shape, 5)
    one_filter = {"0.weight": torch.zeros(3, 2, 3, 3).bool(), "2.weight": torch.ones(5, 36).bool()}
    one_filter["0.weight"][0] = True
    data = blank(shape, 5)
    found = Cost().measure(checkpoint.masked(one_filter), view_of(checkpoint, module, data))
    assert found.layers["0.weight"] == {"multiply_adds": 12 * 54, "multiply_adds_effective": 12 * 18}
    assert found.layers["2.weight"] == {"multiply_adds": 180, "multiply_adds_effective": 180}
    assert found.values["multiply_adds"] == 12 * 54 + 180


def test_cost_copies_what_was_recorded() -> None:
    checkpoint, module = whole(Network("lenet-300-100"), (1, 4, 4))
    data = blank((1, 4, 4))
    facts = {"seconds": 3.5, "seconds_before": 8.0, "peak_memory_bytes": 7, "bytes": 9, "iterations": 3}
    found = Cost().measure(checkpoint, View(data, lambda: module, facts)).values
    assert {name: found[name] for name in ("seconds", "seconds_before", "peak_memory_bytes", "bytes")} == {
        "seconds": 3.5,
        "seconds_before": 8.0,
        "peak_memory_bytes": 7,
        "bytes": 9,
    }


ENGINES: dict[str, tuple[dict[str, str], str | None]] = {
    "none": ({}, None),
    "dense": ({"fc1.weight": "dense", "fc2.weight": "dense", "fc3.weight": "dense"}, "dense"),
    "sparse": ({"fc1.weight": "sparse", "fc2.weight": "sparse", "fc3.weight": "sparse"}, "sparse"),
    "mixed": ({"fc1.weight": "sparse", "fc2.weight": "sparse", "fc3.weight": "dense"}, "mixed"),
}


@pytest.mark.parametrize("case", ENGINES)
def test_cost_tells_the_engine_of_each_layer(case: str) -> None:
    given, engine = ENGINES[case]
    checkpoint, module = whole(Network("lenet-300-100"), (1, 4, 4))
    names = dict(zip(("fc1.weight", "fc2.weight", "fc3.weight"), checkpoint.masks, strict=True))
    facts = {"engines": {names[name]: used for name, used in given.items()}, "engine_note": case}
    found = Cost().measure(checkpoint, View(blank((1, 4, 4)), lambda: module, facts))
    assert found.values["engine"] == engine
    assert found.values["engine_note"] == case
    assert [row.get("engine") for row in found.layers.values()] == (list(given.values()) or [None] * 3)


def test_latency_is_the_median_of_calls_in_turns_for_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    data = built(images(test=4, side=4))
    checkpoint, module = whole(Network("lenet-300-100"), (1, 4, 4), 3)
    dense, sparse = [9.0, 9.0, 1.0, 5.0, 2.0], [9.0, 9.0, 1.0, 1.0, 7.0]  # two calls warm up
    steps = iter([moment for pair in zip(dense, sparse, strict=True) for taken in pair for moment in (0.0, taken)])
    now = [0.0]

    def clock() -> float:
        now[0] += next(steps)
        return now[0]

    monkeypatch.setattr("overparam.probes.latency.time", SimpleNamespace(perf_counter=clock))
    found = Latency(batch_size=4, repeats=3).measure(checkpoint, view_of(checkpoint, module, data)).values
    assert found == {"latency_dense": 0.5, "latency_sparse": 0.25, "latency_ratio": 2.0}


class Sign(nn.Module):
    """Scores (0, gain * x): class 1 where x is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.0))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([torch.zeros(len(inputs), 1), self.gain * inputs[:, :1]], 1)


def test_accuracy_of_a_hand_made_classifier() -> None:
    # 10 training examples at +-1, of which two labels are wrong; 4 test examples, one on the wrong side
    side = torch.tensor([1.0, -1.0]).repeat(5)
    inputs = torch.stack([side, torch.zeros(10)], 1)
    tests = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    dataset = Dataset("sides", inputs, (side > 0).long(), tests, torch.tensor([1, 0, 1, 0]))
    data = World(dataset, label_noise=LabelNoise("symmetric", 0.2)).build()
    state = {"gain": torch.tensor(math.log(3.0))}  # the right side has the chance 3/4
    checkpoint = Checkpoint(state, {}, {"gain": "other"})
    found = Accuracy().measure(checkpoint, view_of(checkpoint, Sign(), data)).values
    right, wrong = -math.log(3 / 4), -math.log(1 / 4)
    assert found == pytest.approx(
        {
            "train_accuracy": 0.8,
            "train_loss": 0.8 * right + 0.2 * wrong,
            "train_accuracy_clean": 1.0,
            "train_loss_clean": right,
            "train_accuracy_clean_part": 1.0,
            "train_loss_clean_part": right,
            "train_accuracy_noisy_part": 0.0,
            "train_soft_error": 0.8 / 4 + 0.2 * 3 / 4,
            "train_soft_error_clean": 1 / 4,
            "train_soft_error_clean_part": 1 / 4,
            "train_soft_error_noisy_part": 3 / 4,
            "train_loss_noisy_part": wrong,
            "test_accuracy": 0.75,
            "test_loss": (3 * right + wrong) / 4,
            "test_soft_error": (3 * 1 / 4 + 3 / 4) / 4,
        },
        rel=1e-6,
    )


def test_accuracy_is_the_mean_over_drawn_masks() -> None:
    """One weight tells class 1 from class 0, and is kept with a chance of sigmoid(1): else class 0 wins."""
    network = nn.Linear(1, 2, bias=False)
    weight, scores = torch.tensor([[0.0], [1.0]]), torch.tensor([[-9.0], [1.0]])
    data = built(Dataset("one", torch.ones(4, 1), torch.tensor([0, 1, 1, 1]), torch.ones(2, 1), torch.ones(2).long()))
    under = Checkpoint({"weight": weight}, {"weight": Supermask(scores, weight)}, {"weight": "output"})

    def measured(**fields: int) -> Any:
        return Accuracy(**fields).measure(under, View(data, lambda: network)).values

    assert measured()["test_accuracy"] == 1, "the most probable mask"
    samples = measured(mask_samples=400)
    assert samples["test_accuracy"] == pytest.approx(0.731, abs=0.05)
    assert samples["train_accuracy"] == pytest.approx(0.25 + 0.5 * samples["test_accuracy"])
    assert measured(mask_samples=400) == samples, "the same draws each time"
    assert measured(mask_samples=1)["test_accuracy"] in (0, 1)
    plain = replace(under, constraints={"weight": Masked(scores > 0)})
    assert Accuracy(mask_samples=3).measure(plain, View(data, lambda: network)).values == measured()
    assert Accuracy().parameters() == {}, "as before there were samples"
    with pytest.raises(SpecError, match=r"mask_samples: input should be greater than or equal to 1, got 0"):
        Accuracy(mask_samples=0)


def test_a_level_of_pruning_shows_in_all_probes() -> None:
    checkpoint, module = whole(Network("lenet-300-100"), (1, 4, 4))
    data = blank((1, 4, 4))
    pruned = Prune(density=0.05).run(checkpoint, context_of(Network("lenet-300-100"), data)).checkpoint
    view = view_of(checkpoint, module, data)
    kept = sum(row["kept"] for row in Density().measure(pruned, view).layers.values())
    assert kept == pruned.kept == round(0.05 * checkpoint.weights)
    assert Cost().measure(pruned, view).values["multiply_adds_effective"] == kept


def test_layer_error_is_the_relative_change_of_outputs_on_the_inputs_that_were() -> None:
    """All outputs gone is 1; half of the second layer's weights is 1/4 whatever happened to the first."""
    data = built(vectors())
    start = begin(MLP, data)
    names = list(start.masks)
    view = View(data, lambda: MLP.build(data.input_shape, data.classes, 7), against=given(MLP, data, {"a": start})["a"])
    changed = start.with_state(
        {**start.state, names[0]: 0 * start.state[names[0]], names[1]: start.state[names[1]] / 2}
    )
    found = LayerError(examples=20).measure(changed, view)
    assert [found.layers[name]["layer_error"] for name in names] == [pytest.approx(1.0), pytest.approx(0.25)]
    assert found.values == {"layer_error": pytest.approx(0.625), "layer_error_largest": pytest.approx(1.0)}
    assert LayerError().measure(start, view).values == {"layer_error": 0.0, "layer_error_largest": 0.0}
