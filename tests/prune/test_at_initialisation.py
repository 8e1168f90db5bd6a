"""SNIP, GraSP and SynFlow on cases whose answer is known on paper, and pruning in several rounds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prune_cases import OF_WEIGHTS, counts, normal, same, total
from torch import Tensor, nn

from overparam import Prune, SpecError
from overparam.prune import CRITERIA, Evidence, GraSP, Magnitude, Scores, apply_masks, prune, synaptic_flow
from overparam.prune.evidence import Look
from overparam.prune.rounds import densities
from small import CONV, MLP, begin, built, context_of, images, same_bits, vectors


def chain(*widths: int, bias: bool = False, seed: int = 0) -> nn.Sequential:
    """Linear layers with ReLUs between them."""
    torch.manual_seed(seed)
    layers = [layer for sizes in pairwise(widths) for layer in (nn.Linear(*sizes, bias=bias), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def square(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean() / 2


def test_snip_is_the_sensitivity_to_a_switch_on_each_weight() -> None:
    """Of a linear model with squared loss: |dL/dc| at c = 1 is |w x'(x w - y)| / n."""
    net = nn.Linear(3, 1, bias=False)
    x, y = torch.randn(8, 3), torch.randn(8, 1)
    w = net.weight.detach()[0]
    by_hand = (w * (x.T @ (x @ w - y[:, 0])) / 8).abs()
    scores = CRITERIA.resolve("snip")(
        Evidence({"weight": net.weight.detach()}, look=Look(lambda: net, lambda: ([(x, y)], square)))
    )
    torch.testing.assert_close(scores["weight"][0], by_hand)
    assert CRITERIA.identity("snip") == CRITERIA.identity("gradient"), "one thing, two names"


