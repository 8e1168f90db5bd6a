"""A disk that is full or read-only costs what cannot be kept, and no more: no training for nothing, no lost result."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from counted import FILE, CountingTrain, counted
from typer.testing import CliRunner

from overparam import Chain, Prune, Store, StoreError, Study, folders
from overparam.cli import app
from overparam.lab import LogReporter, PlainReporter, Reporter
from overparam.lab.journal import JOURNAL_VARIABLE
from overparam.sparse.kernels import compiled, runners
from small import MLP, vectors

TRAIN = CountingTrain(epochs=1, batch_size=25)


@pytest.fixture(autouse=True)
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE, str(tmp_path / "calls"))


def study(seeds: int = 4) -> Study:
    return Study("full", vectors(), MLP, Chain(TRAIN, Prune(fraction=0.5), TRAIN), sweep={"seed": range(seeds)})


def refusing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, after: int = 0) -> None:
    """Let writing files with a word in their name, after so many of them, fail as it does where the disk is full."""
    left = [after]
    write = Path.write_bytes

    def write_bytes(path: Path, content: Any) -> int:
        if name in path.name:
            left[0] -= 1
            if left[0] < 0:
                write(path, content[: len(content) // 2])
                raise OSError(number, "in words", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_store_that_is_full_ends_the_run_at_once(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        refusing(patch, ".safetensors", number, after=2)
        with pytest.raises(StoreError, match=r"cannot write to store .* \(in words\), so nothing more is computed; .*"):
            study().run(tmp_path / "runs", jobs=1, threads=1)
    store = Store(tmp_path / "runs")
    assert counted().total() <= 2, "one that was kept, and one that was not"
    assert list((store.root / "scratch").iterdir()) == []
    assert len(store.fingerprints("steps")) == 2
    assert study().results(store.root).facts["run"] == "under way, or stopped"
    assert study().run(store.root, jobs=1, threads=1).complete, "with room again it goes on"


def test_a_worker_tells_of_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker sees is what is here, since it has the same folder: a store that vanishes takes nothing either."""

    class Removing(Reporter):
        def started(self, node: Any) -> None:
            (tmp_path / "runs" / "scratch").rmdir()

    with pytest.raises(StoreError, match=r"cannot write to store .* so nothing more is computed"):
        study(1).run(tmp_path / "runs", jobs=1, threads=1, reporter=Removing())


def test_what_one_result_alone_is_refused_stops_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    node = study().plan.rows[0].node
    (store.root / "steps").mkdir()
    (store.root / "steps" / node[:2]).write_text("in the way")
    with pytest.warns(UserWarning, match="rows of study 'full' are missing: .* cannot write to store"):
        results = study().run(store, jobs=1, threads=1)
    assert len(results.frame) == 6


def test_a_full_disk_is_noticed_when_a_store_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("overparam.lab.blobs.tempfile.TemporaryFile", lambda **_: Full())
    with pytest.raises(StoreError, match=r"store '.*runs' cannot be written \(No space left on device\)"):
        Store(tmp_path / "runs")


def test_the_command_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "full.yaml"
    file.write_text("{name: full, world: small:vectors, network: mlp, chain: [{train: {epochs: 1}}]}")
    refusing(monkeypatch, ".safetensors", errno.ENOSPC)
    result = CliRunner().invoke(app, ["run", str(file), "--store", str(tmp_path / "runs"), "--jobs", "1"])
    assert result.exit_code == 2
    assert result.stderr.strip().split("\n")[-1] == (
        f"error: cannot write to store '{tmp_path / 'runs'}' (in words), so nothing more is computed; what is in it "
        "stays: make room, or name another store, and run the same again"
    )


