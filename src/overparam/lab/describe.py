"""What a study would run and what of it a store has, as facts and in words, for ``overparam check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from overparam.errors import StoreError, counted
from overparam.lab.plan import Plan
from overparam.lab.status import status, verify_all
from overparam.lab.store import Store
from overparam.steps.prune import left_out
from overparam.worlds import World

Facts = dict[str, Any]
"""What JSON can hold, by name."""


def study_facts(name: str, chains: int, plan: Plan) -> Facts:
    """Return what a study would run."""
    return {
        "study": name,
        "chains": chains,
        "steps": len(plan.steps),
        "trainings": sum(node.trains for node in plan.nodes.values()),
        "rows": len(plan.rows),
        "measurements": len(plan.measurements),
        "worlds": [_world_facts(world) for world in plan.worlds],
        "notes": plan.notes(),
        "left_out": list(_left_out(plan)),
    }


def study_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences on what a study would run."""
    yield (
        f"{facts['study']}: {counted(facts['chains'], 'chain')}, {counted(facts['steps'], 'different step')} "
        f"({counted(facts['trainings'], 'training')}), {counted(facts['rows'], 'row')}, "
        f"{counted(facts['measurements'], 'measurement')}"
    )
    for place, world in enumerate(facts["worlds"], 1):
        noise = f", {world['wrong_labels']:.1%} wrong labels" if world["wrong_labels"] else ""
        yield (
            f"world {place}: {world['training_examples']} training and {world['test_examples']} test examples, "
            f"{world['task']}, shape {tuple(world['shape'])}{noise}"
        )
    yield from (f"note: {note}" for note in facts["notes"])
    yield from facts["left_out"]


def _world_facts(world: World) -> Facts:
    built = world.build()
    return {
        "training_examples": built.train.epoch,
        "test_examples": built.test.epoch,
        "task": str(built.task),
        "shape": list(built.input_shape),
        "wrong_labels": built.noise_realised,
    }


def _left_out(plan: Plan) -> Iterator[str]:
    """Yield for each network what pruning leaves out of it."""
    inits = {(n.network, n.world): n for n in plan.nodes.values() if n.part is None}
    for node in inits.values():
        built = plan.worlds[node.world].build()
        module = plan.networks[node.network].build(**built.form, seed=node.seed)
        parts = [other.part for other in plan.nodes.values() if other.network == node.network]
        if told := left_out(module, parts):
            yield f"network {plan.networks[node.network].label}: {told}"


def stored_facts(plan: Plan, store: Store, verify: bool) -> Facts:
    """Return what ``store`` has of a plan.

    With ``verify`` every byte is read, and what is damaged is marked as such, so that a run computes it again.
    """
    found = status(plan, store, verify)
    damage = [*store.notes, *_damage_lines(store, found.damaged, verify)]
    return {
        "store": str(store.root),
        "steps_there": len(found.done & plan.steps.keys()),
        "measurements_there": len(found.done & plan.measurements.keys()),
        "failed": [{"step": plan.nodes[name].name, "reason": reason} for name, reason in found.failures.items()],
        "damage": damage,
        "verified": verify and not damage,
    }


def stored_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return sentences on what a store has of a study, whose own facts are there, too."""
    there = (
        f"store {facts['store']}: {facts['steps_there']} of {counted(facts['steps'], 'step')} and "
        f"{facts['measurements_there']} of {counted(facts['measurements'], 'measurement')} are there"
    )
    failed = [f"failed before: {f['step']}: {f['reason']} (--retry-failed runs it again)" for f in facts["failed"]]
    return [there + _as_written(facts["verified"]), *failed, *facts["damage"]]


def verified_facts(store: Store) -> Facts:
    """Return how much is in ``store``, which is read byte by byte, and what of it is not as it was written."""
    whole, damaged, records = verify_all(store)
    damage = [*store.notes, *records, *_damage_lines(store, damaged, mark=True)]
    return {"store": str(store.root), "results": whole, "damage": damage, "verified": not damage}


def verified_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return sentences on all that is in a store."""
    there = f"store {facts['store']}: {counted(facts['results'], 'result')} there{_as_written(facts['verified'])}"
    return [there, *facts["damage"]]


def _as_written(sure: bool) -> str:
    return ", every byte as it was written" if sure else ""


def _damage_lines(store: Store, damaged: Sequence[tuple[str, str, str]], mark: bool) -> Iterator[str]:
    for kind, fingerprint, what in damaged:
        yield f"{what}; a run computes it again"
        if mark:
            try:
                store.mark_damaged(kind, fingerprint, what)
            except StoreError as error:
                yield f"it could not be marked as damaged: {error}"
