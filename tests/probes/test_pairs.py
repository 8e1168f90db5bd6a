"""Probes that compare two checkpoints, on cases whose answer is known on paper."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from torch import Tensor, nn

from overparam import Checkpoint, Dataset, LearningDistance, LinearPath, MaskOverlap, Network, SpecError, Train
from overparam.checkpoint import Given, state_of
from overparam.constraints import masked
from overparam.networks import tensor_roles
from overparam.probes import View
from overparam.probes.linear_path import barrier, between
from overparam.worlds import WorldData
from small import CONV, begin, built, context_of, half_pruned, images, same_bits


def pair(one: Checkpoint, other: Checkpoint, probe: Any, data: WorldData, module: nn.Module | None = None) -> Any:
    """What a probe finds, looking from ``one`` at ``other``."""
    return probe.measure(one, View(data, lambda: module or nn.Identity(), against=Given(other, nn.Identity)))


def kept(**masks: list[int]) -> Checkpoint:
    tensors = {name: torch.tensor(mask, dtype=torch.bool) for name, mask in masks.items()}
    state = {name: mask.float() for name, mask in tensors.items()}
    return Checkpoint(state, masked(tensors), dict.fromkeys(tensors, "linear"))


BLANK = built(images())


def test_overlap_of_masks_by_hand() -> None:
    found = pair(kept(a=[1, 1, 0, 0], b=[1, 0]), kept(a=[1, 0, 1, 0], b=[1, 1]), MaskOverlap(), BLANK)
    assert found.layers["a"] == {"mask_overlap": 1 / 3, "mask_overlap_expected": 1 / 3}  # 2 * 2 / 4 = 1 by chance
    assert found.layers["b"] == {"mask_overlap": 1 / 2, "mask_overlap_expected": 1 / 2}  # 1 * 2 / 2 = 1 by chance
    assert found.values == {"mask_overlap": 2 / 5, "mask_overlap_expected": 2 / 5}


def test_overlap_at_its_limits() -> None:
    equal = pair(kept(a=[1, 0, 0, 0]), kept(a=[1, 0, 0, 0]), MaskOverlap(), BLANK).values
    assert equal == {"mask_overlap": 1.0, "mask_overlap_expected": 0.25 / 1.75}
    apart = pair(kept(a=[1, 1, 0, 0]), kept(a=[0, 0, 1, 1]), MaskOverlap(), BLANK).values
    assert apart == {"mask_overlap": 0.0, "mask_overlap_expected": 1 / 3}
    for mask in ([0, 0], [1, 1]):
        assert set(pair(kept(a=mask), kept(a=mask), MaskOverlap(), BLANK).values.values()) == {1.0}


def test_random_masks_overlap_as_expected() -> None:
    shape = 40_000
    draws = torch.Generator().manual_seed(0)
    one, other = (kept(a=(torch.rand(shape, generator=draws) < share).int().tolist()) for share in (0.3, 0.1))
    found = pair(one, other, MaskOverlap(), BLANK).values
    assert found["mask_overlap"] == pytest.approx(found["mask_overlap_expected"], rel=0.1)


@drawn(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_overlap_knows_no_direction(bits: list[tuple[bool, bool]]) -> None:
    one, other = (kept(a=[int(each[place]) for each in bits]) for place in (0, 1))
    there, back = (pair(a, b, MaskOverlap(), BLANK).values for a, b in ((one, other), (other, one)))
    assert there == back
    assert all(0 <= value <= 1 for value in there.values())


class Slope(nn.Module):
    """Scores ``(0, w * x)``: a network with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(inputs), self.w * inputs], dim=1)


def at(weight: float) -> Checkpoint:
    return Checkpoint({"w": torch.tensor([weight])}, masked({"w": torch.tensor([True])}), {"w": "linear"})


def test_a_line_by_hand() -> None:
    """Both inputs are of class 0: from w = -1 to w = 1 in 3 points the loss is log(1 + e^w x) and x = 1, 1."""
    ones, labels = torch.ones(2, 1), torch.tensor([0, 0])
    data = built(Dataset("ones", ones, labels, -ones, torch.tensor([1, 1])), normalize=False)
    found = pair(at(1.0), at(-1.0), LinearPath(points=3), data, Slope()).values
    losses = [math.log1p(math.exp(weight)) for weight in (-1, 0, 1)]
    assert [found[f"path_train_loss_{place}"] for place in range(3)] == pytest.approx(losses)
    assert [found[f"path_test_loss_{place}"] for place in range(3)] == pytest.approx(losses), "the same, mirrored twice"
    assert [found[f"path_train_accuracy_{place}"] for place in range(3)] == [
        1,
        1,
        0,
    ]  # of equal scores the first counts
    assert found["train_loss_barrier"] == pytest.approx(losses[2] - (losses[0] + losses[2]) / 2)
    assert found["train_error_barrier"] == 0.5
    assert found["test_error_barrier"] == pytest.approx(1 - 0.5)


