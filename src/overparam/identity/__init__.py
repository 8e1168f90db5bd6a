"""What a user's object is made of, so that results are found again for the same one and never for another."""

from __future__ import annotations

from overparam.identity.digest import Content
from overparam.identity.modules import (
    comes_with_overparam,
    held_digest,
    identity_of,
    kept_outside,
    module_identity,
    state_digest,
)

__all__ = [
    "Content",
    "comes_with_overparam",
    "held_digest",
    "identity_of",
    "kept_outside",
    "module_identity",
    "state_digest",
]
