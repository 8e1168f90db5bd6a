"""Products of whole matrices with batch-last inputs: for layers that are too dense to gain from skipping zeros.

The same loops as :mod:`overparam.sparse.kernels`, blocked so that what is read serves several products; columns are
always a multiple of two registers.
"""

from __future__ import annotations

from overparam.sparse.compiled import Kernel, inner
from overparam.sparse.lanes import (
    add_four_sums,
    added,
    broadcast,
    load,
    number,
    partial_dot,
    plus_scaled,
    positive_part,
    put,
    register_width,
    store,
    total,
    where_positive,
    wide_integer,
    zeros,
)


@inner
def _dense_outputs(zero, kind, rows, inner_size, values, bias, relu, inputs, outputs, width, column):
    """Three rows at a time: a row of the inputs is then read once for three."""
    threes = rows // 3 * 3
    for row in range(0, threes, 3):
        one = zero
        two = zero
        three = zero
        if bias != 0:
            one = broadcast(number(bias, row, kind), zero)
            two = broadcast(number(bias, row + 1, kind), zero)
            three = broadcast(number(bias, row + 2, kind), zero)
        start = row * inner_size
        for k in range(inner_size):
            vector = load(inputs, k * width + column, zero)
            one = plus_scaled(one, number(values, start + k, kind), vector)
            two = plus_scaled(two, number(values, start + inner_size + k, kind), vector)
            three = plus_scaled(three, number(values, start + 2 * inner_size + k, kind), vector)
        if relu != 0:
            one = positive_part(one)
            two = positive_part(two)
            three = positive_part(three)
        store(outputs, row * width + column, one)
        store(outputs, (row + 1) * width + column, two)
        store(outputs, (row + 2) * width + column, three)
    for row in range(threes, rows):
        one = zero
        if bias != 0:
            one = broadcast(number(bias, row, kind), zero)
        for k in range(inner_size):
            one = plus_scaled(one, number(values, row * inner_size + k, kind), load(inputs, k * width + column, zero))
        if relu != 0:
            one = positive_part(one)
        store(outputs, row * width + column, one)


def _outputs(kind, part, lo, hi, arguments):
    rows = wide_integer(arguments, 0)
    inner_size = wide_integer(arguments, 1)
    values = wide_integer(arguments, 2)
    bias = wide_integer(arguments, 3)
    inputs = wide_integer(arguments, 4)
    outputs = wide_integer(arguments, 5)
    width = wide_integer(arguments, 6)
    relu = wide_integer(arguments, 7)
    register = register_width(kind)
    column = 0
    while width - column >= 8 * register:
        _dense_outputs(zeros(kind, 8), kind, rows, inner_size, values, bias, relu, inputs, outputs, width, column)
        column += 8 * register
    while width - column >= 4 * register:
        _dense_outputs(zeros(kind, 4), kind, rows, inner_size, values, bias, relu, inputs, outputs, width, column)
        column += 4 * register
    while column < width:
        _dense_outputs(zeros(kind, 2), kind, rows, inner_size, values, bias, relu, inputs, outputs, width, column)
        column += 2 * register


outputs = Kernel(_outputs)
"""Write ``outputs = values @ inputs + bias``, its positive part if ``relu`` is 1.

One item. Arguments: ``rows, inner_size, values, bias, inputs, outputs, width, relu``; ``bias`` 0 means none.
"""


@inner
def _dense_errors(zero, kind, rows, inner_size, values, gate, errors, below, width, column):
    threes = inner_size // 3 * 3
    for k in range(0, threes, 3):
        one = zero
        two = zero
        three = zero
        for row in range(rows):
            vector = load(errors, row * width + column, zero)
            start = row * inner_size + k
            one = plus_scaled(one, number(values, start, kind), vector)
            two = plus_scaled(two, number(values, start + 1, kind), vector)
            three = plus_scaled(three, number(values, start + 2, kind), vector)
        at = k * width + column
        if gate != 0:
            one = where_positive(load(gate, at, zero), one)
            two = where_positive(load(gate, at + width, zero), two)
            three = where_positive(load(gate, at + 2 * width, zero), three)
        store(below, at, one)
        store(below, at + width, two)
        store(below, at + 2 * width, three)
    for k in range(threes, inner_size):
        one = zero
        for row in range(rows):
            vector = load(errors, row * width + column, zero)
            one = plus_scaled(one, number(values, row * inner_size + k, kind), vector)
        at = k * width + column
        if gate != 0:
            one = where_positive(load(gate, at, zero), one)
        store(below, at, one)