class Product(nn.Module):
    """Scores ``(0, v * w * x)``: the same function for ``(v, w)`` and ``(-v, -w)``."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.w = (nn.Parameter(torch.zeros(1)) for _ in range(2))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(inputs), self.v * self.w * inputs], dim=1)


def test_two_networks_of_one_function_have_a_barrier_between_them() -> None:
    """On the half way both weights are 0, and the loss is log 2."""
    data = built(Dataset("ones", *2 * (torch.ones(2, 1), torch.tensor([0, 0]))), normalize=False)
    masks = masked({name: torch.tensor([True]) for name in "vw"})
    ends = [
        Checkpoint({"v": torch.tensor([sign]), "w": torch.tensor([-sign])}, masks, dict.fromkeys("vw", "linear"))
        for sign in (1.0, -1.0)
    ]
    found = pair(*ends, LinearPath(points=5), data, Product()).values
    assert found["test_loss_barrier"] == pytest.approx(math.log(2) - math.log1p(math.exp(-1)))
    assert found["path_test_loss_0"] == found["path_test_loss_4"] == pytest.approx(math.log1p(math.exp(-1)))
    assert found["path_test_loss_2"] == pytest.approx(math.log(2))


def test_barriers_by_hand() -> None:
    assert barrier([1.0, 4.0, 2.0]) == 2.5
    assert barrier([0.5, 0.25, 1.0], "test_accuracy") == 0.5
    assert barrier([3.0, 2.0, 1.0]) == 1.0
    assert barrier([0.1, 0.1, 0.1]) == 0.0


def test_the_ends_of_a_line_are_the_checkpoints_bit_for_bit() -> None:
    begin_, end = ({"w": torch.randn(50), "n": torch.tensor(count)} for count in (3, 8))
    assert same_bits(between(begin_, end, 0.0), begin_)
    assert same_bits(between(begin_, end, 1.0), end)
    assert between(begin_, end, 0.25)["n"] == 3
    assert torch.allclose(between(begin_, end, 0.25)["w"], 0.75 * begin_["w"] + 0.25 * end["w"])


def test_running_averages_of_batch_norm_lie_on_the_line() -> None:
    data = built(images())
    start = begin(CONV, data)
    end = Train(epochs=1, batch_size=16).run(start, context_of(CONV, data)).checkpoint
    half = between(start.state, end.state, 0.5)
    name = "1.running_mean"
    assert torch.allclose(half[name], (start.state[name] + end.state[name]) / 2)
    module = CONV.build(**data.form, seed=9)
    found = pair(end, start, LinearPath("init", points=5), data, module).values
    assert list(found) == list(LinearPath("init", points=5).columns_in(_world()))
    assert found["train_loss_barrier"] >= 0
    own = pair(end, end, LinearPath(), data, module).values
    assert (own["train_loss_barrier"], own["test_error_barrier"]) == (0, 0)
    assert len({own[f"path_test_loss_{place}"] for place in range(11)}) == 1


def _world() -> Any:
    from overparam import World

    return World(images())


def test_distance_from_any_other_checkpoint() -> None:
    """A network and its half: the distance is the norm of what was pruned, whoever is looked at first."""
    data, network = built(images()), Network("mlp", {"hidden": [8]})
    start = begin(network, data)
    pruned = half_pruned(start)
    gone = math.sqrt(sum(float((start.state[n][~m].double() ** 2).sum()) for n, m in pruned.masks.items()))
    assert pair(pruned, start, LearningDistance("previous"), data).values["learning_distance"] == pytest.approx(gone)
    assert pair(start, pruned, LearningDistance("seed+1"), data).values["learning_distance"] == pytest.approx(gone)
    assert set(tensor_roles(network.build(**data.form, seed=0))) == set(start.roles)
    assert set(state_of(network.build(**data.form, seed=0))) == set(start.state)


def test_columns_say_what_they_are_against() -> None:
    assert [LearningDistance(to).suffix for to in ("init", "previous", "teacher/last@2ep", "seed+1")] == [
        "",
        "_previous",
        "_teacher_last_2ep",
        "_seed_1",
    ]
    assert MaskOverlap().suffix == LinearPath(points=5).suffix == ""


def test_a_pair_needs_two() -> None:
    with pytest.raises(SpecError, match="compares two checkpoints and was given one"):
        MaskOverlap().measure(kept(a=[1]), View(BLANK, nn.Identity))
    with pytest.raises(SpecError, match=r"tensor 'a' has shape \(1,\) here and \(2,\) in 'previous'"):
        pair(kept(a=[1]), kept(a=[1, 1]), MaskOverlap(), BLANK)
    with pytest.raises(SpecError, match="points"):
        LinearPath(points=2)
