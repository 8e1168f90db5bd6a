"""What training does besides products: gathering a batch, loss and score, the optimiser's step.

A thread has ``count`` examples of a batch, from number ``first`` of the epoch's order on, in ``width`` columns (whole
pairs of registers). Columns beyond the last example hold copies of it; their errors are zero, so they change nothing.
"""

from __future__ import annotations

import math

import numpy as np

from overparam.sparse.kernels.compiled import Kernel
from overparam.sparse.kernels.lanes import (
    added,
    broadcast,
    divided,
    gather_block,
    load,
    narrow,
    number,
    plus_scaled,
    put,
    register_width,
    root,
    store,
    times,
    unpack,
    wide_integer,
    zeros,
)

SGD, NESTEROV, ADAM, ADAMW = range(4)
MOMENTUM, DECAY, L1, BETA1, BETA2, EPSILON = range(6)  # float64 settings of an optimiser
RATE, CORRECTION1, CORRECTION2 = range(3)  # float64 scalars that change with the iteration


def _gather(kind, part, lo, hi, arguments):
    first, count, width, inputs, order, columns, features, blocks, block_count, starts = unpack(arguments, 10)
    register = register_width(kind)
    for group in range(0, width, register):
        for place in range(register):
            example = first + min(group + place, count - 1)
            if order != 0:
                example = wide_integer(order, example)
            put(starts, place, example * features)
        if features < register:
            for place in range(register):
                start = wide_integer(starts, place)
                for feature in range(features):
                    put(columns, feature * width + group + place, number(inputs, start + feature, kind))
        else:
            for block in range(block_count):
                feature = wide_integer(blocks, block)
                gather_block(zeros(kind, 1), inputs, starts, feature, columns, feature * width + group, width)


gather = Kernel(_gather)
"""Write the examples to ``columns`` (features, width), of each block of features that ``blocks`` names.

One item. Arguments: ``first, count, width, inputs, order, columns, features, blocks, block_count, scratch``; ``order``
(int64) 0 means as they come, ``blocks`` (int64) has the first feature of each block, ``scratch`` a register of int64.
"""


def _cross_entropy(kind, part, lo, hi, arguments):
    first, count, width, batch, labels, order, outputs, errors, classes, sums = unpack(arguments, 10)
    losses, hits, probabilities = 0.0, 0.0, 0.0
    if errors == 0:  # an evaluation goes on
        losses, hits, probabilities = number(sums, 0, losses), number(sums, 1, losses), number(sums, 2, losses)
    for column in range(count):
        example = first + column
        if order != 0:
            example = wide_integer(order, example)
        label = wide_integer(labels, example)
        best = 0
        largest = number(outputs, column, kind)
        for other in range(1, classes):
            value = number(outputs, other * width + column, kind)
            if value > largest:
                best, largest = other, value
        chances = 0.0
        for other in range(classes):
            chance = math.exp(number(outputs, other * width + column, kind) - largest)
            chances += chance
            if errors != 0:
                put(errors, other * width + column, narrow(chance, kind))
        margin = np.float64(number(outputs, label * width + column, kind) - largest)
        losses += math.log(chances) - margin
        probabilities += math.exp(margin) / chances
        hits += 1.0 if best == label else 0.0
        if errors != 0:
            for other in range(classes):
                error = number(errors, other * width + column, kind) / narrow(chances, kind)
                if other == label:
                    error -= 1  # before the division, so that a chance of one gives exactly zero
                put(errors, other * width + column, narrow(error / batch, kind))
    if errors != 0:
        for other in range(classes):
            for column in range(count, width):
                put(errors, other * width + column, kind)
    put(sums, 0, losses)
    put(sums, 1, hits)
    put(sums, 2, probabilities)


cross_entropy = Kernel(_cross_entropy)
"""Write sums of losses, hits and probabilities of the labels to ``sums`` (3,) float64, and the loss's gradient.

That is of the batch's mean cross entropy by the outputs, to ``errors``; if that is 0, the sums are added to. One item.
Arguments: ``first, count, width, batch, labels, order, outputs, errors, classes, sums``; ``order`` 0: as they come.
"""


def _update(kind, part, lo, hi, arguments):
    parts, size, weights, parameters, gradients, firsts, seconds, factors, method, settings, scalars = unpack(
        arguments, 11
    )
    zero = zeros(kind, 1)
    double = 0.0
    momentum = narrow(number(settings, MOMENTUM, double), kind)
    decay = narrow(number(settings, DECAY, double), kind)
    l1 = narrow(number(settings, L1, double), kind)
    fresh1 = narrow(1 - number(settings, BETA1, double), kind)
    beta2 = broadcast(narrow(number(settings, BETA2, double), kind), zero)
    fresh2 = narrow(1 - number(settings, BETA2, double), kind)
    epsilon = broadcast(narrow(number(settings, EPSILON, double), kind), zero)
    step = narrow(-number(scalars, RATE, double), kind)
    shrink = narrow(-number(scalars, RATE, double) * number(settings, DECAY, double), kind)
    corrected = narrow(-number(scalars, RATE, double) * number(scalars, CORRECTION1, double), kind)
    scale = broadcast(narrow(number(scalars, CORRECTION2, double), kind), zero)
    minus = narrow(-1, kind)
    register = register_width(kind)
    if l1 != 0:
        for at in range(lo * register, min(hi * register, weights)):
            value = number(parameters, at, kind)
            sign = kind
            if value > 0:
                sign = l1
            elif value < 0:
                sign = -l1
            put(gradients, at, number(gradients, at, kind) + sign)
    for at in range(lo * register, hi * register, register):
        gradient = load(gradients, at, zero)
        for other in range(1, parts):
            gradient = added(gradient, load(gradients, other * size + at, zero))
        value = load(parameters, at, zero)
        if factors != 0:
            gradient = times(gradient, load(factors, at, zero))
        if decay != 0:
            if method == ADAMW:
                value = plus_scaled(value, shrink, value)
            else:
                gradient = plus_scaled(gradient, decay, value)
        if method <= NESTEROV:
            if momentum != 0:
                first = plus_scaled(gradient, momentum, load(firsts, at, zero))
                store(firsts, at, first)
                gradient = plus_scaled(gradient, momentum, first) if method == NESTEROV else first
            value = plus_scaled(value, step, gradient)
        else:
            first = load(firsts, at, zero)
            first = plus_scaled(first, fresh1, plus_scaled(gradient, minus, first))
            second = plus_scaled(times(load(seconds, at, zero), beta2), fresh2, times(gradient, gradient))
            store(firsts, at, first)
            store(seconds, at, second)
            value = plus_scaled(value, corrected, divided(first, added(times(root(second), scale), epsilon)))
        store(parameters, at, value)


update = Kernel(_update)
"""Take an optimiser's step on flat arrays of ``size`` parameters, the first ``weights`` of which feel an L1 penalty.

SGD with momentum (and Nesterov's), Adam and AdamW in torch's own forms. Items are registers of parameters. Arguments:
``parts, size, weights, parameters, gradients`` (parts, size), ``first`` (momentum or first moments), ``second``,
``factors`` (0 or 1 for each parameter; address 0: all 1), ``method, settings, scalars``.
"""
