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

Scratch = tuple[int, int, int, int]
"""Bytes of the arrays TILES, ONE, TWO and SUMS."""


class Borders(NamedTuple):
    """Whether inputs come, and outputs go, batch-first: ``(batch, channels, *positions)``.

    Else they are tiles, ``(tiles, *positions, channels, width)``.
    """

    inputs: bool = False
    outputs: bool = False


@dataclass(frozen=True, eq=False)
class FusedPrograms:
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
    _backwards: dict[tuple[bool, ...], tuple[Program, Scratch]] = field(default_factory=dict, init=False)

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
    def _held(self) -> tuple[list[At], int, Scratch]:
        """Return where the input of each layer and the last output are, the bytes of KEPT and the scratch memory.

        What lies between layers is kept if gradients need it, else written over by the next layer but one. Tiles of
        batch-first inputs are not kept, as the inputs are: they are made once more.
        """
        places: list[At] = []
        kept = 0
        shapes = [self.structures[0].inputs, *(structure.output for structure in self.structures)]
        scratch = dict.fromkeys((TILES, ONE, TWO, SUMS), 0)
        for place, shape in enumerate(shapes):
            last = place == len(shapes) - 1
            if place == 0 and not self.borders.inputs:
                places.append(At(INPUTS))
            elif last and not self.borders.outputs:
                places.append(At(RESULT))
            elif self.kept and place and (not last or self.relus[-1]):
                places.append(At(KEPT, kept))
                kept += self._bytes(shape)
            else:
                array = (ONE, TWO)[place % 2] if place else TILES
                places.append(At(array))
                scratch[array] = max(scratch[array], self._bytes(shape))
        return places, kept, (scratch[TILES], scratch[ONE], scratch[TWO], 0)

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
            add_move(program, self.structures[0].inputs, self.width, At(INPUTS), held[0], back=False)
        for place, structure in enumerate(self.structures):
            values, bias = At(NUMBERS + 2 * place), At(NUMBERS + 2 * place + 1) if self.biases[place] else 0
            given, to = held[place], held[place + 1]
            # the barrier before ONE and TWO are written again
            waits, relu = not self.kept, self.relus[place]
            add_product(program, structure.forward, values, bias, given, to, self.width, relu=relu, waits=waits)
        if self.borders.outputs:
            add_move(program, self.structures[-1].output, self.width, held[-1], At(RESULT), back=True)
        return program, scratch

    def backward(self, needs: tuple[bool, ...]) -> tuple[Program, Scratch]:
        """Return a program from ERRORS to the gradients that are asked for, and its scratch memory.

        ``needs`` tells for inputs, values, bias, values, ... whether their gradient is asked for.
        """
        found = self._backwards.get(needs)
        if found is None:
            found = self._backwards[needs] = self._backward(needs)
        return found

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
        last = self.structures[-1].output
        first = self._first(needs)
        turn = 0

        def next_errors(shape: Sequence[int]) -> At:
            nonlocal turn
            array = (ONE, TWO)[turn % 2]
            scratch[array] = max(scratch[array], self._bytes(shape))
            turn += 1
            return At(array)

        if self.borders.inputs and any(needs[1:3]):
            scratch[TILES] = self._bytes(self.structures[0].inputs)
            add_move(program, self.structures[0].inputs, self.width, At(INPUTS), At(TILES), back=False)
        errors = At(ERRORS)
        if self.borders.outputs:
            errors = next_errors(last)
            add_move(program, last, self.width, At(ERRORS), errors, back=False)
        if self.relus[-1]:
            passed = next_errors(last)
            rows = program.by_tile(math.prod(last))
            program.add(kernels.pass_positive, rows, held[-1], errors, passed, self.width)
            errors = passed
        gradients = NUMBERS + 2 * len(self.structures)
        for place in range(len(self.structures) - 1, first - 1, -1):
            structure, number = self.structures[place], 2 * place
            asked = any(needs[1 + number : 3 + number])
            if asked:
                to_values, to_bias = At(gradients + number), At(gradients + number + 1) if needs[2 + number] else 0
                sums = add_gradient(program, structure, held[place], errors, to_values, to_bias, self.width, SUMS)
                scratch[SUMS] = max(scratch[SUMS], sums)
            if place == first and not needs[0]:
                break
            to = At(TO_INPUTS) if place == 0 and not self.borders.inputs else next_errors(structure.inputs)
            gate = held[place] if place and self.relus[place - 1] else 0
            values = At(NUMBERS + number)
            waits = not asked  # a gradient has waited already: see the barrier in this module's description
            add_product(program, structure.backward, values, 0, errors, to, self.width, gate=gate, waits=waits)
            errors = to
        if needs[0] and self.borders.inputs:
            add_move(program, self.structures[0].inputs, self.width, errors, At(TO_INPUTS), back=True)
        return program, (scratch[TILES], scratch[ONE], scratch[TWO], scratch[SUMS])


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
    sums: int,
) -> int:
    """Let a program compute the gradients of values and bias; return how many bytes the array ``sums`` must have.

    ``errors`` is the gradient of the outputs; ``to_bias`` is 0 if it is not asked for.
    """
    table, size = structure.forward, structure.size
    if table.slots is None:
        rows = program.by_nonzero(table)
        given = inputs, errors, width, program.tiles
        program.add(kernels.gradient, rows, table.address, to_values, to_bias, *given, waits=True)
        return 0
    parts, register = program.threads, REGISTER_BYTES // program.dtype.itemsize
    biases = At(sums, parts * size * REGISTER_BYTES) if to_bias else 0
    places = program.by_tile(table.places)
    # it waits for what used the sums before
    program.add(
        kernels.places_gradient, places, table.address, size, At(sums), biases, inputs, errors, width, waits=True
    )
    program.add(kernels.add_up, program.even(size), At(sums), to_values, size, parts, 1, waits=True)
    if biases:
        program.add(kernels.add_up, program.even(table.rows), biases, to_bias, table.rows, parts, 0)
    return parts * (size * register + table.rows) * program.dtype.itemsize
