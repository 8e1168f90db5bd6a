"""What a criterion may look at, and how the gradients in it are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from overparam.errors import SpecError
from overparam.networks.forward import Inputs, arguments
from overparam.networks.roles import check_shapes, first_names
from overparam.registry import suggest
from overparam.streams import global_stream

Loss = Callable[[Tensor, Any], Tensor]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a criterion may look at; every mapping is keyed by parameter name.

    Attributes:
        weights: the tensors to score, each of any shape.
        gradients: dL/dw of the mean loss, shaped like the weights; None if they were not taken.
        seed: of the streams of a criterion that draws at random.
        draw: which draw from that seed, e.g. the number of prunings that came before.
    """

    weights: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor] | None = None
    seed: int = 0
    draw: int = 0

    def gradient(self, name: str) -> Tensor:
        """Return dL/dw of tensor ``name``; raises :class:`SpecError` where it is missing."""
        if self.gradients is None or name not in self.gradients:
            raise SpecError(
                f"this criterion needs the gradient of {name!r}, which is missing; give prune() a batch, "
                "or Evidence(gradients=...) what overparam.prune.gradients returns"
            )
        return self.gradients[name]


def gradients(
    module: nn.Module,
    batch: tuple[Inputs, Any],
    loss: Loss = cross_entropy,
    *,
    names: Iterable[str] | None = None,
    mode: Literal["train", "eval"] = "train",
    seed: int = 0,
    draw: int = 0,
) -> dict[str, Tensor]:
    """Return dL/dw of ``loss(module(inputs), labels)`` on one mini-batch, and leave the module as it was.

    Parameters, ``.grad``, buffers (batch-norm statistics) and training flags are those of before, also after
    an error. Frozen parameters have a gradient here too; one that the outputs do not depend on has a gradient
    of zeros. Weights at zero under a mask get their gradient like all others.

    Args:
        batch: ``(inputs, labels)`` on the module's device; the inputs are one tensor, several as a tuple, or keyword
            arguments as a mapping.
        loss: returns one number, by convention the mean over the batch.
        names: parameters wanted, by any name that ``state_dict`` lists; None means all, by their first.
        mode: ``"train"`` (batch statistics and dropout at work, as in the code of He et al., ICML 2022,
            https://arxiv.org/abs/2206.08684) or ``"eval"``.
        seed, draw: of the stream that dropout uses.

    Raises:
        SpecError: an unknown name or mode, a batch that is no pair, or a loss that is not one differentiable
            number.
    """
    if mode not in ("train", "eval"):
        raise SpecError(f"mode must be 'train' or 'eval', got {mode!r}")
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise SpecError(f"batch must be a pair (inputs, labels), got {type(batch).__name__}")
    check_shapes(module)
    known, first = dict(module.named_parameters()), first_names(module)
    wanted = list(known if names is None else names)
    for name in wanted:
        if name not in first:
            raise SpecError(f"the module has no parameter {name!r}{suggest(name, first)}")
    # The call sees detached copies, so nothing it does can reach the module's own tensors.
    weights = {first[name]: known[first[name]].detach().clone().requires_grad_() for name in wanted}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    (positional, named), labels = arguments(batch[0]), batch[1]
    with training_flags(module, mode == "train"), global_stream(seed, "gradient", draw), torch.enable_grad():
        value = loss(functional_call(module, {**weights, **buffers}, positional, named), labels)
        if not (isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad):
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            without = "" if getattr(value, "requires_grad", False) else " without a gradient"
            raise SpecError(f"loss must return one number that can be differentiated, got {got}{without}")
        found = torch.autograd.grad(
            value.reshape(()), list(weights.values()), allow_unused=True, materialize_grads=True
        )
    slopes = dict(zip(weights, found, strict=True))
    return {name: slopes[first[name]] for name in wanted}


@contextmanager
def training_flags(module: nn.Module, training: bool) -> Iterator[None]:
    """Run a block with ``module.train(training)``, and give each submodule its own flag back after it."""
    before = [(part, part.training) for part in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, flag in before:
            part.training = flag
