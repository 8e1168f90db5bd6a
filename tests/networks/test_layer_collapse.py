"""Layer collapse: fewer weights than units."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from overparam.errors import LayerCollapseWarning
from overparam.networks import collapsed_layers
from overparam.networks.collapse import almost_empty
from overparam.prune import empty_units
from overparam.sparse import convert


def mask(kept: int, *shape: int) -> torch.Tensor:
    return (torch.arange(torch.Size(shape).numel()) < kept).reshape(shape)


@pytest.mark.parametrize(
    ("given", "role", "collapsed"),
    [
        (mask(1, 10, 576), "linear", True),  # one of 5,760
        (mask(576, 10, 576), "linear", False),
        (mask(575, 10, 576), "linear", True),  # some input has no weight
        (mask(99, 100, 30), "linear", True),  # some output has none
        (mask(100, 100, 30), "linear", False),
        (mask(10, 10, 576), "output", False),  # a class needs few inputs
        (mask(9, 10, 576), "output", True),
        (mask(15, 16, 1, 3, 3), "conv", True),  # one group a channel
        (mask(0, 5), "other", True),
        (mask(1, 5), "other", False),
        (mask(0, 0, 5), "linear", False),
        (mask(20, 10, 2), None, False),
    ],
)
def test_by_hand(given: torch.Tensor, role: str | None, collapsed: bool) -> None:
    assert collapsed_layers({"w": given}, {"w": role} if role else None) == (["w"] if collapsed else [])


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(0, 2**31))
@settings(deadline=None)
def test_some_unit_of_a_collapsed_layer_is_certainly_dead(outputs: int, inputs: int, density: float, seed: int) -> None:
    kept = torch.rand(outputs, inputs, generator=torch.Generator().manual_seed(seed)) < density
    dead_outputs, unused_inputs = empty_units(kept)
    if collapsed_layers({"w": kept}):
        assert dead_outputs + unused_inputs > 0
    if collapsed_layers({"w": kept}, {"w": "output"}):
        assert dead_outputs > 0
    assert not collapsed_layers({"w": torch.ones_like(kept)})


def test_convert_tells() -> None:
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))
    masks = {"0.weight": mask(3, 12, 8), "2.weight": mask(4, 4, 12)}
    with pytest.warns(LayerCollapseWarning, match=r"'0\.weight' keeps 3 of 96 weights for 12 units; ") as caught:
        convert(model, masks)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    convert(model, {"0.weight": mask(12, 12, 8)})


@pytest.mark.parametrize(
    ("kept", "shape", "told"),
    [
        (1, (10, 576), ["'w' keeps 1 of 5,760 weights"]),
        (9, (10, 576), ["'w' keeps 9 of 5,760 weights"]),
        (10, (10, 576), []),
        (0, (2, 2), ["'w' keeps 0 of 4 weights"]),
        (99, (100, 30), ["'w' keeps fewer than one for each of its 100 outputs of 3,000 weights"]),
        (19, (10, 2000), ["'w' keeps less than a thousandth of 20,000 weights"]),
        (20, (10, 2000), []),
        (0, (5,), []),
        (0, (0, 5), []),
    ],
)
def test_a_layer_that_keeps_almost_nothing_is_told_once(kept: int, shape: tuple[int, ...], told: list[str]) -> None:
    masks = {"w": mask(kept, *shape)}
    assert almost_empty(masks, {"w": torch.ones(shape, dtype=torch.bool)}) == told
    assert almost_empty(masks, masks) == []


@pytest.mark.parametrize(("alive", "units", "told"), [(1, 100, True), (2, 100, True), (3, 100, False), (1, 10, False)])
def test_a_layer_of_which_one_unit_is_left_is_told(alive: int, units: int, told: bool) -> None:
    """One ranking of all units by sums over 784 and over 300 inputs leaves one unit of the second layer."""
    left = torch.zeros(units, 300, dtype=torch.bool)
    left[:alive] = True
    found = almost_empty({"w": left}, {"w": torch.ones_like(left)})
    assert found == ([f"'w' keeps {alive} of {units} units"] if told else [])
