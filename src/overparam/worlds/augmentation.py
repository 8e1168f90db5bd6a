"""Random crops and flips of whole batches."""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from overparam.errors import SpecError
from overparam.spec import spec


class Draws(NamedTuple):
    """What chance decided, one entry an example: where the crop begins, and whether to flip."""

    rows: Tensor
    columns: Tensor
    flips: Tensor


@spec
class Augmentation:
    """Changes of the training images, drawn anew in every epoch.

    Args:
        crop: pixels of black added on each side before a crop of the old size is cut out at random; 0 = none.
        flip: mirror left and right with probability 1/2.

    Example:
        {crop: 4, flip: true}
    """

    crop: Annotated[int, Field(ge=0)] = 0
    flip: bool = False

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Raise :class:`SpecError` unless the shape is ``(C, H, W)`` with ``H`` and ``W`` above ``crop``."""
        if not self.active:
            return
        if len(input_shape) != 3:
            raise SpecError(
                f"augmentation needs images (C, H, W), the inputs have the shape {input_shape}; leave it out"
            )
        if self.crop >= min(input_shape[1:]):
            raise SpecError(f"augmentation.crop must be below the image size {min(input_shape[1:])}, got {self.crop}")

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.crop > 0 or self.flip

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Draw for ``count`` examples at once; ``crop`` and ``flip`` do not shift each other's numbers."""
        device = generator.device
        rows, columns = torch.randint(2 * self.crop + 1, (2, count), generator=generator, device=device)
        flips = torch.rand(count, generator=generator, device=device) < (0.5 if self.flip else 0.0)
        return Draws(rows, columns, flips)

    def apply(self, images: Tensor, draws: Draws, black: Tensor) -> Tensor:
        """Return the augmented ``images`` ``(B, C, H, W)``; ``black`` ``(C,)`` is what a black pixel is."""
        batch, channels, height, width = images.shape
        device = images.device
        if self.crop:
            margin = slice(self.crop, -self.crop)
            padded = black.view(-1, 1, 1).repeat(batch, 1, height + 2 * self.crop, width + 2 * self.crop)
            padded[:, :, margin, margin] = images
            images = padded
        rows = draws.rows.to(device)[:, None] + torch.arange(height, device=device)  # (B, H)
        columns = torch.arange(width, device=device)
        columns = torch.where(draws.flips.to(device)[:, None], width - 1 - columns, columns)
        columns = columns + draws.columns.to(device)[:, None]  # (B, W)
        pixels = rows[:, :, None] * images.shape[3] + columns[:, None, :]  # (B, H, W), into the padded image
        flat = pixels.view(batch, 1, -1).expand(-1, channels, -1)
        return images.flatten(2).gather(2, flat).view(batch, channels, height, width)
