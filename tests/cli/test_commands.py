"""What the commands print and write, and how fast help answers."""

from __future__ import annotations

import io
import json
import math
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

import overparam
from overparam.cli import app
from overparam.cli.asked import say_json
from overparam.cli.commands import COMMANDS
from overparam.cli.commands.list import KINDS
from overparam.lab.results import MEASURED

STUDY: dict[str, Any] = {
    "name": "commands",
    "world": {"dataset": "small:vectors", "label_noise": {"rate": 0.2}},
    "network": {"name": "mlp", "hidden": [8]},
    "train": {"lr": 0.1, "batch_size": 10, "epochs": 2},
    "prune": {"fraction": 0.5},
    "chain": ["train", {"repeat": 3, "steps": ["prune", {"rewind": "init"}, "train"]}],
    "sweep": {"seed": [0, 1]},
}


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def fine(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study file and the store of its results."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    fine("run", str(folder / "study.yaml"), "--store", str(folder / "runs"), "--jobs", "1")
    return folder


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    program = (
        "import sys\nfrom overparam.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, env=dict(os.environ)
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == 0, ended.stderr
    assert "Usage: " in ended.stdout
    heavy = ("torch", "numpy", "polars", "pydantic", "rich", "yaml", "altair", "sklearn", "scipy", "email")
    assert not [name for name in heavy if f"'{name}'" in ended.stderr]
    # time of the processor, since the machine may be busy; the aim for the clock is 0.5 s
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert fine(command, "--help").startswith("Usage: ")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "results"])
def test_list_has_a_line_on_each_thing(kind: str) -> None:
    lines = fine("list", kind).strip().split("\n")
    assert lines
    for line in lines:
        name, what = line.split("  ", 1)
        assert name
        assert len(what.strip()) > 10, line


def test_list_alone_lists_the_kinds() -> None:
    said = fine("list")
    assert [line.split("  ")[0].strip() for line in said.split("\n\n")[0].splitlines()] == list(KINDS)
    assert said.endswith("next: overparam list KIND\n")


def test_json_of_commands_is_what_they_say(done: Path) -> None:
    store = ["--store", str(done / "runs"), "--format", "json"]
    checked = json.loads(fine("check", str(done / "study.yaml"), *store, "--verify"))
    assert (checked["study"], checked["steps"], checked["steps_there"]) == ("commands", 22, 22)
    assert (checked["rows"], checked["damage"], checked["verified"]) == (8, [], True)
    assert checked["worlds"][0]["wrong_labels"] == pytest.approx(0.2)
    assert json.loads(fine("check", "--verify", *store))["results"] == 22 + 32
    assert json.loads(fine("claims", "commands", *store)) == []
    assert {"name": "lenet-300-100"} in [{"name": row["name"]} for row in json.loads(fine("list", "networks", *store))]
    machine = json.loads(fine("doctor", "--threads", "1", "--format", "json"))
    assert machine["machine"]["threads"] == 1
    assert machine["sparse_below_density"]["linear"] == 0.35


@pytest.mark.parametrize("command", [["check"], ["claims", "x"], ["doctor"], ["list"]])
def test_another_form_is_refused(command: list[str]) -> None:
    result = invoke(*command, "--format", "jsn")
    assert result.exit_code == 2
    assert result.stderr == "error: --format must be text or json, got 'jsn'\n"


def test_json_has_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"a": [math.nan, 1.5], "b": {"c": -math.inf}, "d": "ä"})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": {"c": None}, "d": "ä"}


def test_claims_say_why(tmp_path: Path, done: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**STUDY, "paper": "network-slimming"}))
    said = fine("claims", str(tmp_path / "study.yaml"), "--store", str(done / "runs"))
    verdicts = [line for line in said.splitlines() if not line.startswith(" ")]
    assert verdicts
    assert all(re.fullmatch(r"\S+ (supported|contradicted|inconclusive|not tested)", line) for line in verdicts)
    none = invoke("claims", "commands", "--store", str(done / "runs"))
    assert "commands names no paper" in none.stderr


