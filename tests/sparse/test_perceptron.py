"""Compiled epochs against a masked training loop written with torch's own modules, loss and optimisers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from sparse_cases import generator, normal, same_bits
from torch import nn
from torch.nn import functional

from overparam.sparse.perceptron import Optimiser, Perceptron, perceptron_layers

TOLERANCE = {torch.float32: (1e-3, 1e-4), torch.float64: (1e-9, 1e-11)}


OPTIMISERS: dict[str, tuple[Optimiser, float, Callable[..., Any]]] = {
    "sgd": (Optimiser("sgd"), 0.05, lambda p: torch.optim.SGD(p, 0.05)),
    "momentum": (
        Optimiser("sgd", 0.9, weight_decay=1e-3),
        0.05,
        lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=1e-3),
    ),
    "nesterov, l1": (
        Optimiser("sgd", 0.9, True, l1=1e-3),
        0.05,
        lambda p: torch.optim.SGD(p, 0.05, 0.9, nesterov=True),
    ),
    "adam": (
        Optimiser("adam", betas=(0.8, 0.95), weight_decay=1e-2),
        1e-3,
        lambda p: torch.optim.Adam(p, 1e-3, (0.8, 0.95), weight_decay=1e-2),
    ),
    "adamw, l1": (
        Optimiser("adamw", weight_decay=1e-2, l1=1e-3),
        1e-3,
        lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=1e-2),
    ),
}

# sizes, examples, batch size, density, numbers of the layers that are whole matrices
CASES: dict[str, tuple[list[int], int, int, float, tuple[int, ...]]] = {
    "sparse": ([40, 31, 17, 10], 300, 64, 0.3, ()),
    "dense": ([40, 31, 17, 10], 300, 64, 0.3, (0, 1, 2)),
    "mixed, few features, odd batches": ([7, 5, 3], 50, 17, 0.5, (1,)),
    "mixed, a last batch of one": ([100, 64, 10], 257, 128, 0.1, (1,)),
    "one layer, everything kept": ([33, 10], 100, 100, 1.0, ()),
    "everything pruned": ([33, 20, 10], 100, 100, 0.0, (1,)),
    "a batch larger than the data": ([50, 20, 10], 3, 128, 0.2, ()),
    "batches of one": ([20, 9, 4], 11, 1, 0.5, (0,)),
    "one class, one feature": ([1, 3, 1], 20, 6, 1.0, ()),
}


def network(sizes: list[int], dtype: torch.dtype, bias: bool = True) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Flatten()]
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        parts += [nn.ReLU()] * (number > 0) + [nn.Linear(inputs, outputs, bias=bias, dtype=dtype)]
    module = nn.Sequential(*parts)
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            scale = parameter.shape[-1] ** -0.5 if parameter.dim() == 2 else 0.1
            parameter.copy_(scale * normal(*parameter.shape, dtype=dtype, seed=number))
    return module


def compare(
    case: str,
    optimiser: str,
    threads: int,
    dtype: torch.dtype = torch.float32,
    bias: bool = True,
) -> Perceptron:
    """Train both ways for three epochs and compare losses, weights and scores; return the perceptron."""
    sizes, examples, batch_size, density, dense = CASES[case]
    own, rate, make = OPTIMISERS[optimiser]
    module = network(sizes, dtype, bias)
    layers = perceptron_layers(module)
    assert layers is not None
    masks = {
        layer.weight: torch.rand(module.get_parameter(layer.weight).shape, generator=generator(number)) < density
        for number, layer in enumerate(layers)
    }
    with torch.no_grad():
        for name, mask in masks.items():
            module.get_parameter(name).mul_(mask)
    inputs = normal(examples, sizes[0], dtype=dtype, seed=7)
    labels = torch.randint(0, sizes[-1], (examples,), generator=generator(8))
    whole = {layers[number].weight for number in dense}
    perceptron = Perceptron(layers, dict(module.named_parameters()), masks, whole, own, batch_size, threads)
    reference = make(module.parameters())
    relative, absolute = TOLERANCE[dtype]
    for epoch in range(3):
        order = torch.randperm(examples, generator=generator(epoch))
        losses = []
        for at in range(0, examples, batch_size):
            chosen = order[at : at + batch_size]
            reference.zero_grad()
            loss = functional.cross_entropy(module(inputs[chosen]), labels[chosen])
            loss.backward()
            for name, mask in masks.items():
                weight = module.get_parameter(name)
                assert weight.grad is not None
                weight.grad.add_(weight.detach().sign(), alpha=own.l1).mul_(mask)
            reference.step()
            losses.append(loss.item())
        # in two calls, as with a point to save on the way
        half = len(losses) // 2
        found = torch.cat(
            [
                perceptron.train(inputs, labels, order, [rate] * half, 0),
                perceptron.train(inputs, labels, order, [rate] * (len(losses) - half), half),
            ]
        )
        torch.testing.assert_close(found, torch.tensor(losses, dtype=torch.float64), rtol=1e-4, atol=1e-5)
    assert perceptron.steps == 3 * len(losses)
    for name, tensor in perceptron.get(perceptron.parameters).items():
        torch.testing.assert_close(tensor, module.get_parameter(name).detach(), rtol=relative, atol=absolute)
        if name in masks:
            assert not tensor[~masks[name]].any()
    with torch.no_grad():
        outputs = module(inputs)
    loss, accuracy, soft_error = perceptron.evaluate(inputs, labels)
    right = outputs.softmax(1)[torch.arange(examples), labels]
    assert loss == pytest.approx(functional.cross_entropy(outputs, labels).item(), rel=1e-3, abs=1e-5)
    assert accuracy == pytest.approx((outputs.argmax(1) == labels).double().mean().item(), abs=1e-9)
    assert soft_error == pytest.approx(1 - right.double().mean().item(), abs=1e-4)
    return perceptron


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("case", CASES)
def test_training_is_the_masked_dense_one(case: str, optimiser: str, threads: int) -> None:
    compare(case, optimiser, threads)


@pytest.mark.parametrize("case", ["sparse", "mixed, few features, odd batches", "mixed, a last batch of one"])
@pytest.mark.parametrize("optimiser", ["nesterov, l1", "adamw, l1"])
def test_double_precision(case: str, optimiser: str) -> None:
    compare(case, optimiser, 2, torch.float64)


@pytest.mark.parametrize("case", ["sparse", "dense"])
def test_no_biases(case: str) -> None:
    compare(case, "momentum", 1, bias=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_again_bit_for_bit(threads: int) -> None:
    one, two = (compare("mixed, a last batch of one", "momentum", threads) for _ in range(2))
    assert same_bits(one.parameters, two.parameters)
    assert same_bits(one.first, two.first)


def test_weights_without_a_mask_are_trained_whole() -> None:
    module = network([6, 5, 3], torch.float32)
    layers = perceptron_layers(module)
    assert layers is not None
    state = dict(module.named_parameters())
    whole = {layer.weight: torch.ones_like(module.get_parameter(layer.weight)).bool() for layer in layers}
    inputs, labels, order = normal(9, 6), torch.arange(9) % 3, torch.arange(9)
    found = []
    for masks in ({}, whole):
        made = Perceptron(layers, state, masks, (), Optimiser("sgd", 0.9), 4, 1)
        made.train(inputs, labels, order, [0.1] * 3, 0)
        found.append(made.parameters)
    assert same_bits(*found)


def test_states_go_in_and_out_unchanged() -> None:
    module = network([6, 5, 3], torch.float32)
    layers = perceptron_layers(module)
    assert layers is not None
    masks = {layer.weight: module.get_parameter(layer.weight) > 0 for layer in layers}
    made = Perceptron(layers, dict(module.named_parameters()), masks, (layers[1].weight,), Optimiser("adam"), 4, 1)
    found = made.get(made.parameters)
    for name, tensor in module.named_parameters():
        expected = torch.where(masks[name], tensor, 0) if name == layers[0].weight else tensor
        assert same_bits(found[name], expected.detach())
    other = {name: torch.full_like(tensor, 2.0) for name, tensor in found.items()}
    made.set(made.second, other)
    assert float(made.second.sum()) == 2 * (int(masks[layers[0].weight].sum()) + 15 + 5 + 3)


def test_large_outputs_overflow_nothing() -> None:
    module = network([4, 3], torch.float32)
    layers = perceptron_layers(module)
    assert layers is not None
    made = Perceptron(layers, dict(module.named_parameters()), {}, (), Optimiser("sgd"), 8, 1)
    inputs, labels = 1e4 * normal(20, 4), torch.arange(20) % 3
    with torch.no_grad():
        expected = functional.cross_entropy(module(inputs), labels).item()
    assert made.evaluate(inputs, labels)[0] == pytest.approx(expected, rel=1e-4)
    losses = made.train(inputs, labels, torch.arange(20), [1e-9] * 3, 0)
    assert losses.isfinite().all()
