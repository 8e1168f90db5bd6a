"""The time that is left of a run: at the pace of each arm, and no less than the longest chain."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from overparam import Chain, Prune, Repeat, Study, Train
from overparam.lab.forecast import Forecast
from overparam.lab.plan import Node, Plan
from small import MLP, vectors

SHORT = Train(epochs=1, batch_size=25)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def forecast(chain: Chain, jobs: int = 1, **study: object) -> tuple[Forecast, list[Node], Clock]:
    plan: Plan = Study("left", vectors(), MLP, chain, **study).plan
    clock = Clock()
    made = Forecast(plan, plan.nodes.values(), jobs, clock)
    return made, [node for node in plan.nodes.values() if node.trains], clock


def later(made: Forecast, clock: Clock) -> float | None:
    clock.now += 1000
    return made.left()


def test_nothing_is_known_before_the_first_training_has_ended() -> None:
    made, trainings, clock = forecast(Chain(SHORT, Prune(fraction=0.5), SHORT))
    assert made.left() is None
    made.progress(trainings[0], 0.9)
    assert later(made, clock) is None
    made.finished(trainings[0], 3.0)
    assert later(made, clock) == pytest.approx(3.0)
    made.finished(trainings[1], 9.0)
    assert later(made, clock) == 0


def test_a_longer_training_takes_longer_and_one_under_way_less() -> None:
    long = Train(epochs=10, batch_size=25)
    made, trainings, clock = forecast(Chain(SHORT, Prune(fraction=0.5), long))
    made.finished(trainings[0], 2.0)
    assert later(made, clock) == pytest.approx(20.0)
    made.progress(trainings[1], 0.75)
    assert later(made, clock) == pytest.approx(5.0)


def test_each_arm_has_its_own_pace() -> None:
    made, trainings, clock = forecast(
        Chain(SHORT, Prune(fraction=0.5), SHORT, Prune(fraction=0.5), SHORT),
        variants={"quick": {"prune.criterion": "random"}, "slow": {}},
    )
    whole, *others = trainings
    by_arm = {arm: [node for node in others if node.arm == arm] for arm in ("quick", "slow")}
    made.finished(whole, 4.0)
    assert later(made, clock) == pytest.approx(16.0), "four at the pace of the one that is known"
    made.finished(by_arm["quick"][0], 1.0)
    made.finished(by_arm["slow"][0], 7.0)
    assert later(made, clock) == pytest.approx(8.0)
    made.finished(by_arm["slow"][1], 9.0)
    assert later(made, clock) == pytest.approx(1.0)


def test_jobs_share_what_is_left_but_a_chain_is_one_after_the_other() -> None:
    made, trainings, clock = forecast(Chain(SHORT), jobs=2, sweep={"seed": [0, 1, 2, 3, 4]})
    made.finished(trainings[0], 3.0)
    assert later(made, clock) == pytest.approx(6.0)
    chain = Chain(SHORT, Repeat(3, Prune(fraction=0.5), SHORT))
    made, trainings, clock = forecast(chain, jobs=2)
    made.finished(trainings[0], 3.0)
    assert later(made, clock) == pytest.approx(9.0)


def test_what_failed_is_not_waited_for_and_time_goes_by() -> None:
    made, trainings, clock = forecast(Chain(SHORT), sweep={"seed": [0, 1, 2]})
    made.finished(trainings[0], 3.0)
    assert later(made, clock) == pytest.approx(6.0)
    made.abandoned([trainings[1].fingerprint, "a prune"])
    assert later(made, clock) == pytest.approx(3.0)
    made._said = (clock.now, 3.0, 100.0)  # looking took so long that it is not done again soon
    clock.now += 2
    assert made.left() == pytest.approx(1.0)
    clock.now += 2
    assert made.left() == 0


def test_a_first_training_that_was_slow_is_soon_forgotten() -> None:
    made, trainings, clock = forecast(Chain(SHORT), sweep={"seed": list(range(10))})
    for training, seconds in zip(trainings[:3], (60.0, 1.0, 1.2), strict=True):
        made.finished(training, seconds)
    assert later(made, clock) == pytest.approx(7 * 1.2)
