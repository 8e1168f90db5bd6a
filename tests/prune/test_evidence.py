"""Evidence is taken when a criterion asks for it, once; second derivatives are right; new values reach the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from overparam import Chain, Prune, SpecError, Study, Train, World
from overparam.prune import (
    CRITERIA,
    OBD,
    Evidence,
    Scores,
    apply_masks,
    density,
    gradients,
    hessian_diagonal,
    hessian_product,
    prune,
)
from overparam.prune.evidence import Look
from small import MLP, begin, built, context_of, vectors


class Counted:
    """A module and batches that count how often they are looked at."""

    def __init__(self) -> None:
        self.net = nn.Linear(3, 2)
        self.modules, self.batches = 0, 0

    def look(self) -> Look:
        def module() -> nn.Module:
            self.modules += 1
            return self.net

        def batches() -> Any:
            self.batches += 1
            return [(torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1]))], nn.functional.cross_entropy

        return Look(module, batches)


@pytest.mark.parametrize(("name", "looks"), [("magnitude", 0), ("random", 0), ("gradient", 1), ("obd", 1)])
def test_what_is_not_asked_for_is_not_taken(name: str, looks: int) -> None:
    counted = Counted()
    seen = Evidence({"weight": counted.net.weight.detach()}, look=counted.look())
    for _ in range(2):
        CRITERIA.resolve(name)(seen)
    assert (counted.modules, counted.batches) == (looks, looks)


def test_magnitude_builds_no_module_in_a_study() -> None:
    data = built(vectors())
    start = begin(MLP, data)

    def none() -> nn.Module:
        raise AssertionError("a module was made")

    context = context_of(MLP, data)
    object.__setattr__(context, "module", none)
    assert Prune(fraction=0.5).run(start, context).checkpoint.kept < start.kept
    with pytest.raises(AssertionError, match="a module was made"):
        Prune("obd", fraction=0.5).run(start, context)


class Quadratic(nn.Module):
    """Outputs its weights: with a quadratic loss the Hessian is known."""

    def __init__(self, at: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(at)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.weight


H = torch.tensor([4.0, 1.0, 0.5, 9.0], dtype=torch.float64)
AT = torch.tensor([0.5, -2.0, 3.0, 0.1], dtype=torch.float64)
BATCH = (torch.zeros(1), torch.zeros(1))


def quadratic(outputs: Tensor, targets: Tensor) -> Tensor:
    return (H * outputs.square()).sum() / 2


def test_optimal_brain_damage_is_exact_for_a_quadratic_loss_with_a_diagonal_hessian() -> None:
    """The paper's case: setting w_k to zero raises the loss by exactly h_kk w_k^2 / 2."""
    module = Quadratic(AT)
    look = Look(lambda: module, lambda: ([BATCH], quadratic))
    scores = OBD(draws=1)(Evidence({"weight": AT}, look=look))["weight"]
    removed = [quadratic(AT, AT) - quadratic(torch.where(torch.arange(4) == k, 0.0, AT), AT) for k in range(4)]
    torch.testing.assert_close(scores, torch.stack(removed), rtol=1e-12, atol=0)
    masks = prune(module, OBD(), density=0.5, include="weight", batch=BATCH, loss=quadratic)
    assert masks["weight"].tolist() == [False, True, True, False], "magnitude alone would keep the same here"
    assert prune(Quadratic(AT), density=0.25, include="weight")["weight"].tolist() == [False, False, True, False]


def small_net() -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    return net, (torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1, 0]))


def whole_hessian(net: nn.Module, batch: Any) -> Tensor:
    names = dict(net.named_parameters())
    flat = torch.cat([p.detach().reshape(-1) for p in names.values()])

    def loss(vector: Tensor) -> Tensor:
        parts = torch.split(vector, [p.numel() for p in names.values()])
        weights = {n: part.reshape(p.shape) for (n, p), part in zip(names.items(), parts, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(net, weights, (batch[0],)), batch[1])

    return torch.autograd.functional.hessian(loss, flat)


def flat(found: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in found.values()])


