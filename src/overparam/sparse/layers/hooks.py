"""Whether a user's own functions are called with what goes through a module or tensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torchs

KINDS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    "_post_accumulate_grad_hooks",
)
OF_ALL = (
    *("_global_forward_hooks", "_global_forward_pre_hooks"),
    *("_global_backward_hooks", "_global_backward_pre_hooks"),
)
"""Where torch keeps the hooks of all modules; older versions have no function that tells of them."""


def has_hooks(owner: nn.Module | Tensor) -> bool:
    """Tell whether a module or parameter has hooks of any kind, which would see tiles or never be called."""
    return any(getattr(owner, kind, None) for kind in KINDS)


def calls_more(parts: Iterable[nn.Module]) -> bool:
    """Tell, at little cost, whether a call of one of these modules calls more than the forward of its class."""
    if any(getattr(torchs, kind) for kind in OF_ALL):
        return True
    return any(_calls_more(vars(part)) for part in parts)


def _calls_more(own: dict[str, Any]) -> bool:
    before, after = own["_forward_pre_hooks"], own["_forward_hooks"]
    return bool(before or after or own["_backward_hooks"] or own["_backward_pre_hooks"] or "forward" in own)


class _Held:
    """Sets a gradient to zero outside of a mask."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def __call__(self, gradient: Tensor) -> Tensor:
        return torch.where(self.mask, gradient, 0)


def hold(parameter: nn.Parameter, mask: Tensor) -> None:
    """Keep a parameter at zero outside its mask: now, and by its gradient."""
    with torch.no_grad():
        parameter.copy_(torch.where(mask, parameter, 0))
    trained = parameter.requires_grad
    parameter.requires_grad_(True)  # for when it is trained, if it is frozen now
    parameter.register_hook(_Held(mask))  # type: ignore[no-untyped-call]
    parameter.requires_grad_(trained)


def carry_over(source: nn.Module, target: nn.Module) -> nn.Module:
    """Put a user's hooks of parameters also on those of a copy of their module, as copies of tensors have none."""
    for parameter, copied in zip(source.parameters(), target.parameters(), strict=True):
        for hook in (parameter._backward_hooks or {}).values():
            if not isinstance(hook, _Held):
                copied.register_hook(hook)  # type: ignore[no-untyped-call]
        for hook in (getattr(parameter, "_post_accumulate_grad_hooks", None) or {}).values():
            copied.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
    return target
