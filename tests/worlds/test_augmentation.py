from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from overparam.errors import SpecError
from overparam.worlds import Augmentation
from overparam.worlds.augmentation import Draws


def one_by_one(images: Tensor, draws: Draws, black: Tensor, crop: int) -> Tensor:
    """The reference: pad, cut and mirror each image alone."""
    made = []
    for image, row, column, flip in zip(images, *(each.tolist() for each in draws), strict=True):
        channels, height, width = image.shape
        padded = black.view(-1, 1, 1).expand(channels, height + 2 * crop, width + 2 * crop).clone()
        padded[:, crop : crop + height, crop : crop + width] = image
        cut = padded[:, row : row + height, column : column + width]
        made.append(cut.flip(2) if flip else cut)
    return torch.stack(made)


@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 3),
    height=st.integers(2, 7),
    width=st.integers(2, 7),
    crop=st.integers(0, 3),
    flip=st.booleans(),
    seed=st.integers(0, 99),
)
def test_agrees_with_one_image_at_a_time(
    batch: int, channels: int, height: int, width: int, crop: int, flip: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, channels, height, width, generator=generator)
    black = torch.randn(channels, generator=generator)
    augmentation = Augmentation(crop, flip)
    draws = augmentation.draw(batch, generator)
    made = augmentation.apply(images, draws, black)
    assert torch.equal(made, one_by_one(images, draws, black, crop))
    assert made.is_contiguous()


def test_every_offset_and_both_directions_come_up() -> None:
    draws = Augmentation(crop=2, flip=True).draw(1000, torch.Generator().manual_seed(0))
    assert set(draws.rows.tolist()) == set(draws.columns.tolist()) == set(range(5))
    assert 430 < int(draws.flips.sum()) < 570
    assert not torch.equal(draws.rows, draws.columns)
    assert not Augmentation(crop=2).draw(1000, torch.Generator()).flips.any()


def test_a_known_case() -> None:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    draws = Draws(torch.tensor([0]), torch.tensor([1]), torch.tensor([False]))  # one row up, columns as they were
    made = Augmentation(crop=1, flip=True).apply(image, draws, torch.tensor([-9.0]))
    assert made.tolist() == [[[[-9.0, -9.0], [1.0, 2.0]]]]
    mirrored = Augmentation(crop=1, flip=True).apply(
        image, draws._replace(flips=torch.tensor([True])), torch.tensor([-9.0])
    )
    assert mirrored.tolist() == [[[[-9.0, -9.0], [2.0, 1.0]]]]


def test_wrong_arguments() -> None:
    with pytest.raises(SpecError, match=r"Augmentation.crop"):
        Augmentation(crop=-1)
    with pytest.raises(SpecError, match=r"needs images"):
        Augmentation(flip=True).check((784,))
    with pytest.raises(SpecError, match=r"below the image size 8, got 8"):
        Augmentation(crop=8).check((1, 8, 9))
    Augmentation().check((784,))  # changes nothing, so anything goes
