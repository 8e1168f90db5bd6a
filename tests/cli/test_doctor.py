"""What ``overparam doctor`` tells of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from typer.testing import CliRunner, Result

from overparam import doctor
from overparam.cli import app
from overparam.sparse import calibration, compiled
from overparam.sparse.calibration import Shape, Times
from overparam.sparse.choice import layer_shapes

PADDED = ((16, 3, 1, 1, 1, 1),) * 2
LINEAR = Shape((300, 784), (), 1, 128, 1, "float32")
CONV = Shape((64, 64, 3, 3), PADDED, 1, 128, 2, "float32")
LONG = Shape((512, 16, 3, 3), ((112, 3, 2, 1, 1, 1),) * 2, 32, 1024, 16, "float64")
KNOWN = {
    CONV.key: Times(9000, 0, 1000, 20000, 0, 0, 100),
    LONG.key: Times(1e8, 0, 0, 1e6, 0, 0, 100),
    LINEAR.key: Times(2000, 1500, 500, 6000, 100, 7000, 100),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, with nothing known of another."""
    caches = (calibration.calibration_file, compiled.kernel_folder)
    monkeypatch.setenv("OVERPARAM_CACHE", str(tmp_path))
    monkeypatch.setattr(calibration, "_known", {})
    for each in caches:
        each.cache_clear()
    yield tmp_path
    for each in caches:
        each.cache_clear()


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
    assert "threading layer " in said
    assert "overparam doctor --measure" in said


def test_the_table(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "known_times", lambda: KNOWN)
    said = fine().stdout
    narrow(said, cache)
    lines = said.split("\n")
    start = next(place for place, line in enumerate(lines) if line.startswith("layer "))
    heads = "layer batch thr dense at 0.1 at 0.02 network compiled"
    assert lines[start].split() == heads.split()
    rows = [line.split() for line in lines[start + 2 : start + 6]]
    # (2 - 0.5) / 6 and (1.5 - 0.1) / 7
    assert rows[0] == ["784->300", "128", "1", "2.00", "1.10", "0.62", "0.25", "0.20"]
    assert rows[1] == ["64->64", "3x3", "on", "16x16", "128", "2", "9.00", "3.00", "1.40", "0.40", "-"]
    assert rows[2] == ["512->512", "3x3/2", "g32", "on", "112x112,", "f64"]
    assert rows[3] == ["1024", "16", "100000", "100.00", "20.00", "always", "-"]


def test_measuring_measures_what_is_not_known_and_keeps_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Shape] = []

    def times(shape: Shape) -> Times:
        asked.append(shape)
        return KNOWN[LINEAR.key] if not shape.axes else KNOWN[CONV.key]

    monkeypatch.setattr(calibration, "_measure", times)
    threads = torch.get_num_threads()
    first = fine("--measure", "--threads", "2")
    assert torch.get_num_threads() == threads
    assert [shape.weight for shape in asked] == [(300, 784), (1024, 1024), (64, 64, 3, 3), (128, 128, 3, 3)]
    assert {(shape.batch, shape.threads, shape.dtype) for shape in asked} == {(128, 2, "float32")}
    assert first.stderr.count("measuring ") == 4
    narrow(first.stdout + first.stderr, cache)
    for name in ("784->300 ", "1024->1024 ", "64->64 3x3 on 16x16 ", "128->128 3x3 on 8x8 "):
        assert f"\n{name}" in first.stdout
    again = fine("--measure", "--threads", "2")
    assert len(asked) == 4
    assert again.stderr.count("known already: ") == 4
    assert again.stdout == first.stdout
    fine("--measure", "--threads", "1")
    assert len(asked) == 8


def test_one_thread_is_one_in_what_is_measured_and_in_what_is_shown(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "known_times", lambda: KNOWN)
    said = fine("--threads", "1").stdout
    assert "784->300 " in said
    assert "64->64 " not in said
    assert "Nothing is measured yet with that many threads." in fine("--threads", "3").stdout.replace("\n", " ")
    # in a process of its own, as numba's threads start once, and the first time they may change torch's number
    script = (
        "import sys, torch\n"
        "from overparam import cli\n"
        "from overparam.sparse import calibration\n"
        "def measured(shape):\n"
        "    print(shape.threads, torch.get_num_threads(), file=sys.stderr)\n"
        "    return calibration.Times(*[1.0] * 7)\n"
        "calibration._measure = measured\n"
        "sys.argv[1:] = ['doctor', '--measure', '--threads', '1']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))
    assert [line for line in done.stderr.splitlines() if line[:1].isdigit()] == ["1 1"] * 4
    assert done.returncode == 0


def test_a_default_shape_is_what_a_network_s_layer_has(cache: Path) -> None:
    layer = torch.nn.Conv2d(64, 64, 3, padding=1)
    (found,) = layer_shapes(torch.nn.Sequential(layer), torch.zeros(1, 64, 16, 16), 128).values()
    assert found in doctor.default_shapes()


def test_compiled_kernels_are_told(cache: Path) -> None:
    folder = compiled.kernel_folder()
    folder.mkdir(parents=True)
    for name in ("_product-float32.cpu-1234", "_gradient-float32.cpu-1234"):
        (folder / f"{name}.compiled").touch()
    assert "2 compiled, for float32; others when they are first used" in fine().stdout


@pytest.mark.parametrize(
    ("times", "density"),
    [
        ((10, 2, 16), 0.5),
        ((10, 12, 16), 0),
        ((10, 2, 4), 1),
        ((10, 2, -4), 1),
        ((10, 12, -4), 0),
        ((10, 2, 0), 1),
        ((10, 10, 0), 0),
    ],
)
def test_crossover(times: tuple[float, float, float], density: float) -> None:
    assert calibration.crossover(*times) == density


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
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(calibration, "_measure", full)
    result = CliRunner().invoke(app, ["doctor", "--measure"])
    assert result.exit_code == 2
    assert result.stderr.split("\n")[-2].startswith("error: the cache folder ")
    assert "(No space left on device)" in result.stderr
    assert "set OVERPARAM_CACHE to a folder that can be written" in result.stderr


def test_another_that_measures_without_end_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = calibration.calibration_file()
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(calibration, "LOCK_SECONDS", 0)
    with FileLock(path.with_suffix(".lock")):
        result = CliRunner().invoke(app, ["doctor", "--measure"])
    assert result.exit_code == 2
    assert "error: another process has been measuring or compiling for minutes" in result.stderr


def test_wrong_threads() -> None:
    result = CliRunner().invoke(app, ["doctor", "--threads", "0"])
    assert result.exit_code == 2
    assert "--threads" in result.stderr
