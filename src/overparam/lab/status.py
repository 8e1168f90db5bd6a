"""What of a plan, or of anything, a store has, and whether it is as it was written."""

from __future__ import annotations

from dataclasses import dataclass, field

from overparam.lab.plan import Plan
from overparam.lab.record import records, studies
from overparam.lab.store import KINDS, DamagedError, Store


@dataclass
class Status:
    """What is in a store: fingerprints of whole results, recorded failures, damage found.

    ``damaged`` has kind, fingerprint and what is wrong.
    """

    done: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    damaged: list[tuple[str, str, str]] = field(default_factory=list)


def status(plan: Plan, store: Store, verify: bool = False) -> Status:
    """Check the numbers of every result of ``plan`` that the store has, and its weights if ``verify``; changes nothing.

    Weights are checked whenever they are read, so a run has no need to read those that it does not use.
    """
    found = Status()
    for name, node in plan.nodes.items():
        if _is_whole(store, node.kind, name, verify, found.damaged):
            found.done.add(name)
        elif node.kind == "steps" and _is_whole(store, "failures", name, verify, found.damaged):
            found.failures[name] = store.numbers("failures", name)["reason"]
    return found


def _is_whole(store: Store, kind: str, fingerprint: str, verify: bool, damaged: list[tuple[str, str, str]]) -> bool:
    """Tell whether ``store`` has a result; one that is damaged is added to ``damaged``."""
    try:
        return store.verify(kind, fingerprint, weights=verify)
    except DamagedError as damage:
        damaged.append((kind, fingerprint, str(damage)))
        return False


def verify_all(store: Store) -> tuple[int, list[tuple[str, str, str]], list[str]]:
    """Check every byte of a store: return how many results are whole, those damaged, and sentences on records."""
    damaged: list[tuple[str, str, str]] = []
    whole = sum(_is_whole(store, kind, name, True, damaged) for kind in KINDS for name in store.fingerprints(kind))
    return whole, damaged, [sentence for name in studies(store) for sentence in records(store, name)[1]]
