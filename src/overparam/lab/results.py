"""The results of a study: a tidy table read from the store, and what the report room makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from overparam.errors import SpecError, suggest
from overparam.lab.about import About
from overparam.lab.cards import results_card
from overparam.lab.found import Found, best, find, labelled, narrowed
from overparam.lab.inventory import Inventory
from overparam.lab.loading import opened
from overparam.lab.record import chosen_record
from overparam.lab.store import Store
from overparam.lab.tables import head_of, tables

if TYPE_CHECKING:
    import pandas
    from torch import Tensor, nn

    from overparam.lab.citing import Citation
    from overparam.report import Material, Section, Verdict
    from overparam.report.charts import Chart
    from overparam.report.contrast import Contrast
    from overparam.report.roles import Columns


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """What a study found.

    Attributes:
        name: the study's name.
        frame: one row per trained checkpoint: coordinates (``variant``, ``seed``, swept values, ``chain``, ``level``,
            ``step``, ``kind``), ``fingerprint``, ``density``, ``kept``, ``weights``, and a column for each number of
            the study's probes. All but the columns in :data:`MEASURED` are the same bits in every run. It has its
            columns even where it has no rows.
        layers: one row per trained checkpoint and layer, with the probes' numbers for each layer.
        curves: one row per trained checkpoint and epoch or evaluated iteration: the coordinates of ``frame``,
            ``iteration`` and ``epoch`` reached, ``lr``, ``loss`` (mean over the epoch's batches, in training mode; null
            where it was measured within an epoch) and what was measured then, as ``train.evaluate_every`` asks for.
        spec: the study as YAML.
        failures: a sentence for each step that failed.
        absent: the coordinates of the rows that are not there (yet), because of failures or because the study was
            stopped; with the columns of ``frame`` but those of probes.
        notes: damage found, and what was done about it.
        remarks: what a reader must know of the pruning: parameters that it leaves out, and layers that collapsed.
        about: the study's axis and paper.
        facts: versions, machine, threads and times of the steps.
        revision: which specification of this name the results belong to.
        shown: a few words on which revision this is, how many of its rows are there, and how many others there are.
        store: the folder of the store that they are from.
    """

    name: str
    frame: pl.DataFrame
    layers: pl.DataFrame
    curves: pl.DataFrame
    spec: str
    failures: Sequence[str] = ()
    absent: pl.DataFrame = field(default_factory=pl.DataFrame)
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    about: About = field(default_factory=About)
    facts: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    shown: str = ""
    store: Path = Path("runs")

    def __repr__(self) -> str:
        return str(results_card(self))

    def _repr_html_(self) -> str:
        """Return what notebooks show."""
        return results_card(self).html()

    @property
    def missing(self) -> int:
        """How many rows are not there."""
        return len(self.absent)

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self.missing == 0

    @property
    def chosen_on(self) -> str:
        """Which set to choose by, such as the best level or a phase: ``validation``, or ``test`` where there is none.

        A choice is made on ``f"{chosen_on}_accuracy"`` (or ``_loss``, ``_r2``, ...) and says which set it used; what is
        then reported of the chosen one is its test metric.
        """
        column = "validation_loss"
        there = column in self.frame.columns and len(self.frame) > 0 and not self.frame[column].null_count()
        return "validation" if there else "test"

    def at(self, **place: Any) -> Found:
        """Return the one trained network at a place: its numbers, ``.masks`` and ``.module()``.

        Args:
            place: ``arm`` (as :meth:`table` calls it), ``seed``, ``level``, or any column, a swept one also by the last
                part of its name; as many as it takes to name one row.

        Raises:
            SpecError: there is none, or several; the message lists what there is.
        """
        return Found(find(self.labelled, place, self.missing), self.store)

    def best(self, on: str = "validation", metric: str | None = None, **place: Any) -> Found:
        """Return the trained network that does best on one set; of equal ones that with the fewest weights.

        Args:
            on: ``validation``, or ``test``, which then is no test of the chosen one any more.
            metric: ``accuracy``, ``loss`` or another that was measured on the set; None: accuracy, or R² or the loss
                where there is none.
            place: choose among those at a place alone, as in :meth:`at`.

        Raises:
            SpecError: there is no validation split and ``on`` does not say ``test``; no such metric or place.
        """
        chosen, how = best(narrowed(self.labelled, place, self.missing), on, metric)
        return Found(chosen, self.store, how)

    def masks(self, **place: Any) -> dict[str, Tensor]:
        """Return the masks of the network at a place (see :meth:`at`), by parameter name; True means kept."""
        return self.at(**place).masks

    def module(self, module: nn.Module | None = None, **place: Any) -> nn.Module:
        """Return the network at a place (see :meth:`at`) with its weights; ``module`` as for :func:`load_module`."""
        return self.at(**place).module(module)

    def to_pandas(self, table: str = "frame") -> pandas.DataFrame:
        """Return one of the tables, ``frame``, ``layers`` or ``curves``, as one of pandas (the extra ``pandas``).

        Raises :class:`SpecError` for another table, or where pandas is not installed.
        """
        from overparam.lab.pandas_table import pandas_table

        tables = {"frame": self.frame, "layers": self.layers, "curves": self.curves}
        if table not in tables:
            raise SpecError(f"table must be frame, layers or curves, got {table!r}{suggest(str(table), tables)}")
        return pandas_table(tables[table])

    @property
    def labelled(self) -> pl.DataFrame:
        """The rows of :attr:`frame` that stand in an arm, with its label in the column ``arm``."""
        return labelled(self.frame, self.material.arms)

    def phases(self) -> pl.DataFrame:
        """Return the light, critical, sweet and collapsed phase of each arm: densities, with intervals over seeds.

        Only an arm that falls, rises and falls again has phases; any other has one row, which says why not.
        """
        from overparam.papers.sparse_double_descent import phase_table, phases

        return phase_table(phases(self.frame, self.missing)) if len(self.frame) else phase_table([])

    def claims(self) -> list[Verdict]:
        """Return the claims of the study's paper, with verdicts and numbers; none where it names no paper."""
        from overparam.papers import claims_for

        return claims_for(self.about.paper, self.frame, self.missing)

    @cached_property
    def material(self) -> Material:
        """What sections of a page are made of."""
        from overparam.report import Material

        return Material(self.frame, self.about.axis, self.absent, self.missing, self.curves)

    def sections(self) -> tuple[list[Section], str]:
        """Return what the page says, section by section, and the label of the arm that its charts show first."""
        from overparam.papers import sections_for

        return sections_for(self.about.paper, self.material)

    def citation(self) -> Citation:
        """Return how these results are cited: ``.made`` for the text of a paper, ``.bibtex`` for its references."""
        from overparam.lab.citing import cite_results

        return cite_results(self)

    def typeset(self, form: str) -> str:
        """Return the tables of each arm and of the claims as ``"latex"`` (of ``booktabs``) or ``"markdown"``.

        Everything is escaped for where it stands, and each caption says how the numbers were made.
        """
        from overparam.report.typeset import typeset

        return typeset(self.sections()[0], form, f"{self.name}@{self.revision}", self.citation().made)

    def compare(
        self,
        y: str | None = None,
        x: str | None = None,
        *,
        colour: Columns = None,
        dash: Columns = None,
        facet: Columns = None,
        better: str | None = None,
    ) -> Contrast:
        """Set the study's arms against each other, place by place and seed by seed.

        Args:
            y: what is compared: any measured column. None: test accuracy, or test loss where there is none.
            x: what it is compared over: any column that was swept or measured, a swept one also by its last part, or a
                cost (:data:`overparam.report.costs.COSTS`) such as ``sparsity``. None: the study's axis.
            colour, dash, facet: the column that each tells in the chart, or several. None: colour is the method, dash
                the condition (data, network, training), and of more than six arms there are small multiples.
            better: ``more`` or ``less``, where the name of ``y`` does not tell.

        Raises:
            SpecError: a column is not there, tells no arms apart, or changes along an arm.
        """
        from overparam.report.contrast import contrast

        return contrast(self.material, y, x, colour=colour, dash=dash, facet=facet, better=better)

    def learning_chart(
        self, metric: str = "accuracy", arm: str | None = None, *, smooth: int = 1, each_seed: bool = False
    ) -> Chart:
        """Return the learning curves of an arm as a chart of Altair; :attr:`curves` has the numbers.

        Colour is the level; the dash tells test, train, and under label noise the parts with right and wrong labels,
        as far as they were measured while training (``train.evaluate_every``).

        Args:
            metric: ``accuracy``, ``soft_error`` or ``loss``.
            arm: its label; None: the first one.
            smooth: over how many neighbouring points of a seed's line means are taken; the legend tells it.
            each_seed: whether every seed has a line of its own too.

        Raises:
            SpecError: no such metric was measured while training, or there is no such arm.
        """
        from overparam.report.learning_chart import chart_of

        return chart_of(self.material, metric, arm, smooth, each_seed)

    def table(self) -> pl.DataFrame:
        """Return the means over seeds: a row for each arm and place on the study's axis."""
        from overparam.report import level_table
        from overparam.report.tables import SHOWN

        if self.frame.is_empty():
            head = {"arm": pl.String, "level": pl.Int64, "density": pl.Float64, "kept": pl.Int64, "n": pl.Int64}
            numbers = {name: kind for name, kind in self.frame.schema.items() if name in SHOWN}
            return pl.DataFrame(schema={**head, **numbers})
        tables = [level_table(arm).select(pl.lit(arm.label).alias("arm"), pl.all()) for arm in self.material.arms]
        return pl.concat(tables, how="diagonal_relaxed")

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML page and return its path."""
        from overparam.report import write_page

        sections, main = self.sections()
        return write_page(
            path,
            name=self.name,
            sections=sections,
            material=self.material,
            main=main,
            spec_yaml=self.spec,
            facts=self.facts,
            failures=self.failures,
            remarks=self.remarks,
        )

    def charts(self, folder: str | Path, suffixes: Sequence[str] = (".pdf", ".png", ".svg")) -> list[Path]:
        """Write the charts of the page as files into ``folder`` and return their paths."""
        from overparam.report import write_charts

        return write_charts(self.sections()[0], folder, suffixes)

    def figure(self, path: str | Path, chart: str = "", *, width: str | float = "single", points: float = 8.0) -> Path:
        """Write one chart as wide as a paper's column, as PDF, PNG (300 dots an inch) or SVG, and return its path.

        Args:
            path: ends in ``.pdf``, ``.png`` or ``.svg``.
            chart: its name, such as ``"comparison"``, an arm's file name, or that and a panel (``"magnitude-loss"``);
                empty: the one that compares arms, if there are several.
            width: ``"single"`` (3.25 inches), ``"double"`` (6.75), inches, or a length such as ``"140mm"``.
            points: size of the smallest type.

        Raises:
            SpecError: one of these is wrong, or the chart cannot be so narrow.
        """
        from overparam.report.sized import Page, chart_named, save_figure

        return save_figure(chart_named(self.sections()[0], chart), path, Page(width, points))


def load_results(
    store: str | Path | Store,
    name: str,
    revision: str | None = None,
    notes: Sequence[str] = (),
    inventory: Inventory | None = None,
) -> Results:
    """Read the results of study ``name`` from ``store``; nothing is computed.

    Args:
        store: where the study was run; a folder, or a :class:`Store`.
        name: the study's name, or ``NAME@REVISION``.
        revision: the first digits of a revision, of which there is one for each specification that was run under
            this name; None: the one that was run last. ``shown`` of what is returned says which.
        notes: what is to stand before what is found here.
        inventory: of the store, from just now; None: it is looked at.

    Damaged results are left out of the table and named in ``notes``.

    Raises:
        StoreError: the store has no (readable) record of such a study or revision.
    """
    store = opened(store)
    name, _, other = name.partition("@")
    inventory = inventory or Inventory(store)
    record, shown, damaged = chosen_record(store, name, revision or other, inventory)
    made, found = tables(store, record, inventory)
    planned, here = made.planned, pl.col("density").is_not_null()
    return Results(
        name=name,
        frame=planned.filter(here),
        layers=made.layers,
        curves=made.curves,
        spec=record.spec,
        failures=[f"{title}: {reason}" for title, reason in record.failures],
        absent=planned.filter(~here).select(head_of(record)),
        notes=[*store.notes, *notes, *damaged, *found],
        remarks=made.remarks,
        about=About(**record.about),
        facts={**made.facts, "run": record.run, "results": shown},
        revision=record.revision,
        shown=shown,
        store=store.root,
    )


def __getattr__(name: str) -> Any:
    """Return ``MEASURED``, the columns that differ between two runs of the same study; probes need torch."""
    if name != "MEASURED":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from overparam.probes import PROBES

    return globals().setdefault(name, tuple(column for each in PROBES for column in PROBES.get(each).measured))
