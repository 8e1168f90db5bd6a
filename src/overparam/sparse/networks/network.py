"""A network that computes batch-last inside, with sparse layers, and stands in for the dense module it was made of."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from overparam.errors import SpecError
from overparam.sparse.layers.hooks import calls_more, carry_over, hold
from overparam.sparse.layers.kinds import SparseLayer


class SparseNetwork(nn.Module):
    """What :func:`overparam.sparse.convert` makes of a module: the same function, trained at its nonzeros.

    It takes and returns batch-first tensors as the module did. Its parameters come in the order of the module's, so
    that optimisers do the same to both. It can be copied, switched between training and evaluation, and has a
    ``state_dict`` of its own; :meth:`dense_state` is that of the user's module.

    Attributes:
        model: the module's copy, with sparse layers in it.
        whole: whether the network is computed batch-last as a whole; else the forward of ``model`` runs as it is.
        fallbacks: why it is not computed as a whole, and what is dense and why, in words; empty is best.
        names: the user's name of each of this network's parameters, e.g. ``{"model.fc1.values": "fc1.weight"}``.
    """

    fallbacks: tuple[str, ...]
    names: dict[str, str]
    _fused: nn.Module | None

    def __init__(
        self,
        model: nn.Module,
        fused: nn.Module | None,
        keys: Sequence[str],
        first: Mapping[str, str],
        layers: Mapping[str, str],
        masks: Mapping[str, Tensor],
        fallbacks: Sequence[str],
    ) -> None:
        """Use :func:`overparam.sparse.convert`.

        ``fused`` computes the model as a whole, if it is not None, and ``keys`` are those of the user's state_dict.
        ``first`` has the first name of each of the user's parameters by all its names; by these are the paths of sparse
        ``layers`` and the ``masks`` of dense parameters.
        """
        super().__init__()
        self.model = model
        vars(self)["_fused"] = fused  # not registered: its modules are those of the model
        self.fallbacks = tuple(dict.fromkeys(fallbacks))
        self._keys, self._first, self._layers = tuple(keys), dict(first), dict(layers)
        self._inner = tuple(model.modules())
        self._holds = False
        self.dense_masks = nn.Module()
        for name, mask in masks.items():
            self.dense_masks.register_buffer(_buffer(name), mask)
        values = {f"{path}.values".lstrip("."): name for name, path in layers.items()}
        self.names = {f"model.{name}": values.get(name, name) for name, _ in model.named_parameters()}
        self.training = model.training  # its parts keep the flags that they had

    @property
    def whole(self) -> bool:
        """Whether the network is computed as a whole."""
        return self._fused is not None

    def hold(self) -> None:
        """Hold the masks of dense parameters from now on: zeros outside of them, now and in their gradients."""
        self._holds = True
        for name, mask in self._dense_masks().items():
            hold(self.model.get_parameter(name), mask)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return what the user's module would, for the same arguments."""
        if self._fused is None or named or len(inputs) != 1:
            return self.model(*inputs, **named)
        # other modules since, or hooks, are what only its own forward calls
        changed = any(map(operator.is_not, self._inner, self.model.modules())) or calls_more(self._inner)
        return self.model(*inputs) if changed else self._fused.forward(inputs[0])

    def _sparse(self) -> dict[str, SparseLayer]:
        """Return the sparse layers by the first names of their weights."""
        return {name: self.model.get_submodule(path) for name, path in self._layers.items()}  # type: ignore[misc]

    def _dense_masks(self) -> dict[str, Tensor]:
        """Return the masks of dense parameters by their first names."""
        held = dict(self.dense_masks.named_buffers())
        return {name: held[_buffer(name)] for name in self.names.values() if _buffer(name) in held}

    def masks(self) -> dict[str, Tensor]:
        """Return the masks by the names of the user's weights: bool, True where a weight is there."""
        found = {name: mask.clone() for name, mask in self._dense_masks().items()}
        found |= {name: layer.mask() for name, layer in self._sparse().items()}
        return {name: found[name] for name in self.names.values() if name in found}

    @property
    def nonzeros(self) -> int:
        """Number of weights of linear layers and convolutions, and of other tensors with a mask, that are there."""
        return self._counts()[0]

    @property
    def density(self) -> float:
        """:attr:`nonzeros` divided by the size of the dense tensors; 1 if there are none."""
        nonzeros, size = self._counts()
        return nonzeros / size if size else 1.0

    def _counts(self) -> tuple[int, int]:
        layers, masks = self._sparse().values(), self._dense_masks()
        plain = sum(self.model.get_parameter(name).numel() for name in dense_weights(self.model) if name not in masks)
        nonzeros = sum(layer.nonzeros for layer in layers) + sum(int(mask.sum()) for mask in masks.values()) + plain
        size = sum(math.prod(layer.shape) for layer in layers) + sum(mask.numel() for mask in masks.values()) + plain
        return nonzeros, size

    def dense_state(self) -> dict[str, Any]:
        """Return the state_dict of the user's module with the present values: copies, +0.0 where a mask is False."""
        inner, layers, masks = self.model.state_dict(), self._sparse(), self._dense_masks()
        found: dict[str, Any] = {}
        for key in self._keys:
            first = self._first.get(key, key)
            if first in layers:
                found[key] = layers[first].weight()
            elif isinstance(inner[key], Tensor):
                found[key] = _masked(inner[key].detach(), masks.get(first))
            else:
                found[key] = inner[key]
        return found

    def load_dense_state(self, state: Mapping[str, Any]) -> None:
        """Take the values of a state_dict of the user's module; those where a mask is False are left out.

        Raises :class:`SpecError` unless names and shapes are those of :meth:`dense_state`.
        """
        missing = [key for key in self._keys if key not in state]
        unknown = [key for key in state if key not in self._keys]
        if missing or unknown:
            raise SpecError(f"state must have the names of the user's module; missing: {missing}, unknown: {unknown}")
        inner, layers, masks = self.model.state_dict(), self._sparse(), self._dense_masks()
        loaded: dict[str, Any] = {}
        for key in self._keys:
            first, value = self._first.get(key, key), state[key]
            shape = layers[first].shape if first in layers else getattr(inner[key], "shape", None)
            given = getattr(value, "shape", None)
            if given != shape:
                raise SpecError(f"state: {key!r} must be of shape {shape}, got {given}")
            if first in layers:
                loaded[f"{key.removesuffix('weight')}values"] = layers[first].gather(value)
            else:
                loaded[key] = _masked(value, masks.get(first)) if isinstance(value, Tensor) else value
        self.model.load_state_dict(loaded, strict=False)  # indices stay as they are

    def to_dense(self) -> nn.Module:
        """Return a new copy of the user's module with the present values, +0.0 where a mask is False."""
        dense = {id(layer): layer.to_dense() for layer in self._sparse().values()}
        # which takes these for the copies of the sparse layers
        return carry_over(self.model, copy.deepcopy(self.model, dense))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if self._holds:  # copies of parameters have no hooks
            self.hold()


def dense_weights(model: nn.Module) -> list[str]:
    """Return the first names of the dense weights of linear layers and convolutions."""
    weights = {id(part._parameters.get("weight")) for part in model.modules() if isinstance(part, nn.Linear | _ConvNd)}
    return [name for name, parameter in model.named_parameters() if id(parameter) in weights]


def _masked(value: Tensor, mask: Tensor | None) -> Tensor:
    return value.clone() if mask is None else torch.where(mask, value, 0)


def _buffer(name: str) -> str:
    """Return a parameter's name as one a buffer can have."""
    return name.replace(".", ":")
