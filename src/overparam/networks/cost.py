"""What a module costs to run, counted weight by weight."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from overparam.errors import SpecError
from overparam.networks.forward import LAYERS, Call, record


def applications(module: nn.Module, sample: Tensor) -> dict[str, int]:
    """Return how many times one sample uses each element of a weight, by the weight's name.

    For a convolution the number of output positions (of input positions when it is transposed), padding not
    discounted; for a linear layer 1, or the number of tokens it is applied to. Covers the weights of linear
    and convolutional layers and the projections of ``nn.MultiheadAttention``; a layer that the sample does
    not reach has 0, and repeated use adds up. Operations that are not calls of such layers are not seen.

    ``sample`` is a batch ``(N, ...)`` with N >= 1; an empty one, or one on which the module fails, raises
    :class:`SpecError`. For cross-attention with packed projections and different lengths of query and key,
    the mean over the three projections is given, rounded up.
    """
    if sample.ndim == 0 or len(sample) == 0:
        raise SpecError(f"sample: needs a batch (N, ...) with N >= 1, got the shape {tuple(sample.shape)}")
    _, calls = record(module, sample, (*LAYERS, nn.MultiheadAttention))
    uses: dict[int, int] = {}
    for call in calls:
        for weight, count in _uses(call):
            uses[id(weight)] = uses.get(id(weight), 0) + count
    counted = {id(weight) for part in module.modules() for weight in _weights(part)}
    return {
        name: -(-uses.get(id(parameter), 0) // len(sample))
        for name, parameter in module.named_parameters()
        if id(parameter) in counted
    }


def multiply_adds(module: nn.Module, sample: Tensor, masks: Mapping[str, Tensor] | None = None) -> dict[str, int]:
    """Return the multiply-adds per sample of one forward pass, by the name of the weight.

    That is :func:`applications` times the weight's elements: all of them, or with ``masks`` (bool, shaped
    like the weights, by name) the kept ones; a weight without a mask counts in full.
    """
    weights = dict(module.named_parameters())
    kept = {name: int(mask.count_nonzero()) for name, mask in (masks or {}).items()}
    return {name: times * kept.get(name, weights[name].numel()) for name, times in applications(module, sample).items()}


def _weights(part: nn.Module) -> list[Tensor]:
    if isinstance(part, LAYERS):
        return [part.weight]
    if isinstance(part, nn.MultiheadAttention):
        packed = [part.in_proj_weight, part.q_proj_weight, part.k_proj_weight, part.v_proj_weight]
        return [weight for weight in packed if weight is not None]
    return []


def _uses(call: Call) -> list[tuple[Tensor, int]]:
    """Return each weight that the call used with its number of uses over the whole batch."""
    layer = call.layer
    if isinstance(layer, nn.MultiheadAttention):
        return _attention_uses(layer, call)
    if isinstance(layer, nn.Linear):
        return [(layer.weight, call.output.numel() // layer.out_features)]
    assert isinstance(layer, _ConvNd)
    if isinstance(layer, _ConvTransposeNd):
        inputs = call.args[0] if call.args else call.kwargs["input"]
        return [(layer.weight, inputs.numel() // layer.in_channels)]
    return [(layer.weight, call.output.numel() // layer.out_channels)]


def _attention_uses(layer: nn.MultiheadAttention, call: Call) -> list[tuple[Tensor, int]]:
    named = dict(zip(("query", "key", "value"), call.args, strict=False)) | dict(call.kwargs)
    tokens = [math.prod(named[name].shape[:-1]) for name in ("query", "key", "value")]
    out = (layer.out_proj.weight, tokens[0])
    if layer.in_proj_weight is not None:
        return [(layer.in_proj_weight, -(-sum(tokens) // 3)), out]
    return [*zip((layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight), tokens, strict=True), out]
