"""What ``overparam doctor`` tells: the machine, and which layers are faster sparse on it."""

from __future__ import annotations

import os
import platform
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from overparam.errors import StoreError
from overparam.folders import CACHE, cache_folder, writable_cache_folder
from overparam.machine import available_cores, machine_facts

if TYPE_CHECKING:
    from overparam.sparse.calibration import Shape, Times

WIDTH = 80  # of lines
DENSITIES = (0.1, 0.02)  # that times are shown at

Tell = Callable[[str], None]


def general_facts() -> list[tuple[str, str]]:
    """Return names and values of what the machine and the installed versions are."""
    import torch

    facts = machine_facts()
    bits = vector_bits()
    return [
        *((name, facts[name]) for name in ("overparam", "torch", "numba", "python", "system", "processor")),
        ("vectors", f"{bits} bits" if bits else "of unknown width"),
        ("cores", f"{available_cores()} usable"),
        ("threads", f"{torch.get_num_threads()} (torch's; sparse kernels take as many)"),
    ]


def vector_bits() -> int | None:
    """Return the width of the processor's vector registers in bits; None if it is not known."""
    from llvmlite import binding

    try:
        features: Mapping[str, bool] = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know every system
        features = {}
    return vector_bits_of(features, platform.machine())


def vector_bits_of(features: Mapping[str, bool], machine: str) -> int | None:
    """Return the width that a processor with these features has, as LLVM names them."""
    widths = {"avx512f": 512, "avx": 256, "neon": 128, "sse2": 128}
    known = [bits for name, bits in widths.items() if features.get(name)]
    if not known and machine.lower() in ("arm64", "aarch64"):
        return 128  # which all of them have
    return max(known, default=None)


def threads_sentence() -> str:
    """Return how threads are shared between torch and the sparse kernels."""
    import numba
    import torch

    from overparam.sparse.compiled import processor_threads, torch_threads_kept

    wanted, most = torch.get_num_threads(), processor_threads()
    own: Any = numba  # whose names mypy does not know
    with torch_threads_kept():
        own.get_num_threads()  # starts them: until then the threading layer is not decided
    layer = own.threading_layer()
    limit = (
        f" Numba may start only {most} here, so kernels use no more: raise NUMBA_NUM_THREADS." if most < wanted else ""
    )
    return (
        f"Sparse kernels run on numba's own threads (threading layer {layer}), as many as torch.get_num_threads() "
        f"says, now {wanted}; torch's threads wait meanwhile.{limit} A study's jobs share the cores: --jobs and "
        "--threads of overparam run set how many threads each has."
    )


def kernel_lines() -> list[tuple[str, str]]:
    """Return where the cache is, and what of the kernels is compiled in it."""
    from overparam.sparse.compiled import kernel_folder

    folder = kernel_folder()
    names = sorted({path.name.split(".")[0] for path in folder.glob("*.compiled")})
    kinds = [kind for kind in ("float32", "float64") if any(name.endswith(kind) for name in names)]
    kernels = (
        f"{len(names)} compiled, for {' and '.join(kinds)}; others when they are first used"
        if names
        else "none compiled yet; they are when first used, once, in some seconds"
    )
    used = writable_cache_folder()
    if used != cache_folder():
        where = f"{CACHE} sets another; {cache_folder()} cannot be written"
    else:
        where = f"set by {CACHE}" if os.environ.get(CACHE) else f"{CACHE} sets another"
    return [("cache", f"{used} ({where})"), ("kernels", kernels), ("", f"in {folder}")]


def default_shapes() -> list[Shape]:
    """Return the shapes of layers that are measured unless others are asked for, at torch's number of threads."""
    import torch

    from overparam.sparse.calibration import Shape

    def padded(size: int) -> tuple[tuple[int, ...], ...]:
        return ((size, 3, 1, 1, 1, 1),) * 2

    kinds: list[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]] = [
        ((300, 784), ()),
        ((1024, 1024), ()),
        ((64, 64, 3, 3), padded(16)),
        ((128, 128, 3, 3), padded(8)),
    ]
    return [Shape(weight, axes, 1, 128, torch.get_num_threads(), "float32") for weight, axes in kinds]


def measure(shapes: Iterable[Shape], tell: Tell) -> None:
    """Measure the shapes that are not known yet, and keep their times.

    Raises :class:`StoreError` if another process measures without end.
    """
    from filelock import Timeout

    from overparam.sparse.calibration import known_times, measured

    known = known_times()
    for shape in shapes:
        if shape.key in known:
            tell(f"known already: {layer_name(shape.key)}")
            continue
        tell(f"measuring {layer_name(shape.key)} ...")
        try:
            measured(shape)
        except Timeout:  # an OSError, too
            raise StoreError(
                "another process has been measuring or compiling for minutes; wait until it is done"
            ) from None


KEY = re.compile(r"(?P<weight>[\dx]+) (?P<axes>\S+) g(?P<groups>\d+) b(?P<batch>\d+) t(?P<threads>\d+) (?P<dtype>\w+)")


