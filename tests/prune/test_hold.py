"""Pruned weights stay pruned in a training loop of the user's own."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from prune_cases import total
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from overparam.errors import SpecError
from overparam.prune import apply_masks, dense_masks, hold, prune


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 4)).double()


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(32, 20, generator=generator).double(), torch.randint(4, (32,), generator=generator)


def train(module: nn.Module, optimiser: torch.optim.Optimizer, steps: int = 5, closure: bool = False) -> None:
    for step in range(steps):
        inputs, labels = batch(step)

        def loss(inputs: Tensor = inputs, labels: Tensor = labels) -> Tensor:
            optimiser.zero_grad()
            value = cross_entropy(module(inputs), labels)
            value.backward()
            return value

        if closure:
            optimiser.step(loss)
        else:
            loss()
            optimiser.step()


def clean(module: nn.Module, masks: dict[str, Tensor]) -> bool:
    """Whether all weights outside the masks are +0.0, and not -0.0."""
    pruned = torch.cat([module.get_parameter(name)[~mask].detach() for name, mask in masks.items()])
    return not pruned.any() and not pruned.signbit().any()


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "one by one": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=False),
    "foreach": lambda p: torch.optim.AdamW(p, foreach=True),
    "fused": lambda p: torch.optim.Adam(p, fused=True, amsgrad=True),
    **{
        name: getattr(torch.optim, name)
        for name in ("Adagrad", "Adadelta", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "Adafactor")
    },
}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("closure", [False, True])
def test_no_optimiser_moves_a_pruned_weight(name: str, closure: bool) -> None:
    module = net()
    masks = prune(module, density=0.3, scope="erk")
    before = copy.deepcopy(module.state_dict())
    with hold(module, masks, OPTIMISERS[name](module.parameters())) as held:
        assert clean(module, masks)  # at once
        train(module, held._optimisers[0], closure=closure)
    assert clean(module, masks)
    for key, mask in masks.items():
        assert (module.get_parameter(key) != before[key])[mask].any()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_kept_weights_move_as_if_the_others_were_not_there(name: str) -> None:
    """The same steps as of a module that multiplies its weights by the masks."""

    class Masked(nn.Module):
        def __init__(self, module: nn.Module, masks: dict[str, Tensor]) -> None:
            super().__init__()
            self.inner, self.masks = module, masks

        def forward(self, x: Tensor) -> Tensor:
            first, _, last = self.inner
            hidden = torch.tanh(nn.functional.linear(x, first.weight * self.masks["0.weight"], first.bias))
            return nn.functional.linear(hidden, last.weight * self.masks["2.weight"], last.bias)

    module, twin = net(), net()
    masks = prune(module, density=0.3, scope="erk")
    apply_masks(twin, masks)
    optimiser = OPTIMISERS[name](module.parameters())
    hold(module, masks, optimiser)
    train(module, optimiser)
    train(Masked(twin, masks), OPTIMISERS[name](twin.parameters()))
    for key, value in module.state_dict().items():
        mask = masks.get(key, torch.ones_like(value, dtype=torch.bool))
        torch.testing.assert_close(value[mask], twin.state_dict()[key][mask], rtol=1e-9, atol=1e-9)


def test_lbfgs_optimises_the_kept_weights_alone() -> None:
    module = net()
    masks = prune(module, density=0.4, scope="erk")
    optimiser = torch.optim.LBFGS(module.parameters(), line_search_fn="strong_wolfe")
    hold(module, masks, optimiser)
    inputs, labels = batch(0)
    losses = []

    def closure() -> Tensor:
        optimiser.zero_grad()
        assert clean(module, masks)  # within the step, too: the search never leaves the masks
        loss = cross_entropy(module(inputs), labels)
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3):
        optimiser.step(closure=closure)
    assert clean(module, masks)
    assert losses[-1] < losses[0] / 2


def test_momentum_from_before_does_not_move_what_is_pruned_now() -> None:
    module = net()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    train(module, optimiser)
    masks = prune(module, density=0.3, scope="erk")
    hold(module, masks, optimiser)
    for key, mask in masks.items():
        assert not optimiser.state[module.get_parameter(key)]["momentum_buffer"][~mask].any()
    train(module, optimiser)
    assert clean(module, masks)


def test_state_that_is_loaded_later_does_not_either() -> None:
    module = net()
    other = torch.optim.Adam(module.parameters())
    train(module, other)
    masks = prune(module, density=0.3, scope="erk")
    optimiser = torch.optim.Adam(module.parameters())
    hold(module, masks, optimiser)
    optimiser.load_state_dict(other.state_dict())
    train(module, optimiser, steps=1)
    assert clean(module, masks)


def test_closing_lets_go_and_leaves_nothing() -> None:
    module = net()
    masks = prune(module, density=0.3, scope="erk")
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    held = hold(module, masks, optimiser)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert not any(parameter._backward_hooks for parameter in module.parameters())
    held.close()
    held.close()
    assert not optimiser._optimizer_step_pre_hooks
    assert not optimiser._optimizer_step_post_hooks
    train(module, optimiser)
    assert not clean(module, masks)


def test_rounds_compound_under_one_hold() -> None:
    module = net()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    masks = dense_masks(module)
    with hold(module, masks, optimiser) as held:
        for left in (192, 96, 48):
            masks = prune(module, fraction=0.5, masks=masks, scope="erk")
            held.update(masks)
            train(module, optimiser)
            assert total(masks) == left
            assert clean(module, masks)
        held.update(dense_masks(module))
        train(module, optimiser)
        assert not clean(module, masks)  # given back, they move


@pytest.mark.parametrize("criterion", ["exact-obs", "refit"])
def test_new_values_come_with_the_masks_as_when_they_are_applied(criterion: str) -> None:
    module, twin = net(), net()
    optimiser = torch.optim.Adam(module.parameters())
    first = prune(module, criterion, density=0.5, batch=batch(0))
    assert first.weights
    for again in (first.copy(), copy.copy(first), copy.deepcopy(first)):
        assert again.weights.keys() == first.weights.keys()
    apply_masks(twin, first)
    with hold(module, first.copy(), optimiser) as held:
        assert all(torch.equal(value, twin.state_dict()[name]) for name, value in module.state_dict().items())
        second = prune(module, criterion, density=0.2, batch=batch(0), masks=first)
        apply_masks(twin, second)
        held.update(second)
        assert all(torch.equal(value, twin.state_dict()[name]) for name, value in module.state_dict().items())
        train(module, optimiser)
        assert clean(module, second)


def test_groups_several_optimisers_and_frozen_layers() -> None:
    module = net()
    masks = prune(module, density=0.3, scope="erk")
    first = torch.optim.SGD([{"params": [module[0].bias], "lr": 0.5}, {"params": [module[0].weight]}], lr=0.1)
    second = torch.optim.Adam(module[2].parameters())
    with pytest.raises(SpecError, match=r"the optimizer does not train 2\.weight, which the masks are for"):
        hold(module, masks, first)
    hold(module, masks, [first, second])
    for _ in range(3):
        train(module, first, steps=1)
        second.step()
    assert clean(module, masks)

    module = net()
    module[2].weight.requires_grad_(False)
    late = torch.optim.SGD(module[0].parameters(), lr=0.1, momentum=0.9)
    hold(module, masks, late)
    module[2].weight.requires_grad_(True)
    late.add_param_group({"params": [module[2].weight]})
    train(module, late)
    assert clean(module, masks)


def test_a_step_that_the_scaler_skips_leaves_all_as_it_was() -> None:
    module = net().float()
    masks = prune(module, density=0.3, scope="erk")
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    hold(module, masks, optimiser)
    scaler = torch.amp.GradScaler("cpu", init_scale=1e38)
    before = copy.deepcopy(module.state_dict())
    for step in range(2):
        inputs, labels = batch(step)
        optimiser.zero_grad()
        scaler.scale(cross_entropy(100 * module(inputs.float()), labels)).backward()
        scaler.step(optimiser)
        scaler.update(1.0)
        if step == 0:
            assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert clean(module, masks)
    assert not torch.equal(module[0].bias, before["0.bias"])


def test_infinite_gradients_of_pruned_weights_do_no_harm() -> None:
    module = net()
    masks = prune(module, density=0.3, scope="erk")
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    hold(module, masks, optimiser)
    for name, mask in masks.items():
        module.get_parameter(name).grad = torch.where(mask, 0.5, torch.inf).double()
    optimiser.step()
    assert clean(module, masks)
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_sparse_gradients_of_an_embedding() -> None:
    module = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Linear(4, 4)).double()
    masks = prune(module, density=0.5, include="embedding", scope="uniform")
    optimiser = torch.optim.SparseAdam([module[0].weight], lr=0.1)
    hold(module, {"0.weight": masks["0.weight"]}, optimiser)
    for _ in range(3):
        optimiser.zero_grad()
        module(torch.tensor([1, 2, 5])).square().sum().backward()
        optimiser.step()
    assert clean(module, {"0.weight": masks["0.weight"]})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_a_compiled_step() -> None:
    module = net()
    masks = prune(module, density=0.3, scope="erk")
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    hold(module, masks, optimiser)
    step = torch.compile(optimiser.step, backend="eager")
    for number in range(3):
        inputs, labels = batch(number)
        optimiser.zero_grad()
        cross_entropy(module(inputs), labels).backward()
        step()
    assert clean(module, masks)


@pytest.mark.parametrize("given", ["adam", None, 3, [None]])
def test_what_is_no_optimiser(given: object) -> None:
    module = net()
    with pytest.raises(SpecError, match=r"optimizer must be a torch\.optim\.Optimizer"):
        hold(module, dense_masks(module), given)


def test_a_wrapper_that_steps_elsewhere_is_refused() -> None:
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, inner: torch.optim.Optimizer) -> None:
            self.inner = inner

        @property
        def param_groups(self):
            return self.inner.param_groups

        def step(self, closure=None):
            return self.inner.step(closure)

    module = net()
    with pytest.raises(SpecError, match="got Wrapper; of one that wraps another give the one inside"):
        hold(module, dense_masks(module), Wrapper(torch.optim.SGD(module.parameters(), lr=0.1)))
