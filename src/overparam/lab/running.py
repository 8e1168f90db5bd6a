"""Running a study: its record, its plan, its results."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from overparam.errors import IncompleteWarning, RunError, SpecError, counted, warn
from overparam.lab.in_use import using
from overparam.lab.journal import journal_seconds
from overparam.lab.logs import logged, loggers_from
from overparam.lab.plan import Plan
from overparam.lab.progress import Reporter
from overparam.lab.record import Record, lost
from overparam.lab.results import Results, load_results
from overparam.lab.run import Summary, execute
from overparam.lab.store import Store


def run_study(
    record: Record,
    planned: Plan,
    store: str | Path | Store,
    jobs: int | None,
    threads: int | None,
    engine: str,
    device: str,
    reporter: Reporter | None,
    retry_failed: bool,
    log: Any = None,
) -> Results:
    """Compute what ``store`` lacks of a plan, keep the record of it, and return the results.

    Raises:
        RunError: there is not a single row; the error's ``results`` tell of each failure.
        SpecError, StoreError, KeyboardInterrupt: see :func:`overparam.lab.run.execute`.
    """
    for option, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SpecError(f"{option} must be a whole number, 1 or more, got {value!r}")
    journal_seconds()  # a wrong setting is told before anything is kept, and so is a log that cannot be
    observers = loggers_from(log)
    opened = store if isinstance(store, Store) else Store(store)
    began = time.perf_counter()
    with using(opened, str(record), planned.steps, planned.measurements):
        _open(record, planned, opened)
        logging = logged(reporter or Reporter(), *observers, record, opened)
        summary = execute(
            planned,
            opened,
            jobs=jobs,
            threads=threads,
            engine=engine,
            device=device,
            reporter=logging,
            retry_failed=retry_failed,
            repository=record.made.get("repository", ""),
        )
        spent = time.perf_counter() - began
        line = f"{counted(summary.ran, 'step')} run and {summary.found} found in the store, in {spent:.1f} s"
        replace(record, failures=_failures(planned, summary), run=line).write(opened)
        results = load_results(opened, record.name, record.revision, [*summary.notes, *logging.troubles])
    _tell_failures(results)
    return results


def _open(record: Record, planned: Plan, store: Store) -> None:
    """Write the record, so that the study is found in ``store`` whatever becomes of the run."""
    if loss := lost(store, record):
        store.notes.append(loss)
    store.notes += planned.notes()
    record.write(store)


def _failures(planned: Plan, summary: Summary) -> list[tuple[str, str]]:
    nodes = planned.nodes
    return [(nodes[name].name, why) for name, why in summary.failures.items()]


def _tell_failures(results: Results) -> None:
    """Raise :class:`RunError` if there is no row at all, else warn if some are missing."""
    if results.complete and not results.failures:
        return
    total, more = counted(len(results.frame) + results.missing, "row"), len(results.failures) - 1
    first = f": {results.failures[0]}" if results.failures else ""
    first += f" (and {more} more)" if more > 0 else ""
    if not len(results.frame):
        raise RunError(f"none of the {total} of study {results.name!r} could be computed{first}", results)
    what = f"{results.missing} of the {total} of study {results.name!r} are missing"
    warn(f"{what if results.missing else f'a step of study {results.name!r} failed'}{first}", IncompleteWarning)
