"""Reversed: another criterion turned round, a control."""

from __future__ import annotations

from typing import Annotated, Any

from overparam.networks.units import Group
from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.evidence import Evidence
from overparam.spec import spec


@CRITERIA.named("reversed")
@spec
class Reversed:
    """The scores of another criterion times -1: what it would keep goes first; a control.

    With magnitudes and pattern ``units`` it is the largest-norm control of Li et al., ICLR 2017,
    https://arxiv.org/abs/1608.08710.

    Args:
        criterion: the criterion that is turned round.

    Example:
        {reversed: {criterion: gradient}}
    """

    criterion: Annotated[Any, CRITERIA] = "magnitude"

    def references(self) -> tuple[str, ...]:
        """Return what the criterion looks at."""
        return tuple(getattr(CRITERIA.resolve(self.criterion), "references", tuple)())

    def __call__(self, seen: Evidence) -> Scores:
        """Return minus the criterion's scores; raises :class:`SpecError` if it gives new values."""
        found = Scores.of(CRITERIA.resolve(self.criterion)(seen))
        units = found.units
        if found.values is not None:
            found.alone()

        def opposite(group: Group) -> float:
            assert units is not None
            return -units(group)

        return Scores({name: -each for name, each in found.scores.items()}, units=opposite if units else None)
