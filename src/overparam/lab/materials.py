"""What a plan is made of besides steps: worlds and networks, each once, and whether they go together."""

from __future__ import annotations

import torch
from torch import nn

from overparam.errors import SpecError, in_words
from overparam.identity import Digest
from overparam.lab.experiment import Experiment, world_from
from overparam.lab.fingerprint import fingerprint
from overparam.lab.plan import Plan, Source
from overparam.networks import Network
from overparam.networks.architecture import Form
from overparam.probes import Probe
from overparam.spec import field_names
from overparam.steps import Step
from overparam.worlds import World, WorldData

INIT_VERSION = 1  # raise it when the same network and seed begin to mean another initialisation

Made = tuple[int, Form]  # a network as it is made for a form, but for the seed


class Materials:
    """The worlds and networks of a plan, which are added to its lists; what is asked of each is asked once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._worlds: dict[str, int] = {}
        self._networks: dict[tuple[str | int, str | None, str], int] = {}
        self._forms: dict[int, Form] = {}
        self._inits: dict[tuple[Made, int], str] = {}
        self._pretrained: dict[Made, bool] = {}
        self._fitting: set[tuple[str, int, Made, Made]] = set()

    def world(self, world: World) -> int:
        """Return the place of ``world`` in the plan's list."""
        print_ = fingerprint(world.identity())
        if print_ not in self._worlds:
            self._worlds[print_] = len(self.plan.worlds)
            self.plan.worlds.append(world)
            self.plan.world_prints.append(print_)
        return self._worlds[print_]

    def form(self, world: int) -> Form:
        """Return what a network is made for in the world at a place."""
        if world not in self._forms:
            self._forms[world] = Form(**self.plan.worlds[world].form())
        return self._forms[world]

    def network(self, network: Network) -> int:
        """Return the place of ``network`` in the plan's list."""
        # not by ==, for which 1 is True, and which has no answer where options hold tensors
        name = network.name if isinstance(network.name, str) else id(network.name)
        key = (name, network.init, Digest().add(network.options).hex())
        if key not in self._networks:
            self._networks[key] = len(self.plan.networks)
            self.plan.networks.append(network)
        return self._networks[key]

    def initial(self, network: int, world: int, seed: int) -> str:
        """Return the fingerprint of an initialisation."""
        form = self.form(world)
        key = ((network, form), seed)
        if key not in self._inits:
            identity = self.plan.networks[network].identity(**form._asdict(), seed=seed)
            self._inits[key] = fingerprint({"step": "init", "version": INIT_VERSION, "network": identity, "seed": seed})
        return self._inits[key]

    def comes_with_weights(self, network: int, world: int, seed: int) -> bool:
        """Tell whether a network starts from the same weights whatever the seed."""
        form = self.form(world)
        key = (network, form)
        if key not in self._pretrained:
            self._pretrained[key] = self.plan.networks[network].comes_with_weights(**form._asdict(), seed=seed)
        return self._pretrained[key]

    def step_world(self, experiment: Experiment, step: Step, world: int) -> int:
        """Return the place of the world that a step runs in; the network must be made for its inputs and outputs."""
        if not step.world:
            return world
        fields = {name: getattr(experiment.world, name) for name in field_names(World)}
        try:
            here = self.world(world_from({**fields, **step.world}))
            if self.form(here) != self.form(world):
                made = [
                    experiment.network.build(**self.form(place)._asdict(), seed=experiment.seed)
                    for place in (world, here)
                ]
                shapes = [{name: each.shape for name, each in module.state_dict().items()} for module in made]
                if shapes[0] != shapes[1]:
                    raise SpecError(
                        f"{self.form(here)} do not fit the network, which is made for {self.form(world)}; steps of a "
                        "chain share its weights"
                    )
        except SpecError as error:
            raise SpecError(f"{step.kind}.world: {error}") from None
        return here

    def check_given(self, part: Step | Probe, name: str, world: int, own: tuple[int, int], given: Source) -> None:
        """Raise :class:`SpecError` if the network of a checkpoint that a step or probe names does not suit it.

        It runs in ``world``; ``own`` are the network and the world that it is made for, of the part's own chain.
        """
        shared = part.shares(name)
        one, other = (own[0], self.form(own[1])), (given.network, self.form(given.world))
        key = (shared, world, one, other)
        if one == other or key in self._fitting:
            return
        mine, theirs = (self.plan.networks[network].fresh(**form._asdict(), seed=0) for network, form in (one, other))
        why = _other_outputs if shared == "outputs" else _other_tensors
        if found := why(mine, theirs, self.plan.worlds[world].build()):
            label = self.plan.networks[given.network].label
            raise SpecError(f"{part.kind} refers to {name!r}, whose network {label!r} does not fit: {found}")
        self._fitting.add(key)


def _other_tensors(own: nn.Module, other: nn.Module, data: WorldData) -> str:
    """Return what is different between the tensors of two networks, in words; empty if nothing is."""
    shapes, others = ({name: tuple(t.shape) for name, t in each.state_dict().items()} for each in (own, other))
    for name in [*shapes, *others]:
        if shapes.get(name) != others.get(name):
            words = [f"of shape {found[name]}" if name in found else "not there" for found in (others, shapes)]
            return f"its tensor {name!r} is {words[0]}, in the chain's own network {words[1]}"
    return ""


@torch.no_grad()
def _other_outputs(own: nn.Module, other: nn.Module, data: WorldData) -> str:
    """Return why one network cannot give outputs in the place of another, in words; empty if it can."""
    inputs = data.test.inputs[:2]
    try:
        shapes = [tuple(module.eval()(inputs).shape) for module in (other, own)]
    except Exception as error:  # noqa: BLE001 (a user's module may raise anything)
        return f"it fails on inputs of shape {tuple(inputs.shape[1:])} ({in_words(error)})"
    outputs = [" x ".join(map(str, shape[1:])) for shape in shapes]
    return "" if shapes[0] == shapes[1] else f"it has {outputs[0]} outputs where {outputs[1]} are needed"
