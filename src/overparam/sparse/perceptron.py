"""Multilayer perceptrons trained in compiled calls of many iterations each.

What a step of a small network costs in torch is mostly the overhead of its dozens of operations. Here an epoch is one
call: gather, forward, loss, backward, update, batch by batch, each a kernel that is called by its address. Weights are
sparse (their nonzeros) or dense (all elements, those outside the mask held at zero by a factor). All parameters are
one flat array, weights first, then biases; so are gradients and the optimiser's state. A batch is divided among
threads; each has activations, errors and gradients of its own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from overparam.sparse.kernels import dense as dense_kernels
from overparam.sparse.kernels import products as kernels
from overparam.sparse.kernels import runners
from overparam.sparse.kernels import training as training_kernels
from overparam.sparse.kernels.compiled import KINDS, POOL, Kernel, runner, use_threads
from overparam.sparse.kernels.lanes import REGISTER_BYTES
from overparam.sparse.kernels.structure import linear_structure
from overparam.sparse.networks.judge import judge, unknown

EVALUATED = 128  # examples a thread takes at once in an evaluation


@dataclass(frozen=True)
class Layer:
    """A linear layer of a perceptron: the names of its parameters and whether a ReLU follows."""

    weight: str
    bias: str | None
    relu: bool


def perceptron_layers(module: nn.Module) -> list[Layer] | None:
    """Return the layers of ``module`` if it is nothing but flattening, linear layers and ReLUs between them.

    None if it is anything else: a forward that is not known, other layers, a layer used twice, parameters besides, or
    another dtype than float32 and float64.
    """
    if unknown(module) is not None or any(judge(module).layers.values()):
        return None
    parameters = dict(module.named_parameters())
    if any(parameter.dtype not in KINDS or parameter.device.type != "cpu" for parameter in parameters.values()):
        return None
    if any(True for _ in module.buffers()) or not all(parameter.requires_grad for parameter in parameters.values()):
        return None
    layers: list[Layer] = []
    for path, part in module.named_modules(remove_duplicate=False):  # those of nn.Sequential are in the order of calls
        kind = _kind(part)
        if kind == "linear" and (not layers or layers[-1].relu):
            layers.append(Layer(f"{path}.weight", f"{path}.bias" if part.bias is not None else None, False))
        elif kind == "relu" and layers:
            layers[-1] = Layer(layers[-1].weight, layers[-1].bias, True)
        elif kind != "nothing" and not (kind == "flatten" and not layers):
            return None
    named = [name for layer in layers for name in (layer.weight, layer.bias) if name is not None]
    whole = sorted(named) == sorted(parameters)  # each once, and no other
    return layers if layers and not layers[-1].relu and whole else None


def _kind(part: nn.Module) -> str:
    """Return what a module does: one of the few things a perceptron consists of, or ``other``."""
    if type(part) is nn.Linear:
        return "linear"
    if type(part) is nn.ReLU:
        return "relu"
    if type(part) is nn.Flatten and (part.start_dim, part.end_dim) == (1, -1):
        return "flatten"
    idle = type(part) in (nn.Sequential, nn.Identity) or (type(part) is nn.Dropout and part.p == 0)
    return "nothing" if idle else "other"


@dataclass(frozen=True)
class Optimiser:
    """The optimiser of a compiled training, by torch's names: ``sgd``, ``adam`` or ``adamw``."""

    name: str
    momentum: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    l1: float = 0.0

    @property
    def method(self) -> int:
        """The number by which the kernel knows it."""
        if self.name == "sgd":
            return training_kernels.NESTEROV if self.nesterov else training_kernels.SGD
        return {"adam": training_kernels.ADAM, "adamw": training_kernels.ADAMW}[self.name]


