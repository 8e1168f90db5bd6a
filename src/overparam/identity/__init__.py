"""What a user's object is made of, so that results are found again for the same one and never for another."""

from __future__ import annotations

from overparam.identity.digest import Digest
from overparam.identity.identify import comes_with_overparam, identity_of, module_identity, state_digest
from overparam.identity.kept import held_digest, kept_outside
from overparam.identity.one_use import for_one_use

__all__ = [
    "Digest",
    "comes_with_overparam",
    "for_one_use",
    "held_digest",
    "identity_of",
    "kept_outside",
    "module_identity",
    "state_digest",
]
