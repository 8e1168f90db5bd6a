"""Vectors of the processor as values of compiled code: what the kernels are written in.

A :class:`Lanes` value is a fixed number of float32 or float64 numbers that live in vector registers. LLVM splits one
that is wider than the machine's registers, so kernels name the width that suits 512-bit registers (16 float32
numbers) and run everywhere. Numba's own vectoriser cannot keep a sum in registers over a loop whose trip count it does
not know; with these, a row of the output is loaded and stored once however many nonzeros go into it.

Memory is given as an address (an integer) and an index that counts elements: passing an integer to a compiled function
costs far less than passing an array. Whoever calls a kernel vouches for addresses and sizes.
"""

# The signature of an intrinsic is (typing context, argument types...) -> (signature, code generator).

from __future__ import annotations

from collections.abc import Sequence
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
        super().__init__(name=f"Lanes({scalar}, {count})")

    @property
    def element(self) -> ir.Type:
        """LLVM's type of one number."""
        return _element(self.scalar)

    @property
    def vector(self) -> ir.VectorType:
        """LLVM's type of all of them."""
        return ir.VectorType(self.element, self.count)

    @property
    def register(self) -> int:
        """How many numbers of this type a register of 64 bytes holds."""
        return REGISTER_BYTES // (self.scalar.bitwidth // 8)


@register_model(Lanes)
class _LanesModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, kind.vector)


def _element(scalar: types.Float) -> ir.Type:
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