def test_a_journal_without_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOURNAL_VARIABLE, "0")
    refusing(monkeypatch, "partial-", errno.ENOSPC)
    made = Study("long", vectors(), MLP, Chain(CountingTrain(epochs=3, batch_size=25)))
    results = made.run(tmp_path / "runs", jobs=1, threads=1)
    assert results.complete
    assert any("could not be written" in note for note in results.notes)
    assert not list(tmp_path.rglob("partial-*"))


def test_a_log_without_room_ends_and_the_run_goes_on(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        name = "log.jsonl"

        def write(self, content: Any) -> int:
            if b'"event": "finished"' in content:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    told = io.StringIO()
    reporter = LogReporter(PlainReporter(told), tmp_path / "log.jsonl")
    reporter.file.close()
    reporter.file = full = Full()
    assert study(1).run(tmp_path / "runs", jobs=1, threads=1, reporter=reporter).complete
    assert told.getvalue().count("note: the log log.jsonl cannot be written (No space left on device)") == 1
    assert [json.loads(line)["event"] for line in full.getvalue().splitlines()] == ["begin", "started"]


def test_lines_that_nobody_can_keep_stop_nothing(tmp_path: Path) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    assert study(1).run(tmp_path / "runs", jobs=1, threads=1, reporter=PlainReporter(Full())).complete


def test_lines_that_nobody_reads_any_more_end_the_run(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            if "[1/2]" in text:
                raise BrokenPipeError
            return len(text)

    with pytest.raises(BrokenPipeError):
        study(1).run(tmp_path / "runs", jobs=1, threads=1, reporter=PlainReporter(Closed()))
    assert counted().total() == 1
    assert list((tmp_path / "runs" / "scratch").iterdir()) == []


# The cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder for kernels, of which none is in memory."""
    monkeypatch.setenv("OVERPARAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_without_cache", [])
    compiled.kernel_folder.cache_clear()
    yield tmp_path / "cache"
    compiled.kernel_folder.cache_clear()


def double(kind: float, part: int, lo: int, hi: int, arguments: int) -> None:
    """A kernel that is quickly compiled."""


@pytest.mark.parametrize("where", ["mkdir", "lock", "numba"])
def test_a_cache_without_room_fails_no_kernel(
    where: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is there and its check has passed, but then something in it cannot be written."""
    folders.writable_cache_folder()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = {
        "mkdir": "pathlib.Path.mkdir",
        "lock": "overparam.sparse.kernels.compiled.FileLock",
        "numba": "numba.core.caching.IndexDataCacheFile.save",
    }
    monkeypatch.setattr(place[where], full)
    first, second = compiled.Kernel(double), compiled.Kernel(double)
    assert first.address(torch.float32)
    assert second.address(torch.float32)
    assert capsys.readouterr().err.count("cannot write to ") == 1


def test_a_function_that_is_loaded_goes_on_without_its_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's own functions have their place in the cache from their declaration on."""

    def unreadable(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    declared = compiled.serial(lambda kind, integer: integer)
    monkeypatch.setattr("overparam.sparse.kernels.runners.ours", declared, raising=False)
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.load", unreadable)
    assert runners.runner("ours", torch.float32)(compiled.KINDS[torch.float32], 3) == 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_cache_that_takes_nothing_is_replaced_and_told_once(
    number: int, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk still lets an empty file be made."""

    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(number, "in words")

    monkeypatch.setattr("overparam.folders.tempfile.TemporaryFile", lambda **_: Full())
    monkeypatch.setattr("overparam.folders.tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    folders._writable.cache_clear()
    used = [folders.writable_cache_folder() for _ in range(2)]
    assert used[0] == used[1]
    assert used[0].parent == tmp_path / "temporary"
    assert used[0].stat().st_mode & 0o777 == 0o700
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"cannot write to the cache folder {cache} (in words); using {used[0]}" in said
    folders._writable.cache_clear()
    monkeypatch.setattr(folders, "telling", False)  # as in a worker
    assert folders.writable_cache_folder() == used[0]
    assert capsys.readouterr().err == ""
    folders._writable.cache_clear()
