"""Kernels one after another in one call of compiled code."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from overparam.sparse.kernels.compiled import Int32s, Kernel, balanced_bounds, even_bounds
from overparam.sparse.kernels.runners import HOLE, OPERATION, run
from overparam.sparse.kernels.structure import Table


class At(NamedTuple):
    """An address that is known when a program runs: so many bytes into one of its arrays."""

    array: int
    offset: int = 0


class Program:
    """A list of kernels with their arguments, for a batch of so many tiles, on a number of threads.

    A call from Python costs as much as thousands of nonzeros, more so after a kernel has filled the cache, so a program
    is made once and runs many times, each time with the addresses of other arrays. If the tiles can be shared out
    evenly, each thread does all kernels on tiles of its own, which then stay in its cache, without waiting for the
    others, except where a kernel ``waits`` until all threads have done what comes before. Else every kernel waits.

    ``own`` tells whether each thread has tiles of its own.
    """

    def __init__(self, dtype: torch.dtype, tiles: int, threads: int) -> None:
        self.dtype, self.tiles, self.threads = dtype, tiles, threads
        self.own = tiles % threads == 0
        self.arguments = array("q")
        self.holes = array("q")
        self.operations = array("q")
        self._bounds: list[Int32s] = []

    def add(self, kernel: Kernel, bounds: Int32s, *arguments: int | At, waits: bool = False) -> None:
        """Add a kernel; thread ``i`` does the items ``bounds[i]`` to ``bounds[i + 1]`` (int32)."""
        self._bounds.append(bounds)  # to be kept
        begin = len(self.arguments) * self.arguments.itemsize
        wait = int(waits or not self.own)
        self.operations.extend((kernel.address(self.dtype), begin, bounds.ctypes.data, wait))
        for argument in arguments:
            if isinstance(argument, At):
                self.holes.extend((len(self.arguments), *argument))
            self.arguments.append(0 if isinstance(argument, At) else argument)
        # addresses and numbers of both, which compiled code takes
        self.listed = self.operations.buffer_info()[0], len(self.operations) // OPERATION
        self.missing = self.holes.buffer_info()[0], len(self.holes) // HOLE

    def run(self, arrays: Iterable[int] = ()) -> None:
        """Do it with arrays at these addresses."""
        if not self.operations:
            return
        # everything here is plain: after a kernel has filled the cache, each library's function takes its time
        addresses = array("q", arrays)
        arguments = self.arguments[:]  # the same program may be running in another thread
        known = *self.listed, arguments.buffer_info()[0], *self.missing
        run("perform", self.dtype, self.threads, *known, addresses.buffer_info()[0])

    def even(self, items: int) -> Int32s:
        """Return bounds of equal shares of ``items``."""
        return even_bounds(items, self.threads)

    def by_tile(self, items: int) -> Int32s:
        """Return bounds of each thread's share where every tile has ``items`` items, its own tiles if it has any."""
        return _tile_bounds(self.tiles, items, self.threads) if self.own else self.even(self.tiles * items)

    def by_row(self, table: Table) -> Int32s:
        """Return bounds of each thread's share of the rows of all tiles and positions: its own tiles if any.

        Else rows of a single position are shared out by their nonzeros, or whole positions are.
        """
        if self.own:
            return _tile_bounds(self.tiles, table.positions * table.rows, self.threads)
        if table.positions == 1:
            return balanced_bounds(np.tile(table.nonzeros_by_row, self.tiles), self.threads)
        return _tile_bounds(self.tiles * table.positions, table.rows, self.threads)

    def by_nonzero(self, table: Table) -> Int32s:
        """Return bounds of shares of a single position's rows with about as many nonzeros each."""
        return balanced_bounds(table.nonzeros_by_row, self.threads)


@cache
def _tile_bounds(tiles: int, items: int, threads: int) -> Int32s:
    """Return bounds of shares of whole tiles, of ``items`` each."""
    return even_bounds(tiles, threads) * np.int32(items)
