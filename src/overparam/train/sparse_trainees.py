"""Networks in training with sparse layers: perceptrons in compiled epochs, any other network converted."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from overparam.checkpoint import masked_state, state_of
from overparam.errors import LayerCollapseWarning, SpecError
from overparam.sparse import convert
from overparam.sparse.autograd import DTYPES
from overparam.sparse.calibration import choose
from overparam.sparse.layers import SparseLayer
from overparam.sparse.network import SparseNetwork
from overparam.sparse.perceptron import Layer, Optimiser, Perceptron, perceptron_layers
from overparam.train.evaluate import Score
from overparam.train.losses import cross_entropy, loss_named
from overparam.train.settings import TrainSettings
from overparam.train.trainees import ModuleTrainee, Slots, Trainee
from overparam.worlds import WorldData


def sparse_trainee(
    module: nn.Module, data: WorldData, settings: TrainSettings, masks: Mapping[str, Tensor], forced: bool
) -> Trainee | None:
    """Return ``module`` with sparse layers where they are faster, or wherever there is a mask if ``forced``.

    None if it is faster dense, or cannot be made sparse (:class:`SpecError` if ``forced``).
    """
    if not forced and any(p.dtype not in DTYPES or p.device.type != "cpu" for p in module.parameters()):
        return None
    layers = perceptron_layers(module)
    if layers is not None and _fits_compiled(module, layers, data, settings):
        plan = choose(module, masks, settings.batch_size, None, layers)
        if forced or plan.gain > 1:
            return PerceptronTrainee(module, data, settings, masks, layers, () if forced else plan.dense)
        return None
    try:
        if forced:
            return NetworkTrainee(module, data, settings, masks, ())
        plan = choose(module, masks, settings.batch_size, data.train.inputs[:1], None)
        return NetworkTrainee(module, data, settings, masks, plan.dense) if plan.gain > 1 else None
    except SpecError:
        if forced:
            raise
        return None  # nothing is lost: torch computes what the sparse engine does not know


def _fits_compiled(module: nn.Module, layers: Sequence[Layer], data: WorldData, settings: TrainSettings) -> bool:
    """Tell whether compiled epochs can do this training."""
    inputs, labels = data.train.inputs, data.train.labels
    first, last = module.get_parameter(layers[0].weight), module.get_parameter(layers[-1].weight)
    return (
        loss_named(settings.loss) is cross_entropy
        and (data.augmentation is None or not data.augmentation.active)
        and inputs.dtype == first.dtype
        and inputs[:1].numel() == first.shape[1]
        and labels.dtype == torch.int64
        and 0 <= int(labels.min()) <= int(labels.max()) < last.shape[0]
        and int(data.test.labels.max()) < last.shape[0]
    )


class PerceptronTrainee(Trainee):
    """A multilayer perceptron whose epochs are compiled calls; layers named in ``dense`` are whole matrices."""

    def __init__(
        self,
        module: nn.Module,
        data: WorldData,
        settings: TrainSettings,
        masks: Mapping[str, Tensor],
        layers: Sequence[Layer],
        dense: Sequence[str],
    ) -> None:
        self.data, self.settings, self.masks = data, settings, dict(masks)
        self.engines = {layer.weight: "dense" if layer.weight in dense else "sparse" for layer in layers}
        self.order_of_state = list(state_of(module))
        self.names = [name for name, _ in module.named_parameters()]
        optimiser = Optimiser(
            settings.optimizer,
            settings.momentum,
            settings.nesterov,
            settings.betas,
            settings.weight_decay,
            settings.l1,
        )
        threads = torch.get_num_threads()
        self.perceptron = Perceptron(
            layers, dict(module.named_parameters()), masks, dense, optimiser, settings.batch_size, threads
        )
        self.inputs = data.train.inputs.reshape(len(data.train), -1).contiguous()
        self.labels = data.train.labels.contiguous()
        self.order = torch.empty(0, dtype=torch.int64)
        self.next = 0
        self.loss = cross_entropy

    def running(self) -> None:
        """None: no module is run."""
        return None

    def begin(self, order: torch.Generator, skipped: int) -> None:
        """Begin an epoch."""
        self.order = self.data.shuffled(order)
        self.next = skipped

    def advance(self, rates: Sequence[float]) -> Tensor:
        """Train on the next batches, in one call."""
        losses = self.perceptron.train(self.inputs, self.labels, self.order, rates, self.next)
        self.next += len(rates)
        return losses

    def state(self) -> dict[str, Tensor]:
        """Return the dense module's state."""
        found = self.perceptron.get(self.perceptron.parameters)
        return masked_state({name: found[name] for name in self.order_of_state}, self.masks)

    def score(self, inputs: Tensor, labels: Tensor) -> Score:
        """Measure the perceptron."""
        return Score(*self.perceptron.evaluate(inputs.reshape(len(inputs), -1).contiguous(), labels.contiguous()))

    def slots(self) -> Slots:
        """Return momentum or moments as dense tensors."""
        inner = self.perceptron
        first = inner.get(inner.first)
        if self.settings.optimizer == "sgd":
            if not self.settings.momentum:
                return {}
            return {number: {"momentum_buffer": first[name]} for number, name in enumerate(self.names)}
        second = inner.get(inner.second)
        return {  # a step for each, as torch has: an optimiser adds to each, and files hold no tensor twice
            number: {
                "step": torch.tensor(float(inner.steps)),
                "exp_avg": first[name],
                "exp_avg_sq": second[name],
            }
            for number, name in enumerate(self.names)
        }

    def restore(self, state: Mapping[str, Tensor], slots: Slots) -> None:
        """Go back to a state."""
        inner = self.perceptron
        inner.set(inner.parameters, state)
        by_name = {name: slots.get(number, {}) for number, name in enumerate(self.names)}
        momentum = self.settings.optimizer == "sgd"
        for flat, slot in ((inner.first, "momentum_buffer" if momentum else "exp_avg"), (inner.second, "exp_avg_sq")):
            kept = {name: found[slot] for name, found in by_name.items() if slot in found}
            if kept:
                inner.set(flat, kept)
        inner.steps = int(next((found["step"] for found in by_name.values() if "step" in found), 0))


