"""What a criterion makes of a checkpoint: scores, from evidence taken in the world that it is trained in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from overparam.checkpoint import Checkpoint, Given
from overparam.identity import for_one_use
from overparam.prune import CRITERIA, Scores
from overparam.prune.derivatives import Loss
from overparam.prune.evidence import Batches, Evidence, Look
from overparam.streams import global_stream, torch_stream
from overparam.train.losses import GivenLoss, bound_loss, loss_for, on_batch
from overparam.worlds import WorldData


def scored(
    criterion: Any,
    start: Checkpoint,
    module: Callable[[], nn.Module],
    world: WorldData,
    *,
    batches: int = 1,
    batch_size: int = 128,
    loss: GivenLoss = None,
    seed: int = 0,
    draw: int = 0,
    given: Mapping[str, Given] | None = None,
) -> Scores:
    """Return the scores of all weights of ``start`` that have a mask.

    Evidence is taken from random training mini-batches, labels as trained on, if the criterion looks at any.

    Args:
        criterion: in any of its forms.
        start: the weights that are scored.
        module: returns a fresh module of its network.
        world: whose training examples are drawn.
        batches, batch_size: how many mini-batches, of how many examples.
        loss: whose derivatives are taken; None: the task's usual one.
        seed, draw: of the stream that draws them, and of the criterion's.
        given: the checkpoints that criterion and loss have named, by reference.
    """
    named = given or {}

    def taken() -> tuple[Batches, Loss]:
        order = world.train.order(draw, torch_stream(seed, "prune-batch", draw))
        fetched = [world.train.fetch(part) for part in torch.split(order[: batches * batch_size], batch_size)]
        own = on_batch(for_one_use(bound_loss(loss_for(loss, world.task), named)))
        return [(batch.inputs, batch) for batch in fetched], own

    initial = (lambda: named["init"].checkpoint.state) if "init" in named else None
    look = Look(lambda: start.load_into(module()), taken, initial, lambda: world.test.inputs[:1])
    weights = {name: start.state[name] for name in start.masks}
    own = for_one_use(CRITERIA.resolve(criterion))
    with global_stream(seed, "criterion", draw):
        return Scores.of(own(Evidence(weights, seed=seed, draw=draw, masks=start.masks, look=look)))
