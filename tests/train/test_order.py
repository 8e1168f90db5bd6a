"""Two trainings of the same weights that differ in their noise alone."""

from __future__ import annotations

import pytest

from overparam import Chain, Rewind, Study, Train, World
from overparam.train import TrainSettings, fit
from small import CONV, MLP, begin, built, images, same_bits, vectors


@pytest.mark.parametrize("network", [MLP, CONV], ids=["order", "order and dropout"])
def test_another_order_is_another_noise_on_the_same_weights(network: object) -> None:
    data = built(images())
    found = []
    for order in (0, 1, 1, 2):
        start = begin(network, data)  # type: ignore[arg-type]
        settings = TrainSettings(epochs=1, batch_size=10, order=order)
        found.append(fit(start.load_into(network.build(**data.form, seed=0)), data, settings).state)  # type: ignore[attr-defined]
    assert same_bits(found[1], found[2])
    assert not same_bits(found[0], found[1])
    assert not same_bits(found[1], found[3])


def test_the_first_order_is_that_of_trainings_which_name_none() -> None:
    one, two, other = (
        list(Study("s", World(vectors()), "mlp", Chain(Train(epochs=1, **fields))).plan.nodes)
        for fields in ({}, {"order": 0}, {"order": 1})
    )
    assert one == two != other


def test_two_orders_of_one_ticket_in_a_chain() -> None:
    """Both start from the same rewound weights, whatever trained before."""
    train = Train(epochs=1, batch_size=10)
    again = Train(epochs=1, batch_size=10, order=1, called="again")
    study = Study("s", World(vectors()), "mlp", Chain(train, Rewind(), again, Rewind(), train), probes=["accuracy"])
    assert [row.kind for row in study.plan.rows] == ["train", "again", "train"]
