"""The code in the documentation runs as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from overparam import Study
from overparam.cli import app
from overparam.lab import parse_yaml

ROOT = Path(__file__).parents[2]
USUAL = re.compile(r"overparam: compiling kernels|\d+ steps?, |\[\d+/\d+\] |starting \d+ workers")  # how far a run is
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return every call of the command line on the pages, in blocks and within sentences."""
    found = []
    for page in PAGES:
        for language in ("", "bash", "sh", "console"):
            for block in blocks(page, language):
                found += re.findall(r"^\s*(?:\$ )?(overparam .*)$", block, re.MULTILINE)
        found += re.findall(r"`(overparam [^`\n]+)`", page.read_text())
    return sorted(set(found))


@pytest.fixture(scope="module")
def scripts() -> Iterator[subprocess.Popen[str]]:
    """The process that runs pages, see ``scripts.py``."""
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("scripts.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()


@pytest.mark.parametrize("page", [page for page in PAGES[1:] if blocks(page, "python")], ids=lambda page: page.name)
def test_a_page_is_a_script_that_runs(page: Path, tmp_path: Path, scripts: subprocess.Popen[str]) -> None:
    (tmp_path / "page.py").write_text("\n\n".join(blocks(page, "python")))
    assert scripts.stdin
    assert scripts.stdout
    print(tmp_path, file=scripts.stdin, flush=True)
    done, said = scripts.stdout.readline(), (tmp_path / "stderr").read_text()
    assert done == "0\n", said
    told = [line for line in said.split("\n") if not USUAL.match(line)]
    assert told == [""]


def test_the_readme_runs_at_a_smaller_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks(PAGES[0], "python")
    for long, short in (
        ("epochs=60", "epochs=1"),
        ("Repeat(15,", "Repeat(3,"),
        ("range(8)", "range(2)"),
        ("jobs=2", "jobs=1"),
    ):
        assert long in code
        code = code.replace(long, short)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(code, space)
    assert len(space["results"].frame) == 8
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_two_studies_of_the_readme_are_one() -> None:
    """The study file and the Python code beside it mean the same steps, bit for bit."""
    (study,), (code,) = blocks(PAGES[0], "yaml"), blocks(PAGES[0], "python")
    space: dict[str, Any] = {}
    exec(code.partition("results = ")[0], space)
    from_file = Study.from_mapping(parse_yaml(study, "page"))
    assert list(from_file.plan.nodes) == list(space["study"].plan.nodes)
    assert list(from_file.plan.measurements) == list(space["study"].plan.measurements)


def test_the_two_studies_of_reports_are_one() -> None:
    page = ROOT / "docs" / "reports.md"
    (study,), code = blocks(page, "yaml"), blocks(page, "python")[0]
    space: dict[str, Any] = {}
    exec(code.partition("results = ")[0], space)
    from_file = Study.from_mapping(parse_yaml(study, "page"))
    assert list(from_file.plan.measurements) == list(space["study"].plan.measurements)
    assert from_file.about == space["study"].about


@pytest.mark.parametrize("command", commands())
def test_a_command_is_one_of_ours(command: str) -> None:
    """With ``--help`` behind it, every word is parsed and nothing is run."""
    words = shlex.split(command.split("#")[0])
    result = CliRunner().invoke(app, [*words[1:], "--help"])
    assert result.exit_code == 0, result.output


def test_own_model_and_data_in_a_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "own-model-and-data.md"
    data, model, *_ = blocks(page, "python")
    (tmp_path / "my_project.py").write_text(f"{data}\n{model}\n\ndef blobs():\n    return data\n")
    (study,) = blocks(page, "yaml")
    (tmp_path / "blobs.yaml").write_text(study)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    try:
        result = CliRunner().invoke(app, ["check", "blobs.yaml"])
    finally:
        sys.modules.pop("my_project", None)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("blobs: 2 chains, ")
    assert "8 trainings), 8 rows" in result.stdout
    assert "400 training and 200 test examples, 4 classes, shape (20,), 20.0% wrong labels" in result.stdout


def test_the_two_studies_of_other_checkpoints_are_one() -> None:
    page = ROOT / "docs" / "other-checkpoints.md"
    space: dict[str, Any] = {}
    exec(blocks(page, "python")[0].partition("results = ")[0], space)
    from_file = Study.from_mapping(parse_yaml(blocks(page, "yaml")[0], "page"))
    assert list(from_file.plan.nodes) == list(space["study"].plan.nodes)


def test_the_two_studies_of_sparse_training_are_one() -> None:
    page = ROOT / "docs" / "sparse-training.md"
    (study,) = blocks(page, "yaml")
    code = blocks(page, "python")[0]
    space: dict[str, Any] = {}
    exec(code.partition("results = ")[0], space)
    from_file = Study.from_mapping(parse_yaml(study, "page"))
    assert list(from_file.plan.nodes) == list(space["study"].plan.nodes)
    assert list(from_file.plan.measurements) == list(space["study"].plan.measurements)
    assert from_file.engine == space["study"].engine == "sparse"


def test_the_two_studies_of_tickets_are_one() -> None:
    page = ROOT / "docs" / "tickets.md"
    study, *others = blocks(page, "yaml")
    space: dict[str, Any] = {}
    exec(blocks(page, "python")[0].partition("results = ")[0], space)
    from_file = Study.from_mapping(parse_yaml(study, "page"))
    assert list(from_file.plan.nodes) == list(space["study"].plan.nodes)
    assert [len(Study.from_mapping(parse_yaml(text, "page")).plan.rows) for text in others] == [3, 4, 5]
