"""The programs of sparse layers one after another: which kernels, in which memory.

Between two layers there may be a ReLU, which the kernels include. What lies between input and output is in
one piece of memory if gradients need it; else, and of the errors on the way back, two layers' are there at a time, in
ONE and TWO by turns. Where a tile is depends on the layer's rows, so before a thread writes to one of these, all
threads must have passed a barrier since it was last read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from typing import NamedTuple

import torch

from overparam.sparse.kernels import products as kernels
from overparam.sparse.kernels.lanes import REGISTER_BYTES
from overparam.sparse.kernels.program import At, Program
from overparam.sparse.kernels.structure import Structure, Table
from overparam.sparse.layers.layout import add_move

INPUTS, RESULT, KEPT, ERRORS, TO_INPUTS, TILES, ONE, TWO, SUMS, NUMBERS = range(10)
"""Arrays of the programs: what goes in and comes out, what is kept for the gradients, the gradients of what comes out
and goes in; memory that is free again afterwards: batch-first inputs as tiles, two layers' outputs or errors in turns,
sums of each thread; then values and bias of each layer, then their gradients."""

Scratch = dict[int, int]
"""Bytes of the arrays TILES, ONE, TWO and SUMS, in this order."""


class Borders(NamedTuple):
    """Whether inputs come, and outputs go, batch-first; else as tiles, (tiles, *positions, channels, width)."""

    inputs: bool = False
    outputs: bool = False


@dataclass(frozen=True, eq=False)
class FusedPrograms:
    """Layers one after another, for one shape of batch."""

    structures: tuple[Structure, ...]
    relus: tuple[bool, ...]  # whether one follows each layer
    biases: tuple[bool, ...]  # whether each has one
    borders: Borders
    dtype: torch.dtype
    tiles: int
    width: int
    threads: int
    kept: bool  # whether the gradients will be asked for
    _backwards: dict[tuple[bool, ...], tuple[Program, Scratch]] = field(default_factory=dict, init=False)

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of an example, ``(*positions, features)``: of the input of each layer, and of the last output."""
        return [self.structures[0].inputs, *(structure.output for structure in self.structures)]

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Shape of the inputs."""
        return self._shape(self.shapes[0], self.borders.inputs)

    @cached_property
    def result(self) -> tuple[int, ...]:
        """Shape of the outputs."""
        return self._shape(self.shapes[-1], self.borders.outputs)

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of values and biases of each layer; a bias that is not there has none."""
        pairs = zip(self.structures, self.biases, strict=True)
        return [size for each, bias in pairs for size in (each.size, each.forward.rows * bias)]

    def _shape(self, shape: Sequence[int], batch_first: bool) -> tuple[int, ...]:
        *positions, channels = shape
        whole = self.tiles * self.width, channels, *positions
        return whole if batch_first else (self.tiles, *shape, self.width)

    def _bytes(self, shape: Sequence[int]) -> int:
        """Return the size of a batch of this shape, in whole registers."""
        size = self.tiles * self.width * math.prod(shape) * self.dtype.itemsize
        return -(-size // REGISTER_BYTES) * REGISTER_BYTES

    def _taken(self, scratch: Scratch, array: int, shape: Sequence[int]) -> At:
        """Return an array of scratch memory, made large enough for a batch of this shape."""
        scratch[array] = max(scratch[array], self._bytes(shape))
        return At(array)

    @cached_property
    def _held(self) -> tuple[list[At], int, Scratch]:
        """Return where the input of each layer and the last output are, the bytes of KEPT and the scratch memory.

        What lies between layers is kept if gradients need it, else written over by the next layer but one. Tiles of
        batch-first inputs are not kept, as the inputs are: they are made once more.
        """
        places: list[At] = []
        kept, scratch = 0, dict.fromkeys((TILES, ONE, TWO, SUMS), 0)
        for place, shape in enumerate(self.shapes):
            last = place == len(self.structures)
            if place == 0 and not self.borders.inputs:
                places.append(At(INPUTS))
            elif last and not self.borders.outputs:
                places.append(At(RESULT))
            elif self.kept and place and (not last or self.relus[-1]):
                places.append(At(KEPT, kept))
                kept += self._bytes(shape)
            else:
                places.append(self._taken(scratch, (ONE, TWO)[place % 2] if place else TILES, shape))
        return places, kept, scratch

    @property
    def kept_bytes(self) -> int:
        """Bytes of what is kept for the gradients."""
        return self._held[1]

    @cached_property
    def forward(self) -> tuple[Program, Scratch]:
        """A program from INPUTS to RESULT, and its scratch memory."""
        program = Program(self.dtype, self.tiles, self.threads)
        held, _, scratch = self._held
        if self.borders.inputs:
            add_move(program, self.shapes[0], self.width, At(INPUTS), held[0], back=False)
        for place, structure in enumerate(self.structures):
            values, bias = At(NUMBERS + 2 * place), At(NUMBERS + 2 * place + 1) if self.biases[place] else 0
            memory = values, bias, held[place], held[place + 1], self.width
            # the barrier before ONE and TWO are written again
            add_product(program, structure.forward, *memory, relu=self.relus[place], waits=not self.kept)
        if self.borders.outputs:
            add_move(program, self.shapes[-1], self.width, held[-1], At(RESULT), back=True)
        return program, scratch

    def backward(self, needs: tuple[bool, ...]) -> tuple[Program, Scratch]:
        """Return a program from ERRORS to the gradients that are asked for, and its scratch memory.

        ``needs`` tells for inputs, values, bias, values, ... whether their gradient is asked for.
        """
        if needs not in self._backwards:
            self._backwards[needs] = self._backward(needs)
        return self._backwards[needs]

    def _first(self, needs: tuple[bool, ...]) -> int:
        """Return the lowest layer that errors must reach."""
        places = range(len(self.structures))
        return next((place for place in places if needs[0] or any(needs[1 : 3 + 2 * place])), 0)

    def values_needed(self, needs: tuple[bool, ...]) -> list[bool]:
        """Tell of each layer whether the way back takes its values: if errors go on below it."""
        first = self._first(needs)
        return [place > first or (place == first and needs[0]) for place in range(len(self.structures))]

    def _backward(self, needs: tuple[bool, ...]) -> tuple[Program, Scratch]:
        program = Program(self.dtype, self.tiles, self.threads)
        held, *_ = self._held
        scratch = dict.fromkeys((TILES, ONE, TWO, SUMS), 0)
        turns = cycle((ONE, TWO))
        first = self._first(needs)
        if self.borders.inputs and any(needs[1:3]):
            tiles = self._taken(scratch, TILES, self.shapes[0])
            add_move(program, self.shapes[0], self.width, At(INPUTS), tiles, back=False)
        errors = At(ERRORS)
        if self.borders.outputs:
            errors = self._taken(scratch, next(turns), self.shapes[-1])
            add_move(program, self.shapes[-1], self.width, At(ERRORS), errors, back=False)
        if self.relus[-1]:
            passed = self._taken(scratch, next(turns), self.shapes[-1])
            rows = program.by_tile(math.prod(self.shapes[-1]))
            program.add(kernels.pass_positive, rows, held[-1], errors, passed, self.width)
            errors = passed
        gradients = NUMBERS + 2 * len(self.structures)
        for place in range(len(self.structures) - 1, first - 1, -1):
            structure, number = self.structures[place], 2 * place
            asked = any(needs[1 + number : 3 + number])
            if asked:
                to = At(gradients + number), At(gradients + number + 1) if needs[2 + number] else 0
                sums = add_gradient(program, structure, held[place], errors, *to, self.width, SUMS)
                scratch[SUMS] = max(scratch[SUMS], sums)
            if place == first and not needs[0]:
                break
            whole = place == 0 and not self.borders.inputs
            below = At(TO_INPUTS) if whole else self._taken(scratch, next(turns), self.shapes[place])
            gate = held[place] if place and self.relus[place - 1] else 0
            memory = At(NUMBERS + number), 0, errors, below, self.width
            # a gradient has waited already: see the barrier in this module's description
            add_product(program, structure.backward, *memory, gate=gate, waits=not asked)
            errors = below
        if needs[0] and self.borders.inputs:
            add_move(program, self.shapes[0], self.width, errors, At(TO_INPUTS), back=True)
        return program, scratch


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
    arguments = table.address, values, bias, inputs, outputs, width, int(relu), gate
    program.add(kernels.product, program.by_row(table), *arguments, waits=waits)


def add_gradient(
    program: Program,
    structure: Structure,
    inputs: At,
    errors: At,
    to_values: At,
    to_bias: At | int,
    width: int,
    sums: int,
) -> int:
    """Let a program compute the gradients of values and bias; return how many bytes the array ``sums`` must have.

    ``errors`` is the gradient of the outputs; ``to_bias`` is 0 if it is not asked for.
    """
    table, size = structure.forward, structure.size
    if table.places is None:
        memory = table.address, to_values, to_bias, inputs, errors, width, program.tiles
        program.add(kernels.gradient, program.by_nonzero(table), *memory, waits=True)
        return 0
    parts, register = program.threads, REGISTER_BYTES // program.dtype.itemsize
    biases = At(sums, parts * size * REGISTER_BYTES) if to_bias else 0
    # it waits for what used the sums before
    positions = program.by_tile(table.positions)
    program.add(
        kernels.positions_gradient, positions, table.address, size, At(sums), biases, inputs, errors, width, waits=True
    )
    program.add(kernels.add_up, program.even(size), At(sums), to_values, size, parts, 1, waits=True)
    if biases:
        program.add(kernels.add_up, program.even(table.rows), biases, to_bias, table.rows, parts, 0)
    return parts * (size * register + table.rows) * program.dtype.itemsize
