"""What every pattern promises, and pruning by units: exact counts, what goes with a unit, layers bound together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks import Network, tensor_roles
from overparam.networks.units import Place, groups
from overparam.prune import (
    CRITERIA,
    PATTERNS,
    Evidence,
    Heads,
    NofM,
    Pattern,
    Round,
    Scores,
    Units,
    Weights,
    dense_masks,
)
from overparam.prune.evidence import Look
from overparam.registry import Registry

CASES: dict[str, tuple[Pattern, ...]] = {
    "weights": (Weights(),),
    "units": (Units(), Units(greedy=True)),
    "heads": (Heads(),),
    "n-of-m": (NofM(1, 2), NofM(1, 2, transposable=True)),
}
ALL = [pytest.param(pattern, id=repr(pattern)) for patterns in CASES.values() for pattern in patterns]


def pruned(
    pattern: Pattern,
    module: nn.Module,
    sample: Tensor,
    masks: Any = None,
    criterion: Any = "magnitude",
    targets: Any = None,
    **asked: Any,
) -> dict[str, Tensor]:
    masks = masks or dense_masks(module)
    batches = None if targets is None else lambda: ([(sample, targets)], nn.functional.cross_entropy)
    weights = {name: module.get_parameter(name).detach() for name in masks}
    scores = Scores.of(CRITERIA.resolve(criterion)(Evidence(weights, look=Look(lambda: module, batches))))
    return pattern.masks(scores, masks, Round(tensor_roles(module, sample), lambda: (module, sample), **asked))


def perceptron(seed: int = 0) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)), torch.ones(1, 5)


class Attention(nn.Module):
    """Self-attention of a fused projection, added to what came in."""

    def __init__(self, width: int = 8, heads: int = 4) -> None:
        super().__init__()
        self.size, self.qkv, self.out = width // heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, -1, self.size)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return x + self.out(mixed.transpose(1, 2).flatten(2))


class Torchs(nn.Module):
    """The same with torch's own attention."""

    def __init__(self, width: int = 8, heads: int = 4, **how: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True, **how)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x[:, :, : self.attention.kdim], x, need_weights=False)[0]


def subject(pattern: Pattern) -> tuple[nn.Module, Tensor, str, str]:
    """A network that a pattern fits, an input, and the names of two weights in it."""
    if isinstance(pattern, Heads):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 8), Attention(), Attention(), nn.Linear(8, 2))
        return network, torch.randn(1, 3, 8), "1.qkv.weight", "2.qkv.weight"
    return *perceptron(), "0.weight", "2.weight"


def test_there_is_a_case_for_every_pattern() -> None:
    assert isinstance(PATTERNS, Registry)
    assert set(CASES) == set(PATTERNS)


@pytest.mark.parametrize("pattern", ALL)
def test_no_weight_comes_back_and_the_second_round_goes_on(pattern: Pattern) -> None:
    module, sample, *_ = subject(pattern)
    share = {} if getattr(pattern, "decides_count", False) else {"fraction": 0.3}
    once = pruned(pattern, module, sample, **share)
    twice = pruned(NofM(1, 4) if not share else pattern, module, sample, once, **share)
    assert all(not bool((twice[name] & ~once[name]).any()) for name in once)
    assert sum(int(mask.sum()) for mask in twice.values()) < sum(int(mask.sum()) for mask in once.values())


@pytest.mark.parametrize("pattern", ALL)
@pytest.mark.parametrize("equal", [False, True])
def test_the_same_masks_again_in_any_order_of_layers(pattern: Pattern, equal: bool) -> None:
    """Of equal scores, too, as of a network of ones; no layer is emptied, and no mask that was given is changed."""
    module, sample, *_ = subject(pattern)
    if equal:
        for weight in module.parameters():
            weight.data.fill_(1.0)
    share = {} if getattr(pattern, "decides_count", False) else {"fraction": 0.5}
    masks = dense_masks(module)
    found = pruned(pattern, module, sample, masks, **share)
    turned = pruned(pattern, module, sample, dict(reversed(masks.items())), **share)
    assert all(torch.equal(found[name], turned[name]) for name in masks)
    assert all(bool(mask.any()) for mask in found.values())
    assert all(bool(mask.all()) for mask in masks.values())


