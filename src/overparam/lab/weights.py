"""Checkpoints as files: safetensors, pruned tensors as packed mask and surviving values.

Tensors in the file, ``NAME`` being a name of the state dict:

- ``dense/NAME``: the tensor as it is;
- ``kept/NAME``: the values of a pruned tensor where its mask is True, in row-major order;
- ``mask/NAME``: the mask, eight entries a byte, most significant bit first, padded with zeros.

The header's ``overparam`` entry is JSON: ``roles``, ``position``, ``counters``, and the ``shape`` of each mask.
A mask of ones is not stored: it is in ``masks`` with ``"full": true``. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from overparam.checkpoint import Checkpoint
from overparam.errors import StoreError
from overparam.length import Length


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write ``checkpoint`` to ``path``."""
    tensors: dict[str, Tensor] = {}
    masks: dict[str, Any] = {}
    for name, mask in checkpoint.masks.items():
        full = bool(mask.numpy().all())
        masks[name] = {"shape": list(mask.shape), "full": full}
        if not full:
            tensors[f"mask/{name}"] = pack(mask)
    for name, tensor in checkpoint.state.items():
        if name not in masks or masks[name]["full"]:
            tensors[f"dense/{name}"] = tensor.contiguous()
        else:
            kept = torch.from_numpy(np.flatnonzero(checkpoint.masks[name].numpy()))  # the quickest way by far
            tensors[f"kept/{name}"] = tensor.reshape(-1).index_select(0, kept)
    about = {
        "roles": dict(checkpoint.roles),
        "position": str(checkpoint.position),
        "counters": dict(checkpoint.counters),
        "masks": masks,
        "order": list(checkpoint.state),
    }
    _write(tensors, about, path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote; raises :class:`StoreError` for anything else."""
    tensors, about = read_tensors(path)
    try:
        masks = {name: _mask(tensors, name, **entry) for name, entry in about["masks"].items()}
        state = {name: _weights(tensors, name, masks.get(name)) for name in about["order"]}
        return Checkpoint(state, masks, {**about["roles"]}, Length.of(about["position"]), {**about["counters"]})
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path} is not a checkpoint that overparam wrote ({error})") from None


def _mask(tensors: Mapping[str, Tensor], name: str, shape: list[int], full: bool) -> Tensor:
    if not full:
        return unpack(tensors[f"mask/{name}"], shape)
    mask = torch.ones_like(tensors[f"dense/{name}"], dtype=torch.bool)
    if list(mask.shape) != shape:
        raise ValueError(f"the mask of {name!r} should have the shape {shape}, its weights have {list(mask.shape)}")
    return mask


def _weights(tensors: Mapping[str, Tensor], name: str, mask: Tensor | None) -> Tensor:
    if mask is None or f"dense/{name}" in tensors:
        return tensors[f"dense/{name}"]
    values = tensors[f"kept/{name}"]
    if values.shape != (int(mask.count_nonzero()),):
        raise ValueError(f"{name!r} should have {int(mask.count_nonzero())} kept values, got {list(values.shape)}")
    return torch.zeros(mask.shape, dtype=values.dtype).masked_scatter_(mask, values)


def save_tensors(tensors: Mapping[str, Tensor], about: Mapping[str, Any], path: Path) -> None:
    """Write tensors and JSON-able facts to one safetensors file."""
    _write({name: tensor.contiguous() for name, tensor in tensors.items()}, about, path)


def _write(tensors: dict[str, Tensor], about: Mapping[str, Any], path: Path) -> None:
    # not by save_file, whose errors tell in words alone that a disk is full
    path.write_bytes(save(tensors, metadata={"overparam": json.dumps(dict(about))}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts of a file written here; raises :class:`StoreError` if it is damaged."""
    try:
        with safe_open(path, framework="pt") as opened:
            about = json.loads((opened.metadata() or {})["overparam"])
            return {name: opened.get_tensor(name) for name in opened.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error})") from None


def tensors_of(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts of the bytes of a file written here; raises StoreError if they are damaged.

    For files that another process may remove at any moment: :func:`read_tensors` opens its file several times.
    """
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
