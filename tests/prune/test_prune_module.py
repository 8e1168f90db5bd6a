from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prune_cases import OF_MODULES, counts, same, total
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import overparam.prune
from overparam.errors import LayerCollapseWarning, SpecError
from overparam.prune import SCOPES, apply_masks, dense_masks, density, gradients, prune


def small_net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * 16, 8),
            nn.Dropout(0.3),
            nn.ReLU(),
            nn.Linear(8, 3),
        )


def batch(n: int = 12, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 6, 6, generator=generator), torch.randint(3, (n,), generator=generator)


WEIGHTS = {"0.weight": 36, "4.weight": 512, "7.weight": 24}


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_dense_masks_cover_the_weights_only():
    masks = dense_masks(small_net())
    assert counts(masks) == WEIGHTS
    assert density(masks) == 1.0


@pytest.mark.filterwarnings("ignore::overparam.errors.LayerCollapseWarning")  # the worst weights stay
@pytest.mark.parametrize("scope", list(SCOPES))
@pytest.mark.parametrize("criterion", OF_MODULES)
def test_prune_leaves_the_module_as_it_was(criterion, scope):
    net = small_net()
    before, flags = snapshot(net), [part.training for part in net.modules()]
    state = torch.get_rng_state()
    masks = prune(net, criterion, density=0.25, scope=scope, batch=batch())
    assert total(masks) == 143
    assert same(snapshot(net), before)
    assert [part.training for part in net.modules()] == flags
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert same(masks, prune(net, criterion, density=0.25, scope=scope, batch=batch()))


def test_iterative_pruning_excludes_by_role():
    net, masks = small_net(), None
    for level in range(1, 6):
        masks = prune(net, "random", fraction=0.2, exclude=["output"], masks=masks, seed=3, draw=level)
        apply_masks(net, masks)
    assert masks["7.weight"].all()
    assert total(masks) == 24 + 179  # 548 less 109.6 (110), 87.6 (88), 70, 56, 44.8 (45)
    for name, parameter in net.named_parameters():
        if name in masks:
            assert torch.equal(parameter != 0, masks[name])


def test_draws_of_random_pruning_differ():
    net = small_net()
    assert not same(prune(net, "random", density=0.5, draw=0), prune(net, "random", density=0.5, draw=1))
    assert not same(prune(net, "random", density=0.5, seed=0), prune(net, "random", density=0.5, seed=1))


def test_magnitude_keeps_the_largest():
    net = small_net()
    masks = prune(net, density=0.5)
    weights = dict(net.named_parameters())
    kept = torch.cat([weights[name][mask].abs() for name, mask in masks.items()])
    gone = torch.cat([weights[name][~mask].abs() for name, mask in masks.items()])
    assert kept.min() >= gone.max()


def test_custom_criterion_and_scope_are_passed_in():
    class Position:
        needs = frozenset()

        def __call__(self, seen):
            return {
                name: torch.arange(w.numel(), dtype=torch.float64).reshape(w.shape) for name, w in seen.weights.items()
            }

    class LastLayerOnly:
        rates: ClassVar = {}

        def quotas(self, tensors, keep):
            found = {tensor.name: tensor.least for tensor in tensors}
            found["4.weight"] += keep - sum(found.values())
            return found

    with pytest.warns(
        LayerCollapseWarning, match="'0.weight' keeps 1 of 36 weights for 4 units, '7.weight' keeps 1 of"
    ):
        masks = prune(small_net(), Position(), density=0.5, scope=LastLayerOnly())
    assert counts(masks) == {"0.weight": 1, "4.weight": 284, "7.weight": 1}
    assert masks["4.weight"].flatten().nonzero().min() == 512 - 284


def test_apply_masks_writes_positive_zeros_and_touches_nothing_else():
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-1.0, torch.inf, torch.nan], [-2.0, 3.0, -0.0]]))
    bias, memory = net.bias.clone(), net.weight.data_ptr()
    keys = list(net.state_dict())
    apply_masks(net, {"weight": torch.tensor([[False, False, False], [True, False, True]])})
    assert net.weight.tolist() == [[0, 0, 0], [-2, 0, 0]]
    assert torch.signbit(net.weight).tolist() == [[False, False, False], [True, False, True]]  # kept -0.0 stays
    assert torch.equal(net.bias, bias)
    assert (net.weight.data_ptr(), list(net.state_dict())) == (memory, keys)
    assert isinstance(net.weight, nn.Parameter)
    assert not net._forward_hooks
    assert not net._forward_pre_hooks


