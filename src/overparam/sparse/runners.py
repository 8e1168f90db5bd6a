"""What calls kernels: once, or on several threads with a share of the items each."""

from __future__ import annotations

from numba import prange

from overparam.sparse.compiled import parallel, serial
from overparam.sparse.lanes import call_kernel, integer


@serial
def run(kind, address, items, arguments):
    """Do all items of a kernel."""
    call_kernel(address, kind, 0, 0, items, arguments)


@parallel
def run_shared(kind, address, parts, bounds, arguments):
    """Do the items between two neighbouring ``bounds`` (int32) on each of ``parts`` threads."""
    for part in prange(parts):
        call_kernel(address, kind, part, integer(bounds, part), integer(bounds, part + 1), arguments)