class Quadratic(nn.Module):
    """Outputs its weights: with a quadratic loss the Hessian is known."""

    def __init__(self, at: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(at)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.weight


def test_grasp_is_half_the_loss_of_gradient_flow_on_a_quadratic() -> None:
    """L = w'Hw/2 has g = Hw, so |g|^2 has the gradient 2 H g: a short way d along -w_k loses 2 d w_k (H g)_k of it."""
    root = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hessian, at = root @ root.T, torch.tensor([0.5, -2.0, 3.0, 0.1], dtype=torch.float64)
    batch = (torch.zeros(1), torch.zeros(1))

    def quadratic(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs @ hessian @ outputs / 2

    def flow(weights: Tensor) -> Tensor:
        return (hessian @ weights).square().sum()

    scores = GraSP(1.0)(Evidence({"weight": at}, look=Look(lambda: Quadratic(at), lambda: ([batch], quadratic))))[
        "weight"
    ]
    short = 1e-6
    lost = [(flow(at) - flow(at - short * at * (torch.arange(4) == k))) / (2 * short) for k in range(4)]
    torch.testing.assert_close(scores, torch.stack(lost), rtol=1e-4, atol=1e-6)
    assert scores.min() < 0 < scores.max()
    masks = prune(Quadratic(at), GraSP(1.0), density=0.5, include="weight", batch=batch, loss=quadratic)
    assert masks["weight"].tolist() == [bool(score >= scores.sort().values[2]) for score in scores]


def test_grasp_takes_gradient_and_hessian_of_the_mean_over_batches_of_softened_outputs() -> None:
    net = chain(3, 5, 4, bias=True).double()
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randint(4, (6,))
    names = dict(net.named_parameters())
    weights = {name: weight.detach() for name, weight in names.items()}
    halves = [(x[:3], y[:3]), (x[3:], y[3:])]
    found = GraSP(7.0)(Evidence(weights, look=Look(lambda: net, lambda: (halves, nn.functional.cross_entropy))))
    slopes = torch.autograd.grad(nn.functional.cross_entropy(net(x) / 7, y), list(names.values()), create_graph=True)
    torch.stack([slope.square().sum() for slope in slopes]).sum().backward()
    for name, weight in names.items():
        torch.testing.assert_close(found[name], weight.detach() * weight.grad / 2)


def test_synaptic_flow_by_hand() -> None:
    """One path each through two hidden units: R = 1*3 + 2*4 with absolute weights, and the bias takes no part."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    for parameter, value in zip(net.parameters(), ([[-1.0], [2.0]], [5.0, -5.0], [[3.0, -4.0]], [9.0]), strict=True):
        parameter.data = torch.tensor(value)
    flow = synaptic_flow(net, torch.zeros(7, 1))
    assert {name: found.dtype for name, found in flow.items()} == dict.fromkeys(flow, torch.float64)
    assert flow["0.weight"].tolist() == [[3.0], [4.0]]
    assert flow["2.weight"].tolist() == [[1.0, 2.0]]


@given(st.lists(st.integers(1, 7), min_size=2, max_size=5), st.integers(0, 5), st.booleans())
@settings(max_examples=25)
def test_synaptic_flow_is_conserved(widths: list[int], seed: int, bias: bool) -> None:
    """Theorems 1 and 2: into a unit goes what comes out of it, so the sums of all layers are equal."""
    net = chain(*widths, bias=bias, seed=seed)
    weights = {name: weight.detach() for name, weight in net.named_parameters() if weight.dim() > 1}
    seen = Evidence(weights, look=Look(lambda: net, sample=lambda: torch.zeros(1, widths[0])))
    scores = list(CRITERIA.resolve("synflow")(seen).values())
    sums = torch.stack([score.sum() for score in scores])
    torch.testing.assert_close(sums, sums[:1].expand_as(sums))
    for one, two in pairwise(scores):
        torch.testing.assert_close(one.sum(1), two.sum(0))


def test_synaptic_flow_is_conserved_through_convolutions_norms_and_pooling_and_leaves_the_network_alone() -> None:
    torch.manual_seed(0)
    parts = (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4))
    net = nn.Sequential(*parts).train()
    net(torch.randn(5, 2, 6, 6))  # running statistics that are not trivial
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    flow = synaptic_flow(net, torch.zeros(1, 2, 6, 6), names=["0.weight", "5.weight"])
    sums = [(net.get_parameter(name).abs() * found).sum() for name, found in flow.items()]
    torch.testing.assert_close(sums[0], sums[1])
    assert same(net.state_dict(), before)
    assert net.training
    assert all(parameter.grad is None and parameter.dtype == torch.float32 for parameter in net.parameters())


@pytest.mark.filterwarnings("ignore:layer collapse")
@pytest.mark.parametrize("keep", [3, 5, 12])
def test_iterated_synflow_reaches_the_critical_compression_and_others_collapse(keep: int) -> None:
    """Three layers of very unequal size need one weight each: SynFlow alone keeps a path without a guard."""
    net, sample = chain(30, 40, 40, 2, seed=3), torch.zeros(1, 30)
    found = {
        (criterion, rounds): prune(net, criterion, density=keep / 2880, rounds=rounds, sample=sample, allow_empty=True)
        for criterion, rounds in (("synflow", 50), ("synflow", 1), ("magnitude", 1))
    }
    assert all(total(masks) == keep for masks in found.values())
    assert min(counts(found["synflow", 50]).values()) >= 1
    assert min(counts(found["magnitude", 1]).values()) == 0
    paths = [mask.double() for mask in found["synflow", 50].values()]
    assert torch.linalg.multi_dot(paths[::-1]).sum() >= 1, "and they are joined"
    assert not same(found["synflow", 50], found["synflow", 1])


def test_what_cannot_be_scored_is_said() -> None:
    with pytest.raises(SpecError, match=r"synaptic flow needs inputs that can be ones, got torch.int64"):
        synaptic_flow(nn.Embedding(3, 2), torch.tensor([[1]]))
    huge = chain(4, 4, 4).double()
    for parameter in huge.parameters():
        parameter.data.fill_(1e200)
    with pytest.raises(SpecError, match="beyond the range of float64"):
        synaptic_flow(huge, torch.zeros(1, 4))
    with pytest.raises(SpecError, match="needs the flow"):
        CRITERIA.resolve("synflow")(Evidence({"a": torch.ones(2)}))
    with pytest.raises(SpecError, match=r"needs second derivatives.*or Evidence.hessian_gradient="):
        GraSP()(Evidence({"a": torch.ones(2)}))


def test_densities_fall_by_one_factor_and_end_where_asked() -> None:
    masks = {"a": torch.ones(100, dtype=torch.bool), "b": torch.ones(50, dtype=torch.bool)}
    assert densities(0.01, 2, masks) == [pytest.approx(0.1), 0.01]
    assert densities(0.01, 1, masks) == [0.01]
    half = {**masks, "a": torch.arange(100) < 50}
    assert densities(0.125, 2, half, spared=("b",)) == [pytest.approx(0.25), 0.125]
    assert densities(0.5, 3, half, spared=("b",)) == [0.5], "there already"
    with pytest.raises(SpecError, match="rounds must be 1, or more towards a density"):
        densities(None, 3, masks)
    with pytest.raises(SpecError, match="rounds: 3 needs density"):
        Prune(fraction=0.5, rounds=3)


@pytest.mark.parametrize("criterion", OF_WEIGHTS)
@pytest.mark.parametrize("rounds", [2, 5])
def test_rounds_keep_exactly_as_many_with_every_criterion(criterion: str, rounds: int) -> None:
    data = built(images())
    start = begin(CONV, data)
    context = context_of(CONV, data, references={"init": start})
    step = Prune(criterion, density=0.13, rounds=rounds, exclude=("output",))
    pruned = step.run(start, context).checkpoint
    asked = {name: mask for name, mask in pruned.masks.items() if start.roles[name] != "output"}
    assert total(asked) == round(0.13 * sum(mask.numel() for mask in asked.values()))
    assert all(bool(mask.all()) for name, mask in pruned.masks.items() if name not in asked)
    assert pruned.level == 1, "it is one step"
    assert same_bits(pruned.state, step.run(start, context).checkpoint.state)


@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_rounds_change_nothing_where_scores_do_not_depend_on_the_mask(criterion: str) -> None:
    data = built(vectors(width=20))
    start, context = begin(MLP, data), context_of(MLP, data)
    once, often = (Prune(criterion, density=0.1, rounds=n).run(start, context).checkpoint for n in (1, 7))
    assert same_bits(once.masks, often.masks)


@pytest.mark.filterwarnings("ignore:layer collapse")
def test_each_round_looks_at_what_is_pruned_and_moved_so_far() -> None:
    """A criterion with new values, such as Optimal Brain Surgeon's, works in rounds: each sees those of the last."""
    seen: list[Mapping[str, Tensor]] = []

    def doubling(evidence: Evidence) -> Scores:
        seen.append({name: weight.clone() for name, weight in evidence.weights.items()})
        return Scores(Magnitude()(evidence), lambda masks: {name: 2 * w for name, w in evidence.weights.items()})

    net = chain(6, 5, 4)
    weights = normal({"0.weight": (5, 6), "2.weight": (4, 5)})
    for name, weight in weights.items():
        net.get_parameter(name).data.copy_(weight)
    masks = prune(net, doubling, density=0.1, rounds=3)
    apply_masks(net, masks)
    assert [round(float(each["0.weight"].abs().max() / weights["0.weight"].abs().max()), 3) for each in seen] == [
        1,
        2,
        4,
    ]
    assert [sum(int(w.count_nonzero()) for w in each.values()) for each in seen] == [50, 23, 11]
    assert total(masks) == 5
    for name, weight in weights.items():
        torch.testing.assert_close(net.get_parameter(name).detach(), 8 * weight * masks[name])