@pytest.mark.filterwarnings("ignore::overparam.errors.LayerCollapseWarning")  # the worst weights stay
@pytest.mark.filterwarnings("ignore::overparam.errors.TiedScoresWarning")  # of dead units all gradients are zero
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    net = small_net().to(dtype)
    inputs, labels = batch()
    for criterion in OF_MODULES:
        masks = prune(net, criterion, density=0.5, batch=(inputs.to(dtype), labels))
        assert total(masks) == 286
        twin = copy.deepcopy(net)
        apply_masks(twin, masks)
        assert twin[0].weight.dtype == dtype


def test_non_contiguous_weight():
    net = nn.Linear(63, 5)
    net.weight = nn.Parameter(torch.randn(63, 5, generator=torch.Generator().manual_seed(0)).T)
    assert not net.weight.is_contiguous()
    masks = prune(net, density=0.2)
    assert total(masks) == 63
    apply_masks(net, masks)
    assert torch.equal(net.weight != 0, masks["weight"])


def test_gradients_of_a_linear_model_by_hand():
    # L = mean over batch and outputs of (W x - y)^2, so dL/dW = 2 / (n m) sum (W x - y) x^T
    net = nn.Linear(3, 2, bias=False)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(5, 3, generator=generator), torch.randn(5, 2, generator=generator)
    with torch.no_grad():
        expected = 2 / 10 * (net(x) - y).T @ x
    torch.testing.assert_close(gradients(net, (x, y), mse_loss), {"weight": expected})


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_gradients_are_those_of_backward(seed):
    net, (inputs, labels) = small_net(seed), batch(seed=seed)
    found = gradients(net, (inputs, labels), mode="eval")
    twin = copy.deepcopy(net).eval()
    cross_entropy(twin(inputs), labels).backward()
    expected = {name: parameter.grad for name, parameter in twin.named_parameters()}
    torch.testing.assert_close(found, expected)


def test_train_mode_uses_batch_statistics_and_dropout_from_its_stream():
    net = small_net().eval()
    before = snapshot(net)
    train, again = (gradients(net, batch(), seed=1, draw=2) for _ in range(2))
    assert same(train, again)
    assert not same(train, gradients(net, batch(), mode="eval"))
    assert not same(train, gradients(net, batch(), seed=1, draw=3))  # other dropout
    assert same(snapshot(net), before)
    assert not any(part.training for part in net.modules())


def test_gradients_leave_grad_and_flags_alone_also_after_an_error():
    net = small_net()
    net[1].eval()  # one frozen norm in a training net
    net[0].weight.grad = torch.full_like(net[0].weight, 7.0)
    before, flags = snapshot(net), [part.training for part in net.modules()]
    gradients(net, batch())

    def fails(outputs, labels):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        gradients(net, batch(), fails)
    assert same(snapshot(net), before)
    assert [part.training for part in net.modules()] == flags
    assert net[0].weight.grad.eq(7.0).all()
    assert net[4].weight.grad is None


def test_gradients_of_frozen_unused_and_tied_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(4, 4, bias=False)
            self.two = nn.Linear(4, 4, bias=False)
            self.two.weight = self.one.weight
            self.unused = nn.Linear(4, 4, bias=False)

        def forward(self, x):
            return self.two(self.one(x))

    net = Tied().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 4, generator=generator), torch.randint(4, (6,), generator=generator)
    with torch.no_grad():
        found = gradients(net, (x, y))
    assert found.keys() == {"one.weight", "unused.weight"}
    assert not found["unused.weight"].any()
    net.requires_grad_(True)
    cross_entropy(net(x), y).backward()
    torch.testing.assert_close(found["one.weight"], net.one.weight.grad)


def test_masked_weights_have_a_gradient_but_stay_pruned():
    net = small_net()
    masks = prune(net, density=0.5)
    apply_masks(net, masks)
    found = gradients(net, batch(), names=masks, mode="eval")
    assert found["4.weight"][~masks["4.weight"]].any()
    smaller = prune(net, "gradient", fraction=0.2, masks=masks, batch=batch())
    assert total(smaller) == 286 - 57
    assert all(not (smaller[name] & ~masks[name]).any() for name in masks)


def with_nan(net, leaf="weight"):
    with torch.no_grad():
        getattr(net[4], leaf)[0] = torch.nan
    return net


