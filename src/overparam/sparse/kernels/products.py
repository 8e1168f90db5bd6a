"""The kernels: plain loops over nonzeros, compiled by numba at first use.

Numbers are batch-last and in tiles: a batch is cut into tiles of equal ``width`` (128 examples, say), and a tile holds
one row of ``width`` numbers for each feature, or for each channel at each position of an image (``tiles x H x W x C x
width``). So one nonzero weight is one multiply-add over contiguous rows, and what a layer reads and writes for a tile
stays in the cache of one core. A *position* is one of the output; a linear layer has one. What a nonzero reads there is
row ``base[position] + offset``: the borders of a padded image, strides and dilation are in the lists of offsets
(:mod:`overparam.sparse.kernels.structure`), so that no loop here knows of them. A *place* is one among the values.

Every argument but ``kind`` (a number of the type that is computed with) is an integer: a size, or the address of a
contiguous array; ``structure`` is the address of a :class:`~overparam.sparse.kernels.structure.Table`. ``lo`` and
``hi`` bound the items that a call works on.
"""

from __future__ import annotations

from overparam.sparse.kernels.compiled import Kernel, inner
from overparam.sparse.kernels.lanes import (
    add_four_sums,
    added,
    broadcast,
    integer,
    load,
    number,
    only_last,
    part_of,
    partial_dot,
    plus_scaled,
    put,
    register_width,
    store,
    total,
    transpose_block,
    unpack,
    where_positive,
    zeros,
)

ALL = -1  # as a number of items: as many as the arguments tell


def ladder(panel, widest):
    """Return a function that does all ``width`` columns of its rows, a panel of them at a time.

    It is called as ``(kind, width, *arguments)`` and calls ``panel(zero, kind, column, new, width, *arguments)``, where
    ``zero`` is as wide as the panel: ``widest`` registers (8 or 4) as often as they fit, then fewer, down to one. The
    last one may overlap the panel before: only its last ``new`` columns are new. What fills no register goes by single
    numbers.
    """

    @inner
    def climb(kind, width, *arguments):
        register = register_width(kind)
        column = 0
        if widest == 8:
            while width - column >= 8 * register:
                panel(zeros(kind, 8), kind, column, 8 * register, width, *arguments)
                column += 8 * register
        while width - column >= 4 * register:
            panel(zeros(kind, 4), kind, column, 4 * register, width, *arguments)
            column += 4 * register
        while width - column >= 2 * register:
            panel(zeros(kind, 2), kind, column, 2 * register, width, *arguments)
            column += 2 * register
        while column < width and width >= register:
            start = min(column, width - register)
            panel(zeros(kind, 1), kind, start, start + register - column, width, *arguments)
            column += register
        while column < width:
            panel(zeros(kind, 0), kind, column, 1, width, *arguments)
            column += 1

    return climb


@inner
def _product_panel(zero, kind, column, new, width, lo, hi, structure, values, bias, inputs, outputs, relu, gate):
    """Fill as many columns as ``zero`` is wide, from ``column`` on, of the output rows ``lo`` to ``hi``."""
    rows, positions, input_rows, classes, base, pointers, offsets, places = unpack(structure, 8)
    at = lo // rows
    start = lo - at * rows
    item = lo
    while item < hi:  # position by position: a division takes as long as several nonzeros
        tile = at // positions
        position = at - tile * positions
        first = (tile * input_rows + integer(base, position)) * width + column
        begin = integer(classes, position) * (rows + 1)
        stop = min(rows, start + hi - item)
        for row in range(start, stop):
            sums = zero
            if bias != 0:
                sums = broadcast(number(bias, row, kind), zero)
            if places == 0:
                for k in range(integer(pointers, begin + row), integer(pointers, begin + row + 1)):
                    vector = load(inputs, first + integer(offsets, k) * width, zero)
                    sums = plus_scaled(sums, number(values, k, kind), vector)
            else:
                for k in range(integer(pointers, begin + row), integer(pointers, begin + row + 1)):
                    vector = load(inputs, first + integer(offsets, k) * width, zero)
                    sums = plus_scaled(sums, number(values, integer(places, k), kind), vector)
            if relu != 0:
                sums = where_positive(sums, sums)
            if gate != 0:
                sums = where_positive(load(gate, item * width + column, zero), sums)
            store(outputs, item * width + column, sums)
            item += 1
        start = 0
        at += 1


