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
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from overparam.sparse.kernels import dense, products
from overparam.sparse.kernels import training as training_kernels
from overparam.sparse.kernels.compiled import KINDS, Int32s
from overparam.sparse.kernels.lanes import REGISTER_BYTES
from overparam.sparse.kernels.program import At, Program
from overparam.sparse.kernels.runners import ARRAYS, BATCH, COUNT, FIRST, SUMS, WIDTH, run
from overparam.sparse.kernels.structure import linear_structure
from overparam.sparse.networks.judge import judge, unknown

# Arrays of a part besides those that a training fills in.
INPUTS, LABELS, ORDER, NUMBERS, GRADIENTS, BUFFERS, STARTS, ENTRIES = range(ARRAYS, ARRAYS + 8)

Place = At | int  # in memory; 0 where there is nothing
EVALUATED = 128  # examples a thread takes at once in an evaluation


@dataclass(frozen=True)
class Layer:
    """A linear layer of a perceptron: the names of its parameters and whether a ReLU follows."""

    weight: str
    bias: str | None
    relu: bool


def perceptron_layers(module: nn.Module) -> list[Layer] | None:
    """Return the layers of ``module`` if it is nothing but flattening, linear layers and ReLUs between them, else None.

    Their forward must be known, each used once, and there must be no other parameters, and none of other dtypes.
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
        if type(part) is nn.Linear and (not layers or layers[-1].relu):
            layers.append(Layer(f"{path}.weight", f"{path}.bias" if part.bias is not None else None, False))
        elif type(part) is nn.ReLU and layers:
            layers[-1] = replace(layers[-1], relu=True)
        elif not _is_idle(part, first=not layers):
            return None
    named = [name for layer in layers for name in (layer.weight, layer.bias) if name is not None]
    whole = sorted(named) == sorted(parameters)  # each once, and no other
    return layers if layers and not layers[-1].relu and whole else None


def _is_idle(part: nn.Module, first: bool) -> bool:
    """Tell whether a module leaves examples as they are; flattening does so before the ``first`` layer."""
    if type(part) is nn.Flatten:
        return first and (part.start_dim, part.end_dim) == (1, -1)
    return type(part) in (nn.Sequential, nn.Identity) or (type(part) is nn.Dropout and part.p == 0)


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

    ``layers`` are those of :func:`perceptron_layers`, ``state`` has weights and biases by name, float32 or float64. A
    weight without one of the bool ``masks`` is trained whole, and one named in ``dense`` as a matrix. An iteration
    takes ``batch_size`` examples, and its work is divided among ``threads``.

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
        pair, share = 2 * self.register, -(-batch_size // self.parts)
        self.capacity = max(-(-share // pair) * pair, EVALUATED)  # columns that a part takes: whole pairs of registers
        self.steps = 0
        weights, biases = [each.weight for each in layers], [each.bias for each in layers if each.bias is not None]
        self.shapes = {name: tuple(state[name].shape) for name in (*weights, *biases)}
        sparse = [name for name in weights if name not in dense]
        self.nonzeros = {name: _nonzeros(masks.get(name), self.shapes[name]) for name in sparse}
        self.structures = {k: linear_structure(self.nonzeros[k], self.shapes[k][0], self.shapes[k][1]) for k in sparse}
        lengths = [len(self.nonzeros[k]) if k in self.nonzeros else math.prod(self.shapes[k]) for k in self.shapes]
        ends = list(accumulate(lengths, initial=0))
        self.slices = {name: slice(*pair) for name, pair in zip(self.shapes, pairwise(ends), strict=True)}
        self.weights = ends[len(weights)]  # how many numbers are of weights; they come first
        self.size = -(-ends[-1] // self.register) * self.register
        self.parameters, self.first = self._numbers(self.size), self._numbers(self.size)
        self.second = self._numbers(0 if optimiser.name == "sgd" else self.size)
        self.factors = self._factors(masks)
        self.set(self.parameters, state)
        self._gradients = self._numbers(self.parts * self.size)
        self._sums = np.zeros((self.parts, 3))
        self._held: list[Any] = []  # what compiled code is given the addresses of
        self._build()

    def _numbers(self, length: int) -> Tensor:
        # torch aligns memory to 64 bytes: a register is then read at once
        return torch.zeros(max(length, self.register), dtype=self.dtype)

    def _factors(self, masks: Mapping[str, Tensor]) -> Tensor | None:
        """Return 0 for what is pruned of dense weights, 1 for all else; None if that is everything."""
        factors = torch.ones_like(self.parameters)
        for layer in self.layers:
            if self._is_dense(layer) and layer.weight in masks:
                factors[self.slices[layer.weight]] = masks[layer.weight].reshape(-1).to(self.dtype)
        return None if bool(factors.all()) else factors

    def set(self, flat: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Copy dense ``tensors`` by parameter name into a flat tensor, the nonzeros of sparse weights only."""
        for name, place in self.slices.items():
            values = tensors[name].detach().reshape(-1)
            nonzeros = self.nonzeros.get(name)
            flat[place] = values if nonzeros is None else values[torch.from_numpy(nonzeros)]

    def get(self, flat: Tensor) -> dict[str, Tensor]:
        """Return dense tensors by parameter name of a flat tensor; zero outside the nonzeros."""
        found = {}
        for name, place in self.slices.items():
            values = flat[place].clone()
            if name in self.nonzeros:
                values = flat.new_zeros(math.prod(self.shapes[name]))
                values[torch.from_numpy(self.nonzeros[name])] = flat[place]
            found[name] = values.reshape(self.shapes[name])
        return found

    def _hold(self, thing: Any) -> int:
        """Keep an array or tensor alive and return its address."""
        self._held.append(thing)
        return int(thing.data_ptr() if isinstance(thing, Tensor) else thing.ctypes.data)

    def _build(self) -> None:
        """Make what a call does with a part of a batch: of a training, and of an evaluation."""
        rows, columns = zip(*(self.shapes[layer.weight] for layer in self.layers), strict=True)
        *ends, room = np.cumsum([0, columns[0], *rows, *rows, max(columns)]) * self.capacity * self.dtype.itemsize
        places, depth = [At(BUFFERS, int(end)) for end in ends], len(self.layers)
        # inputs and each layer's outputs, each layer's errors, and the inputs of a dense layer row by row
        self._values, self._errors, self._rowwise = places[: depth + 1], places[depth + 1 : -1], places[-1]
        buffers = self._numbers(int(room) // self.dtype.itemsize * self.parts)
        training, scoring = Program(self.dtype, 1, 1), Program(self.dtype, 1, 1)
        self._forward(training, At(ORDER), self._errors[-1])
        for number in reversed(range(depth)):
            (self._dense_back if self._is_dense(self.layers[number]) else self._sparse_back)(training, number)
        self._forward(scoring, 0, 0)
        self._arrays = np.zeros((self.parts, ENTRIES), dtype=np.int64)
        steps = np.arange(self.parts)
        self._arrays[:, SUMS] = self._sums.ctypes.data + steps * self._sums.strides[0]
        self._arrays[:, NUMBERS] = self.parameters.data_ptr()
        self._arrays[:, GRADIENTS] = self._gradients.data_ptr() + steps * self.size * self.dtype.itemsize
        self._arrays[:, BUFFERS] = self._hold(buffers) + steps * int(room)
        self._arrays[:, STARTS] = self._hold(np.zeros((self.parts, self.register), dtype=np.int64))
        self._arrays[:, STARTS] += steps * self.register * 8
        update = self._update()
        self._train_plan, self._score_plan = self._plan(training, update), self._plan(scoring, [0, 0, 0, *update[3:]])

    def _update(self) -> list[int]:
        """Return what the optimiser's step needs: kernel, arguments, items, what changes with the step, betas."""
        optimiser = self.optimiser
        settings = [optimiser.momentum, optimiser.weight_decay, optimiser.l1, *optimiser.betas, 1e-8]
        scalars = self._hold(np.zeros(3))
        betas = self._hold(np.array(optimiser.betas if optimiser.name != "sgd" else (0.0, 0.0)))
        flat = (self.parameters, self._gradients, self.first, self.second)
        arguments = [
            *(self.parts, self.size, self.weights, *(each.data_ptr() for each in flat)),
            0 if self.factors is None else self.factors.data_ptr(),
            *(optimiser.method, self._hold(np.array(settings)), scalars),
        ]
        items = self.size // self.register
        held = self._hold(np.array(arguments, dtype=np.int64))
        return [training_kernels.update.address(self.dtype), held, items, scalars, betas]

    def _plan(self, program: Program, update: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return what :mod:`overparam.sparse.kernels.runners` takes for a training or an evaluation."""
        arguments = np.tile(np.array(program.arguments, dtype=np.int64), self.parts)  # each part fills in its own
        self._held.append(program)
        known = *program.listed, self._hold(arguments), len(program.arguments), *program.missing
        return np.array([*known, self._arrays.ctypes.data, ENTRIES, *update], dtype=np.int64)

    def _is_dense(self, layer: Layer) -> bool:
        return layer.weight not in self.structures

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

    def _number(self, name: str | None, array: int = NUMBERS) -> Place:
        """Return where a parameter, or its gradient, is; 0 if there is none."""
        return 0 if name is None else At(array, self.slices[name].start * self.dtype.itemsize)

    def _forward(self, program: Program, order: Place, errors: Place) -> None:
        """Gather a part of a batch, compute each layer's outputs, and the loss with its gradient, ``errors``."""
        blocks = self._blocks()
        where = At(INPUTS), order, self._values[0], self.shapes[self.layers[0].weight][1]
        taken = self._hold(blocks), len(blocks), At(STARTS)
        program.add(training_kernels.gather, ONE, At(FIRST), At(COUNT), At(WIDTH), *where, *taken)
        for layer, inputs, outputs in zip(self.layers, self._values, self._values[1:], strict=False):
            rows, columns = self.shapes[layer.weight]
            values, bias, relu = self._number(layer.weight), self._number(layer.bias), int(layer.relu)
            if self._is_dense(layer):
                matrix = rows, At(WIDTH), columns, values, columns, 1, bias, inputs, At(WIDTH), outputs, At(WIDTH)
                program.add(dense.matrix_product, ONE, *matrix, relu, 0)
            else:
                table = self.structures[layer.weight].forward.address
                program.add(products.product, _all(rows), table, values, bias, inputs, outputs, At(WIDTH), relu, 0)
        examples, loss = (At(FIRST), At(COUNT), At(WIDTH), At(BATCH), At(LABELS), order), training_kernels.cross_entropy
        program.add(loss, ONE, *examples, self._values[-1], errors, rows, At(SUMS))

    def _below(self, number: int) -> tuple[Place, Place]:
        """Return where a layer's errors go on to, and the outputs there whose ReLU stops them; 0 for none."""
        relu = number and self.layers[number - 1].relu
        return self._errors[number - 1] if number else 0, self._values[number] if relu else 0

    def _sparse_back(self, program: Program, number: int) -> None:
        layer, errors = self.layers[number], self._errors[number]
        (rows, columns), structure = self.shapes[layer.weight], self.structures[layer.weight]
        to = self._number(layer.weight, GRADIENTS), self._number(layer.bias, GRADIENTS)
        given = structure.forward.address, *to, self._values[number], errors, At(WIDTH), 1
        program.add(products.gradient, _all(rows), *given)
        below, gate = self._below(number)
        if below:
            back = structure.backward.address, self._number(layer.weight), 0, errors, below, At(WIDTH), 0, gate
            program.add(products.product, _all(columns), *back)

    def _dense_back(self, program: Program, number: int) -> None:
        layer, errors, wide = self.layers[number], self._errors[number], At(WIDTH)
        (rows, columns), rowwise = self.shapes[layer.weight], self._rowwise
        turned = wide, columns, columns, self._values[number], rowwise, 1
        program.add(products.transpose, _all(products.ALL), *turned)
        whole = (
            rows,
            columns,
            wide,
            errors,
            wide,
            1,
            0,
            rowwise,
            columns,
            self._number(layer.weight, GRADIENTS),
            columns,
        )
        program.add(dense.matrix_product, ONE, *whole, 0, 0)
        if layer.bias is not None:
            program.add(dense.row_sums, _all(rows), errors, wide, self._number(layer.bias, GRADIENTS))
        below, gate = self._below(number)
        if below:
            back = columns, wide, rows, self._number(layer.weight), 1, columns, 0, errors, wide, below, wide, 0, gate
            program.add(dense.matrix_product, ONE, *back)

    def train(self, inputs: Tensor, labels: Tensor, order: Tensor, rates: Sequence[float], start: int) -> Tensor:
        """Train on ``len(rates)`` batches of an epoch, from batch ``start`` on; return the mean loss of each.

        ``inputs`` (N, features) of the parameters' dtype, ``labels`` and the epoch's ``order`` (N,) int64, contiguous.
        """
        steps = np.array(rates, dtype=np.float64)
        losses = torch.empty(len(steps), dtype=torch.float64)
        self._arrays[:, [INPUTS, LABELS, ORDER]] = inputs.data_ptr(), labels.data_ptr(), order.data_ptr()
        epoch = len(order), self.batch_size, start, start + len(steps), self.steps
        results = steps.ctypes.data, losses.data_ptr()
        run("train", self.dtype, self.parts, self._train_plan.ctypes.data, *epoch, *results)
        self.steps += len(steps)
        return losses

    def evaluate(self, inputs: Tensor, labels: Tensor) -> tuple[float, float, float]:
        """Return mean loss, accuracy and soft error on ``inputs`` (N, features) against ``labels`` (N,)."""
        self._sums[:] = 0
        self._arrays[:, [INPUTS, LABELS]] = inputs.data_ptr(), labels.data_ptr()
        batches = -(-len(inputs) // (EVALUATED * self.parts))
        unused = np.zeros((2, batches))  # rates and losses
        whole = len(inputs), EVALUATED * self.parts, 0, batches, 0, unused[0].ctypes.data, unused[1].ctypes.data
        run("train", self.dtype, self.parts, self._score_plan.ctypes.data, *whole)
        loss, hits, chances = (self._sums.sum(0) / max(len(inputs), 1)).tolist()
        return loss, hits, 1 - chances


@cache
def _all(items: int) -> Int32s:
    """Return the bounds of all items."""
    return np.array([0, items], dtype=np.int32)


ONE = _all(1)


def _nonzeros(mask: Tensor | None, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    if mask is None:
        return np.arange(math.prod(shape), dtype=np.int64)
    return np.flatnonzero(mask.numpy())
