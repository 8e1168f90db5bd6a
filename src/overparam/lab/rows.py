"""The rows of a study's table as they are planned: coordinates in numbers and words, and what is to be found there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from overparam.lab.chain import Chain, Repeat
from overparam.lab.experiment import Experiment, retraining_of
from overparam.probes import Probe
from overparam.prune import CRITERIA
from overparam.spec import field_names, native
from overparam.steps import STEPS, Prune, Step
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


def cell(value: Any) -> Any:
    """Return a value as a table can hold it."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(readable(value))


def readable(value: Any) -> Any:
    """Return ``value`` as YAML can show it; what only Python can hold is described."""
    value = native(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Chain):
        return [readable(step) for step in value.steps]
    if isinstance(value, Repeat):
        return {"repeat": value.times, "steps": [readable(step) for step in value.steps]}
    if isinstance(value, Step):
        known = value.name in STEPS.names()
        fields = [key for key in field_names(type(value)) if not (known and key == "called")]
        changed = {key: readable(entry) for key in fields if (entry := getattr(value, key)) is not None and entry != ()}
        return {value.name if known else value.kind: changed}
    if isinstance(value, Probe):
        return {value.kind: readable(value.parameters())}
    if isinstance(value, Mapping):
        return {str(key): readable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [readable(entry) for entry in value]
    if hasattr(value, "plain"):
        return value.plain()
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {name: readable(getattr(value, name)) for name in value.__dataclass_fields__} or type(value).__name__
    return getattr(value, "__qualname__", None) or f"a {type(value).__name__}"
