"""Sparse layers as an operation of torch's autograd: one layer, or several in a row as one.

Autograd's own work for an operation takes as long as a sparse layer may; so layers that follow each other, with nothing
but ReLUs between them, are one operation, and each pass through it is one call of compiled code.

What kernels do not compute, second derivatives and whatever is traced, is left to torch's own operations.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import accumulate, repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor

from overparam.errors import SpecError
from overparam.sparse.kernels.structure import Structure
from overparam.sparse.layers.fused import Borders, FusedPrograms, Scratch
from overparam.sparse.layers.layout import TILE, tile_width, viewed
from overparam.sparse.layers.reference import layer_product
from overparam.sparse.layers.tracing import is_differentiated, is_traced

DTYPES = (torch.float32, torch.float64)
AUTOCAST = (torch.float32, torch.bfloat16, torch.float16)
KEPT_SCRATCH = 2**26  # bytes
LAST, FIRST = Borders(), Borders(True, True)
KEPT_PROGRAMS = 256  # that begin with a structure, or have it among them: some kilobytes each, for as many batch sizes
WORK = 400_000  # multiply-adds of a pass that are worth a further thread: starting it takes about 20 us

_thread = threading.local()  # its scratch memory
_changing = threading.Lock()  # held while the programs of structures change


class Link(NamedTuple):
    """A layer in a row of them."""

    structure: Structure
    values: Tensor  # in the order of the dense weight
    bias: Tensor | None  # one number for each output row
    relu: bool = False  # whether its outputs go through a ReLU


def fused_layers(inputs: Tensor, links: Sequence[Link], borders: Borders = LAST) -> Tensor:
    """Return the output of layers one after another.

    Gradients of the inputs, values and biases are computed at a cost of order nonzeros times places times batch. Under
    torch.autocast it is computed in float32, and returned in the dtype that a dense layer's output has there.

    Raises :class:`SpecError` unless inputs and values are of one dtype that there are kernels for, on the CPU.
    """
    if torch.is_autocast_enabled("cpu") and links[0].values.dtype == torch.float32 and inputs.dtype in AUTOCAST:
        with torch.autocast("cpu", enabled=False):
            return fused_layers(inputs.float(), links, borders).to(torch.get_autocast_dtype("cpu"))
    _check(inputs, links)
    if is_traced():
        return _traced_layers(inputs, links, borders)
    if borders == FIRST and tile_width(len(inputs), inputs.element_size()) > TILE:
        whole = len(inputs) // TILE * TILE  # a batch that cannot be cut evenly: tiles, and what is left
        return torch.cat([fused_layers(part, links, borders) for part in (inputs[:whole], inputs[whole:])])
    inputs = inputs.contiguous()  # here, so that second derivatives find the inputs themselves
    both = [each for link in links for each in (link.values, link.bias)]
    numbers = [None if each is None else each.contiguous() for each in both]
    given = [inputs, *(each for each in numbers if each is not None)]
    kept = torch.is_grad_enabled() and any(each.requires_grad for each in given)
    out: Tensor = _FusedLayers.apply(inputs, _programs(inputs, links, borders, kept), *numbers)  # type: ignore[no-untyped-call]
    return out


def _check(inputs: Tensor, links: Sequence[Link]) -> None:
    for link in links:
        dtype, device = link.values.dtype, link.values.device
        if dtype not in DTYPES or device.type != "cpu":
            remedy = "convert it with .float() or .cpu() (from meta: .to_empty(device='cpu')), or take its to_dense()"
            one = f"this one is in {dtype} on {device}"
            raise SpecError(f"a sparse layer computes in float32 or float64 on the CPU, but {one}; {remedy}")
        if inputs.dtype != dtype or inputs.device.type != "cpu":
            got = f"{inputs.dtype} on {inputs.device}"
            raise SpecError(f"inputs must be {dtype} on the CPU, as the layer is, got {got}")


def _traced_layers(inputs: Tensor, links: Sequence[Link], borders: Borders) -> Tensor:
    """Do as :func:`fused_layers` with torch's own operations, differentiable as often as one likes."""
    found = inputs if borders.inputs else viewed(inputs)
    for link in links:
        found = layer_product(link.structure, found, link.values, link.bias)
        found = found.relu() if link.relu else found
    if borders.outputs:
        return found
    tiled = tile_width(len(inputs), inputs.element_size(), torch.get_num_threads()) if borders.inputs else None
    return viewed(found, tiled or inputs.shape[-1])


