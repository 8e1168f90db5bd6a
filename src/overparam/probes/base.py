"""What a probe is: it looks at a checkpoint in a world and returns numbers; it never changes anything."""

import dataclasses
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import nn

from overparam.checkpoint import Checkpoint, Given
from overparam.errors import SpecError
from overparam.registry import Registry, identified
from overparam.spec import named_by_class, spec
from overparam.train import TrainSettings
from overparam.worlds import World, WorldData


@dataclass(frozen=True)
class View:
    """What a probe may look at besides the checkpoint.

    Attributes:
        world: the data of the study's world.
        module: returns a fresh module of the checkpoint's network, removed units and all; weights are to be loaded
            over.
        facts: what was recorded of the step that made the checkpoint (seconds, peak memory, bytes, engines).
        device: where a network may be run.
        against: the other checkpoint, for a :class:`PairProbe`.
        curve: the learning curve of the step that made the checkpoint, by column, with None where a row lacks one.
    """

    world: WorldData
    module: Callable[[], nn.Module]
    facts: Mapping[str, Any] = field(default_factory=dict)
    against: Given | None = None
    device: str = "cpu"
    curve: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurements:
    """What a probe returns.

    Attributes:
        values: numbers (or a word) of the whole network, by column name.
        layers: numbers of each layer (named by its weight tensor), by column name.
    """

    values: Mapping[str, float | int | str | None]
    layers: Mapping[str, Mapping[str, float | int | str | None]] = field(default_factory=dict)


@spec
class Probe:
    """Base of all probes: a frozen object of its parameters.

    A new probe is a ``@spec`` class that implements :meth:`measure`.
    The code of a probe of one's own belongs to the fingerprint, with the globals that it names: they must not change.

    ``columns`` and ``layer_columns`` state what is measured, by name: ``float``, ``int`` or ``str``. A table has these
    columns even where nothing is measured yet. A probe whose columns depend on the world says so by
    :meth:`columns_in`. A probe of one's own may leave all out; its columns are then those that it returns.
    """

    kind: ClassVar[str] = ""  # what it is called in messages; by default after its class, WeightNorm being weight-norm
    version: ClassVar[int] = 1  # raise it when the same parameters begin to mean other numbers
    columns: ClassVar[Mapping[str, type]] = {}
    layer_columns: ClassVar[Mapping[str, type]] = {}
    measured: ClassVar[tuple[str, ...]] = ()  # columns that differ from run to run, such as times

    @abstractmethod
    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Return the measurements of ``checkpoint``."""
        raise NotImplementedError

    def columns_in(self, world: World) -> Mapping[str, type]:
        """Return the columns that are measured in a world."""
        return self.columns

    def check(self, found: Measurements) -> None:
        """Raise :class:`SpecError` if ``found`` has another column than is stated, or a value of another type."""
        for stated, rows in ((self.columns, [found.values]), (self.layer_columns, list(found.layers.values()))):
            for name, value in [pair for row in rows for pair in row.items()] if stated else ():
                kind = stated.get(name)
                if kind is None:
                    raise SpecError(f"column {name!r} is measured but not stated (stated: {', '.join(stated)})")
                if value is not None and not isinstance(value, (int, float) if kind is float else kind):
                    raise SpecError(f"column {name!r} is stated as {kind.__name__}, but {value!r} was measured")

    def check_training(self, settings: TrainSettings, data: WorldData) -> None:
        """Raise :class:`SpecError` if it can be told before it runs that a training leaves nothing to measure."""

    def parameters(self) -> dict[str, Any]:
        """Return every field; they decide the result."""
        return identified(self)

    def __init_subclass__(cls) -> None:
        """Let a class without a ``kind`` of its own be called by its name."""
        named_by_class(cls)

    def references(self) -> tuple[str, ...]:
        """Return the reference to the other checkpoint that it needs, if it needs one."""
        return ()

    def shares(self, name: str) -> Literal["tensors", "outputs"]:
        """Return what the other checkpoint's network must have in common; see :meth:`overparam.Step.shares`."""
        return "tensors"

    @property
    def suffix(self) -> str:
        """What is put behind the names of its columns."""
        return ""


@spec
class PairProbe(Probe):
    """Base of the probes that compare a checkpoint with another one, which they get by :meth:`other`.

    A study may have the same one several times, against different checkpoints: where ``against`` is not the usual one
    of its kind, it stands behind the names of the columns, as in ``learning_distance_previous``.

    Args:
        against: a reference to the other checkpoint: ``init``, ``previous`` (the row before; the initialisation for
            the first), a label, ``teacher/last``, ``seed+1`` (the same place of the chain with the next seed), ...
    """

    against: str = "previous"

    def references(self) -> tuple[str, ...]:
        """Return the reference to the other checkpoint."""
        return (self.against,)

    def other(self, checkpoint: Checkpoint, view: View) -> Checkpoint:
        """Return the other checkpoint; raises :class:`SpecError` if there is none, or its tensors have other shapes."""
        if view.against is None:
            raise SpecError("it compares two checkpoints and was given one; set the view's against")
        other = view.against.checkpoint
        shapes, others = ({name: tuple(t.shape) for name, t in each.state.items()} for each in (checkpoint, other))
        for name in [*shapes, *others]:
            if shapes.get(name) != others.get(name):
                raise SpecError(
                    f"tensor {name!r} has shape {shapes.get(name)} here and {others.get(name)} in {self.against!r}, so "
                    "the two cannot be compared; name a checkpoint of the same shapes"
                )
        return other

    @property
    def suffix(self) -> str:
        """The other checkpoint, unless it is the usual one of this kind, as a part of a column's name."""
        usual = {field.name: field.default for field in dataclasses.fields(self)}["against"]
        return "" if self.against == usual else "_" + re.sub(r"\W+", "_", self.against).strip("_").lower()


PROBES: Registry[Probe] = Registry(
    "probe", "a Probe, with a method measure(checkpoint, view)", lambda thing: isinstance(thing, Probe)
)
