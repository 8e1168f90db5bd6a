"""Whatever the output goes to, and whatever the terminal can show, a command ends well or in one sentence."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
import yaml
from rich.table import Table
from typer.testing import CliRunner, Result

from overparam import SpecError
from overparam.cli import app
from overparam.files import check_writable, why, write_file
from overparam.lab.progress import LiveReporter, PlainReporter, Reporter
from overparam.lab.showing import reporter_for
from overparam.report import export
from overparam.terminal import OutputError, clear_errors, say, say_exactly, show, tell

STUDY = {
    "name": "shown",
    "world": "small:vectors",
    "network": {"name": "mlp", "hidden": [6]},
    "chain": [{"train": {"epochs": 1}}, {"prune": {"fraction": 0.5}}, {"train": {"epochs": 1}}],
    "variants": {"naïve ± café": {}},
    "sweep": {"seed": [0, 1]},
}


def invoke(*args: object, **options: Any) -> Result:
    return CliRunner(**options).invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "shown.yaml").write_text(yaml.safe_dump(STUDY))
    assert invoke("run", folder / "shown.yaml", "--store", folder / "runs", "--jobs", 1).exit_code == 0
    return folder


class Stream(io.TextIOWrapper):
    """A standard stream that fails in a way."""

    def __init__(self, error: OSError | None = None, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.error = error

    def write(self, text: str) -> int:
        if self.error and text:
            raise self.error
        return super().write(text)

    @property
    def text(self) -> str:
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put other streams in the place of the standard ones, and return what a command says and ends with."""
    made: list[Stream] = []

    def ended(args: list[object], out: Stream | None, err: Stream | None = None) -> tuple[int, str]:
        err = err or Stream()
        made.extend(stream for stream in (out, err) if stream)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as caught:
                app([str(arg) for arg in args])
        said = err.text if not err.error else ""
        return int(caught.value.code or 0), "\n".join(
            line for line in said.split("\n") if not line.startswith("results of ")
        )

    yield ended
    for stream in made:
        stream.error = None
        stream.close()


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("command", [["list", "steps"], ["table", "shown"], ["table", "shown", "--format", "csv"]])
def test_what_the_output_does_not_take(command: list[object], done: Path, streams: Any) -> None:
    args = [*command, *(["--store", done / "runs"] if command[0] == "table" else [])]
    full = "error: the standard output cannot be written (No space left on device)\n"
    closed = "error: the standard output is closed, so nothing can be printed; write to a file with --out\n"
    assert streams(args, Stream(FULL)) == (2, full)
    assert streams(args, None) == (2, closed)
    assert streams(args, Stream(BrokenPipeError())) == (141, "")
    assert streams(args, Stream(), Stream(FULL)) == (0, "")
    assert streams(["table", "nothing"], Stream(), Stream(FULL)) == (2, "")


def test_a_run_whose_output_is_closed_is_a_run(done: Path, streams: Any) -> None:
    args = ["run", done / "shown.yaml", "--store", done / "runs", "--jobs", 1]
    assert streams(args, None)[0] == 0


def test_a_pipe_is_left_as_other_programs_leave_it(done: Path) -> None:
    """In a process of its own: Python itself writes once more as it ends."""
    command = [sys.executable, "-m", "overparam", "table", "shown", "--store", str(done / "runs")]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert ended.returncode == 141
    assert len(ended.stderr.strip().split("\n")) == 1
    assert ended.stderr.startswith("results of shown@")


def test_a_terminal_that_has_no_such_signs(done: Path, streams: Any) -> None:
    out = Stream(encoding="ascii")
    assert streams(["table", "shown", "--store", done / "runs"], out)[0] == 0
    assert out.text.isascii()
    assert "na?ve +- caf?" in out.text


def test_data_is_never_put_into_other_signs(done: Path, streams: Any, tmp_path: Path) -> None:
    args = ["table", "shown", "--store", done / "runs", "--format", "csv"]
    code, said = streams(args, Stream(encoding="ascii"))
    assert code == 2
    assert said.startswith("error: the output's encoding 'ascii' has no 'ï'; write to a file with --out, or set ")
    out = tmp_path / "table.csv"
    assert streams([*args, "--out", out], Stream(encoding="ascii"))[0] == 0
    assert "naïve ± café" in out.read_text(encoding="utf-8")


