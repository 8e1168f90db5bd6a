"""Directions as long as the filters they move; a quadratic known on paper; scales that change no function."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from overparam import Checkpoint, Dataset, SpecError
from overparam.checkpoint import state_of
from overparam.constraints import masked
from overparam.probes import PROBES, FilterNormalised, View
from overparam.probes.filter_normalised import filter_normalised
from overparam.streams import torch_stream
from overparam.worlds import Regression, WorldData
from small import CONV, begin, built, half_pruned, images

STREAM = (0, "directions")


def looked_at(module: nn.Module, data: WorldData, **fields: object) -> list[float]:
    state = state_of(module)
    masks = {name: torch.ones(value.shape, dtype=torch.bool) for name, value in state.items() if value.dim() > 1}
    checkpoint = Checkpoint(state, masked(masks), dict.fromkeys(state, "linear"))
    return list(FilterNormalised(**fields).measure(checkpoint, View(data, lambda: deepcopy(module))).values.values())  # type: ignore[arg-type]


def test_each_filter_of_a_direction_is_as_long_as_the_filter_and_nothing_pruned_moves() -> None:
    checkpoint = half_pruned(begin(CONV, built(images())), 0.5)
    direction = filter_normalised(checkpoint, torch_stream(*STREAM))
    assert direction.keys() == checkpoint.masks.keys()
    for name, moves in direction.items():
        lengths, own = moves.flatten(1).norm(dim=1), checkpoint.state[name].flatten(1).norm(dim=1)
        torch.testing.assert_close(lengths, own)
        assert not moves[~checkpoint.masks[name]].any()


def test_the_loss_of_a_line_through_the_origin_is_its_parabola() -> None:
    # One weight w on inputs x, targets w x: at w (1 + s) or w (1 - s) the mean square is (w s)^2 mean(x^2).
    inputs = torch.tensor([[1.0], [2.0], [3.0]])
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    targets = 2 * inputs
    data = built(Dataset("line", inputs, targets, inputs, targets, task=Regression(1)))
    found = looked_at(module, data, directions=3, radius=0.5, points=5)
    assert found == pytest.approx([(2 * step) ** 2 * 14 / 3 for step in (-0.5, -0.25, 0.0, 0.25, 0.5)])


def test_other_scales_of_the_layers_of_one_function_give_the_same_curve() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    data = built(images(side=8))
    plain = looked_at(module, data, directions=2, points=3)
    with torch.no_grad():
        module[1].weight.mul_(8.0)
        module[3].weight.div_(8.0)
    assert looked_at(module, data, directions=2, points=3) == pytest.approx(plain, rel=1e-5)
    assert plain[0] != pytest.approx(plain[1], rel=1e-3)


def test_an_even_number_of_points_has_no_middle() -> None:
    with pytest.raises(
        (SpecError, ValueError), match="points must be odd, so that one is the checkpoint itself, got 4"
    ):
        PROBES.get("filter-normalised")(points=4)
