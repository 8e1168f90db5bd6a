"""Where scores are equal, position decides which weights stay, and that is told once there are many of them."""

from __future__ import annotations

import warnings

import pytest
import torch
from prune_cases import counts
from torch import nn

from overparam import Prune
from overparam.errors import TiedScoresWarning
from overparam.prune import new_masks, prune
from small import CONV, begin, built, context_of, images

MASKS = {"a": torch.ones(20, 50, dtype=torch.bool), "b": torch.ones(5, 20, dtype=torch.bool)}


def scores() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(mask.shape, generator=generator) for name, mask in MASKS.items()}


def told(found: dict[str, torch.Tensor], **asked: object) -> list[str]:
    sentences: list[str] = []
    new_masks(found, MASKS, tell=sentences.append, **asked)
    return sentences


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_ties_that_decide_are_told_once(scope: str) -> None:
    said = "100 % of 1,100 scores are equal at the threshold, so position decides between them: those that come first"
    (one,) = told({name: torch.zeros_like(each) for name, each in scores().items()}, density=0.2, scope=scope)
    assert one.startswith(said)


def test_those_of_one_layer_are_counted_in_its_own_ranking() -> None:
    mixed = {**scores(), "b": torch.ones(5, 20)}
    (one,) = told(mixed, density=0.5, scope="uniform")
    assert one.startswith("100 % of 100 scores are equal")
    (all_of_it,) = told({**mixed, "b": torch.full((5, 20), 0.5)}, density=0.5)
    assert all_of_it.startswith("9 % of 1,100 scores are equal")


def test_ties_that_decide_nothing_and_chance_are_not_told() -> None:
    assert told(scores(), density=0.3) == []
    assert told({**scores(), "b": torch.zeros(5, 20)}, density=0.5) == [], "all of them go"
    assert told({**scores(), "b": torch.ones(5, 20)}, density=0.5) == [], "all of them stay"
    assert told({"a": torch.arange(1000.0).div(5).floor().reshape(20, 50), "b": torch.zeros(5, 20)}, density=0.4) == []
    assert told({name: each.bfloat16() for name, each in scores().items()}, density=0.3) == [], "few values have ties"
    assert told({name: torch.zeros(mask.shape) for name, mask in MASKS.items()}, density=1) == []


def test_masks_stay_those_of_the_first() -> None:
    kept = new_masks({name: torch.zeros(mask.shape) for name, mask in MASKS.items()}, MASKS, density=0.5, scope="erk")
    assert all(bool(mask.reshape(-1)[: counts(kept)[name]].all()) for name, mask in kept.items())


def test_by_hand_and_in_a_step() -> None:
    module = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 5))
    ignored = (torch.randn(8, 20), torch.zeros(8, dtype=torch.long))
    with pytest.warns(TiedScoresWarning, match="100 % of 250 scores are equal at the threshold"):
        prune(
            module,
            "snip",
            density=0.5,
            scope="uniform",
            batch=ignored,
            loss=lambda outputs, labels: 0.0 * outputs.sum(),
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prune(module, "magnitude", density=0.2, scope="erk")
    data = built(images())
    start = begin(CONV, data)
    context = context_of(CONV, data, references={"init": start})
    moved = Prune(density=0.3, criterion="movement").run(start, context)
    assert [note for note in moved.notes if note.startswith("prune: 100 % of")], "nothing has moved yet"
    assert not [note for note in Prune(density=0.3).run(start, context).notes if "equal" in note]
