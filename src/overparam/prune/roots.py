"""Square roots of curvature: rows ``R`` of the derivatives of single examples, with ``H = R'R``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.utils._pytree import tree_map

from overparam.errors import SpecError, in_words
from overparam.networks.forward import Inputs, arguments
from overparam.prune.derivatives import Loss, first_named, training_flags
from overparam.streams import global_stream

Kind = Literal["fisher", "gauss-newton"]

ROOM = 2**27  # elements of the derivatives that are held at once


def curvature_roots(
    module: nn.Module,
    batch: tuple[Inputs, Any],
    loss: Loss,
    kind: Kind,
    *,
    names: Iterable[str] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Yield rows ``(examples, weights)`` for each name, of all of which ``R'R`` is the curvature on a mini-batch.

    Taken in evaluation mode; the module stays as it was.

    * ``fisher``: the empirical Fisher matrix, the mean of ``g g'`` over the gradients g of single examples, with the
      labels that they have. It vanishes where all are fitted.
    * ``gauss-newton``: the mean of ``J' H J``, J being the outputs' derivatives and H the loss's Hessian by the outputs
      (of cross entropy ``diag(p) - p p'``), a part of which is yielded for each output. Negative curvature of a loss
      that is not convex in the outputs is left out.

    The loss must be a mean over examples each of which has one vector of outputs. Raises :class:`SpecError` for other
    outputs, and for a network whose examples cannot be taken apart (``torch.func.vmap``).
    """
    first = first_named(module, names)
    known = dict(module.named_parameters())
    weights = {name: known[name].detach() for name in dict.fromkeys(first.values())}
    with _still(module):
        outputs, by_output = loss_by_outputs(module, batch, loss)
        if kind == "fisher":
            pulls = [len(outputs) ** 0.5 * by_output]
        else:
            pulls = list(_root(output_curvature(outputs, by_output)).unbind(-1))
        for pull in pulls:
            rows = _pulled(module, weights, batch[0], pull.detach())
            yield {name: rows[first[name]].flatten(1).double() for name in first}


def loss_by_outputs(module: nn.Module, batch: tuple[Inputs, Any], loss: Loss) -> tuple[Tensor, Tensor]:
    """Return outputs ``(N, C)`` and the loss's derivative by them, which can be differentiated again."""
    positional, named = arguments(batch[0])
    with torch.no_grad():
        outputs = module(*positional, **named)
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise SpecError(
            f"curvature of single examples needs outputs (N, outputs), got {shape}; take hutchinson, or a "
            "criterion that goes layer by layer"
        )
    with torch.enable_grad():
        outputs.requires_grad_()
        (slopes,) = torch.autograd.grad(loss(outputs, batch[1]), outputs, create_graph=True)
    return outputs, slopes


def output_curvature(outputs: Tensor, slopes: Tensor) -> Tensor:
    """Return the Hessians ``(N, C, C)`` of the loss by each example's outputs."""
    if not slopes.requires_grad:
        return outputs.new_zeros(*outputs.shape, outputs.shape[1])
    rows = [
        torch.autograd.grad(slope.sum(), outputs, retain_graph=True, materialize_grads=True, allow_unused=True)[0]
        for slope in slopes.T
    ]
    return torch.stack(rows, 1)


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    with training_flags(module, False), global_stream(0, "look"):
        yield


def _root(curvature: Tensor) -> Tensor:
    """Return ``L`` with ``L L'`` the positive part of ``(N, C, C)``."""
    sizes, directions = torch.linalg.eigh(curvature.detach().double())
    root: Tensor = directions * sizes.clamp(min=0).sqrt()[:, None]
    return root.to(curvature)


def _pulled(module: nn.Module, weights: dict[str, Tensor], inputs: Inputs, pull: Tensor) -> dict[str, Tensor]:
    """Return for each example the derivative of ``pull . outputs`` by the weights, ``(N, *shape)``."""

    def one(given: Inputs, along: Tensor) -> dict[str, Tensor]:
        positional, named = arguments(tree_map(lambda tensor: tensor[None], given))
        back: Any = vjp(lambda at: functional_call(module, at, positional, named)[0], weights)[1]
        return back(along)[0]  # type: ignore[no-any-return]

    size = sum(weight.numel() for weight in weights.values())
    try:
        with torch.no_grad():  # vjp differentiates all the same, by the weights alone
            return vmap(one, randomness="different", chunk_size=max(1, ROOM // max(size, 1)))(inputs, pull)
    except RuntimeError as error:
        raise SpecError(
            f"the examples of this network cannot be taken apart, as torch.func.vmap says ({in_words(error)}); take "
            "hutchinson, or a criterion that goes layer by layer"
        ) from error
