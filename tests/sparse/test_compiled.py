"""Compiling once per machine, and dividing work among threads."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sparse_cases import normal, same_bits, threads

from overparam.sparse.kernels.compiled import POOL, balanced_bounds, even_bounds, processor_threads, use_threads
from overparam.sparse.layers.layout import transposed

SCRIPT = """
import torch
from overparam.sparse.layers.layout import transposed
torch.set_num_threads(1)
tiles = transposed(torch.arange(12.0).reshape(4, 3), 4)
print(tiles.reshape(-1).tolist() == torch.arange(12.0).reshape(4, 3).T.reshape(-1).tolist())
"""


def test_two_processes_at_once_compile_into_one_empty_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "OVERPARAM_CACHE": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error::UserWarning", "-c", SCRIPT],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=280) for process in running]
    assert [out for out, _ in said] == ["True\n"] * 2
    assert [process.returncode for process in running] == [0, 0]
    notes = [line for _, errors in said for line in errors.splitlines()]
    assert notes, "the first use says that it takes a while"
    assert set(notes) == {"overparam: compiling kernels for this machine (once, a few seconds)"}
    after = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=280, check=True
    )
    assert (after.stdout, after.stderr) == ("True\n", ""), "what was compiled is found and nothing is said"


@given(st.integers(0, 1000), st.integers(1, 9))
def test_even_shares(items: int, parts: int) -> None:
    bounds = even_bounds(items, parts)
    assert bounds.dtype == np.int32
    assert (len(bounds), bounds[0], bounds[-1]) == (parts + 1, 0, items)
    shares = np.diff(bounds)
    assert shares.min() >= items // parts - 1
    assert shares.max() <= -(-items // parts) + 1


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 9))
def test_balanced_shares(weights: list[int], parts: int) -> None:
    bounds = balanced_bounds(np.array(weights, dtype=np.int32), parts)
    assert bounds.dtype == np.int32
    assert (len(bounds), bounds[0], bounds[-1]) == (parts + 1, 0, len(weights))
    assert (np.diff(bounds) >= 0).all()
    shares = [sum(weights[lo:hi]) for lo, hi in pairwise(bounds)]
    assert sum(shares) == sum(weights)
    assert max(shares) <= sum(weights) / parts + 2 * max(weights, default=0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_number_of_threads_is_torch_s_and_changes_no_bit(count: int) -> None:
    inputs = normal(64, 7, 3)
    with threads(1):
        expected = transposed(inputs, 16)
    with threads(count):
        assert same_bits(transposed(inputs, 16), expected)


def test_no_more_threads_than_there_are() -> None:
    with POOL:
        use_threads(10_000)
        assert numba.get_num_threads() == processor_threads()
        use_threads(1)
        assert numba.get_num_threads() == 1
    assert torch.get_num_threads() == 1
