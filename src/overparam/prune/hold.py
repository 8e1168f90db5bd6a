"""Holding pruned weights at zero while an optimiser of one's own trains the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from overparam.errors import SpecError
from overparam.prune.masks import Masks
from overparam.prune.modules import apply_masks, by_first_names, parameters_under


class Hold:
    """What :func:`hold` returns: pruned weights stay at zero until it is closed; also a context manager."""

    def __init__(self, module: nn.Module, masks: Masks, optimisers: Sequence[Optimizer]) -> None:
        self._module, self._optimisers = module, tuple(optimisers)
        for optimiser in self._optimisers:
            if not (isinstance(optimiser, Optimizer) and getattr(type(optimiser).step, "hooked", False)):
                raise SpecError(
                    f"optimizer must be a torch.optim.Optimizer, or a list of them, got {type(optimiser).__name__}; "
                    "of one that wraps another give the one inside"
                )
        self._pruned: list[tuple[nn.Parameter, Tensor]] = []
        self.update(masks)
        self._handles = [
            handle
            for optimiser in self._optimisers
            for handle in (
                optimiser.register_step_pre_hook(self._before),
                optimiser.register_step_post_hook(self._after),
            )
        ]

    def update(self, masks: Masks) -> None:
        """Hold under other masks from now on, such as those of the next round, and apply them at once.

        A weight that they give back starts at zero; new values that come with them are put in, as by
        :func:`apply_masks`. Raises :class:`SpecError` as :func:`hold` does.
        """
        given, masks = masks, by_first_names(self._module, masks)
        weights = parameters_under(self._module, masks)
        moved = {
            id(each) for optimiser in self._optimisers for group in optimiser.param_groups for each in group["params"]
        }
        missing = [name for name, weight in weights.items() if weight.requires_grad and id(weight) not in moved]
        if missing:
            raise SpecError(
                f"the optimizer does not train {', '.join(missing)}, which the masks are for; give the one that was "
                "made from this module's parameters, or a list of all that train it"
            )
        apply_masks(self._module, given)
        self._pruned = [
            (weight, ~masks[name].to(weight.device)) for name, weight in weights.items() if not masks[name].all()
        ]
        for optimiser in self._optimisers:
            self._clear(optimiser)

    def close(self) -> None:
        """Let go of the optimisers: they move pruned weights again. Closing twice does no harm."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _before(self, optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Clear what could move pruned weights in this step, and again after each call of its closure."""
        self._clear(optimiser)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": self._clearing(optimiser, kwargs["closure"])}
        return (*args[:1], *(self._clearing(optimiser, closure) for closure in args[1:2]), *args[2:]), kwargs

    def _after(self, optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._clear(optimiser)

    def _clearing(self, optimiser: Optimizer, closure: Callable[[], Any] | None) -> Callable[[], Any] | None:
        if closure is None:
            return None

        def cleared() -> Any:
            loss = closure()
            self._clear(optimiser)
            return loss

        return cleared

    @torch.no_grad()
    def _clear(self, optimiser: Optimizer) -> None:
        """Set pruned weights, their gradients and what the optimiser remembers of them to exactly ``+0.0``."""
        for weight, gone in self._pruned:
            state = optimiser.state.get(weight, {}).values()
            for tensor in (weight, weight.grad, *state):
                if isinstance(tensor, Tensor) and tensor.shape == gone.shape and tensor.layout == torch.strided:
                    tensor.masked_fill_(gone.to(tensor.device), 0.0)


def hold(module: nn.Module, masks: Masks, optimizer: Optimizer | Sequence[Optimizer]) -> Hold:
    """Keep pruned weights at exactly ``+0.0`` in every step of ``optimizer``, until :meth:`Hold.close`.

    >>> net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 5))
    >>> optimizer = torch.optim.Adam(net.parameters())
    >>> held = hold(net, {"0.weight": torch.rand(10, 20) < 0.1}, optimizer)

    Nothing is put on the module: the optimiser's own step hooks clear weights outside the masks, their gradients and
    momenta before and after each step, and after each call of a closure. So the step is that of a network without these
    weights, whatever the optimiser, its decay, its momentum from before or a state loaded later. The masks are applied
    at once, as by :func:`apply_masks`, with the new values that a criterion such as Optimal Brain Surgeon gave to the
    rest.

    Args:
        module: any network.
        masks: bool tensors by parameter name; False is pruned. :meth:`Hold.update` changes them.
        optimizer: the optimiser that trains the module, or a list of all that do. A copy of it, pickled or made with
            ``copy.deepcopy``, holds nothing.

    Raises:
        SpecError: masks that do not fit the module, or tensors under them that the optimiser does not train.
    """
    return Hold(module, masks, optimizer if isinstance(optimizer, Sequence) else [optimizer])
