"""The programs of a chain of sparse layers: which kernels, in which memory.

Between two layers there may be a ReLU, which the kernels include. All that lies between input and output of a chain is
in one piece of memory; of the errors that go back through it only two layers' are there at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch

from overparam.sparse import kernels
from overparam.sparse.lanes import REGISTER_BYTES
from overparam.sparse.program import At, Program
from overparam.sparse.structure import Structure, Table

INPUTS, RESULT, KEPT, ERRORS, SCRATCH, TO_INPUTS, NUMBERS = range(7)
"""Arrays of the programs: what goes in and comes out, what is kept between, the gradients of both, scratch memory; then
values and bias of each layer, then the gradients of these."""


class Borders(NamedTuple):
    """Whether a chain's inputs come, and its outputs go, batch-first: ``(batch, channels, *positions)``.

    Else they are tiles, ``(tiles, *positions, channels, width)``.
    """

    inputs: bool = False
    outputs: bool = False


@dataclass(frozen=True, eq=False)
class Chain:
    """Layers one after another, for one shape of batch.

    Attributes:
        structures: of the layers.
        relus: whether the output of each goes through a ReLU.
        biases: whether each has a bias.
        borders: layout of inputs and outputs.
        dtype: of all numbers.
        tiles, width: of the batch.
        threads: how many share the work.
        kept: whether the gradients will be asked for.
    """

    structures: tuple[Structure, ...]
    relus: tuple[bool, ...]
    biases: tuple[bool, ...]
    borders: Borders
    dtype: torch.dtype
    tiles: int
    width: int
    threads: int
    kept: bool
    _backwards: dict[tuple[bool, ...], tuple[Program, int]] = field(default_factory=dict, init=False)

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Shape of the inputs."""
        return self._shape(self.structures[0].inputs, self.borders.inputs)

    @cached_property
    def result(self) -> tuple[int, ...]:
        """Shape of the outputs."""
        return self._shape(self.structures[-1].output, self.borders.outputs)

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of values and biases of each layer; a bias that is not there has none."""
        pairs = zip(self.structures, self.biases, strict=True)
        return [size for each, bias in pairs for size in (each.size, each.forward.rows * bias)]

    def _shape(self, shape: Sequence[int], batch_first: bool) -> tuple[int, ...]:
        *positions, channels = shape
        if batch_first:
            return self.tiles * self.width, channels, *positions
        return self.tiles, *shape, self.width

    def _bytes(self, shape: Sequence[int]) -> int:
        """Return the size of a batch of this shape, in whole registers."""
        size = self.tiles * self.width * math.prod(shape) * self.dtype.itemsize
        return -(-size // REGISTER_BYTES) * REGISTER_BYTES

    @cached_property
    def _held(self) -> tuple[list[At], int]:
        """Return where the input of each layer and the last output are, and the bytes of what is kept of these."""
        places, at = [], 0
        shapes = [self.structures[0].inputs, *(structure.output for structure in self.structures)]
        begins = [0, max(self._bytes(shape) for shape in shapes)]  # of two pieces, if nothing is kept
        for place, shape in enumerate(shapes):
            if place == 0 and not self.borders.inputs:
                places.append(At(INPUTS))
            elif place == len(shapes) - 1 and not self.borders.outputs:
                places.append(At(RESULT))
            else:
                places.append(At(KEPT, at if self.kept else begins[place % 2]))
                at += self._bytes(shape)
        return places, at if self.kept or not at else 2 * begins[1]

    @property
    def kept_bytes(self) -> int:
        """Bytes of what is between inputs and outputs."""
        return self._held[1]

    @cached_property
    def forward(self) -> Program:
        """From INPUTS to RESULT."""
        program = Program(self.dtype, self.tiles, self.threads)
        held, _ = self._held
        if self.borders.inputs:
            self._move(program, self.structures[0].inputs, At(INPUTS), held[0], back=False)
        for place, structure in enumerate(self.structures):
            values, bias = At(NUMBERS + 2 * place), At(NUMBERS + 2 * place + 1) if self.biases[place] else 0
            given, to = held[place], held[place + 1]
            # what is not kept is overwritten, and where a tile is depends on the layer
            waits, relu = not self.kept, self.relus[place]
            add_product(program, structure.forward, values, bias, given, to, self.width, relu=relu, waits=waits)
        if self.borders.outputs:
            self._move(program, self.structures[-1].output, held[-1], At(RESULT), back=True)
        return program

    def backward(self, needs: tuple[bool, ...]) -> tuple[Program, int]:
        """Return a program from ERRORS to the gradients that are asked for, and its bytes of scratch memory.

        ``needs`` tells for inputs, values, bias, values, ... whether their gradient is asked for.
        """
        found = self._backwards.get(needs)
        if found is None:
            found = self._backwards[needs] = self._backward(needs)
        return found

    def _backward(self, needs: tuple[bool, ...]) -> tuple[Program, int]:
        program = Program(self.dtype, self.tiles, self.threads)
        held, _ = self._held
        first = next((place for place in range(len(self.structures)) if needs[0] or any(needs[1 : 3 + 2 * place])), 0)
        shapes = [self.structures[first].inputs, *(structure.output for structure in self.structures[first:])]
        piece = max(self._bytes(shape) for shape in shapes)
        pieces, sums = (At(SCRATCH), At(SCRATCH, piece)), At(SCRATCH, 2 * piece)
        used = 0  # of these two
        errors = At(ERRORS)
        scratch = 0
        if self.borders.outputs:
            errors = pieces[0]
            self._move(program, self.structures[-1].output, At(ERRORS), errors, back=False)
            used = 1
        if self.relus[-1]:
            rows = program.by_tile(math.prod(self.structures[-1].output))
            program.add(kernels.pass_positive, rows, held[-1], errors, pieces[used], self.width)
            errors, used = pieces[used], 1 - used
        gradients = NUMBERS + 2 * len(self.structures)
        for place in range(len(self.structures) - 1, first - 1, -1):
            structure, number = self.structures[place], 2 * place
            asked = any(needs[1 + number : 3 + number])
            if asked:
                to_values, to_bias = At(gradients + number), At(gradients + number + 1) if needs[2 + number] else 0
                more = add_gradient(program, structure, held[place], errors, to_values, to_bias, self.width, sums)
                scratch = max(scratch, more)
            if place == first and not needs[0]:
                break
            to = At(TO_INPUTS) if place == 0 and not self.borders.inputs else pieces[used]
            gate = held[place] if place and self.relus[place - 1] else 0
            values = At(NUMBERS + number)
            # others may still read errors of another shape where this writes, unless all have come to the gradient
            waits = not asked
            add_product(program, structure.backward, values, 0, errors, to, self.width, gate=gate, waits=waits)
            errors, used = to, 1 - used
        if needs[0] and self.borders.inputs:
            self._move(program, self.structures[0].inputs, errors, At(TO_INPUTS), back=True)
        return program, 2 * piece + scratch

    def _move(self, program: Program, shape: Sequence[int], source: At, target: At, back: bool) -> None:
        """Let a program copy a batch-first tensor to tiles, or tiles ``back``."""
        *positions, channels = shape
        columns = channels * math.prod(positions)
        if not columns:
            return
        groups = -(-self.width * self.dtype.itemsize // REGISTER_BYTES)  # registers of examples
        run = math.prod(positions) if positions else columns
        kernel = kernels.to_batch_first if back else kernels.to_batch_last
        program.add(kernel, program.by_tile(groups), self.width, columns, run, source, target)


def add_product(
    program: Program,
    table: Table,
    values: At,
    bias: At | int,
    inputs: At,
    outputs: At,
    width: int,
    relu: bool = False,
    gate: At | int = 0,
    waits: bool = False,
) -> None:
    """Let a program compute a layer's outputs, or with the transposed table its inputs' gradient.

    ``bias``, ``relu`` and ``gate`` as of the kernel.
    """
    rows = program.by_row(table)
    arguments = table.address, values, bias, inputs, outputs, width, int(relu), gate
    program.add(kernels.product, rows, *arguments, waits=waits)


def add_gradient(
    program: Program,
    structure: Structure,
    inputs: At,
    errors: At,
    to_values: At,
    to_bias: At | int,
    width: int,
    scratch: At,
) -> int:
    """Let a program compute the gradients of values and bias; return the bytes of scratch memory that this takes.

    ``errors`` is the gradient of the outputs; ``to_bias`` is 0 if it is not asked for. What follows may not use the
    same scratch memory without waiting.
    """
    table, size = structure.forward, structure.size
    if table.slots is None:
        rows = program.by_nonzero(table)
        given = inputs, errors, width, program.tiles
        program.add(kernels.gradient, rows, table.address, to_values, to_bias, *given, waits=True)
        return 0
    parts, register = program.threads, REGISTER_BYTES // program.dtype.itemsize
    biases = At(scratch.array, scratch.offset + parts * size * REGISTER_BYTES) if to_bias else 0
    places = program.by_tile(table.places)
    # it waits for what used the scratch memory before
    program.add(
        kernels.places_gradient, places, table.address, size, scratch, biases, inputs, errors, width, waits=True
    )
    program.add(kernels.add_up, program.even(size), scratch, to_values, size, parts, 1, waits=True)
    if biases:
        program.add(kernels.add_up, program.even(table.rows), biases, to_bias, table.rows, parts, 0)
    return parts * (size * register + table.rows) * program.dtype.itemsize