@pytest.mark.parametrize("pattern", ALL)
def test_what_is_excluded_keeps_its_own(pattern: Pattern) -> None:
    module, sample, one, other = subject(pattern)
    share = {} if getattr(pattern, "decides_count", False) else {"fraction": 0.5}
    masks = pruned(pattern, module, sample, exclude=[one, "output"], **share)
    assert bool(masks[one].all())
    assert not bool(masks[other].all())


def test_the_filter_with_the_smallest_l1_norm_goes_with_what_reads_it() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4, 2))
    module[0].weight.data = torch.tensor([2.0, -1.0, 3.0]).view(3, 1, 1, 1)
    masks = pruned(Units(), module, torch.randn(2, 1, 2, 2), fraction=0.34)
    assert masks["0.weight"].flatten().tolist() == [True, False, True]
    assert masks["3.weight"].tolist() == 2 * [4 * [True] + 4 * [False] + 4 * [True]]


def test_taylor_is_the_derivative_of_a_gate_on_each_unit() -> None:
    module, _ = perceptron()
    inputs, targets = torch.randn(7, 5), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    gate = torch.ones(8, requires_grad=True)
    outputs = module[2:](module[1](module[0](inputs)) * gate)
    (slopes,) = torch.autograd.grad(nn.functional.cross_entropy(outputs, targets), gate)
    masks = pruned(Units(), module, inputs, None, "taylor", targets, fraction=0.5, exclude=["2.weight"])
    assert masks["0.weight"].any(1).nonzero().flatten().tolist() == slopes.abs().topk(4).indices.sort().values.tolist()


def test_the_unit_with_the_smallest_norm_scale_goes_and_without_a_norm_there_is_none() -> None:
    module = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    module[1].weight.data = torch.tensor([0.5, -0.1, 0.2])
    masks = pruned(Units(), module, torch.ones(2, 5), None, "norm-scale", fraction=0.34, exclude=["3.weight"])
    assert masks["0.weight"].any(1).tolist() == [True, False, True]
    with pytest.raises(SpecError, match=r"no batch norm with a scale stands behind '3'; exclude '3.weight', or"):
        pruned(Units(), module, torch.ones(2, 5), None, "norm-scale", fraction=0.34)
    with pytest.raises(SpecError, match="scores whole neurons and filters, not single weights; add pattern: units"):
        pruned(Weights(), module, torch.ones(2, 5), None, "norm-scale", fraction=0.34)


def test_reversed_keeps_what_the_criterion_would_not() -> None:
    module, sample = perceptron()
    most, least = (
        pruned(Units(), module, sample, None, criterion, fraction=0.5, scope="per-layer")
        for criterion in ("magnitude", {"reversed": {}})
    )
    assert torch.equal(most["0.weight"].any(1), ~least["0.weight"].any(1))
    scales = {"reversed": {"criterion": "random"}}
    assert all(bool(mask.any()) for mask in pruned(Units(), module, sample, None, scales, fraction=0.5).values())


def test_random_units_have_one_chance_whatever_their_size() -> None:
    module = nn.Sequential(nn.Linear(50, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 3))
    masks = pruned(Units(), module, torch.ones(1, 50), None, "random", fraction=0.5)
    assert 1 <= int(masks["0.weight"].any(1).sum()) <= 9  # sums over 50 draws would keep all of them


def test_greedy_scores_a_layer_without_what_has_gone_before() -> None:
    module = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    module[0].weight.data = torch.tensor([[1.0], [2.0]])  # the first goes
    module[1].weight.data = torch.tensor([[9.0, 1.0], [0.0, 2.0]])  # 10 and 2, or 1 and 2 without it
    sample = torch.ones(1, 1)
    for greedy, stays in ((False, [True, False]), (True, [False, True])):
        masks = pruned(Units(greedy=greedy), module, sample, fraction=0.5, scope="per-layer")
        assert masks["1.weight"][:, 1].tolist() == stays
    with pytest.raises(SpecError, match="greedy sums over weights"):
        pruned(Units(greedy=True), module, sample, None, "random", fraction=0.5)


def test_residual_layers_count_as_one() -> None:
    module, sample = Network("resnet-20").build((3, 8, 8), 10, 0), torch.randn(1, 3, 8, 8)
    masks = pruned(Units(), module, sample, fraction=0.25, scope="per-layer")
    (stream,) = (
        {f"{unit.path}.weight" for unit in group.outputs}
        for group in groups(module, sample)
        if len(group.outputs) == 4 and min(group.outputs) == Place("conv", 0)
    )
    dead = {tuple((~masks[name].flatten(1).any(1)).nonzero().flatten().tolist()) for name in stream}
    assert [len(each) for each in dead] == [4]


