"""Running a plan: what is missing in the store is computed, each step once, in an order that keeps workers busy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from overparam.folders import writable_cache_folder
from overparam.lab.execute import Setup, Task
from overparam.lab.executors import Event, Executor, Inline, Pool
from overparam.lab.journal import journal_seconds
from overparam.lab.order import Order
from overparam.lab.plan import Measurement, Node, Plan
from overparam.lab.progress import Reporter
from overparam.lab.signals import obeyed
from overparam.lab.status import status
from overparam.lab.store import Store
from overparam.machine import available_cores
from overparam.train.engines import check_engine

DEATHS = 2  # a step whose worker died so often is given up
BREAKS = 3  # a step whose result was found damaged so often in one run is given up: the disk or the memory is bad


@dataclass
class Summary:
    """How a run went: nodes run, nodes found in the store, and why others are missing."""

    ran: int = 0
    found: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def execute(
    plan: Plan,
    store: Store,
    *,
    jobs: int | None = None,
    threads: int | None = None,
    engine: str = "auto",
    reporter: Reporter | None = None,
    retry_failed: bool = False,
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
        reporter: hears of what happens.
        retry_failed: run steps again that are recorded as failed.

    Returns:
        What was run, found and missed. A failed step stops only what depends on it.

    Raises:
        StoreError: the store cannot be written, any more; nothing is then begun that could not be kept.
        KeyboardInterrupt: after stopping the workers; what was finished is in the store.
        Stopped: likewise, on SIGTERM or SIGHUP.
    """
    with obeyed():
        return _Run(plan, store, reporter or Reporter(), retry_failed).go(jobs, threads, check_engine(engine))


