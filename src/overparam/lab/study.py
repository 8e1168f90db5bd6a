"""The study: a chain swept over values, with probes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from overparam.errors import SpecError, StoreError, within
from overparam.lab.about import check_about
from overparam.lab.cards import study_card
from overparam.lab.dialect import dump_yaml, parse_yaml
from overparam.lab.experiment import Experiment, experiments, with_value
from overparam.lab.inventory import Inventory
from overparam.lab.loading import opened
from overparam.lab.parsing import (
    fields_of,
    probes_from,
    settings_from,
    sweep_from,
    variants_from,
)
from overparam.lab.plan import Plan
from overparam.lab.planner import plan
from overparam.lab.progress import Reporter
from overparam.lab.readable import readable
from overparam.lab.record import Record, listed, records, stated_columns
from overparam.lab.rehearsal import rehearse
from overparam.lab.repository import made_by
from overparam.lab.results import Results, load_results
from overparam.lab.rows import table_rows
from overparam.lab.running import run_study
from overparam.lab.showing import reporter_for
from overparam.lab.source import NO_FILE, Source
from overparam.lab.store import Store
from overparam.lab.study_files import built_in_studies, study_name, text_of
from overparam.probes import PROBES, Probe
from overparam.registry import suggest
from overparam.spec import native
from overparam.train.engines import check_engine
from overparam.train.place import check_device
from overparam.worlds import World

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
            run with every combination of the sweep. ``sweep`` among the changes is the variant's own: values in place
            of the study's, path by path, or None where it is not swept, as for an arm that prunes step by step.
        probes: names or probe objects; measured on every trained checkpoint, and where the chain says ``measure``.
        engine: what trainings compute with: ``auto``, ``dense`` or ``sparse``. No result depends on it but for the
            rounding of sums, so results are found in the store whatever engine made them.
        device: where trainings and measurements compute: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` (a CUDA
            card if there is one); results are found in the store wherever they were made.
        description: what it is, in a sentence or two, for lists and the report.
        axis: what tables and charts are over: a swept path such as ``network.width`` (or its last part), or a
            measured column. Where it is ``density`` and nothing is pruned, it is what varies.
        paper: the paper whose sections the report has and whose claims are judged, e.g. ``sparse-double-descent``.
        edition, laptop_minutes: of a paper's study: ``laptop``, or ``paper`` if it is longer than the paper's share of
            a night; and its minutes on two cores.
        settings: the settings of steps by name, which bare steps in ``chain`` take, e.g. ``train={...}``.

    Raises:
        SpecError: anything above is wrong; the message names it.
    """

    folder: Path | None
    """Of the file that it was read from, whose repository is recorded; None: see :func:`repository`."""

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
        device: str = "cpu",
        description: str = "",
        axis: str = "density",
        paper: str = "",
        edition: str = "laptop",
        laptop_minutes: float | None = None,
        **settings: Mapping[str, Any],
    ) -> None:
        with within("name"):
            self.name = study_name(name)
        self.folder, self.source = None, NO_FILE
        if not isinstance(description, str):
            raise SpecError(f"description must be text, got {description!r}", ("description",))
        self.description = description
        with within("engine"):
            self.engine = check_engine(engine)
        with within("device"):
            self.device = check_device(device)
        self.document = {
            **settings_from(settings),
            "world": world,
            "network": network,
            "chain": chain,
            "seed": native(seed),
        }
        self.sweep = sweep_from(sweep)
        self.variants = variants_from(variants)
        self.probes, self.probes_given = probes_from(probes), tuple(probes)
        self.about = check_about(axis, paper, edition, laptop_minutes, self.sweep, self.probes, self._worlds)

    def __repr__(self) -> str:
        return str(study_card(self))

    def _repr_html_(self) -> str:
        """Return what notebooks show."""
        return study_card(self).html()

    def _worlds(self) -> list[World]:
        return [experiment.world for experiment in self.experiments[:1]]

    @classmethod
    def from_mapping(cls, given: Any, source: str = "study") -> Study:
        """Make a study from what a study file holds."""
        return cls(**fields_of(given, source))

    @classmethod
    def from_file(cls, path: str | Path) -> Study:
        """Read a study from a YAML file; raises :class:`SpecError` naming the file and the place."""
        source = Source(str(path), text_of(path))
        given = parse_yaml(source.text, source.path)
        with source.located():
            study = cls(**fields_of(given))
        study.source, study.folder = source, Path(path).absolute().parent
        return study

    @classmethod
    def named(cls, name: str) -> Study:
        """Return a study that comes with overparam; raises :class:`SpecError` listing them."""
        known = built_in_studies()
        if name not in known:
            raise SpecError(
                f"no study {name!r}{suggest(name, known)}: give the path of a YAML file, or one of {', '.join(known)}"
            )
        return cls.from_mapping(parse_yaml(known[name], name), name)

    @classmethod
    def from_store(cls, store: str | Path | Store, name: str) -> Study:
        """Return a study as it was run in ``store``: ``name``, or ``NAME@REVISION``; to be extended, and run again.

        Raises:
            StoreError: there is none such.
            SpecError: its record does not make what was run: objects of Python's were part of it, or what it is made
                of has changed since.
        """
        found = load_results(store, name)
        reason = "it comes to other steps, as what it is made of has changed"
        try:
            made = cls.from_mapping(parse_yaml(found.spec, name))
            if made._record(made.plan).revision == found.revision:
                return made
        except SpecError as error:
            reason = str(error)
        raise SpecError(
            f"study {found.name}@{found.revision} cannot be made from its record alone ({reason}); make it in Python, "
            "or from its file, as it was made"
        )

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
        made.folder, made.source = self.folder, self.source.without({*(changes or {}), *(sweep or {})})
        made.sweep = {**kept, **sweep_from(sweep)}
        made.variants, made.engine, made.device = self.variants, self.engine, self.device
        made.probes, made.probes_given = self.probes, self.probes_given
        made.about = replace(self.about, axis="density") if self.about.axis in (changes or {}) else self.about
        return made

    @cached_property
    def experiments(self) -> list[Experiment]:
        """One experiment for each variant and combination of swept values."""
        with self.source.located():
            return experiments(self.document, self.variants, self.sweep)

    @property
    def plan(self) -> Plan:
        """Every step and measurement of the study, each once; made anew each time: a user's code may have changed."""
        found = self.experiments
        with self.source.located():
            return plan(found, self.probes)

    def checked(self, engine: str | None = None, device: str | None = None) -> Plan:
        """Return the plan, every step of which was tried in small, on the real network and data, without training.

        Raises :class:`SpecError` for what a run would refuse, however late. ``None`` means the study's own.
        """
        planned = self.plan
        chosen = self.engine if engine is None else engine, self.device if device is None else device
        with self.source.located():
            rehearse(planned, *chosen)
        return planned

    def run(
        self,
        store: str | Path | Store = "runs",
        *,
        jobs: int | None = None,
        threads: int | None = None,
        engine: str | None = None,
        device: str | None = None,
        reporter: Reporter | None = None,
        retry_failed: bool = False,
        progress: bool = True,
        log: Any = None,
    ) -> Results:
        """Compute what the store lacks and return the results; running again is resuming.

        What fails stops only what depends on it, and all else is computed; Python is warned that rows are missing
        (:class:`IncompleteWarning`), which ``results.failures`` explains.

        Args: see :func:`overparam.lab.run.execute`; ``engine`` and ``device`` None mean the study's own.
            progress: show how far it is on the standard error: bars in a terminal, a line for each training elsewhere,
                a display that changes in a notebook. Where there is a ``reporter``, it alone hears.
            log: loggers that hear of each row as it comes in (:mod:`overparam.loggers`), one or a list: objects, names
                with their target such as ``"csv:rows.csv"`` or ``"tensorboard:logs"``, or files for every event.

        Raises:
            SpecError: see :meth:`checked`, or a log that cannot be written; nothing is run or kept.
            RunError: there is not a single row; the error's ``results`` tell of each failure.
            StoreError, KeyboardInterrupt: see :func:`overparam.lab.run.execute`.
        """
        planned = self.checked(engine, device)
        chosen = self.engine if engine is None else engine, self.device if device is None else device
        record = replace(self._record(planned), made=made_by(self.folder))
        reporter = reporter or (reporter_for(sys.stderr) if progress else Reporter())
        return run_study(record, planned, store, jobs, threads, *chosen, reporter, retry_failed, log)

    def results(self, store: str | Path | Store = "runs") -> Results:
        """Return what ``store`` has of this study as it is now; nothing is computed.

        Raises:
            StoreError: it has never been run there; other revisions of its name are named.
        """
        there = opened(store)
        revision = self._record(self.plan).revision
        found, _ = records(there, self.name)
        if found and revision not in {record.revision for record in found}:
            raise StoreError(
                f"study {self.name!r} as it is now was never run in store {str(there.root)!r}; "
                f"run it, or name what was run ({listed(Inventory(there), found)})"
            )
        return replace(load_results(there, self.name, revision), about=self.about)

    def _record(self, planned: Plan) -> Record:
        worlds = [planned.worlds[place] for place in sorted({m.world for m in planned.measurements.values()})]
        return Record(
            name=self.name,
            spec=self.yaml(),
            rows=table_rows(self.experiments, planned),
            steps=[*planned.steps],
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
            **({"device": self.device} if self.device != "cpu" else {}),
            **self.about.plain(),
        }
        return dump_yaml(document)
