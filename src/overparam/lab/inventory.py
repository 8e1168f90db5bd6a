"""What a store holds, looked at once."""

from __future__ import annotations

import array
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from overparam.lab.store import KINDS, Store


class Result(NamedTuple):
    """The address of a result: ``steps``, ``probes`` or ``failures``, and its fingerprint."""

    kind: str
    fingerprint: str


class Inventory:
    """The results of a store as they were when this was made.

    Args:
        store: looked at once; what is written or deleted later is not seen.

    Attributes:
        entries: every key of a result, with its size and when it was written.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.entries = {key: entry for kind in KINDS for key, entry in store.blobs.entries(f"{kind}/").items()}

    @cached_property
    def sizes(self) -> dict[Result, int]:
        """The bytes of all that is stored of each result, whole, damaged or half written."""
        found: dict[Result, int] = {}
        for key, entry in self.entries.items():
            kind, _, name = key.split("/", 2)
            result = Result(kind, name.partition(".")[0])
            found[result] = found.get(result, 0) + entry.bytes
        return found

    @cached_property
    def whole(self) -> dict[str, set[str]]:
        """The fingerprints of the results of each kind that have not been found damaged."""
        found: dict[str, set[str]] = {kind: set() for kind in KINDS}
        damaged: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for key in self.entries:
            name, _, end = key.rpartition(".")
            into = found if end == "json" else damaged if end == "damaged" else None
            if into is not None:
                into[key.partition("/")[0]].add(name.rpartition("/")[2])
        return {kind: found[kind] - damaged[kind] for kind in KINDS}

    def has(self, kind: str, fingerprint: str) -> bool:
        """Tell whether there is a result that has not been found damaged; see :meth:`Store.has`."""
        return fingerprint in self.whole[kind]

    def state(self, kind: str, fingerprints: Iterable[str]) -> bytes:
        """Return size and time of the numbers of results, in this order, as bytes; of those not there -1."""
        whole, key = self.whole[kind], self.store.key
        told = array.array("q")
        for name in fingerprints:
            told.extend(self.entries[key(kind, name)] if name in whole else (-1, -1))
        return told.tobytes()

    def bytes(self, results: Iterable[Result]) -> int:
        """Return how many bytes are stored of these results."""
        return sum(self.sizes.get(result, 0) for result in results)
