"""The product of two whole matrices, for layers that are too dense to gain from skipping zeros.

One kernel does all three products of a layer: outputs, gradient of the inputs and, with the inputs transposed to
batch-first before, gradient of the weight. Six rows and four registers of columns are summed at a time, so that
numbers that are read serve several products, and the sums stay in registers.
"""

from __future__ import annotations

from overparam.sparse.kernels.compiled import Kernel, inner
from overparam.sparse.kernels.lanes import (
    broadcast,
    load,
    number,
    only_last,
    plus_scaled,
    put,
    store,
    total,
    unpack,
    where_positive,
)
from overparam.sparse.kernels.products import ladder


@inner
def _start(zero, kind, bias, row):
    sums = zero
    if bias != 0:
        sums = broadcast(number(bias, row, kind), zero)
    return sums


@inner
def _finish(sums, relu, gate, outputs, at):
    if relu != 0:
        sums = where_positive(sums, sums)
    if gate != 0:
        sums = where_positive(load(gate, at, sums), sums)
    store(outputs, at, sums)


@inner
def _panel(
    zero, kind, column, new, width, rows, terms, values, step, term, bias, inputs, below, outputs, across, relu, gate
):
    """Fill a panel of columns of all rows."""
    sixes = rows // 6 * 6
    for row in range(0, sixes, 6):
        a = _start(zero, kind, bias, row)
        b = _start(zero, kind, bias, row + 1)
        c = _start(zero, kind, bias, row + 2)
        d = _start(zero, kind, bias, row + 3)
        e = _start(zero, kind, bias, row + 4)
        f = _start(zero, kind, bias, row + 5)
        at = row * step
        for k in range(terms):
            vector = load(inputs, k * below + column, zero)
            a = plus_scaled(a, number(values, at, kind), vector)
            b = plus_scaled(b, number(values, at + step, kind), vector)
            c = plus_scaled(c, number(values, at + 2 * step, kind), vector)
            d = plus_scaled(d, number(values, at + 3 * step, kind), vector)
            e = plus_scaled(e, number(values, at + 4 * step, kind), vector)
            f = plus_scaled(f, number(values, at + 5 * step, kind), vector)
            at += term
        to = row * across + column
        _finish(a, relu, gate, outputs, to)
        _finish(b, relu, gate, outputs, to + across)
        _finish(c, relu, gate, outputs, to + 2 * across)
        _finish(d, relu, gate, outputs, to + 3 * across)
        _finish(e, relu, gate, outputs, to + 4 * across)
        _finish(f, relu, gate, outputs, to + 5 * across)
    twos = sixes + (rows - sixes) // 2 * 2
    for row in range(sixes, twos, 2):
        a = _start(zero, kind, bias, row)
        b = _start(zero, kind, bias, row + 1)
        at = row * step
        for k in range(terms):
            vector = load(inputs, k * below + column, zero)
            a = plus_scaled(a, number(values, at, kind), vector)
            b = plus_scaled(b, number(values, at + step, kind), vector)
            at += term
        _finish(a, relu, gate, outputs, row * across + column)
        _finish(b, relu, gate, outputs, (row + 1) * across + column)
    for row in range(twos, rows):
        a = _start(zero, kind, bias, row)
        for k in range(terms):
            vector = load(inputs, k * below + column, zero)
            a = plus_scaled(a, number(values, row * step + k * term, kind), vector)
        _finish(a, relu, gate, outputs, row * across + column)


_panels = ladder(_panel, 4)


def _matrix_product(kind, part, lo, hi, arguments):
    rows, columns, terms, values, step, term, bias, inputs, below, outputs, across, relu, gate = unpack(arguments, 13)
    _panels(kind, columns, rows, terms, values, step, term, bias, inputs, below, outputs, across, relu, gate)


matrix_product = Kernel(_matrix_product)
"""Write ``outputs[i, j] = bias[i] + sum over k < terms of values[i * step + k * term] * inputs[k, j]``.

``inputs`` and ``outputs`` have ``columns`` columns in rows that are ``below`` and ``across`` numbers apart; ``bias`` 0
means none. ``relu`` and ``gate`` as in :data:`~overparam.sparse.kernels.products.product`. One item. Arguments:
``rows, columns, terms, values, step, term, bias, inputs, below, outputs, across, relu, gate``.
"""


@inner
def _sum_panel(zero, kind, column, new, width, row, inputs, outputs):
    here = only_last(load(inputs, row * width + column, zero), new)
    put(outputs, row, number(outputs, row, kind) + total(here))


_sum_panels = ladder(_sum_panel, 8)


def _row_sums(kind, part, lo, hi, arguments):
    inputs, width, outputs = unpack(arguments, 3)
    for row in range(lo, hi):
        put(outputs, row, kind)
        _sum_panels(kind, width, row, inputs, outputs)


row_sums = Kernel(_row_sums)
"""Write the sum of each row of ``inputs``. Items are rows. Arguments: ``inputs, width, outputs``."""