ONES = torch.ones(3, 8).bool()
MISUSE = {
    "no amount": (lambda: prune(small_net()), "either fraction"),
    "no batch": (lambda: prune(small_net(), "gradient", fraction=0.2), "needs gradients.* give batch="),
    "no shapes": (lambda: prune(small_net(), "synflow", fraction=0.2), "only the shapes count; give sample=inputs, or"),
    "no initial weights": (lambda: prune(small_net(), "movement", fraction=0.2), "only a study that prunes knows them"),
    "of units": (lambda: prune(small_net(), "norm-scale", fraction=0.2), "which prune\\(\\) by hand does not know"),
    "a label too high": (
        lambda: prune(small_net(), "gradient", fraction=0.2, batch=(batch()[0], 12 * torch.ones(12).long())),
        r"batch: the loss fails on outputs of shape \(12, 3\) .* and labels of .*: IndexError: Target 12 is out of",
    ),
    "labels of another kind": (
        lambda: prune(small_net(), "obd", fraction=0.2, batch=(batch()[0], torch.ones(12).int())),
        r"batch: the loss fails on .* and labels of shape \(12,\) and dtype torch.int32: RuntimeError",
    ),
    "too few labels": (
        lambda: prune(small_net(), "gradient", fraction=0.2, batch=(batch()[0], batch()[1][:9])),
        r"labels of shape \(9,\) .*: ValueError: Expected input batch_size \(12\) to match target batch_size \(9\)",
    ),
    "inputs of another shape": (
        lambda: prune(small_net(), "gradient", fraction=0.2, batch=(torch.ones(12, 1, 5, 5), batch()[1])),
        r"batch: the module fails on a batch of shape \(12, 1, 5, 5\)",
    ),
    "no examples": (
        lambda: prune(small_net(), "exact-obs", fraction=0.2, batch=(batch()[0][:0], batch()[1][:0])),
        r"batch must have at least one example, got inputs of shape \(0, 1, 6, 6\)",
    ),
    "nan inputs": (
        lambda: prune(small_net(), "exact-obs", fraction=0.2, batch=(batch()[0] * torch.nan, batch()[1])),
        "what the layer of '0.weight' is given is not finite; look for NaN in the inputs",
    ),
    "half a batch": (lambda: prune(small_net(), "gradient", fraction=0.2, batch=batch()[0]), "batch must be a pair"),
    "unknown criterion": (lambda: prune(small_net(), "gradients", fraction=0.2), "did you mean 'gradient'"),
    "nan weight": (lambda: prune(with_nan(small_net()), fraction=0.2), "the module's '4.weight' is not finite in"),
    "nan bias": (lambda: prune(with_nan(small_net(), "bias"), fraction=0.2), "'4.bias' is not finite in 1 of 8 places"),
    "nan bias, no data": (
        lambda: prune(with_nan(small_net(), "bias"), "synflow", fraction=0.2, sample=batch()[0]),
        "'4.bias' is not finite in 1 of 8 places; look for a training that diverged",
    ),
    "no weights": (lambda: prune(nn.ReLU(), fraction=0.2), "no linear, convolution or recurrent weights"),
    "mask of nothing": (lambda: prune(small_net(), fraction=0.2, masks={"7.weigth": ONES}), "mean '7.weight'"),
    "mask of other shape": (lambda: apply_masks(small_net(), {"7.weight": ONES.T}), r"\(8, 3\).*\(3, 8\)"),
    "mask of floats": (lambda: apply_masks(small_net(), {"7.weight": ONES.float()}), "must be a bool tensor"),
    "loss per example": (
        lambda: gradients(small_net(), batch(), lambda o, y: cross_entropy(o, y, reduction="none")),
        r"loss must return one number.*\(12,\)",
    ),
    "loss without gradient": (
        lambda: gradients(small_net(), batch(), lambda o, y: o.argmax(1).eq(y).float().mean()),
        "without a gradient",
    ),
    "loss of a float": (
        lambda: gradients(small_net(), batch(), lambda o, y: 1.0),
        "loss must return one number.*float",
    ),
    "unknown mode": (lambda: gradients(small_net(), batch(), mode="test"), "'train' or 'eval', got 'test'"),
    "unknown name": (lambda: gradients(small_net(), batch(), names=["7.weights"]), "did you mean '7.weight'"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse(case):
    call, message = MISUSE[case]
    with pytest.raises(SpecError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_public_names_exist_and_are_documented():
    for name in overparam.prune.__all__:
        assert getattr(overparam.prune, name).__doc__ or name.isupper()
