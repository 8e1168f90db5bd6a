"""A width sweep of an MLP on digits, stopped and resumed: its page, tables and charts speak of width."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from pages import Elements, book_of
from typer.testing import CliRunner

from overparam import Chain, Prune, Store, Study, Train, World
from overparam.cli import app
from overparam.lab import Reporter, parse_yaml
from overparam.lab.execute import Done
from overparam.lab.plan import Node

YAML = """
name: wide
axis: hidden
world: {dataset: digits, train_size: 300, label_noise: {kind: symmetric, rate: 0.2}}
network: mlp
train: {lr: 0.1, batch_size: 32, epochs: 2}
chain: [train]
sweep:
  network.hidden: [[2], [4], [8], [64]]
  seed: [0, 1, 2]
"""


def in_python(**changes: object) -> Study:
    fields = {"sweep": {"network.hidden": [[2], [4], [8], [64]], "seed": range(3)}, **changes}
    world = World("digits", train_size=300, label_noise={"kind": "symmetric", "rate": 0.2})
    chain = Chain(Train(lr=0.1, batch_size=32, epochs=2))
    return Study("wide", world, "mlp", chain, axis="network.hidden", **fields)


class Stopping(Reporter):
    """Stops the run, as Ctrl-C does, after so many steps."""

    def __init__(self, after: int) -> None:
        self.left, self.steps = after, 0

    def finished(self, node: Node, done: Done) -> None:
        self.steps += 1
        if self.steps == self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study's file and its results: of a run that was stopped, and then run again."""
    goal = tmp_path_factory.mktemp("wide")
    (goal / "wide.yaml").write_text(YAML)
    study, stopping, counting = Study.from_file(goal / "wide.yaml"), Stopping(16), Stopping(-1)
    with pytest.raises(KeyboardInterrupt):
        study.run(goal / "runs", jobs=1, threads=1, reporter=stopping)
    part = study.results(goal / "runs")
    (goal / "part.html").write_text(part.report(goal / "page.html").read_text())
    assert not part.complete
    study.run(goal / "runs", jobs=1, threads=1, reporter=counting)
    assert stopping.steps + counting.steps == 12 + 12, "each initialisation and each training was made once"
    return goal


def test_the_study_file_and_python_mean_the_same(folder: Path) -> None:
    from_file, python = Study.from_mapping(parse_yaml(YAML, "study")), in_python()
    assert list(from_file.plan.measurements) == list(python.plan.measurements)
    assert from_file.about == python.about
    resumed, whole = python.results(folder / "runs"), python.run(folder / "whole", jobs=1, threads=1)
    drop = ["seconds", "seconds_before", "peak_memory_bytes"]
    assert resumed.frame.drop(drop).equals(whole.frame.drop(drop)), "the bits of a run that was not stopped"


def test_a_stopped_sweep_says_so_and_decides_nothing(folder: Path) -> None:
    page = Elements((folder / "part.html").read_text())
    assert re.search(r"Incomplete: \d+ of 12 rows", page.text)
    assert not re.search(r"\d points", page.text)


def test_the_page_speaks_of_width(folder: Path) -> None:
    text = in_python().results(folder / "runs").report(folder / "page.html").read_text()
    page = Elements(text)
    assert re.search(r"at width 2 to \d+\.\d.% at width 64", page.text)
    assert "Every width" in page.text
    for word in ("pruned network", "Phases", "double descent", "density (share"):
        assert word not in page.text
    book = book_of(text)
    assert set(book["charts"]) == {"accuracy", "distance", "parts", "loss", "soft-error", "learning-loss", "cost"}
    (chart,) = book["charts"]["accuracy"]
    (arm,) = book["rows"]["arms"]
    assert arm["x"] == [2, 4, 8, 64]
    layers = book["specs"][chart["spec"]]["layer"]
    x = next(layer["encoding"]["x"] for layer in layers if layer["mark"]["type"] == "line")
    assert x["title"] == "width (units of the hidden layer)"
    assert (x["scale"]["type"], x["scale"]["base"], x["scale"]["domain"]) == ("log", 2, [2, 64])
    assert arm["at"][0] == "2, 148 weights"


