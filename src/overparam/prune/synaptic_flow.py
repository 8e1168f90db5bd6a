"""Synaptic flow: how much of what enters a network of absolute weights comes out of it, and through which weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from overparam.errors import SpecError
from overparam.networks.forward import Inputs, arguments, tensors_in
from overparam.prune.derivatives import first_named, training_flags
from overparam.streams import global_stream

ADDED = ("bias", "running_mean")  # what names of tensors begin with that are added, and are no part of any path


def synaptic_flow(module: nn.Module, inputs: Inputs, *, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Return dR/d|w|, shaped like the weights, in float64; the module stays as it was.

    R is the sum of the outputs for one example of ones, in evaluation mode, of the network with the absolute values of
    all its weights: for a network of linear layers and ReLUs ``1' |W_L| ... |W_1| 1``, the sum over all paths of the
    products of their absolute weights. Biases and running means are left out, as in this formula; the authors' code
    takes their absolute values along. Then the sums of ``|w| dR/d|w|`` over a layer are R for each layer, and equal
    before and after each unit.

    Args:
        inputs: one batch of inputs, of which only the shapes and the number of them are looked at.
        names: parameters wanted, by any name that ``state_dict`` lists; None means all, by their first.

    Raises:
        SpecError: inputs that are no floating-point numbers, or a flow beyond the range of float64.

    Reference: Tanaka, Kunin, Yamins & Ganguli, NeurIPS 2020, https://arxiv.org/abs/2006.05467, eq. 2
    """
    first = first_named(module, names)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    weights = {name: _positive(name, tensor) for name, tensor in tensors.items()}
    wanted = {name: weights[name].requires_grad_() for name in dict.fromkeys(first.values())}
    positional, named = arguments(_ones(inputs))
    with training_flags(module, False), global_stream(0, "look"), torch.enable_grad():
        total = torch.stack(
            [out.sum() for out in tensors_in(functional_call(module, weights, positional, named))]
        ).sum()
    if not bool(total.isfinite()):
        raise SpecError(f"the synaptic flow is {total.item()}, beyond the range of float64; scale the weights down")
    found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True, materialize_grads=True)
    flows = dict(zip(wanted, found, strict=True))
    return {name: flows[first[name]] for name in first}


def _positive(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor of the state as it is in the network of absolute weights."""
    if not tensor.is_floating_point():
        return tensor.clone()
    size = tensor.detach().to(torch.float64, copy=True).abs_()
    return size.zero_() if name.rpartition(".")[2].startswith(ADDED) else size


def _ones(inputs: Inputs) -> Inputs:
    """Return ones in the form of ``inputs``, for one example."""
    if isinstance(inputs, Mapping):
        return {name: _ones(part) for name, part in inputs.items()}
    if not isinstance(inputs, Tensor):
        return type(inputs)(_ones(part) for part in inputs)
    if not inputs.is_floating_point():
        raise SpecError(f"synaptic flow needs inputs that can be ones, got {inputs.dtype}, such as token numbers")
    return torch.ones_like(inputs[:1], dtype=torch.float64)
