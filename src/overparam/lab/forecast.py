"""How long the rest of a run takes, judged by what has been done of it."""

from __future__ import annotations

import math
import time
from bisect import insort
from collections.abc import Callable, Iterable, Iterator

from overparam.lab.plan import Node, Plan
from overparam.train import TrainSettings

MOST_LOOKING = 0.01  # share of the time that a run may spend on looking ahead


class Forecast:
    """Seconds that are left of a run: trainings by their iterations, at the median pace of their arm so far.

    (The first training of a worker is slow, as kernels are loaded for it; a mean would remember that for long.)

    An arm of which nothing is known yet goes at the pace of the same steps on its network, or else of anything. The
    rest ends no sooner than its longest chain, however many jobs there are.

    Args:
        plan: what is run.
        missing: its nodes that the store lacks.
        jobs: how many run at a time.
        clock: seconds that go by.
    """

    def __init__(
        self, plan: Plan, missing: Iterable[Node], jobs: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.plan, self.jobs, self._clock = plan, jobs, clock
        self._iterations = dict(_trainings(plan, missing))
        self._waiting: dict[str, float] = dict(self._iterations)  # the iterations that are left of each
        self._paces: dict[object, list[float]] = {}  # seconds an iteration of what has ended, sorted, by whose it was
        self._said = (-math.inf, 0.0, 0.0)  # when, what, and how long it took to find out

    def progress(self, node: Node, share: float) -> None:
        """Hear that a training has done a share of its iterations."""
        if node.fingerprint in self._waiting:
            self._waiting[node.fingerprint] = self._iterations[node.fingerprint] * (1 - share)

    def finished(self, node: Node, seconds: float) -> None:
        """Hear how long a training took, its measurements included."""
        if self._waiting.pop(node.fingerprint, None) is None:
            return
        iterations = self._iterations[node.fingerprint]
        for whose, amount in self._owners(node, iterations):
            insort(self._paces.setdefault(whose, []), seconds / amount)

    def abandoned(self, names: Iterable[str]) -> None:
        """Hear that steps will not be run, as they or what they start from failed."""
        for name in names:
            self._waiting.pop(name, None)

    def left(self) -> float | None:
        """Return the seconds that are left; None as long as no training has ended."""
        if not self._paces:
            return None
        when, said, took = self._said
        now = self._clock()
        if now - when >= took / MOST_LOOKING:
            began = time.perf_counter()
            when, said = now, self._looked()
            self._said = now, said, time.perf_counter() - began
        return max(said - (now - when), 0.0)

    def _looked(self) -> float:
        """Look at all that is left: shared out among the jobs, or the longest chain, whichever takes longer."""
        behind: dict[str, float] = {}
        total = 0.0
        for name, node in self.plan.steps.items():  # parents come before their children
            own = self._seconds(node) if name in self._waiting else 0.0
            behind[name] = own + max((behind[parent] for parent in node.parents), default=0.0)
            total += own
        return max(total / self.jobs, max(behind.values()))

    def _seconds(self, node: Node) -> float:
        """Return how long what is left of a training takes."""
        owners = self._owners(node, self._waiting[node.fingerprint])
        paces, amount = next((self._paces[whose], left) for whose, left in owners if whose in self._paces)
        return (paces[(len(paces) - 1) // 2] + paces[len(paces) // 2]) / 2 * amount

    def _owners(self, node: Node, iterations: float) -> Iterator[tuple[object, float]]:
        """Yield whose pace a training has, the nearest first, and how much it is by that measure."""
        kind = type(node.part)
        yield (kind, node.network, node.arm), iterations
        yield (kind, node.network), iterations
        yield None, iterations / self._iterations[node.fingerprint]  # one training is like another


def _trainings(plan: Plan, missing: Iterable[Node]) -> Iterator[tuple[str, int]]:
    """Yield the fingerprint of each training with its iterations; 1 where a step does not say how many it has."""
    sizes: dict[int, int] = {}
    for node in missing:
        if isinstance(node.part, TrainSettings):
            if node.world not in sizes:
                sizes[node.world] = plan.worlds[node.world].build().train.epoch
            per_epoch = math.ceil(sizes[node.world] / node.part.batch_size)
            yield node.fingerprint, max(1, node.part.duration.iterations(per_epoch))
        elif node.trains:
            yield node.fingerprint, 1
