"""What a constraint is: how one tensor of a network is made from what is trained."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from torch import Tensor

from overparam.errors import SpecError
from overparam.registry import Registry

Free = Mapping[str, Tensor]


class Bits(NamedTuple):
    """What a tensor costs to store, in bits: where its values are, the values, and what they are looked up in."""

    positions: int
    values: int
    codebook: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


@dataclass(frozen=True)
class WeightContext:
    """What a constraint may know when it makes a weight.

    Attributes:
        training: False in evaluation, where a random mask takes its most probable value.
        sampled: whether in evaluation a random mask is drawn instead, from torch's global generator.
    """

    training: bool
    sampled: bool = False


TRAINING = WeightContext(training=True)
"""As in training: random masks are drawn."""
EVALUATION = WeightContext(training=False)
"""As in evaluation: a random mask takes its most probable value."""
SAMPLED = WeightContext(training=False, sampled=True)
"""As in evaluation, with random masks drawn."""


class Constraint(ABC):
    """How one tensor of a network is made from what is trained.

    A new kind is a ``@spec`` class whose fields are tensors and JSON-able settings: these are what is stored. It holds
    only what the weight itself does not tell, so a plain mask has its mask alone; hence ``weight`` as an argument, the
    tensor of the checkpoint's state. It is immutable, and so are its tensors. A field ``mask`` (bool, of the weight's
    shape), if there is one, says which weights are kept.
    """

    zero_outside: ClassVar[bool] = True  # whether the weight is exactly +0.0 where it is not kept

    @property
    def random(self) -> bool:
        """Whether its mask is drawn at random, so that there are samples of it."""
        return False

    def kept(self) -> Tensor | None:
        """Return which weights are not pruned (bool, of the weight's shape); None if it is not pruned at all."""
        return getattr(self, "mask", None)

    @abstractmethod
    def free(self, weight: Tensor) -> dict[str, Tensor]:
        """Return the tensors that an optimiser moves, floating-point, by name; there may be none."""

    @abstractmethod
    def weight(self, free: Free, context: WeightContext) -> Tensor:
        """Return the weight, differentiable in what is free; in evaluation always the same bits."""

    def penalty(self, free: Free) -> Tensor | None:
        """Return a scalar to be added to the loss, or None."""
        return None

    def moved(self, free: Free) -> Self:
        """Return the constraint after training, given what was free; by default fields of these names are replaced."""
        own = {field.name for field in dataclasses.fields(cast(Any, self))} & set(free)
        return self._with(**{name: free[name] for name in own}) if own else self

    @abstractmethod
    def onto(self, weight: Tensor) -> Self:
        """Return the same constraint over another weight, as after rewinding or a new initialisation."""

    def beneath(self, weight: Tensor) -> Tensor:
        """Return the weight that lies under the constraint: what :meth:`onto` would take to give the same again."""
        return weight

    def under(self, mask: Tensor) -> Self:
        """Return the constraint with other weights kept; raises :class:`SpecError` where that means nothing."""
        if getattr(self, "mask", None) is None:
            raise SpecError(f"{type(self).__name__} has no weights that could be pruned or given back one by one")
        return self._with(mask=mask)

    def bits(self, weight: Tensor) -> Bits:
        """Return what the tensor costs to store; by default one bit an element, unless all are kept, and the values."""
        kept = self.kept() if self.zero_outside else None
        if kept is None or bool(kept.all()):
            return Bits(0, weight.numel() * width(weight))
        return Bits(kept.numel(), int(kept.count_nonzero()) * width(weight))

    def _with(self, **fields: Any) -> Self:
        return cast(Self, dataclasses.replace(cast(Any, self), **fields))

    def misfit(self, weight: Tensor, values: bool) -> str:
        """Say why a tensor of the state cannot be under this constraint; ``values``: why it is not what is made."""
        kind, kept = type(self).__name__, self.kept()
        made = weight if kept is not None and kept.shape != weight.shape else effective(self, weight)
        for each in (made, made if kept is None else kept):
            if each.shape != weight.shape or made.dtype != weight.dtype:
                return f"has a {kind} for {tuple(each.shape)}, {made.dtype}"
        if values and not torch.allclose(made, weight, rtol=1e-3, atol=1e-6, equal_nan=True):
            return f"is not what its {kind} makes; change weights by Checkpoint.with_state"
        return ""


CONSTRAINTS: Registry[Constraint] = Registry("constraint", "a Constraint", lambda thing: isinstance(thing, Constraint))


@torch.no_grad()
def effective(constraint: Constraint, weight: Tensor) -> Tensor:
    """Return the weight that a network computes with in evaluation, given the tensor of its state."""
    return constraint.weight(constraint.free(weight), EVALUATION)


def check_constraint(name: str, constraint: object, weight: Tensor, values: bool = True) -> None:
    """Raise :class:`SpecError` unless ``constraint`` fits the tensor ``weight``, or, with ``values``, makes it."""
    if not isinstance(constraint, Constraint):
        hint = "; put a mask into Masked(mask)" if isinstance(constraint, Tensor) else ""
        raise SpecError(f"constraints: {name!r} must have a Constraint, got a {type(constraint).__name__}{hint}")
    reason = constraint.misfit(weight, values)
    if reason:
        raise SpecError(f"constraints: {name!r} of shape {tuple(weight.shape)}, {weight.dtype}, {reason}")


def check_mask(mask: Tensor, *others: Tensor) -> None:
    """Raise :class:`SpecError` unless ``mask`` is a bool tensor and all ``others`` have its shape."""
    if mask.dtype != torch.bool:
        raise SpecError(f"mask must be a bool tensor, got {mask.dtype}; use mask.bool() on zeros and ones")
    check_shapes(mask, *others)


def check_shapes(*tensors: Tensor) -> None:
    """Raise :class:`SpecError` unless all ``tensors`` have one shape."""
    shapes = list(dict.fromkeys(tuple(tensor.shape) for tensor in tensors))
    if len(shapes) > 1:
        raise SpecError(f"its tensors must have one shape, got {', '.join(map(str, shapes))}")


def width(weight: Tensor) -> int:
    """Return the bits of one element."""
    return 8 * weight.element_size()
