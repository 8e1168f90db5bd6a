"""A study file to begin with, and the JSON Schema by which editors complete and check study files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner, Result

from overparam import Study
from overparam.cli import app
from overparam.lab import built_in_studies, parse_yaml
from overparam.reference.schema import study_schema

SMALL = ("--set", "world.train_size=30", "--set", "train.epochs=1", "--sweep", "seed=0", "--jobs", "1")


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    made = study_schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def fine(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_what_init_writes_runs_and_has_comments(schema: jsonschema.Draft202012Validator) -> None:
    assert fine("init", "first try.yaml") == "first try.yaml\nnext: overparam run 'first try.yaml'\n"
    text = Path("first try.yaml").read_text()
    assert sum("#" in line for line in text.splitlines()) > 20
    schema.validate(parse_yaml(text, "file"))
    study = Study.from_file("first try.yaml")
    assert (study.name, len(study.experiments)) == ("first-try", 6)
    assert "[11/11]" in invoke("run", "first try.yaml", *SMALL).stderr


@pytest.mark.parametrize("line", ["schedule: cosine", "evaluate_every: 1ep", "train.lr: {log: [0.01, 1.0, 3]}"])
def test_what_is_commented_out_can_be_taken_in(line: str, schema: jsonschema.Draft202012Validator) -> None:
    fine("init")
    text = Path("study.yaml").read_text()
    assert f"# {line}" in text
    Path("study.yaml").write_text(text.replace(f"# {line}", line))
    schema.validate(parse_yaml(text, "file"))
    assert Study.from_file("study.yaml").plan.rows


def test_init_replaces_nothing_unasked_and_takes_only_yaml() -> None:
    Path("study.yaml").write_text("mine")
    result = invoke("init")
    assert result.exit_code == 2
    assert result.stderr == "error: 'study.yaml' is there already; name another file, or replace it with --force\n"
    assert Path("study.yaml").read_text() == "mine"
    fine("init", "--force")
    assert "a study file ends with .yaml, got 'x.txt'; try 'x.yaml'" in invoke("init", "x.txt").stderr


def test_init_like_a_study_that_comes_with_overparam() -> None:
    fine("init", "mine.yaml", "--like", "lottery-ticket")
    assert Path("mine.yaml").read_text() == built_in_studies()["lottery-ticket"]
    assert "did you mean 'lottery-ticket'?" in invoke("init", "x.yaml", "--like", "lottery-tickt").stderr


def test_the_schema_is_printed_and_written_and_stands_in_the_file() -> None:
    printed = json.loads(fine("schema"))
    fine("schema", "--out", "out.json")
    fine("init", "--schema")
    first = Path("study.yaml").read_text().splitlines()[0]
    beside = first.removeprefix("# yaml-language-server: $schema=")
    assert printed == json.loads(Path("out.json").read_text()) == json.loads(Path(beside).read_text())


def test_every_study_that_comes_with_overparam_is_as_the_schema_says(schema: jsonschema.Draft202012Validator) -> None:
    for name, text in built_in_studies().items():
        wrong = [
            f"{list(error.absolute_path)}: {error.message}" for error in schema.iter_errors(parse_yaml(text, name))
        ]
        assert not wrong, name


GIVEN: dict[str, Any] = {
    "name": "x",
    "world": "digits",
    "network": {"name": "mlp", "hidden": [8]},
    "train": {"lr": 1e-3, "epochs": 1},
    "chain": ["train", {"prune": {"fraction": 0.5}}, {"finetune": {"length": "5it"}}],
}


@pytest.mark.parametrize(
    "given",
    [
        {"network": "mine:factory"},
        {"network": {"mlp": {"hidden": [3]}}},
        {"network": {"name": "mine:factory", "own": 3}},
        {"world": {"dataset": "mine:data", "label_noise": {"rate": 0.2}}},
        {"world": {"dataset": {"path": "pictures"}}},
        {"train": {"optimizer": {"sgd": {"momentum": 0.9}}, "length": "1e3it", "evaluate_at": "log"}},
        {"train": {"loss": "mine:loss", "schedule": {"multistep": {"milestones": ["1ep"]}}, "epochs": 2}},
        {
            "sweep": {
                "seed": {"range": [0, 4]},
                "train.lr": {"log": [1e-3, 1e-1, 5]},
                "world.seed": [1, {"range": [3, 4]}],
            }
        },
        {"variants": {"a": None, "b": {"prune.criterion": {"magnitude": {}}, "sweep": {"seed": None}}}},
        {"chain": ["mine:step", {"branch": "b", "steps": ["train"]}, {"rewind": "init"}, {"mine:step": {"by": 3}}]},
        {"probes": ["cost", {"accuracy": {"mask_samples": 3}}, "mine:probe"]},
        {"prune": {"pattern": "2:4"}, "mine:step": {"by": 2}, "engine": "dense", "device": "cuda:1"},
    ],
)
def test_what_a_study_may_have_the_schema_allows(
    given: dict[str, Any], schema: jsonschema.Draft202012Validator
) -> None:
    schema.validate({**GIVEN, **given})


@pytest.mark.parametrize(
    "given",
    [
        {"wrold": "digits"},
        {"name": "a b"},
        {"world": "digit"},
        {"world": {"dataset": "digits", "train_sise": 3}},
        {"network": {"name": "mlp", "hiden": [3]}},
        {"network": {"name": "mlp", "hidden": "big"}},
        {"train": {"lr": 0}},
        {"train": {"lr": "fast"}},
        {"train": {"batch_size": 2.5}},
        {"train": {"length": "5min"}},
        {"train": {"optimizer": {"sgd": {"momentum": 1}}}},
        {"train": {"momentum": 0.9}},
        {"chain": []},
        {"chain": ["trian"]},
        {"chain": [{"repeat": 2}]},
        {"chain": [{"train": {"lrr": 1}}]},
        {"chain": [{"train": {}, "prune": {}}]},
        {"sweep": {"seed": 3}},
        {"sweep": {"seed": {"range": [0]}}},
        {"sweep": {"tran.lr": [1]}},
        {"probes": ["acuracy"]},
        {"engine": "spares"},
        {"paper": "no-paper"},
    ],
)
def test_what_a_study_cannot_have_the_schema_refuses(
    given: dict[str, Any], schema: jsonschema.Draft202012Validator
) -> None:
    assert not schema.is_valid({**GIVEN, **given})


def test_fields_are_explained_and_have_their_defaults(schema: jsonschema.Draft202012Validator) -> None:
    train = schema.schema["$defs"]["step-train"]["properties"]
    assert train["lr"]["default"] == 0.1
    assert train["lr"]["exclusiveMinimum"] == 0
    assert train["lr"]["description"].startswith("learning rate")
    silent = [
        f"{name}.{field}"
        for name, made in schema.schema["$defs"].items()
        for field, said in made.get("properties", {}).items()
        if name.startswith("step-") and "description" not in said
    ]
    assert not silent
