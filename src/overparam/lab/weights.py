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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
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
    save_file(tensors, path, metadata={"overparam": json.dumps(about)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote; raises :class:`StoreError` for anything else."""
    try:
        tensors, about = read_tensors(path)
        masks = {
            name: torch.ones(entry["shape"], dtype=torch.bool)
            if entry["full"]
            else unpack(tensors[f"mask/{name}"], entry["shape"])
            for name, entry in about["masks"].items()
        }
        state = {}
        for name in about["order"]:
            if f"dense/{name}" in tensors:
                state[name] = tensors[f"dense/{name}"]
            else:
                values = tensors[f"kept/{name}"]
                state[name] = torch.zeros(masks[name].shape, dtype=values.dtype).masked_scatter_(masks[name], values)
        return Checkpoint(state, masks, about["roles"], Length.of(about["position"]), about["counters"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path} is not a checkpoint that overparam wrote ({error})") from None


def save_tensors(tensors: Mapping[str, Tensor], about: Mapping[str, Any], path: Path) -> None:
    """Write tensors and JSON-able facts to one safetensors file."""
    save_file({n: t.contiguous() for n, t in tensors.items()}, path, metadata={"overparam": json.dumps(dict(about))})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts of a file written here; raises :class:`StoreError` if it is damaged."""
    try:
        with safe_open(path, framework="pt") as opened:
            about = json.loads((opened.metadata() or {})["overparam"])
            return {name: opened.get_tensor(name) for name in opened.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error})") from None


def pack(mask: Tensor) -> Tensor:
    """Return a bool tensor as bits: uint8 of shape (ceil(n / 8),)."""
    return torch.from_numpy(np.packbits(mask.contiguous().numpy().reshape(-1)))


def unpack(packed: Tensor, shape: list[int]) -> Tensor:
    """Return the bool tensor of ``shape`` that :func:`pack` packed."""
    count = int(np.prod(shape, dtype=np.int64))
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=count).astype(bool)).reshape(shape)