def completed(words: str) -> list[str]:
    given = {"_OVERPARAM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    result = CliRunner().invoke(app, prog_name="overparam", env=given)
    assert result.exit_code == 0, result.output
    return result.stdout.split()


def test_the_shell_is_offered_names(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(done)
    assert {"claims", "check"} <= set(completed("overparam c"))
    assert completed("overparam run lottery-ticket-w") == ["lottery-ticket-widths"]
    assert completed("overparam check st") == ["study.yaml"]
    assert completed("overparam table comm") == ["commands"]
    assert [title.partition("@")[0] for title in completed("overparam table commands@")] == ["commands"]
    assert completed("overparam table --store nowhere comm") == []
    assert completed("overparam list pat") == ["patterns"]
    assert completed("overparam table x --format j") == ["json"]


def test_check_says_what_would_run(done: Path, tmp_path: Path) -> None:
    said = fine("check", str(done / "study.yaml"), "--store", str(tmp_path / "none"))
    assert said.startswith("commands: 2 chains, 22 different steps (8 trainings), 8 rows, 32 measurements\n")
    assert "world 1: 50 training and 21 test examples, 3 classes, shape (4,), 20.0% wrong labels" in said
    assert said.endswith("not there yet, everything would be run\n")
    assert not (tmp_path / "none").exists()


def test_check_knows_the_options_of_a_run_that_change_no_result(done: Path) -> None:
    study, store = str(done / "study.yaml"), str(done / "runs")
    assert "22 of 22 steps" in fine("check", study, "--store", store, "--engine", "sparse")
    result = invoke("check", study, "--store", store, "--engine", "spares")
    assert result.exit_code == 2
    assert "spares" in result.stderr
    assert "did you mean 'sparse'?" in result.stderr


def test_check_without_a_study_is_of_the_whole_store_or_refused(done: Path) -> None:
    assert "every byte as it was written" in fine("check", "--verify", "--store", str(done / "runs"))
    assert "name a study; only with --verify" in invoke("check", "--store", str(done / "runs")).stderr


def test_check_says_what_is_there(done: Path) -> None:
    said = fine("check", str(done / "study.yaml"), "--store", str(done / "runs"), "--sweep", "seed=0,1,2")
    assert "22 of 33 steps and 32 of 48 measurements are there" in said


def test_running_again_runs_nothing(done: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    fine("run", str(done / "study.yaml"), "--store", str(done / "runs"), "--log", str(log))
    assert "finished" not in log.read_text()


def test_table_as_csv_json_and_parquet_is_one_table(done: Path, tmp_path: Path) -> None:
    store = ["--store", str(done / "runs")]
    csv = CliRunner().invoke(app, ["table", "commands", *store, "--format", "csv"]).stdout_bytes
    parsed = CliRunner().invoke(app, ["table", "commands", *store, "--format", "json"]).stdout_bytes
    fine("table", "commands", *store, "--format", "parquet", "--out", str(tmp_path / "t.parquet"))
    parquet = pl.read_parquet(tmp_path / "t.parquet")
    assert len(parquet) == 8
    assert parquet["density"].to_list() == pytest.approx([1, 0.5, 0.25, 0.125] * 2, abs=0.02)
    assert pl.read_csv(io.BytesIO(csv), schema=parquet.schema).equals(parquet)
    assert pl.DataFrame(json.loads(parsed), schema=parquet.schema).equals(parquet)


def test_table_of_layers(done: Path) -> None:
    text = fine("table", "commands", "--store", str(done / "runs"), "--format", "csv", "--layers")
    frame = pl.read_csv(io.StringIO(text))
    assert len(frame) == 8 * 2
    assert {"layer", "density", "learning_distance"} <= set(frame.columns)


def test_table_of_layers_as_text(done: Path, tmp_path: Path) -> None:
    said = fine("table", "commands", "--store", str(done / "runs"), "--layers")
    rows = [line.split() for line in said.splitlines() if ".weight" in line]
    assert len(rows) == 4 * 2  # levels and layers
    assert [" ".join(row[:3]) for row in rows][:2] == ["100 % fc1.weight", "100 % output.weight"]
    assert "of all" in said
    assert "The same everywhere: " in " ".join(said.split())
    assert "Means over 2 seeds." in said


def test_a_table_of_layers_says_where_no_probe_measures_them(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**STUDY, "probes": ["accuracy"], "sweep": {}}))
    store = ["--store", str(tmp_path / "runs")]
    fine("run", str(tmp_path / "study.yaml"), *store, "--jobs", "1")
    for form in ("text", "json"):
        result = invoke("table", "commands", *store, "--layers", "--format", form)
        assert "no probe of this study measures layers; add one" in result.stderr


def test_table_as_text(done: Path) -> None:
    assert "density" in fine("table", "commands", "--store", str(done / "runs")).lower()


def test_table_typeset(done: Path, tmp_path: Path) -> None:
    store = ["--store", str(done / "runs")]
    text = fine("table", "commands", *store, "--format", "latex")
    assert text.count("\\begin{tabular}") == 1
    fine("table", "commands", *store, "--format", "latex", "--out", str(tmp_path / "table.tex"))
    assert (tmp_path / "table.tex").read_text() == text
    assert "| ---: |" in fine("table", "commands", *store, "--format", "markdown")


def test_figures_are_written_at_the_width_of_a_column(done: Path, tmp_path: Path) -> None:
    store = ["--store", str(done / "runs"), "--out", str(tmp_path / "figures")]
    said = fine("figure", "commands", "--format", "svg", "--width", "80mm", *store).splitlines()
    assert [Path(line).suffix for line in said] == [".svg", ".svg", ".tex"]  # what it costs, and the arm
    assert 'width="226.77pt"' in Path(said[0]).read_text()[:300]
    wrong = invoke("figure", "commands", "--format", "gif", *store)
    assert (wrong.exit_code, "--format must be of pdf, png and svg, got 'gif'" in wrong.stderr) == (2, True)


def test_results_studies_and_papers_are_cited(done: Path) -> None:
    store = ["--store", str(done / "runs")]
    text = fine("cite", "commands", *store)
    assert text.startswith("Computed with overparam ")
    assert "study commands, revision " in text
    assert text.count("@misc{overparam,") == 1
    bibtex = fine("cite", "lottery-ticket-conv", *store, "--format", "bibtex")
    assert bibtex == fine("cite", "lottery-ticket", "--store", "not there", "--format", "bibtex")
    assert "@inproceedings{frankle2019lottery," in bibtex
    wrong = invoke("cite", "lotery-ticket", *store)
    assert wrong.exit_code == 2
    assert "did you mean 'lottery-ticket'" in wrong.stderr
    assert "commands" in wrong.stderr
    assert invoke("cite", "lottery-ticket", "--format", "text,bibtex").exit_code == 2


def test_set_and_sweep_make_other_rows(done: Path) -> None:
    args = ["run", str(done / "study.yaml"), "--store", str(done / "runs"), "--jobs", "1"]
    fine(*args, "--set", "train.lr=0.05", "--sweep", "prune.criterion=magnitude,random", "--sweep", "seed=3")
    text = fine("table", "commands", "--store", str(done / "runs"), "--format", "csv")
    frame = pl.read_csv(io.StringIO(text))
    assert sorted(set(frame["prune.criterion"])) == ["magnitude", "random"]
    assert set(frame["seed"]) == {3}
    fine(*args)  # and back: all of it is still there
    again = pl.read_csv(io.StringIO(fine("table", "commands", "--store", str(done / "runs"), "--format", "csv")))
    assert len(again) == 8


@pytest.mark.parametrize("command", ["table", "report"])
def test_a_name_of_results_has_no_values_to_set(command: str, done: Path) -> None:
    for option in (["--set", "train.lr=0.1"], ["--sweep", "seed=7"]):
        result = invoke(command, "commands", "--store", str(done / "runs"), *option)
        assert result.exit_code == 2
        assert "--set and --sweep change a study, and 'commands' only names results: give the path" in result.stderr


def test_table_of_curves(done: Path) -> None:
    text = fine("table", "commands", "--store", str(done / "runs"), "--format", "csv", "--curves")
    frame = pl.read_csv(io.StringIO(text))
    assert {"seed", "level", "iteration", "epoch", "lr", "loss"} <= set(frame.columns)
    assert frame["fingerprint"].n_unique() == 8
    for options in (["--curves"], ["--curves", "--layers", "--format", "csv"]):
        assert invoke("table", "commands", "--store", str(done / "runs"), *options).exit_code == 2


def test_report_is_written(done: Path, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "report.html"
    said = fine("report", "commands", "--store", str(done / "runs"), "--out", str(page))
    assert said.strip() == str(page)
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")


def test_log_tells_every_step(done: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    fine("run", str(done / "study.yaml"), "--store", str(tmp_path / "runs"), "--log", str(log), "--jobs", "1")
    events = [json.loads(line) for line in log.read_text().split("\n") if line]
    assert [event["event"] for event in events[:2]] == ["begin", "started"]
    assert sum(event["event"] == "finished" and event["ran"] for event in events) == 22
    assert events[-1]["event"] == "end"


def test_tables_of_two_stores_are_the_same(done: Path, tmp_path: Path) -> None:
    fine("run", str(done / "study.yaml"), "--store", str(tmp_path / "runs"), "--jobs", "1")
    frames = [
        pl.read_csv(io.StringIO(fine("table", "commands", "--store", str(store), "--format", "csv")))
        for store in (tmp_path / "runs", done / "runs")
    ]
    one, two = (frame.drop(MEASURED, strict=False) for frame in frames)
    assert one.equals(two)


def test_a_small_study_does_not_wait_for_the_compiler() -> None:
    """Torch's optimisers load torch.compile's 800 modules at their first step, if nobody prevents it."""
    program = (
        "import sys, small, torch\nfrom overparam.train import TrainSettings, fit\n"
        "data = small.built(small.vectors())\nmodule = small.MLP.build(data.input_shape, data.classes, 0)\n"
        "for name in ('sgd', 'adam', 'adamw'): fit(module, data, TrainSettings(optimizer=name, epochs=1))\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    tests = str(Path(__file__).parents[1])
    ended = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": tests})
    assert ended.returncode == 0


def test_version() -> None:
    assert fine("--version") == f"overparam {overparam.__version__}\n"


def test_failures_are_told_by_seed(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**STUDY, "train": {**STUDY["train"], "lr": 1e30}}))
    args = (str(tmp_path / "study.yaml"), "--store", str(tmp_path / "runs"))
    assert invoke("run", *args, "--jobs", "1", "--engine", "dense").exit_code == 1
    failed = [line for line in fine("check", *args).splitlines() if line.startswith("failed before: ")]
    assert sorted(line.partition(": training")[0] for line in failed) == [
        f"failed before: train (level 0), seed {seed}" for seed in (0, 1)
    ]


def test_table_of_arms_against_each_other(done: Path) -> None:
    store = ["--store", str(done / "runs")]
    assert (
        fine("table", "commands", *store, "--compare") == "There is one arm, so there is nothing to compare it with.\n"
    )
    text = fine("table", "commands", *store, "--compare", "--x", "kept", "--format", "csv")
    assert text == "condition,arm,kept,mean,n,best,open,behind,behind_low,behind_high\n"
    for options in (["--x", "kept"], ["--compare", "--layers"], ["--compare", "--y", "test_acuracy"]):
        result = invoke("table", "commands", *store, *options)
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr
