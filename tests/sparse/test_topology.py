from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_cases import generator, normal, same_bits
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.sparse.layers.kinds import SparseConv2d, SparseLayer, SparseLinear
from overparam.sparse.layers.topology import drop, grow, rewire

ROWS, COLUMNS = 6, 9

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2, amsgrad=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1),
}


def linear(*indices: int) -> SparseLinear:
    layer = SparseLinear(COLUMNS, ROWS, indices=torch.tensor(indices, dtype=torch.int64), generator=generator(0))
    layer.values.data = torch.arange(1.0, 1 + len(indices)).view(1, 1, -1)
    return layer


def entries(layer: SparseLayer) -> dict[int, float]:
    return dict(zip(layer.indices.tolist(), layer.values.flatten().tolist(), strict=True))


def test_drop_and_grow():
    layer = linear(2, 5, 7, 40)
    parameter = layer.values
    layer(torch.ones(1, COLUMNS)).sum().backward()
    drop(layer, torch.tensor([2, 0]))
    assert entries(layer) == {5: 2, 40: 4}
    assert layer.values is parameter
    assert layer.values.grad is None
    grow(layer, torch.tensor([53, 0, 39]))
    assert entries(layer) == {0: 0, 5: 2, 39: 0, 40: 4, 53: 0}
    grow(layer, torch.tensor([6, 1]), torch.tensor([6.0, 1.0]))
    assert entries(layer) == {0: 0, 1: 1, 5: 2, 6: 6, 39: 0, 40: 4, 53: 0}
    grow(layer, torch.tensor([7]), 0.5)
    assert entries(layer)[7] == 0.5
    outputs = layer(torch.eye(COLUMNS))
    assert torch.equal(outputs - layer.bias, layer.weight().T + layer.bias - layer.bias)
    outputs.sum().backward()
    assert layer.values.grad.shape == layer.values.shape


def test_what_is_dropped_may_grow_again():
    layer = linear(2, 5, 7)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    layer(torch.ones(1, COLUMNS)).sum().backward()
    optimizer.step()
    before = layer.values.flatten().tolist()
    rewire(layer, torch.tensor([1]), torch.tensor([5, 6]), 9.0, optimizer)
    assert entries(layer) == {2: before[0], 5: 9, 6: 9, 7: before[2]}
    assert optimizer.state[layer.values]["momentum_buffer"].flatten().tolist() == [1, 0, 0, 1]


def test_all_and_nothing():
    layer = linear(3, 4)
    drop(layer, torch.arange(2))
    assert layer.nonzeros == 0
    assert torch.equal(layer(torch.ones(2, COLUMNS)), layer.bias.expand(2, ROWS))
    drop(layer, torch.arange(0))
    grow(layer, torch.arange(0))
    grow(layer, torch.randperm(ROWS * COLUMNS), 1.0)
    assert layer.density == 1
    assert layer.weight().eq(1).all()


def test_values_keep_their_bits():
    layer = linear(1, 3, 5)
    layer.values.data = torch.tensor([[[-0.0, torch.nan, 1e-45]]])
    kept = layer.values.detach().clone()
    rewire(layer, torch.arange(0), torch.tensor([0, 4]))
    assert same_bits(layer.values[..., [1, 2, 4]], kept)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@settings(max_examples=25)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_training_goes_on_as_in_a_masked_network(optimizer, seed, dropped, grown, kernel):
    """Both are trained, rewired and trained again, three times."""
    draw = generator(seed)
    shape = (4, 3, 2, 2) if kernel else (ROWS, COLUMNS)
    dense: nn.Module = nn.Conv2d(3, 4, 2) if kernel else nn.Linear(COLUMNS, ROWS)
    inputs = normal(8, 3, 4, 4, seed=seed) if kernel else normal(8, COLUMNS, seed=seed)
    dense.double()
    inputs = inputs.double()
    mask = torch.rand(shape, generator=draw) < 0.5
    dense.weight.data *= mask
    sparse = SparseLayer.from_dense(dense, mask)
    pair = dense, sparse
    optimizers = [optimizer(layer.parameters()) for layer in pair]
    for _ in range(3):
        for layer, optimise in zip(pair, optimizers, strict=True):
            for _ in range(2):
                optimise.zero_grad()
                layer(inputs).square().mean().backward()
                if layer is dense:
                    dense.weight.grad *= mask
                optimise.step()
        assert torch.equal(sparse.mask(), mask)
        assert torch.allclose(sparse.weight(), dense.weight.detach(), rtol=1e-9, atol=1e-12)
        slots = (torch.rand(sparse.nonzeros, generator=draw) < dropped).nonzero().reshape(-1)
        new = ((torch.rand(mask.numel(), generator=draw) < grown) & ~mask.view(-1)).nonzero().reshape(-1)
        new = new[torch.randperm(len(new), generator=draw)]
        values = torch.randn(len(new), generator=draw, dtype=torch.float64)
        gone = sparse.indices[slots]
        parameter = sparse.values
        rewire(sparse, slots, new, values, optimizers[1])
        assert sparse.values is parameter
        dense_state = [held for held in optimizers[0].state[dense.weight].values() if _as_large(held, dense.weight)]
        for tensor in [dense.weight.data, *dense_state]:
            tensor.view(-1)[gone] = 0
            tensor.view(-1)[new] = 0
        dense.weight.data.view(-1)[new] = values
        mask.view(-1)[gone] = False
        mask.view(-1)[new] = True


def _as_large(held: object, weight: Tensor) -> bool:
    return isinstance(held, Tensor) and held.shape == weight.shape


def test_nothing_of_dense_size():
    layer = SparseConv2d(10**6, 10**6, 3, density=1e-10)
    optimizer = torch.optim.Adam(layer.parameters())
    new = torch.arange(5) * 10**12 + 3
    rewire(layer, torch.arange(100), new[~torch.isin(new, layer.indices)], optimizer=optimizer)
    assert layer.nonzeros == 900 - 100 + 5


def test_an_optimizer_before_its_first_step_and_its_own_state_dict():
    layer = linear(2, 5, 7)
    optimizer = torch.optim.Adam(layer.parameters())
    drop(layer, torch.tensor([0]), optimizer)
    assert not optimizer.state
    layer(torch.ones(1, COLUMNS)).sum().backward()
    optimizer.step()
    grow(layer, torch.tensor([8]), optimizer=optimizer)
    state = optimizer.state[layer.values]
    assert state["step"] == 1
    assert state["exp_avg"].shape == state["exp_avg_sq"].shape == (1, 1, 3)
    other = copy.deepcopy(layer)
    again = torch.optim.Adam(other.parameters())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # torch would share the tensors
    for one, optimise in ((layer, optimizer), (other, again)):
        optimise.zero_grad()
        one(torch.ones(1, COLUMNS)).sum().backward()
        optimise.step()
    assert same_bits(layer.values, other.values)


@pytest.mark.parametrize(
    ("slots", "indices", "values", "message"),
    [
        ([3], [], 0.0, "drop must be from 0 to below 3, got 3 to 3"),
        ([-1], [], 0.0, "drop must be from 0 to below 3, got -1 to -1"),
        ([1, 1], [], 0.0, "no repeats"),
        ([], [54], 0.0, "grow must be from 0 to below 54, got 54 to 54"),
        ([], [-2, 1], 0.0, "grow must be from 0 to below 54, got -2 to 1"),
        ([], [4, 4], 0.0, "no repeats"),
        ([0], [7], 0.0, "grow must name weights that are not there"),
        ([], [3, 4], torch.zeros(3), r"values must be one number or of shape \(2,\), got \(3,\)"),
    ],
)
def test_what_cannot_be_done_changes_nothing(slots, indices, values, message):
    layer = linear(2, 5, 7)
    before = entries(layer)
    numbers = [torch.tensor(each, dtype=torch.int64) for each in (slots, indices)]
    with pytest.raises(SpecError, match=message):
        rewire(layer, *numbers, values)
    assert entries(layer) == before


def test_wrong_types_and_optimizers():
    layer = linear(2, 5, 7)
    with pytest.raises(SpecError, match=r"drop must be a one-dimensional int64 tensor, got torch.float32"):
        drop(layer, torch.tensor([1.0]))
    with pytest.raises(SpecError, match="grow must be a one-dimensional"):
        grow(layer, torch.tensor([[1]]))
    with pytest.raises(SpecError, match=r"optimizer must train layer.values"):
        drop(layer, torch.tensor([1]), torch.optim.SGD(linear(1).parameters(), lr=0.1))
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = layer(torch.ones(1, COLUMNS)).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with pytest.raises(SpecError, match="optimizer LBFGS keeps"):
        drop(layer, torch.tensor([1]), optimizer)
