"""What a module costs to run, counted weight by weight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from overparam.errors import SpecError
from overparam.networks.forward import LAYERS, Call, Inputs, record, tensors_in

COUNTED = (*LAYERS, nn.Bilinear, nn.MultiheadAttention, nn.RNNBase, RNNCellBase)
"""Layers whose multiply-adds are counted."""


def applications(module: nn.Module, sample: Inputs) -> dict[str, int]:
    """Return how many times one sample uses each element of a weight, by the weight's name.

    For a convolution the number of output positions (of input positions when it is transposed), padding not
    discounted; for a linear, bilinear or recurrent layer 1, or the number of tokens it is applied to. Covers the
    weights of these layers and the projections of ``nn.MultiheadAttention``; a layer that the sample does not reach has
    0, and repeated use adds up. Operations that are not calls of such layers are not seen, and a weight that is
    computed from other parameters (such as under weight norm) is not counted.

    ``sample`` is a batch ``(N, ...)`` with N >= 1, several as a tuple, or keyword arguments as a mapping; an empty one,
    or one on which the module fails, raises :class:`SpecError`. For cross-attention with packed projections and
    different lengths of query and key, the mean over the three projections is given, rounded up.
    """
    shapes = [tuple(tensor.shape) for tensor in tensors_in(sample)]
    if not shapes or not shapes[0] or not shapes[0][0]:
        raise SpecError(f"sample: needs a batch (N, ...) with N >= 1, got the shape {shapes[0] if shapes else None}")
    _, calls = record(module, sample, COUNTED)
    uses: dict[int, int] = {}
    for call in calls:
        for weight, count in _uses(call):
            uses[id(weight)] = uses.get(id(weight), 0) + count
    counted = {id(weight) for part in module.modules() if isinstance(part, COUNTED) for weight in _weights(part)}
    return {
        name: -(-uses.get(id(parameter), 0) // shapes[0][0])
        for name, parameter in module.named_parameters()
        if id(parameter) in counted
    }


def multiply_adds(module: nn.Module, sample: Inputs, masks: Mapping[str, Tensor] | None = None) -> dict[str, int]:
    """Return the multiply-adds per sample of one forward pass, by the name of the weight.

    That is :func:`applications` times the weight's elements: all of them, or with ``masks`` (bool, shaped
    like the weights, by name) the kept ones; a weight without a mask counts in full.
    """
    weights = dict(module.named_parameters())
    kept = {name: int(mask.count_nonzero()) for name, mask in (masks or {}).items()}
    return {name: times * kept.get(name, weights[name].numel()) for name, times in applications(module, sample).items()}


def _weights(part: nn.Module) -> list[Tensor]:
    """Return the layer's own weights; a parametrised one is none, and to read it could move the layer's buffers."""
    return [
        parameter
        for leaf, parameter in part._parameters.items()
        if parameter is not None
        and (
            leaf == "weight"
            or leaf.endswith("proj_weight")
            or (isinstance(part, nn.RNNBase | RNNCellBase) and leaf.startswith("weight_"))
        )
    ]


def _uses(call: Call) -> Iterator[tuple[Tensor, int]]:
    """Give each weight that the call used with its number of uses over the whole batch."""
    layer = call.layer
    if isinstance(layer, nn.MultiheadAttention):
        yield from _attention_uses(layer, call)
        return
    times = _positions(layer, call)
    for weight in _weights(layer):
        yield weight, times


def _positions(layer: nn.Module, call: Call) -> int:
    """Return to how many positions (examples, tokens, pixels) of the whole batch the call applied the layer."""
    if isinstance(layer, nn.Linear | nn.Bilinear):
        return int(call.output.numel()) // layer.out_features
    inputs = call.args[0] if call.args else call.kwargs["input"]
    if isinstance(layer, nn.RNNBase | RNNCellBase):
        found = inputs.data if isinstance(inputs, PackedSequence) else inputs
        return int(found.numel()) // layer.input_size
    assert isinstance(layer, _ConvNd)
    if isinstance(layer, _ConvTransposeNd):
        return int(inputs.numel()) // layer.in_channels
    return int(call.output.numel()) // layer.out_channels


def _attention_uses(layer: nn.MultiheadAttention, call: Call) -> list[tuple[Tensor, int]]:
    named = dict(zip(("query", "key", "value"), call.args, strict=False)) | dict(call.kwargs)
    tokens = [math.prod(named[name].shape[:-1]) for name in ("query", "key", "value")]
    out = (layer.out_proj.weight, tokens[0])
    if layer.in_proj_weight is not None:
        return [(layer.in_proj_weight, -(-sum(tokens) // 3)), out]
    return [*zip((layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight), tokens, strict=True), out]
