"""``drop_last``: an epoch has only whole batches, wherever epochs are counted."""

from __future__ import annotations

import pytest
import torch
from test_resume import Killed, MemoryJournal, run
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from overparam import Network, SpecError
from overparam.streams import torch_stream
from overparam.train import Fit, TrainSettings, fit
from overparam.train.optimisers import SGD
from small import MLP, begin, built, half_pruned, same_bits, vectors

DATA = built(vectors())  # 50 examples: three batches of 16, and 2 left over


def settings(**changes: object) -> TrainSettings:
    return TrainSettings(**{"epochs": 4, "batch_size": 16, "drop_last": True, **changes})


def train(engine: str = "dense", network: Network = MLP, **changes: object) -> Fit:
    start = half_pruned(begin(network, DATA), 0.3)
    module = start.load_into(network.build(DATA.input_shape, DATA.classes, 99))
    return fit(module, DATA, settings(**changes), masks=start.masks, seed=3, engine=engine)


def test_only_whole_batches_are_trained_on_and_counted() -> None:
    seen: list[int] = []

    def counting(outputs: Tensor, labels: Tensor) -> Tensor:
        seen.append(len(labels))
        return cross_entropy(outputs, labels)

    fitted = train(loss=counting, save=("2ep",), evaluate_every="1ep")
    assert seen.count(16) == 12
    assert set(seen) == {16, 50, 21}, "measured on all examples"
    assert fitted.iterations == 12
    assert [row["epoch"] for row in fitted.curve] == [1, 2, 3, 4]
    assert same_bits(fitted.points["2ep"], train(epochs=2).state)


def test_the_bits_are_those_of_a_plain_loop() -> None:
    module = MLP.build(DATA.input_shape, DATA.classes, 0)
    torchs = SGD().over(list(module.parameters()), settings().lr)
    for epoch in range(4):
        order = torch.randperm(50, generator=torch_stream(0, "order", epoch))
        for batch in order[:48].split(16):
            torchs.zero_grad()
            cross_entropy(module(DATA.train.inputs[batch]), DATA.train.targets[batch]).backward()
            torchs.step()
    found = fit(MLP.build(DATA.input_shape, DATA.classes, 0), DATA, settings())
    assert same_bits(found.state, dict(module.state_dict()))


@pytest.mark.parametrize("network", [MLP, Network(lambda: nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)))])
def test_engines_agree(network: Network) -> None:
    """A compiled epoch as well as a converted network."""
    dense, sparse = (train(engine, network, optimizer={"sgd": {"momentum": 0.9}}) for engine in ("dense", "sparse"))
    assert dense.iterations == sparse.iterations == 12
    for name, expected in dense.state.items():
        torch.testing.assert_close(sparse.state[name], expected, rtol=1e-4, atol=1e-5)


def test_a_killed_training_is_taken_up() -> None:
    start = begin(MLP, DATA)
    whole = run(MLP, DATA, settings(optimizer={"sgd": {"momentum": 0.9}}), start, None)
    journal = MemoryJournal(die_after=2)
    with pytest.raises(Killed):
        run(MLP, DATA, settings(optimizer={"sgd": {"momentum": 0.9}}), start, journal)
    journal.die_after = None
    assert same_bits(run(MLP, DATA, settings(optimizer={"sgd": {"momentum": 0.9}}), start, journal).state, whole.state)


def test_schedules_count_the_same_epochs() -> None:
    given = settings(schedule={"multistep": {"milestones": (2,), "gamma": 0.5}})
    rate = given.rates(DATA.batch_count(16, drop_last=True))
    assert [rate(iteration) for iteration in (5, 6)] == [0.1, 0.05]
    assert [row["lr"] for row in train(schedule=given.schedule).curve] == [0.1, 0.1, 0.05, 0.05]


def test_a_batch_that_is_never_whole_is_refused() -> None:
    with pytest.raises(SpecError, match=r"batch_size must be at most 50.*got 51"):
        train(batch_size=51)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"drop_last": False}, 2),
        ({"drop_last": True}, 16),
        ({"drop_last": False, "batch_size": 10}, 10),
        ({"drop_last": False, "batch_size": 60}, 50),
        ({"drop_last": False, "epochs": None, "length": "3it"}, 16),
        ({"drop_last": False, "epochs": None, "length": "4it"}, 2),
        ({"drop_last": False, "epochs": 0.5}, 16),
        ({"drop_last": False, "batch_size": 49}, 1),
    ],
)
def test_the_smallest_batch(changes: dict[str, object], expected: int) -> None:
    assert settings(**changes).smallest_batch(50) == expected
