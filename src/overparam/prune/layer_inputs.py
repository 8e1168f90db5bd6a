"""What linear layers and convolutions are given, as the matrix that their weights multiply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from overparam.errors import SpecError
from overparam.networks.forward import Call, Inputs, record

KINDS = (nn.Linear, nn.Conv2d)
UNSEEN = "inputs are known of linear layers and two-dimensional convolutions that are called as modules"
ROOM = 2**24  # elements of unfolded patches that are held at once


def layer_calls(module: nn.Module, batches: Sequence[tuple[Inputs, Any]]) -> Iterator[tuple[str, Call]]:
    """Yield the calls of linear layers and two-dimensional convolutions, with the names of their weights.

    A weight that several layers share is there under its first name. One that is computed from others is left out.
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    for batch in batches:
        for call in record(module, batch[0], KINDS)[1]:
            if (name := names.get(id(call.layer._parameters.get("weight")))) is not None:
                yield name, call


def patches(call: Call) -> Iterator[Tensor]:
    """Yield ``(groups, positions, inputs of an output)``, which times a group's weights gives outputs, part by part."""
    given = call.args[0] if call.args else call.kwargs["input"]
    if isinstance(call.layer, nn.Linear):
        yield given.reshape(1, -1, given.shape[-1])
        return
    layer = call.layer
    assert isinstance(layer, nn.Conv2d)
    given = given if given.dim() == 4 else given[None]
    each = given[0].numel() * layer.kernel_size[0] * layer.kernel_size[1]
    for part in given.split(max(1, ROOM // each)):
        yield _unfolded(layer, part)


def _unfolded(layer: nn.Conv2d, given: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(given, layer._reversed_padding_repeated_twice, mode)
    found = functional.unfold(padded, layer.kernel_size, layer.dilation, stride=layer.stride)
    by_group: Tensor = torch.unflatten(found, 1, (layer.groups, -1))  # (examples, groups, channels * kernel, positions)
    return by_group.permute(1, 0, 3, 2).flatten(1, 2)


def second_moments(module: nn.Module, batches: Sequence[tuple[Inputs, Any]]) -> dict[str, Tensor]:
    """Return ``X'X / n`` of what each layer is given, a constant 1 behind it for the bias; no example is kept.

    By the name of the weights, float64 ``(groups, d + 1, d + 1)`` of ``d`` inputs that an output reads, in the order of
    the weights; n counts positions of a convolution, too. Taken in evaluation mode.
    """
    sums: dict[str, Tensor] = {}
    for name, call in layer_calls(module, batches):
        for part in patches(call):
            given = functional.pad(part.detach().double(), (0, 1), value=1.0)
            products = given.mT @ given
            sums[name] = sums[name] + products if name in sums else products
    for name, total in sums.items():
        if not bool(total.isfinite().all()):
            raise SpecError(f"what the layer of {name!r} is given is not finite; look for NaN in the inputs")
    return {name: total / total[:1, -1:, -1:] for name, total in sums.items()}
