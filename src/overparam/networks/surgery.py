"""Surgery: layers of a module put in the place of others, as a record of constructor calls that rebuilds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from overparam.errors import SpecError
from overparam.registry import suggest
from overparam.streams import global_stream

__all__ = ["Replace", "operate"]

_SHAPES: Mapping[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features", "bias"),
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        (
            *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
            "padding_mode",
        ),
    ),
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    ),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine", "bias"),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.Embedding: ("num_embeddings", "embedding_dim", "padding_idx"),
    nn.Identity: (),
}

LAYERS: Mapping[str, type[nn.Module]] = {kind.__name__: kind for kind in _SHAPES}
"""Layers that may be put in, by name; a stored record can make nothing else."""


@dataclass(frozen=True)
class Replace:
    """One layer in the place of another.

    Attributes:
        path: of the submodule, as in ``named_modules()``.
        kind: a name of :data:`LAYERS`.
        arguments: of its constructor: numbers, booleans, text, lists of numbers.

    Raises :class:`SpecError` for another kind of layer, or arguments that it does not take.
    """

    path: str
    kind: str
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in self.arguments.items()}
        object.__setattr__(self, "arguments", tuples)  # so that a stored record equals the one that was made
        if self.kind not in LAYERS:
            raise SpecError(
                f"surgery at {self.path!r}: {self.kind!r} is no layer that can be put in{suggest(self.kind, LAYERS)} "
                f"(known: {', '.join(LAYERS)})"
            )
        known = _SHAPES[LAYERS[self.kind]]
        unknown = [name for name in self.arguments if name not in known]
        if unknown:
            raise SpecError(
                f"surgery at {self.path!r}: {self.kind} takes no {unknown[0]!r} here (known: {', '.join(known)})"
            )

    @classmethod
    def like(cls, path: str, layer: nn.Module, **changed: Any) -> Replace:
        """Return the record of a layer of the same kind and settings as ``layer``, but for what is ``changed``.

        Raises :class:`SpecError` for a layer that is not exactly of one of the :data:`LAYERS`.
        """
        if not can_be_replaced(layer):
            raise SpecError(f"surgery at {path!r}: a {type(layer).__name__} cannot be rebuilt from its settings")
        found = {name: _setting(layer, name) for name in _SHAPES[type(layer)]}
        return cls(path, type(layer).__name__, {**found, **changed})

    def layer(self) -> nn.Module:
        """Return the new layer; raises :class:`SpecError` if its constructor refuses."""
        make: Callable[..., nn.Module] = LAYERS[self.kind]
        try:
            with global_stream(0, "surgery", self.path):  # whoever puts a layer in finds the generators as they were
                return make(**self.arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            raise SpecError(f"surgery at {self.path!r}: {self.kind} cannot be made: {error}") from None

    def plain(self) -> dict[str, Any]:
        """Return the record as JSON-able data, which ``Replace(**data)`` reads."""
        arguments = {name: list(value) if isinstance(value, tuple) else value for name, value in self.arguments.items()}
        return {"path": self.path, "kind": self.kind, "arguments": arguments}


Surgery = Sequence[Replace]


def can_be_replaced(layer: nn.Module) -> bool:
    """Tell whether a layer is exactly one of the :data:`LAYERS`, so that its settings are all that it is."""
    return type(layer) in _SHAPES


def operate(module: nn.Module, surgery: Surgery) -> nn.Module:
    """Put the layers of ``surgery`` into ``module``, in its dtype, device and training mode, and return it.

    Raises :class:`SpecError` where the module has no such part.
    """
    for replace in surgery:
        try:
            old = module.get_submodule(replace.path)
        except AttributeError:
            raise SpecError(
                f"surgery: the module has no part {replace.path!r}; was it made by another network?"
            ) from None
        if can_be_replaced(old) and Replace.like(replace.path, old) == replace:
            continue
        new = replace.layer().train(old.training)
        tensor = next(iter(old.parameters()), None)
        if tensor is not None:
            new.to(device=tensor.device, dtype=tensor.dtype)
            for (_, parameter), like in zip(new.named_parameters(), old.parameters(), strict=False):
                parameter.requires_grad_(like.requires_grad)
        module.set_submodule(replace.path, new)
    return module


def redraw(module: nn.Module, surgery: Surgery) -> None:
    """Draw new values of the layers of ``surgery`` from torch's global generator, as their constructors do."""
    for replace in surgery:
        if reset := getattr(module.get_submodule(replace.path), "reset_parameters", None):
            reset()


def merged(surgery: Surgery, more: Surgery) -> tuple[Replace, ...]:
    """Return one record for two surgeries in order: the later layer at a path is the one that counts."""
    return tuple({replace.path: replace for replace in (*surgery, *more)}.values())


def _setting(layer: nn.Module, name: str) -> Any:
    value = getattr(layer, name)
    return value is not None if name == "bias" else value
