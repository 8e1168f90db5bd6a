"""What a user's object is made of, so that results are found again for the same one and never for another."""

from __future__ import annotations

from overparam.identity.digest import Digest
from overparam.identity.identify import comes_with_overparam, identity_of, module_identity, state_digest
from overparam.identity.kept import held_digest, kept_outside

__all__ = [
    "Digest",
    "comes_with_overparam",
    "held_digest",
    "identity_of",
    "kept_outside",
    "module_identity",
    "state_digest",
]
