"""What a step is: a checkpoint in, a checkpoint out."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import nn

from overparam.checkpoint import Checkpoint, Given
from overparam.errors import StepError
from overparam.length import Length
from overparam.registry import Registry, identified
from overparam.spec import named_by_class, spec
from overparam.train.loop import Journal
from overparam.worlds import WorldData

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Context:
    """What a step may use besides its checkpoint; made by the lab, or by anyone who runs a step by hand.

    Attributes:
        world: the data of the world that the step runs in.
        module: returns a fresh module of the network that the step begins with, removed units and all; its weights are
            to be loaded over.
        fresh: returns a newly initialised module for a draw of the initialisation stream (``"init"`` is the first), and
            for a ``surgery``, if one is given, with smaller layers in it.
        seed: of the study's streams.
        given: the checkpoints that the step named, with their networks, by name (see :meth:`Step.references`).
        progress: to be called with parts done, parts in all and the newest numbers; may be None.
        journal: keeps the state of long steps; may be None.
        engine: ``auto``, ``dense`` or ``sparse``: what a training computes with. It changes no result but for the
            rounding of sums, so it is no parameter of a step.
        device: where a training computes, likewise.
    """

    world: WorldData
    module: Callable[[], nn.Module]
    fresh: Callable[..., nn.Module]
    seed: int = 0
    given: Mapping[str, Given] = field(default_factory=dict)
    progress: Progress | None = None
    journal: Journal | None = None
    engine: str = "dense"
    device: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """What a step gives back.

    Attributes:
        checkpoint: the result.
        points: checkpoints on the way that a later step may name.
        curve: the learning curve of a training, one row per epoch.
        facts: further numbers worth keeping; ``engines``, if there, has the engine of each weight, and
            ``engine_note`` why.
        notes: sentences that the user should hear.
    """

    checkpoint: Checkpoint
    points: Mapping[str, Checkpoint] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


@spec
class Step:
    """Base of all steps: a frozen object of its parameters that makes a checkpoint of a checkpoint.

    A new kind of step is a ``@spec`` class that implements :meth:`run` as a pure function: the same parameters,
    checkpoint, world and seed give the same result. The code of a step of one's own belongs to the fingerprint, with
    the globals that it names: they must not change as it runs.

    Args:
        label: a name under which later steps can refer to this step's result.
        called: what it is called in tables, where that is not its ``kind``: ``finetune``, for a training with the
            settings of that name. It changes no result.
        world: settings of the study's world that differ for this step, e.g. ``{"label_noise": None}``.
    """

    kind: ClassVar[str] = ""  # what it is called in tables; by default after its class, AddNoise being add-noise
    version: ClassVar[int] = 1  # raise it when the same parameters begin to mean another result
    trains: ClassVar[bool] = False  # whether its result is a trained network, worth measuring
    main: ClassVar[str | None] = None  # the field that a bare value in a study file sets
    quick: ClassVar[bool] = False  # whether it is run to try a study: it then must not refuse by counts or weights
    next_level: ClassVar[bool] = False  # whether its result is at the next level of a chain, as that of pruning is
    keeps_counts: ClassVar[bool] = False  # whether each tensor has as many weights left as before, in any network

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = ()  # fields of which only one can be given

    label: str | None = field(default=None, kw_only=True)
    called: str | None = field(default=None, kw_only=True)
    world: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def references(self) -> tuple[str, ...]:
        """Return the references to the other checkpoints it needs, such as ``init``, ``500it`` or ``teacher/last``."""
        return ()

    def shares(self, name: str) -> Literal["tensors", "outputs"]:
        """Return what the network of a checkpoint that it names must have in common with the chain's own.

        ``tensors``: the same names and shapes; ``outputs``: outputs of the same shape for the inputs of the step's
        world, whatever the architecture. It is checked before anything is run.
        """
        return "tensors"

    def traits(self) -> Mapping[str, str]:
        """Return columns of a study's table that it decides for its chain; of several steps the first does.

        What comes before the first ``next_level`` decides nothing.
        """
        return {}

    @property
    def measured(self) -> bool:
        """Whether its result has a row in the table of a study: every training's has."""
        return self.trains

    @abstractmethod
    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Make the result of this step from ``start``."""
        raise NotImplementedError

    def outcome(self, start: Checkpoint, context: Context) -> Outcome:
        """Run, and return what came of it; raises :class:`StepError` if that is no :class:`Outcome`."""
        found: object = self.run(start, context)
        if not isinstance(found, Outcome):
            hint = "; return Outcome(checkpoint)" if isinstance(found, Checkpoint) else ""
            raise StepError(f"step {self.name}: run must return an Outcome, got a {type(found).__name__}{hint}")
        return found

    def rehearse(self, start: Checkpoint, context: Context) -> Checkpoint | None:
        """Return what stands for this step's result where a study is tried, before anything is run.

        Raises :class:`SpecError` for what :meth:`run` would refuse in a network of the layers and under the constraints
        of ``start``, whose weights and masks are none that a training has made: how many are kept says nothing. The
        result has layers, constraints, and position in the schedule as :meth:`run` would leave them. None: nobody
        knows; the steps that follow are tried as if nothing had come before them. That is the default, unless the step
        is ``quick``: such a one is run.
        """
        return self.outcome(start, context).checkpoint if self.quick else None

    def check_after(self, before: Sequence["Step"], given: Mapping[str, Sequence["Step"]]) -> None:
        """Raise :class:`SpecError` for what :meth:`run` would refuse in any network after the steps ``before``.

        ``given`` has the steps that lead to each checkpoint that it names; all are from the initialisation on.
        """

    def saving(self, points: tuple[Length, ...]) -> "Step":
        """Return this step so that it also keeps ``points`` on its way; only a training can."""
        return self

    @classmethod
    def merged(cls, settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``settings`` overridden by ``own``; a field drops the alternatives to it from ``settings``."""
        dropped = {name for group in cls.alternatives if set(group) & set(own) for name in group}
        return {**{key: value for key, value in settings.items() if key not in dropped}, **own}

    def parameters(self) -> dict[str, Any]:
        """Return what decides the result: every field but the names of the step and the world (an input)."""
        return identified(self, skipped=("label", "called", "world"))

    @property
    def name(self) -> str:
        """What it is called where a user reads of it."""
        return self.called or self.kind

    def __init_subclass__(cls) -> None:
        """Let a class without a ``kind`` of its own be called by its name."""
        named_by_class(cls)


STEPS: Registry[Step] = Registry(
    "step", "a Step, with a method run(start, context)", lambda thing: isinstance(thing, Step)
)
