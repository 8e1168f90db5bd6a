"""One image file as numbers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from overparam.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

EIGHT_BITS = ("1", "L", "P", "RGB", "CMYK", "YCbCr")


def decode(content: bytes, size: tuple[int, int], channels: int, source: str) -> NDArray[np.uint8]:
    """Return an image as it is shown, ``(channels, height, width)``; ``source`` names it in errors.

    Turned as its EXIF orientation says; grey of 16 bits is divided by 257, so that white stays white; a palette is
    looked up; resized bilinearly to ``size`` (height, width) where it differs.

    Raises :class:`DataError` if it is damaged, or is no such image: animated, partly transparent, of floats.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as opened:
            image = _eight_bits(opened)
    except UnidentifiedImageError:
        raise DataError(f"{source}: cannot be read as an image (its format is unknown); remove or replace it") from None
    except Exception as error:  # noqa: BLE001  a damaged file can raise nearly anything
        raise DataError(f"{source}: cannot be read as an image ({error}); remove or replace it") from None
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
    image = image.convert("RGB" if channels == 3 else "L")
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _eight_bits(opened: Image.Image) -> Image.Image:
    """Return the image, upright, in a mode of :data:`EIGHT_BITS`; raises ``ValueError`` if it has no such form."""
    from PIL import Image, ImageOps

    frames = getattr(opened, "n_frames", 1)
    if frames > 1 and opened.format != "MPO":  # a photograph with a preview beside it
        raise ValueError(f"it has {frames} frames, and one is needed")
    image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16") or (image.mode == "I" and opened.format in ("PNG", "PPM")):
        if image.has_transparency_data:
            raise ValueError("it has 16 bits and a transparent value; put it on a background first")
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise ValueError("it has transparent pixels; put it on a background first")
        image = image.convert("RGB")
    if image.mode not in EIGHT_BITS:
        raise ValueError(
            f"its pixels, of Pillow's mode {image.mode!r}, have no known range; convert it to 8 bits first"
        )
    return image
