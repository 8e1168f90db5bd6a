"""Whether a user's own functions are called with what goes through a module or tensor."""

from __future__ import annotations

from torch import Tensor, nn

KINDS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    "_post_accumulate_grad_hooks",
)


def has_hooks(owner: nn.Module | Tensor) -> bool:
    """Tell whether a module or parameter has hooks of any kind, which would see tiles or never be called."""
    return any(getattr(owner, kind, None) for kind in KINDS)
