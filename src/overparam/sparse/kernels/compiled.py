"""Compiling kernels once per machine, keeping them in the user's cache folder, running them on several threads."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from numba import types
from numba.core import config

from overparam.folders import CACHE, writable_cache_folder

settings: Any = config  # it sets its attributes from the environment
Int32s = npt.NDArray[np.int32]

FLAGS: dict[str, Any] = {"boundscheck": False, "error_model": "numpy", "nogil": True}
KINDS = {torch.float32: np.float32(0), torch.float64: np.float64(0)}
SCALARS = {torch.float32: types.float32, torch.float64: types.float64}
LOCK_SECONDS = 300  # far more than all kernels take; a lock held longer belongs to a process that hangs

POOL = threading.Lock()
"""Held by whoever uses numba's threads, which serve one caller at a time."""


@cache
def kernel_folder() -> Path:
    """Return where compiled kernels are kept: one folder for each version of their source and of what compiles it.

    Numba notices a changed kernel but not a change in what a kernel calls, hence the sources of all that is compiled.
    """
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for package in ("numba", "llvmlite", "numpy"):
        digest.update(f"{package} {version(package)}".encode())
    digest.update(sys.version.encode())
    digest.update(f"{settings.CPU_NAME} {settings.CPU_FEATURES} {_processor()}".encode())
    return writable_cache_folder() / "kernels" / digest.hexdigest()[:16]


@contextlib.contextmanager
def _cached_here() -> Iterator[bool]:
    """Let functions that are declared inside use our cache folder, if there is one; numba reads the setting then."""
    before = settings.CACHE_DIR
    try:
        kernel_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _do_without_cache(error)
    settings.CACHE_DIR = str(kernel_folder())
    try:
        yield not _without_cache
    finally:
        settings.CACHE_DIR = before


_without_cache: list[OSError] = []  # why kernels are kept in memory alone; empty as long as the cache takes them


def _do_without_cache(error: OSError) -> None:
    if not _without_cache:
        print(
            f"overparam: cannot write to {kernel_folder()} ({error.strerror or error}); kernels are compiled for this "
            f"process alone (set {CACHE} to choose another folder)",
            file=sys.stderr,
            flush=True,
        )
    _without_cache.append(error)


def serial(function: Callable[..., Any], **options: Any) -> Any:
    """Declare a function that is called from Python: ``(kind, *integers)``, on one thread."""
    with _cached_here() as cached:
        return numba.njit(cache=cached, **options, **FLAGS)(function)


def parallel(function: Callable[..., Any]) -> Any:
    """Declare a function that is called from Python: ``(kind, *integers)``, with ``prange`` on several threads."""
    return serial(function, parallel=True)


def inner(function: Callable[..., Any]) -> Any:
    """Declare a part of kernels, compiled with whatever calls it."""
    return numba.njit(**FLAGS)(function)


class Kernel:
    """A loop over items, such as the rows of an output: ``(kind, part, lo, hi, arguments)`` does ``lo`` to ``hi``.

    ``kind`` is a number of the type that is computed with, ``part`` the number of the thread, ``arguments`` the address
    of an array of int64: sizes, and addresses of arrays. It is compiled when it is first needed for a type of numbers,
    or comes from the cache of this machine, and it is compiled on its own: compiled code calls it by its address, see
    :class:`~overparam.sparse.kernels.program.Program`.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.python = function
        self.__doc__ = function.__doc__
        self._addresses: dict[torch.dtype, int] = {}

    def address(self, dtype: torch.dtype) -> int:
        """Return where the compiled function is: ``void (kind, int64 part, int64 lo, int64 hi, int64 arguments)``."""
        if dtype not in self._addresses:
            name = f"{self.python.__name__}-{SCALARS[dtype]}"
            self._addresses[dtype] = int(compile_once(name, lambda: self._compile(SCALARS[dtype])).address)
        return self._addresses[dtype]

    def _compile(self, scalar: Any) -> Any:
        with _cached_here() as cached:
            signature = types.void(scalar, *[types.int64] * 4)
            options: dict[str, Any] = {"boundscheck": False, "error_model": "numpy"}
            return numba.cfunc(signature, cache=cached, **options)(self.python)


def use_threads(threads: int) -> None:
    """Let numba's pool, with :data:`POOL` held, work with so many threads, or all it has; told only what is new."""
    if getattr(_told, "threads", None) != threads:
        with torch_threads_kept():
            numba.set_num_threads(min(threads, settings.NUMBA_NUM_THREADS))
        _told.threads = threads


@contextlib.contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Keep torch's number of threads while numba may start its own: with OpenMP that sets the number for both."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


_told = threading.local()


def compiled_for(dispatcher: Any, dtype: torch.dtype) -> Any:
    """Return a function that :func:`serial` or :func:`parallel` declared, compiled for a type of numbers."""
    integers = len(inspect.signature(dispatcher.py_func).parameters) - 1

    def compile() -> None:
        if _without_cache:
            dispatcher._cache.disable()
        dispatcher.compile((SCALARS[dtype], *[types.int64] * integers))

    with torch_threads_kept():  # compiling what runs on several threads starts them
        compile_once(f"{dispatcher.__name__}-{SCALARS[dtype]}", compile)
    return dispatcher


def compile_once(name: str, compile: Callable[[], Any]) -> Any:
    """Return what ``compile`` returns, called while no other process compiles; tell the user if it takes a while.

    A cache that is full, or that another process holds without end, costs time and nothing else: then each process
    compiles for itself. ``compile`` is then called again, and must work without a cache.
    """
    try:
        return _compile_alone(name, compile)
    except OSError as error:
        _do_without_cache(error)
        return compile()


def _compile_alone(name: str, compile: Callable[[], Any]) -> Any:
    folder = kernel_folder()
    mark = folder / f"{name}.compiled"
    if mark.exists() or _without_cache:  # what is in numba's cache can be loaded by many at once
        return compile()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "compiling.lock", timeout=LOCK_SECONDS):
        if not mark.exists():
            _announce()
        compiled = compile()
        mark.touch()
    return compiled


@cache
def _announce() -> None:
    print("overparam: compiling kernels for this machine (once, a few seconds)", file=sys.stderr, flush=True)


def _processor() -> str:
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know every system; numba then compiles for the processor's name alone
        features = ""
    return f"{binding.get_host_cpu_name()} {features}"


@cache
def even_bounds(items: int, parts: int) -> Int32s:
    """Return the int32 bounds of ``parts`` shares of ``items``, as equal as can be."""
    return np.linspace(0, items, parts + 1).astype(np.int32)


def balanced_bounds(weights: Int32s, parts: int) -> Int32s:
    """Return bounds of ``parts`` shares of neighbouring items with about the same sum of ``weights``."""
    sums = np.concatenate([[0], np.cumsum(weights)])
    marks = np.searchsorted(sums, np.linspace(0, sums[-1], parts + 1)[1:-1])
    return np.concatenate([[0], marks, [len(weights)]]).astype(np.int32)


def processor_threads() -> int:
    """Return how many threads numba may start here."""
    return int(settings.NUMBA_NUM_THREADS) or os.cpu_count() or 1
