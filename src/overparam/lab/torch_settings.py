"""Torch's settings of a whole process: those that change results, and that worker processes do not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from overparam.errors import SpecError


def check_torch() -> None:
    """Raise :class:`SpecError` under settings of torch that a study's results would depend on.

    They are no part of any result's address, and workers, which are processes of their own, do not have them.
    """
    found = torch.get_default_dtype()
    if found is not torch.float32:
        raise SpecError(
            f"torch's default dtype is {found}, but a study computes in float32; call "
            "torch.set_default_dtype(torch.float32) before it, and convert inside your network where you need to"
        )
    device = torch.get_default_device()
    if device.type != "cpu":
        raise SpecError(
            f"torch's default device is {device}, but a study computes on the CPU; call torch.set_default_device('cpu')"
        )
    if torch.is_autocast_enabled("cpu"):
        raise SpecError(
            "a study cannot run under torch.autocast, which would change its results in this process only; run it "
            "outside, and use autocast inside your network's forward"
        )
    if not torch.is_grad_enabled():
        raise SpecError("a study cannot run under torch.no_grad() or torch.inference_mode(), as it trains; leave that")


@contextmanager
def full_precision() -> Iterator[None]:
    """Run a block with products of float32 matrices in full float32, as workers do, whatever the script has set.

    On a card convolutions are in full float32 too, and by algorithms that give the same bits each time.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