def _errors(kind, part, lo, hi, arguments):
    rows = wide_integer(arguments, 0)
    inner_size = wide_integer(arguments, 1)
    values = wide_integer(arguments, 2)
    errors = wide_integer(arguments, 3)
    below = wide_integer(arguments, 4)
    width = wide_integer(arguments, 5)
    gate = wide_integer(arguments, 6)
    register = register_width(kind)
    column = 0
    while width - column >= 8 * register:
        _dense_errors(zeros(kind, 8), kind, rows, inner_size, values, gate, errors, below, width, column)
        column += 8 * register
    while width - column >= 4 * register:
        _dense_errors(zeros(kind, 4), kind, rows, inner_size, values, gate, errors, below, width, column)
        column += 4 * register
    while column < width:
        _dense_errors(zeros(kind, 2), kind, rows, inner_size, values, gate, errors, below, width, column)
        column += 2 * register


errors = Kernel(_errors)
"""Write ``below = values.T @ errors``, zero where ``gate`` (unless it is 0) is not positive.

One item. Arguments: ``rows, inner_size, values, errors, below, width, gate``.
"""


@inner
def _dense_gradients(zero, kind, rows, inner_size, gradients, inputs, errors, width, column):
    """Two rows and four columns of the weight at a time, so that what is read serves several products."""
    fours = inner_size // 4 * 4
    twos = rows // 2 * 2
    for row in range(0, twos, 2):
        one = load(errors, row * width + column, zero)
        two = load(errors, (row + 1) * width + column, zero)
        at = row * inner_size
        for k in range(0, fours, 4):
            a = load(inputs, k * width + column, zero)
            one_a = partial_dot(one, a)
            two_a = partial_dot(two, a)
            b = load(inputs, (k + 1) * width + column, zero)
            one_b = partial_dot(one, b)
            two_b = partial_dot(two, b)
            c = load(inputs, (k + 2) * width + column, zero)
            one_c = partial_dot(one, c)
            two_c = partial_dot(two, c)
            d = load(inputs, (k + 3) * width + column, zero)
            add_four_sums(gradients, at + k, one_a, one_b, one_c, partial_dot(one, d))
            add_four_sums(gradients, at + inner_size + k, two_a, two_b, two_c, partial_dot(two, d))
        for k in range(fours, inner_size):
            vector = load(inputs, k * width + column, zero)
            put(gradients, at + k, number(gradients, at + k, kind) + total(partial_dot(one, vector)))
            other = at + inner_size + k
            put(gradients, other, number(gradients, other, kind) + total(partial_dot(two, vector)))
    for row in range(twos, rows):
        one = load(errors, row * width + column, zero)
        at = row * inner_size
        for k in range(inner_size):
            dot = total(partial_dot(one, load(inputs, k * width + column, zero)))
            put(gradients, at + k, number(gradients, at + k, kind) + dot)


def _gradients(kind, part, lo, hi, arguments):
    rows = wide_integer(arguments, 0)
    inner_size = wide_integer(arguments, 1)
    gradients = wide_integer(arguments, 2)
    biases = wide_integer(arguments, 3)
    inputs = wide_integer(arguments, 4)
    errors = wide_integer(arguments, 5)
    width = wide_integer(arguments, 6)
    register = register_width(kind)
    for k in range(rows * inner_size):
        put(gradients, k, kind)
    if biases != 0:
        for row in range(rows):
            sums = zeros(kind, 1)
            for column in range(0, width, register):
                sums = added(sums, load(errors, row * width + column, sums))
            put(biases, row, total(sums))
    column = 0
    while width - column >= 8 * register:
        _dense_gradients(zeros(kind, 8), kind, rows, inner_size, gradients, inputs, errors, width, column)
        column += 8 * register
    while width - column >= 4 * register:
        _dense_gradients(zeros(kind, 4), kind, rows, inner_size, gradients, inputs, errors, width, column)
        column += 4 * register
    while column < width:
        _dense_gradients(zeros(kind, 2), kind, rows, inner_size, gradients, inputs, errors, width, column)
        column += 2 * register


gradients = Kernel(_gradients)
"""Write ``gradients = errors @ inputs.T`` and, unless 0, ``biases``, the sums of the errors over the batch.

One item. Arguments: ``rows, inner_size, gradients, biases, inputs, errors, width``.
"""
