"""The events of one training: when they happen, and the masks that they make."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from overparam.checkpoint import load_state
from overparam.constraints import Constraint
from overparam.errors import StepError
from overparam.prune import Evidence
from overparam.prune.evidence import Batches, Look
from overparam.prune.selection import Named
from overparam.streams import global_stream, torch_stream
from overparam.train.events import Event, Moment
from overparam.train.losses import BatchLoss
from overparam.worlds import WorldData


class Timeline:
    """When the events of a training happen, and what they make of masks.

    Args:
        module: as it is before anything has happened; what events see is a copy.
        events: in the order in which those of one iteration happen.
        data, batch_size: where mini-batches for gradients come from.
        per_epoch, total: iterations of an epoch and of the training.
        seed: of the streams; chance is drawn from ``(seed, "event", iteration)``.
    """

    def __init__(
        self,
        module: nn.Module,
        events: tuple[Event, ...],
        data: WorldData,
        batch_size: int,
        per_epoch: int,
        total: int,
        seed: int,
    ) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.times = [(event, event.times(per_epoch, total)) for event in events]
        self.module = copy.deepcopy(module) if events else module
        self.named = Named.of(module, data.test.inputs[:1]) if events else None

    def __bool__(self) -> bool:
        """Whether there are events at all."""
        return bool(self.times)

    def next(self, iteration: int) -> list[int]:
        """Return the next iteration after this one before which something happens, if there is one."""
        coming = [at for _, times in self.times for at in times[_after(times, iteration) :][:1]]
        return [min(coming)] if coming else []

    def happens(self, iteration: int) -> bool:
        """Tell whether something happens before an iteration."""
        return any(iteration in times for _, times in self.times)

    def constraints(
        self, iteration: int, state: Mapping[str, Tensor], under: Mapping[str, Constraint], loss: BatchLoss
    ) -> dict[str, Constraint]:
        """Return the constraints after the events of an iteration, given weights and constraints before.

        Raises :class:`StepError` for an event that gives something else than masks.
        """
        load_state(self.module, state)
        for event, times in self.times:
            if iteration in times:
                under = {**under, **self._after(event, iteration, times, under, loss)}
        return dict(under)

    def _after(
        self, event: Event, iteration: int, times: range, under: Mapping[str, Constraint], loss: BatchLoss
    ) -> dict[str, Constraint]:
        assert self.named is not None
        spared = self.named.meant(event.exclude, "exclude")
        kept = {name: each.kept() for name, each in under.items() if name not in spared}
        masks = {name: mask for name, mask in kept.items() if mask is not None}
        moment = Moment(iteration, times[0], times[-1], {name: self.named.roles[name] for name in masks})
        with global_stream(self.seed, "event", iteration):
            made = event.masks(self._evidence(masks, iteration, loss), masks, moment)
        _check(event, masks, made)
        return {name: under[name].under(mask) for name, mask in made.items() if not mask.equal(masks[name])}

    def _evidence(self, masks: Mapping[str, Tensor], iteration: int, loss: BatchLoss) -> Evidence:
        weights = {name: self.module.get_parameter(name).detach() for name in masks}

        def batches() -> tuple[Batches, BatchLoss]:
            order = self.data.train.order(iteration, torch_stream(self.seed, "event-batch", iteration))
            batch = self.data.train.fetch(order[: self.batch_size])
            return [(batch.inputs, batch)], loss

        look = Look(lambda: self.module, batches)
        return Evidence(weights, seed=self.seed, draw=iteration, masks=masks, look=look)


def _after(times: range, iteration: int) -> int:
    """Return the place in ``times`` of the first that is later than ``iteration``."""
    return max(0, (iteration - times.start) // times.step + 1) if iteration >= times.start else 0


def _check(event: Event, masks: Mapping[str, Tensor], made: Mapping[str, Tensor]) -> None:
    for name, mask in masks.items():
        found = made.get(name)
        if not isinstance(found, Tensor) or found.dtype != torch.bool or found.shape != mask.shape:
            got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise StepError(
                f"event {type(event).__name__} must give a bool mask {tuple(mask.shape)} for {name!r}, got {got}"
            )
