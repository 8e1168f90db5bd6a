"""What every event promises, and cases known on paper: exact counts, the cubic schedule, what grows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overparam.errors import SpecError
from overparam.length import Length
from overparam.prune import Evidence, count_kept
from overparam.train.events import EVENTS, SET, Event, Gradual, Moment, Rewire, RigL

CASES: dict[str, tuple[Event, ...]] = {
    "rewire": (Rewire(decay="constant"), Rewire(fraction=0.9)),
    "set": (SET(),),
    "rigl": (RigL(),),
    "gradual": (Gradual(density=0.3), Gradual(density=0.3, scope="uniform", power=1.0)),
}
ALL = [pytest.param(event, id=f"{name}-{place}") for name, each in CASES.items() for place, event in enumerate(each)]
SHAPES = {"a": (7, 5), "b": (3, 4, 2, 2)}


def evidence(seed: int = 0, draw: int = 0) -> Evidence:
    torch.manual_seed(seed)
    weights, gradients = ({name: torch.randn(shape) for name, shape in SHAPES.items()} for _ in range(2))
    return Evidence(weights=weights, gradients=gradients, seed=seed, draw=draw)


def at(iteration: int, first: int = 100, last: int = 700) -> Moment:
    return Moment(iteration, first, last, dict.fromkeys(SHAPES, "linear"))


def half(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {name: torch.rand(shape) < 0.5 for name, shape in SHAPES.items()}


def test_there_is_a_case_for_every_event() -> None:
    assert set(CASES) == set(EVENTS)


@pytest.mark.parametrize("event", ALL)
def test_it_is_pure_and_gives_masks_of_the_same_names_and_shapes(event: Event) -> None:
    masks = half()
    before = {name: mask.clone() for name, mask in masks.items()}
    made, again = (event.masks(evidence(), masks, at(300)) for _ in range(2))
    assert {name: (mask.shape, mask.dtype) for name, mask in made.items()} == {
        name: (mask.shape, torch.bool) for name, mask in masks.items()
    }
    assert all(made[name].equal(again[name]) and masks[name].equal(before[name]) for name in masks)


@pytest.mark.parametrize("event", ALL)
def test_the_order_of_layers_plays_no_part(event: Event) -> None:
    masks = half()
    made = event.masks(evidence(), masks, at(300))
    turned = event.masks(evidence(), dict(reversed(masks.items())), at(300))
    assert all(torch.equal(made[name], turned[name]) for name in masks)


@given(
    event=st.sampled_from([each for kind in ("rewire", "set", "rigl") for each in CASES[kind]]), seed=st.integers(0, 50)
)
def test_rewiring_keeps_the_count_of_each_layer(event: Event, seed: int) -> None:
    masks = half(seed)
    made = event.masks(evidence(seed), masks, at(seed * 10 + 100))
    assert {name: count_kept({name: mask}) for name, mask in made.items()} == {
        name: count_kept({name: mask}) for name, mask in masks.items()
    }


def test_rigl_drops_the_smallest_and_grows_the_steepest() -> None:
    weights = torch.tensor([0.1, -0.2, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0])
    slopes = torch.tensor([9.0, 0.0, 0.0, 0.0, 1.0, -5.0, 2.0, 0.5])
    mask = torch.tensor([True] * 4 + [False] * 4)
    seen = Evidence(weights={"w": weights}, gradients={"w": slopes})
    moment = Moment(100, 100, 700, {"w": "linear"})
    made = RigL(fraction=0.5).masks(seen, {"w": mask}, moment)
    # two go, 0.1 and -0.2; the steepest that are not there are 0.1 itself, which may come back, and the sixth
    assert made["w"].tolist() == [True, False, True, True, False, True, False, False]


@pytest.mark.parametrize(("iteration", "moved"), [(0, 400), (150, 341), (300, 200), (600, 0)])
def test_the_share_falls_as_a_cosine(iteration: int, moved: int) -> None:
    alive = torch.arange(2000) < 1000
    seen = Evidence(weights={"w": torch.randn(2000)}, gradients={"w": torch.where(alive, 0.0, 1.0)})
    made = RigL(fraction=0.4).masks(seen, {"w": alive}, Moment(iteration, 0, 600, {"w": "linear"}))
    assert int((alive & ~made["w"]).sum()) == moved  # 1000 * 0.2 * (1 + cos(pi * p)), rounded down


@pytest.mark.parametrize(("iteration", "expected"), [(100, 100), (400, 21), (700, 10)])
def test_gradual_pruning_follows_the_cubic_schedule(iteration: int, expected: int) -> None:
    seen, masks = Evidence(weights={"w": torch.randn(100)}), {"w": torch.ones(100, dtype=torch.bool)}
    made = Gradual(density=0.1).masks(seen, masks, Moment(iteration, 100, 700, {"w": "linear"}))
    assert count_kept(made) == expected  # 0.1 + 0.9 * (1 - p) ** 3 of 100, to the nearest


def test_gradual_pruning_never_grows() -> None:
    seen, masks = Evidence(weights={"w": torch.randn(100)}), {"w": torch.arange(100) < 15}
    moment = Moment(300, 100, 700, {"w": "linear"})
    assert Gradual(density=0.1).masks(seen, masks, moment)["w"].equal(masks["w"])
    with pytest.raises(SpecError, match=r"event Gradual: density 0\.2 is more than what is left, 0\.15"):
        Gradual(density=0.2).masks(seen, masks, moment)


def test_when_it_happens() -> None:
    event = RigL(every=Length(10, "it"))
    assert event.times(per_epoch=7, total=100) == range(10, 76, 10)
    assert list(Gradual(every=Length(1, "ep"), start=Length(2, "ep"), until=Length(4, "ep")).times(7, 100)) == [
        14,
        21,
        28,
    ]
    assert max(RigL(every=Length(1, "it"), until=Length(900, "it")).times(7, 100)) == 99
    with pytest.raises(SpecError, match="event RigL never happens"):
        RigL(every=Length(80, "it")).times(7, 100)
    with pytest.raises(SpecError, match="every must be longer than nothing"):
        RigL(every="0it")
