"""The rows of a study's table as they are planned: coordinates in numbers and words, and what is to be found there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from overparam.lab.experiment import Experiment, retraining_of
from overparam.lab.readable import cell
from overparam.prune import CRITERIA
from overparam.steps import Prune
from overparam.worlds import load_dataset

if TYPE_CHECKING:
    from overparam.lab.plan import Plan


def table_rows(experiments: Sequence[Experiment], planned: Plan) -> list[dict[str, Any]]:
    """Return for each row its coordinates, the fingerprint of its step (``node``) and those of its measurements."""
    about = [_about(experiment) for experiment in experiments]
    return [
        {
            "variant": experiments[row.experiment].variant,
            "seed": experiments[row.experiment].seed,
            "coordinates": {path: cell(value) for path, value in experiments[row.experiment].coordinates.items()},
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


def _about(experiment: Experiment) -> dict[str, Any]:
    """Return the columns that describe an experiment whatever it was swept over."""
    steps = list(experiment.chain.flat())
    data = experiment.world.build()
    noise = experiment.world.label_noise
    criteria = [step.criterion for step in steps if isinstance(step, Prune)]
    dataset = experiment.world.dataset
    return {
        "dataset": dataset if isinstance(dataset, str) else load_dataset(dataset).name,
        "noise_rate": noise.rate if noise else 0.0,
        "noise_realised": data.noise_realised,
        "criterion": CRITERIA.label(criteria[0]) if criteria else "none",
        "retraining": retraining_of(steps),
    }
