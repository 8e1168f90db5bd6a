"""Fingerprints: what a result is made of, as one short name, its address in the store.

Two different results never share an address. So whatever changes numbers is in it: the bytes of the data, input shape,
classes, network, options and initialisation, seeds, every parameter of every step and probe, the code and state of what
a user brings, the versions of our own. What changes none is not: names, labels, descriptions, paths, the engine, jobs.
Nor are threads and the versions of torch and NumPy, which change the rounding of sums: they are recorded with each
result, and an update does not throw a store away.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
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


def part_identity(part: Any) -> dict[str, Any]:
    """Return what a step or probe is: version, parameters and, of what is the user's own, the code.

    A field that its class names in ``later`` is not among them at the value given there, which was implied before the
    field was added.
    """
    from overparam.identity import comes_with_overparam, identity_of  # torch; a fingerprint alone needs none

    later = getattr(part, "later", {})
    parameters = {name: value for name, value in part.parameters().items() if name not in later or value != later[name]}
    # plain() keeps the fields of an object and not its class, and another class may mean another thing by them
    own = [kind for kind in (type(part), *_classes(parameters)) if not comes_with_overparam(kind)]
    return {
        "version": part.version,
        "parameters": plain(parameters),
        **({"code": [identity_of(kind) for kind in own]} if own else {}),
    }


def _classes(value: Any) -> Iterator[type]:
    """Yield the classes of the objects that a parameter's value holds, itself included."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _classes(entry)
    elif hasattr(value, "plain") or dataclasses.is_dataclass(value):
        yield type(value)
        if dataclasses.is_dataclass(value):
            yield from _classes([getattr(value, field.name) for field in dataclasses.fields(value)])
