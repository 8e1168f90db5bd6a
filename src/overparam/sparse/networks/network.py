"""A network that computes batch-last inside, with sparse layers, and stands in for the dense module it was made of."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

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
        keys: tuple[str, ...],
        layers: Mapping[str, str],
        masks: Mapping[str, Tensor],
        aliases: Mapping[str, str],
        dense: tuple[str, ...],
        fallbacks: tuple[str, ...],
    ) -> None:
        """Use :func:`overparam.sparse.convert`.

        Args:
            model: with sparse layers in it.
            fused: what computes it as a whole, of the same modules; None to call it.
            keys: of the user's state_dict.
            layers: path of the sparse layer by the name of its weight, under all names.
            masks: of dense parameters.
            aliases: first name of a dense parameter by each of its names.
            dense: names of weights that are dense and without a mask.
            fallbacks: see above.
        """
        super().__init__()
        self.model = model
        vars(self)["_fused"] = fused  # not registered: its modules are those of the model
        self._keys = keys
        self._layers = dict(layers)
        self._aliases = dict(aliases)
        self._dense = dense
        self._inner = tuple(model.modules())
        self._holds = False
        self.dense_masks = nn.Module()
        for name, mask in masks.items():
            self.dense_masks.register_buffer(_buffer(name), mask)
        self.fallbacks = fallbacks
        weights: dict[str, str] = {}
        for name, path in layers.items():
            weights.setdefault(f"{path}.values".lstrip("."), name)
        inner = [name for name, _ in model.named_parameters()]
        self.names = {f"model.{name}": weights.get(name, name) for name in inner}
        self.training = model.training  # its parts keep the flags that they had

    @property
    def whole(self) -> bool:
        """Whether the network is computed as a whole."""
        return self._fused is not None

    def hold(self) -> None:
        """Hold the masks of dense parameters from now on: zeros outside of them, now and in their gradients."""
        self._holds = True
        for name in dict.fromkeys(self._aliases.values()):
            mask = self._mask(name)
            if mask is not None:
                hold(self.model.get_parameter(name), mask)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return what the user's module would, for the same arguments."""
        if self._fused is None or named or len(inputs) != 1 or self._changed():
            return self.model(*inputs, **named)
        return self._fused(inputs[0])

    def _changed(self) -> bool:
        """Tell whether ``model`` got other modules since, or hooks, which only its own forward calls."""
        inner = self._inner
        return any(map(operator.is_not, inner, self.model.modules())) or calls_more(inner)

    def _layer(self, path: str) -> SparseLayer:
        layer = self.model.get_submodule(path)
        assert isinstance(layer, SparseLayer)
        return layer

    def _mask(self, name: str) -> Tensor | None:
        found: Tensor | None = getattr(self.dense_masks, _buffer(self._aliases.get(name, name)), None)
        return found

    def _sparse(self) -> dict[str, SparseLayer]:
        """Return each sparse layer once, by the first name of its weight."""
        found: dict[str, SparseLayer] = {}
        for name, path in self._layers.items():
            layer = self._layer(path)
            if not any(layer is known for known in found.values()):
                found[name] = layer
        return found

    def masks(self) -> dict[str, Tensor]:
        """Return the masks by the names of the user's weights: bool, True where a weight is there."""
        dense = {name: self._mask(name) for name in dict.fromkeys(self._aliases.values())}
        found = {name: mask.clone() for name, mask in dense.items() if mask is not None}
        found |= {name: layer.mask() for name, layer in self._sparse().items()}
        order = {name: number for number, name in enumerate(self.names.values())}
        return dict(sorted(found.items(), key=lambda item: order[item[0]]))

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
        layers = self._sparse().values()
        masks = list(self.dense_masks.buffers())
        plain = sum(self.model.get_parameter(name).numel() for name in self._dense)
        nonzeros = sum(layer.nonzeros for layer in layers) + sum(int(mask.sum()) for mask in masks) + plain
        return nonzeros, sum(math.prod(layer.shape) for layer in layers) + sum(map(torch.numel, masks)) + plain

    def dense_state(self) -> dict[str, Any]:
        """Return the state_dict of the user's module with the present values: copies, +0.0 where a mask is False."""
        inner = self.model.state_dict()
        return {key: self._dense_tensor(key, inner) for key in self._keys}

    def _dense_tensor(self, key: str, inner: Mapping[str, Any]) -> Any:
        if key in self._layers:
            return self._layer(self._layers[key]).weight()
        value, mask = inner[key], self._mask(key)
        if not isinstance(value, Tensor):
            return value
        return value.detach().clone() if mask is None else torch.where(mask, value.detach(), 0)

    def load_dense_state(self, state: Mapping[str, Any]) -> None:
        """Take the values of a state_dict of the user's module; those where a mask is False are left out.

        Raises :class:`SpecError` unless names and shapes are those of :meth:`dense_state`.
        """
        missing = [key for key in self._keys if key not in state]
        unknown = [key for key in state if key not in self._keys]
        if missing or unknown:
            raise SpecError(f"state must have the names of the user's module; missing: {missing}, unknown: {unknown}")
        inner = self.model.state_dict()
        for key in self._keys:
            shape = self._layer(self._layers[key]).shape if key in self._layers else getattr(inner[key], "shape", None)
            given = getattr(state[key], "shape", None)
            if (shape is None) != (given is None) or (shape is not None and tuple(shape) != tuple(given or ())):
                raise SpecError(f"state: {key!r} must be of shape {shape}, got {given}")
        translated: dict[str, Any] = {}
        for key in self._keys:
            mask = self._mask(key)
            if key not in self._layers:
                translated[key] = state[key] if mask is None else torch.where(mask, state[key], 0)
                continue
            translated[f"{key.removesuffix('weight')}values"] = self._layer(self._layers[key]).gather(state[key])
        self.model.load_state_dict(translated, strict=False)  # indices stay as they are

    def to_dense(self) -> nn.Module:
        """Return a new copy of the user's module with the present values, +0.0 where a mask is False."""
        dense = {id(layer): layer.to_dense() for layer in self._sparse().values()}
        found = copy.deepcopy(self.model, dense)  # which takes these for the copies of the sparse layers
        carry_over(self.model, found)
        return found

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if self._holds:  # copies of parameters have no hooks
            self.hold()


def _buffer(name: str) -> str:
    """Return a parameter's name as one a buffer can have."""
    return name.replace(".", ":")
