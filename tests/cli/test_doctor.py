"""What ``overparam doctor`` tells of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from overparam import doctor
from overparam.cli import app
from overparam.errors import SpecError
from overparam.sparse.kernels import compiled
from overparam.sparse.limits import VARIABLE, limits


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, with nothing known of another."""
    monkeypatch.setenv("OVERPARAM_CACHE", str(tmp_path))
    compiled.kernel_folder.cache_clear()
    yield tmp_path
    compiled.kernel_folder.cache_clear()


def fine(*args: str) -> Result:
    result = CliRunner().invoke(app, ["doctor", *args])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def narrow(text: str, path: Path) -> None:
    for line in text.split("\n"):
        assert len(line) <= 80 or str(path) in line, line  # a path is not broken
        assert line.isprintable(), line


def test_with_nothing_known(cache: Path) -> None:
    said = fine().stdout
    narrow(said, cache)
    assert said.startswith("This machine\noverparam  ")
    for name in ("torch", "numba", "python", "processor", "vectors", "cores", "threads"):
        assert f"\n{name:<11}" in said
    assert f"{torch.__version__}\n" in said
    assert f"{torch.get_num_threads()} (torch's; sparse kernels take as many)" in said
    assert f"{cache} (set by" in said.replace("\n" + " " * 11, " ")
    assert "none compiled yet" in said
    assert ("threading layer " in said) == (torch.get_num_threads() > 1)
    assert "\nlinear     below a density of 0.35, in converted networks\nconv       below 0.5\n" in said
    assert "\nepochs     below 0.45, " in said
    assert "OVERPARAM_SPARSE_BELOW sets others" in said


def test_limits_that_are_set_are_shown_and_wrong_ones_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "linear=0.3, epochs=1")
    said = fine().stdout
    assert "below a density of 0.3, " in said
    assert "conv       below 0.5\n" in said
    assert "epochs     below 1, " in said
    assert "set by OVERPARAM_SPARSE_BELOW=linear=0.3, epochs=1" in " ".join(said.split())
    for wrong, message in WRONG.items():
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(SpecError, match=message):
            limits()
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == 2
        assert "error: OVERPARAM_SPARSE_BELOW" in result.stderr


WRONG = {
    "liner=0.3": "must set linear, convolution, epochs, got 'liner'; did you mean 'linear'",
    "0.3": "must set linear, convolution, epochs, got '0.3'",
    "linear=1.5": "linear must be a density between 0 and 1, got '1.5'",
    "linear=much": "linear must be a density between 0 and 1, got 'much'",
    "epochs=nan": "epochs must be a density between 0 and 1, got 'nan'",
}


def test_one_thread_is_one_of_torch_s_and_of_numba_s() -> None:
    script = (
        "import sys, threading, torch\n"
        "from overparam import cli\n"
        "sys.argv[1:] = ['doctor', '--threads', sys.argv[1]]\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    from numba.np.ufunc import parallel\n"
        "    print('started', parallel._is_initialized, file=sys.stderr)\n"
    )
    for threads, started in ((1, False), (2, True)):
        done = subprocess.run([sys.executable, "-c", script, str(threads)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"threads    {threads} (torch's" in done.stdout
        assert ("Sparse kernels run on one thread" in done.stdout) == (threads == 1)
        assert f"started {started}" in done.stderr


def test_compiled_kernels_are_told(cache: Path) -> None:
    folder = compiled.kernel_folder()
    folder.mkdir(parents=True)
    for name in ("_product-float32.cpu-1234", "_gradient-float32.cpu-1234"):
        (folder / f"{name}.compiled").touch()
    assert "2 compiled, for float32; others when they are first used" in fine().stdout


@pytest.mark.parametrize(
    ("features", "machine", "bits"),
    [
        ({"sse2": True, "avx": True, "avx2": True, "avx512f": True}, "x86_64", 512),
        ({"sse2": True, "avx": True, "avx2": True, "avx512f": False}, "x86_64", 256),
        ({"sse2": True, "avx": False}, "x86_64", 128),
        ({"neon": True}, "aarch64", 128),
        ({}, "arm64", 128),
        ({}, "riscv64", None),
    ],
)
def test_vector_width(features: dict[str, bool], machine: str, bits: int | None) -> None:
    assert doctor.vector_bits_of(features, machine) == bits


def test_a_cache_that_cannot_be_written_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").touch()
    (cache / "temporary").mkdir()
    monkeypatch.setenv("OVERPARAM_CACHE", str(cache / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(cache / "temporary"))
    said = fine()
    assert f"{cache / 'temporary'}{os.sep}overparam-" in said.stdout
    assert f"{cache / 'file' / 'cache'} cannot be written" in " ".join(said.stdout.split())
    assert "cannot write to the cache folder" in said.stderr


def test_what_fails_in_the_cache_is_told_in_a_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("overparam.doctor.kernel_lines", full)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert result.stderr.split("\n")[-2].startswith("error: the cache folder ")
    assert "(No space left on device)" in result.stderr
    assert "set OVERPARAM_CACHE to a folder that can be written" in result.stderr


def test_wrong_threads() -> None:
    result = CliRunner().invoke(app, ["doctor", "--threads", "0"])
    assert result.exit_code == 2
    assert "--threads" in result.stderr