def _programs(inputs: Tensor, links: Sequence[Link], borders: Borders, kept: bool) -> FusedPrograms:
    """Return the programs for such inputs, made before if these came before."""
    structures = tuple([link.structure for link in links])
    relus = tuple([link.relu for link in links])
    biases = tuple([link.bias is not None for link in links])
    threads, tiles, width = torch.get_num_threads(), len(inputs), inputs.shape[-1]
    key = structures, relus, biases, borders, inputs.dtype, tiles, width, threads, kept
    found: FusedPrograms | None = structures[0].programs.get(key)
    if found is None:
        batch = tiles if borders.inputs else tiles * width
        work = batch * sum(structure.size * structure.positions for structure in structures)
        used = min(threads, 1 + work // WORK)
        if borders.inputs:
            used, width = _shared_out(batch, inputs.element_size(), used, None if borders.outputs else threads)
            tiles = batch // width
        found = FusedPrograms(structures, relus, biases, borders, inputs.dtype, tiles, width, used, kept)
        with _changing:
            while len(structures[0].programs) >= KEPT_PROGRAMS:
                _forget(next(iter(structures[0].programs)), structures[0])
            for structure in structures:
                structure.programs[key] = found
    return found


def _shared_out(batch: int, itemsize: int, threads: int, within: int | None) -> tuple[int, int]:
    """Return how many threads to use, and the width of tiles.

    A few threads less are better if each has tiles of its own. Where tiles go on to other operations, these count on
    the width for ``within`` threads.
    """
    if within is not None:
        return threads, tile_width(batch, itemsize, within)
    ways = [(used, tile_width(batch, itemsize, used)) for used in range(threads, threads // 2, -1)]
    return next((way for way in ways if batch // way[1] % way[0] == 0), ways[0])


def forget_programs(structure: Structure) -> None:
    """Drop all programs that a structure is part of: it is not used any more."""
    with _changing:
        for key in list(structure.programs):
            _forget(key, structure)


def _forget(key: Any, structure: Structure) -> None:
    programs: FusedPrograms = structure.programs[key]
    for each in programs.structures:
        each.programs.pop(key, None)


class _FusedLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, programs: FusedPrograms, *numbers: Tensor | None) -> Tensor:
        kept = inputs.new_empty(programs.kept_bytes // inputs.element_size())
        result = inputs.new_empty(programs.result)
        program, sizes = programs.forward
        scratch, places = _scratch(sizes)
        program.run([*_addresses(inputs, result, kept, None, None), *places, *_addresses(*numbers)])
        del scratch
        if programs.kept:
            ctx.programs = programs
            # only second derivatives read them
            ctx.numbers, ctx.versions = numbers, [None if each is None else each._version for each in numbers]
            # nothing but what the way back reads: the rest may be changed in place meanwhile
            needs = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
            gate = result if programs.relus[-1] and not programs.borders.outputs else None
            values = zip(numbers[::2], programs.values_needed(needs), strict=True)
            ctx.save_for_backward(
                inputs if any(needs[1:]) or any(programs.relus) else None,
                gate,
                kept,
                *(each if needed else None for each, needed in values),
            )
        return result

    @staticmethod
    def backward(ctx: Any, errors: Tensor) -> tuple[Any, ...]:
        programs: FusedPrograms = ctx.programs
        if not all(structure.current for structure in programs.structures):
            raise RuntimeError(
                "the nonzeros of a sparse layer were replaced between its forward and its backward; "
                "call drop, grow and rewire after backward"
            )
        if is_differentiated(errors):
            return _differentiable_gradients(ctx, errors)
        inputs, gate, kept, *values = ctx.saved_tensors
        numbers = [each for pair in zip(values, repeat(None)) for each in pair]  # no bias is read
        needs = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
        errors = errors.contiguous()
        program, sizes = programs.backward(needs)
        scratch, places = _scratch(sizes)
        to_inputs = errors.new_empty(programs.inputs) if needs[0] else None
        # one piece of memory for all gradients: each new tensor takes its time
        found = errors.new_empty(sum(programs.sizes)).split_with_sizes(programs.sizes)
        given = _addresses(inputs, gate, kept, errors, to_inputs)
        program.run([*given, *places, *_addresses(*numbers, *found)])
        del scratch
        gradients: list[Tensor | None] = [each if need else None for each, need in zip(found, needs[1:], strict=True)]
        for place in range(0, len(gradients), 2):
            if needs[1 + place]:
                gradients[place] = found[place].view(ctx.numbers[place].shape)
        return to_inputs, None, *gradients


def _differentiable_gradients(ctx: Any, errors: Tensor) -> tuple[Tensor | None, ...]:
    """Return what the backward returns, with a graph: a gradient penalty goes through it."""
    programs: FusedPrograms = ctx.programs
    if ctx.versions != [None if each is None else each._version for each in ctx.numbers]:
        raise RuntimeError(
            "the values or bias of a sparse layer were changed in place between its forward and a backward with "
            "create_graph=True, which needs them as they were"
        )
    inputs = ctx.saved_tensors[0]  # None where the gradient does not depend on them
    given = [errors.new_zeros(programs.inputs) if inputs is None else inputs, *ctx.numbers]
    wanted = [place for place, need in enumerate((ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])) if need]

    def outputs(*tensors: Tensor) -> Tensor:
        now = dict(enumerate(given)) | dict(zip(wanted, tensors, strict=True))
        each = range(len(programs.structures))
        links = [Link(programs.structures[k], now[2 * k + 1], now[2 * k + 2], programs.relus[k]) for k in each]
        return _traced_layers(now[0], links, programs.borders)

    with torch.autocast("cpu", enabled=False):
        pull = torch.func.vjp(outputs, *[given[place] for place in wanted])[1]
        found = dict(zip(wanted, pull(errors), strict=True))
    to_inputs, *rest = [found.get(place) for place in range(len(given))]
    return to_inputs, None, *rest


def _addresses(*arrays: Tensor | None) -> list[int]:
    return [0 if each is None else each.data_ptr() for each in arrays]


def _scratch(sizes: Scratch) -> tuple[Tensor, list[int]]:
    """Return memory of so many bytes each, and where each begins.

    What one call needs stays for the next one in this thread, unless it is large: it is in the cache then, and an
    allocator that gets it back each time is left with holes.
    """
    *starts, size = accumulate(sizes.values(), initial=0)
    memory: Tensor | None = getattr(_thread, "memory", None)
    if memory is None or len(memory) < size:
        memory = torch.empty(size, dtype=torch.uint8, device="cpu")
        if size <= KEPT_SCRATCH:
            _thread.memory = memory
    begin = memory.data_ptr()
    return memory, [begin + start for start in starts]
