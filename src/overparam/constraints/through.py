"""The straight-through estimator: a step that has no gradient of use is given another's."""

from __future__ import annotations

from torch import Tensor


def straight_through(made: Tensor, smooth: Tensor) -> Tensor:
    """Return the numbers of ``made``, to the bit but for -0.0, with the gradient of ``smooth`` added to its own.

    Reference: Bengio et al. 2013, arXiv:1308.3432. ``smooth - smooth.detach()`` is exactly zero where it is finite; an
    infinite number gives NaN, so that a training that has diverged is told.
    """
    return made + (smooth - smooth.detach())
