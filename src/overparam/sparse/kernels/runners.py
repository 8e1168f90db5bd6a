"""What calls kernels: lists of them, on one thread or several, and whole trainings.

A list of operations (see :mod:`overparam.sparse.kernels.program`) is a few int64 each: address of a kernel, where its
arguments begin, address of the bounds of its items, whether it waits. Arguments that are known only when it runs are
*holes*: a number of a table, ``arrays``, plus an offset in bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from numba import prange

from overparam.sparse.kernels.compiled import KINDS, POOL, compiled_for, inner, parallel, serial, use_threads
from overparam.sparse.kernels.lanes import call_kernel, integer, number, put, register_width, unpack, wide_integer
from overparam.sparse.kernels.training import CORRECTION1, CORRECTION2, RATE

OPERATION = 4  # kernel, bytes to its arguments, bounds, whether it waits
HOLE = 3  # place among the arguments, array, offset in bytes

# What a training fills in of each part's arrays; then come those of overparam.sparse.perceptron.
FIRST, COUNT, WIDTH, BATCH, SUMS, ARRAYS = range(6)


@inner
def _fill(arguments, holes, hole_count, arrays):
    """Write what was not known before among the arguments."""
    for hole in range(hole_count):
        place, array, offset = unpack(holes + hole * HOLE * 8, HOLE)
        put(arguments, place, wide_integer(arrays, array) + offset)


@inner
def _perform(kind, part, entry, operations, arguments):
    """Do one thread's share of an operation."""
    kernel, begin, bounds, _ = unpack(operations + entry * OPERATION * 8, OPERATION)
    call_kernel(kernel, kind, part, integer(bounds, part), integer(bounds, part + 1), arguments + begin)


@serial
def perform(kind, operations, count, arguments, holes, hole_count, arrays):
    """Do the operations of a program one after another."""
    _fill(arguments, holes, hole_count, arrays)
    for operation in range(count):
        _perform(kind, 0, operation, operations, arguments)


@parallel
def perform_shared(kind, parts, operations, count, arguments, holes, hole_count, arrays):
    """Do the same, each operation divided among threads; one that waits begins when all have done what comes before."""
    _fill(arguments, holes, hole_count, arrays)
    begin = 0
    while begin < count:
        end = begin + 1
        while end < count and wide_integer(operations, end * OPERATION + 3) == 0:
            end += 1
        for part in prange(parts):
            for operation in range(begin, end):
                _perform(kind, part, operation, operations, arguments)
        begin = end


@inner
def _operate(kind, plan, part, first, count, batch):
    """Do all operations on one part of a batch: the examples ``first`` to ``first + count`` of its order."""
    operations, operation_count, all_arguments, argument_count, holes, hole_count, all_arrays, array_count = unpack(
        plan, 8
    )
    arguments = all_arguments + part * argument_count * 8
    arrays = all_arrays + part * array_count * 8
    pair = 2 * register_width(kind)
    put(arrays, FIRST, first)
    put(arrays, COUNT, count)
    put(arrays, WIDTH, (count + pair - 1) // pair * pair)
    put(arrays, BATCH, batch)
    _fill(arguments, holes, hole_count, arrays)
    for operation in range(operation_count):
        _perform(kind, 0, operation, operations, arguments)


@inner
def _loss(plan, part):
    """Return the sum of losses that a part has left."""
    _, _, _, _, _, _, arrays, count = unpack(plan, 8)
    return number(wide_integer(arrays, part * count + SUMS), 0, 0.0)


@inner
def _prepare(plan, rates, at, step):
    """Set what the optimiser's step number ``step`` (from 1) needs."""
    _, _, _, scalars, betas = unpack(plan + 8 * 8, 5)
    put(scalars, RATE, number(rates, at, 0.0))
    put(scalars, CORRECTION1, 1 / (1 - number(betas, 0, 0.0) ** step))
    put(scalars, CORRECTION2, 1 / (1 - number(betas, 1, 0.0) ** step) ** 0.5)


@inner
def _update(kind, plan, part, parts):
    """Do a part's share of the optimiser's step; there is none in an evaluation."""
    kernel, arguments, items, _, _ = unpack(plan + 8 * 8, 5)
    if kernel != 0:
        call_kernel(kernel, kind, part, items * part // parts, items * (part + 1) // parts, arguments)


@serial
def train(kind, plan, examples, batch, start, stop, step, rates, losses):
    """Train on the batches ``start`` to ``stop`` of an epoch of so many examples, on one thread.

    ``rates`` and ``losses`` (float64) have the learning rate and get the mean loss of each of these batches; ``step``
    counts the optimiser's steps before.
    """
    for at in range(start, stop):
        count = min(batch, examples - at * batch)
        _operate(kind, plan, 0, at * batch, count, count)
        put(losses, at - start, _loss(plan, 0) / count)
        _prepare(plan, rates, at - start, step + at - start + 1)
        _update(kind, plan, 0, 1)


@parallel
def train_shared(kind, parts, plan, examples, batch, start, stop, step, rates, losses):
    """Do the same with the work of each batch divided among threads."""
    for at in range(start, stop):
        first = at * batch
        count = min(batch, examples - first)
        for part in prange(parts):
            begin = count * part // parts
            _operate(kind, plan, part, first + begin, count * (part + 1) // parts - begin, count)
        loss = 0.0
        for part in range(parts):
            loss += _loss(plan, part)
        put(losses, at - start, loss / count)
        _prepare(plan, rates, at - start, step + at - start + 1)
        for part in prange(parts):
            _update(kind, plan, part, parts)


def run(name: str, dtype: torch.dtype, threads: int, *arguments: int) -> None:
    """Call a function of this module, compiled for a type of numbers; on several threads its ``_shared`` form."""
    if threads == 1:
        runner(name, dtype)(KINDS[dtype], *arguments)
        return
    shared = runner(f"{name}_shared", dtype)
    with POOL:
        use_threads(threads)
        shared(KINDS[dtype], threads, *arguments)


@cache
def runner(name: str, dtype: torch.dtype) -> Any:
    """Return a function of this module, compiled for a type of numbers."""
    return compiled_for(globals()[name], dtype)