class Perceptron:
    """A multilayer perceptron in training: parameters and optimiser state in flat arrays, and what to do with a batch.

    Args:
        layers: from :func:`perceptron_layers`.
        state: weights and biases by name, float32 or float64.
        masks: bool masks by weight name; a weight without one is trained whole.
        dense: names of the weights to keep as dense matrices.
        optimiser: how to step.
        batch_size: examples an iteration.
        threads: among which the work of each batch is divided.

    Attributes:
        parameters, first, second: flat tensors: what is trained, its momentum or first moments, its second moments.
        steps: how many the optimiser has taken.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        state: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        dense: Collection[str],
        optimiser: Optimiser,
        batch_size: int,
        threads: int,
    ) -> None:
        self.layers, self.optimiser, self.batch_size = list(layers), optimiser, batch_size
        self.dtype = state[layers[0].weight].dtype
        self.register = REGISTER_BYTES // self.dtype.itemsize
        self.parts = max(1, min(threads, batch_size // (2 * self.register)))
        self.capacity = max(self._padded(-(-batch_size // self.parts)), EVALUATED)
        self.steps = 0
        self.shapes = {
            name: tuple(state[name].shape)
            for layer in layers
            for name in (layer.weight, layer.bias)
            if name is not None
        }
        self.nonzeros = {
            layer.weight: _nonzeros(masks.get(layer.weight), self.shapes[layer.weight])
            for layer in layers
            if layer.weight not in dense
        }
        self.structures = {
            name: linear_structure(nonzeros, self.shapes[name][0], self.shapes[name][1])
            for name, nonzeros in self.nonzeros.items()
        }
        self._place()
        self.parameters, self.first = self._numbers(self.size), self._numbers(self.size)
        self.second = self._numbers(0 if optimiser.name == "sgd" else self.size)
        self.factors = self._factors(masks)
        self.set(self.parameters, state)
        self._held: list[Any] = []  # what the plans point to
        self._compile_plans()

    def _padded(self, count: int) -> int:
        """Return the columns that so many examples take: whole pairs of registers."""
        pair = 2 * self.register
        return -(-count // pair) * pair

    def _place(self) -> None:
        """Decide where in the flat arrays each parameter is; weights come first."""
        self.places: dict[str, slice] = {}
        at = 0
        for layer in self.layers:
            nonzeros = self.nonzeros.get(layer.weight)
            length = math.prod(self.shapes[layer.weight]) if nonzeros is None else len(nonzeros)
            self.places[layer.weight] = slice(at, at + length)
            at += length
        self.weights = at
        for layer in self.layers:
            if layer.bias is not None:
                self.places[layer.bias] = slice(at, at + self.shapes[layer.bias][0])
                at += self.shapes[layer.bias][0]
        self.size = -(-at // self.register) * self.register

    def _numbers(self, length: int) -> Tensor:
        # torch aligns memory to 64 bytes: a register is then read at once
        return torch.zeros(max(length, self.register), dtype=self.dtype)

    def _factors(self, masks: Mapping[str, Tensor]) -> Tensor | None:
        """Return 0 for what is pruned of dense weights, 1 for all else; None if that is everything."""
        pruned = [
            layer.weight
            for layer in self.layers
            if layer.weight not in self.nonzeros and layer.weight in masks and not bool(masks[layer.weight].all())
        ]
        if not pruned:
            return None
        factors = torch.ones_like(self.parameters)
        for name in pruned:
            factors[self.places[name]] = masks[name].reshape(-1).to(self.dtype)
        return factors

    def set(self, flat: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Copy dense ``tensors`` by parameter name into a flat tensor, the nonzeros of sparse weights only."""
        for name, place in self.places.items():
            values = tensors[name].detach().reshape(-1)
            nonzeros = self.nonzeros.get(name)
            flat[place] = values if nonzeros is None else values[torch.from_numpy(nonzeros)]

    def get(self, flat: Tensor) -> dict[str, Tensor]:
        """Return dense tensors by parameter name of a flat tensor; zero outside the nonzeros."""
        found = {}
        for name, place in self.places.items():
            nonzeros = self.nonzeros.get(name)
            values = flat[place].clone()
            if nonzeros is not None:
                values = flat.new_zeros(math.prod(self.shapes[name]))
                values[torch.from_numpy(nonzeros)] = flat[place]
            found[name] = values.reshape(self.shapes[name])
        return found

    def _hold(self, thing: Any) -> int:
        """Keep an array or tensor alive and return its address."""
        self._held.append(thing)
        return int(thing.data_ptr() if isinstance(thing, Tensor) else thing.ctypes.data)

    def _compile_plans(self) -> None:
        self._gradients = self._numbers(self.parts * self.size)
        self._losses = np.zeros(self.parts)
        self._sums = np.zeros((self.parts, 3))
        self._cursors = np.zeros((self.parts, 4), dtype=np.int64)
        self._sources: list[tuple[npt.NDArray[np.int64], int, str]] = []  # arguments that a call fills in
        blocks = self._blocks()
        buffers = [self._buffers() for _ in range(self.parts)]
        training = [self._training(part, buffers[part], blocks) for part in range(self.parts)]
        scoring = [self._scoring(part, buffers[part], blocks) for part in range(self.parts)]
        optimiser = self.optimiser
        settings = [optimiser.momentum, optimiser.weight_decay, optimiser.l1, *optimiser.betas, 1e-8]
        scalars = np.zeros(3)
        update = np.array(
            [
                self.parts,
                self.size,
                self.weights,
                self._hold(self.parameters),
                self._hold(self._gradients),
                self._hold(self.first),
                self._hold(self.second),
                0 if self.factors is None else self._hold(self.factors),
                optimiser.method,
                self._hold(np.array(settings, dtype=np.float64)),
                self._hold(scalars),
            ],
            dtype=np.int64,
        )
        betas = np.array(optimiser.betas if optimiser.name != "sgd" else (0.0, 0.0))
        self._train_plan = self._plan(training)
        self._train_plan[runners.LOSSES] = self._hold(self._losses)
        self._train_plan[runners.UPDATE] = training_kernels.update.address(self.dtype)
        self._train_plan[runners.UPDATE_ARGUMENTS] = self._hold(update)
        self._train_plan[runners.UPDATE_ITEMS] = self.size // self.register
        self._train_plan[runners.SCALARS] = self._hold(scalars)
        self._train_plan[runners.BETAS] = self._hold(betas)
        self._score_plan = self._plan(scoring)

    def _plan(self, operations: Sequence[Sequence[Sequence[int]]]) -> npt.NDArray[np.int64]:
        plan = np.zeros(runners.PLAN, dtype=np.int64)
        plan[runners.PARTS] = self.parts
        plan[runners.OPERATIONS] = self._hold(np.array(operations, dtype=np.int64))
        plan[runners.OPERATION_COUNT] = len(operations[0])
        plan[runners.CURSORS] = self._hold(self._cursors)
        return plan

    def _operation(self, kernel: Kernel, items: int, *arguments: int | str) -> list[int]:
        """Return an operation: kernel, items, arguments; ``"width"`` and names of sources are filled in later."""
        packed = np.zeros(len(arguments), dtype=np.int64)
        widths = 0
        for place, argument in enumerate(arguments):
            if argument == "width":
                widths |= 1 << place
            elif isinstance(argument, str):
                self._sources.append((packed, place, argument))
            else:
                packed[place] = argument
        return [kernel.address(self.dtype), items, self._hold(packed), widths]

    def _blocks(self) -> npt.NDArray[np.int64]:
        """Return the first feature of each block of inputs that the first layer reads."""
        name = self.layers[0].weight
        features = self.shapes[name][1]
        if features < self.register:
            return np.zeros(1, dtype=np.int64)
        starts = np.minimum(np.arange(0, features, self.register), features - self.register).astype(np.int64)
        if name not in self.structures:
            return starts
        read = np.zeros(features, dtype=bool)
        read[self.structures[name].forward.offsets] = True
        return starts[[bool(read[start : start + self.register].any()) for start in starts]]

    def _buffers(self) -> tuple[int, list[int], list[int]]:
        """Return the addresses of a part's inputs, and of the outputs and errors of each layer."""
        rows = [self.shapes[layer.weight][0] for layer in self.layers]
        features = self.shapes[self.layers[0].weight][1]
        outputs = [self._hold(self._numbers(count * self.capacity)) for count in rows]
        errors = [self._hold(self._numbers(count * self.capacity)) for count in rows]
        return self._hold(self._numbers(features * self.capacity)), outputs, errors

    def _forward(
        self, part: int, columns: int, outputs: Sequence[int], blocks: npt.NDArray[np.int64], order: int | str
    ) -> list[list[int]]:
        features = self.shapes[self.layers[0].weight][1]
        scratch = self._hold(np.zeros(self.register, dtype=np.int64))
        cursor = self._cursors[part].ctypes.data
        gather = training_kernels.gather
        found = [
            self._operation(
                gather, 1, cursor, "inputs", order, columns, features, self._hold(blocks), len(blocks), scratch
            )
        ]
        inputs = columns
        for layer, to in zip(self.layers, outputs, strict=True):
            rows, inner_size = self.shapes[layer.weight]
            values = self._number(self.parameters, self.places[layer.weight].start)
            bias = 0 if layer.bias is None else self._number(self.parameters, self.places[layer.bias].start)
            if layer.weight in self.structures:
                table = self.structures[layer.weight].forward.address
                arguments = (table, values, bias, inputs, to, "width", int(layer.relu), 0)
                found.append(self._operation(kernels.product, rows, *arguments))
            else:
                dense = (rows, "width", inner_size, values, inner_size, 1, bias, inputs, "width", to, "width")
                found.append(self._operation(dense_kernels.matrix_product, 1, *dense, int(layer.relu), 0))
            inputs = to
        return found

    def _number(self, flat: Tensor, place: int) -> int:
        return flat.data_ptr() + place * self.dtype.itemsize

    def _training(
        self, part: int, buffers: tuple[int, list[int], list[int]], blocks: npt.NDArray[np.int64]
    ) -> list[list[int]]:
        columns, outputs, errors = buffers
        found = self._forward(part, columns, outputs, blocks, "order")
        classes = self.shapes[self.layers[-1].weight][0]
        loss = self._losses[part:].ctypes.data
        cursor = self._cursors[part].ctypes.data
        found.append(
            self._operation(
                training_kernels.cross_entropy, 1, cursor, "labels", "order", outputs[-1], errors[-1], classes, loss
            )
        )
        for number in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[number]
            rows, inner_size = self.shapes[layer.weight]
            place = self.places[layer.weight]
            start = part * self.size
            to_values = self._number(self._gradients, start + place.start)
            to_bias = 0
            if layer.bias is not None:
                to_bias = self._number(self._gradients, start + self.places[layer.bias].start)
            values = self._number(self.parameters, place.start)
            inputs = outputs[number - 1] if number else columns
            gate = outputs[number - 1] if number and self.layers[number - 1].relu else 0
            structure = self.structures.get(layer.weight)
            if structure is not None:
                gradient = (structure.forward.address, to_values, to_bias, inputs, errors[number], "width", 1)
                found.append(self._operation(kernels.gradient, rows, *gradient))
                if number:
                    back = (structure.backward.address, values, 0, errors[number], errors[number - 1], "width", 0, gate)
                    found.append(self._operation(kernels.product, inner_size, *back))
            else:
                error = errors[number]
                rowwise = self._hold(self._numbers(inner_size * self.capacity))
                found.append(
                    self._operation(
                        kernels.to_batch_first, kernels.ALL, "width", inner_size, inner_size, inputs, rowwise
                    )
                )
                whole = (rows, inner_size, "width", error, "width", 1, 0, rowwise, inner_size, to_values, inner_size)
                found.append(self._operation(dense_kernels.matrix_product, 1, *whole, 0, 0))
                if to_bias:
                    found.append(self._operation(dense_kernels.row_sums, rows, error, "width", to_bias))
                if number:
                    to = errors[number - 1]
                    below = (inner_size, "width", rows, values, 1, inner_size, 0, error, "width", to, "width", 0, gate)
                    found.append(self._operation(dense_kernels.matrix_product, 1, *below))
        return found

    def _scoring(
        self, part: int, buffers: tuple[int, list[int], list[int]], blocks: npt.NDArray[np.int64]
    ) -> list[list[int]]:
        columns, outputs, _ = buffers
        found = self._forward(part, columns, outputs, blocks, 0)
        classes = self.shapes[self.layers[-1].weight][0]
        cursor = self._cursors[part].ctypes.data
        sums = self._sums[part].ctypes.data
        return [*found, self._operation(training_kernels.score, 1, cursor, "labels", outputs[-1], classes, sums)]

    def _fill_in(self, **sources: int) -> None:
        for arguments, place, name in self._sources:
            arguments[place] = sources.get(name, 0)

    def _run(self, name: str, *arguments: int) -> None:
        if self.parts == 1:
            runner(name, self.dtype)(KINDS[self.dtype], *arguments)
            return
        run = runner(f"{name}_shared", self.dtype)
        with POOL:
            use_threads(self.parts)
            run(KINDS[self.dtype], *arguments)

    def train(self, inputs: Tensor, labels: Tensor, order: Tensor, rates: Sequence[float], start: int) -> Tensor:
        """Train on ``len(rates)`` batches of an epoch, from batch ``start`` on; return the mean loss of each.

        ``inputs`` (N, features) of the parameters' dtype, ``labels`` (N,) int64, ``order`` (N,) int64: the epoch's
        order; all contiguous, labels below the number of outputs.
        """
        steps = np.array(rates, dtype=np.float64)
        losses = torch.empty(len(steps), dtype=torch.float64)
        self._fill_in(inputs=inputs.data_ptr(), labels=labels.data_ptr(), order=order.data_ptr())
        self._run(
            "train",
            self._train_plan.ctypes.data,
            len(order),
            self.batch_size,
            start,
            start + len(steps),
            self.steps,
            steps.ctypes.data,
            losses.data_ptr(),
        )
        self.steps += len(steps)
        return losses

    def evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[float, float, float]:
        """Return mean loss, accuracy and soft error on ``inputs`` (N, features) against ``labels`` (N,)."""
        self._sums[:] = 0
        self._fill_in(inputs=inputs.data_ptr(), labels=labels.data_ptr())
        self._run("apply", self._score_plan.ctypes.data, len(inputs), EVALUATED)
        loss, hits, chances = (self._sums.sum(0) / max(len(inputs), 1)).tolist()
        return loss, hits, 1 - chances


def _nonzeros(mask: Tensor | None, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    if mask is None:
        return np.arange(math.prod(shape), dtype=np.int64)
    return np.flatnonzero(mask.numpy())
