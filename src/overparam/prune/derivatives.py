"""Derivatives of a loss by the parameters of any module, which stays as it was: first, and second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from overparam.errors import SpecError
from overparam.networks.forward import Inputs, arguments
from overparam.networks.roles import check_shapes, first_names
from overparam.registry import suggest
from overparam.streams import global_stream, torch_stream

Loss = Callable[[Tensor, Any], Tensor]


def gradients(
    module: nn.Module,
    batch: tuple[Inputs, Any],
    loss: Loss = cross_entropy,
    *,
    names: Iterable[str] | None = None,
    mode: Literal["train", "eval"] = "train",
    seed: int = 0,
    draw: int = 0,
) -> dict[str, Tensor]:
    """Return dL/dw of ``loss(module(inputs), labels)`` on one mini-batch, and leave the module as it was.

    Parameters, ``.grad``, buffers (batch-norm statistics) and training flags are those of before, also after
    an error. Frozen parameters have a gradient here too; one that the outputs do not depend on has a gradient
    of zeros. Weights at zero under a mask get their gradient like all others.

    Args:
        batch: ``(inputs, labels)`` on the module's device; the inputs are one tensor, several as a tuple, or keyword
            arguments as a mapping.
        loss: returns one number, by convention the mean over the batch.
        names: parameters wanted, by any name that ``state_dict`` lists; None means all, by their first.
        mode: ``"train"`` (batch statistics and dropout at work, as in the code of He et al., ICML 2022,
            https://arxiv.org/abs/2206.08684) or ``"eval"``.
        seed, draw: of the stream that dropout uses.

    Raises:
        SpecError: an unknown name or mode, a batch that is no pair, or a loss that is not one differentiable
            number.
    """
    if mode not in ("train", "eval"):
        raise SpecError(f"mode must be 'train' or 'eval', got {mode!r}")
    first = first_named(module, names)
    with _taken(module, batch, loss, first, mode == "train", seed, draw) as (value, weights):
        found = torch.autograd.grad(value, list(weights.values()), allow_unused=True, materialize_grads=True)
    slopes = dict(zip(weights, found, strict=True))
    return {name: slopes[first[name]] for name in first}


def hessian_product(
    module: nn.Module,
    batch: tuple[Inputs, Any],
    loss: Loss = cross_entropy,
    *,
    vectors: Mapping[str, Tensor],
    seed: int = 0,
    draw: int = 0,
) -> dict[str, Tensor]:
    """Return the exact product of ``vectors`` with the Hessian of the loss by the parameters that they name.

    Taken in evaluation mode on one mini-batch; the module stays as it was. Attention is computed by torch's plain
    operations, as its fused kernels have no second derivative.

    Args:
        vectors: tensors by parameter name, shaped like the parameters; the rest as of :func:`gradients`.
    """
    first = first_named(module, vectors)
    with sdpa_kernel(SDPBackend.MATH), _taken(module, batch, loss, first, False, seed, draw) as (value, weights):
        over = list(weights.values())
        slopes = torch.autograd.grad(value, over, create_graph=True, allow_unused=True, materialize_grads=True)
        by_first = {first[name]: vector for name, vector in vectors.items()}
        along = torch.stack([(slope * by_first[n]).sum() for n, slope in zip(weights, slopes, strict=True)]).sum()
        if not along.requires_grad:  # the loss is linear in the weights
            return {name: torch.zeros_like(vector) for name, vector in vectors.items()}
        found = torch.autograd.grad(along, over, allow_unused=True, materialize_grads=True)
    products = dict(zip(weights, found, strict=True))
    return {name: products[first[name]] for name in vectors}


def hessian_diagonal(
    module: nn.Module,
    batch: tuple[Inputs, Any],
    loss: Loss = cross_entropy,
    *,
    draws: int = 1,
    names: Iterable[str] | None = None,
    seed: int = 0,
    draw: int = 0,
) -> dict[str, Tensor]:
    """Return an estimate of d2L/dw2 on one mini-batch, in evaluation mode; the module stays as it was.

    Hutchinson's: the mean of ``v * (H v)`` over ``draws`` vectors ``v`` of random signs, H being the Hessian of the
    loss by the parameters of ``names``. It is unbiased, and exact with one draw where H is diagonal; the variance of
    an element is the sum of the squares of the others of its row of H, divided by ``draws``.

    Args: as of :func:`gradients`; the signs are drawn from the stream of ``seed`` and ``draw``.

    Reference: Bekas, Kokiopoulou & Saad, Applied Numerical Mathematics 57, 2007
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise SpecError(f"draws must be a whole number, 1 or more, got {draws!r}")
    known, first = dict(module.named_parameters()), first_named(module, names)
    stream = torch_stream(seed, "signs", draw)
    sums = {name: torch.zeros_like(known[first[name]]) for name in first}
    for _ in range(draws):
        signs = {n: 2 * torch.randint(2, known[first[n]].shape, generator=stream) - 1 for n in sorted(first)}
        vectors = {name: signs[name].to(total) for name, total in sums.items()}
        products = hessian_product(module, batch, loss, vectors=vectors, seed=seed, draw=draw)
        for name, total in sums.items():
            total += vectors[name] * products[name]
    return {name: total / draws for name, total in sums.items()}


def first_named(module: nn.Module, names: Iterable[str] | None) -> dict[str, str]:
    """Return the first name of each parameter that is wanted, by the name it is wanted by; None means all."""
    check_shapes(module)
    first = first_names(module)
    wanted = list(dict(module.named_parameters()) if names is None else names)
    for name in wanted:
        if name not in first:
            raise SpecError(f"the module has no parameter {name!r}{suggest(name, first)}")
    return {name: first[name] for name in wanted}


@contextmanager
def _taken(
    module: nn.Module, batch: Any, loss: Loss, first: Mapping[str, str], training: bool, seed: int, draw: int
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Run a block with the loss on a batch, and the copies of the parameters, by first names, that it depends on.

    The call sees detached copies, so nothing it does can reach the module's own tensors.
    """
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise SpecError(f"batch must be a pair (inputs, labels), got {type(batch).__name__}")
    known = dict(module.named_parameters())
    weights = {name: known[name].detach().clone().requires_grad_() for name in dict.fromkeys(first.values())}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    positional, named = arguments(batch[0])
    with training_flags(module, training), global_stream(seed, "gradient", draw), torch.enable_grad():
        value = loss(functional_call(module, {**weights, **buffers}, positional, named), batch[1])
        if not (isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad):
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            without = "" if getattr(value, "requires_grad", False) else " without a gradient"
            raise SpecError(f"loss must return one number that can be differentiated, got {got}{without}")
        yield value.reshape(()), weights


@contextmanager
def training_flags(module: nn.Module, training: bool) -> Iterator[None]:
    """Run a block with ``module.train(training)``, and give each submodule its own flag back after it."""
    before = [(part, part.training) for part in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, flag in before:
            part.training = flag
