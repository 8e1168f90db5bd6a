"""Networks for sequences of tokens: causal, initialised as their papers say, with roles that can be pruned."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from overparam import Network, SpecError
from overparam.networks import NETWORKS, applications, prunable, tensor_roles
from overparam.prune import prune

LENGTH, WORDS = 6, 11
SMALL: dict[str, dict[str, Any]] = {
    "transformer": {"layers": 2, "heads": 2, "width": 8},
    "gru": {"layers": 2, "hidden": 9, "embedding": 5},
}
TOKENS = (7 * torch.arange(4 * LENGTH) % WORDS).view(4, LENGTH)


def build(name: str, **options: Any) -> torch.nn.Module:
    network = Network(name, {**SMALL[name], **options})
    return network.build((LENGTH,), (LENGTH, WORDS), seed=0, vocabulary=WORDS).eval()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("place", range(LENGTH))
def test_no_place_sees_what_comes_later(name: str, place: int) -> None:
    module = build(name)
    changed = TOKENS.clone()
    changed[:, place] = (changed[:, place] + 1) % WORDS
    before, after = module(TOKENS), module(changed)
    assert before.shape == (4, LENGTH, WORDS)
    torch.testing.assert_close(before[:, :place], after[:, :place])
    differing = (before[:, place:] - after[:, place:]).abs().amax((0, 2))
    assert (differing > 0).all(), "this place and all later ones see it"


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_is_used(name: str) -> None:
    module = build(name)
    module(TOKENS).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in module.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_a_copy_computes_the_same_and_the_usual_initialisation_is_its_own(name: str) -> None:
    module = build(name)
    assert torch.equal(copy.deepcopy(module)(TOKENS), module(TOKENS))
    usual = NETWORKS.get(name).init
    named = Network(name, SMALL[name], init=usual).build((LENGTH,), (LENGTH, WORDS), 0, "init", WORDS)
    assert all(torch.equal(one, other) for one, other in zip(module.parameters(), named.parameters(), strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_each_weight_is_applied_once_a_token(name: str) -> None:
    module = build(name)
    used = applications(module, TOKENS)
    assert used == dict.fromkeys(prunable(tensor_roles(module, TOKENS)), LENGTH)


def test_roles_of_a_transformer_and_what_is_pruned_of_it() -> None:
    roles = tensor_roles(build("transformer"), TOKENS)
    assert {roles[name] for name in ("tokens.weight", "positions.weight")} == {"embedding"}
    assert roles["output.weight"] == "output"
    assert roles["blocks.0.attention.weight"] == roles["blocks.1.contraction.weight"] == "linear"
    assert len(prunable(roles)) == 2 * 4 + 1


def test_roles_of_a_gru_and_what_is_pruned_of_it() -> None:
    module = build("gru")
    roles = tensor_roles(module, TOKENS)
    assert roles["recurrent.weight_hh_l1"] == roles["recurrent.weight_ih_l0"] == "recurrent"
    masks = prune(module, "magnitude", density=0.25, include=["embedding"])
    assert set(masks) == {*prunable(roles), "tokens.weight"}
    kept, weights = sum(int(mask.sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
    assert kept == math.floor(0.25 * weights + 0.5)


def test_the_transformer_begins_as_gpt_2_does() -> None:
    module = build("transformer", width=128, layers=3)
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    for name, std in (
        ("tokens.weight", 0.02),
        ("blocks.0.attention.weight", 0.02),
        ("blocks.2.expansion.weight", 0.02),
        ("blocks.2.contraction.weight", 0.02 / 6**0.5),
        ("blocks.0.projection.weight", 0.02 / 6**0.5),
    ):
        assert float(weights[name].std()) == pytest.approx(std, rel=0.1), name
    assert float(weights["blocks.0.attention.bias"].abs().max()) == 0
    assert float(weights["norm.weight"].min()) == 1
    chances = module(TOKENS).detach().softmax(-1)
    assert float(chances.max()) < 2 / WORDS, "it begins with nearly even chances"


def test_dropout_is_off_in_evaluation_only() -> None:
    module = build("transformer", dropout=0.5)
    assert torch.equal(module(TOKENS), module(TOKENS))
    module.train()
    assert not torch.equal(module(TOKENS), module(TOKENS))


@pytest.mark.parametrize(
    ("network", "form", "message"),
    [
        (Network("transformer"), ((1, 28, 28), 10, 0), "needs inputs that are tokens, those of the dataset are real"),
        (Network("mlp"), ((6,), (6, 11), 0, "init", 11), "needs inputs that are real, those of the dataset are tokens"),
        (Network("transformer", {"width": 9}), ((6,), (6, 11), 0, "init", 11), r"must be a multiple of heads \(4\)"),
        (Network("transformer"), ((6,), 11, 0, "init", 11), r"gives an output of shape \(2, 6, 11\) .*; \(2, 11\) is"),
    ],
)
def test_what_does_not_fit_is_refused(network: Network, form: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        network.build(*form)