@given(fraction=st.floats(0, 0.8), scope=st.sampled_from(["global", "per-layer", "uniform"]), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_counts_of_units_are_exact_and_no_layer_is_emptied(fraction: float, scope: str, seed: int) -> None:
    module, sample = perceptron(seed)
    masks = pruned(Units(), module, sample, fraction=fraction, scope=scope)
    first, second = (int((~masks[name].any(1)).sum()) for name in ("0.weight", "2.weight"))
    assert bool(masks["4.weight"].any(1).all())
    assert first + second == int(12 * fraction + 0.5)
    assert (first < 8, second < 4) == (True, True)


def test_what_cannot_go_is_said() -> None:
    with pytest.raises(SpecError, match=r"nothing that can go as a whole: .*\(it is an output of the network\)"):
        pruned(Units(), nn.Sequential(nn.Linear(3, 2)), torch.ones(1, 3), fraction=0.5)
    with pytest.raises(SpecError, match="leave counting and allow_empty"):
        pruned(Units(), *perceptron(), fraction=0.5, counting="all")


@pytest.mark.parametrize("made", [Attention, Torchs, lambda: Torchs(kdim=6)], ids=["own", "torch's", "apart"])
def test_a_head_goes_with_its_rows_of_query_key_and_value_and_what_reads_it(made: Any) -> None:
    torch.manual_seed(0)
    module, sample = nn.Sequential(made(), nn.Linear(8, 2)), torch.randn(2, 5, 8)
    rows = [p for n, p in module.named_parameters() if "qkv.weight" in n or "proj_weight" in n]
    for row in rows:
        row.data.view(-1, 4, 2, row.shape[1])[:, 2] = 1e-3  # head 2 of 4 is the smallest
    masks = pruned(Heads(), module, sample, fraction=0.25, exclude=["output"])
    inner = {name: mask for name, mask in masks.items() if name.startswith("0.") and "out" not in name}
    assert {tuple(mask.view(-1, 4, 2 * mask.shape[1]).any(2).all(0).tolist()) for mask in inner.values()} == {
        (True, True, False, True)
    }
    (out,) = (mask for name, mask in masks.items() if "out" in name and name.startswith("0."))
    assert out.any(0).tolist() == [True] * 4 + [False] * 2 + [True] * 2


def test_taylor_is_the_derivative_of_a_gate_on_each_head() -> None:
    torch.manual_seed(0)
    attention, inputs = Attention(), torch.randn(4, 5, 8)
    module = nn.Sequential(attention, nn.Flatten(), nn.Linear(40, 2))
    targets, gate = torch.tensor([0, 1, 1, 0]), torch.ones(4, requires_grad=True)
    gated = attention.out.register_forward_pre_hook(lambda _, given: (given[0] * gate.repeat_interleave(2),))
    (slopes,) = torch.autograd.grad(nn.functional.cross_entropy(module(inputs), targets), gate)
    gated.remove()
    masks = pruned(Heads(), module, inputs, None, "taylor", targets, fraction=0.5)
    kept = masks["0.out.weight"].any(0).view(4, 2).all(1)
    assert kept.nonzero().flatten().tolist() == slopes.abs().topk(2).indices.sort().values.tolist()


def test_a_network_without_heads_is_refused() -> None:
    with pytest.raises(SpecError, match="pattern heads: no attention heads were found in the network"):
        pruned(Heads(), *perceptron(), fraction=0.5)


def test_taylor_scores_units_whose_readers_are_not_scored() -> None:
    module, sample = perceptron()
    inputs, targets = torch.randn(7, 5), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    look = Look(lambda: module, lambda: ([(inputs, targets)], nn.functional.cross_entropy))
    weights = {name: module.get_parameter(name).detach() for name in ("0.weight", "2.weight", "4.weight")}
    first = {"0.weight": weights["0.weight"]}
    whole, alone = (CRITERIA.resolve("taylor")(Evidence(named, look=look)) for named in (weights, first))
    for group in groups(module, sample):
        if min(group.outputs).path == "0":
            assert alone.units(group) == pytest.approx(whole.units(group), rel=1e-6)
