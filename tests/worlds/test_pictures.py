from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from overparam.errors import DataError
from overparam.worlds.pictures import decode

GREY = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
SIXTEEN = GREY.astype(np.uint16) * 257
COLOUR = np.stack([GREY, GREY[::-1], GREY.T], 2)


def file(pixels: Any, form: str = "PNG", mode: str | None = None, **how: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, form, **how)
    return buffer.getvalue()


def grey(content: bytes) -> np.ndarray[Any, Any]:
    """Decode as grey, and check that as colour it is the same three times."""
    colour = decode(content, (4, 4), 3, "x")
    found = decode(content, (4, 4), 1, "x")
    assert np.array_equal(colour, np.repeat(found, 3, 0))
    return found[0]


def opaque(alpha: int = 255) -> np.ndarray[Any, Any]:
    return np.dstack([COLOUR, np.full((4, 4), alpha, np.uint8)])


PALETTE = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4), "P")
PALETTE.putpalette(COLOUR.tobytes())


@pytest.mark.parametrize(
    "content",
    [
        file(GREY),
        file(GREY, "TIFF"),
        file(GREY, "BMP"),
        file(GREY, "WEBP", "RGB", lossless=True),
        file(SIXTEEN),
        file(SIXTEEN, "TIFF"),
        file(SIXTEEN.astype(">u2"), "TIFF"),
        b"P5 4 4 65535\n" + SIXTEEN.astype(">u2").tobytes(),
        b"P5 4 4 4095\n" + (SIXTEEN // 16).astype(">u2").tobytes(),
        b"P5 4 4 15\n" + (GREY // 17).tobytes(),
        file(GREY, "PNG", "LA"),
        file(GREY, "PNG", "P"),
        file(GREY, "TIFF", "CMYK"),
    ],
)
def test_grey_is_the_same_grey_in_every_form(content: bytes) -> None:
    assert np.array_equal(grey(content), GREY)


def test_black_and_white_is_black_and_white() -> None:
    assert np.array_equal(grey(file(GREY > 100)), np.where(GREY > 100, 255, 0))


@given(st.lists(st.integers(0, 65535), min_size=16, max_size=16))
def test_16_bits_are_rounded_to_8(values: list[int]) -> None:
    pixels = np.array(values, np.uint16).reshape(4, 4)
    assert np.array_equal(grey(file(pixels)), np.round(pixels / 257))


@pytest.mark.parametrize(
    "content",
    [
        file(COLOUR),
        file(opaque()),
        file(COLOUR, "TIFF"),
        file(COLOUR, "TIFF", "CMYK"),
        file(PALETTE),
        file(PALETTE, transparency=bytes([255] * 16)),
        b"P6 4 4 65535\n" + (COLOUR.astype(">u2") * 257).tobytes(),
    ],
)
def test_colours_are_the_same_colours_in_every_form(content: bytes) -> None:
    assert np.array_equal(decode(content, (4, 4), 3, "x").transpose(1, 2, 0), COLOUR)


@pytest.mark.parametrize("pixels", [GREY, SIXTEEN])
def test_images_are_turned_as_they_are_shown(pixels: np.ndarray[Any, Any]) -> None:
    orientation = Image.Exif()
    orientation[0x0112] = 6  # to be turned clockwise by a quarter
    found = decode(file(pixels[:, :2], exif=orientation), (2, 4), 1, "x")
    assert np.array_equal(found[0], np.rot90(GREY[:, :2], -1))


def test_a_photograph_with_a_preview_is_the_photograph() -> None:
    content = file(Image.new("L", (4, 4), 200), "MPO", save_all=True, append_images=[Image.new("L", (4, 4), 10)])
    assert np.array_equal(grey(content), np.full((4, 4), 200))


FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (file(opaque(254)), "it has transparent pixels; put it on a background first"),
        (file(opaque(0), "WEBP", lossless=True), "transparent pixels"),
        (file(opaque(3), "PNG", "LA"), "transparent pixels"),
        (file(PALETTE, transparency=0), "transparent pixels"),
        (file(PALETTE, transparency=bytes([255] * 15 + [9])), "transparent pixels"),
        (file(GREY, transparency=17), "transparent pixels"),
        (file(SIXTEEN, transparency=17), "it has 16 bits and a transparent value"),
        (file(GREY.astype(np.float32), "TIFF"), "its pixels, of Pillow's mode 'F', have no known range"),
        (file(GREY.astype(np.int32), "TIFF"), "its pixels, of Pillow's mode 'I', have no known range"),
        (file(COLOUR, "PNG", **FRAMES), "it has 2 frames, and one is needed"),
        (file(COLOUR, "TIFF", **FRAMES), "it has 2 frames"),
        (file(COLOUR, "WEBP", **FRAMES), "it has 2 frames"),
        (file(COLOUR)[:-30], "truncated"),
        (file(COLOUR)[:30], "its format is unknown"),
        (b"", "its format is unknown"),
        (b"no image", "its format is unknown"),
    ],
)
def test_what_has_no_clear_meaning_is_refused(content: bytes, message: str) -> None:
    for channels in (1, 3):
        with pytest.raises(DataError, match=rf"^a/b.png: cannot be read as an image \(.*{message}.*\); remove or"):
            decode(content, (4, 4), channels, "a/b.png")


@pytest.mark.filterwarnings("ignore")  # Pillow may warn before it fails
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM"])
def test_a_damaged_file_never_raises_anything_else(form: str) -> None:
    whole, draws = file(COLOUR, form), random.Random(0)
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[draws.randrange(len(damaged))] ^= 1 << draws.randrange(8)
        try:
            decode(bytes(damaged), (4, 4), 3, "x")
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017  most flipped bits change a pixel and nothing else
