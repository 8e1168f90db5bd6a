"""Vectors of the processor as values of compiled code: what the kernels are written in.

A :class:`Lanes` value is a fixed number of float32 or float64 numbers that live in vector registers. LLVM splits one
that is wider than the machine's registers, so kernels name the width that suits 512-bit registers (16 float32
numbers) and run everywhere. Numba's own vectoriser cannot keep a sum in registers over a loop whose trip count it does
not know; with these, a row of the output is loaded and stored once however many nonzeros go into it.

Memory is given as an address (an integer) and an index that counts elements: passing an integer to a compiled function
costs far less than passing an array. Whoever calls a kernel vouches for addresses and sizes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model

REGISTER_BYTES = 64
CONTRACT = ("contract", "reassoc", "nsz")  # a product and a sum may become one operation, sums may be reordered
INT32 = ir.IntType(32)
INT64 = ir.IntType(64)


class Lanes(types.Type):  # type: ignore[misc]
    """The type of ``count`` numbers of type ``scalar`` in vector registers."""

    def __init__(self, scalar: types.Float, count: int) -> None:
        self.scalar, self.count = scalar, count
        self.element = _element(scalar)  # LLVM's type of one number, and of all of them
        self.vector = ir.VectorType(self.element, count)
        self.register = REGISTER_BYTES * 8 // scalar.bitwidth  # how many of them a register holds
        super().__init__(name=f"Lanes({scalar}, {count})")


@register_model(Lanes)
class _LanesModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, kind.vector)


def _element(scalar: types.Number) -> ir.Type:
    if isinstance(scalar, types.Integer):
        return INT64
    return ir.FloatType() if scalar.bitwidth == 32 else ir.DoubleType()


def _pointer(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, to: ir.Type, element: ir.Type) -> ir.Value:
    start = builder.gep(builder.inttoptr(address, element.as_pointer()), [index])
    return builder.bitcast(start, to.as_pointer())


def _load(builder: ir.IRBuilder, kind: Lanes, address: ir.Value, index: ir.Value) -> ir.Value:
    # rows of a batch that is no multiple of the register are not aligned
    where = _pointer(builder, address, index, kind.vector, kind.element)
    return builder.load(where, align=kind.scalar.bitwidth // 8)


def _store(builder: ir.IRBuilder, kind: Lanes, address: ir.Value, index: ir.Value, value: ir.Value) -> None:
    where = _pointer(builder, address, index, value.type, kind.element)
    builder.store(value, where, align=kind.scalar.bitwidth // 8)


def _picked(places: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(INT32, len(places)), list(places))


def _shuffled(builder: ir.IRBuilder, one: ir.Value, two: ir.Value | None, places: Sequence[int]) -> ir.Value:
    """Return the numbers at ``places`` of ``one`` followed by ``two``."""
    return builder.shuffle_vector(one, two or ir.Constant(one.type, ir.Undefined), _picked(places))


def _splat(builder: ir.IRBuilder, number: ir.Value, kind: Lanes) -> ir.Value:
    first = builder.insert_element(ir.Constant(kind.vector, ir.Undefined), number, ir.Constant(INT32, 0))
    return _shuffled(builder, first, None, [0] * kind.count)


def instruction(result: Callable[..., Any], literal: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Declare an intrinsic: ``result`` returns its type for those of its arguments, what is decorated writes its code.

    That is called with LLVM's builder, the types of the arguments and the arguments; None is what writes to memory.
    """

    def declare(write: Callable[..., Any]) -> Any:
        def typed(typing, *kinds):
            def generate(context, builder, signature, args):
                found = write(builder, kinds, *args)
                return context.get_dummy_value() if found is None else found

            given = [types.int64 if type(kind) is types.Integer else kind for kind in kinds]
            return result(*kinds)(*given), generate

        parameters = list(inspect.signature(write).parameters.values())[1:]  # numba wants to see "typing" and its own
        typed.__signature__ = inspect.Signature(parameters)
        typed.__name__, typed.__doc__ = write.__name__, write.__doc__
        return intrinsic(prefer_literal=literal)(typed)

    return declare


def _void(*_):
    return types.void


def _like(*kinds):
    return kinds[-1]


@instruction(lambda like, registers: Lanes(like, _count(like, registers)), literal=True)
def zeros(builder, kinds, like, registers):
    """Return ``registers`` (a literal) registers of zeros of the type of ``like``; for 0, a single zero."""
    return ir.Constant(Lanes(kinds[0], _count(*kinds)).vector, None)


