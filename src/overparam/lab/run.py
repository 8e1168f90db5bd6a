"""Running a plan: what is missing in the store is computed, each step once, in an order that keeps workers busy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from overparam.folders import writable_cache_folder
from overparam.lab.execute import Done
from overparam.lab.executors import Event, Executor, Inline, Pool
from overparam.lab.forecast import Forecast
from overparam.lab.inputs import BrokenParentError, Setup
from overparam.lab.order import Order
from overparam.lab.plan import Node, Plan, called
from overparam.lab.progress import Reporter, Tally
from overparam.lab.status import status
from overparam.lab.store import Store
from overparam.machine import available_cores
from overparam.probes import Probe
from overparam.signals import obeyed
from overparam.train.engines import check_engine
from overparam.train.place import device_named

DEATHS = 2  # a step whose worker died so often is given up
BREAKS = 3  # a step whose result was found damaged so often in one run is given up: the disk or the memory is bad


@dataclass
class Summary:
    """How a run went: steps run, steps found in the store, and why others, or measurements, are missing."""

    ran: int = 0
    found: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def execute(
    plan: Plan,
    store: Store,
    *,
    jobs: int | None = None,
    threads: int | None = None,
    engine: str = "auto",
    device: str = "cpu",
    reporter: Reporter | None = None,
    retry_failed: bool = False,
    repository: str = "",
) -> Summary:
    """Compute what the store lacks of ``plan``.

    Args:
        plan: what to compute.
        store: where results are and go.
        jobs: steps at a time; None: as many as there are cores and independent chains to run. One job runs in this
            process, several in worker processes.
        threads: torch threads a job; None shares the cores out. Results are the same bits for the same threads
            and engine.
        engine: what trainings compute with, ``auto``, ``dense`` or ``sparse``; see :func:`overparam.train.fit`.
        device: where trainings and measurements compute: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``.
        reporter: hears of what happens.
        retry_failed: run steps again that are recorded as failed.
        repository: the commit of the user's own repository, which is recorded with each result.

    Returns:
        What was run, found and missed. A failed step stops only what depends on it.

    Raises:
        StoreError: the store cannot be written, any more; nothing is then begun that could not be kept.
        KeyboardInterrupt: after stopping the workers; what was finished is in the store.
        Stopped: likewise, on SIGTERM or SIGHUP.
    """
    with obeyed():
        run = _Run(plan, store, reporter or Reporter(), retry_failed, repository)
        return run.go(jobs, threads, check_engine(engine), device)


class _Run:
    def __init__(self, plan: Plan, store: Store, reporter: Reporter, retry_failed: bool, repository: str) -> None:
        self.plan, self.store, self.reporter, self.repository = plan, store, reporter, repository
        self.summary = Summary()
        found = status(plan, store)
        for note in store.notes:
            self._note(note)
        store.notes.clear()
        for kind, fingerprint, damage in found.damaged:
            self._mark(kind, fingerprint, damage)
        if retry_failed:
            for fingerprint in found.failures:
                store.remove("failures", fingerprint)
            found.failures.clear()
        self.done = found.done
        self.found = self.done.intersection(plan.steps)
        store.tidy(self.found)
        self.summary.found = len(self.found)
        self.summary.failures = dict(found.failures)
        self.beside = {name: row.measurements for row in plan.rows for name in row.measurements}
        self.order = Order(plan)
        self.tally = Tally(plan, reporter)
        self.running: set[str] = set()
        self.deaths: dict[str, int] = {}
        self.breaks: dict[str, int] = {}

    def go(self, jobs: int | None, threads: int | None, engine: str, device: str) -> Summary:
        stuck = self._stuck()
        missing = [node for name, node in self.plan.nodes.items() if name not in self.done and name not in stuck]
        try:
            if missing:
                # by all of the plan: a study taken up again must have the same threads, or it has other bits
                cores = available_cores()
                jobs = jobs or max(1, min(cores, self.order.width(self.plan.steps.values())))
                threads = threads or max(1, cores // jobs)
                jobs = min(jobs, self.order.width(missing))
                self.tally.forecast = forecast = Forecast(self.plan, missing, jobs)
                self.reporter.expect(forecast)
                self.reporter.begin(len(self.plan.steps), len(self.found), jobs, sum(node.trains for node in missing))
                with contextlib.closing(self._executor(jobs, threads, engine, str(device_named(device)))) as executor:
                    self._loop(executor)
        finally:
            self.reporter.end()
        return self.summary

    def _stuck(self) -> set[str]:
        """Return the nodes that failed and those that depend on them."""
        stuck = set(self.summary.failures)
        for name, node in self.plan.nodes.items():  # parents come before their children
            if stuck.intersection(node.parents):
                stuck.add(name)
        return stuck

    def _executor(self, jobs: int, threads: int, engine: str, device: str) -> Executor:
        plan = self.plan
        shared = list(plan.worlds), list(plan.world_prints), list(plan.networks)
        setup = Setup(*shared, threads, engine, device, self.repository)
        if jobs > 1:
            if engine != "dense":
                writable_cache_folder()  # tells of one that cannot be used, once and for all workers
            return Pool(self.store, setup, jobs)
        inline = Inline(self.store, setup)
        inline.on_progress = self._hear
        return inline

    def _loop(self, executor: Executor) -> None:
        self._offer(self.plan.nodes)
        while self.order or self.running:
            free = executor.free() if self.order else ()
            for taken, place in enumerate(free):
                if node := self.order.take(place.last, len(free) - taken):
                    self.running.add(node.fingerprint)
                    self.tally.begin(node)
                    executor.submit(node, place)
            for event in executor.events():
                self._hear(event, executor.forget)

    def _offer(self, names: Iterable[str]) -> None:
        """Offer those of the nodes that can run now."""
        for name in names:
            node = self.plan.nodes[name]
            if (
                name not in self.done
                and name not in self.running
                and name not in self.summary.failures
                and self.done.issuperset(node.parents)
            ):
                self.order.offer(node)

    def _hear(self, event: Event, forget: Callable[[str], None] = lambda _: None) -> None:
        node = self.plan.nodes[event.fingerprint]
        if event.what == "progress":
            self.tally.progress(node, *event.detail)
            return
        self.running.discard(node.fingerprint)
        if event.what == "unwritable":
            raise event.detail  # no training for nothing
        if event.what == "done":
            self._done(node, event.detail)
        elif event.what == "broken":
            self._broken(event.detail, forget)
        elif event.what == "failed":
            self._fail(node, event.detail.reason, event.detail.detail, event.detail.lasting)
        else:
            self._died(node, event.detail)
        waiting = {name for name in self.order.children[self.tally.subject(node)] if name in self.order}
        self.tally.end(node, event.detail if event.what == "done" else None, waiting | self.running)

    def _done(self, node: Node, done: Done) -> None:
        for note in done.notes:
            if note not in self.summary.notes:  # one that holds for every training is told once
                self._note(note)
        if clash := self._clash(node):
            self.store.remove("probes", node.fingerprint)
            self._fail(node, clash, "", False)
            return
        self.done.add(node.fingerprint)
        self.summary.ran += done.ran and node.kind == "steps"
        self._offer(self.order.children[node.fingerprint])

    def _clash(self, node: Node) -> str:
        """Say which column another probe has measured on the same checkpoint, too: what is stated never meets."""
        for name in self.beside.get(node.fingerprint, ()):
            other = self.plan.nodes[name]
            if name not in self.done or other is node or (_states(node) and _states(other)):
                continue
            if both := _columns(self.store, node) & _columns(self.store, other):
                return f"{called(other.part)} measures {min(both)!r}, too, so it would have two meanings; rename one"
        return ""

    def _broken(self, broken: BrokenParentError, forget: Callable[[str], None]) -> None:
        """Have a damaged result computed again."""
        name = broken.fingerprint
        self._mark("steps", name, broken.reason)
        self.done.discard(name)
        forget(name)
        self.breaks[name] = self.breaks.get(name, 0) + 1
        if self.breaks[name] >= BREAKS:
            self._fail(self.plan.nodes[name], f"its result was damaged {BREAKS} times over", "", False)
        self.order.clear()  # what was offered may depend on it
        self._offer(self.plan.nodes)

    def _died(self, node: Node, code: int) -> None:
        """Try a node once more whose worker died."""
        self.deaths[node.fingerprint] = self.deaths.get(node.fingerprint, 0) + 1
        cause = f"signal {-code}; the machine may be short of memory" if code < 0 else f"exit code {code}"
        reason = f"the worker process died ({cause})"
        if self.deaths[node.fingerprint] >= DEATHS:
            self._fail(node, reason, "", False)
        else:
            self._note(f"{node.name}: {reason}; trying once more")
            self._offer([node.fingerprint])

    def _fail(self, node: Node, reason: str, detail: str, lasting: bool) -> None:
        self.summary.failures[node.fingerprint] = reason
        if lasting:
            body = {"title": node.title, "seed": node.seed, "reason": reason, "detail": detail}
            self.store.write("failures", node.fingerprint, body)
        self.tally.fail(node, reason, self.order.descendants(node.fingerprint))

    def _mark(self, kind: str, fingerprint: str, damage: str) -> None:
        if kind == "failures":
            self.store.remove(kind, fingerprint)  # the step is run again, and may fail again
        else:
            self.store.mark_damaged(kind, fingerprint, damage)
        self._note(f"{damage}; the result is computed again")

    def _note(self, text: str) -> None:
        self.summary.notes.append(text)
        self.reporter.note(text)


def _states(node: Node) -> bool:
    """Tell whether a probe says which columns it measures."""
    kind = type(node.part)
    return issubclass(kind, Probe) and bool(kind.columns or kind.columns_in is not Probe.columns_in)


def _columns(store: Store, node: Node) -> set[str]:
    """Return what a probe has measured, of the network and of layers."""
    found = store.numbers("probes", node.fingerprint)
    return {*found["values"], *(f"{name} of a layer" for row in found["layers"].values() for name in row)}
