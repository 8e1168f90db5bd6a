"""What a store holds, looked at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from overparam.lab.blobs import Entry
from overparam.lab.store import DAMAGED, KINDS, NUMBERS, Store


class Result(NamedTuple):
    """The address of a result: ``steps``, ``probes`` or ``failures``, and its fingerprint."""

    kind: str
    fingerprint: str


class Inventory:
    """The results of a store as they were when this was made.

    Args:
        store: looked at once; what is written or deleted later is not seen.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keys = {key for kind in KINDS for key in store.blobs.list(f"{kind}/")}

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The size of each key and when it was written, looked at when this is asked for first."""
        return {key: entry for kind in KINDS for key, entry in self.store.blobs.entries(f"{kind}/").items()}

    @cached_property
    def results(self) -> dict[Result, list[str]]:
        """The keys of all that is stored of each result, whole, damaged or half written."""
        found: dict[Result, list[str]] = {}
        for key in self.keys:
            kind, _, name = key.split("/", 2)
            found.setdefault(Result(kind, name.partition(".")[0]), []).append(key)
        return found

    def has(self, kind: str, fingerprint: str) -> bool:
        """Tell whether there is a result that has not been found damaged; see :meth:`Store.has`."""
        start = f"{kind}/{fingerprint[:2]}/{fingerprint}"
        return f"{start}{NUMBERS}" in self.keys and f"{start}{DAMAGED}" not in self.keys

    def bytes(self, results: Iterable[Result]) -> int:
        """Return how many bytes are stored of these results."""
        return sum(
            self.entries[key].bytes for result in results for key in self.results.get(result, ()) if key in self.entries
        )
