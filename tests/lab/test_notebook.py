"""A run shows itself in a notebook, with what a notebook has; and everywhere else as before."""

from __future__ import annotations

import io
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from overparam import Chain, IncompleteWarning, Prune, Study, Train
from overparam.lab import PlainReporter, Reporter, reporter_for
from overparam.lab.notebook import NotebookReporter
from sampling import WHOLE
from small import MLP, vectors

TRAIN = Train(epochs=2, batch_size=25)
BAD = Train(epochs=1, batch_size=25, lr=1e30)
NASTY = "<img src=x onerror=alert(1)>"


def study(*steps: Any) -> Study:
    chain = Chain(*steps) if steps else Chain(TRAIN, Prune(fraction=0.5), TRAIN)
    return Study("seen", vectors(), MLP, chain, variants={NASTY: {}})


class Screen:
    """What a notebook shows: one display, and every picture that it had."""

    def __init__(self) -> None:
        self.pictures: list[str] = []
        self.displays = 0

    def display(self, thing: Any, display_id: bool) -> Screen:
        assert display_id
        self.displays += 1
        self.update(thing)
        return self

    def update(self, thing: Any) -> None:
        self.pictures.append(thing._repr_html_())


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A kernel around this process, by the calls of IPython that it needs."""
    shown, package = Screen(), ModuleType("IPython")
    package.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    package.display = shown  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setattr("overparam.lab.notebook.PAUSE", 0.0)
    return shown


def test_a_run_is_one_display_that_changes(screen: Screen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study().run(tmp_path, jobs=1, threads=1)
    assert screen.displays == 1
    shares = [float(share) for share in re.findall(r'<progress value="([\d.]+)"', "".join(screen.pictures))]
    assert shares[0] == 0.0
    assert 0.25 in shares, "half of the first training of two"
    assert "1 at a time" in screen.pictures[0]
    last = screen.pictures[-1]
    assert "4 of 4 steps" in last
    assert "at a time" not in last
    assert "newest: train (level 1)" in last
    assert last.count("<progress") == 1, "nothing is under way any more"
    assert capsys.readouterr().err == ""


def test_what_failed_stays_and_text_is_text(screen: Screen, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        study(TRAIN, Prune(fraction=0.5), BAD).run(tmp_path, jobs=1, threads=1)
    last = screen.pictures[-1]
    assert "failed: " in last
    assert "training diverged" in last
    assert "<img" not in "".join(screen.pictures)
    assert "&lt;img" in "".join(screen.pictures)


def test_a_display_that_fails_stops_nothing(screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise OSError("the browser is gone")

    monkeypatch.setattr(screen, "display", failing)
    assert study().run(tmp_path, jobs=1, threads=1).complete


def test_a_script_has_lines_and_silence_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study().run(tmp_path / "told", jobs=1, threads=1)
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("4 steps, 0 already in the store")
    assert [line[:5] for line in told[1:]] == ["[1/2]", "[2/2]"]
    study().run(tmp_path / "silent", jobs=1, threads=1, progress=False)
    study().run(tmp_path / "own", jobs=1, threads=1, reporter=Reporter())
    study().run(tmp_path / "told", jobs=1, threads=1)
    assert capsys.readouterr().err == "", "nor is there anything to tell where all is there"


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_a_shell_without_a_kernel_is_no_notebook(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("IPython")
    package.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    assert isinstance(reporter_for(io.StringIO()), PlainReporter)


def test_notes_are_told_where_nothing_was_to_run(screen: Screen) -> None:
    reporter = NotebookReporter()
    reporter.note(f"a word {NASTY}")
    assert "a word &lt;img" in screen.pictures[-1]
    assert "a word" in repr(reporter)


if WHOLE:  # a kernel takes seconds to start

    @pytest.mark.sampled
    @pytest.mark.filterwarnings("ignore")  # of packages that are not ours
    def test_a_real_notebook_shows_cards_and_progress(tmp_path: Path) -> None:
        client = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install nbclient ipykernel")
        formats = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install nbclient ipykernel")
        pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install nbclient ipykernel")
        cells = [
            "from overparam import Study\n"
            "study = Study('seen', {'dataset': 'digits', 'train_size': 50, 'test_size': 50}, 'mlp', ['train'],\n"
            f"              train={{'epochs': 2}}, variants={{'{NASTY}': {{}}}}, probes=['accuracy'])\n"
            "study",
            "results = study.run('runs', jobs=1)",
            "results",
        ]
        book = formats.v4.new_notebook(cells=[formats.v4.new_code_cell(cell) for cell in cells])
        client.NotebookClient(book, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
        card, progress, found = (
            "".join(out.data.get("text/html", "") for out in cell.outputs if "data" in out) for cell in book.cells
        )
        assert "Study seen" in card
        assert "2 of 2 steps" in progress
        assert "<progress" in progress
        assert "1 of 1 row" in found
        assert NASTY not in card + progress + found
        assert "&lt;img" in found
