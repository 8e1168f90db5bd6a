"""Sparse layers as an operation of torch's autograd: one layer, or a chain of them as one.

Autograd's own work for an operation takes as long as a sparse layer may; so layers that follow each other, with nothing
but ReLUs between them, are one operation, and each pass through it is one call of compiled code.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from overparam.sparse.chain import Borders, Chain, Scratch
from overparam.sparse.layout import tile_width
from overparam.sparse.structure import Structure

DTYPES = (torch.float32, torch.float64)
KEPT_SCRATCH = 2**26  # bytes
LAST, FIRST = Borders(), Borders(True, True)
KEPT_CHAINS = 16  # that begin with a structure, or have it among them
WORK = 400_000  # multiply-adds of a pass that are worth a further thread: starting it takes about 20 us

_thread = threading.local()  # its scratch memory
_changing = threading.Lock()  # held while the chains of structures change


class Link(NamedTuple):
    """A layer of a chain.

    Attributes:
        structure: where its nonzeros are.
        values: (nonzeros,) in the order of the dense weight.
        bias: one number for each output row, or None.
        relu: whether its outputs go through a ReLU.
    """

    structure: Structure
    values: Tensor
    bias: Tensor | None
    relu: bool = False


def sparse_chain(inputs: Tensor, links: Sequence[Link], borders: Borders = LAST) -> Tensor:
    """Return the output of layers one after another.

    Gradients of the inputs, values and biases are computed at a cost of order nonzeros times places times batch.
    """
    both = [each for link in links for each in (link.values, link.bias)]
    numbers = [None if each is None else each.contiguous() for each in both]
    given = [inputs, *(each for each in numbers if each is not None)]
    kept = torch.is_grad_enabled() and any(each.requires_grad for each in given)
    out: Tensor = _SparseChain.apply(inputs, _chain(inputs, links, borders, kept), *numbers)  # type: ignore[no-untyped-call]
    return out


def _chain(inputs: Tensor, links: Sequence[Link], borders: Borders, kept: bool) -> Chain:
    """Return the programs for such inputs, made before if these came before."""
    structures = tuple([link.structure for link in links])
    relus = tuple([link.relu for link in links])
    biases = tuple([link.bias is not None for link in links])
    threads = torch.get_num_threads()
    key = structures, relus, biases, borders, inputs.dtype, len(inputs), inputs.shape[-1], threads, kept
    found: Chain | None = structures[0].chains.get(key)
    if found is None:
        tiles, width = len(inputs), inputs.shape[-1]
        batch = tiles if borders.inputs else tiles * width
        work = batch * sum(structure.size * structure.places for structure in structures)
        used = min(threads, 1 + work // WORK)
        if borders.inputs:
            used, width = _shared_out(batch, inputs.element_size(), used, None if borders.outputs else threads)
            tiles = batch // width
        found = Chain(structures, relus, biases, borders, inputs.dtype, tiles, width, used, kept)
        with _changing:
            while len(structures[0].chains) >= KEPT_CHAINS:
                _forget(next(iter(structures[0].chains)), structures[0])
            for structure in structures:
                structure.chains[key] = found
    return found


def _shared_out(batch: int, itemsize: int, threads: int, within: int | None) -> tuple[int, int]:
    """Return how many threads to use, and the width of tiles.

    A few threads less are better if each has tiles of its own. Where tiles go on to other operations, these count on
    the width for ``within`` threads.
    """
    if within is not None:
        return threads, tile_width(batch, itemsize, within)
    for used in range(threads, threads // 2, -1):
        width = tile_width(batch, itemsize, used)
        if batch // width % used == 0:
            return used, width
    return threads, tile_width(batch, itemsize, threads)


def forget_chains(structure: Structure) -> None:
    """Drop all programs that a structure is part of: it is not used any more."""
    with _changing:
        for key in list(structure.chains):
            _forget(key, structure)


def _forget(key: Any, structure: Structure) -> None:
    chain: Chain = structure.chains[key]
    for each in chain.structures:
        each.chains.pop(key, None)


class _SparseChain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, chain: Chain, *numbers: Tensor | None) -> Tensor:
        inputs = inputs.contiguous()
        kept = inputs.new_empty(chain.kept_bytes // inputs.element_size())
        result = inputs.new_empty(chain.result)
        program, sizes = chain.forward
        scratch, places = _scratch(sizes)
        program.run([*_addresses(inputs, result, kept, None, None), *places, *_addresses(*numbers)])
        del scratch
        if chain.kept:
            ctx.chain = chain
            # nothing but what the way back reads: the rest may be changed in place meanwhile
            needs = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
            gate = result if chain.relus[-1] and not chain.borders.outputs else None
            values = zip(numbers[::2], chain.values_needed(needs), strict=True)
            ctx.save_for_backward(
                inputs if any(needs[1:3]) else None, gate, kept, *(each if needed else None for each, needed in values)
            )
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, errors: Tensor) -> tuple[Any, ...]:
        chain: Chain = ctx.chain
        if not all(structure.current for structure in chain.structures):
            raise RuntimeError(
                "the nonzeros of a sparse layer were replaced between its forward and its backward; "
                "call drop, grow and rewire after backward"
            )
        inputs, gate, kept, *values = ctx.saved_tensors
        numbers = [each for pair in zip(values, repeat(None)) for each in pair]  # no bias is read
        needs = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
        errors = errors.contiguous()
        program, sizes = chain.backward(needs)
        scratch, places = _scratch(sizes)
        to_inputs = errors.new_empty(chain.inputs) if needs[0] else None
        # one piece of memory for all gradients: each new tensor takes its time
        found = errors.new_empty(sum(chain.sizes)).split_with_sizes(chain.sizes)
        given = _addresses(inputs, gate, kept, errors, to_inputs)
        program.run([*given, *places, *_addresses(*numbers, *found)])
        del scratch
        return to_inputs, None, *[each if need else None for each, need in zip(found, needs[1:], strict=True)]


def _addresses(*arrays: Tensor | None) -> list[int]:
    return [0 if each is None else each.data_ptr() for each in arrays]


def _scratch(sizes: Scratch) -> tuple[Tensor, list[int]]:
    """Return memory of so many bytes each, and where it begins.

    What one call needs stays for the next one in this thread, unless it is large: it is in the cache then, and an
    allocator that gets it back each time is left with holes.
    """
    size = sum(sizes)
    memory: Tensor | None = getattr(_thread, "memory", None)
    if memory is None or len(memory) < size:
        memory = torch.empty(size, dtype=torch.uint8, device="cpu")
        if size <= KEPT_SCRATCH:
            _thread.memory = memory
    start = memory.data_ptr()
    return memory, [start, start + sizes[0], start + sum(sizes[:2]), start + sum(sizes[:3])]
