"""Optimisers of torch's kind that are no file here: those of ``torch.optim``, and a user's own, by import path."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from overparam.errors import SpecError, in_words
from overparam.train.optimisers.base import OPTIMISERS, Optimiser, light


@dataclass(frozen=True)
class OfTorch(Optimiser):
    """A class of ``torch.optim``'s kind with its settings: ``{"my.module:Lion": {"betas": [0.9, 0.99]}}``.

    Raises :class:`SpecError` if it cannot be made with them, needs a closure, or takes no learning rate.
    """

    kind: type[torch.optim.Optimizer]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.kind.__name__
        if _needs_closure(self.kind):
            raise SpecError(f"optimiser {name} computes the loss several times a step, which a training here does not")
        try:
            made = self.over([nn.Parameter(torch.zeros(2, 2))], 0.1)
        except Exception as error:  # the user's own code may raise anything
            raise SpecError(f"optimiser {name} cannot be made with lr and these settings: {in_words(error)}") from error
        if len(made.param_groups) != 1 or made.param_groups[0].get("lr") != 0.1:
            raise SpecError(f"optimiser {name} must have one group of parameters with the lr that it is given")

    def over(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return the user's optimiser."""
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in self.settings.items()}
        make: Any = _light(self.kind)
        made: torch.optim.Optimizer = make(list(parameters), lr=lr, **settings)
        return made


def _light(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """Return a class that does not load torch.compile's machinery; the code of a user's own class stays as it is."""
    if kind.__module__.startswith("torch.optim"):
        return light(kind)
    if kind.add_param_group is not torch.optim.Optimizer.add_param_group:
        return kind
    return type(kind.__name__, (kind,), {"add_param_group": inspect.unwrap(kind.add_param_group)})


def _needs_closure(kind: type[torch.optim.Optimizer]) -> bool:
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _adapted(thing: Any, fields: Mapping[str, Any]) -> Optimiser | None:
    """Return the optimiser that a class of torch's kind is; None for all else."""
    if isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer):
        return OfTorch(thing, fields)
    return None


OPTIMISERS.adapt(_adapted)
