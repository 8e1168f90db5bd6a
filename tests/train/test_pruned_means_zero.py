from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overparam import Checkpoint, Train
from overparam.train import TrainSettings, fit
from small import CONV, MLP, begin, bits, built, half_pruned, images, vectors, zeros_are_clean

KINDS = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adam", {}),
    ("adamw", {}),
    ("rmsprop", {"momentum": 0.9}),
]


@pytest.mark.parametrize(("kind", "fields"), KINDS, ids=str)
@given(density=st.sampled_from([0.0, 0.1, 0.5, 0.9]), decay=st.sampled_from([0.0, 0.1]), l1=st.sampled_from([0.0, 0.1]))
@settings(max_examples=8)
def test_pruned_weights_are_plus_zero_after_any_training(
    kind: str, fields: dict[str, object], density: float, decay: float, l1: float
) -> None:
    data = built(vectors())
    start = half_pruned(begin(MLP, data), density)
    module = start.load_into(MLP.build(data.input_shape, data.classes, 1))
    optimizer = {kind: {**fields, "weight_decay": decay}}
    chosen = TrainSettings(epochs=2, batch_size=16, lr=0.05, optimizer=optimizer, l1=l1, save=("3it",))
    fitted = fit(module, data, chosen, masks=start.masks, seed=0)
    for state in (fitted.state, *fitted.points.values()):
        assert zeros_are_clean(Checkpoint(state, start.constraints, start.roles))
    kept = torch.cat([fitted.state[name][mask] for name, mask in start.masks.items()])
    assert kept.numel() == start.kept


def test_the_module_itself_holds_zeros_too() -> None:
    data = built(images())
    start = half_pruned(begin(CONV, data), 0.3)
    module = start.load_into(CONV.build(data.input_shape, data.classes, 1))
    chosen = TrainSettings(epochs=3, batch_size=16, optimizer={"sgd": {"momentum": 0.9, "weight_decay": 0.1}}, l1=0.1)
    fit(module, data, chosen, masks=start.masks)
    for name, mask in start.masks.items():
        assert not module.get_parameter(name)[~mask].any()


def test_a_weight_at_minus_zero_becomes_plus_zero_when_it_is_masked() -> None:
    data = built(vectors())
    start = begin(MLP, data)
    name = next(iter(start.masks))
    masks = {**start.masks, name: torch.zeros_like(start.masks[name])}
    state = {**start.state, name: torch.full_like(start.state[name], -0.0)}
    masked = Checkpoint(state, start.constraints, start.roles).masked(masks)
    assert bits(masked.state[name]) == bytes(masked.state[name].nbytes)


def test_the_kept_weights_do_train() -> None:
    data = built(vectors())
    start = half_pruned(begin(MLP, data), 0.5)
    module = start.load_into(MLP.build(data.input_shape, data.classes, 1))
    fitted = fit(module, data, Train(epochs=2, batch_size=16), masks=start.masks)
    for name, mask in start.masks.items():
        assert (fitted.state[name] != start.state[name])[mask].any()
