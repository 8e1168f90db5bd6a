"""The L1 penalty on what is named: the subgradient, the same under every engine, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from overparam import SpecError
from overparam.constraints import Quantised, Uniform
from overparam.networks import Network
from overparam.prune import apply_masks
from overparam.train import TrainSettings, fit
from small import built, images, vectors

RATE, STRENGTH = 0.1, 0.01


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def trained(l1: Any, module: nn.Module | None = None, **how: Any) -> dict[str, torch.Tensor]:
    module = module or net()
    apply_masks(module, how.get("masks", {}))
    settings = TrainSettings(optimizer="sgd", lr=RATE, batch_size=50, length=how.pop("length", "1it"), l1=l1)
    return fit(module, built(vectors()), settings, **how).state


@pytest.mark.parametrize(
    ("l1", "names"),
    [
        ({"norm": STRENGTH}, {"1.weight"}),
        ({"linear": STRENGTH}, {"0.weight"}),
        ({"3.*": STRENGTH}, {"3.weight", "3.bias"}),
        ({"norm": STRENGTH, "1.bias": STRENGTH}, {"1.weight", "1.bias"}),
        ({"norm": 9.0, "1.weight": STRENGTH}, {"1.weight"}),
        (STRENGTH, {"0.weight", "3.weight"}),
    ],
)
def test_a_step_is_that_without_plus_the_sign_of_what_is_named(l1: Any, names: set[str]) -> None:
    before, free, found = net().state_dict(), trained(0.0), trained(l1, masks=ones())
    for name in dict(net().named_parameters()):
        shift = RATE * STRENGTH * before[name].sign() if name in names else torch.zeros(())
        assert torch.allclose(found[name], free[name] - shift, atol=1e-6)


def ones() -> dict[str, torch.Tensor]:
    return {name: torch.ones_like(net().get_parameter(name), dtype=torch.bool) for name in ("0.weight", "3.weight")}


def test_engines_agree_and_a_perceptron_without_norms_too() -> None:
    masks = {name: torch.rand(mask.shape) < 0.5 for name, mask in ones().items()}
    one, other = (
        trained({"norm": STRENGTH, "output": 0.02}, masks=masks, engine=engine, length="9it")
        for engine in ("dense", "sparse")
    )
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)
    plain = Network("mlp", {"hidden": [5]})
    by_role = (
        trained({"linear": 0.02, "output": 0.02}, plain.build((4,), 3, 0), engine=engine)
        for engine in ("dense", "sparse")
    )
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in plain.build((4,), 3, 0).named_parameters()}
    by_number = trained(0.02, plain.build((4,), 3, 0), masks={n: m for n, m in masks.items() if n.endswith("weight")})
    assert all(torch.allclose(found[name], by_number[name], atol=1e-6) for found in by_role for name in by_number)


def test_it_reaches_a_constrained_weight() -> None:
    weight = net().get_parameter("0.weight").detach()
    under = {"0.weight": Quantised(weight, torch.ones_like(weight, dtype=torch.bool), Uniform(16))}
    free, found = (trained(l1, constraints=under, length="20it") for l1 in (0.0, {"linear": 0.05}))
    assert found["0.weight"].abs().sum() < 0.9 * free["0.weight"].abs().sum()


def test_what_means_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="l1: the network has no parameter of role 'conv'"):
        trained({"conv": 0.1})
    with pytest.raises(SpecError, match="l1: 'nrom' is no role and matches no parameter; did you mean 'norm'"):
        trained({"nrom": 0.1})
    for wrong in ("x", -1, {"norm": -1}, {"norm": "x"}, [1], True, {"norm": float("inf")}):
        with pytest.raises(SpecError, match="l1: must be a number of at least 0, or such numbers by role"):
            TrainSettings(epochs=1, l1=wrong)


def test_scales_that_nothing_needs_vanish() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    settings = TrainSettings(lr=0.1, batch_size=10, epochs=10, l1={"norm": 0.5})
    scales = fit(module, built(images()), settings).state["1.weight"].abs().sort().values
    assert scales[:3].max() < 0.1 < 0.3 < scales[3]