def layer_name(key: str) -> str:
    """Return the layer of a :class:`~overparam.sparse.calibration.Shape`'s text as people write it.

    >>> layer_name("300x784 linear g1 b128 t1 float32")
    '784->300'
    >>> layer_name("64x16x3x3 32,3,2,1,1,1;32,3,2,1,1,1 g2 b128 t1 float64")
    '32->64 3x3/2 g2 on 32x32, f64'
    """
    found = KEY.fullmatch(key)
    if found is None:
        return key
    outputs, inputs, *kernel = found["weight"].split("x")
    groups = int(found["groups"])
    name = f"{int(inputs) * groups}->{outputs}"
    if kernel:
        axes = [axis.split(",") for axis in found["axes"].split(";")]
        strides = list(dict.fromkeys(axis[2] for axis in axes))
        name += f" {'x'.join(kernel)}" + (f"/{'x'.join(strides)}" if strides != ["1"] else "")
        name += (f" g{groups}" if groups > 1 else "") + f" on {'x'.join(axis[0] for axis in axes)}"
    return name + (", f64" if found["dtype"] == "float64" else "")


def _density(found: float) -> str:
    if found == 1:
        return "always"
    return f"{found:.2f}" if found >= 0.1 else (f"{found:.3f}" if found >= 0.0005 else "never")


def times_table(known: Mapping[str, Times]) -> list[str]:
    """Return the lines of a table of layers: their times in ms, and the densities below which sparse is faster."""
    columns = "{:<24} {:>5} {:>3}  {:>7} {:>7} {:>7}  {:>8} {:>8}"
    low = [f"at {density:g}" for density in DENSITIES]
    lines = [
        columns.format("layer", "batch", "thr", "dense", *low, "network", "compiled"),
        "-" * len(columns.format(*[""] * 8)),
    ]
    order: list[tuple[tuple[int, ...], str, list[str]]] = []
    for key, times in known.items():
        parts = KEY.fullmatch(key)
        batch, threads = (int(parts["batch"]), int(parts["threads"])) if parts else (0, 0)
        compiled = times.compiled_crossover
        row = [
            str(batch),
            str(threads),
            _milliseconds(times.dense),
            *(_milliseconds(max(times.sparse(density), 0.0)) for density in DENSITIES),
            _density(times.crossover),
            "-" if compiled is None else _density(compiled),
        ]
        order.append(((key.count("x"), threads, batch), layer_name(key), row))
    for _, name, row in sorted(order):
        if len(name) > 24:  # a line of its own
            lines.append(name)
            name = ""
        lines.append(columns.format(name, *row).rstrip())
    return lines


def _milliseconds(microseconds: float) -> str:
    found = microseconds / 1000
    return f"{found:.2f}" if found < 1000 else f"{found:.0f}"


def wrapped(text: str, name: str = "", indent: int = 0) -> list[str]:
    """Return a paragraph in lines of the page's width, with ``name`` in the margin; paths are not broken."""
    margin = " " * indent
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{name:<{indent}}",
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


def listed(facts: Iterable[tuple[str, str]]) -> list[str]:
    """Return facts as lines, their values below one another."""
    return [line for name, value in facts for line in wrapped(value, name, 11)]


def doctor(tell: Tell, heading: Tell, measuring: bool, threads: int | None = None) -> None:
    """Tell everything, line by line; with ``measuring`` after having measured the default shapes.

    With ``threads``, which torch is set to by the caller, only what was measured with so many is shown.

    Raises :class:`StoreError` if the cache folder cannot be written, or another process measures without end.
    """
    heading("This machine")
    for line in listed(general_facts()):
        tell(line)
    try:
        _sparse_part(tell, heading, measuring, threads)
    except OSError as error:
        folder = str(writable_cache_folder())
        raise StoreError(
            f"the cache folder {folder!r} cannot be used ({error.strerror}), but sparse kernels are kept there; "
            f"set {CACHE} to a folder that can be written"
        ) from None


def _sparse_part(tell: Tell, heading: Tell, measuring: bool, threads: int | None) -> None:
    from overparam.sparse.calibration import known_times

    heading("\nSparse kernels")
    for line in [*listed(kernel_lines()), "", *wrapped(threads_sentence())]:
        tell(line)
    heading("\nDense or sparse: one training step of a layer, in ms")
    if measuring:
        measure(default_shapes(), lambda line: print(line, file=sys.stderr, flush=True))
    known = known_times()
    if threads is not None:
        known = {key: times for key, times in known.items() if f" t{threads} " in key}
    if not known:
        asked = "" if threads is None else f" --threads {threads}"
        nothing = (
            f"Nothing is measured yet{' with that many threads' * bool(asked)}. Studies measure their layers when they "
            f"need to; overparam doctor --measure{asked} measures some usual ones now, in about a minute."
        )
        for line in wrapped(nothing):
            tell(line)
        return
    for line in times_table(known):
        tell(line)
    tell("")
    explained = (
        "dense: torch's layer, forward and both gradients. at 0.1, at 0.02: the sparse layer at these densities. "
        "network, compiled: density below which sparse is faster, in a converted network and in the compiled epochs "
        "of perceptrons (there against a compiled dense layer)."
    )
    for line in wrapped(explained):
        tell(line)
