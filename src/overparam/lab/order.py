"""Which of a plan's nodes to run next."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from overparam.lab.plan import Node, Plan


class Order:
    """The nodes of a plan that can run now, best first; whoever runs the plan says which those are.

    Best is what needs the checkpoint that a place has in memory, if it is quick: its measurements, then what its chain
    needs next; where places are left over, the chain goes on at once and others measure. Then comes what has the
    longest way of trainings behind it, so that all chains end together. The rest is in the plan's order.
    Nothing here looks at the whole plan at every step: for a thousand steps that would cost more than the lab does.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.children: dict[str, list[str]] = {name: [] for name in plan.nodes}
        for node in plan.nodes.values():
            for parent in node.parents:
                self.children[parent].append(node.fingerprint)
        self._place = {name: place for place, name in enumerate(plan.nodes)}
        self._heights = self._counted()
        self._offered: set[str] = set()
        self._steps = 0  # how many of those offered are steps
        self._heap: list[tuple[int, int, str]] = []  # with entries that were taken meanwhile

    def __contains__(self, name: str) -> bool:
        return name in self._offered

    def __bool__(self) -> bool:
        return bool(self._offered)

    def offer(self, node: Node) -> None:
        """Say that ``node`` can run now."""
        name = node.fingerprint
        if name not in self._offered:
            self._offered.add(name)
            self._steps += node.kind == "steps"
            heapq.heappush(self._heap, (-self._heights[name], self._place[name], name))

    def clear(self) -> None:
        """Forget what was offered."""
        self._offered.clear()
        self._heap.clear()
        self._steps = 0

    def take(self, last: str | None, places: int = 1) -> Node | None:
        """Return the best node that was offered, and withdraw it; None if there is none.

        It is for a place that has the result of ``last`` in memory; ``places`` are free, that one included.
        """
        if not self._offered:
            return None
        steps_first = places > self._steps
        quick = [name for name in self.children.get(last or "", ()) if name in self._offered and self._is_quick(name)]
        if quick:
            best = min(quick, key=lambda name: (self._measures(name) == steps_first, *self._rank(name)))
        else:
            best = heapq.heappop(self._heap)[2]
            while best not in self._offered:
                best = heapq.heappop(self._heap)[2]
        self._offered.discard(best)
        self._steps -= not self._measures(best)
        return self.plan.nodes[best]

    def width(self, nodes: Iterable[Node]) -> int:
        """Return how many ways through ``nodes`` end in one of them: that many jobs can be busy at some time."""
        names = {node.fingerprint for node in nodes}
        return sum(not names.intersection(self.children[name]) for name in names)

    def descendants(self, fingerprint: str) -> set[str]:
        """Return the steps that depend on a node, directly or not."""
        seen: set[str] = set()
        waiting = [fingerprint]
        while waiting:
            for child in self.children[waiting.pop()]:
                if child not in seen and not self._measures(child):
                    seen.add(child)
                    waiting.append(child)
        return seen

    def _rank(self, name: str) -> tuple[int, int]:
        return -self._heights[name], self._place[name]

    def _measures(self, name: str) -> bool:
        return self.plan.nodes[name].kind == "probes"

    def _is_quick(self, name: str) -> bool:
        return not self.plan.nodes[name].trains

    def _counted(self) -> dict[str, int]:
        """Return how many trainings are on the longest way from each node to the end, itself included."""
        heights: dict[str, int] = {}
        for name in reversed(self.plan.nodes):
            own = int(self.plan.nodes[name].trains)
            heights[name] = own + max((heights[child] for child in self.children[name]), default=0)
        return heights
