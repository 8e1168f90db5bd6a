"""What the training loop moves: a network with an optimiser, in the form that an engine computes with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from overparam.checkpoint import load_state, masked_state, state_of
from overparam.constraints import Constraint
from overparam.errors import SpecError
from overparam.identity import for_one_use
from overparam.train.evaluate import sums
from overparam.train.losses import BatchLoss, Loss, loss_for, not_usual, on_batch
from overparam.train.optimisers import OPTIMISERS, behaviour
from overparam.train.optimisers.state import GROUP, KeptState, Slots, add_momentum
from overparam.train.penalty import l1_strengths
from overparam.train.place import Place
from overparam.train.settings import TrainSettings
from overparam.worlds import Batch, WorldData
from overparam.worlds.task import Sums


class Trainee(ABC):
    """A network in training.

    States and optimiser slots go in and out in the form of the user's own dense module, whatever the engine makes of
    them inside: a training can be taken up by another engine than began it.

    Attributes:
        engines: ``dense`` or ``sparse`` for each weight that can be pruned: how it is computed with.
        loss: the loss, a copy that is this training's own where it is an object.
        note: how the network is computed and why, in words.
        under: the constraints that it began under, by first names of parameters.
    """

    engines: Mapping[str, str]
    loss: Loss
    note: str = "dense layers, as asked for"
    under: Mapping[str, Constraint] = {}

    @abstractmethod
    def running(self) -> nn.Module | None:
        """Return the user's module as it is run; None if its forward is not, as in compiled epochs."""

    @abstractmethod
    def begin(self, epoch: int, order: torch.Generator, skipped: int) -> None:
        """Begin an epoch (from 0 on) whose order is drawn from a stream, leaving out its first batches."""

    @abstractmethod
    def advance(self, rates: Sequence[float]) -> Tensor:
        """Train on as many of the epoch's next batches as there are learning rates; return the loss of each."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return a copy of the dense module's state, exactly zero outside the masks."""

    @abstractmethod
    def sums(self, examples: Batch) -> Sums:
        """Return the task's sums of the network as it is, in evaluation mode."""

    @abstractmethod
    def slots(self) -> Slots:
        """Return the optimiser's state, as torch's has it for the dense module."""

    @abstractmethod
    def restore(self, state: Mapping[str, Tensor], slots: Slots) -> None:
        """Go back to a state and an optimiser's state; what either has outside the masks is taken to be zero."""

    def constraints(self) -> dict[str, Constraint]:
        """Return the constraints as training has moved them; it does not move plain masks."""
        return dict(self.under)

    def constrain(self, constraints: Mapping[str, Constraint]) -> None:  # noqa: B027 (plain masks stay)
        """Go on under constraints that :meth:`constraints` gave; :meth:`restore` is to follow."""

    def close(self) -> None:  # noqa: B027 (most have nothing to do)
        """Leave the module as it was but for what it learned; nothing else may be called afterwards."""


