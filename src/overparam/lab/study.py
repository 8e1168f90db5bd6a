"""The study: a chain swept over values, with probes."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from overparam.errors import SpecError
from overparam.lab.chain import Chain, Repeat
from overparam.lab.dialect import dump_yaml, parse_yaml
from overparam.lab.experiment import Experiment, experiments, retraining_of, with_value
from overparam.lab.plan import Plan, plan
from overparam.lab.progress import Reporter
from overparam.lab.results import Results, load_results
from overparam.lab.run import Summary, execute
from overparam.lab.store import DamagedError, Store, read_sealed, write_sealed
from overparam.probes import PROBES, Probe
from overparam.registry import suggest
from overparam.spec import field_names, native, plain
from overparam.steps import STEPS, Prune, Step
from overparam.train.engines import check_engine

FIELDS = ("name", "description", "world", "network", "chain", "seed", "sweep", "variants", "probes", "engine")
DEFAULT_PROBES = ("accuracy", "learning-distance", "density", "cost")


class Study:
    """A chain of steps in a world, swept over values, watched by probes.

    Args:
        name: letters, digits, ``.``, ``_`` and ``-``; the results are found under it.
        world: a :class:`~overparam.worlds.World`, its fields as a mapping, or a dataset's name.
        network: a registered name, an import path, a callable that returns a module, a
            :class:`~overparam.networks.Network`, or a mapping ``{name, init, **options}``.
        chain: a :class:`~overparam.lab.Chain`, or a list as in a study file.
        seed: of all streams but those of the world, which has a seed of its own.
        sweep: values by dotted path, e.g. ``{"world.label_noise.rate": [0, 0.2], "seed": range(3)}``; every
            combination is run.
        variants: named sets of changes by dotted path, e.g. ``{"random": {"prune.criterion": "random"}}``; each is
            run with every combination of the sweep.
        probes: names or probe objects; measured on every trained checkpoint.
        engine: what trainings compute with: ``auto``, ``dense`` or ``sparse``. No result depends on it but for the
            rounding of sums, so results are found in the store whatever engine made them.
        settings: the settings of steps by name, which bare steps in ``chain`` take, e.g. ``train={...}``.

    Raises:
        SpecError: anything above is wrong; the message names it.
    """

    def __init__(
        self,
        name: str,
        world: Any,
        network: Any,
        chain: Any,
        *,
        seed: int = 0,
        sweep: Mapping[str, Any] | None = None,
        variants: Mapping[str, Any] | None = None,
        probes: Sequence[str | Mapping[str, Any] | Probe] = DEFAULT_PROBES,
        engine: str = "auto",
        description: str = "",
        **settings: Mapping[str, Any],
    ) -> None:
        self.name = _study_name(name)
        if not isinstance(description, str):
            raise SpecError(f"description must be text, got {description!r}")
        self.description = description
        self.engine = check_engine(engine)
        for step, given in settings.items():
            key = step.replace("_", "-")
            if key not in STEPS:
                allowed = [*FIELDS, *STEPS]
                raise SpecError(f"study has no field {step!r}{suggest(step, allowed)} (known: {', '.join(allowed)})")
            if not isinstance(given, Mapping):
                raise SpecError(f"{step} must be a mapping of settings, got {given!r}")
            known = field_names(STEPS.get(key))
            for name in given:
                if name not in known:
                    listed = ", ".join(known)
                    raise SpecError(f"{key}: no such field {name!r}{suggest(str(name), known)} (known: {listed})")
        self.document = {
            **{step.replace("_", "-"): dict(given) for step, given in settings.items()},
            "world": world,
            "network": network,
            "chain": chain,
            "seed": native(seed),
        }
        self.sweep = _sweep(sweep)
        self.variants = _variants(variants)
        self.probes = _probes(probes)

    @classmethod
    def from_mapping(cls, given: Any, source: str = "study") -> Study:
        """Make a study from what a study file holds."""
        if not isinstance(given, Mapping):
            raise SpecError(f"{source} must hold a mapping with the fields {', '.join(FIELDS)}, got {given!r}")
        allowed = [*FIELDS, *STEPS]
        for key in given:
            if key not in allowed:
                raise SpecError(
                    f"{source}: no such field {key!r}{suggest(str(key), allowed)} (known: {', '.join(allowed)})"
                )
        missing = [key for key in ("name", "world", "network", "chain") if given.get(key) is None]
        if missing:
            raise SpecError(f"{source}: {missing[0]} is required")
        fields = {key: value for key, value in given.items() if value is not None}
        return cls(**fields)

    @classmethod
    def from_file(cls, path: str | Path) -> Study:
        """Read a study from a YAML file; raises :class:`SpecError` naming the file and the place."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise SpecError(f"study file {str(path)!r} cannot be read ({why})") from None
        return cls.from_mapping(parse_yaml(text, str(path)), str(path))

    @classmethod
    def named(cls, name: str) -> Study:
        """Return a study that comes with overparam; raises :class:`SpecError` listing them."""
        known = built_in_studies()
        if name not in known:
            raise SpecError(
                f"no study {name!r}{suggest(name, known)}: give the path of a YAML file, or one of {', '.join(known)}"
            )
        return cls.from_mapping(parse_yaml(known[name], name), name)

    def with_changes(
        self, changes: Mapping[str, Any] | None = None, sweep: Mapping[str, Sequence[Any]] | None = None
    ) -> Study:
        """Return this study with values set by dotted path, and with further sweeps (the same path replaces)."""
        document = dict(self.document)
        for path, value in (changes or {}).items():
            document = with_value(document, path, value)
        kept = {path: values for path, values in self.sweep.items() if path not in (changes or {})}
        made = object.__new__(Study)
        made.name, made.description, made.document = self.name, self.description, document
        made.sweep = {**kept, **_sweep(sweep)}
        made.variants, made.probes, made.engine = self.variants, self.probes, self.engine
        return made

    @cached_property
    def experiments(self) -> list[Experiment]:
        """One experiment for each variant and combination of swept values."""
        return experiments(self.document, self.variants, self.sweep)

    @property
    def plan(self) -> Plan:
        """Every step and measurement of the study, each once; made anew each time: a user's code may have changed."""
        return plan(self.experiments, self.probes)

    def run(
        self,
        store: str | Path | Store = "runs",
        *,
        jobs: int | None = None,
        threads: int | None = None,
        engine: str | None = None,
        reporter: Reporter | None = None,
        retry_failed: bool = False,
    ) -> Results:
        """Compute what the store lacks and return the results; running again is resuming.

        Args: see :func:`overparam.lab.run.execute`; ``engine`` None means the study's own.
        """
        for option, value in (("jobs", jobs), ("threads", threads)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise SpecError(f"{option} must be a whole number, 1 or more, got {value!r}")
        chosen = self.engine if engine is None else check_engine(engine)
        opened = store if isinstance(store, Store) else Store(store)
        began = time.perf_counter()
        planned = self.plan
        opened.notes += self._lost_record(opened, planned)
        opened.notes += planned.notes()
        self._record(opened, planned, Summary(), "under way, or stopped")
        summary = execute(
            planned,
            opened,
            jobs=jobs,
            threads=threads,
            engine=chosen,
            reporter=reporter,
            retry_failed=retry_failed,
        )
        spent = time.perf_counter() - began
        line = f"{summary.ran} steps run and {summary.found} found in the store, in {spent:.1f} s"
        self._record(opened, planned, summary, line)
        return load_results(opened, self.name, summary.notes)

    def _lost_record(self, store: Store, planned: Plan) -> list[str]:
        """Return a sentence if the study's record in the store is damaged, or may have been deleted."""
        path = store.study(self.name)
        try:
            if path.exists():
                read_sealed(path)
                return []
        except DamagedError as damage:
            return [f"{damage}; it has been written anew"]
        found = sum(store.has("steps", name) for name in planned.nodes)
        return [f"{path} was not there though {found} of the study's steps are; it has been written"] if found else []

    def _record(self, store: Store, planned: Plan, summary: Summary, line: str) -> None:
        about = [_about(experiment) for experiment in self.experiments]
        rows = [
            {
                "variant": self.experiments[row.experiment].variant,
                "seed": self.experiments[row.experiment].seed,
                "coordinates": {p: _cell(v) for p, v in self.experiments[row.experiment].coordinates.items()},
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
        failures = [
            (f"{planned.nodes[name].title}, seed {planned.nodes[name].seed}", reason)
            for name, reason in summary.failures.items()
        ]
        write_sealed(
            store.study(self.name),
            {"name": self.name, "spec": self.yaml(), "rows": rows, "failures": failures, "run": line},
        )

    def yaml(self) -> str:
        """Return the study as YAML; objects that YAML cannot hold are described."""
        document = {
            "name": self.name,
            **({"description": self.description} if self.description else {}),
            **{key: _readable(value) for key, value in self.document.items()},
            **({"sweep": _readable(self.sweep)} if self.sweep else {}),
            **({"variants": _readable(self.variants)} if self.variants else {}),
            "probes": [
                probe.kind if not probe.parameters() else {probe.kind: plain(probe.parameters())}
                for probe in self.probes
            ],
            **({"engine": self.engine} if self.engine != "auto" else {}),
        }
        return dump_yaml(document)


def built_in_studies() -> dict[str, str]:
    """Return the YAML texts of the studies that come with overparam, by name."""
    found = {}
    for paper in sorted(resources.files("overparam.papers").iterdir(), key=lambda p: p.name):
        if paper.is_dir():
            for file in sorted(paper.iterdir(), key=lambda p: p.name):
                if file.name.endswith(".yaml"):
                    text = file.read_text(encoding="utf-8")
                    found[parse_yaml(text, file.name)["name"]] = text
    return found


def _study_name(name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise SpecError(f"name must be letters, digits, '.', '_' and '-', at most 100, got {name!r}")
    return name


def _values(path: str, values: Any) -> list[Any]:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, str | Mapping) or not isinstance(values, Sequence) or not values:
        raise SpecError(f"sweep.{path} must be a list of at least one value, got {values!r}")
    listed = [native(value) for value in values]
    doubled = [value for place, value in enumerate(listed) if value in listed[:place]]
    if doubled:
        raise SpecError(f"sweep.{path} has {doubled[0]!r} twice")
    return listed


def _sweep(given: Any) -> dict[str, list[Any]]:
    if not isinstance(given or {}, Mapping):
        raise SpecError(f"sweep must map dotted paths to lists of values, got {given!r}")
    return {str(path): _values(path, values) for path, values in (given or {}).items()}


def _variants(given: Any) -> dict[str, dict[str, Any]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not given:
        raise SpecError(f"variants must map names to changes by dotted path, got {given!r}")
    for name, changes in given.items():
        if changes is not None and not isinstance(changes, Mapping):
            raise SpecError(f"variants.{name} must be a mapping of dotted paths to values, got {changes!r}")
    return {str(name): {str(path): value for path, value in (changes or {}).items()} for name, changes in given.items()}


def _probes(given: Any) -> tuple[Probe, ...]:
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise SpecError(f"probes must be a list such as [accuracy, cost], got {given!r}")
    probes = tuple(_probe(each) for each in given)
    kinds = [probe.kind for probe in probes]
    doubled = [kind for place, kind in enumerate(kinds) if kind in kinds[:place]]
    if doubled:
        raise SpecError(f"probes has {doubled[0]!r} twice; its columns would have two meanings")
    return probes


def _probe(given: Any) -> Probe:
    if isinstance(given, Probe):
        return given
    if isinstance(given, str):
        return PROBES.get(given)()
    if isinstance(given, Mapping) and len(given) == 1:
        ((name, fields),) = given.items()
        if not isinstance(fields or {}, Mapping):
            raise SpecError(f"probe {name} takes a mapping of its fields, got {fields!r}")
        return PROBES.get(str(name))(**{str(key): value for key, value in (fields or {}).items()})
    raise SpecError(f"a probe must be a name or a mapping with one name, got {given!r}")


def _about(experiment: Experiment) -> dict[str, Any]:
    """Return the columns that describe an experiment whatever it was swept over."""
    steps = list(experiment.chain.flat())
    data = experiment.world.build()
    noise = experiment.world.label_noise
    criteria = [step.criterion for step in steps if isinstance(step, Prune)]
    dataset = experiment.world.dataset
    return {
        "dataset": dataset if isinstance(dataset, str) else str(getattr(dataset, "name", _cell(dataset))),
        "noise_rate": noise.rate if noise else 0.0,
        "noise_realised": data.noise_realised,
        "criterion": _named(criteria[0]) if criteria else "none",
        "retraining": retraining_of(steps),
    }


def _named(thing: Any) -> str:
    return thing if isinstance(thing, str) else str(getattr(thing, "__name__", type(thing).__name__))


def _cell(value: Any) -> Any:
    """Return a value as a table can hold it."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(_readable(value))


def _readable(value: Any) -> Any:
    """Return ``value`` as YAML can show it; what only Python can hold is described."""
    value = native(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Chain):
        return [_readable(step) for step in value.steps]
    if isinstance(value, Repeat):
        return {"repeat": value.times, "steps": [_readable(step) for step in value.steps]}
    if isinstance(value, Step):
        changed = {
            key: _readable(entry)
            for key in field_names(type(value))
            if (entry := getattr(value, key)) is not None and entry != ()
        }
        return {value.kind: changed}
    if isinstance(value, Mapping):
        return {str(key): _readable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [_readable(entry) for entry in value]
    if hasattr(value, "plain"):
        return value.plain()
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {name: _readable(getattr(value, name)) for name in value.__dataclass_fields__} or type(value).__name__
    return getattr(value, "__qualname__", None) or f"a {type(value).__name__}"
