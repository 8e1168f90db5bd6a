from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam import Length, SpecError
from overparam.train import SCHEDULES, TrainSettings

PER_EPOCH = 10

SAMPLES = {"constant": {}, "cosine": {}, "multistep": {"milestones": [1, 2], "gamma": 0.3}}
"""A row for each registered schedule: fields to make one with."""


def test_there_is_a_row_for_every_schedule() -> None:
    assert set(SAMPLES) == set(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_a_pure_function_with_a_line_for_the_list(name: str) -> None:
    one, other = (SCHEDULES.resolve({name: SAMPLES[name]}) for _ in range(2))
    assert one == other
    assert [one(i, 40, 10) for i in range(40)] == [other(i, 40, 10) for i in reversed(range(40))][::-1]
    assert one(0, 40, 10) == 1
    assert 20 < len(SCHEDULES.summary(name)) < 120


def triangle(iteration: int, total: int, per_epoch: int, peak: float = 0.5) -> float:
    """Up to ``peak`` of the training, and down."""
    at = iteration / total
    return at / peak if at < peak else (1 - at) / (1 - peak)


def failing(iteration: int, total: int, per_epoch: int) -> float:
    return 1.0 if iteration < 3 else float("nan")


def test_a_schedule_of_one_s_own_is_a_function() -> None:
    for mine in (triangle, "test_schedules:triangle", {"test_schedules:triangle": {"peak": 0.5}}):
        assert rates([0, 5, 10, 15], lr=0.2, epochs=2, schedule=mine) == pytest.approx([0, 0.1, 0.2, 0.1])
    assert rates([4], lr=0.2, epochs=2, schedule={"test_schedules:triangle": {"peak": 0.25}}) == pytest.approx([0.16])


def test_a_schedule_that_gives_no_rate_is_told() -> None:
    message = r"schedule test_schedules:failing must give a finite factor >= 0, got nan at iteration 3 of 20"
    with pytest.raises(SpecError, match=message):
        rates([0, 1, 2, 3], epochs=2, schedule="test_schedules:failing")
    with pytest.raises(SpecError, match=r"schedule <lambda> failed with ZeroDivisionError"):
        rates([0], epochs=2, schedule=lambda iteration, total, per_epoch: 1 / iteration)


def rates(iterations: list[int], **settings: object) -> list[float]:
    at = TrainSettings(**settings).rates(PER_EPOCH)
    return [at(iteration) for iteration in iterations]


def test_constant_is_the_default() -> None:
    assert rates([0, 1, 19], lr=0.3, epochs=2) == [0.3, 0.3, 0.3]


def test_milestones_drop_by_gamma_at_the_first_iteration_of_an_epoch() -> None:
    found = rates(
        [0, 29, 30, 44, 45, 59], lr=0.1, epochs=6, schedule={"multistep": {"milestones": [3, 4.5], "gamma": 0.1}}
    )
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_milestones_in_iterations_are_those_in_epochs() -> None:
    everywhere = list(range(60))
    in_epochs = rates(everywhere, lr=0.1, epochs=6, schedule={"multistep": {"milestones": [3, 4.5]}})
    assert (
        rates(everywhere, lr=0.1, length="60it", schedule={"multistep": {"milestones": ["30it", "45it"]}}) == in_epochs
    )
    assert (
        rates(everywhere, lr=0.1, length="60it", schedule={"multistep": {"milestones": ["3ep", "45it"]}}) == in_epochs
    )


def test_cosine_falls_from_lr_to_zero_at_the_end() -> None:
    found = rates([0, 10, 20, 30, 39, 40], lr=0.4, epochs=4, schedule="cosine")
    # 0.4 / 2 * (1 + cos(pi t / T)) at t/T = 0, 1/4, 1/2, 3/4, 39/40, 1
    root = math.sqrt(0.5)
    last = 0.2 * (1 + math.cos(math.pi * 39 / 40))
    assert found == pytest.approx([0.4, 0.2 * (1 + root), 0.2, 0.2 * (1 - root), last, 0.0], abs=1e-15)


def test_warmup_rises_linearly_to_the_scheduled_value() -> None:
    assert rates([0, 1, 3, 4, 5], lr=0.8, epochs=2, warmup="4it") == pytest.approx([0.2, 0.4, 0.8, 0.8, 0.8])
    assert rates([0, 4, 9, 10], lr=0.5, epochs=2, warmup=1) == pytest.approx([0.05, 0.25, 0.5, 0.5])


def test_warmup_multiplies_the_other_schedules() -> None:
    plain = rates(list(range(4)), lr=0.8, epochs=1, schedule="cosine")
    warm = rates(list(range(4)), lr=0.8, epochs=1, schedule="cosine", warmup="4it")
    assert warm == pytest.approx([rate * (place + 1) / 4 for place, rate in enumerate(plain)])
    dropping = rates(
        [0, 1, 2, 3], lr=1.0, epochs=1, schedule={"multistep": {"milestones": ["2it"], "gamma": 0.5}}, warmup="4it"
    )
    assert dropping == pytest.approx([0.25, 0.5, 0.375, 0.5])


@pytest.mark.parametrize("milestones", [[4, 3], [3, 3], ["3ep", "30it"]])
def test_milestones_must_increase(milestones: list[object]) -> None:
    with pytest.raises(SpecError, match=r"milestones must increase"):
        rates([0], epochs=6, schedule={"multistep": {"milestones": milestones}})


@given(
    schedule=st.sampled_from([*SAMPLES]),
    lr=st.floats(1e-4, 10),
    warmup=st.integers(1, 50),
    per_epoch=st.integers(1, 20),
)
def test_a_rate_is_never_negative_nor_above_lr(schedule: str, lr: float, warmup: int, per_epoch: int) -> None:
    given_settings = TrainSettings(lr=lr, epochs=4, schedule={schedule: SAMPLES[schedule]}, warmup=Length(warmup, "it"))
    at = given_settings.rates(per_epoch)
    assert all(0 <= at(iteration) <= lr * (1 + 1e-12) for iteration in range(4 * per_epoch))
