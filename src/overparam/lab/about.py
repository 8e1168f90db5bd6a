"""What a study says of itself beside what it computes: its axis, its paper, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from overparam.errors import SpecError, suggest, within
from overparam.lab.record import stated_columns
from overparam.papers import check_paper

if TYPE_CHECKING:
    from overparam.probes import Probe
    from overparam.worlds import World

EDITIONS = ("laptop", "paper")


@dataclass(frozen=True)
class About:
    """What decides no result; two studies that differ in this alone share theirs.

    Attributes:
        axis: the column that tables and charts are over.
        paper: the paper whose sections and claims the study has; empty: none.
        edition: ``laptop``, or ``paper`` for what is longer than the paper's share of a night.
        laptop_minutes: how long it takes on two cores; None: not said.
    """

    axis: str = "density"
    paper: str = ""
    edition: str = "laptop"
    laptop_minutes: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return the fields that say something."""
        usual = asdict(About())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}


def check_about(
    axis: Any,
    paper: Any,
    edition: Any,
    laptop_minutes: Any,
    swept: Mapping[str, Sequence[Any]],
    probes: Sequence[Probe],
    worlds: Callable[[], Sequence[World]],
) -> About:
    """Return what a study says of itself; raises :class:`SpecError` if it cannot be so.

    ``worlds`` are asked for only where an axis must be looked for among what is measured in them.
    """
    if edition not in EDITIONS:
        said = f"edition must be laptop or paper, got {edition!r}{suggest(str(edition), EDITIONS)}"
        raise SpecError(said, ("edition",))
    over = _axis(axis, swept, probes, worlds)
    with within("paper"):
        of = check_paper(paper)
    with within("laptop_minutes"):
        return About(over, of, edition, _minutes(laptop_minutes))


def _axis(
    name: Any, swept: Mapping[str, Sequence[Any]], probes: Sequence[Probe], worlds: Callable[[], Sequence[World]]
) -> str:
    if name == "density":
        return "density"
    from overparam.report.axis import check_axis, is_simple

    if is_simple(name, swept):
        with within("axis"):
            return check_axis(name, swept, {}, False)
    there = worlds()
    open_ended = any(not probe.columns_in(world) for probe in probes for world in there)
    with within("axis"):
        return check_axis(name, swept, stated_columns(probes, there), open_ended)


def _minutes(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < float("inf"):
        raise SpecError(f"laptop_minutes must be a number of minutes above 0, got {given!r}")
    return given