def _count(like: types.Float, registers: Any) -> int:
    return max(1, registers.literal_value * (REGISTER_BYTES * 8 // like.bitwidth))


@instruction(lambda like: types.int64)
def register_width(builder, kinds, like):
    """Return how many numbers of the type of ``like`` a register holds."""
    return ir.Constant(INT64, REGISTER_BYTES * 8 // kinds[0].bitwidth)


@instruction(lambda address, index, like: types.int64)
def part_of(builder, kinds, address, index, like):
    """Return the address of element ``index`` of an array of numbers of the type of ``like``."""
    return builder.add(address, builder.mul(index, ir.Constant(INT64, kinds[2].bitwidth // 8)))


@instruction(_like)
def load(builder, kinds, address, index, like):
    """Return as many numbers from memory as ``like`` has."""
    return _load(builder, kinds[2], address, index)


@instruction(_void)
def store(builder, kinds, address, index, vector):
    """Write all numbers to memory."""
    _store(builder, kinds[2], address, index, vector)


@instruction(_like)
def number(builder, kinds, address, index, like):
    """Return one number of the type of ``like`` from memory."""
    element = _element(kinds[2])
    return builder.load(_pointer(builder, address, index, element, element))


@instruction(_void)
def put(builder, kinds, address, index, value):
    """Write one number to memory: a float, or a 64-bit integer."""
    builder.store(value, _pointer(builder, address, index, value.type, value.type))


@instruction(lambda address, index: types.int64)
def integer(builder, kinds, address, index):
    """Return a 32-bit integer from memory."""
    return builder.sext(builder.load(_pointer(builder, address, index, INT32, INT32)), INT64)


@instruction(lambda address, index: types.int64)
def wide_integer(builder, kinds, address, index):
    """Return a 64-bit integer from memory."""
    return builder.load(_pointer(builder, address, index, INT64, INT64))


@instruction(lambda address, count: types.UniTuple(types.int64, count.literal_value), literal=True)
def unpack(builder, kinds, address, count):
    """Return the first ``count`` (a literal) of the 64-bit integers in memory."""
    places = [ir.Constant(INT64, place) for place in range(kinds[1].literal_value)]
    return cgutils.pack_array(builder, [builder.load(_pointer(builder, address, at, INT64, INT64)) for at in places])


@intrinsic
def narrow(typing, value, like):
    """Return a number as the type of ``like``: numba computes with float64 as soon as an integer is involved."""

    def generate(context, builder, signature, args):
        return context.cast(builder, args[0], value, like)

    return like(value, like), generate


@instruction(_like)
def broadcast(builder, kinds, value, like):
    """Return ``value`` in every lane."""
    return _splat(builder, value, kinds[1])


def _arithmetic(name: str) -> Any:
    return instruction(_like)(lambda builder, kinds, one, two: getattr(builder, name)(one, two, flags=CONTRACT))


added, times, divided = _arithmetic("fadd"), _arithmetic("fmul"), _arithmetic("fdiv")


@instruction(_like)
def root(builder, kinds, vector):
    """Return the square root of each number."""
    (kind,) = kinds
    name = f"llvm.sqrt.v{kind.count}f{kind.scalar.bitwidth}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind.vector, [kind.vector]), name)
    return builder.call(function, [vector])


@instruction(_like)
def plus_scaled(builder, kinds, sum, factor, vector):
    """Return ``sum + factor * vector`` for a number ``factor``."""
    product = builder.fmul(_splat(builder, factor, kinds[2]), vector, flags=CONTRACT)
    return builder.fadd(sum, product, flags=CONTRACT)


@instruction(_like)
def where_positive(builder, kinds, gate, vector):
    """Return ``vector`` where ``gate`` is above zero, else zero; NaN lets it pass, as torch's ReLU does."""
    zero = ir.Constant(gate.type, None)
    return builder.select(builder.fcmp_unordered(">", gate, zero), vector, zero)


@instruction(lambda vector, count: vector)
def only_last(builder, kinds, vector, count):
    """Return ``vector`` with all but its last ``count`` numbers set to zero."""
    lanes = kinds[0].count
    wide = ir.VectorType(INT64, lanes)
    first = builder.insert_element(ir.Constant(wide, ir.Undefined), count, ir.Constant(INT32, 0))
    left = ir.Constant(wide, [lanes - place for place in range(lanes)])
    kept = builder.icmp_signed("<=", left, _shuffled(builder, first, None, [0] * lanes))
    return builder.select(kept, vector, ir.Constant(vector.type, None))


@instruction(lambda one, two: Lanes(one.scalar, min(one.count, one.register)))
def partial_dot(builder, kinds, one, two):
    """Return one register whose numbers sum to the inner product of ``one`` and ``two``."""
    kind, sums = kinds[0], []
    width = min(kind.count, kind.register)
    for start in range(0, kind.count, width):
        places = range(start, start + width)
        parts = _shuffled(builder, one, None, places), _shuffled(builder, two, None, places)
        product = builder.fmul(*parts, flags=CONTRACT)
        if len(sums) < 2:
            sums.append(product)
        else:  # two chains of sums, to hide their latency
            chain = start // width % 2
            sums[chain] = builder.fadd(sums[chain], product, flags=CONTRACT)
    return sums[0] if len(sums) == 1 else builder.fadd(*sums, flags=CONTRACT)


def _halved(builder: ir.IRBuilder, one: ir.Value, two: ir.Value | None, width: int) -> ir.Value:
    """Add the halves of each group of ``width`` numbers, over ``one`` and ``two``; groups of one stay."""
    length = one.type.count * (2 if two else 1)
    if width <= 1:
        return _shuffled(builder, one, two, range(length))
    low = [group + place for group in range(0, length, width) for place in range(width // 2)]
    high = [place + width // 2 for place in low]
    return builder.fadd(_shuffled(builder, one, two, low), _shuffled(builder, one, two, high), flags=CONTRACT)


@instruction(_void)
def add_four_sums(builder, kinds, address, index, one, two, three, four):
    """Add the sums of four registers to four neighbouring numbers in memory."""
    kind = kinds[2]
    width = kind.count
    first, second = _halved(builder, one, two, width), _halved(builder, three, four, width)
    sums = _halved(builder, first, second, width // 2)
    width //= 4
    while width > 1:
        sums = _halved(builder, sums, None, width)
        width //= 2
    here = Lanes(kind.scalar, 4)
    before = _load(builder, here, address, index)
    _store(builder, here, address, index, builder.fadd(before, sums, flags=CONTRACT))


@instruction(lambda vector: vector.scalar)
def total(builder, kinds, vector):
    """Return the sum of all numbers."""
    (kind,) = kinds
    name = f"llvm.vector.reduce.fadd.v{kind.count}f{kind.scalar.bitwidth}"
    signature = ir.FunctionType(kind.element, [kind.element, kind.vector])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, [ir.Constant(kind.element, 0.0), vector], fastmath=("reassoc",))


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Return the columns of a square of numbers, by exchanging ever smaller off-diagonal blocks."""
    count = len(rows)
    step = count // 2
    while step:
        stay = [place if not place & step else count + place - step for place in range(count)]
        move = [place + step if not place & step else count + place for place in range(count)]
        for row in (row for row in range(count) if not row & step):
            one, two = rows[row], rows[row + step]
            rows[row] = _shuffled(builder, one, two, stay)
            rows[row + step] = _shuffled(builder, one, two, move)
        step //= 2
    return rows


def _block(
    builder: ir.IRBuilder,
    kind: Lanes,
    source: ir.Value,
    starts: list[ir.Value],
    target: ir.Value,
    at: ir.Value,
    step: Any,
) -> None:
    columns = _transposed(builder, [_load(builder, kind, source, start) for start in starts])
    for place, column in enumerate(columns):
        where = builder.add(at, builder.mul(step, ir.Constant(INT64, place)))
        _store(builder, kind, target, where, column)


@instruction(_void)
def transpose_block(builder, kinds, like, source, start, step, target, target_start, target_step):
    """Write the square of ``like``'s size at ``source``, whose rows are ``step`` apart, transposed to ``target``."""
    starts = [builder.add(start, builder.mul(step, ir.Constant(INT64, row))) for row in range(kinds[0].count)]
    _block(builder, kinds[0], source, starts, target, target_start, target_step)


@instruction(_void)
def gather_block(builder, kinds, like, source, starts, start, target, target_start, target_step):
    """Do as :func:`transpose_block`, with rows that begin at the indices (int64) at ``starts``, plus ``start``."""
    places = [_pointer(builder, starts, ir.Constant(INT64, row), INT64, INT64) for row in range(kinds[0].count)]
    begins = [builder.add(builder.load(place), start) for place in places]
    _block(builder, kinds[0], source, begins, target, target_start, target_step)


@instruction(_void)
def call_kernel(builder, kinds, address, kind, part, lo, hi, arguments):
    """Call the compiled kernel at ``address``."""
    function = ir.FunctionType(ir.VoidType(), [_element(kinds[1]), *[INT64] * 4])
    builder.call(builder.inttoptr(address, function.as_pointer()), [kind, part, lo, hi, arguments])
