"""The rows of a study's table as they are planned: coordinates in numbers and words, and what is to be found there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from overparam.lab.experiment import Experiment
from overparam.lab.readable import cell
from overparam.steps.traits import traits_of

if TYPE_CHECKING:
    from overparam.lab.plan import Plan


def table_rows(experiments: Sequence[Experiment], planned: Plan) -> list[dict[str, Any]]:
    """Return for each row its coordinates, the fingerprint of its step (``node``) and those of its measurements."""
    paths = dict.fromkeys(path for each in experiments for path in each.coordinates)
    about = [{**each.world.traits(), **traits_of(list(each.chain.flat()), each.begins)} for each in experiments]
    return [
        {
            "variant": experiments[row.experiment].variant,
            "seed": experiments[row.experiment].seed,
            "coordinates": {path: cell(experiments[row.experiment].coordinates.get(path)) for path in paths},
            "chain": row.experiment,
            "level": row.level,
            "step": row.step,
            "kind": row.kind,
            "node": row.node,
            "measurements": list(row.measurements),
            "about": about[row.experiment],
        }
        for row in planned.rows
    ]
