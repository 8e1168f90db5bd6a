"""What an optimiser is to a training."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import nn

from overparam.registry import Registry

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


@dataclass(frozen=True)
class Compiled:
    """How compiled epochs do what an optimiser does (:class:`overparam.sparse.perceptron.Optimiser`).

    Attributes:
        settings: the fields of the compiled optimiser but ``l1``.
        first, second: what torch's optimiser calls momentum or first moments, and second moments; None without.
        steps: what it calls the number of its steps; None if it does not count them.
    """

    settings: Mapping[str, Any]
    first: str | None = None
    second: str | None = None
    steps: str | None = None


class Optimiser(ABC):
    """Base of all optimisers: a frozen object of its settings but the learning rate, which a schedule gives.

    A new optimiser is a ``@spec`` class that implements :meth:`over`. A class of ``torch.optim``'s kind need not be
    wrapped: it is an optimiser by its import path.
    """

    @abstractmethod
    def over(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return torch's optimiser of ``parameters``, one group, with empty state."""

    def compiled(self) -> Compiled | None:
        """Return the compiled form; without one, layers are trained by torch's optimiser, sparse ones too."""
        return None


OPTIMISERS: Registry[Optimiser] = Registry(
    "optimiser",
    "an Optimiser or a class of torch.optim's kind",
    lambda thing: isinstance(thing, Optimiser),
)


def light(kind: type[Kind]) -> type[Kind]:
    """Return torch's optimiser ``kind`` without the wrappers that load torch.compile's machinery.

    They only matter to compiled code, but the first call imports 800 modules: a second or two in every process, more
    than many a study takes. What is computed is torch's own code either way.
    """
    step = torch.no_grad()(inspect.unwrap(kind.step))
    add = inspect.unwrap(kind.add_param_group)
    return cast(type[Kind], type(kind.__name__, (kind,), {"step": step, "add_param_group": add}))