class ModuleTrainee(Trainee):
    """A module under torch's autograd and optimisers; what is pruned is held at zero by masking the gradients."""

    def __init__(
        self,
        module: nn.Module,
        data: WorldData,
        settings: TrainSettings,
        masks: Mapping[str, Tensor],
        place: Place | None = None,
        strengths: Mapping[str, float] | None = None,
    ) -> None:
        self.module, self.data, self.settings, self.masks = module, data, settings, dict(masks)
        self.place = place or Place(module, None, "float32")
        self.engines = dict.fromkeys(masks, "dense")
        shared = [*module.modules(), *module.parameters(), *module.buffers()]
        self.loss = self.place.loss(for_one_use(loss_for(settings.loss, data.task), shared))
        parameters = self._parameters()
        self.names, self.trained = list(parameters), list(parameters.values())
        optimiser = OPTIMISERS.resolve(settings.optimizer)
        self.optimiser = optimiser.over(self.trained, settings.lr)
        self.remembered, self.to_check = KeptState(self.optimiser), True
        self.keeps_zeros = behaviour(optimiser).keeps_zeros
        pruned = [name for name, mask in masks.items() if name in parameters and not mask.all()]
        self.pruned = [parameters[name] for name in pruned]
        self.factors = [masks[name].to(parameters[name]) for name in pruned]
        if strengths is None:
            strengths = l1_strengths(settings.l1, module, masks, data.test.inputs[:1])
        self.strengths = strengths
        self.penalised = [(parameters[name], strength) for name, strength in strengths.items() if name in parameters]
        self.batch_loss, self.measured_loss = self._called(), not_usual(self.loss, data.task)
        self.batches: Iterator[Batch] = iter(())

    def _called(self) -> BatchLoss:
        """Return the loss as it is called on outputs, which it gets in float32 at least."""
        loss = on_batch(self.loss)
        return loss if self.place.precision != "bfloat16" else lambda outputs, batch: loss(outputs.float(), batch)

    def _parameters(self) -> dict[str, nn.Parameter]:
        """Return what the optimiser moves, by name."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def running(self) -> nn.Module | None:
        """Return the module."""
        return self.module

    def begin(self, epoch: int, order: torch.Generator, skipped: int) -> None:
        """Begin an epoch."""
        self.module.train()
        batch_size, drop_last = self.settings.batch_size, self.settings.drop_last
        self.batches = self.data.batches(batch_size, order, drop_last, skipped, epoch)

    def advance(self, rates: Sequence[float]) -> Tensor:
        """Train on the next batches."""
        losses: list[Tensor] = []  # read once: reading a number after each batch would cost more
        group = self.remembered.group
        for rate, batch in zip(rates, self.batches, strict=False):
            if rate != group["lr"]:
                group["lr"] = rate
            losses.append(self._step(batch))
            if len(losses) == len(rates):
                break  # before the iterator makes another batch
        if self.to_check:
            self.remembered.check()
            self.to_check = False
        return torch.stack(losses)

    def _step(self, batch: Batch) -> Tensor:
        """Take one step on one batch; return its loss."""
        for parameter in self.trained:
            parameter.grad = None
        with self.place.autocast():
            loss, penalised = self._losses(batch)
        penalised.backward()  # type: ignore[no-untyped-call]
        for weight, strength in self.penalised:
            if weight.grad is not None:
                weight.grad.add_(weight.detach().sign(), alpha=strength)
        if self.pruned:
            self._mask_gradients()
        if any(parameter.grad is None for parameter in self.trained):
            add_momentum(self.optimiser)
        self.optimiser.step()
        if not self.keeps_zeros:
            self._mask_weights()
        return loss.detach()

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch, and what is to be lowered."""
        loss = checked(self.batch_loss(self.module(batch.inputs), batch))
        return loss, loss

    def _mask_gradients(self) -> None:
        gradients = [weight.grad for weight in self.pruned]
        if all(gradient is not None for gradient in gradients):
            torch._foreach_mul_(gradients, self.factors)  # type: ignore[arg-type]
        else:  # a weight that the loss does not depend on has no gradient
            for gradient, factor in zip(gradients, self.factors, strict=True):
                if gradient is not None:
                    gradient.mul_(factor)

    @torch.no_grad()
    def _mask_weights(self) -> None:
        for weight, factor in zip(self.pruned, self.factors, strict=True):
            weight.masked_fill_(factor == 0, 0.0)

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the module's state."""
        return masked_state(state_of(self.module), self.masks)

    def sums(self, examples: Batch) -> Sums:
        """Measure the module."""
        return sums(self.module, examples, self.data.task, self.measured_loss)

    def slots(self) -> Slots:
        """Return the optimiser's state."""
        return self.remembered.slots()

    def restore(self, state: Mapping[str, Tensor], slots: Slots) -> None:
        """Go back to a state."""
        load_state(self.module, masked_state(state, self.masks))
        self._load(slots)

    def _load(self, slots: Slots) -> None:
        """Give the optimiser its state."""
        self.remembered.restore(masked_slots(slots, self.names, self.masks))


def masked_slots(slots: Slots, names: Sequence[str], masks: Mapping[str, Tensor]) -> Slots:
    """Return an optimiser's state with zeros outside ``masks``, for the parameters of these names, by number.

    Momentum from before it was pruned would else move a weight whose gradient is zero.
    """
    made: Slots = {}
    for number, each in slots.items():
        mask = None if number == GROUP else masks.get(names[number])
        made[number] = {slot: _zeroed(value, mask) for slot, value in each.items()}
    return made


def _zeroed(value: Any, mask: Tensor | None) -> Any:
    """Return a part of an optimiser's state with zeros outside a mask, if it has a number for each weight."""
    if mask is None or not isinstance(value, Tensor) or not value.shape == mask.shape != ():  # not a count of steps
        return value
    return value.masked_fill(~mask.to(value.device), 0)


def checked(loss: Any) -> Tensor:
    """Return a loss; raises :class:`SpecError` if it is none."""
    if not (isinstance(loss, Tensor) and loss.dim() == 0 and loss.requires_grad):
        raise SpecError(f"train.loss must return one number that depends on the outputs, got {_described(loss)}")
    return loss


def _described(loss: Any) -> str:
    """Return what a loss gave, in words."""
    if not isinstance(loss, Tensor):
        return repr(loss)
    return f"a tensor of shape {tuple(loss.shape)}" + ("" if loss.requires_grad else " without a gradient")
