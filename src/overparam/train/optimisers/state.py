"""The state of torch's optimisers as tensors and plain numbers, which a journal can keep, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.identity import held_digest
from overparam.train.optimisers.base import light

Slots = dict[int, dict[str, Any]]
"""By number of the parameter and name, tensors and plain numbers; :data:`GROUP` has those of the group itself."""

GROUP = -1
OWN = ("params", "lr")  # of a group: what the training sets
PLAIN = (bool, int, float, type(None))


class KeptState:
    """What an optimiser remembers, as a journal keeps it.

    Args:
        optimiser: just made, with one group.
    """

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self.optimiser = optimiser
        self._group = {name: value for name, value in self.group.items() if name not in OWN}
        self._outside = self._kept_outside()

    @property
    def group(self) -> dict[str, Any]:
        """The only group of parameters."""
        return self.optimiser.param_groups[0]

    def slots(self) -> Slots:
        """Return the state; tensors are the optimiser's own."""
        numbers = {id(parameter): number for number, parameter in enumerate(self.group["params"])}
        found = {numbers[id(parameter)]: dict(state) for parameter, state in self.optimiser.state.items()}
        changed = {k: v for k, v in self.group.items() if k not in OWN and not _same(v, self._group.get(k))}
        return {**found, **({GROUP: changed} if changed else {})}

    def restore(self, slots: Slots) -> None:
        """Go back to a state, bit for bit and in its own dtypes."""
        self.optimiser.state.clear()
        for number, state in slots.items():
            copied = {name: self._there(name, v, number) for name, v in state.items()}
            if number == GROUP:
                self.group.update(copied)
            else:
                self.optimiser.state[self.group["params"][number]] = copied

    def _there(self, name: str, value: Any, number: int) -> Any:
        """Return a copy of a part of the state on the device where the optimiser wants it."""
        if not isinstance(value, Tensor):
            return value
        counts_here = name == "step" and not (self.group.get("fused") or self.group.get("capturable"))
        stays = number == GROUP or counts_here  # torch counts steps on the CPU, but for fused optimisers
        return value.clone() if stays else value.to(self.group["params"][number].device, copy=True)

    def check(self) -> None:
        """Raise :class:`SpecError` if a journal could not keep what the optimiser remembers."""
        name = type(self.optimiser).__name__
        for slot, value in ((slot, value) for state in self.slots().values() for slot, value in state.items()):
            if not isinstance(value, (Tensor, *PLAIN)):
                raise SpecError(
                    f"optimiser {name} keeps {slot!r} of type {type(value).__name__} in its state, without which a "
                    "training that is stopped could not go on with the same numbers; keep tensors and numbers"
                )
        outside = self._kept_outside()
        for attribute in sorted(outside):
            if outside[attribute] != self._outside.get(attribute):
                raise SpecError(
                    f"optimiser {name} changes its attribute {attribute!r} as it steps, without which a training that "
                    "is stopped could not go on with the same numbers; keep it in self.state or in the group"
                )

    def _kept_outside(self) -> dict[str, str]:
        """Return digests of the attributes that are not torch's."""
        return {name: held_digest(value) for name, value in vars(self.optimiser).items() if name not in TORCHS}


def _same(one: Any, other: Any) -> bool:
    # a tensor may have been changed in place, so one that stands in a group is always kept
    return not isinstance(one, Tensor) and not isinstance(other, Tensor) and bool(one == other)


# the attributes of torch's optimisers, of which it notes what needs to be told or checked no more
TORCHS = {
    *vars(light(torch.optim.SGD)([nn.Parameter(torch.zeros(1))], lr=0.1)),
    "_need_device_dtype_check_for_fused",
    "_warned_capturable_if_run_uncaptured",
}


def add_momentum(optimiser: torch.optim.Optimizer) -> None:
    """Give each parameter that has had no gradient yet the momentum that it would have: zeros.

    torch's fused SGD fails where some have momentum and others their first gradient, as arises where a forward does
    not call each layer each time.
    """
    for group in optimiser.param_groups:
        if not (isinstance(optimiser, torch.optim.SGD) and group.get("momentum")):
            continue
        for parameter in group["params"]:
            if optimiser.state[parameter].get("momentum_buffer") is None:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