class _Run:
    def __init__(self, plan: Plan, store: Store, reporter: Reporter, retry_failed: bool) -> None:
        self.plan, self.store, self.reporter = plan, store, reporter
        self.summary = Summary()
        found = status(plan, store)
        for note in store.notes:
            self._note(note)
        store.notes.clear()
        for kind, fingerprint, damage in found.damaged:
            self._broken(kind, fingerprint, damage)
        if retry_failed:
            for fingerprint in found.failures:
                store.remove("failures", fingerprint)
            found.failures.clear()
        store.tidy(found.steps)
        self.done, self.measured = found.steps, found.probes
        self.summary.found = len(found.steps)
        self.summary.failures = dict(found.failures)
        self.order = Order(plan)
        self.running: set[str] = set()
        self.deaths: dict[str, int] = {}
        self.breaks: dict[str, int] = {}
        self.last: str | None = None

    def go(self, jobs: int | None, threads: int | None, engine: str) -> Summary:
        stuck = self._stuck()
        missing = [n for n in self.plan.nodes.values() if self._missing(n) and n.fingerprint not in stuck]
        trainings = sum(
            node.step is not None and node.step.trains for node in missing if node.fingerprint not in self.done
        )
        try:
            if missing:
                # by all of the plan: a study taken up again must have the same threads, or it has other bits
                cores = available_cores()
                jobs = jobs or max(1, min(cores, self.order.width(list(self.plan.nodes.values()))))
                threads = threads or max(1, cores // jobs)
                jobs = min(jobs, self.order.width(missing))
                journal_seconds()  # a wrong setting is told here, once
                self.reporter.begin(len(self.plan.nodes), len(self.done), jobs, trainings)
                with contextlib.closing(self._executor(jobs, threads, engine)) as executor:
                    self._loop(executor)
        finally:
            self.reporter.end()
        blocked = [name for name, node in self.plan.nodes.items() if self._missing(node)]
        self.summary.blocked = [name for name in blocked if name not in self.summary.failures]
        return self.summary

    def _stuck(self) -> set[str]:
        """Return the nodes that failed and those that depend on them."""
        stuck = set(self.summary.failures)
        for node in self.plan.nodes.values():  # parents come before their children
            if stuck.intersection(node.needs()):
                stuck.add(node.fingerprint)
        return stuck

    def _executor(self, jobs: int, threads: int, engine: str) -> Executor:
        plan = self.plan
        setup = Setup(list(plan.worlds), list(plan.world_prints), list(plan.networks), threads, engine)
        if jobs > 1:
            if engine != "dense":
                writable_cache_folder()  # tells of one that cannot be used, once and for all workers
            return Pool(self.store, setup, jobs)
        inline = Inline(self.store, setup)
        inline.on_progress = self._hear
        return inline

    def _loop(self, executor: Executor) -> None:
        self._offer(self.plan.nodes)
        while True:
            while len(self.running) < executor.places and (node := self.order.take(self.last)):
                self.running.add(node.fingerprint)
                self.reporter.started(node)
                executor.submit(Task(node, self._unmeasured(node)))
            if not self.running:
                return
            for event in executor.events():
                self._hear(event, executor.forget)

    def _offer(self, names: Iterable[str]) -> None:
        """Offer those of the nodes that can run now."""
        for name in names:
            node = self.plan.nodes[name]
            if (
                self._missing(node)
                and name not in self.running
                and name not in self.summary.failures
                and all(parent in self.done for parent in node.needs())
            ):
                self.order.offer(node)

    def _hear(self, event: Event, forget: Callable[[str], None] = lambda _: None) -> None:
        node = self.plan.nodes[event.fingerprint]
        if event.what == "progress":
            self.reporter.progress(node, *event.detail)
            return
        self.running.discard(node.fingerprint)
        if event.what == "unwritable":
            raise event.detail  # no training for nothing
        if event.what == "done":
            for note in event.detail.notes:
                if note not in self.summary.notes:  # one that holds for every training is told once
                    self._note(note)
            self.done.add(node.fingerprint)
            self.measured.update(measurement.fingerprint for measurement in self.plan.probes_of(node.fingerprint))
            self.summary.ran += event.detail.ran
            self.last = node.fingerprint
            self._offer(self.order.children[node.fingerprint])
            self.reporter.finished(node, event.detail)
        elif event.what == "broken":
            broken = event.detail.fingerprint
            self._broken("steps", broken, event.detail.reason)
            self.done.discard(broken)
            forget(broken)
            self.breaks[broken] = self.breaks.get(broken, 0) + 1
            if self.breaks[broken] >= BREAKS:
                self._fail(self.plan.nodes[broken], f"its result was damaged {BREAKS} times over", "", False)
            self.order.clear()  # what was offered may depend on it
            self._offer(self.plan.nodes)
        elif event.what == "failed":
            probe_failed = self.store.has("steps", node.fingerprint)
            if probe_failed:  # then the step itself is done, and so the chain goes on
                self.summary.ran += node.fingerprint not in self.done
                self.done.add(node.fingerprint)
                self._offer(self.order.children[node.fingerprint])
            self._fail(node, event.detail.reason, event.detail.detail, event.detail.lasting and not probe_failed)
        else:
            self.deaths[node.fingerprint] = self.deaths.get(node.fingerprint, 0) + 1
            code = event.detail
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
        blocked = 0 if node.fingerprint in self.done else self.order.descendants(node.fingerprint)
        self.reporter.failed(node, reason, blocked)

    def _broken(self, kind: str, fingerprint: str, damage: str) -> None:
        if kind == "failures":
            self.store.remove(kind, fingerprint)  # the step is run again, and may fail again
        else:
            self.store.mark_damaged(kind, fingerprint, damage)
        self._note(f"{damage}; the result is computed again")

    def _note(self, text: str) -> None:
        self.summary.notes.append(text)
        self.reporter.note(text)

    def _unmeasured(self, node: Node) -> list[Measurement]:
        return [m for m in self.plan.probes_of(node.fingerprint) if m.fingerprint not in self.measured]

    def _missing(self, node: Node) -> bool:
        return node.fingerprint not in self.done or bool(self._unmeasured(node))
