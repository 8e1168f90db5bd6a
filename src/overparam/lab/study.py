"""The study: a chain swept over values, with probes."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from overparam.errors import IncompleteWarning, RunError, SpecError, StoreError, warn
from overparam.files import why
from overparam.lab.about import check_about
from overparam.lab.dialect import dump_yaml, parse_yaml
from overparam.lab.experiment import Experiment, experiments, with_value
from overparam.lab.plan import Plan
from overparam.lab.planner import plan
from overparam.lab.progress import Reporter
from overparam.lab.record import Record, listed, lost, records, stated_columns
from overparam.lab.results import Results, load_results
from overparam.lab.rows import readable, table_rows
from overparam.lab.run import Summary, execute
from overparam.lab.store import Store
from overparam.probes import PROBES, Probe
from overparam.registry import suggest
from overparam.spec import check_field, native
from overparam.steps import STEPS
from overparam.train.engines import check_engine
from overparam.worlds import World

FIELDS = (
    *("name", "description", "world", "network", "chain", "seed", "sweep", "variants", "probes", "engine"),
    *("axis", "paper", "edition", "laptop_minutes"),
)
LARGEST = 1_000_000  # bytes of a study file
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
        axis: what tables and charts are over: a swept path such as ``network.width`` (or its last part), or a
            measured column. Where it is ``density`` and nothing is pruned, it is what varies.
        paper: the paper whose sections the report has and whose claims are judged, e.g. ``sparse-double-descent``.
        edition, laptop_minutes: of a paper's study: ``laptop``, or ``paper`` if it is longer than the paper's share of
            a night; and its minutes on two cores.
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
        axis: str = "density",
        paper: str = "",
        edition: str = "laptop",
        laptop_minutes: float | None = None,
        **settings: Mapping[str, Any],
    ) -> None:
        self.name = _study_name(name)
        if not isinstance(description, str):
            raise SpecError(f"description must be text, got {description!r}")
        self.description = description
        self.engine = check_engine(engine)
        for step, given in settings.items():
            if not STEPS.knows(_step_name(step)):
                allowed = [*FIELDS, *STEPS.names()]
                raise SpecError(f"study has no field {step!r}{suggest(step, allowed)} (known: {', '.join(allowed)})")
            if not isinstance(given, Mapping):
                raise SpecError(f"{step} must be a mapping of settings, got {given!r}")
            for name in given:
                check_field(STEPS.get(_step_name(step)), str(name), f"{_step_name(step)}.{name}")
        self.document = {
            **{_step_name(step): dict(given) for step, given in settings.items()},
            "world": world,
            "network": network,
            "chain": chain,
            "seed": native(seed),
        }
        self.sweep = _sweep(sweep)
        self.variants = _variants(variants)
        self.probes, self.probes_given = _probes(probes), tuple(probes)
        self.about = check_about(axis, paper, edition, laptop_minutes, self.sweep, self.probes, self._worlds)

    def _worlds(self) -> list[World]:
        return [experiment.world for experiment in self.experiments[:1]]

    @classmethod
    def from_mapping(cls, given: Any, source: str = "study") -> Study:
        """Make a study from what a study file holds."""
        if not isinstance(given, Mapping):
            raise SpecError(f"{source} must hold a mapping with the fields {', '.join(FIELDS)}, got {given!r}")
        allowed = [*FIELDS, *STEPS.names()]
        for key in given:
            if key not in allowed and ":" not in str(key):
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
            with Path(path).open("rb") as file:
                content = file.read(LARGEST + 1)
            text = content[:LARGEST].decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = why(error, path) if isinstance(error, OSError) else "it is not text in UTF-8"
            raise SpecError(f"study file {str(path)!r} cannot be read ({reason})") from None
        if len(content) > LARGEST:
            raise SpecError(f"study file {str(path)!r} cannot be a study: it has more than {LARGEST:,} bytes")
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
        made.variants, made.engine = self.variants, self.engine
        made.probes, made.probes_given = self.probes, self.probes_given
        made.about = replace(self.about, axis="density") if self.about.axis in (changes or {}) else self.about
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

        What fails stops only what depends on it, and all else is computed; Python is warned that rows are missing
        (:class:`IncompleteWarning`), which ``results.failures`` explains.

        Args: see :func:`overparam.lab.run.execute`; ``engine`` None means the study's own.

        Raises:
            RunError: there is not a single row; the error's ``results`` tell of each failure.
            StoreError, KeyboardInterrupt: see :func:`overparam.lab.run.execute`.
        """
        for option, value in (("jobs", jobs), ("threads", threads)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise SpecError(f"{option} must be a whole number, 1 or more, got {value!r}")
        chosen = self.engine if engine is None else check_engine(engine)
        opened = store if isinstance(store, Store) else Store(store)
        began = time.perf_counter()
        planned = self.plan
        record = self._record(planned)
        if loss := lost(opened, record):
            opened.notes.append(loss)
        opened.notes += planned.notes()
        record.write(opened)
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
        replace(record, failures=_failures(planned, summary), run=line).write(opened)
        results = load_results(opened, self.name, record.revision, summary.notes)
        _tell_failures(results)
        return results

    def results(self, store: str | Path | Store = "runs") -> Results:
        """Return what ``store`` has of this study as it is now; nothing is computed.

        Raises:
            StoreError: it has never been run there; other revisions of its name are named.
        """
        opened = store if isinstance(store, Store) else Store(store, reading=True)
        revision = self._record(self.plan).revision
        found, _ = records(opened, self.name)
        if found and revision not in {record.revision for record in found}:
            raise StoreError(
                f"study {self.name!r} as it is now was never run in store {str(opened.root)!r}; "
                f"run it, or name what was run ({listed(opened, found)})"
            )
        return replace(load_results(opened, self.name, revision), about=self.about)

    def _record(self, planned: Plan) -> Record:
        worlds = [planned.worlds[place] for place in sorted({m.world for m in planned.measurements.values()})]
        return Record(
            name=self.name,
            spec=self.yaml(),
            rows=table_rows(self.experiments, planned),
            about=self.about.plain(),
            columns=stated_columns(self.probes, worlds),
            layer_columns=stated_columns(self.probes),
        )

    def yaml(self) -> str:
        """Return the study as YAML; objects that YAML cannot hold are described."""
        document = {
            "name": self.name,
            **({"description": self.description} if self.description else {}),
            **{key: readable(value) for key, value in self.document.items()},
            **({"sweep": readable(self.sweep)} if self.sweep else {}),
            **({"variants": readable(self.variants)} if self.variants else {}),
            "probes": readable([PROBES.checked(given) for given in self.probes_given]),
            **({"engine": self.engine} if self.engine != "auto" else {}),
            **self.about.plain(),
        }
        return dump_yaml(document)


def _failures(planned: Plan, summary: Summary) -> list[tuple[str, str]]:
    nodes = planned.nodes
    return [(nodes[name].name, why) for name, why in summary.failures.items()]


def _tell_failures(results: Results) -> None:
    """Raise :class:`RunError` if there is no row at all, else warn if some are missing."""
    if results.complete and not results.failures:
        return
    total, more = len(results.frame) + results.missing, len(results.failures) - 1
    first = f": {results.failures[0]}" if results.failures else ""
    first += f" (and {more} more)" if more > 0 else ""
    if not len(results.frame):
        raise RunError(f"none of the {total} rows of study {results.name!r} could be computed{first}", results)
    what = f"{results.missing} of the {total} rows of study {results.name!r} are missing"
    warn(f"{what if results.missing else f'a step of study {results.name!r} failed'}{first}", IncompleteWarning)


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
    probes = tuple(PROBES.resolve(each) for each in given)
    columns = [(probe.kind, probe.suffix) for probe in probes]
    doubled = [kind for place, (kind, suffix) in enumerate(columns) if (kind, suffix) in columns[:place]]
    if doubled:
        raise SpecError(f"probes has {doubled[0]!r} twice; its columns would have two meanings")
    return probes


def _step_name(keyword: str) -> str:
    """Return the name of a step that a keyword means: ``lr_rewind`` is ``lr-rewind``."""
    return keyword if ":" in keyword else keyword.replace("_", "-")
