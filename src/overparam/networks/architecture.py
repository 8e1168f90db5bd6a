"""What the built-in architectures share: how they are registered, their options, checks of input shapes."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from torch import nn

from overparam.errors import SpecError
from overparam.networks.initialise import Init
from overparam.registry import Registry, suggest
from overparam.spec import worded

Factory = Callable[..., nn.Module]

GIVEN = ("input_shape", "classes")
"""The parameters of a factory that come from the world; all others are options."""

Width = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
"""A factor on every hidden width of an architecture, > 0; 1 is the published size."""

Size = Annotated[int, Field(gt=0, strict=True)]
"""A number of units, at least 1."""

NETWORKS: Registry[Factory] = Registry(
    "network",
    "a function or class that makes a new torch.nn.Module at each call",
    lambda thing: callable(thing) and not isinstance(thing, nn.Module),
    made=False,
)
"""Network factories by name, ``f(input_shape, classes, **options) -> nn.Module``; the user's own may join."""


class Architecture:
    """A factory of modules together with its name, its usual initialisation and the version of its code.

    ``version`` stands for the code in the identity of a network: raise it whenever a change to the code
    changes what the network computes or the numbers it starts from, else old results are found for the new
    network.
    """

    def __init__(self, name: str, factory: Factory, init: Init, version: int) -> None:
        self.name = name
        self.factory = factory
        self.init: Init = init
        self.version = version
        functools.update_wrapper(self, factory)  # docstring and signature, for `list networks` and help()

    def __call__(self, input_shape: tuple[int, ...], classes: int, **options: Any) -> nn.Module:
        """Return a new module for inputs of ``input_shape`` (without the batch), as torch constructs it."""
        return self.factory(input_shape, classes, **self.options(options))

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every option with its value, defaults included; a wrong one raises :class:`SpecError`."""
        parameters = option_parameters(self.factory, self.name, given)
        hints = get_type_hints(self.factory, include_extras=True)
        values = {name: given.get(name, parameter.default) for name, parameter in parameters.items()}
        return {name: self._checked(name, value, hints[name]) for name, value in values.items()}

    def _checked(self, name: str, value: Any, hint: Any) -> Any:
        try:
            return TypeAdapter(hint).validate_python(value)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            where = ".".join(["options", name, *(str(part) for part in found["loc"])])
            reason = worded(found["msg"])
            raise SpecError(f"{where}: {reason}, got {found['input']!r} (network {self.name!r})") from None


def architecture(name: str, *, init: Init, version: int) -> Callable[[Factory], Factory]:
    """Register the decorated factory in :data:`NETWORKS`; its options are its keyword parameters."""

    def register(factory: Factory) -> Factory:
        NETWORKS.register(name, Architecture(name, factory, init, version))
        return factory

    return register


def option_parameters(factory: Factory, label: str, given: Mapping[str, Any]) -> dict[str, inspect.Parameter]:
    """Return the factory's options by name, after checking that those ``given`` exist and none is missing."""
    parameters = inspect.signature(factory).parameters
    known = {
        name: parameter
        for name, parameter in parameters.items()
        if name not in GIVEN and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in given:
        if name in GIVEN:
            raise SpecError(f"options.{name}: is given by the world, so it cannot be an option; leave it out")
        if name not in known and not open_ended:
            names = f"known: {', '.join(known)}" if known else "it takes none"
            raise SpecError(f"options.{name}: no such option of network {label!r}{suggest(name, known)} ({names})")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise SpecError(
                f"options.{name}: is required by network {label!r}, whose factory gets the parameters "
                f"{' and '.join(GIVEN)} if it has them, and everything else from the options"
            )
    return known


def scaled(base: int, width: float) -> int:
    """Return ``base * width``, rounded to the nearest whole number (halves up), at least 1."""
    return max(1, math.floor(base * width + 0.5))


def image_shape(input_shape: tuple[int, ...], network: str, smallest: int = 1) -> tuple[int, int, int]:
    """Return ``(channels, height, width)``; other shapes and smaller sides raise :class:`SpecError`."""
    if len(input_shape) != 3:
        raise SpecError(
            f"network {network!r} needs images of shape (channels, height, width), got inputs of shape "
            f"{input_shape}; use 'mlp', which takes any shape"
        )
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise SpecError(
            f"network {network!r} needs images of at least {smallest}x{smallest} pixels, got "
            f"{height}x{width}; take larger images or another network ('mlp' and "
            "'lenet-300-100' take any size)"
        )
    return channels, height, width
