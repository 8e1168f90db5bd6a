"""What a study would run and what of it a store has, in words, for ``overparam check``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from overparam.errors import StoreError, counted
from overparam.lab.plan import Plan
from overparam.lab.status import status, verify_all
from overparam.lab.store import Store
from overparam.steps.prune import left_out


def study_lines(name: str, chains: int, plan: Plan) -> Iterator[str]:
    """Yield sentences on what a study would run."""
    trainings = sum(node.trains for node in plan.nodes.values())
    yield (
        f"{name}: {counted(chains, 'chain')}, {counted(len(plan.steps), 'different step')} "
        f"({counted(trainings, 'training')}), {counted(len(plan.rows), 'row')}, "
        f"{counted(len(plan.measurements), 'measurement')}"
    )
    for place, world in enumerate(plan.worlds):
        built = world.build()
        noise = f", {built.noise_realised:.1%} wrong labels" if built.noise_realised else ""
        yield (
            f"world {place + 1}: {built.train.epoch} training and {built.test.epoch} test examples, "
            f"{built.task}, shape {tuple(built.input_shape)}{noise}"
        )
    yield from (f"note: {note}" for note in plan.notes())
    yield from _network_lines(plan)


def _network_lines(plan: Plan) -> Iterator[str]:
    """Yield for each network what pruning leaves out of it."""
    inits = {(n.network, n.world): n for n in plan.nodes.values() if n.part is None}
    for node in inits.values():
        built = plan.worlds[node.world].build()
        module = plan.networks[node.network].build(**built.form, seed=node.seed)
        parts = [other.part for other in plan.nodes.values() if other.network == node.network]
        if told := left_out(module, parts):
            yield f"network {plan.networks[node.network].label}: {told}"


def stored_lines(plan: Plan, store: Store, verify: bool) -> tuple[list[str], bool]:
    """Return sentences on what ``store`` has of a plan, and whether it is all as it was written.

    With ``verify`` every byte is read, and what is damaged is marked as such, so that a run computes it again.
    """
    found = status(plan, store, verify)
    lines = [
        f"store {store.root}: {len(found.done & plan.steps.keys())} of {counted(len(plan.steps), 'step')} and "
        f"{len(found.done & plan.measurements.keys())} of "
        f"{counted(len(plan.measurements), 'measurement')} are there{_as_written(verify and not found.damaged)}"
    ]
    lines += [
        f"failed before: {plan.nodes[name].name}: {reason} (--retry-failed runs it again)"
        for name, reason in found.failures.items()
    ]
    damage = [*store.notes, *_damage_lines(store, found.damaged, verify)]
    return [*lines, *damage], not damage


def verified_lines(store: Store) -> tuple[list[str], bool]:
    """Return sentences on all that is in ``store``, which is read byte by byte, and whether it is as it was written."""
    whole, damaged, records = verify_all(store)
    damage = [*store.notes, *records, *_damage_lines(store, damaged, mark=True)]
    lines = [f"store {store.root}: {counted(whole, 'result')} there{_as_written(not damage)}"]
    return [*lines, *damage], not damage


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
                return
