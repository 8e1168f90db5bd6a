"""Copies and averages of sparse layers are right, or refused: values of other nonzeros never mix without a word."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from sparse_cases import close, normal, same_bits
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from overparam.errors import SpecError
from overparam.prune import prune
from overparam.sparse import SparseLinear, convert, drop, grow, rewire
from overparam.sparse.layers.kinds import SparseLayer

INPUTS = normal(5, 784)
MIXED = "values were averaged with or copied from a layer of other nonzeros"


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def sparse_layer() -> SparseLinear:
    return SparseLinear(784, 300, density=0.04)


def renew(layer: SparseLayer, **options) -> None:
    """Give a layer other nonzeros, as many as before."""
    free = (~layer.mask()).flatten().nonzero().flatten()
    rewire(layer, torch.arange(100), free[torch.randperm(len(free))[:100]], 0.5, **options)


def train(layer: nn.Module) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))


# what averages do, by those who write them


def parameters_alone(average: nn.Module, model: nn.Module) -> None:
    for one, two in zip(average.parameters(), model.parameters(), strict=True):
        one.data.mul_(0.9).add_(two.data, alpha=0.1)


def parameters_then_copied_buffers(average: nn.Module, model: nn.Module) -> None:
    parameters_alone(average, model)
    for one, two in zip(average.buffers(), model.buffers(), strict=True):
        one.copy_(two)


@torch.no_grad()
def all_of_the_state(average: nn.Module, model: nn.Module) -> None:
    for one, two in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        one.copy_(0.9 * one + 0.1 * two)


@torch.no_grad()
def floating_state(average: nn.Module, model: nn.Module) -> None:
    for one, two in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        one.lerp_(two, 0.1) if one.is_floating_point() else one.copy_(two)


def loaded_state(average: nn.Module, model: nn.Module) -> None:
    one, two = average.state_dict(), model.state_dict()
    average.load_state_dict(
        {name: one[name].lerp(two[name], 0.1) if one[name].is_floating_point() else two[name] for name in one}
    )


BY_HAND = [parameters_alone, parameters_then_copied_buffers, all_of_the_state, floating_state, loaded_state]
NOTICED = BY_HAND[1:]  # only parameters are seen by the first, so rewire() has to refuse
by_hand = pytest.mark.parametrize("update", BY_HAND, ids=lambda each: each.__name__)

OF_TORCH: dict[str, Callable[[nn.Module], AveragedModel]] = {
    "swa": AveragedModel,
    "swa, buffers": lambda model: AveragedModel(model, use_buffers=True),
    "multi swa": lambda model: AveragedModel(model, multi_avg_fn=get_swa_multi_avg_fn(), use_buffers=True),
    "ema": lambda model: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99)),
    "ema, buffers": lambda model: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True),
    "slow ema": lambda model: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9999), use_buffers=True),
}
of_torch = pytest.mark.parametrize("make", OF_TORCH.values(), ids=OF_TORCH)


@of_torch
def test_an_average_of_the_same_nonzeros_is_that_of_dense_layers(make):
    sparse = sparse_layer()
    dense = sparse.to_dense()
    averages = make(sparse), make(dense)
    for _ in range(20):
        train(sparse)
        dense.load_state_dict(sparse.to_dense().state_dict())
        for average, model in zip(averages, (sparse, dense), strict=True):
            average.update_parameters(model)
    assert torch.equal(averages[0].module.indices, sparse.indices)
    assert same_bits(averages[0].module.weight(), averages[1].module.weight.detach())
    assert close(averages[0](INPUTS), averages[1](INPUTS))


@by_hand
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_averages_by_hand(update, dtype):
    layer = sparse_layer().to(dtype)
    average, expected = copy.deepcopy(layer), layer.weight()
    for _ in range(50):
        train(layer)
        update(average, layer)
        expected = 0.9 * expected + 0.1 * layer.weight()
    assert torch.equal(average.indices, layer.indices)
    assert torch.allclose(average.weight(), expected, atol=1e-5)
    assert close(average(INPUTS.to(dtype)), INPUTS.to(dtype) @ average.weight().T + average.bias)


@of_torch
def test_an_average_over_other_nonzeros_is_refused(make):
    layer = sparse_layer()
    average = make(layer)
    average.update_parameters(layer)
    renew(layer, averages=[])
    average.update_parameters(layer)
    for use in (lambda: average(INPUTS), average.module.to_dense, average.module.weight, lambda: renew(average.module)):
        with pytest.raises(SpecError, match=MIXED):
            use()
    layer(INPUTS)


@pytest.mark.parametrize("update", NOTICED, ids=lambda each: each.__name__)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: SparseLinear(784, 300, density=0.04)])
def test_averages_by_hand_over_other_nonzeros_are_refused(update, copied):
    layer = sparse_layer()
    average = copied(layer)
    renew(layer, averages=[])

    def use() -> None:
        update(average, layer)
        average(INPUTS)

    with pytest.raises((SpecError, RuntimeError), match=f"{MIXED}|average over layers of other nonzeros"):
        use()


def test_seeds_that_are_pruned_to_other_weights_cannot_be_averaged():
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(20, 10), nn.ReLU())
        networks.append(convert(model, prune(model, density=0.5)))
    states = [network.state_dict() for network in networks]
    soup = {
        name: torch.stack([state[name] for state in states]).mean(0) if each.is_floating_point() else each
        for name, each in states[0].items()
    }
    with pytest.raises(RuntimeError, match="they are an average over layers of other nonzeros"):
        networks[0].load_state_dict(soup)
    networks[1].load_state_dict(states[0])
    inputs = normal(5, 20)
    assert torch.equal(networks[0](inputs), networks[1](inputs))


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (0.7, 0.3)])
def test_averaged_indices_are_never_loaded(weights):
    """Truncated to integers they may well be ascending and in range."""
    layer = SparseLinear(784, 300, indices=torch.arange(0, 784 * 300, 25))
    state, before = layer.state_dict(), layer.weight()
    averaged = {name: (weights[0] * each + weights[1] * each).to(each.dtype) for name, each in state.items()}
    if torch.equal(averaged["indices"], layer.indices):
        layer.load_state_dict(averaged)
        assert torch.allclose(layer.weight(), before)
    else:
        with pytest.raises(RuntimeError, match="average over layers of other nonzeros, or of their indices"):
            layer.load_state_dict(averaged)
    with pytest.raises(RuntimeError, match="int64"):
        layer.load_state_dict({name: weights[0] * each + weights[1] * each for name, each in state.items()})


def test_no_buffer_holds_the_nonzeros():
    layer = sparse_layer()
    assert [name for name, _ in layer.named_buffers()] == ["checksum"]
    assert "indices" in layer.state_dict()
    # as of DistributedDataParallel, which sends the first process's buffers to all others
    other = sparse_layer()
    other.checksum.copy_(layer.checksum)
    with pytest.raises(SpecError, match=MIXED):
        other(INPUTS)
    for _ in range(3):
        layer.checksum.copy_(layer.checksum.clone())
        layer(INPUTS)
    assert len(layer._structures) == 1


@pytest.mark.parametrize("there", [nn.Module.half, nn.Module.bfloat16, nn.Module.double])
def test_other_dtypes_and_back(there):
    layer = sparse_layer()
    mask = layer.mask()
    there(layer)
    layer.float()(INPUTS)
    assert torch.equal(layer.mask(), mask)
    assert layer.indices.dtype == torch.int64


# rewire


def test_averages_are_rewired_alike():
    layer = sparse_layer()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    ema = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    double = copy.deepcopy(layer).double()
    expected = layer.weight()
    for step in range(6):
        layer(INPUTS).square().mean().backward()
        optimizer.step()
        ema.update_parameters(layer)
        expected = layer.weight() if not step else 0.9 * expected + 0.1 * layer.weight()
        before = layer.mask()
        renew(layer, optimizer=optimizer, averages=[ema.module, double])
        added = layer.mask() & ~before
        expected = torch.where(layer.mask(), expected, 0).masked_fill(added, 0.5)
        assert torch.equal(ema.module.mask(), layer.mask())
        assert torch.equal(double.indices, layer.indices)
        assert torch.allclose(ema.module.weight(), expected, atol=1e-6)
    assert close(ema(INPUTS), INPUTS @ ema.module.weight().T + ema.module.bias)
    double(INPUTS.double())


def test_rewiring_what_has_copies_says_what_becomes_of_them():
    layer = sparse_layer()
    kept = copy.deepcopy(layer)
    before = layer.weight()
    for change in (
        lambda: drop(layer, torch.tensor([0])),
        lambda: grow(layer, torch.tensor([]).long()),
        lambda: renew(layer),
    ):
        with pytest.raises(SpecError, match=r"layer has copies with the same nonzeros .* averages=\[\] if none is one"):
            change()
    assert same_bits(layer.weight(), before)
    with pytest.raises(SpecError, match="averages must be copies of layer with its nonzeros, got"):
        renew(layer, averages=[sparse_layer()])
    with pytest.raises(SpecError, match="averages must be copies of layer"):
        renew(layer, averages=[AveragedModel(layer)])
    assert same_bits(layer.weight(), before)
    renew(layer, averages=[])
    assert same_bits(kept.weight(), before)
    kept(INPUTS)
    renew(layer)  # the copy has other nonzeros now
    renew(kept)
    again = copy.deepcopy(layer)
    with pytest.raises(SpecError, match="layer has copies"):
        renew(again)
    del again
    renew(layer)  # nobody holds it any more
    drop(layer, torch.tensor([0]))


def test_a_snapshot_is_restored_with_its_nonzeros():
    layer = sparse_layer()
    snapshot = copy.deepcopy(layer.state_dict())
    expected = layer(INPUTS)
    renew(layer)
    layer.load_state_dict(snapshot)
    assert torch.equal(layer(INPUTS), expected)
    kept = copy.deepcopy(layer)
    renew(layer, averages=[])
    parameters_then_copied_buffers(layer, kept)
    with pytest.raises(SpecError, match=MIXED):
        layer(INPUTS)
    layer.load_state_dict(snapshot)
    assert torch.equal(layer(INPUTS), expected)


def test_states_are_not_shared_with_the_layer():
    layer = sparse_layer()
    state: dict[str, Tensor] = layer.state_dict()
    state["indices"].zero_()
    layer(INPUTS)
    state = layer.state_dict()
    other = SparseLinear(784, 300, density=0.01)
    other.load_state_dict(state)
    state["indices"].zero_()
    other(INPUTS)
