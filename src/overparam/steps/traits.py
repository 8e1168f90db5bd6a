"""What tells chains apart whatever they were swept over: columns of a study's table, decided by their steps."""

from __future__ import annotations

from collections.abc import Sequence

from overparam.steps.base import Step

USUAL = {"criterion": "none", "retraining": "none"}  # of a chain in which no step decides them


def traits_of(steps: Sequence[Step], begins: int = 0) -> dict[str, str]:
    """Return the traits of a chain; one that trains on after its first level, and says no more, is finetuned.

    Of a branch, which ``begins`` after so many steps of its trunk, its own steps decide first.

    >>> from overparam.steps import Prune, Rewind, Train
    >>> traits_of([Train(epochs=1), Prune(fraction=0.5), Rewind(), Train(epochs=1)])
    {'criterion': 'magnitude', 'retraining': 'rewind'}
    """
    start = next((place for place, step in enumerate(steps) if step.next_level), len(steps))
    own = max(start, begins)
    return {**USUAL, **_decided(steps[start:own]), **_decided(steps[own:])}


def _decided(steps: Sequence[Step]) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in steps:
        found = {**step.traits(), **found}
    if any(step.trains for step in steps):
        found.setdefault("retraining", "finetune")
    return found
