from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam.errors import DataError
from overparam.worlds.idx import parse_idx

IMAGES = bytes.fromhex("00000803 00000002 00000001 00000003 0102030405ff")


def test_a_file_made_by_hand() -> None:
    found = parse_idx(IMAGES, 3, "images")
    assert found.dtype == np.uint8
    assert found.tolist() == [[[1, 2, 3]], [[4, 5, 255]]]
    assert parse_idx(bytes.fromhex("00000801 00000003 000907"), 1, "labels").tolist() == [0, 9, 7]


@given(st.integers(0, len(IMAGES) - 1))
def test_every_truncation_is_found(length: int) -> None:
    with pytest.raises(DataError, match=r"^some/file: .* replace the file"):
        parse_idx(IMAGES[:length], 3, "some/file")


@given(st.integers(0, 16 * 8 - 1))
def test_every_flipped_bit_of_the_header_is_found(bit: int) -> None:
    damaged = bytearray(IMAGES)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DataError, match=r"^some/file: "):
        parse_idx(bytes(damaged), 3, "some/file")


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(DataError, match=r"magic number is 0x00000803 and not 0x00000801"):
        parse_idx(IMAGES, 1, "labels")
    with pytest.raises(DataError, match=r"announces 6 values \(2 x 1 x 3\) and 7 follow"):
        parse_idx(IMAGES + b"\0", 3, "images")
    huge = struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    with pytest.raises(DataError, match=r"damaged IDX file"):
        parse_idx(huge, 3, "images")
