"""What only reads never imports torch, nor does a run that is known to have nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from overparam.cli import app
from overparam.lab import answered
from overparam.lab.answered import question
from overparam.lab.results import load_results

GIVEN: dict[str, Any] = {
    "name": "quick",
    "world": {"dataset": "digits", "train_size": 40, "test_size": 20},
    "network": {"name": "mlp", "hidden": [6]},
    "train": {"lr": 0.1, "batch_size": 20, "epochs": 1},
    "prune": {"fraction": 0.5},
    "chain": ["train", "prune", "train"],
    "sweep": {"seed": [0, 1]},
}
PROGRAM = """
import sys
from overparam.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    assert "torch" not in sys.modules, "torch is imported"
"""


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a study file, the store of its results."""
    folder = tmp_path_factory.mktemp("quick")
    (folder / "quick.yaml").write_text(yaml.safe_dump(GIVEN))
    where = Path.cwd()
    os.chdir(folder)
    assert invoke("run", "quick.yaml", "--jobs", 1).exit_code == 0
    yield folder
    os.chdir(where)


@pytest.mark.parametrize(
    "command", ["table quick", "report quick", "store ls", "store show quick", "get quick", "run quick.yaml"]
)
def test_no_torch(command: str, place: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()], capture_output=True, text=True, cwd=place, env={**os.environ}
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_a_run_with_nothing_to_do_says_what_any_run_says(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = invoke("run", "quick.yaml")
    monkeypatch.setattr(answered, "answer", lambda *_: None)
    made_anew = invoke("run", "quick.yaml")
    assert known.stdout == made_anew.stdout
    assert load_results(place / "runs", "quick").facts["run"].startswith("0 steps run and 8 found in the store")


def test_what_is_missing_is_computed(place: Path) -> None:
    node = load_results(place / "runs", "quick").frame["fingerprint"][0]
    path = place / "runs" / "steps" / node[:2] / f"{node}.json"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    asked = question("quick.yaml", [], place / "runs")
    assert asked is not None
    assert answered.answer(asked, place / "runs") is None
    result = invoke("run", "quick.yaml", "--jobs", 1)
    assert result.exit_code == 0
    assert load_results(place / "runs", "quick").facts["run"].startswith("1 step run and 7 found")
    invoke("run", "quick.yaml", "--jobs", 1)
    assert answered.answer(asked, place / "runs") is not None


def test_another_question(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever may change the answer is in the question."""
    asked = {question("quick.yaml", [], place / "runs")}
    asked.add(question("quick.yaml", ["set train.lr=0.2"], place / "runs"))
    asked.add(question("quick.yaml", ["sweep seed=0,1,2"], place / "runs"))
    asked.add(question("quick.yaml", [], place / "others"))
    (place / "other.yaml").write_text(yaml.safe_dump({**GIVEN, "seed": 1}))
    asked.add(question("other.yaml", [], place / "runs"))
    (place / "filed.yaml").write_text(yaml.safe_dump({**GIVEN, "world": {"dataset": "mnist"}}))
    monkeypatch.setenv("OVERPARAM_DATA", str(place / "data"))
    asked.add(question("filed.yaml", [], place / "runs"))
    (place / "data" / "mnist").mkdir(parents=True)
    (place / "data" / "mnist" / "train-images-idx3-ubyte").write_bytes(b"1")
    asked.add(question("filed.yaml", [], place / "runs"))
    monkeypatch.setattr(answered, "_code", list)
    asked.add(question("quick.yaml", [], place / "runs"))
    assert len(asked) == 8
    assert None not in asked


@pytest.mark.parametrize(
    "changed",
    [
        {"network": "my_module:net"},
        {"world": "my_module:data"},
        {"world": {"dataset": {"images": "folder"}}},
        {"world": {"dataset": "text", "path": "a.txt"}},
        {"prune": {"criterion": "my_module:score"}},
        {"sweep": {"network": ["mlp", "my_module:net"]}},
        {"sweep": {"world.dataset": ["digits", "tiny-imagenet"]}},
        {"variants": {"a": {"world.dataset": "my-plug-in"}}},
    ],
)
def test_what_is_not_known_without_torch(changed: dict[str, Any], place: Path) -> None:
    (place / "own.yaml").write_text(yaml.safe_dump({**GIVEN, **changed}))
    assert question("own.yaml", [], place / "runs") is None


def test_own_code_in_a_change(place: Path) -> None:
    assert question("quick.yaml", ["set prune.criterion=my_module:score"], place / "runs") is None
    assert question("quick.yaml", ["set world.dataset=text"], place / "runs") is None
    assert question("quick.yaml", ["set world=text"], place / "runs") is None
    assert question("quick.yaml", ["set world={dataset: text}"], place / "runs") is None
    assert question("quick.yaml", ["sweep prune.criterion=random,my_module:score"], place / "runs") is None
