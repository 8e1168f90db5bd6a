"""What ``overparam doctor`` tells: the machine, its kernels, and which layers are sparse by default."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from overparam.errors import StoreError
from overparam.folders import CACHE, cache_folder, writable_cache_folder
from overparam.machine import available_cores, machine_facts

WIDTH = 80  # of lines

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
    import torch

    from overparam.sparse.kernels.compiled import processor_threads

    wanted = torch.get_num_threads()
    if wanted == 1:
        return "Sparse kernels run on one thread, as torch does: numba starts none of its own. " + SHARED
    most = processor_threads()
    limit = (
        f" Numba may start only {most} here, so kernels use no more: raise NUMBA_NUM_THREADS." if most < wanted else ""
    )
    return (
        f"Sparse kernels run on numba's own threads (threading layer {_threading_layer()}), as many as "
        f"torch.get_num_threads() says, now {wanted}; torch's threads wait meanwhile.{limit} {SHARED}"
    )


SHARED = "A study's jobs share the cores: --jobs and --threads of overparam run set how many threads each has."


def _threading_layer() -> str:
    import numba

    from overparam.sparse.kernels.compiled import torch_threads_kept

    own: Any = numba  # whose names mypy does not know
    with torch_threads_kept():
        own.get_num_threads()  # starts them: until then the threading layer is not decided
    return str(own.threading_layer())


def kernel_lines() -> list[tuple[str, str]]:
    """Return where the cache is, and what of the kernels is compiled in it."""
    from overparam.sparse.kernels.compiled import kernel_folder

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


def limit_lines() -> list[tuple[str, str]]:
    """Return below which densities the default engine takes sparse layers, and how to set others."""
    from overparam.sparse.limits import VARIABLE, limits

    found = limits()
    set_here = f"set by {VARIABLE}={os.environ[VARIABLE]}" if os.environ.get(VARIABLE) else f"{VARIABLE} sets others"
    return [
        ("linear", f"below a density of {found.linear:g}, in converted networks"),
        ("conv", f"below {found.convolution:g}"),
        ("epochs", f"below {found.epochs:g}, linear layers of perceptrons in compiled epochs"),
        ("", f"({set_here}, as in {VARIABLE}=linear=0.3,convolution=0.2)"),
    ]


def facts() -> dict[str, Any]:
    """Return what :func:`doctor` tells as values, for programs; bits, cores and threads as numbers."""
    import torch

    from overparam.sparse.kernels.compiled import kernel_folder
    from overparam.sparse.limits import limits

    machine: dict[str, Any] = dict(machine_facts())
    return {
        "machine": {
            **machine,
            "cores": available_cores(),
            "vector_bits": vector_bits(),
            "threads": torch.get_num_threads(),
        },
        "sparse_kernels": {
            "cache": str(writable_cache_folder()),
            "folder": str(kernel_folder()),
            "compiled": sorted(path.stem for path in kernel_folder().glob("*.compiled")),
        },
        "sparse_below_density": asdict(limits()),
    }


def doctor(tell: Tell, heading: Tell) -> None:
    """Tell everything, line by line, for torch's present number of threads.

    Raises :class:`StoreError` if the cache folder cannot be used, :class:`SpecError` if limits are set to nonsense.
    """
    heading("This machine")
    for line in listed(general_facts()):
        tell(line)
    try:
        heading("\nSparse kernels")
        for line in [*listed(kernel_lines()), "", *wrapped(threads_sentence())]:
            tell(line)
    except OSError as error:
        folder = str(writable_cache_folder())
        raise StoreError(
            f"the cache folder {folder!r} cannot be used ({error.strerror}), but sparse kernels are kept there; "
            f"set {CACHE} to a folder that can be written"
        ) from None
    heading("\nThe engine auto: which layers are sparse")
    for line in listed(limit_lines()):
        tell(line)
