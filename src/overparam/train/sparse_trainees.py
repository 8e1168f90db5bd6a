"""Networks in training with sparse layers: perceptrons in compiled epochs, any other network converted."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from overparam.checkpoint import masked_state, state_of
from overparam.errors import SpecError
from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.limits import dense_by, limits
from overparam.sparse.networks.conversion import become, in_place
from overparam.sparse.networks.judge import Judgement, judge
from overparam.sparse.networks.network import SparseNetwork
from overparam.sparse.perceptron import Layer, Optimiser, Perceptron, perceptron_layers
from overparam.train.losses import cross_entropy, loss_for
from overparam.train.optimisers import OPTIMISERS, behaviour
from overparam.train.optimisers.state import Slots
from overparam.train.penalty import l1_strengths
from overparam.train.settings import TrainSettings
from overparam.train.trainees import ModuleTrainee, Trainee, masked_slots
from overparam.worlds import Batch, Classification, FiniteSplit, WorldData
from overparam.worlds.task import Sums


def sparse_trainee(
    module: nn.Module, data: WorldData, settings: TrainSettings, masks: Mapping[str, Tensor], forced: bool
) -> Trainee:
    """Return ``module`` with sparse layers where weights are few, or wherever there can be if ``forced``.

    Raises :class:`SpecError` if ``forced`` and the module is not on the CPU.
    """
    away = next((name for name, p in module.named_parameters() if p.device.type != "cpu"), None)
    if away is not None:
        reason = f"{away!r} is on {module.get_parameter(away).device}, and sparse layers are on the CPU"
        if forced:
            raise SpecError(f"engine: {reason}; take dense or auto")
        return _dense(module, data, settings, masks, reason)
    if not behaviour(OPTIMISERS.resolve(settings.optimizer)).elementwise:
        name = OPTIMISERS.label(settings.optimizer)
        reason = (
            f"optimizer {name} does not move each weight by itself, so it would move those of sparse layers otherwise"
        )
        if forced:
            raise SpecError(f"engine: {reason}; take dense or auto")
        return _dense(module, data, settings, masks, reason)
    layers = perceptron_layers(module)
    if layers is not None and _fits_compiled(module, layers, data, settings):
        below = {layer.weight: limits().epochs for layer in layers}
        return PerceptronTrainee(module, data, settings, masks, layers, () if forced else dense_by(below, masks))
    judgement = judge(module, loss_for(settings.loss, data.task))
    able = {f"{path}.weight".lstrip("."): path for path, reason in judgement.layers.items() if reason is None}
    below = {name: _limit(module.get_submodule(path)) for name, path in able.items()}
    dense = () if forced else dense_by(below, masks)
    if forced or len(dense) < len(masks):
        return NetworkTrainee(module, data, settings, masks, dense, judgement)
    reasons = dict.fromkeys(f"{path}: {reason}" for path, reason in judgement.layers.items() if reason is not None)
    return _dense(module, data, settings, masks, DENSER if able else "; ".join(reasons) or "no layer can be sparse")


DENSER = "no layer has so few of its weights that a sparse one would be faster (see overparam doctor)"


def _limit(layer: nn.Module) -> float:
    return limits().linear if isinstance(layer, nn.Linear) else limits().convolution


def _dense(
    module: nn.Module, data: WorldData, settings: TrainSettings, masks: Mapping[str, Tensor], note: str
) -> ModuleTrainee:
    trainee = ModuleTrainee(module, data, settings, masks)
    trainee.note = note
    return trainee


def _fits_compiled(module: nn.Module, layers: Sequence[Layer], data: WorldData, settings: TrainSettings) -> bool:
    """Tell whether compiled epochs can do this training."""
    if not (isinstance(data.train, FiniteSplit) and isinstance(data.task, Classification)):
        return False
    inputs, labels = data.train.inputs, data.train.targets
    first, last = module.get_parameter(layers[0].weight), module.get_parameter(layers[-1].weight)
    return (
        loss_for(settings.loss, data.task) is cross_entropy
        and not isinstance(settings.l1, Mapping)
        and OPTIMISERS.resolve(settings.optimizer).compiled() is not None
        and (data.augmentation is None or not data.augmentation.active)
        and inputs.dtype == first.dtype
        and inputs[:1].numel() == first.shape[1]
        and labels.dtype == torch.int64
        and 0 <= int(labels.min()) <= int(labels.max()) < last.shape[0]
        and int(data.test.targets.max()) < last.shape[0]
    )


class PerceptronTrainee(Trainee):
    """A multilayer perceptron whose epochs are compiled calls; layers named in ``dense`` are whole matrices."""

    note = "compiled epochs, as the network is a perceptron"

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
        compiled = OPTIMISERS.resolve(settings.optimizer).compiled()
        assert compiled is not None
        self.compiled = compiled
        assert not isinstance(settings.l1, Mapping)
        optimiser = Optimiser(**compiled.settings, l1=settings.l1)
        threads = torch.get_num_threads()
        self.perceptron = Perceptron(
            layers, dict(module.named_parameters()), masks, dense, optimiser, settings.batch_size, threads
        )
        trained_on = data.train.examples()
        self.inputs = trained_on.inputs.flatten(1).contiguous()
        self.labels = trained_on.targets.contiguous()
        self.order = torch.empty(0, dtype=torch.int64)
        self.next = 0
        self.loss = cross_entropy

    def running(self) -> None:
        """None: no module is run."""
        return None

    def begin(self, epoch: int, order: torch.Generator, skipped: int) -> None:
        """Begin an epoch."""
        self.order = self.data.train.order(epoch, order)
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

    def sums(self, examples: Batch) -> Sums:
        """Measure the perceptron."""
        inputs, targets = examples.inputs.flatten(1).contiguous(), examples.targets.contiguous()
        means = dict(zip(("loss", "hits", "soft_error"), self.perceptron.evaluate(inputs, targets), strict=True))
        count = torch.tensor(float(len(examples)), dtype=torch.float64)
        return {"count": count, **{name: mean * count for name, mean in means.items()}}

    def slots(self) -> Slots:
        """Return momentum or moments as dense tensors."""
        dense = {slot: self.perceptron.get(flat) for slot, flat in self._flats()}
        steps = [self.compiled.steps] if self.compiled.steps else []
        return {  # a step for each, as torch has: an optimiser adds to each, and files hold no tensor twice
            number: {
                **{slot: torch.tensor(float(self.perceptron.steps)) for slot in steps},
                **{slot: found[name] for slot, found in dense.items()},
            }
            for number, name in enumerate(self.names)
            if dense
        }

    def _flats(self) -> list[tuple[str, Tensor]]:
        """Return the flat tensors of the optimiser's state by torch's names."""
        named = ((self.compiled.first, self.perceptron.first), (self.compiled.second, self.perceptron.second))
        return [(slot, flat) for slot, flat in named if slot is not None]

    def restore(self, state: Mapping[str, Tensor], slots: Slots) -> None:
        """Go back to a state."""
        inner, steps = self.perceptron, self.compiled.steps
        inner.set(inner.parameters, masked_state(state, self.masks))
        slots = masked_slots(slots, self.names, self.masks)
        by_name = {name: slots[number] for number, name in enumerate(self.names) if number in slots}
        for slot, flat in self._flats():
            if by_name:
                inner.set(flat, {name: found[slot] for name, found in by_name.items()})
        inner.steps = int(next((found[steps] for found in by_name.values()), 0)) if steps else 0


class NetworkTrainee(ModuleTrainee):
    """A network some of whose layers are sparse while it trains, under torch's autograd and optimisers."""

    module: SparseNetwork

    def __init__(
        self,
        module: nn.Module,
        data: WorldData,
        settings: TrainSettings,
        masks: Mapping[str, Tensor],
        dense: Sequence[str],
        judgement: Judgement,
    ) -> None:
        self.order_of_state = list(state_of(module))
        self.original_masks = dict(masks)
        self.replaced = [_Replaced(module.get_submodule(path)) for path in judgement.layers]
        strengths = l1_strengths(settings.l1, module, masks, data.test.inputs[:1])
        try:
            network = in_place(module, masks, dense=dense, judgement=judgement)
            for each in self.replaced:
                each.added = vars(each.layer).keys() - vars(each.before).keys()
            own = {name: inner for inner, name in network.names.items()}
            sparse = {f"{path}.values" for path, layer in network.named_modules() if isinstance(layer, SparseLayer)}
            held = {own[name]: mask for name, mask in masks.items() if own[name] not in sparse}
            strengths = {own[name]: strength for name, strength in strengths.items()}
            super().__init__(network, data, settings, held, strengths=strengths)
        except BaseException:
            self.close()
            raise
        self.engines = {name: "sparse" if own[name] in sparse else "dense" for name in masks}
        self.note = "; ".join(network.fallbacks) or "the network is computed as a whole"
        self.layers: dict[int, SparseLayer] = {
            number: network.get_submodule(inner.removesuffix(".values"))  # type: ignore[misc]
            for number, inner in enumerate(name for name, p in network.named_parameters() if p.requires_grad)
            if inner in sparse
        }

    def running(self) -> nn.Module:
        """Return the user's module with sparse layers in it."""
        return self.module.model

    def close(self) -> None:
        """Put the dense layers back in their places."""
        for each in self.replaced:
            each.put_back()

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

    def _spread(self, number: int, value: Any) -> Any:
        layer = self.layers.get(number)
        return value if layer is None or not _of_weights(value) else layer.spread(value)

    def restore(self, state: Mapping[str, Tensor], slots: Slots) -> None:
        """Go back to a state."""
        self.module.load_dense_state(masked_state(state, self.original_masks))
        self._load({n: {k: self._gathered(n, value) for k, value in each.items()} for n, each in slots.items()})

    def _gathered(self, number: int, value: Any) -> Any:
        layer = self.layers.get(number)
        return value if layer is None or not _of_weights(value) else layer.gather(value)


def _of_weights(value: Any) -> bool:
    """Tell whether a part of an optimiser's state has a number for each weight."""
    return isinstance(value, Tensor) and value.dim() > 0


class _Replaced:
    """A dense layer as it was before it became a sparse one."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.before = copy.copy(layer)
        self.added: set[str] = set()

    def put_back(self) -> None:
        """Make it what it was; what the user's code has set on it since stays."""
        if type(self.layer) is type(self.before):
            return
        with torch.no_grad():
            self.before.get_parameter("weight").copy_(self.layer.weight())  # type: ignore[operator]
        since = {name: value for name, value in vars(self.layer).items() if name not in self.added}
        become(self.layer, self.before)
        for name, value in since.items():
            vars(self.layer).setdefault(name, value)
        self.layer.train(since["training"])