_product_panels = ladder(_product_panel, 8)


def _product(kind, part, lo, hi, arguments):
    structure, values, bias, inputs, outputs, width, relu, gate = unpack(arguments, 8)
    _product_panels(kind, width, lo, hi, structure, values, bias, inputs, outputs, relu, gate)


product = Kernel(_product)
"""Write ``outputs[position, row] = bias[row] + sum of values[places[k]] * inputs[base[position] + offsets[k]]``.

``k`` runs over the nonzeros of ``row`` that lie inside the image at ``position``. Items are the rows of the output,
tile by tile and position by position. Arguments: ``structure, values, bias, inputs, outputs, width, relu, gate``.
Without ``places`` in the structure ``places[k] = k``; ``bias`` 0 means none. With ``relu`` 1 negative outputs become
zero. With ``gate``, an array like the outputs, they become zero where it is not positive: the gradient of a ReLU. The
transposed product is this one with the transposed structure.
"""


@inner
def _gradient_panel(zero, kind, column, new, width, lo, hi, structure, gradients, biases, inputs, errors, tiles):
    """Add what a panel of columns contributes; only the last ``new`` of them count."""
    rows, _, input_rows, _, _, pointers, offsets, _ = unpack(structure, 8)
    for tile in range(tiles):
        first = tile * input_rows * width + column
        for row in range(lo, hi):
            error = only_last(load(errors, (tile * rows + row) * width + column, zero), new)
            if biases != 0:
                put(biases, row, number(biases, row, kind) + total(error))
            start = integer(pointers, row)
            end = integer(pointers, row + 1)
            fours = start + (end - start) // 4 * 4
            for k in range(start, fours, 4):
                add_four_sums(
                    gradients,
                    k,
                    partial_dot(error, load(inputs, first + integer(offsets, k) * width, zero)),
                    partial_dot(error, load(inputs, first + integer(offsets, k + 1) * width, zero)),
                    partial_dot(error, load(inputs, first + integer(offsets, k + 2) * width, zero)),
                    partial_dot(error, load(inputs, first + integer(offsets, k + 3) * width, zero)),
                )
            for k in range(fours, end):
                dot = total(partial_dot(error, load(inputs, first + integer(offsets, k) * width, zero)))
                put(gradients, k, number(gradients, k, kind) + dot)


_gradient_panels = ladder(_gradient_panel, 8)


def _gradient(kind, part, lo, hi, arguments):
    structure, gradients, biases, inputs, errors, width, tiles = unpack(arguments, 7)
    _, _, _, _, _, pointers, _, _ = unpack(structure, 8)
    for k in range(integer(pointers, lo), integer(pointers, hi)):
        put(gradients, k, kind)
    if biases != 0:
        for row in range(lo, hi):
            put(biases, row, kind)
    _gradient_panels(kind, width, lo, hi, structure, gradients, biases, inputs, errors, tiles)


gradient = Kernel(_gradient)
"""Write ``gradients[k] = sum over the batch of errors[row] * inputs[offsets[k]]`` for structures of a single position.

``biases``, unless it is 0, gets the sums of the errors. Items are rows, each over all tiles. Arguments: ``structure,
gradients, biases, inputs, errors, width, tiles``.
"""


@inner
def _positions_panel(zero, kind, column, new, width, lo, hi, structure, sums, biases, inputs, errors):
    rows, positions, input_rows, classes, base, pointers, offsets, places = unpack(structure, 8)
    register = register_width(kind)
    for item in range(lo, hi):
        tile = item // positions
        position = item - tile * positions
        first = (tile * input_rows + integer(base, position)) * width + column
        begin = integer(classes, position) * (rows + 1)
        for row in range(rows):
            error = only_last(load(errors, (item * rows + row) * width + column, zero), new)
            if biases != 0:
                put(biases, row, number(biases, row, kind) + total(error))
            for k in range(integer(pointers, begin + row), integer(pointers, begin + row + 1)):
                dot = partial_dot(error, load(inputs, first + integer(offsets, k) * width, zero))
                place = integer(places, k) * register
                store(sums, place, added(load(sums, place, dot), dot))


_positions_panels = ladder(_positions_panel, 4)