class NetworkTrainee(ModuleTrainee):
    """Any network that can be converted, under torch's autograd and optimisers."""

    module: SparseNetwork

    def __init__(
        self,
        module: nn.Module,
        data: WorldData,
        settings: TrainSettings,
        masks: Mapping[str, Tensor],
        dense: Sequence[str],
    ) -> None:
        with warnings.catch_warnings():  # who chose the masks has been told of collapsed layers
            warnings.simplefilter("ignore", LayerCollapseWarning)
            network = convert(module, masks, dense=dense, example=data.train.inputs[:1])
        own = {name: inner for inner, name in network.names.items()}
        super().__init__(network, data, settings, {})
        parameters = dict(network.named_parameters())
        self.prunable = [parameters[own[name]] for name in masks]
        self.original_masks = dict(masks)
        self.order_of_state = list(state_of(module))
        sparse = {f"{path}.values" for path, layer in network.named_modules() if isinstance(layer, SparseLayer)}
        self.engines = {name: "sparse" if own[name] in sparse else "dense" for name in masks}
        self.layers: dict[int, SparseLayer] = {
            number: network.get_submodule(inner.removesuffix(".values"))  # type: ignore[misc]
            for number, inner in enumerate(name for name, p in network.named_parameters() if p.requires_grad)
            if inner in sparse
        }

    def running(self) -> nn.Module:
        """Return the user's module with sparse layers in it."""
        return self.module.model

    def state(self) -> dict[str, Tensor]:
        """Return the dense module's state."""
        found = self.module.dense_state()
        return masked_state({name: found[name] for name in self.order_of_state}, self.original_masks)

    def slots(self) -> Slots:
        """Return the optimiser's state, that of values spread out to their dense places."""
        return {
            number: {name: self._spread(number, value) for name, value in slots.items()}
            for number, slots in super().slots().items()
        }

    def _spread(self, number: int, value: Tensor) -> Tensor:
        layer = self.layers.get(number)
        return value if layer is None or value.dim() == 0 else layer.spread(value)

    def restore(self, state: Mapping[str, Tensor], slots: Slots) -> None:
        """Go back to a state."""
        self.module.load_dense_state(state)
        gathered = {number: {k: self._gathered(number, v) for k, v in each.items()} for number, each in slots.items()}
        groups: Any = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": gathered, "param_groups": groups})

    def _gathered(self, number: int, value: Tensor) -> Tensor:
        layer = self.layers.get(number)
        return value if layer is None or value.dim() == 0 else layer.gather(value)
