"""Trying a plan: each step in small, before anything is run, so that what a run would refuse is refused at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from overparam.checkpoint import Checkpoint
from overparam.errors import DataError, SpecError
from overparam.lab.fingerprint import fingerprint, part_identity
from overparam.lab.inputs import Modules, Setup
from overparam.lab.plan import Node, Plan, Source
from overparam.lab.torch_settings import full_precision
from overparam.length import Length
from overparam.networks.architecture import Form
from overparam.steps import Step
from overparam.streams import global_stream
from overparam.train.engines import check_engine
from overparam.train.place import device_named


def rehearse(plan: Plan, engine: str = "auto", device: str = "cpu") -> None:
    """Try each step of ``plan`` on the network and the data that it would have (:meth:`overparam.steps.Step.rehearse`).

    Raises:
        SpecError: what a step would refuse, named after it; an engine that there is not, a device that is not there.
    """
    check_engine(engine)
    device_named(device)
    with full_precision():
        _Rehearsal(plan, engine, device).go()


class _Rehearsal:
    """Stand-ins for the results of all steps.

    Two are one where layers, constraints and place in the schedule are the same and the same tensors are pruned. So the
    levels of a chain, and chains that differ by seeds alone, are tried once.
    """

    def __init__(self, plan: Plan, engine: str, device: str) -> None:
        self.plan = plan
        self.modules = Modules(Setup(plan.worlds, plan.world_prints, plan.networks, 1, engine, device))
        self.stand_ins: dict[str, Checkpoint] = {}  # by node
        self.tried: dict[tuple[Any, ...], Checkpoint] = {}  # by step and by what it was tried with
        self.alike: dict[tuple[Any, ...], Checkpoint] = {}  # by what tells them apart
        self.prints: dict[int, str] = {}  # of the steps, by id: the plan holds them

    def go(self) -> None:
        for name, node in self.plan.steps.items():  # parents come before their children
            self.stand_ins[name] = self._made(node, node.part) if isinstance(node.part, Step) else self._initial(node)

    def _initial(self, node: Node) -> Checkpoint:
        """Return what a chain begins with, whatever the seed."""
        key = (node.network, self._form(node))
        if key not in self.tried:
            self.tried[key] = self._one(node, self.modules.initial(node))
        return self.tried[key]

    def _made(self, node: Node, step: Step) -> Checkpoint:
        assert node.start is not None
        start, given = self.stand_ins[node.start], {n: self._given(node, each) for n, each in node.given.items()}
        key = (self._print(step), node.network, node.world, id(start), *((n, id(each)) for n, each in given.items()))
        if key not in self.tried:
            self.tried[key] = self._one(node, self._rehearsed(node, step, start, given))
        return self.tried[key]

    def _rehearsed(self, node: Node, step: Step, start: Checkpoint, given: Mapping[str, Checkpoint]) -> Checkpoint:
        """Try a step; one of which nobody knows what it does leaves what a chain begins with, as does one that fails.

        Only what is refused counts: with a network that is not trained, and few examples, much else may go wrong.
        """
        try:
            step.check_after(
                self._before(node.start), {n: self._before(source.node) for n, source in node.given.items()}
            )
            with global_stream(node.seed, "rehearsal", node.position):
                found = step.rehearse(start, self.modules.context(node, start, given))
        except (SpecError, DataError) as error:
            said = str(error)
            said = said if said.startswith(step.name) else f"{node.title}: {said}"
            raise SpecError(said, (step.name, *getattr(error, "at", ()))) from None
        except Exception:  # noqa: BLE001 (a user's module, criterion or loss may raise anything)
            found = None
        return self._initial(node) if found is None else found

    def _before(self, name: str | None) -> list[Step]:
        """Return the steps that lead from the initialisation to the result of a node, the first of them first."""
        steps = []
        while name is not None:
            if isinstance(part := self.plan.steps[name].part, Step):
                steps.append(part)
            name = self.plan.steps[name].start
        return steps[::-1]

    def _given(self, node: Node, source: Source) -> Checkpoint:
        """Return what stands for a checkpoint that was named."""
        found = self.stand_ins[source.node]
        return found if source.point is None else self._one(node, replace(found, position=Length.of(source.point)))

    def _one(self, node: Node, made: Checkpoint) -> Checkpoint:
        """Return the first of the stand-ins that are like ``made``."""
        shapes = ((name, tuple(tensor.shape)) for name, tensor in made.state.items())
        under = ((n, type(each), n in made.masks and not made.masks[n].all()) for n, each in made.constraints.items())
        return self.alike.setdefault((node.network, made.position, tuple(shapes), tuple(under)), made)

    def _print(self, step: Step) -> str:
        if id(step) not in self.prints:
            self.prints[id(step)] = fingerprint({"step": step.kind, **part_identity(step)})
        return self.prints[id(step)]

    def _form(self, node: Node) -> Form:
        return Form(**self.plan.worlds[node.world].form())
