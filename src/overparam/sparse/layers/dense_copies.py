"""Between a sparse layer and a dense one: what a sparse copy would lose, and what ``layer.weight`` is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError
from overparam.sparse.layers.hooks import has_hooks


class DenseCopy:
    """What ``layer.weight`` is: a function, and one sentence for code that takes it for a tensor."""

    def __init__(self, copied: Callable[[], Tensor]) -> None:
        self._copied = copied

    def __call__(self) -> Tensor:
        """Return the dense weight, 0 where there is no nonzero; a copy, without gradient."""
        return self._copied()

    def __getattr__(self, name: str) -> NoReturn:
        raise NoTensorError

    @classmethod
    def __torch_function__(cls, *_: Any) -> NoReturn:
        raise NoTensorError


class NoTensorError(SpecError, AttributeError):
    """Something takes ``layer.weight`` for a tensor."""

    def __init__(self) -> None:
        super().__init__(
            "layer.weight is no tensor: a sparse layer trains layer.values, and layer.weight() is a dense copy; to "
            "draw values anew use layer.reset_parameters(), or nn.init.normal_ and the like on layer.values"
        )


def check_dense(layer: Any, dense: Any) -> None:
    """Raise SpecError if a sparse copy of a layer would leave out something of it."""
    weight = layer._parameters.get("weight")
    if weight is None:
        reason = "has a weight made by a parametrisation or by torch.nn.utils.prune, which a sparse copy would not have"
    elif is_lazy(weight):
        reason = "has no shape yet; call the layer on a batch first"
    elif type(layer).forward is not dense.forward:
        reason = "has a forward of its own, which a sparse copy would not have"
    elif any(map(has_hooks, (layer, *layer.parameters()))):
        reason = "has hooks, which a sparse copy would not have; remove them, and give the copy its own"
    elif weight.device.type != "cpu":
        reason = f"must be on the CPU, is on {weight.device}; move it with .cpu()"
    else:
        return
    raise SpecError(f"layer: {type(layer).__name__} (an nn.{dense.__name__}) {reason}")