def test_the_command_line_speaks_of_width(folder: Path) -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--store", str(folder / "runs")])
        assert done.exit_code == 0, done.output
        return done.stdout

    printed = said("table", "wide")
    assert re.search(r"^ *width +weights", printed, re.M)
    assert re.search(r"^ *64 +4,736 +\d", printed, re.M)
    assert "at width 64" in " ".join(printed.split())
    assert "density" not in printed
    said("report", "wide", "--out", str(folder / "out.html"), "--charts", str(folder / "charts"))
    (svg,) = (path for path in (folder / "charts").glob("*.svg") if path.name != "cost.svg")
    assert all(f">{word}<" in svg.read_text() for word in ("width (units of the hidden layer)", "2", "64", "test"))
    assert len(list((folder / "charts").glob("*.png"))) == 2


def test_the_table_has_a_row_for_each_width(folder: Path) -> None:
    results = in_python().results(folder / "runs")
    table = results.table()
    assert table["network.hidden"].to_list() == [2.0, 4.0, 8.0, 64.0]
    assert table["n"].to_list() == [3] * 4
    first = results.frame.filter(pl.col("network.hidden") == "[2]")
    assert table["test_accuracy"][0] == pytest.approx(first["test_accuracy"].mean())


def test_three_finetunings_have_a_row_each_on_page_and_terminal(tmp_path: Path) -> None:
    settings = {"train": {"lr": 0.1, "batch_size": 32, "epochs": 1}, "finetune": {"lr": 0.01, "epochs": 1}}
    chain = ["train", "finetune", "finetune", "finetune"]
    study = Study("fine", World("digits", train_size=200), "mlp", chain, **settings)
    results = study.run(Store(tmp_path / "runs"), jobs=1, threads=1)
    assert results.table()["step"].to_list() == [0, 1, 2, 3]
    page = Elements(results.report(tmp_path / "page.html").read_text())
    assert "Nothing was pruned, so tables and charts are over step of the chain (axis: step)." in page.text
    printed = CliRunner().invoke(app, ["table", "fine", "--store", str(tmp_path / "runs")]).stdout
    assert [line.split()[:2] for line in printed.splitlines() if re.match(r" *\d ", line)] == [
        *(["0", "train"], ["1", "finetune"], ["2", "finetune"], ["3", "finetune"]),
    ]


def test_a_training_is_drawn_over_its_iterations(tmp_path: Path) -> None:
    world, fields = World("digits", train_size=200), {"seed": range(2)}
    train = Train(lr=0.1, batch_size=20, epochs=3, evaluate_every="10it")
    study = Study("epochs", world, "mlp", Chain(train, Prune(density=0.2), train), axis="iteration", sweep=fields)
    results = study.run(Store(tmp_path / "runs"), jobs=1, threads=1)
    found = results.material.arms
    assert [arm.label for arm in found] == ["level 0", "level 1"]  # a line for each training
    assert found[0].places == [10, 20, 30]
    last = results.frame.filter(level=0)["test_accuracy"].mean()
    assert results.table().filter(arm="level 0")["test_accuracy"].to_list()[-1] == pytest.approx(last)
    page = Elements(results.report(tmp_path / "page.html").read_text())
    assert re.search(r"from \d+\.\d.% at iteration 10 to \d+\.\d.% at iteration 30", page.text)
    assert "Every iteration" in page.text
    plain = Study("epochs", world, "mlp", Chain(Train(batch_size=20, epochs=1)), axis="iteration")
    page = Elements(plain.run(Store(tmp_path / "runs"), jobs=1, threads=1).report(tmp_path / "page.html").read_text())
    assert "add evaluate_every to the training" in page.text
