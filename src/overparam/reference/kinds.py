"""The kinds of things that a study names, and how one of each is written in a study file and in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overparam.lab import parse_yaml
from overparam.listing import REGISTRIES
from overparam.networks.architecture import GIVEN
from overparam.reference.annotations import Linked
from overparam.reference.docstrings import docstring_of
from overparam.reference.fields import Field, fields_of, words_of
from overparam.reference.markdown import flow, python
from overparam.registry import Registry

CALLED_WITH = (*GIVEN, "iteration", "total", "per_epoch", "outputs", "targets", "batch")
"""Parameters of functions that are no fields: networks, schedules and losses are called with them."""


@dataclass(frozen=True)
class Kind:
    """One kind.

    Attributes:
        word: the plural, as ``overparam list`` has it.
        intro: what such a thing is, and where it stands.
        yaml, code: how one stands in a study file and in Python, of ``{}``.
        imports: what the latter needs.
    """

    word: str
    intro: str
    yaml: str
    code: str
    imports: str = ""

    @property
    def registry(self) -> Registry[Any]:
        """Return where its things are registered."""
        return REGISTRIES[self.word]


KINDS = {
    kind.word: kind
    for kind in (
        Kind("steps", "A step makes a checkpoint of a checkpoint; a `chain` is a list of them. Settings that all steps "
            "of a name share stand in the study under that name.", "chain: [{}]", "{}"),
        Kind("datasets", "What a world is made of: `world.dataset`.", "world: {{dataset: {}}}", "World({})",
            "from overparam import World"),
        Kind("networks", "An architecture and its options: `network`. Weights are counted without biases and norms.",
            "network: {}", "Network({})", "from overparam import Network"),
        Kind("criteria", "How weights are ranked before the lowest are pruned: `prune.criterion`.",
            "prune: {{criterion: {}, fraction: 0.5}}", "Prune({}, fraction=0.5)", "from overparam import Prune"),
        Kind("scopes", "Over what the number of weights that stay is spread: `prune.scope`.",
            "prune: {{scope: {}, fraction: 0.5}}", "Prune(scope={}, fraction=0.5)", "from overparam import Prune"),
        Kind("patterns", "What goes together: `prune.pattern`.",
            "prune: {{pattern: {}, fraction: 0.5}}", "Prune(pattern={}, fraction=0.5)", "from overparam import Prune"),
        Kind("events", "What changes masks within a training: `train.events`.",
            "train: {{epochs: 10, events: [{}]}}", "Train(epochs=10, events=[{}])", "from overparam import Train"),
        Kind("constraints", "How one tensor is made from what is trained. In a study a step makes them; in Python they "
            "can be made of tensors.", "chain: [train, {}, train]", "{}", "import torch"),
        Kind("probes", "A measurement of checkpoints: `probes`.", "probes: [{}]", "{}"),
        Kind("losses", "What a training makes small: `train.loss`.", "train: {{epochs: 10, loss: {}}}",
            "Train(epochs=10, loss={})", "from overparam import Train"),
        Kind("optimisers", "How weights move: `train.optimizer`. The learning rate is `train.lr`.",
            "train: {{epochs: 10, optimizer: {}}}", "Train(epochs=10, optimizer={})", "from overparam import Train"),
        Kind("schedules", "The learning rate over the training, as a factor of `train.lr`: `train.schedule`.",
            "train: {{epochs: 60, schedule: {}}}", "Train(epochs=60, schedule={})", "from overparam import Train"),
        Kind("loggers", "What hears of each row of a run: `--log` of a command, `log` of `Study.run`, no part of a "
            "study. `NAME:VALUE` is short for the first field.", "{}", "{}"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One registered thing.

    Attributes:
        kind: what it is.
        name: the name it is registered under.
        thing: the class, function or object.
    """

    kind: Kind
    name: str
    thing: Any

    def fields(self, linked: Linked = lambda thing: None) -> tuple[Field, ...]:
        """Return its fields."""
        return fields_of(self.thing, CALLED_WITH, linked)

    @property
    def given(self) -> Any:
        """Return what its example is in a study file: its name, or its name with fields."""
        text = "\n".join(line for line in self._example if not line.startswith(">>> "))
        given = parse_yaml(text, f"the example of {self.name}") if text else self.name
        stated = [given[name] for name in self._names if name in given] if isinstance(given, dict) else []
        return {self.name: stated[0]} if stated else given

    @property
    def _names(self) -> set[str]:
        """Return the names of the thing: one that has two has one example."""
        registry = self.kind.registry
        return {name for name in registry if registry.get(name) is self.thing}

    @property
    def yaml(self) -> str:
        """Return the example in a study file."""
        return self._without_fraction(self.kind.yaml.format(flow(self.given)), ", fraction: 0.5")

    @property
    def code(self) -> str:
        """Return the example in Python, one expression."""
        stated = [line.removeprefix(">>> ") for line in self._example if line.startswith(">>> ")]
        return self._without_fraction(self.kind.code.format(stated[0] if stated else self._made()), ", fraction=0.5")

    def _without_fraction(self, text: str, part: str) -> str:
        """Return an example without its count, where the pattern says how many weights stay."""
        return text.replace(part, "") if getattr(self.thing, "decides_count", False) else text

    @property
    def _example(self) -> list[str]:
        return docstring_of(self.thing).example.splitlines()

    def _made(self) -> str:
        name, fields = (self.given, {}) if isinstance(self.given, str) else next(iter(self.given.items()))
        if self.kind.word != "steps" and self.kind.registry.name_of(self.thing) not in (None, self.name):
            return python(self.given)  # another name of a thing that has one
        if isinstance(self.thing, type):
            return f"{self.thing.__name__}({', '.join(f'{key}={python(value)}' for key, value in fields.items())})"
        if self.kind.word == "networks":
            return python(name) + (f", {python(fields)}" if fields else "")
        return python(self.given)


def things() -> list[Thing]:
    """Return everything that is registered and comes with overparam."""
    return [Thing(kind, name, kind.registry.get(name)) for kind in KINDS.values() for name in kind.registry]


def undescribed(things: list[Thing]) -> list[str]:
    """Return what lacks words: things without a line, fields without a meaning, own fields without an example."""
    found = [f"{each.name}: no docstring" for each in things if not docstring_of(each.thing).summary]
    found += [f"{each.name}.{field.name}: no words" for each in things for field in each.fields() if not field.words]
    return found + [f"{each.name}: no example" for each in things if _own(each.thing) and not each._example]


def _own(thing: Any) -> Mapping[str, str]:
    """Return what a thing's own docstring says of its fields."""
    return docstring_of(thing).args or ({} if isinstance(thing, type) else words_of(thing))
