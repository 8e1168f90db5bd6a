"""The step that searches a ticket: which weights, at the values that they have, do together what all of them do."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from overparam.checkpoint import Checkpoint, Given
from overparam.constraints import Constraint, Frozen, Supermask
from overparam.errors import SpecError
from overparam.length import START, Length
from overparam.prune import new_masks
from overparam.prune.selection import Named
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step
from overparam.train import Distill, TrainSettings, fit
from overparam.train.checks import check_settings, check_smallest_batch, check_training
from overparam.train.losses import Loss, loss_for
from overparam.train.optimisers.grad_balance import GradBalance


@STEPS.named("ticket-search")
@spec
class TicketSearch(Step):
    """Concrete Ticket Search: prune to the mask under which untrained weights do what all of them do.

    Each weight gets a concrete gate whose chance to be open begins at the density asked for. The gates are trained by
    Adam and gradient descent through the whole network, the weights are not; their number is pushed down as strongly as
    the loss pulls (:class:`~overparam.train.optimisers.grad_balance.GradBalance`). Those with the highest scores stay,
    exactly as many as asked for, over all layers together. The network keeps the values that it had.

    Reference: Arora & Teuscher 2025, https://arxiv.org/abs/2512.07142. Gates, reverse divergence and balance are the
    paper's; temperature, slack, the fall of the learning rate and Adam are its authors' public code's. There the gated
    network is in evaluation mode; here it is in training mode, as in any training, and the dense one in evaluation.

    Args:
        density: share of the weights that is kept, in (0, 1).
        length: how long gates are trained.
        objective: ``kl``: the divergence KL(gated || dense) of the outputs, or their mean squared difference in a
            regression, the dense network being that of this step, so that labels play no part; ``loss``: the usual
            loss of the task.
        lr: learning rate of the scores; a tenth of it in the last eighth.
        batch_size: examples per iteration.
        temperature: of the gates; the lower, the nearer to 0 and 1.
        exclude: roles (``output``, ``conv``, ...) or name patterns of tensors that are not pruned.

    Example:
        {ticket-search: {density: 0.1, length: 10ep}}
    """

    kind: ClassVar[str] = "ticket-search"
    main: ClassVar[str | None] = "density"
    next_level: ClassVar[bool] = True

    density: Annotated[float, Field(gt=0, lt=1)]
    length: Length = Length(5, "ep")
    objective: Literal["kl", "loss"] = "kl"
    lr: Annotated[float, Field(gt=0)] = 0.1
    batch_size: Annotated[int, Field(ge=1)] = 128
    temperature: Annotated[float, Field(gt=0)] = 2 / 3
    exclude: tuple[str, ...] = ()

    def traits(self) -> Mapping[str, str]:
        """Return by what is pruned."""
        return {"criterion": self.kind}

    def rehearse(self, start: Checkpoint, context: Context) -> Checkpoint:
        """Return ``start`` pruned by magnitude, if gates could be trained on it."""
        settings, gated = self._settings(self._loss(start, context)), self._gated(start, context)
        check_settings(settings, context.world, START)
        check_smallest_batch(context.module(), context.world, settings)
        check_training(start.load_into(context.module()), context.world, settings, gated, "dense", context.device)
        return self._pruned(start, context, {name: start.state[name].abs() for name in start.masks})

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with the weights pruned whose gates have the lowest scores."""
        fitted = fit(
            start.load_into(context.module()),
            context.world,
            self._settings(self._loss(start, context)),
            constraints=self._gated(start, context),
            seed=context.seed,
            progress=context.progress,
            journal=context.journal,
            device=context.device,
            fresh=context.module,
        )
        gates = {name: each.scores for name, each in fitted.constraints.items() if isinstance(each, Supermask)}
        facts = {"iterations": fitted.iterations, "engines": dict(fitted.engines), "open_gates": _open(gates)}
        return Outcome(self._pruned(start, context, gates), curve=fitted.curve, facts=facts, notes=fitted.notes)

    def _pruned(self, start: Checkpoint, context: Context, scores: Mapping[str, Tensor]) -> Checkpoint:
        """Return ``start`` with the weights of the highest scores."""
        named = self._named(context)
        roles, names = (named.uses, named.names) if named else (start.roles, None)
        masks = new_masks(scores, start.masks, roles, names=names, density=self.density, exclude=self.exclude)
        return start.masked(masks).counted("prune")

    def _named(self, context: Context) -> Named | None:
        return Named.of(context.module(), context.world.test.inputs[:1]) if self.exclude else None

    def _settings(self, loss: Loss | None) -> TrainSettings:
        return TrainSettings(
            optimizer=GradBalance(self.density),
            lr=self.lr,
            batch_size=self.batch_size,
            length=self.length,
            schedule=_falling,
            loss=loss,
        )

    def _loss(self, start: Checkpoint, context: Context) -> Loss:
        """Return what the gated network is to learn."""
        if self.objective == "loss":
            return loss_for(None, context.world.task)
        usual = context.world.task.loss
        likeness = Distill("dense", temperature=1.0, weight=1.0, loss=usual, reverse=True)
        return likeness.bound({"dense": Given(start, lambda: start.load_into(context.module()))})

    def _gated(self, start: Checkpoint, context: Context) -> dict[str, Constraint]:
        """Return gates for what is pruned, all else being frozen."""
        named = self._named(context)
        spared = named.meant(self.exclude, "exclude") if named else set[str]()
        score = math.log(self.density) - math.log1p(-self.density)
        found: dict[str, Constraint] = {}
        for name in start.roles:
            if name in start.masks and name not in spared:
                if not bool(start.masks[name].all()):
                    raise SpecError(
                        f"ticket-search: {name!r} is pruned already, and gates choose from all weights; redense first"
                    )
                scores = torch.full_like(start.state[name], score)
                found[name] = Supermask(scores, start.state[name], gate="concrete", temperature=self.temperature)
            else:
                found[name] = Frozen(None, start.state[name])
        return found


def _falling(iteration: int, total: int, per_epoch: int) -> float:
    """Return the learning rate's factor: a tenth in the last eighth."""
    return 1.0 if iteration < 0.875 * total else 0.1


def _open(gates: Mapping[str, Tensor]) -> float:
    """Return the expected number of open gates."""
    return float(sum(scores.sigmoid().sum(dtype=torch.float64) for scores in gates.values()))
