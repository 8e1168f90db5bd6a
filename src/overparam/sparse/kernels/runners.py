"""What calls kernels: once, or on several threads with a share of the items each."""

from __future__ import annotations

from numba import prange

from overparam.sparse.kernels.compiled import inner, parallel, serial
from overparam.sparse.kernels.lanes import call_kernel, integer, number, put, put_wide, register_width, wide_integer
from overparam.sparse.kernels.training import BATCH, CORRECTION1, CORRECTION2, COUNT, FIRST, RATE, WIDTH

# A plan (int64): what is done with a batch.
(
    PARTS,  # threads that a batch is divided among
    OPERATIONS,  # (parts, count, 4) int64: address of a kernel, its items, its arguments, bits: which are the width
    OPERATION_COUNT,
    CURSORS,  # (parts, 4) int64, see training_kernels
    LOSSES,  # (parts,) float64: sums of the losses of each part
    UPDATE,  # address of the optimiser's kernel
    UPDATE_ARGUMENTS,
    UPDATE_ITEMS,
    SCALARS,  # float64: what changes with the iteration
    BETAS,  # (2,) float64: of Adam's moments, or zeros
    PLAN,
) = range(11)


@serial
def run(kind, address, items, arguments):
    """Do all items of a kernel."""
    call_kernel(address, kind, 0, 0, items, arguments)


@parallel
def run_shared(kind, parts, address, bounds, arguments):
    """Do the items between two neighbouring ``bounds`` (int32) on each of ``parts`` threads."""
    for part in prange(parts):
        call_kernel(address, kind, part, integer(bounds, part), integer(bounds, part + 1), arguments)


# A program (see overparam.sparse.kernels.program), int64: integers of an operation and of a hole.
OPERATION = 4  # kernel, bytes to its arguments, bounds, whether it waits
HOLE = 3  # place among the arguments, array, offset in bytes


@inner
def _fill(arguments, holes, hole_count, arrays):
    """Write the addresses that a program did not know: (place, array, offset in bytes) of each."""
    for hole in range(hole_count):
        at = hole * HOLE
        address = wide_integer(arrays, wide_integer(holes, at + 1)) + wide_integer(holes, at + 2)
        put_wide(arguments, wide_integer(holes, at), address)


@inner
def _perform(kind, part, entry, operations, arguments):
    """Do one thread's share of the operation whose entry is at ``entry``: kernel, bytes to its arguments, bounds."""
    bounds = wide_integer(operations, entry + 2)
    lo = integer(bounds, part)
    hi = integer(bounds, part + 1)
    call_kernel(wide_integer(operations, entry), kind, part, lo, hi, arguments + wide_integer(operations, entry + 1))


@serial
def perform(kind, operations, count, arguments, holes, hole_count, arrays):
    """Do the operations of a :class:`overparam.sparse.kernels.program.Program` one after another."""
    _fill(arguments, holes, hole_count, arrays)
    for operation in range(count):
        _perform(kind, 0, operation * OPERATION, operations, arguments)


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
                _perform(kind, part, operation * OPERATION, operations, arguments)
        begin = end


@inner
def _operate(kind, plan, part, first, count, batch):
    """Do all operations on one part of a batch: the examples ``first`` to ``first + count`` of its order."""
    cursor = wide_integer(plan, CURSORS) + part * 32
    pair = 2 * register_width(kind)
    width = (count + pair - 1) // pair * pair
    put_wide(cursor, FIRST, first)
    put_wide(cursor, COUNT, count)
    put_wide(cursor, WIDTH, width)
    put_wide(cursor, BATCH, batch)
    operations = wide_integer(plan, OPERATION_COUNT)
    start = part * operations * 4
    table = wide_integer(plan, OPERATIONS)
    for operation in range(operations):
        entry = start + operation * 4
        arguments = wide_integer(table, entry + 2)
        places = wide_integer(table, entry + 3)
        place = 0
        while places != 0:
            if places & 1:
                put_wide(arguments, place, width)
            places >>= 1
            place += 1
        call_kernel(wide_integer(table, entry), kind, 0, 0, wide_integer(table, entry + 1), arguments)


@inner
def _prepare(plan, rates, at, step):
    """Set what the optimiser's step number ``step`` (from 1) needs."""
    scalars = wide_integer(plan, SCALARS)
    betas = wide_integer(plan, BETAS)
    double = 0.0
    put(scalars, RATE, number(rates, at, double))
    put(scalars, CORRECTION1, 1 / (1 - number(betas, 0, double) ** step))
    put(scalars, CORRECTION2, 1 / (1 - number(betas, 1, double) ** step) ** 0.5)


@serial
def train(kind, plan, examples, batch, start, stop, step, rates, losses):
    """Train on the batches ``start`` to ``stop`` of an epoch of so many examples, on one thread.

    ``rates`` and ``losses`` (float64) have the learning rate and get the mean loss of each of these batches; ``step``
    counts the optimiser's steps before.
    """
    for at in range(start, stop):
        count = min(batch, examples - at * batch)
        _operate(kind, plan, 0, at * batch, count, count)
        put(losses, at - start, number(wide_integer(plan, LOSSES), 0, 0.0) / count)
        _prepare(plan, rates, at - start, step + at - start + 1)
        items = wide_integer(plan, UPDATE_ITEMS)
        call_kernel(wide_integer(plan, UPDATE), kind, 0, 0, items, wide_integer(plan, UPDATE_ARGUMENTS))


@parallel
def train_shared(kind, plan, examples, batch, start, stop, step, rates, losses):
    """Do the same with the work of each batch divided among threads."""
    parts = wide_integer(plan, PARTS)
    items = wide_integer(plan, UPDATE_ITEMS)
    for at in range(start, stop):
        first = at * batch
        count = min(batch, examples - first)
        for part in prange(parts):
            begin = count * part // parts
            _operate(kind, plan, part, first + begin, count * (part + 1) // parts - begin, count)
        loss = 0.0
        for part in range(parts):
            loss += number(wide_integer(plan, LOSSES), part, 0.0)
        put(losses, at - start, loss / count)
        _prepare(plan, rates, at - start, step + at - start + 1)
        for part in prange(parts):
            lo = items * part // parts
            hi = items * (part + 1) // parts
            call_kernel(wide_integer(plan, UPDATE), kind, part, lo, hi, wide_integer(plan, UPDATE_ARGUMENTS))


@serial
def apply(kind, plan, examples, batch):
    """Do the operations on all examples as they come, ``batch`` at a time."""
    for first in range(0, examples, batch):
        count = min(batch, examples - first)
        _operate(kind, plan, 0, first, count, count)


@parallel
def apply_shared(kind, plan, examples, batch):
    """Do the same with the examples divided among threads."""
    parts = wide_integer(plan, PARTS)
    for part in prange(parts):
        end = examples * (part + 1) // parts
        for first in range(examples * part // parts, end, batch):
            _operate(kind, plan, part, first, min(batch, end - first), batch)
