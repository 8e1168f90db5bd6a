"""Checkpoints as bytes: safetensors, pruned tensors as packed mask and surviving values.

Tensors in it, ``NAME`` being a name of the state dict and ``FIELD`` a field of its constraint:

- ``dense/NAME``: the tensor as it is;
- ``kept/NAME``: the values of a tensor that is zero where it is not kept, where it is, in row-major order;
- ``mask/NAME/FIELD``: a bool tensor, eight entries a byte, most significant bit first, padded with zeros;
- ``constraint/NAME/FIELD``: any other tensor.

The header's ``overparam`` entry is JSON: ``roles``, ``position``, ``counters``, ``surgery``, ``removed``, ``order`` of
the names,
for each constraint its ``kind`` and other ``fields``, and for each bool tensor its ``shape``. One of ones is not
stored: it has ``"full": true``, and the shape of the dense tensor. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from overparam.checkpoint import Checkpoint
from overparam.constraints import Constraint
from overparam.constraints.storage import from_parts, to_parts
from overparam.errors import StoreError
from overparam.length import Length
from overparam.networks.surgery import Replace


def checkpoint_to_bytes(checkpoint: Checkpoint) -> bytes:
    """Return ``checkpoint`` as bytes, the same for the same checkpoint."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in checkpoint.state.items():
        tensors |= _stored(name, tensor, _zero_outside(checkpoint.constraints.get(name)))
    parts, constraints = to_parts(checkpoint.constraints)
    masks: dict[str, Any] = {}
    for key, tensor in parts.items():
        if tensor.dtype != torch.bool:
            tensors[f"constraint/{key}"] = tensor
            continue
        full = _full(tensor, tensors.get(f"dense/{_owner(key)}"))
        masks[key] = {"shape": list(tensor.shape), "full": full}
        if not full:
            tensors[f"mask/{key}"] = pack(tensor)
    about = {
        "roles": dict(checkpoint.roles),
        "position": str(checkpoint.position),
        "counters": dict(checkpoint.counters),
        "removed": list(checkpoint.removed),
        "surgery": [replace.plain() for replace in checkpoint.surgery],
        "constraints": constraints,
        "masks": masks,
        "order": list(checkpoint.state),
    }
    return tensors_to_bytes(tensors, about)


def _owner(key: str) -> str:
    """Return the name of the tensor whose constraint has the field ``key``."""
    return key.rpartition("/")[0]


def _full(mask: Tensor, dense: Tensor | None) -> bool:
    """Tell whether a mask says nothing beyond the shape of its tensor, which is stored as it is."""
    return dense is not None and mask.shape == dense.shape and bool(mask.numpy().all())


def _zero_outside(constraint: Constraint | None) -> Tensor | None:
    """Return a mask outside of which the weight is zero, if there is one and it says anything."""
    kept = constraint.kept() if constraint is not None and constraint.zero_outside else None
    return None if kept is None or bool(kept.numpy().all()) else kept


def _stored(name: str, tensor: Tensor, kept: Tensor | None) -> dict[str, Tensor]:
    if kept is None:
        return {f"dense/{name}": tensor}
    places = torch.from_numpy(np.flatnonzero(kept.numpy()))  # the quickest way by far
    return {f"kept/{name}": tensor.reshape(-1).index_select(0, places)}


def checkpoint_from_bytes(content: bytes) -> Checkpoint:
    """Read what :func:`checkpoint_to_bytes` made; raises :class:`StoreError` for anything else."""
    tensors, about = tensors_from_bytes(content)
    try:
        parts = {key: _mask(tensors, key, **entry) for key, entry in about["masks"].items()}
        parts |= {key[11:]: tensor for key, tensor in tensors.items() if key.startswith("constraint/")}
        constraints = from_parts(parts, about["constraints"])
        state = {name: _weights(tensors, name, constraints.get(name)) for name in about["order"]}
        return Checkpoint(
            state,
            constraints,
            {**about["roles"]},
            surgery=tuple(Replace(**replace) for replace in about["surgery"]),
            removed=_two(about["removed"]),
            position=Length.of(about["position"]),
            counters={**about["counters"]},
        )
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"these {len(content)} bytes are not a checkpoint that overparam wrote ({error})") from None


def _two(numbers: list[int]) -> tuple[int, int]:
    weights, parameters = (int(number) for number in numbers)
    return weights, parameters


def _mask(tensors: Mapping[str, Tensor], key: str, shape: list[int], full: bool) -> Tensor:
    if not full:
        return unpack(tensors[f"mask/{key}"], shape)
    name = _owner(key)
    mask = torch.ones_like(tensors[f"dense/{name}"], dtype=torch.bool)
    if list(mask.shape) != shape:
        raise ValueError(f"the mask of {name!r} should have the shape {shape}, its weights have {list(mask.shape)}")
    return mask


def _weights(tensors: Mapping[str, Tensor], name: str, constraint: Constraint | None) -> Tensor:
    kept = _zero_outside(constraint)
    if kept is None:
        return tensors[f"dense/{name}"]
    values = tensors[f"kept/{name}"]
    if values.shape != (int(kept.count_nonzero()),):
        raise ValueError(f"{name!r} should have {int(kept.count_nonzero())} kept values, got {list(values.shape)}")
    return torch.zeros(kept.shape, dtype=values.dtype).masked_scatter_(kept, values)


def tensors_to_bytes(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """Return tensors and JSON-able facts as one safetensors file."""
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return save(whole, metadata={"overparam": json.dumps(dict(about))})


def tensors_from_bytes(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts of what :func:`tensors_to_bytes` made; raises :class:`StoreError`."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header["__metadata__"]["overparam"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"these {len(content)} bytes are not tensors that overparam wrote ({error})") from None


def pack(mask: Tensor) -> Tensor:
    """Return a bool tensor as bits: uint8 of shape (ceil(n / 8),)."""
    return torch.from_numpy(np.packbits(mask.contiguous().numpy().reshape(-1)))


def unpack(packed: Tensor, shape: list[int]) -> Tensor:
    """Return the bool tensor of ``shape`` that :func:`pack` packed; raises ValueError if it does not fit."""
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise ValueError(f"{shape} is no shape")
    count = math.prod(shape)
    if packed.dtype != torch.uint8 or packed.shape != (-(-count // 8),):
        raise ValueError(f"a mask of shape {shape} has {-(-count // 8)} bytes, got {list(packed.shape)} {packed.dtype}")
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=count).astype(bool)).reshape(shape)
