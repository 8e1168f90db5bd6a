"""Running a module with NaN in some places of a batch, to see how far it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from overparam.networks.forward import Inputs, arguments, run, tensors_in
from overparam.networks.surgery import can_be_replaced

Marker = Callable[[str, Tensor], None]
"""Called with the path of a layer and what it gives, into which it may write NaN."""


@dataclass
class Sight:
    """What a run with marks showed.

    Attributes:
        reached: for each layer that marks came to, its path and which features of which example: ``(count, features)``.
        stopped: by example what its mark came to that cannot be made smaller, in words.
    """

    reached: list[tuple[str, Tensor]] = field(default_factory=list)
    stopped: dict[int, str] = field(default_factory=dict)

    def stop(self, examples: Sequence[int], why: str) -> None:
        """Note the first thing that the marks of some examples came to."""
        self.stopped = dict.fromkeys(examples, why) | self.stopped


def mixes(layer: nn.Module) -> bool:
    """Tell whether a layer's outputs each depend on all of its inputs: a linear layer or a plain convolution."""
    return _as_made(layer) and (isinstance(layer, nn.Linear) or (isinstance(layer, _ConvNd) and layer.groups == 1))


def keeps_channels(layer: nn.Module) -> bool:
    """Tell whether a layer treats each channel by itself, with weights of its own for each."""
    depthwise = isinstance(layer, _ConvNd) and 1 < layer.groups == layer.in_channels == layer.out_channels
    return _as_made(layer) and (depthwise or isinstance(layer, _BatchNorm))


def look(
    module: nn.Module, sample: Inputs, count: int, followed: Mapping[str, nn.Module], mark: Marker, blank: bool = False
) -> Sight:
    """Run ``module`` on ``count`` copies of the first example of ``sample``, with NaN where ``mark`` puts it.

    Marks pass through everything but the layers of ``followed`` that mix: those compute on one example only, and give
    zeros, since nothing is asked but where marks come. ``blank`` puts NaN into the inputs.
    """
    sight = Sight()
    with _watched(module, count, followed, mark, sight):
        output = run(module, _copied(sample, count, blank))
    for tensor in tensors_in(output):
        sight.stop(_marked(tensor, count), "it is an output of the network")
    return sight


@contextmanager
def _watched(
    module: nn.Module, count: int, followed: Mapping[str, nn.Module], mark: Marker, sight: Sight
) -> Iterator[None]:
    handles = []
    for path, layer in module.named_modules():
        if path and path not in followed and next(layer.parameters(recurse=False), None) is not None:
            handles += [
                layer.register_forward_pre_hook(_watch_other(path, count, sight), with_kwargs=True),
                layer.register_forward_hook(_after(path, mark)),
            ]
    try:
        # the fused kernels of attention lose NaN in a query or a key
        with sdpa_kernel(SDPBackend.MATH), _Calls(followed, count, mark, sight):
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Calls(TorchFunctionMode):
    """Sees the functions that are called with the weights of followed layers, by the layers or by anyone."""

    def __init__(self, followed: Mapping[str, nn.Module], count: int, mark: Marker, sight: Sight) -> None:
        super().__init__()
        self.layers = {id(tensor): (path, layer) for path, layer in followed.items() for tensor in _tensors(layer)}
        self.count, self.mark, self.sight = count, mark, sight

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FUNCTIONS:
            known = (self.layers.get(id(each)) for each in (*args[1:], *kwargs.values()))
            found = next((each for each in known if each is not None), None)
            if found is not None:
                inputs = args[0] if args else kwargs.pop("input")
                return self._called(*found, lambda given: func(given, *args[1:], **kwargs), inputs)
        return func(*args, **kwargs)

    def _called(self, path: str, layer: nn.Module, compute: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Note what comes to a layer; give zeros and marks for one that mixes, else what it computes."""
        batch = by_example(inputs, self.count, not isinstance(layer, nn.Linear))
        if batch is None:
            why = f"examples are not one by one any more where it reaches {path!r}"
            self.sight.stop(range(self.count), why)
        else:
            self.sight.reached.append((path, batch.isnan().flatten(2).any(2)))
        if not mixes(layer):
            return compute(inputs)
        if batch is None:
            return compute(torch.zeros_like(inputs))
        one = compute(torch.zeros_like(inputs[: len(inputs) // self.count]))
        output = one.new_zeros(len(one) * self.count, *one.shape[1:])
        self.mark(path, output)
        return output


_FUNCTIONS = frozenset(
    (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d, functional.batch_norm)
)
"""What computes with the weights of the layers that can be made smaller."""


def _tensors(layer: nn.Module) -> list[Tensor]:
    """Return the tensors by which a call of a function is known to be of a layer."""
    return [tensor for name, tensor in layer.state_dict(keep_vars=True).items() if name in ("weight", "running_mean")]


def _watch_other(path: str, count: int, sight: Sight) -> Callable[..., None]:
    def watch(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for tensor in tensors_in((args, kwargs)):
            if tensor.is_floating_point() and bool(tensor.isnan().any()):
                why = f"it reaches {path!r}, a {type(layer).__name__} that cannot be made smaller"
                sight.stop(_marked(tensor, count), why)

    return watch


def _after(path: str, mark: Marker) -> Callable[..., None]:
    def after(layer: nn.Module, args: Any, output: Any) -> None:
        for tensor in tensors_in(output):
            if tensor.is_floating_point():
                mark(path, tensor)

    return after


def by_example(tensor: Tensor, count: int, channels_second: bool) -> Tensor | None:
    """Return a view ``(examples, features, rest)``; None if the first axis does not have the examples one by one."""
    if tensor.dim() < 2 or not tensor.shape[0] or tensor.shape[0] % count:
        return None
    if tensor.shape[0] == count:
        split = tensor.unsqueeze(1)
    elif tensor.is_contiguous():  # an example may have several rows, such as tokens
        split = tensor.view(count, -1, *tensor.shape[1:])
    else:
        return None
    return split.movedim(2, 1) if channels_second else split.movedim(-1, 1)


def _marked(tensor: Tensor, count: int) -> Sequence[int]:
    """Return the examples in which there is NaN; all of them where they cannot be told apart."""
    batch = by_example(tensor, count, False)
    if batch is None:
        return range(count)
    return [int(example) for example in batch.isnan().flatten(1).any(1).nonzero().flatten()]


def _as_made(layer: nn.Module) -> bool:
    return can_be_replaced(layer) and "forward" not in vars(layer)


def _copied(sample: Inputs, count: int, blank: bool) -> Inputs:
    """Return copies of the first example, of NaN if ``blank``; whole numbers, such as tokens, stay as they are."""

    def copies(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.dim():
            return value
        made = value[:1].repeat(count, *[1] * (value.dim() - 1))
        return made.fill_(torch.nan) if blank and made.is_floating_point() else made

    positional, named = arguments(sample)
    return {name: copies(value) for name, value in named.items()} if named else tuple(map(copies, positional))
