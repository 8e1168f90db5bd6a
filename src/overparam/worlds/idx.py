"""The IDX format of MNIST: two zero bytes, type, number of dimensions, their big-endian sizes, values."""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from overparam.errors import DataError

_UINT8 = 8


def parse_idx(content: bytes, dimensions: int, source: str) -> NDArray[np.uint8]:
    """Return the uint8 array of an uncompressed IDX file; ``source`` names it in errors.

    Raises :class:`DataError` unless it has ``dimensions`` dimensions and exactly as many values as they say.
    """
    advice = "replace the file by an intact copy"
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{source}: truncated IDX file, {len(content)} bytes do not hold its header; {advice}")
    expected = bytes([0, 0, _UINT8, dimensions])
    if content[:4] != expected:
        raise DataError(
            f"{source}: not an IDX file of bytes in {dimensions} dimensions, its magic number is "
            f"0x{content[:4].hex()} and not 0x{expected.hex()}; {advice}"
        )
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"{source}: damaged IDX file, its header announces {math.prod(shape)} values "
            f"({' x '.join(map(str, shape))}) and {len(content) - header} follow; {advice}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