def test_hessian_products_are_those_of_the_whole_hessian() -> None:
    net, batch = small_net()
    vectors = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = hessian_product(net, batch, vectors=vectors)
    torch.testing.assert_close(flat(found), whole_hessian(net, batch) @ flat(vectors), rtol=1e-9, atol=1e-12)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_the_diagonal_is_unbiased_with_the_variance_that_it_states() -> None:
    net, batch = small_net()
    whole = whole_hessian(net, batch)
    draws = 2000
    found = flat(hessian_diagonal(net, batch, draws=draws, seed=3))
    others = (whole.square().sum(1) - whole.diagonal().square()) / draws
    assert bool(((found - whole.diagonal()).abs() <= 5 * others.sqrt() + 1e-12).all()), "five standard errors"
    assert torch.equal(flat(hessian_diagonal(net, batch, draws=3)), flat(hessian_diagonal(net, batch, draws=3)))
    assert not torch.equal(
        flat(hessian_diagonal(net, batch, draws=3)), flat(hessian_diagonal(net, batch, draws=3, draw=1))
    )


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature() -> None:
    found = hessian_diagonal(
        nn.Linear(3, 1), (torch.randn(5, 3), torch.zeros(5)), lambda outputs, targets: outputs.sum()
    )
    assert not flat(found).any()


def test_several_mini_batches_are_meaned() -> None:
    net, batch = small_net()
    halves = [(batch[0][part], batch[1][part]) for part in (slice(0, 3), slice(3, 6))]
    weights = {name: p.detach() for name, p in net.named_parameters()}
    seen = Evidence(weights, look=Look(lambda: net, lambda: (halves, nn.functional.cross_entropy)))
    torch.testing.assert_close(flat(seen.gradients), flat(gradients(net, batch)), rtol=1e-9, atol=1e-12)
    vectors = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    whole = hessian_product(net, batch, vectors=vectors)
    torch.testing.assert_close(flat(seen.hessian_product(vectors)), flat(whole), rtol=1e-9, atol=1e-12)


def test_the_inputs_of_layers_are_those_they_are_given() -> None:
    net, batch = small_net()
    weights = {"0.weight": net[0].weight.detach(), "2.weight": net[2].weight.detach()}
    seen = Evidence(weights, look=Look(lambda: net, lambda: ([batch, batch], nn.functional.cross_entropy)))
    assert torch.equal(seen.inputs["0.weight"], torch.cat([batch[0], batch[0]]))
    torch.testing.assert_close(seen.inputs["2.weight"][:6], torch.tanh(net[0](batch[0])).detach())


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda seen: seen.gradients, "needs the gradients, and there is no batch"),
        (lambda seen: seen.gradient("a"), "no batch"),
        (lambda seen: seen.curvature(), "needs second derivatives"),
        (lambda seen: seen.inputs, r"or Evidence\(inputs=...\)"),
        (lambda seen: seen.initial, "initial weights|needs the initial"),
        (lambda seen: seen.hessian_product({}), "no batch"),
    ],
)
def test_what_there_is_no_way_to_take_is_told(ask: Any, message: str) -> None:
    for seen in (Evidence({"a": torch.ones(2)}), Evidence({"a": torch.ones(2)}, look=Look(lambda: nn.Linear(1, 1)))):
        with pytest.raises(SpecError, match=f"this criterion needs.*no batch|{message}"):
            ask(seen)