@intrinsic(prefer_literal=True)
def zeros(typing, like, registers):
    """Return ``registers`` (a literal) registers of zeros of the type of ``like``."""
    kind = Lanes(like, registers.literal_value * (REGISTER_BYTES * 8 // like.bitwidth))
    return kind(like, registers), lambda context, builder, signature, args: ir.Constant(kind.vector, None)


@intrinsic
def register_width(typing, like):
    """Return how many numbers of the type of ``like`` a register holds."""
    return types.int64(like), lambda context, builder, signature, args: ir.Constant(
        INT64, REGISTER_BYTES * 8 // like.bitwidth
    )


@intrinsic
def part_of(typing, address, index, like):
    """Return the address of element ``index`` of an array of numbers of the type of ``like``."""

    def generate(context, builder, signature, args):
        return builder.add(args[0], builder.mul(args[1], ir.Constant(INT64, like.bitwidth // 8)))

    return types.int64(types.int64, types.int64, like), generate


@intrinsic
def load(typing, address, index, like):
    """Return as many numbers from memory as ``like`` has."""

    def generate(context, builder, signature, args):
        return _load(builder, like, args[0], args[1])

    return like(types.int64, types.int64, like), generate


@intrinsic
def store(typing, address, index, vector):
    """Write all numbers to memory."""

    def generate(context, builder, signature, args):
        _store(builder, vector, *args)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, vector), generate


@intrinsic
def number(typing, address, index, like):
    """Return one number of the type of ``like`` from memory."""

    def generate(context, builder, signature, args):
        element = context.get_value_type(like)
        return builder.load(_pointer(builder, args[0], args[1], element, element))

    return like(types.int64, types.int64, like), generate


@intrinsic
def put(typing, address, index, value):
    """Write one number to memory."""

    def generate(context, builder, signature, args):
        element = context.get_value_type(value)
        builder.store(args[2], _pointer(builder, args[0], args[1], element, element))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), generate


@intrinsic
def put_wide(typing, address, index, value):
    """Write a 64-bit integer to memory."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _pointer(builder, args[0], args[1], INT64, INT64))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def narrow(typing, value, like):
    """Return a number as the type of ``like``: numba computes with float64 as soon as an integer is involved."""

    def generate(context, builder, signature, args):
        return context.cast(builder, args[0], value, like)

    return like(value, like), generate


@intrinsic
def integer(typing, address, index):
    """Return a 32-bit integer from memory."""

    def generate(context, builder, signature, args):
        return builder.sext(builder.load(_pointer(builder, args[0], args[1], INT32, INT32)), INT64)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def wide_integer(typing, address, index):
    """Return a 64-bit integer from memory."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(builder, args[0], args[1], INT64, INT64))

    return types.int64(types.int64, types.int64), generate


@intrinsic
def broadcast(typing, value, like):
    """Return ``value`` in every lane."""

    def generate(context, builder, signature, args):
        return _splat(builder, args[0], like)

    return like(like.scalar, like), generate


def _arithmetic(operation: str) -> Any:
    def typed(typing, one, two):
        def generate(context, builder, signature, args):
            return getattr(builder, operation)(*args, flags=CONTRACT)

        return one(one, one), generate

    return typed


@intrinsic
def added(typing, one, two):
    """Return ``one + two``."""
    return _arithmetic("fadd")(typing, one, two)


@intrinsic
def times(typing, one, two):
    """Return ``one * two``."""
    return _arithmetic("fmul")(typing, one, two)


@intrinsic
def divided(typing, one, two):
    """Return ``one / two``."""
    return _arithmetic("fdiv")(typing, one, two)


@intrinsic
def root(typing, vector):
    """Return the square root of each number."""

    def generate(context, builder, signature, args):
        name = f"llvm.sqrt.v{vector.count}f{vector.scalar.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector.vector, [vector.vector]), name)
        return builder.call(function, args)

    return vector(vector), generate


@intrinsic
def plus_scaled(typing, sum, factor, vector):
    """Return ``sum + factor * vector`` for a number ``factor``."""

    def generate(context, builder, signature, args):
        product = builder.fmul(_splat(builder, args[1], vector), args[2], flags=CONTRACT)
        return builder.fadd(args[0], product, flags=CONTRACT)

    return vector(vector, vector.scalar, vector), generate


@intrinsic
def positive_part(typing, vector):
    """Return the larger of each number and zero; NaN stays NaN."""

    def generate(context, builder, signature, args):
        negative = builder.fcmp_ordered("<=", args[0], ir.Constant(vector.vector, None))
        return builder.select(negative, ir.Constant(vector.vector, None), args[0])

    return vector(vector), generate


@intrinsic
def where_positive(typing, gate, vector):
    """Return ``vector`` where ``gate`` is above zero, else zero; NaN lets it pass, as torch's ReLU does."""

    def generate(context, builder, signature, args):
        positive = builder.fcmp_unordered(">", args[0], ir.Constant(gate.vector, None))
        return builder.select(positive, args[1], ir.Constant(vector.vector, None))

    return vector(gate, vector), generate


@intrinsic
def only_last(typing, vector, count):
    """Return ``vector`` with all but its last ``count`` numbers set to zero."""

    def generate(context, builder, signature, args):
        lanes = ir.VectorType(INT64, vector.count)
        left = ir.Constant(lanes, [vector.count - place for place in range(vector.count)])
        first = builder.insert_element(ir.Constant(lanes, ir.Undefined), args[1], ir.Constant(INT32, 0))
        kept = builder.icmp_signed("<=", left, _shuffled(builder, first, None, [0] * vector.count))
        return builder.select(kept, args[0], ir.Constant(vector.vector, None))

    return vector(vector, types.int64), generate


def _dot(builder: ir.IRBuilder, kind: Lanes, one: ir.Value, two: ir.Value) -> ir.Value:
    """Return one register whose numbers sum to the inner product; two chains of sums, to hide their latency."""
    sums: list[ir.Value] = []
    for start in range(0, kind.count, kind.register):
        places = range(start, start + kind.register)
        product = builder.fmul(
            _shuffled(builder, one, None, places), _shuffled(builder, two, None, places), flags=CONTRACT
        )
        if len(sums) < 2:
            sums.append(product)
        else:
            chain = start // kind.register % 2
            sums[chain] = builder.fadd(sums[chain], product, flags=CONTRACT)
    return sums[0] if len(sums) == 1 else builder.fadd(*sums, flags=CONTRACT)


@intrinsic
def partial_dot(typing, one, two):
    """Return one register whose numbers sum to the inner product of ``one`` and ``two``."""
    register = Lanes(one.scalar, one.register)

    def generate(context, builder, signature, args):
        return _dot(builder, one, *args)

    return register(one, one), generate


def _halved(builder: ir.IRBuilder, one: ir.Value, two: ir.Value | None, width: int) -> ir.Value:
    """Add the halves of each group of ``width`` numbers, over ``one`` and ``two`` one after the other."""
    length = one.type.count * (2 if two else 1)
    low = [group + place for group in range(0, length, width) for place in range(width // 2)]
    high = [place + width // 2 for place in low]
    return builder.fadd(_shuffled(builder, one, two, low), _shuffled(builder, one, two, high), flags=CONTRACT)


@intrinsic
def add_four_sums(typing, address, index, one, two, three, four):
    """Add the sums of four registers to four neighbouring numbers in memory."""

    def generate(context, builder, signature, args):
        width = one.count
        first, second = _halved(builder, args[2], args[3], width), _halved(builder, args[4], args[5], width)
        sums = _halved(builder, first, second, width // 2)
        width //= 4
        while width > 1:
            sums = _halved(builder, sums, None, width)
            width //= 2
        where = _pointer(builder, args[0], args[1], sums.type, one.element)
        align = one.scalar.bitwidth // 8
        builder.store(builder.fadd(builder.load(where, align=align), sums, flags=CONTRACT), where, align=align)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, one, one, one, one), generate


@intrinsic
def total(typing, vector):
    """Return the sum of all numbers."""

    def generate(context, builder, signature, args):
        name = f"llvm.vector.reduce.fadd.v{vector.count}f{vector.scalar.bitwidth}"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector.element, [vector.element, vector.vector]), name
        )
        return builder.call(function, [ir.Constant(vector.element, 0.0), args[0]], fastmath=("reassoc",))

    return vector.scalar(vector), generate


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


def _block(builder: ir.IRBuilder, kind: Lanes, starts: list[ir.Value], args: Sequence[ir.Value]) -> None:
    source, target, target_start, target_step = args
    columns = _transposed(builder, [_load(builder, kind, source, start) for start in starts])
    for place, column in enumerate(columns):
        where = builder.add(target_start, builder.mul(target_step, ir.Constant(INT64, place)))
        _store(builder, kind, target, where, column)


@intrinsic
def transpose_block(typing, like, source, start, step, target, target_start, target_step):
    """Write the square of ``like``'s size at ``source``, whose rows are ``step`` apart, transposed to ``target``."""

    def generate(context, builder, signature, args):
        starts = [builder.add(args[2], builder.mul(args[3], ir.Constant(INT64, row))) for row in range(like.count)]
        _block(builder, like, starts, (args[1], *args[4:]))
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 6), generate


@intrinsic
def gather_block(typing, like, source, starts, start, target, target_start, target_step):
    """Do as :func:`transpose_block`, with rows that begin at the indices (int64) at ``starts``, plus ``start``."""

    def generate(context, builder, signature, args):
        begins = [
            builder.load(_pointer(builder, args[2], ir.Constant(INT64, row), INT64, INT64)) for row in range(like.count)
        ]
        _block(builder, like, [builder.add(begin, args[3]) for begin in begins], (args[1], *args[4:]))
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 6), generate


@intrinsic
def call_kernel(typing, address, kind, part, lo, hi, arguments):
    """Call the compiled kernel at ``address``."""

    def generate(context, builder, signature, args):
        function = ir.FunctionType(ir.VoidType(), [_element(kind), *[INT64] * 4])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, kind, *[types.int64] * 4), generate
