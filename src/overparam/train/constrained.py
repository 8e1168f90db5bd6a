"""A network in training some of whose tensors are made from what their constraints leave free."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from overparam.constraints import EVALUATION, TRAINING, Constraint, Masked, effective
from overparam.errors import SpecError
from overparam.train.losses import BatchLoss
from overparam.train.optimisers.state import Slots
from overparam.train.penalty import l1_strengths
from overparam.train.place import Place, on_cpu
from overparam.train.settings import TrainSettings
from overparam.train.trainees import ModuleTrainee, checked, masked_slots
from overparam.worlds import Batch, WorldData
from overparam.worlds.task import Sums


class ConstrainedTrainee(ModuleTrainee):
    """A module that is called with weights made anew from what the optimiser moves; it never moves the weights.

    Plain masks are held by their gradients, as in any training. Between iterations the module's own tensors are old;
    whoever looks at the module gets the weights of evaluation.
    """

    def __init__(
        self,
        module: nn.Module,
        data: WorldData,
        settings: TrainSettings,
        constraints: Mapping[str, Constraint],
        place: Place | None = None,
    ) -> None:
        self.place = place or Place(module, None, "float32")
        others = {name: each for name, each in constraints.items() if not isinstance(each, Masked)}
        made: dict[str, Constraint] = {name: self.place.under(each) for name, each in others.items()}
        _prepare(module, made)
        self.own = {n: p for n, p in module.named_parameters() if p.requires_grad and n in made}
        self.made = {name: made[name] for name in self.own}
        self.free = {
            name: {key: _trainable(name, key, tensor) for key, tensor in each.free(self.own[name].detach()).items()}
            for name, each in self.made.items()
        }
        masks = {name: each.mask for name, each in constraints.items() if isinstance(each, Masked)}
        engines = {name: "dense" for name, each in constraints.items() if each.kept() is not None}
        strengths = l1_strengths(settings.l1, module, engines, data.test.inputs[:1])
        super().__init__(module, data, settings, masks, self.place, strengths)
        self.engines = engines
        self.network = _WithLoss(module, self.batch_loss)
        self.settled = True

    def _parameters(self) -> dict[str, nn.Parameter]:
        found: dict[str, nn.Parameter] = {}
        for name, parameter in super()._parameters().items():
            free = {f"{name}:{key}": each for key, each in self.free[name].items()} if name in self.free else None
            found |= {name: parameter} if free is None else free
        return found

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        weights = {name: each.weight(self.free[name], TRAINING) for name, each in self.made.items()}
        loss = checked(functional_call(self.network, {f"module.{n}": w for n, w in weights.items()}, (batch,)))
        penalties = [each.penalty(self.free[name]) for name, each in self.made.items()]
        under_l1 = [name for name in weights if name in self.strengths]
        penalties += [self.strengths[name] * weights[name].abs().sum() for name in under_l1]
        self.settled = False
        return loss, sum((each for each in penalties if each is not None), loss)

    def _step(self, batch: Batch) -> Tensor:
        loss = super()._step(batch)
        used = [name for name, parameter in self.own.items() if parameter.grad is not None]
        if used:
            raise SpecError(
                f"the network uses {used[0]!r} other than as the parameter of its layer (a list, another object or a "
                "function holds it), so it cannot be trained under a constraint that makes it from something else"
            )
        return loss

    @torch.no_grad()
    def _settle(self) -> None:
        """Give the module the weights of evaluation."""
        for name, each in self.made.items() if not self.settled else ():
            self.own[name].copy_(each.weight(self.free[name], EVALUATION))
        self.settled = True

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the module's state."""
        self._settle()
        return super().state()

    def sums(self, examples: Batch) -> Sums:
        """Measure the module."""
        self._settle()
        return super().sums(examples)

    def constraints(self) -> dict[str, Constraint]:
        """Return the constraints as training has moved them."""
        moved = {
            name: on_cpu(each.moved({key: tensor.detach().clone() for key, tensor in self.free[name].items()}))
            for name, each in self.made.items()
        }
        return {**self.under, **moved}

    def constrain(self, constraints: Mapping[str, Constraint]) -> None:
        """Go on under other constraints."""
        self.made |= {name: self.place.under(each) for name, each in constraints.items() if name in self.made}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], slots: Slots) -> None:
        """Go back to a state."""
        super().restore(state, slots)
        for name, each in self.made.items():
            for key, tensor in each.free(self.place.moved(state[name])).items():
                self.free[name][key].copy_(tensor)
        self.settled = False

    def _load(self, slots: Slots) -> None:
        """Give the optimiser its state, for what is free as for weights: zero outside a mask."""
        masks = {name: mask for name, each in self.made.items() if (mask := getattr(each, "mask", None)) is not None}
        free = {f"{name}:{key}": mask for name, mask in masks.items() for key in self.free[name]}
        self.remembered.restore(masked_slots(slots, self.names, self.masks | free))


class _WithLoss(nn.Module):
    """A module and its loss, which may look at the module's weights, as one call."""

    def __init__(self, module: nn.Module, loss: BatchLoss) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, batch: Batch) -> Tensor:
        return self.loss(self.module(batch.inputs), batch)


@torch.no_grad()
def _prepare(module: nn.Module, constraints: Mapping[str, Constraint]) -> None:
    """Give the module the weights that it begins with, and no gradients of whatever was done with it before."""
    for name, each in constraints.items():
        parameter = module.get_parameter(name)
        parameter.copy_(effective(each, parameter.clone()))
        parameter.grad = None


def _trainable(name: str, key: str, tensor: Tensor) -> nn.Parameter:
    if not tensor.is_floating_point():
        raise SpecError(f"constraints: what is free of {name!r} must be floating-point, got {tensor.dtype} for {key!r}")
    return nn.Parameter(tensor.detach().clone())
