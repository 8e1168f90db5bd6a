"""Which of a plan's steps to run next."""

from __future__ import annotations

import heapq

from overparam.lab.plan import Node, Plan


class Order:
    """The nodes of a plan that can run now, best first; whoever runs the plan says which those are.

    Best is what the chain just worked on needs next, if that is quick (its checkpoint is in a worker's memory); then
    what has the longest way of trainings behind it, so that all chains end together. The rest is in the plan's order.
    Nothing here looks at the whole plan at every step: for a thousand steps that would cost more than the lab does.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.children: dict[str, list[str]] = {name: [] for name in plan.nodes}
        for node in plan.nodes.values():
            for parent in node.needs():
                self.children[parent].append(node.fingerprint)
        self._place = {name: place for place, name in enumerate(plan.nodes)}
        self._heights = self._counted()
        self._offered: set[str] = set()
        self._heap: list[tuple[int, int, str]] = []  # with entries that were taken meanwhile

    def offer(self, node: Node) -> None:
        """Say that ``node`` can run now."""
        name = node.fingerprint
        if name not in self._offered:
            self._offered.add(name)
            heapq.heappush(self._heap, (-self._heights[name], self._place[name], name))

    def clear(self) -> None:
        """Forget what was offered."""
        self._offered.clear()
        self._heap.clear()

    def take(self, last: str | None) -> Node | None:
        """Return the best node that was offered, and withdraw it; ``last`` was run last. None if there is none."""
        if not self._offered:
            return None
        quick = [name for name in self.children.get(last or "", ()) if name in self._offered and self._is_quick(name)]
        if quick:
            best = min(quick, key=lambda name: (-self._heights[name], self._place[name]))
        else:
            best = heapq.heappop(self._heap)[2]
            while best not in self._offered:
                best = heapq.heappop(self._heap)[2]
        self._offered.discard(best)
        return self.plan.nodes[best]

    def width(self, missing: list[Node]) -> int:
        """Return how many chains end in a missing node: that many jobs can be busy at some time."""
        names = {node.fingerprint for node in missing}
        return sum(not names.intersection(self.children[name]) for name in names)

    def descendants(self, fingerprint: str) -> int:
        """Return how many nodes depend on one, directly or not."""
        seen: set[str] = set()
        waiting = [fingerprint]
        while waiting:
            for child in self.children[waiting.pop()]:
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
        return len(seen)

    def _is_quick(self, name: str) -> bool:
        step = self.plan.nodes[name].step
        return step is not None and not step.trains

    def _counted(self) -> dict[str, int]:
        """Return how many trainings are on the longest way from each node to the end, itself included."""
        heights: dict[str, int] = {}
        for name in reversed(self.plan.nodes):
            step = self.plan.nodes[name].step
            own = int(step is not None and step.trains)
            heights[name] = own + max((heights[child] for child in self.children[name]), default=0)
        return heights