def test_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    table = Table("one", "two", "three")
    table.add_row(*(letter * 15 for letter in "abc"))
    show(table)
    show("a sentence of more than twenty letters, with [brackets] in it")
    said = capsys.readouterr().out
    assert all(letter * 15 in said for letter in "abc")
    assert "[brackets]" in said.replace("\n", "")
    assert max(map(len, said.split("\n")[-4:])) <= 20


@pytest.mark.parametrize(
    ("term", "terminal", "kind"),
    [("xterm", True, LiveReporter), ("dumb", True, PlainReporter), ("xterm", False, PlainReporter)],
)
def test_what_tells_of_progress(
    term: str, terminal: bool, kind: type[Reporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setenv("TERM", term)
    assert type(reporter_for(Screen())) is kind
    assert type(reporter_for(None)) is Reporter


@pytest.mark.parametrize(("term", "escapes"), [("xterm-256color", True), ("dumb", False)])
def test_a_dumb_terminal_gets_no_escapes(term: str, escapes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", term)
    assert ("\x1b" in invoke("doctor").stdout) == escapes


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied", "there"), OSError("odd")])
def test_what_the_system_refuses_is_a_sentence(error: OSError, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, clear_errors():
        raise error
    assert caught.value.exit_code == 2
    expected = {"there": "error: 'there' cannot be read or written (Permission denied)\n"}
    said = capsys.readouterr().err
    assert said == expected.get(str(error.filename), "error: a file cannot be read or written (odd)\n")


def test_a_closed_file_in_the_place_of_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", closed)
    tell("nobody hears this")
    for speak in (say, say_exactly, show):
        with pytest.raises(OutputError, match="the standard output cannot be written"):
            speak("a word")


# Files


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    write_file(path, "é")
    assert path.read_bytes() == b"\xc3\xa9"

    def half(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(SpecError, match=r"page.html' cannot be written \(No space left on device\)"):
        write_file(path, "other")
    with pytest.raises(SpecError, match=r"table.csv' cannot be written"):
        export(pl.DataFrame({"a": [1]}), "csv", tmp_path / "table.csv")
    assert path.read_text() == "é"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full")
@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_device_is_written_to_and_not_replaced(form: str, done: Path) -> None:
    result = invoke("table", "shown", "--store", done / "runs", "--format", form, "--out", "/dev/full")
    assert result.exit_code == 2
    assert result.stderr.endswith("error: '/dev/full' cannot be written (No space left on device)\n")
    assert Path("/dev/full").is_char_device()
    write_file("/dev/null", "nothing")
    assert Path("/dev/null").is_char_device()


def test_links_are_followed_and_broken_ones_named(tmp_path: Path) -> None:
    link, goal = tmp_path / "link", tmp_path / "goal"
    link.symlink_to(goal)
    assert (
        why(FileNotFoundError(errno.ENOENT, "No such file"), link) == f"{link} is a link to {goal}, which is not there"
    )
    assert why(FileNotFoundError(errno.ENOENT, "No such file"), link / "x").startswith(f"{link} is a link to ")
    write_file(link, "through")
    assert link.is_symlink()
    assert goal.read_text() == "through"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(SpecError, match=r"--out .*loop.* is a link to "):
        check_writable(loop, "--out")
    with pytest.raises(SpecError, match=r"loop.* is a link to "):
        write_file(loop / "x", "")


@pytest.mark.parametrize("how", ["broken link", "endless", "store"])
def test_study_files_and_stores_that_lead_nowhere(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link.yaml").symlink_to("nowhere")
    Path("store").symlink_to("nowhere")
    Path("whole.yaml").write_text(yaml.safe_dump(STUDY))
    Path("endless").write_bytes(b"# " * 600_000)
    args, expected = {
        "broken link": (["run", "link.yaml"], "study file 'link.yaml' cannot be read (link.yaml is a link to nowhere"),
        "endless": (["run", "endless"], "study file 'endless' cannot be a study: it has more than 1,000,000 bytes"),
        "store": (
            ["run", "whole.yaml", "--store", "store"],
            "store 'store' cannot be written (store is a link to nowhere, which is not there); name another folder",
        ),
    }[how]
    result = invoke(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {expected}")


@pytest.mark.parametrize(("args", "option"), [(["--curves"], "--curves"), (["--out", "x"], "--out")])
def test_what_the_text_table_cannot_do_is_refused(args: list[str], option: str, done: Path) -> None:
    result = invoke("table", "shown", "--store", done / "runs", *args)
    assert result.exit_code == 2
    formats = "csv, json or parquet" if option == "--curves" else "latex, markdown, csv, json or parquet"
    assert result.stderr == f"error: {option} needs --format {formats}\n"