def _positions_gradient(kind, part, lo, hi, arguments):
    structure, size, all_sums, all_biases, inputs, errors, width = unpack(arguments, 7)
    rows, _, _, _, _, _, _, _ = unpack(structure, 8)
    register = register_width(kind)
    sums = part_of(all_sums, part * size * register, kind)
    for place in range(size):
        store(sums, place * register, zeros(kind, 1))
    biases = all_biases
    if biases != 0:
        biases = part_of(all_biases, part * rows, kind)
        for row in range(rows):
            put(biases, row, kind)
    _positions_panels(kind, width, lo, hi, structure, sums, biases, inputs, errors)


positions_gradient = Kernel(_positions_gradient)
"""Write the gradient at the nonzeros of a structure of many positions, a register of partial sums for each nonzero.

Each thread has ``size`` registers, and a row of biases' gradients unless 0 is given, of its own, to be added up. Items
are positions, tile by tile: all rows are done at one before the next, so that what they read stays in the cache.
Arguments: ``structure, size, all_sums, all_biases, inputs, errors, width``.
"""


def _add_up(kind, part, lo, hi, arguments):
    sums, totals, size, parts, wide = unpack(arguments, 5)
    register = register_width(kind)
    zero = zeros(kind, 1)
    for k in range(lo, hi):
        if wide != 0:
            sum = load(sums, k * register, zero)
            for other in range(1, parts):
                sum = added(sum, load(sums, (other * size + k) * register, zero))
            put(totals, k, total(sum))
        else:
            single = number(sums, k, kind)
            for other in range(1, parts):
                single += number(sums, other * size + k, kind)
            put(totals, k, single)


add_up = Kernel(_add_up)
"""Write ``totals[k]``, the sum of what ``parts`` threads have at ``k``: a register of partial sums each, or a number.

Arguments: ``sums, totals, size, parts, wide``, the last 1 for registers.
"""


@inner
def _positive_panel(zero, kind, column, new, width, start, gate, errors, outputs):
    at = start + column
    store(outputs, at, where_positive(load(gate, at, zero), load(errors, at, zero)))


_positive_panels = ladder(_positive_panel, 4)


def _pass_positive(kind, part, lo, hi, arguments):
    gate, errors, outputs, width = unpack(arguments, 4)
    _positive_panels(kind, (hi - lo) * width, lo * width, gate, errors, outputs)


pass_positive = Kernel(_pass_positive)
"""Write zero where ``gate`` is not positive, else ``errors``: the gradient of a ReLU.

Items are rows of ``width`` numbers. Arguments: ``gate, errors, outputs, width``.
"""


@inner
def _move(one, size, kind, item, back, width, columns, run, source, target):
    """Copy a register of examples of a tile into the batch-last tile, or ``back``, in blocks of ``size`` squared."""
    register = register_width(kind)
    groups = (width + register - 1) // register
    tile = item // groups
    begin = min((item - tile * groups) * register, max(width - register, 0))
    runs = columns // run
    examples = tile * width * columns  # where the tile begins, in either form
    for example in range(begin, min(begin + register, width), size):
        for channel in range(runs):
            for step in range((run + size - 1) // size):
                position = min(step * size, run - size)
                first = examples + example * columns + channel * run + position
                last = examples + (position * runs + channel) * width + example
                if back:
                    transpose_block(one, source, last, runs * width, target, first, columns)
                else:
                    transpose_block(one, source, first, columns, target, last, runs * width)


def _transpose(kind, part, lo, hi, arguments):
    width, columns, run, source, target, back = unpack(arguments, 6)
    if hi == ALL:
        hi = (width + register_width(kind) - 1) // register_width(kind)
    register = register_width(kind)
    for item in range(lo, hi):
        if width < register or run < register:
            _move(zeros(kind, 0), 1, kind, item, back != 0, width, columns, run, source, target)
        else:
            _move(zeros(kind, 1), register, kind, item, back != 0, width, columns, run, source, target)


transpose = Kernel(_transpose)
"""Copy ``source`` (batch, columns) to ``target`` (tiles, columns, width), channels last among the columns, or ``back``.

Columns are runs of ``run`` positions, one for each channel; in the tiles the channels of a position are neighbours.
With ``run = columns`` it is a plain transposition. Items are registers of examples, tile by tile; what does not fill
one counts as one; ``ALL`` means one whole tile. Arguments: ``width, columns, run, source, target, back``.
"""