def surgeon(seen: Evidence) -> Scores:
    """Optimal Brain Surgeon for linear layers under a squared error: the others make up for what goes.

    Hassibi & Stork, NIPS 1992: removing the set S from a row changes the others by -G[:, S] (G[S, S])^-1 w[S],
    G being the inverse Hessian, that of the inputs' second moments.
    """
    inverse = {name: torch.linalg.inv(x.T @ x / len(x)) for name, x in seen.inputs.items()}
    scores = {name: w.square() / (2 * inverse[name].diagonal()) for name, w in seen.weights.items()}

    def values(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        moved = {name: weight.clone() for name, weight in seen.weights.items()}
        for name, weight in moved.items():
            for row, kept in zip(weight, masks[name], strict=True):
                gone = ~kept
                row -= inverse[name][:, gone] @ torch.linalg.solve(inverse[name][gone][:, gone], row[gone])
        return moved

    return Scores(scores, values)


def mean_squared(outputs: Tensor, targets: Any) -> Tensor:
    return (outputs - targets).square().mean()


def test_new_values_of_a_criterion_reach_the_weights() -> None:
    """After Optimal Brain Surgeon a linear layer is the least-squares fit on the inputs that are left, as on paper."""
    torch.manual_seed(1)
    inputs = torch.randn(40, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64)
    targets = inputs @ torch.randn(6, 2, dtype=torch.float64) + 0.1 * torch.randn(40, 2, dtype=torch.float64)
    layer = nn.Linear(6, 2, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.lstsq(inputs, targets).solution.T)
    masks = prune(layer, surgeon, density=0.5, batch=(inputs, targets), loss=mean_squared)
    assert density(masks) == 0.5
    apply_masks(layer, masks)
    for row, kept, target in zip(layer.weight, masks["weight"], targets.T, strict=True):
        best = torch.linalg.lstsq(inputs[:, kept], target[:, None]).solution[:, 0]
        torch.testing.assert_close(row[kept].detach(), best, rtol=1e-8, atol=1e-10)
        assert not row[~kept].any()
    plain = prune(layer, "magnitude", density=0.25, masks=masks)
    assert plain.weights == {}


def doubled(seen: Evidence) -> Scores:
    """A criterion that doubles what stays."""
    return Scores(
        {name: w.abs() for name, w in seen.weights.items()},
        lambda masks: {name: 2 * w for name, w in seen.weights.items()},
    )


def test_the_step_prune_takes_new_values() -> None:
    data = built(vectors())
    start = begin(MLP, data)
    by_size, moved = (
        Prune(c, fraction=0.5).run(start, context_of(MLP, data)).checkpoint for c in ("magnitude", doubled)
    )
    for name, mask in by_size.masks.items():
        assert torch.equal(moved.masks[name], mask)
        assert torch.equal(moved.state[name], 2 * by_size.state[name])
    untouched = [name for name in start.state if name not in start.masks]
    assert all(torch.equal(moved.state[name], start.state[name]) for name in untouched)


@pytest.mark.parametrize("value", [torch.full((8, 4), torch.nan), torch.zeros(2)])
def test_new_values_that_are_none_are_refused(value: Tensor) -> None:
    start = begin(MLP, built(vectors()))
    name = next(iter(start.masks))
    bad = Scores({n: start.state[n].abs() for n in start.masks}, lambda masks: {name: value})
    with pytest.raises(SpecError, match=r"new values of '.*' must be finite and shaped like the weights"):
        bad.weights(start.masks, start.state)


class Moved:
    """How far a weight has moved from its initial value (a criterion that looks back)."""

    def references(self) -> tuple[str, ...]:
        return ("init",)

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        return {name: (weight - seen.initial[name]).abs() for name, weight in seen.weights.items()}


def test_a_criterion_may_look_at_the_initial_weights(tmp_path: Any) -> None:
    training = Train(epochs=1, batch_size=25)
    chain = Chain(training, Prune(Moved(), fraction=0.5), training)
    results = Study("moved", World(vectors()), MLP, chain, probes=["density"]).run(tmp_path, jobs=1, threads=1)
    assert results.complete
    assert results.frame["density"].to_list() == [1.0, 0.5]
    start = begin(MLP, built(vectors()))
    with pytest.raises(
        SpecError, match=r"initial weights, and only a study that prunes knows them.* a method references"
    ):
        Evidence(start.state, look=Look(lambda: nn.Linear(1, 1))).initial  # noqa: B018
