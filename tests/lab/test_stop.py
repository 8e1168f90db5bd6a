"""A run that is stopped at any moment, in the middle of a write above all, leaves nothing half done behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from held import FOLDER, net
from torch import nn
from typer.testing import CliRunner

from overparam import Chain, Network, RunError, Store, Study, Train, World
from overparam.cli import app
from overparam.lab import executors, worker
from overparam.signals import Stopped, obeyed
from small import vectors

SIGNALS = [
    (signal.SIGINT, KeyboardInterrupt, 130),
    (signal.SIGTERM, Stopped, 143),
    (signal.SIGHUP, Stopped, 129),
]


def study(network: Any = net, seeds: int = 2) -> Study:
    return Study("stop", World(vectors()), network, Chain(Train(epochs=1, batch_size=25)), sweep={"seed": range(seeds)})


def scratch(store: Path) -> list[Path]:
    return list((store / "scratch").iterdir())


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return folder


@pytest.fixture
def when_held(notes: Path) -> Iterator[Callable[[Callable[[list[int]], None]], None]]:
    """Have something done, by a thread, when two workers are in the middle of a write."""
    threads: list[threading.Thread] = []

    def wait(act: Callable[[list[int]], None]) -> None:
        deadline = time.monotonic() + 60
        while len(held := list(notes.glob("held-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        act([int(path.name.partition("-")[2]) for path in held])

    def begin(act: Callable[[list[int]], None]) -> None:
        threads.append(threading.Thread(target=wait, args=(act,)))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join()


def interrupt(_: list[int]) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_write_that_goes_on_is_ended_and_kept(
    notes: Path, tmp_path: Path, when_held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers have been told to stop before their writes can go on."""

    def terminate(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        told.append(process.pid)
        if len(told) == 2:
            (notes / "go").touch()

    told: list[int] = []
    monkeypatch.setattr(subprocess.Popen, "terminate", terminate)
    when_held(interrupt)
    with pytest.raises(KeyboardInterrupt):
        study().run(tmp_path / "runs", jobs=2, threads=1)
    store = Store(tmp_path / "runs")
    made = [node for node in study().plan.steps if store.has("steps", node)]
    assert len(made) == 2, "the two that were being written, and none that was begun afterwards"
    assert all(store.verify("steps", node) for node in made)
    assert scratch(store.root) == []


def test_a_write_that_hangs_is_given_up_and_swept(
    tmp_path: Path, when_held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two workers that hang in a write one is killed, which is seen at once, and then the run is interrupted."""

    def kill(workers: list[int]) -> None:
        os.kill(workers[0], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(scratch(tmp_path / "runs")) > 1 and time.monotonic() < deadline:
            time.sleep(0.005)
        swept.append(len(scratch(tmp_path / "runs")))
        interrupt(workers)

    swept: list[int] = []
    monkeypatch.setattr(executors, "GRACE", 0.2)
    when_held(kill)
    with pytest.raises(KeyboardInterrupt):
        study().run(tmp_path / "runs", jobs=2, threads=1)
    assert swept[0] == 1
    assert list((tmp_path / "runs" / "steps").glob("*/*")) == []
    assert scratch(tmp_path / "runs") == []


@pytest.fixture
def signals() -> Iterator[None]:
    """Gives the process its signals back."""
    numbers = [number for number, _, _ in SIGNALS]
    before = [signal.getsignal(number) for number in numbers]
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("how", ["orphaned", "told"])
@pytest.mark.usefixtures("signals")
def test_a_worker_ends_after_its_write(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(worker.os, "_exit", lambda code: ended.set())
    parents = [os.getppid()]
    monkeypatch.setattr(worker.os, "getppid", lambda: parents[-1])
    store = Store(tmp_path)
    store.writing.acquire()
    worker._end_between_writes(parents[0], store)
    if how == "orphaned":
        parents.append(1)
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    assert not ended.wait(0.5)
    store.writing.release()
    assert ended.wait(10)


def interrupting(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """Let a signal come to this process when it has half written its first weights."""

    def write_bytes(path: Path, content: bytes) -> int:
        if path.suffix == ".safetensors" and numbers:
            write(path, content[: len(content) // 2])
            os.kill(os.getpid(), numbers.pop())
        return write(path, content)

    write, numbers = Path.write_bytes, [number]
    monkeypatch.setattr(Path, "write_bytes", write_bytes)


@pytest.mark.parametrize(("number", "raised", "code"), SIGNALS)
def test_a_run_without_workers(
    number: signal.Signals, raised: type[BaseException], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [signal.getsignal(each) for each, _, _ in SIGNALS]
    interrupting(monkeypatch, number)
    with pytest.raises(raised) as caught:
        study(seeds=1).run(tmp_path, jobs=1, threads=1)
    assert raised is KeyboardInterrupt or caught.value.code == code
    assert scratch(tmp_path) == []
    assert [signal.getsignal(each) for each, _, _ in SIGNALS] == before
    assert study(seeds=1).run(tmp_path, jobs=1, threads=1).complete


def test_a_second_signal_does_not_disturb_the_cleaning_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlink(path: Path, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        remove(path, **options)

    remove = Path.unlink
    interrupting(monkeypatch, signal.SIGINT)
    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        study(seeds=1).run(tmp_path, jobs=1, threads=1)
    assert scratch(tmp_path) == []


def test_a_signal_that_was_swallowed_can_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("overparam.signals.time.monotonic", lambda: now[0])
    with obeyed():
        for later in (0.0, 20.0):
            now[0] += later
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            now[0] += 1.0
            os.kill(os.getpid(), signal.SIGINT)  # is not obeyed


@pytest.mark.usefixtures("signals")
def test_signals_that_somebody_else_handles_are_left_to_him() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    with obeyed():
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize(("number", "raised", "code"), SIGNALS)
def test_the_command_says_how_to_go_on(
    number: signal.Signals, raised: type, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupting(monkeypatch, number)
    file = tmp_path / "stop.yaml"
    file.write_text("{name: stop, world: small:vectors, network: held:net, chain: [{train: {epochs: 1}}]}")
    result = CliRunner().invoke(app, ["run", str(file), "--store", str(tmp_path / "runs"), "--jobs", "1"])
    assert result.exit_code == code
    assert result.stderr.strip().split("\n")[-1] == (
        f"stopped; every finished step of stop is in {tmp_path / 'runs'}. Run the same command again to go on."
    )


class Quits(nn.Module):
    """A module that ends the program when it is trained, as a script may that was made a module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Any) -> Any:
        if self.training:
            raise SystemExit("usage: quits FILE")
        return self.layer(inputs)


def test_a_user_s_code_that_ends_the_program_fails_its_step_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        study(Network(Quits)).run(tmp_path, jobs=1, threads=1)
    failures = caught.value.results.failures
    assert len(failures) == 2
    assert all("SystemExit: usage: quits FILE" in failure for failure in failures)
