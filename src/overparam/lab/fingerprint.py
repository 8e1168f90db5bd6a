"""Fingerprints: what a result is made of, as one short name."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from overparam.spec import plain

LENGTH = 32  # hexadecimal digits, 128 bits: no two results of a lifetime share a name by chance


def canonical(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys and no spaces; equal content gives equal text."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """Return the fingerprint of ``value``: the first 128 bits of the SHA-256 of its canonical JSON, in hexadecimal.

    >>> fingerprint({"b": 1, "a": (1, 2)}) == fingerprint({"a": [1, 2], "b": 1})
    True
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:LENGTH]
