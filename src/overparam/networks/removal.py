"""Removing dead units: a smaller module with the same outputs, and the surgery that makes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from overparam.errors import SpecError
from overparam.networks.dead import by_layer, dead_units, silent_channels, unread
from overparam.networks.forward import Inputs, run, tensors_in
from overparam.networks.heads import fused_heads
from overparam.networks.surgery import Replace, operate
from overparam.networks.units import Group, groups

__all__ = ["Removal", "removal"]

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 5e-3}
"""How far outputs may be from those of before, relative to the largest of them (or 1, if that is more)."""


FUSED = "torch's MultiheadAttention has as many heads as its width allows, so none can be left out"


DEPTHWISE = (
    "a depth-wise channel of zeros is not taken for dead by itself; its unit goes where no weight reads it, or what it "
    "reads, which pattern: units sees to"
)


@dataclass(frozen=True)
class Removal:
    """What can go from a module without changing what it computes.

    Attributes:
        surgery: the smaller layers.
        left: for each tensor of the state dict that gets smaller, the indices that are left, by dimension.
        biases: smaller biases that hold the constants of removed units, by name.
        removed: number of units removed, by the path of their layer.
        kept: why units that nothing reads stay, by the path of their layer.
    """

    surgery: tuple[Replace, ...] = ()
    left: Mapping[str, Mapping[int, Tensor]] = field(default_factory=dict)
    biases: Mapping[str, Tensor] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)

    def smaller(self, name: str, tensor: Tensor) -> Tensor:
        """Return what is left of a tensor shaped like ``name`` of the state dict, such as its mask."""
        for dimension, indices in self.left.get(name, {}).items():
            tensor = tensor.index_select(dimension, indices.to(tensor.device))
        return tensor

    def state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the state dict of the smaller module, given that of the module."""
        return {name: self.biases.get(name, self.smaller(name, tensor)) for name, tensor in state.items()}


def removal(module: nn.Module, sample: Inputs) -> Removal:
    """Return what of ``module`` is dead (:func:`~overparam.networks.dead.dead_units`) and can be removed.

    The smaller module is verified on ``sample``, in evaluation mode, within :data:`TOLERANCES`, and run in training
    mode; where the outputs would differ, or the module would fail, the layers concerned stay as they are, and ``kept``
    says so.

    Args:
        module: any module; it is left as it is.
        sample: a batch of examples such as the module is called with; several examples verify more.
    """
    found, parts = groups(module, sample), dict(module.named_modules())
    candidates = [group for group in found if not group.kept]
    others = [group for group in found if group.kept and group.inputs]
    kept = {unit.path: group.kept for group in unread(others, parts) for unit in group.outputs}
    kept |= {min(group.outputs).path: FUSED for group in unread(fused_heads(module), parts)}
    kept |= {place.path: DEPTHWISE for group in candidates for place in silent_channels(group, parts)}
    whole = _planned(module, candidates, sample, kept)
    if not whole.surgery or _difference(module, whole, sample) is None:
        return whole
    chosen: list[Group] = []  # one set of layers at a time, so that only those stay that must
    for layers in dict.fromkeys(map(_layers, candidates)):
        more = chosen + [group for group in candidates if _layers(group) == layers]
        why = _difference(module, _planned(module, more, sample, kept), sample)
        if why is None:
            chosen = more
        else:
            kept |= dict.fromkeys(layers, why)
    return _planned(module, chosen, sample, kept)


def _layers(group: Group) -> tuple[str, ...]:
    return tuple(sorted({unit.path for unit in group.outputs}))


def _planned(module: nn.Module, candidates: Sequence[Group], sample: Inputs, kept: Mapping[str, str]) -> Removal:
    """Return the removal of those of the ``candidates`` that are dead."""
    dead, trial = dead_units(module, candidates, sample)
    outputs = by_layer(place for group in dead for place in (*group.outputs, *group.channels))
    inputs = by_layer(place for group in dead for place in group.inputs)
    surgery: list[Replace] = []
    left: dict[str, dict[int, Tensor]] = {}
    for path, layer in module.named_modules():
        gone = [outputs.get(path, set()), inputs.get(path, set())]
        if any(gone):
            surgery.append(_smaller(path, layer, *map(len, gone)))
            left |= {f"{path}.{leaf}": _left(tensor, gone) for leaf, tensor in layer.state_dict().items()}
    sizes = Removal(left=left)
    biased = {f"{path}.bias": trial.get_submodule(path).bias for path in inputs}
    return Removal(
        surgery=tuple(surgery),
        left=left,
        biases={
            name: sizes.smaller(name, bias.detach()).clone()
            for name, bias in biased.items()
            if isinstance(bias, Tensor)
        },
        removed={path: len(each) for path, each in by_layer(unit for group in dead for unit in group.outputs).items()},
        kept=dict(kept),
    )


def _left(tensor: Tensor, gone: Sequence[set[int]]) -> dict[int, Tensor]:
    """Return by dimension the indices of ``tensor`` that are left of outputs and inputs, where some are gone."""
    return {
        side: torch.tensor([index for index in range(tensor.shape[side]) if index not in each])
        for side, each in enumerate(gone)
        if each and side < tensor.dim()
    }


def _smaller(path: str, layer: nn.Module, outputs: int, inputs: int) -> Replace:
    """Return the record of ``layer`` with so many outputs (or channels) and inputs fewer."""
    if isinstance(layer, nn.Linear):
        sizes = {"in_features": layer.in_features - inputs, "out_features": layer.out_features - outputs}
    elif isinstance(layer, _ConvNd) and layer.groups > 1:
        sizes = dict.fromkeys(("in_channels", "out_channels", "groups"), layer.in_channels - outputs)
    elif isinstance(layer, _ConvNd):
        sizes = {"in_channels": layer.in_channels - inputs, "out_channels": layer.out_channels - outputs}
    else:
        sizes = {"num_features": int(layer.num_features) - outputs}  # type: ignore[arg-type]
    return Replace.like(path, layer, **sizes)


def _difference(module: nn.Module, plan: Removal, sample: Inputs) -> str | None:
    """Return in words how a smaller module differs from ``module``; None if it gives the same outputs.

    In training mode batch norm and dropout give others, so that it runs, and with the same shapes, is all there is.
    """
    smaller = operate(copy.deepcopy(module), plan.surgery)
    try:
        smaller.load_state_dict(plan.state(module.state_dict()))
        new = tensors_in(run(smaller, sample, "the smaller module"))
    except (SpecError, RuntimeError) as error:
        return str(error).partition("\n")[0]
    for one, other in zip(tensors_in(run(module, sample)), new, strict=True):
        if one.shape != other.shape:
            return f"the outputs have the shape {tuple(other.shape)} then, not {tuple(one.shape)}"
        far = float((one - other).abs().max()) if one.numel() else 0.0
        if not far <= TOLERANCES.get(one.dtype, 0.0) * max(1.0, float(one.abs().max())):
            return f"the outputs differ by {far:.3g} then"
    return _in_training(module, smaller, sample)


def _in_training(module: nn.Module, smaller: nn.Module, sample: Inputs) -> str | None:
    """Return in words how a smaller module fails in training mode; None if it does not, or ``module`` does itself."""
    try:
        one = tensors_in(run(module, sample, training=True))
    except SpecError:
        return None
    try:
        other = tensors_in(run(smaller, sample, "the smaller module, in training mode,", training=True))
    except SpecError as error:
        return str(error)
    same = [each.shape for each in one] == [each.shape for each in other]
    return None if same else "in training mode the outputs have other shapes then"
