from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import Tensor, nn

from overparam import Checkpoint, Length, Network, Prune, Train
from overparam.checkpoint import load_state, masked_state, state_of
from overparam.constraints import masked
from small import (
    CONV,
    MLP,
    begin,
    bits,
    built,
    context_of,
    frozen,
    half_pruned,
    images,
    same_bits,
    vectors,
    zeros_are_clean,
)


def hand_made() -> Checkpoint:
    state = {"a": torch.tensor([[1.0, -2.0], [3.0, -0.0]]), "b": torch.tensor([5.0])}
    return Checkpoint(state, masked({"a": torch.ones(2, 2, dtype=torch.bool)}), {"a": "linear", "b": "bias"})


def test_counts_on_paper() -> None:
    start = hand_made()
    assert (start.weights, start.kept, start.density, start.level) == (4, 4, 1.0, 0)
    pruned = start.masked({"a": torch.tensor([[True, False], [False, False]])}).counted("prune").counted("prune")
    assert (pruned.weights, pruned.kept, pruned.density, pruned.level) == (4, 1, 0.25, 2)
    assert pruned.count("reinit") == 0


def test_a_network_without_masks_is_dense() -> None:
    assert Checkpoint({"b": torch.zeros(3)}, {}, {"b": "bias"}).density == 1.0


def test_masking_sets_plus_zero_and_leaves_the_original_alone() -> None:
    start = hand_made()
    before = frozen(start)
    pruned = start.masked({"a": torch.tensor([[True, False], [True, False]])})
    assert pruned.state["a"].tolist() == [[1.0, 0.0], [3.0, 0.0]]
    assert zeros_are_clean(pruned)
    assert pruned.state["b"] is start.state["b"]
    assert frozen(start) == before
    other = pruned.with_state({"a": torch.full((2, 2), -7.0), "b": torch.tensor([1.0])})
    assert other.state["a"].tolist() == [[-7.0, 0.0], [-7.0, 0.0]]
    assert zeros_are_clean(other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_masking_keeps_the_type(dtype: torch.dtype) -> None:
    state = masked_state({"a": torch.full((3,), -1.5, dtype=dtype)}, {"a": torch.tensor([True, False, True])})
    assert state["a"].dtype == dtype
    assert bits(state["a"][1:2]) == bytes(state["a"].element_size())


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        hand_made().position = Length(3, "ep")  # type: ignore[misc]


def test_a_state_is_a_copy_and_loads_back() -> None:
    data = built(images())
    module = CONV.build(data.input_shape, data.classes, 0)
    state = state_of(module)
    assert list(state) == list(module.state_dict())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert not same_bits(state, state_of(module))
    load_state(module, state)
    assert same_bits(state, state_of(module))
    start = begin(CONV, data)
    assert start.load_into(module) is module


def test_a_state_of_another_network_is_refused() -> None:
    data = built(vectors())
    module = MLP.build(data.input_shape, data.classes, 0)
    with pytest.raises(RuntimeError, match="Missing key"):
        load_state(module, {})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_state(module, {**state_of(module), "more": torch.zeros(1)})


class Tied(nn.Module):
    """Two layers that share one weight: it has two names in the state dict and is one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(torch.tanh(self.second(torch.tanh(self.first(inputs)))))


def test_a_shared_weight_is_kept_once_and_stays_pruned() -> None:
    data, network = built(vectors()), Network(Tied)
    start = begin(network, data)
    assert "first.weight" in start.state
    assert "second.weight" not in start.state
    pruned = half_pruned(start)
    module = pruned.load_into(network.build(data.input_shape, data.classes, 5))
    mask = pruned.masks["first.weight"]
    assert module.second.weight is module.first.weight
    assert torch.equal(module.second.weight, pruned.state["first.weight"])
    trained = (
        Train(epochs=2, batch_size=16, optimizer={"sgd": {"momentum": 0.9}})
        .run(pruned, context_of(network, data))
        .checkpoint
    )
    assert zeros_are_clean(trained)
    assert (trained.state["first.weight"] != pruned.state["first.weight"])[mask].any()
    again = Prune(density=0.2).run(trained, context_of(network, data)).checkpoint
    assert again.kept == round(0.2 * again.weights)
    assert not again.load_into(module).second.weight[~again.masks["first.weight"]].any()


def test_replace_keeps_the_rest() -> None:
    start = half_pruned(begin(MLP, built(vectors())))
    moved = replace(start, position=Length(5, "it"))
    assert same_bits(moved.state, start.state)
    assert moved.constraints is start.constraints
