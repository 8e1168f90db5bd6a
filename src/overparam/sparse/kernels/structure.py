"""Where the nonzeros of a layer are, in the forms that the kernels walk through.

A :class:`Structure` belongs to one weight's nonzeros and one size of input. It holds three lists of them: by output row
(for the product), by input row (for the gradient of the inputs) and, implicitly, in their own order (for the gradient
of the values, which are kept in the order of the dense weight's elements).

For a convolution, positions of the output with the same taps inside the image form a *class* (nine for a padded 3x3
convolution: corners, edges, interior), and each class has lists of its own. So the kernels test no borders, and stride,
dilation and groups cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product as pairs
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
LARGEST = 2**31 - 1
Reads = tuple[tuple[int, int], ...]  # (tap, offset) of each tap inside the image


@dataclass(frozen=True, eq=False)
class Table:
    """Nonzeros by the row that they are summed into."""

    rows: int  # of the output at each position
    inputs: int  # rows of the input of one tile
    classes: Ints  # class of each position, (positions,)
    base: Ints  # first input row that a position can read, (positions,); may be negative at a padded border
    pointers: Ints  # where in the lists each row of each class begins, (classes * (rows + 1),)
    offsets: Ints  # input row that a nonzero reads, relative to the position's base
    places: Ints | None  # which value it multiplies with; None if the lists are in the values' own order

    @cached_property
    def _addresses(self) -> Indices:
        arrays = (self.classes, self.base, self.pointers, self.offsets, self.places)
        addresses = [0 if each is None else each.ctypes.data for each in arrays]
        return np.array([self.rows, self.positions, self.inputs, *addresses], dtype=np.int64)

    @cached_property
    def address(self) -> int:
        """What kernels take: the address of rows and of the arrays."""
        return int(self._addresses.ctypes.data)

    @property
    def positions(self) -> int:
        """Number of positions of the output."""
        return len(self.classes)

    @cached_property
    def nonzeros_by_row(self) -> Ints:
        """Number of nonzeros of each row of a single position: what its computation costs."""
        return np.diff(self.pointers[: self.rows + 1])


@dataclass(eq=False)
class Structure:
    """Everything the kernels need for one layer and one size of input.

    Shapes are without the batch: (features,), (length, channels) or (height, width, channels).
    """

    output: tuple[int, ...]
    inputs: tuple[int, ...]
    size: int  # number of nonzeros
    forward: Table  # by output row
    backward: Table  # by input row
    convolution: Convolution | None = None  # what it is with its dense weight; None for a linear layer
    current: bool = field(default=True, init=False)  # False when its layer has other nonzeros
    programs: dict[Any, Any] = field(default_factory=dict, init=False)  # of autograd.py, that it is part of

    @property
    def positions(self) -> int:
        """Number of positions of the output."""
        return self.forward.positions


def linear_structure(indices: Indices, rows: int, columns: int) -> Structure:
    """Return the structure of a ``rows x columns`` linear weight with nonzeros at the sorted flat ``indices``."""
    row, column = np.divmod(indices, max(columns, 1))
    one = np.zeros(1, dtype=np.int32)
    forward = Table(rows, columns, one, one, _pointers(row, rows), column.astype(np.int32), None)
    by_column = np.argsort(column, kind="stable")
    lists = _pointers(column, columns), row[by_column].astype(np.int32), by_column.astype(np.int32)
    return Structure((rows,), (columns,), len(indices), forward, Table(columns, rows, one, one, *lists))


def _pointers(rows: Indices, count: int) -> Ints:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count)[:count])]).astype(np.int32)


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a convolution: sizes of input and kernel, stride, padding before and after, dilation."""

    size: int
    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def output(self) -> int:
        """Size of the output; below 1 if the kernel does not fit."""
        return (self.size + self.before + self.after - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def forward(self) -> tuple[list[int], list[Reads]]:
        """Return for each output position its base and its (tap, offset from the base) inside the image."""
        base = [place * self.stride - self.before for place in range(self.output)]
        taps = [(tap, tap * self.dilation) for tap in range(self.kernel)]
        return base, [tuple((tap, off) for tap, off in taps if 0 <= start + off < self.size) for start in base]

    def backward(self) -> tuple[list[int], list[Reads]]:
        """Return the same for each input position and the output positions that read it."""
        base = [(place + self.before) // self.stride for place in range(self.size)]
        return base, [self._readers(place, start) for place, start in enumerate(base)]

    def _readers(self, place: int, base: int) -> Reads:
        at = [divmod(place + self.before - tap * self.dilation, self.stride) for tap in range(self.kernel)]
        return tuple((tap, to - base) for tap, (to, rest) in enumerate(at) if not rest and 0 <= to < self.output)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution as torch has it: shape of the dense weight, flat indices of its nonzeros, axes and groups."""

    weight: tuple[int, ...]
    indices: Indices
    axes: tuple[Axis, ...]
    groups: int


def conv_structure(indices: Indices, outputs: int, inputs: int, groups: int, axes: Sequence[Axis]) -> Structure:
    """Return the structure of a convolution over one or two ``axes``, the last one innermost.

    ``indices`` are the sorted flat indices of the nonzeros of its weight ``(outputs, inputs / groups, *kernel)``.
    """
    kernel = [axis.kernel for axis in axes]
    row, channel, *taps = np.unravel_index(indices, (outputs, inputs // groups, *kernel))
    channel = channel + row // max(outputs // groups, 1) * (inputs // groups)
    images = [axis.size for axis in axes], [axis.output for axis in axes]
    forward = _table(row, channel, taps, outputs, inputs, [axis.forward() for axis in axes], kernel, images[0])
    backward = _table(channel, row, taps, inputs, outputs, [axis.backward() for axis in axes], kernel, images[1])
    whole = Convolution((outputs, inputs // groups, *kernel), indices, tuple(axes), groups)
    return Structure((*images[1], outputs), (*images[0], inputs), len(indices), forward, backward, whole)


def _table(
    row: Indices,
    other: Indices,
    taps: Sequence[Indices],
    rows: int,
    others: int,
    axes: Sequence[tuple[list[int], list[Reads]]],
    kernel: Sequence[int],
    image: Sequence[int],
) -> Table:
    """Return the table of nonzeros that go from ``other`` rows of an ``image`` at their ``taps`` into ``row``."""
    strides = [int(np.prod(image[axis + 1 :])) * others for axis in range(len(image))]
    base, classes = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    kinds: list[list[Reads]] = []
    for (starts, reads), stride in zip(axes, strides, strict=True):
        distinct = {read: number for number, read in enumerate(dict.fromkeys(reads))}
        base = (base[:, None] + np.array(starts, dtype=np.int64) * stride).ravel()
        classes = (classes[:, None] * len(distinct) + np.array([distinct[read] for read in reads])).ravel()
        kinds.append(list(distinct))
    lists: list[tuple[Indices, Indices, Indices]] = []
    begin = 0
    for combined in pairs(*kinds):
        inside = np.ones(len(row), dtype=bool)
        offset = other.astype(np.int64)
        for tap, read, size, stride in zip(taps, combined, kernel, strides, strict=True):
            reached = np.zeros(size, dtype=bool)
            shift = np.zeros(size, dtype=np.int64)
            for place, off in read:
                reached[place], shift[place] = True, off * stride
            inside &= reached[tap]
            offset = offset + shift[tap]
        chosen = np.flatnonzero(inside)
        chosen = chosen[np.lexsort((offset[chosen], row[chosen]))]  # by row, then in the order of memory
        lists.append((_pointers(row[chosen], rows).astype(np.int64) + begin, offset[chosen], chosen))
        begin += len(chosen)
    small = [np.concatenate(each).astype(np.int32) for each in zip(*lists, strict=True)]
    return Table(rows, int(np.prod(image)) * others, classes.astype(np.int32), base.astype(np.int32), *small)
