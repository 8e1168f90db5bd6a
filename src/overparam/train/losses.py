"""Losses: from a name, an import path or a callable to a function ``(outputs, labels) -> scalar``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

from overparam.content import import_path
from overparam.errors import SpecError
from overparam.identity import comes_with_overparam, identity_of
from overparam.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: Registry[Loss] = Registry("loss")


@LOSSES.named("cross-entropy")
def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean softmax cross entropy of ``outputs`` (batch, classes) against integer ``labels`` (batch,)."""
    return functional.cross_entropy(outputs, labels)


def checked_loss(given: Any) -> Any:
    """Return ``given`` if it may mean a loss, without following import paths; raises :class:`SpecError` if not."""
    if isinstance(given, str):
        if ":" not in given:
            LOSSES.get(given)
    elif not callable(given):
        raise SpecError(
            f"must be one of {', '.join(LOSSES)}, an import path 'package.module:function' or a function, got {given!r}"
        )
    return given


def loss_named(given: str | Callable[..., Any]) -> Loss:
    """Return the loss that ``given`` means: a registered name, ``package.module:function`` or the callable itself."""
    if callable(given):
        return given
    if ":" not in given:
        return LOSSES.get(given)
    found = import_path(given, "loss")
    if not callable(found):
        raise SpecError(f"loss {given!r} must be a function (outputs, labels) -> scalar, got {found!r}")
    return found  # type: ignore[no-any-return]


def loss_identity(given: str | Callable[..., Any]) -> Any:
    """Return what a loss is, JSON-able, for fingerprints: a registered name, or what one's own is made of."""
    loss = loss_named(given)
    if isinstance(given, str) and given in LOSSES:
        return given if comes_with_overparam(loss) else identity_of(loss)
    return identity_of(loss)
