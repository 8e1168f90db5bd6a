"""What the built-in architectures share: how they are registered, their options, checks of input shapes."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, get_type_hints

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks.initialise import Init
from overparam.registry import Registry, suggest
from overparam.spec import worded

Factory = Callable[..., nn.Module]

GIVEN = ("input_shape", "classes", "outputs", "vocabulary")
"""The parameters of a factory that come from the world; all others are options."""


class Form(NamedTuple):
    """What a network is made for: the shapes of one input and of what it gives for it, and how many tokens there are.

    ``vocabulary`` is None where the inputs are real numbers and no tokens.
    """

    input_shape: tuple[int, ...]
    outputs: tuple[int, ...]
    vocabulary: int | None = None

    @classmethod
    def of(cls, input_shape: Sequence[int], outputs: int | Sequence[int], vocabulary: int | None) -> Form:
        """Return the form, once it is checked; a number of outputs is short for a shape of one side."""
        sides = tuple(outputs) if isinstance(outputs, Sequence) else (outputs,)
        for name, shape in (("input_shape", tuple(input_shape)), ("outputs", sides)):
            if not shape or any(not isinstance(side, int) or side < 1 for side in shape):
                raise SpecError(f"{name}: needs sizes >= 1, as in (1, 28, 28), got {shape}")
        return cls(tuple(input_shape), sides, vocabulary)

    def given(self) -> dict[str, Any]:
        """Return what a factory may be given, by name; ``classes`` is how many scores there are for each prediction."""
        return {**self._asdict(), "classes": self.outputs[-1]}

    def zeros(self, count: int) -> Tensor:
        """Return so many inputs of zeros, float32 or tokens."""
        kind = torch.float32 if self.vocabulary is None else torch.int64
        return torch.zeros(count, *self.input_shape, dtype=kind)

    def __str__(self) -> str:
        kind = "" if self.vocabulary is None else f" of {self.vocabulary} tokens"
        outputs = self.outputs[0] if len(self.outputs) == 1 else self.outputs
        return f"inputs of shape {self.input_shape}{kind} and {outputs} outputs"


Width = Annotated[
    float,
    Field(
        gt=0,
        strict=True,
        allow_inf_nan=False,
        description="factor on every hidden width; 1 is the published size. Widths are rounded to whole numbers.",
    ),
]
"""A factor on every hidden width of an architecture, > 0; 1 is the published size."""

Size = Annotated[int, Field(gt=0, strict=True)]
"""A number of units, at least 1."""

NETWORKS: Registry[Factory] = Registry(
    "network",
    "a function or class that makes a new torch.nn.Module at each call",
    lambda thing: callable(thing) and not isinstance(thing, nn.Module),
    made=False,
)
"""Network factories by name, ``f(input_shape, outputs, **options) -> nn.Module``; the user's own may join."""


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

    def __call__(
        self, input_shape: tuple[int, ...], outputs: int | Sequence[int], vocabulary: int | None = None, **options: Any
    ) -> nn.Module:
        """Return a new module for inputs of ``input_shape`` (without the batch), as torch constructs it."""
        form = Form.of(input_shape, outputs, vocabulary)
        return self.factory(**self.given(form), **self.options(options))

    def given(self, form: Form) -> dict[str, Any]:
        """Return what the factory gets of a form; raises :class:`SpecError` if it is made for others."""
        known = inspect.signature(self.factory).parameters
        if ("vocabulary" in known) != (form.vocabulary is not None):
            needs, has = ("tokens", "real") if "vocabulary" in known else ("real", "tokens")
            advice = "convert them to float32 if they are numbers" if has == "tokens" else "int64 (N, T)"
            raise SpecError(
                f"network {self.name!r} needs inputs that are {needs}, those of the dataset are {has}; take another "
                f"network or other inputs ({advice})"
            )
        return {name: value for name, value in form.given().items() if name in known}

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
            raise SpecError(f"options.{name}: is given by the world, so it cannot be an option; leave it out", (name,))
        if name not in known and not open_ended:
            names = f"known: {', '.join(known)}" if known else "it takes none"
            raise SpecError(
                f"options.{name}: no such option of network {label!r}{suggest(name, known)} ({names})", (name,)
            )
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise SpecError(
                f"options.{name}: is required by network {label!r}; its factory is given {', '.join(GIVEN)}, where it "
                f"has parameters of these names, and all others must be among the options or have a default"
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
