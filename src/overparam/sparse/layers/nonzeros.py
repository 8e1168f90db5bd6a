"""Drawing nonzeros, and telling whether values are theirs."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
import xxhash
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from overparam.errors import SpecError
from overparam.sparse.kernels.structure import Indices

MIXED = 1e-5  # share of other nonzeros' values in an average that is noticed


def random_indices(count: int, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Return ``count`` different numbers below ``size``, sorted, int64; each such set is equally likely.

    Memory is of order ``count`` however large ``size`` is. Raises :class:`SpecError` unless ``0 <= count <= size``.
    """
    if not 0 <= count <= size:
        raise SpecError(f"count must be between 0 and size={size:,}, got {count:,}")
    if 2 * count > size:
        return torch.randperm(size, generator=generator, device="cpu")[:count].sort().values
    found = torch.empty(0, dtype=torch.int64, device="cpu")
    while len(found) < count:
        missing = count - len(found)
        drawn = torch.randint(size, (missing + missing // 8 + 8,), generator=generator, device="cpu")
        found = torch.unique(torch.cat([found, drawn]))  # sorted
    if len(found) == count:
        return found
    # all numbers are treated alike, so a random part of a random set is uniform as well
    chosen = torch.randperm(len(found), generator=generator, device="cpu")[:count]
    return found[chosen.sort().values]


def checksum_of(indices: Indices, shape: Sequence[int]) -> Tensor:
    """Return a checksum of nonzeros, float32, (32,), each -1 or 1: an average with itself is itself, in any dtype."""
    digest = xxhash.xxh32(np.array(shape, dtype=np.int64).tobytes())
    digest.update(indices.tobytes())
    bits = np.unpackbits(np.frombuffer(digest.digest(), dtype=np.uint8))
    return torch.from_numpy(bits.astype(np.float32) * 2 - 1)


def is_mixed(checksum: Tensor, indices: Indices, shape: Sequence[int]) -> bool:
    """Tell whether a checksum is not that of these nonzeros, nor a multiple of it, as roundings may leave."""
    functorch: Any = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(checksum):  # a stack of them under torch.vmap
        checksum = functorch.get_unwrapped(checksum)
    with _disable_current_modes():  # of torch.export and the like, which read no numbers
        checksum = checksum.detach()
        if type(checksum) is not Tensor or checksum.device.type == "meta":
            return False  # there is nothing to read
        found = checksum.double().cpu().reshape(-1, 32) * checksum_of(indices, shape)
        low, high = found.amin(1), found.amax(1)
        return not bool(((high - low <= MIXED * high) & (low >= 0)).all())


def version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place, as far as torch counts it."""
    return 0 if tensor.is_inference() else tensor._version


def check_indices(indices: Tensor, size: int) -> None:
    """Raise SpecError unless ``indices`` are int64, one-dimensional, ascending without repeats and below ``size``."""
    if indices.dtype != torch.int64 or indices.dim() != 1 or indices.device.type != "cpu":
        raise SpecError(
            f"indices must be a one-dimensional int64 tensor on the CPU, got {indices.dtype} "
            f"of shape {tuple(indices.shape)} on {indices.device}"
        )
    ascending = bool((indices[1:] > indices[:-1]).all())
    if len(indices) and (not ascending or int(indices[0]) < 0 or int(indices[-1]) >= size):
        raise SpecError(f"indices must be ascending, without repeats and from 0 to below {size:,}; sort them first")


class Made(dict[Any, Any]):
    """A layer's lists, and the checksum, with versions, that was found right; a copy makes its own."""

    seen: tuple[weakref.ref[Tensor], tuple[int, int]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class Family(weakref.WeakSet[nn.Module]):
    """A layer and its copies, as long as somebody else holds them; a pickle begins another."""

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()
