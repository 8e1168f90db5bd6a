"""Everything wrong that a user may say ends in one clear sentence and a non-zero exit code, never a traceback."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from overparam.cli import app
from overparam.lab import Store, load_results, parse_yaml
from overparam.lab.store import sealed

BASE: dict[str, Any] = {
    "name": "wrong",
    "world": {"dataset": "digits", "train_size": 60, "test_size": 40},
    "network": {"name": "mlp", "hidden": [8]},
    "train": {"lr": 0.1, "batch_size": 20, "epochs": 1},
    "prune": {"fraction": 0.5},
    "chain": ["train", {"repeat": 1, "steps": ["prune", {"rewind": "init"}, "train"]}],
}

MINE = """
import os
import torch
from torch import nn

thing = 3


def raising(): raise RuntimeError("no such\\nlayer")
def wrong_shape(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
def nothing(): return None


class Raises(nn.Module):
    def forward(self, x): raise KeyError("forward")


class RaisesInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        if self.training: raise ValueError("not in training")
        return self.layer(x.flatten(1))


def loss(outputs, labels): raise ZeroDivisionError("my loss")
def vector_loss(outputs, labels): return outputs.sum(1)
def constant_loss(outputs, labels): return torch.zeros(())
def no_loss(outputs, labels): return None
def data(): raise OSError("no disk")
def no_data(): return 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules of the user's."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "broken.py").write_text("def factory(:\n")
    (tmp_path / "ends.py").write_text("import sys\nsys.exit('usage: ends FILE')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in ("mine", "broken", "ends"):
        sys.modules.pop(name, None)


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Return BASE with the values at the given paths (keys and places between slashes) replaced."""
    document = copy.deepcopy(BASE)
    for path, value in changes.items():
        *parents, last = path.split("/")
        here: Any = document
        for key in parents:
            here = here[key]
        here[last] = value
    return document


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def the_error(result: Result) -> str:
    """Return the one sentence that a command ended with."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code not in (0, None), result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().split("\n")
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, result.output
    assert lines[-1] == errors[0]
    return errors[0].removeprefix("error: ")


def check(document: Any, *args: str) -> Result:
    Path("wrong.yaml").write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return invoke("check", "wrong.yaml", *args)


SPECS: list[tuple[dict[str, Any], str]] = [
    # unknown keys
    ({"wrold": 1}, "no such field 'wrold'; did you mean 'world'? (known: name,"),
    ({"world/train_sise": 3}, "World.train_sise: no such field; did you mean 'train_size'?"),
    (
        {"world/label_noise": {"rat": 0.2}},
        "World.label_noise.rat: no such field; did you mean 'rate'? (known: kind,",
    ),
    ({"world/augmentation": {"crp": 1}}, "World.augmentation.crp: no such field; did you mean 'crop'?"),
    ({"train/learning_rate": 0.1}, "train.learning_rate: no such field (known: optimizer, lr,"),
    ({"prune/fracton": 0.1}, "prune.fracton: no such field; did you mean 'fraction'?"),
    ({"redense": {"to": 0}}, "redense.to: no such field (known: label, called, world)"),
    ({"network/widht": 3}, "options.widht: no such option of network 'mlp' (known: hidden, bias, norm)"),
    ({"chain": ["train", {"rewind": {"too": "init"}}]}, "chain[1]: Rewind.too: no such field; did you mean 'to'?"),
    (
        {"train/stop_at": {"loss": 1}},
        "Train.stop_at.loss: no such field (known: train_loss, train_accuracy, validation_loss,",
    ),
    ({"probes": [{"accuracy": {"x": 1}}]}, "Accuracy.x: no such field"),
    ({"sweep": {"train.lrr": [1]}}, "cannot set 'train.lrr': no such field; did you mean 'lr'?"),
    ({"sweep": {"tran.lr": [1]}}, "cannot set 'tran.lr': it must start with one of world, network, seed,"),
    ({"sweep": {"world.seedd": [1]}}, "World.seedd: no such field; did you mean 'seed'?"),
    ({"variants": {"a": {"prune.critrion": 1}}}, "cannot set 'prune.critrion': no such field; did you mean"),
    ({"chain": [{"train": {"world": {"trainsize": 3}}}]}, "train.world: World.trainsize: no such field; did you mean"),
    # unknown names
    ({"world/dataset": "mnits"}, "unknown dataset 'mnits'; did you mean 'mnist'? (known: digits, mnist,"),
    ({"network": "lenet-300"}, "unknown network 'lenet-300'; did you mean 'lenet-300-100'? (known: "),
    ({"train/optimizer": "sdg"}, "Train.optimizer: unknown optimiser 'sdg'; did you mean 'sgd'? (known: adam,"),
    ({"train/schedule": "cos"}, "Train.schedule: unknown schedule 'cos'; did you mean 'cosine'? (known: "),
    ({"train/loss": "hinge"}, "Train.loss: unknown loss 'hinge' (known: cross-entropy, mse,"),
    ({"train/loss": "mse"}, "train.loss 'mse' does not fit the task Classification(classes=10)"),
    ({"prune/criterion": "magnitud"}, "unknown criterion 'magnitud'; did you mean 'magnitude'? (known: "),
    ({"prune/scope": "globl"}, "unknown scope 'globl'; did you mean 'global'? (known: "),
    ({"probes": ["acuracy"]}, "unknown probe 'acuracy'; did you mean 'accuracy'? (known: "),
    ({"chain": ["trian"]}, "chain[0]: unknown step 'trian'; did you mean 'train'? (known: "),
    ({"network/init": "kaiming"}, "Network.init: input should be 'kaiming-normal', 'glorot-normal',"),
    (
        {"world/label_noise": {"kind": "symetric"}},
        "World.label_noise.kind: input should be 'symmetric', 'random-labels', ",
    ),
    (
        {"chain": ["train", "prune", {"rewind": "best"}]},
        "rewind refers to 'best', which is not known here (known:",
    ),
    # wrong types
    ({"train/lr": "fast"}, "Train.lr: input should be a valid number, got 'fast'"),
    ({"train/epochs": [1]}, "Train.epochs: input should be a valid number, got [1]"),
    ({"train/batch_size": 2.5}, "Train.batch_size: input should be a valid integer,"),
    ({"train/optimizer": {"adam": {"betas": [0.9]}}}, "Train.optimizer: Adam.betas.1: is required"),
    ({"train/schedule": {"multistep": {"milestones": 3}}}, "Multistep.milestones: input should be a list, got 3"),
    ({"train/warmup": "long"}, "Train.warmup: a length must be epochs such as '160ep' or iterations such as '5000it'"),
    ({"train/loss": 3}, "Train.loss: loss must be one of cross-entropy, mse,"),
    ({"train": 3}, "train must be a mapping of settings, got 3"),
    ({"prune/exclude": 3}, "Prune.exclude: input should be a list, got 3"),
    ({"network/hidden": "big"}, "options.hidden: input should be a list, got 'big' (network 'mlp')"),
    ({"network": ["mlp"]}, "Network.name: network must be one of conv-2, "),
    ({"network": {"hidden": [3]}}, "network.name: is required, got the keys hidden"),
    ({"world": 3}, "World.dataset: dataset must be one of digits, "),
    ({"world/seed": "x"}, "World.seed: input should be a valid integer,"),
    ({"world/label_noise": 0.2}, "World.label_noise: input should be a mapping of the fields of LabelNoise"),
    ({"chain": "train"}, "chain must be a list of steps, got 'train'"),
    ({"chain": [3]}, "chain[0] must be a step's name, a mapping with one step, or {repeat: ..., steps: [...]}, got 3"),
    ({"chain": ["train", {"reinit": 3}]}, "chain[1]: reinit takes no bare value, got 3"),
    ({"chain": [{"train": {}, "prune": {}}]}, "chain[0] must be a step's name, a mapping with one step,"),
    ({"probes": "accuracy"}, "probes must be a list such as [accuracy, cost], got 'accuracy'"),
    ({"probes": 3}, "probes must be a list such as [accuracy, cost], got 3"),
    ({"probes": [{"accuracy": [1]}]}, "probe accuracy takes a mapping of its fields, got [1]"),
    ({"sweep": [1]}, "sweep must map dotted paths to lists of values, got [1]"),
    ({"sweep": {"seed": 3}}, "sweep.seed must be a list of at least one value, got 3"),
    ({"variants": ["a"]}, "variants must map names to changes by dotted path, got ['a']"),
    ({"variants": {"a": 3}}, "variants.a must be a mapping of dotted paths to values, got 3"),
    ({"seed": "a"}, "seed must be a whole number, 0 or more, got 'a'"),
    ({"sweep": {"seed": [0.5]}}, "seed must be a whole number, 0 or more, got 0.5"),
    ({"description": 3}, "description must be text, got 3"),
    ({"name": 3}, "name must be letters, digits, '.', '_' and '-', at most 100, got 3"),
    ({"name": "../x"}, "name must be letters, digits, '.', '_' and '-', at most 100, got '../x'"),
    # impossible values
    ({"prune": {"density": 0}}, "Prune.density: input should be greater than 0, got 0"),
    ({"prune": {"density": 1.5}}, "Prune.density: input should be less than or equal to 1, got 1.5"),
    ({"prune": {"fraction": 1}}, "Prune.fraction: input should be less than 1, got 1"),
    ({"prune": {"fraction": -0.1}}, "Prune.fraction: input should be greater than or equal to 0, got -0.1"),
    ({"prune": {"fraction": 0.1, "density": 0.1}}, "or density (to be kept), got both"),
    ({"prune": {}}, "or density (to be kept), got neither"),
    ({"prune": {"fraction": 0.1, "rates": {"output": 0.5}}}, "prune.rates: no such field any more: they belong"),
    ({"train/lr": -1}, "Train.lr: input should be greater than 0, got -1"),
    ({"train/lr": float("nan")}, "Train.lr: input should be a finite number, got nan"),
    ({"train/epochs": 0}, "Train.epochs: input should be greater than 0, got 0"),
    ({"train/batch_size": 0}, "Train.batch_size: input should be greater than or equal to 1, got 0"),
    ({"train/optimizer": {"sgd": {"momentum": 1}}}, "SGD.momentum: input should be less than 1, got 1"),
    ({"train/momentum": 0.9}, "train.momentum: no such field any more: it belongs to the optimizer, as in"),
    ({"sweep": {"train.weight_decay": [0]}}, "cannot set 'train.weight_decay': no such field any more: it belongs to"),
    (
        {"train/optimizer": {"sgd": {"weight_decay": -1}}},
        "SGD.weight_decay: input should be greater than or equal to 0, got -1",
    ),
    (
        {"train/schedule": {"multistep": {"milestones": [1], "gamma": 0}}},
        "Multistep.gamma: input should be greater than 0, got 0",
    ),
    ({"train/schedule": {"multistep": {"milestones": [3, 2]}}}, "milestones must increase, got 3ep, 2ep"),
    ({"train/schedule": "multistep"}, "Train.schedule: Multistep.milestones: is required"),
    ({"train/optimizer": {"sgd": {"nesterov": True}}}, "SGD: nesterov needs a momentum above 0"),
    ({"train/optimizer": {"adam": {"momentum": 0.9}}}, "Adam.momentum: no such field (known: betas, weight_decay)"),
    ({"train/length": "5it"}, "Train: needs either epochs (such as 60) or length"),
    ({"train": {"length": "5min"}}, "Train.length: a length must be epochs such as '160ep' or iterations"),
    ({"train": {"length": "0it"}}, "Train: length must be longer than nothing, got '0it'"),
    ({"train": {"length": "1.5it"}}, "Train.length: a number of iterations must be whole, got '1.5it'"),
    ({"train/stop_at": {}}, "Train.stop_at: needs a threshold (train_loss,"),
    ({"world/label_noise": {"rate": 1.5}}, "World.label_noise.rate: input should be less than or equal to 1, got 1.5"),
    ({"world/train_size": 5000}, "World.train_size must be at most 1297, what the dataset has; got 5000"),
    ({"world/test_size": 0}, "World.test_size: input should be greater than or equal to 1, got 0"),
    ({"network/hidden": [-3]}, "options.hidden.0: input should be greater than 0, got -3 (network 'mlp')"),
    ({"network": "vgg-11"}, "network 'vgg-11' needs images of at least 16x16 pixels, got 8x8"),
    ({"network/hidden": [10**10]}, "network 'mlp' cannot be made for inputs of shape (1, 8, 8) and 10 outputs: "),
    ({"seed": -1}, "seed must be a whole number, 0 or more, got -1"),
    ({"chain": []}, "chain has no steps; give at least one, such as train"),
    ({"chain": ["prune"]}, "the chain has no step that trains, so there would be nothing to measure; add train"),
    (
        {"chain": ["train", {"repeat": -1, "steps": ["prune"]}]},
        "chain[1]: repeat must be a whole number of times, 0",
    ),
    (
        {"chain": ["train", {"repeat": "x", "steps": ["prune"]}]},
        "chain[1]: repeat must be a whole number of times, 0",
    ),
    (
        {"chain": ["train", {"repeat": 2}]},
        "chain[1]: a repeat has the form {repeat: 27, steps: [...]}, got the keys repeat",
    ),
    ({"chain": ["train", {"repeat": 2, "steps": []}]}, "chain[1]: repeat.steps has no steps; give at least one"),
    ({"chain": ["train", {"repeat": 10**9, "steps": ["train"]}]}, "chain has 1,000,000,001 steps, 100,000 at most"),
    ({"chain": [{"rewind": "1it"}, "train"]}, "rewind refers to '1it': no training comes before it in the chain"),
    ({"chain": ["train", "prune", {"rewind": "9ep"}]}, "cannot save or rewind to 9ep: the training ends at 1ep"),
    ({"chain": ["train", {"lr-rewind": "x"}]}, "LrRewind: to must be 'init' or a point of the schedule such as"),
    ({"sweep": {"seed": []}}, "sweep.seed must be a list of at least one value, got []"),
    ({"sweep": {"seed": [0, 0]}}, "sweep.seed has 0 twice"),
    ({"sweep": {"world.train_size.x": [1]}}, "cannot set 'world.train_size.x': 60 has no parts"),
    # what the user brings
    ({"network": "nowhere:factory"}, "network 'nowhere:factory': there is no module 'nowhere', neither in the current"),
    ({"network": "mine:rasing"}, "network 'mine:rasing': 'mine' has no 'rasing'; did you mean 'raising'?"),
    ({"network": "broken:factory"}, "importing 'broken' failed with SyntaxError: invalid syntax (broken.py, line 1)"),
    ({"network": "mine:thing"}, "network 'mine:thing' must be a function or class that makes a new"),
    (
        {"network": "mine:raising"},
        "network 'mine:raising' cannot be made for inputs of shape (1, 8, 8) and 10 outputs",
    ),
    ({"network": "mine:wrong_shape"}, "gives an output of shape (2, 3) for two inputs of shape (1, 8, 8); (2, 10) is"),
    ({"network": "mine:nothing"}, "network 'mine:nothing': its factory must return a torch.nn.Module, got None"),
    (
        {"network": "mine:Raises"},
        "network 'mine:Raises' fails on a batch of shape (2, 1, 8, 8) and dtype torch.",
    ),
    ({"network": "a b:c"}, "Network.name: network 'a b:c': an import path is written 'package"),
    ({"train/loss": "nowhere:f"}, "loss 'nowhere:f': there is no module 'nowhere', neither in the"),
    ({"train/loss": "mine:los"}, "loss 'mine:los': 'mine' has no 'los'; did you mean 'loss'?"),
    ({"train/loss": "mine:thing"}, "loss 'mine:thing' must be a function (outputs, targets) or"),
    ({"train/loss": "ends:f"}, "loss 'ends:f': importing 'ends' failed with SystemExit: usage: ends FILE"),
    ({"world/dataset": "nowhere:f"}, "dataset 'nowhere:f': there is no module 'nowhere', neither"),
    ({"world/dataset": "mine:data"}, "the dataset function mine:data failed with OSError: no disk"),
    ({"world/dataset": "mine:no_data"}, "the dataset function mine:no_data must return a Dataset, got int"),
    ({"world/dataset": {"path": "pictures", "size": [8, 8]}}, "cannot find the images 'pictures': looked for "),
    ({"prune": {"fraction": 0.999}}, "prune (level 1): keeping 1 of the weights would empty a tensor"),
    ({"prune": {"density": 1e-6}}, "prune (level 1): keeping 0 of the weights would empty a tensor"),
    ({"prune/exclude": ["outptu"]}, "prune (level 1): exclude: 'outptu' is no role and matches no parameter; did you"),
    ({"prune/exclude": ["linear", "output"]}, "nothing is left to prune: of 2 tensors with a mask all are excluded"),
    ({"chain": ["train", "prune", {"lr-rewind": "9ep"}, "train"]}, "training would start at 9ep, which is not"),
]


@pytest.mark.parametrize(("changes", "expected"), SPECS, ids=lambda value: str(value)[:60])
def test_wrong_spec(changes: dict[str, Any], expected: str) -> None:
    said = the_error(check(changed(changes)))
    assert expected in said


@pytest.mark.parametrize("key", ["name", "world", "network", "chain"])
@pytest.mark.parametrize("null", [True, False])
def test_missing_field(key: str, null: bool) -> None:
    document = {**BASE, key: None} if null else {k: v for k, v in BASE.items() if k != key}
    said = the_error(check(document))
    assert re.sub(r", line \d+", "", said) == f"wrong.yaml: {key} is required"
    assert (", line " in said) == null, "what is not there stands in no line"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [", "wrong.yaml, line 1, column 8: not valid YAML ("),
        ("a: b: c", "wrong.yaml, line 1, column 5: not valid YAML ("),
        ("\tname: x", "wrong.yaml, line 1, column 1: not valid YAML ("),
        ("name: !!python/object:os.system x", "wrong.yaml, line 1, column 7: not valid YAML ("),
        ("", "wrong.yaml: a study must hold a mapping with the fields name, "),
        ("- train\n- prune\n", "wrong.yaml: a study must hold a mapping with the fields name, "),
        ("just words", "wrong.yaml: a study must hold a mapping with the fields name, "),
        ("3: 4", "wrong.yaml, line 1: no such field '3'"),
        ("name: x\n---\nname: y\n", "wrong.yaml, line 2, column 1: not valid YAML (but found another document)"),
        ("&a [*a]", "wrong.yaml: not valid YAML (it is nested too deeply, or contains itself)"),
        (
            "name: x\nname: y\n",
            "wrong.yaml, line 2, column 1: not valid YAML (the key 'name' stands here a second time)",
        ),
    ],
)
def test_wrong_file(text: str, expected: str) -> None:
    assert expected in the_error(check(text))


LINES = """\
name: wrong
world:
  dataset: digits
  train_size: 60
network: {name: mlp,
          hidden: [8]}
train: {lr: 0.1, batch_size: 20, epochs: 1}
prune:
  fraction: 0.5
chain:
- train
- repeat: 1
  steps:
  - prune
  - rewind: init
  - train: {lr: 0.2}
variants:
  plain:
  other:
    prune.criterion: random
    sweep: {train.lr: [0.1, 0.3]}
sweep:
  seed: [0, 1]
  world.train_size:
  - 50
axis: density
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("name: wrong", "name: a b", 1),
        ("dataset: digits", "dataset: digit", 3),
        ("  train_size: 60", "  train_sise: 60", 4),
        ("hidden: [8]", "hiden: [8]", 6),
        ("{lr: 0.1, batch", "{lr: fast, batch", 7),
        ("  fraction: 0.5", "  fracton: 0.5", 9),
        ("- train\n- repeat", "- trian\n- repeat", 11),
        ("- repeat: 1", "- repeat: -1", 12),
        ("  - rewind: init", "  - rewind: {too: init}", 15),
        ("{lr: 0.2}", "{lr: -0.2}", 16),
        ("    prune.criterion: random", "    prune.criterion: randm", 20),
        ("    prune.criterion: random", "    prune.critrion: random", 20),
        ("{train.lr: [0.1, 0.3]}", "{train.lr: [0.1, 0]}", 21),
        ("{train.lr: [0.1, 0.3]}", "{train.lr: 0.1}", 21),
        ("seed: [0, 1]", "seed: {range: [0]}", 23),
        ("seed: [0, 1]", "seed: [0, -1]", 23),
        ("  - 50", "  - many", 24),
        ("axis: density", "axis: densty", 26),
        ("axis: density", "axes: density", 26),
        ("fraction: 0.5", "fraction: 0.999", 8),  # found out by a rehearsal, of the whole step
    ],
)
def test_what_is_wrong_in_a_file_is_told_by_its_line(old: str, new: str, line: int) -> None:
    assert LINES.count(old) == 1
    Path("wrong.yaml").write_text(LINES.replace(old, new))
    assert the_error(invoke("check", "wrong.yaml")).startswith(f"wrong.yaml, line {line}: ")


def test_what_the_command_line_has_changed_stands_in_no_line() -> None:
    Path("wrong.yaml").write_text(LINES.replace("{lr: 0.1, batch", "{lr: fast, batch"))
    said = the_error(invoke("check", "wrong.yaml", "--set", "train.lr=quick"))
    assert said == "chain[0]: Train.lr: input should be a valid number, got 'quick'"
    said = the_error(invoke("check", "wrong.yaml", "--sweep", "seed=0,x", "--set", "train.lr=0.1"))
    assert said == "seed must be a whole number, 0 or more, got 'x'"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--set", "train.lr=yes", "Train.lr: input should be a valid number, got 'yes'"),
        ("--set", "train.lr=true", "Train.lr: input should be a valid number, got True"),
        ("--set", "train.lr='0.1'", "Train.lr: input should be a valid number, got '0.1'"),
        ("--set", "train.lr=1e999", "Train.lr: input should be a finite number, got inf"),
        ("--set", "train.lr=1:30", "Train.lr: input should be a valid number, got '1:30'"),
        ("--set", "train.lr=", "Train.lr: input should be a valid number, got None"),
        ("--set", "train.batch_size=1e1", "Train.batch_size: input should be a valid integer, got 10.0"),
        ("--set", "train.batch_size=true", "Train.batch_size: input should be a valid integer, got True"),
        ("--set", "train.optimizer.sgd.nesterov=yes", "SGD.nesterov: input should be true or false, got 'yes'"),
        ("--set", "train.optimizer.sgd.nesterov=1", "SGD.nesterov: input should be true or false, got 1"),
        ("--set", "world={dataset: digits, dataset: mnist}", "--set world, line 1, column 19: not valid YAML (the key"),
        ("--sweep", "seed=0:10", "seed must be a whole number, 0 or more, got '0:10'"),
        ("--sweep", "seed=[0, 1]", "seed must be a whole number, 0 or more, got [0, 1]"),
        ("--sweep", "train.lr=0.1,,0.2", "--sweep train.lr, line 1, column 6: not valid YAML ("),
    ],
)
def test_values_that_mean_something_else(option: str, value: str, expected: str) -> None:
    assert expected in the_error(check(BASE, option, value))


def test_numbers_on_the_command_line_are_numbers_in_the_table() -> None:
    Path("wrong.yaml").write_text(yaml.safe_dump(changed({"chain": ["train"]})))
    run = invoke(
        "run",
        "wrong.yaml",
        "--jobs",
        "1",
        "--engine",
        "dense",
        "--set",
        "train.batch_size=010",
        "--sweep",
        "train.lr=1e-3,.5",
    )
    assert run.exit_code == 0, run.output
    rows = json.loads(invoke("table", "wrong", "--format", "json").stdout)
    assert [row["train.lr"] for row in rows] == [0.001, 0.5]
    assert "batch_size: 10\n" in (text := load_results(Store("runs"), "wrong").spec)
    assert parse_yaml(text, "record")["sweep"] == {"train.lr": [0.001, 0.5]}


def test_what_may_be_wrong_with_the_data_is_told_by_check_and_run() -> None:
    for place in ("train/a", "train/b", "test/a"):
        Path("pets", place).mkdir(parents=True)
        Image.new("L", (8, 8), len(place)).save(Path("pets", place, "0.png"))
    Path("pets/train/a/1.gif").touch()
    told = [
        "dataset 'pets': left out 1 of other types (such as train/a/1.gif)",
        "dataset 'pets': 1 of 2 classes without test examples, such as 'b'",
        "dataset 'pets': 1 of 1 test examples with the same input as a training example",
    ]
    Path("pets/test/a/0.png").write_bytes(Path("pets/train/a/0.png").read_bytes())
    changes = {"world": {"dataset": {"path": "pets", "size": [8, 8]}}, "chain": ["train"]}
    document = changed(changes)
    checked = check(document)
    assert checked.exit_code == 0
    assert [line for line in checked.stdout.split("\n") if line.startswith("note: ")] == [
        f"note: {each}" for each in told
    ]
    ran = invoke("run", "wrong.yaml", "--jobs", "1", "--engine", "dense")
    assert ran.exit_code == 0, ran.output
    assert all(each in ran.stderr for each in told)
    assert "{" not in ran.stdout  # the table is titled with the name of the dataset
    assert "pets, " in ran.stdout


def test_binary_file() -> None:
    Path("binary.yaml").write_bytes(bytes(range(256)))
    assert "study file 'binary.yaml' cannot be read" in the_error(invoke("check", "binary.yaml"))


def test_no_file() -> None:
    said = the_error(invoke("run", "nowhere.yaml"))
    assert said == "study file 'nowhere.yaml' cannot be read (No such file or directory)"


def test_directory() -> None:
    for name in ("study.yaml", "studies"):
        Path(name).mkdir()
        assert the_error(invoke("run", name)) == f"{name!r} is a folder; name the YAML file of a study in it"


def test_unknown_study() -> None:
    said = the_error(invoke("run", "sparse-doubel-descent"))
    assert said.startswith("no study 'sparse-doubel-descent'; did you mean 'sparse-double-descent'")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--set", "train.lr"], "--set 'train.lr' must have the form path=value"),
        (["--set", "=3"], "cannot set '': it must start with one of world,"),
        (["--set", "train.lr=[1"], "--set train.lr, line 1, column 3: not valid YAML ("),
        (["--set", "train.lr=-1"], "Train.lr: input should be greater than 0, got -1"),
        (["--set", "train.=1"], "cannot set 'train.': no such field (known:"),
        (["--set", "name=x"], "cannot set 'name': no chain has it, the study has; write it in the study file"),
        (["--set", "chain=train"], "chain must be a list of steps, got 'train'"),
        (["--set", "train.lr=1", "--set", "train.lr=2"], "--set train.lr is given twice"),
        (["--sweep", "seed"], "--sweep 'seed' must have the form path="),
        (["--sweep", "seed="], "--sweep seed must be a list of at least one value, got []"),
        (["--sweep", "seed=0..4..0"], "--sweep seed: a range from 0 to 4 never gets there by steps of 0"),
        (["--sweep", "train.lr=log(1e-3,1e-1)"], "--sweep train.lr: a log has the form {log: [first, last, how many]}"),
        (["--sweep", "seed=0,1,0"], "--sweep seed has 0 twice"),
        (["--sweep", "seed=0,x"], "seed must be a whole number, 0 or more, got 'x'"),
        (["--sweep", "sede=0,1"], "cannot set 'sede': it must start with one of world,"),
        (["--sweep", "seed=0,]"], "--sweep seed, line 1, column "),
        (["--sweep", "seed=0", "--sweep", "seed=1"], "--sweep seed is given twice"),
        (["--set", "seed=1", "--sweep", "seed=1,2"], "seed is given both to --set and to --sweep"),
        (["--data", "nowhere"], "--data 'nowhere' is not a folder"),
        (["--data", "wrong.yaml"], "--data 'wrong.yaml' is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_argument(args: list[str], expected: str) -> None:
    assert expected in the_error(check(BASE, *args))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["run", "x", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["run", "x", "--jobs", "two"], "Invalid value for '--jobs'"),
        (["run", "x", "--threads", "x"], "Invalid value for '--threads'"),
        (["run", "x", "--theads", "1"], "No such option"),
        (["run"], "Missing argument"),
        (["run", "x", "y"], "Got unexpected extra argument"),
        (["rum", "x"], "No such command 'rum'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(args: list[str], expected: str) -> None:
    """What the command line's parser finds itself: it says how the command is used, then what is wrong."""
    result = invoke(*args)
    assert result.exit_code == 2
    errors = [line for line in result.stderr.split("\n") if line.startswith("Error: ")]
    assert len(errors) == 1
    assert expected in errors[0]
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["list", "network"], "cannot list 'network'; did you mean 'networks'? (known: studies, "),
        (["table", "x", "--store", "nowhere"], "there is no store 'nowhere'; run the study first, or name the folder"),
        (
            ["table", "x", "--format", "exel"],
            "--format must be text, latex, markdown, csv, json or parquet, got 'exel'",
        ),
        (["table", "x", "--format", "parquet"], "--format parquet needs --out FILE, since it is not text"),
        (["report", "x", "--store", "mine.py"], "there is no store 'mine.py'; run the study first"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_choice(args: list[str], expected: str) -> None:
    assert expected in the_error(invoke(*args))


def run(changes: dict[str, Any], *args: str) -> Result:
    Path("wrong.yaml").write_text(yaml.safe_dump(changed(changes)))
    return invoke("run", "wrong.yaml", "--jobs", "1", "--threads", "1", *args)


FAILURES: list[tuple[dict[str, Any], str, int]] = [
    ({"train/lr": 1e6, "chain": ["train"]}, "train (level 0), seed 0: training diverged: the loss became ", 0),
    (
        {"train/lr": 1e30},
        "train (level 0), seed 0: training diverged: the loss became nan in epoch 1 (by iter",
        0,
    ),
    (
        {"chain": ["train", {"repeat": 2, "steps": ["prune", "train"]}], "prune": {"fraction": 0.99}},
        "prune (level 2), seed 0: keeping 0 of the weights would empty a tensor",
        2,
    ),
    ({"network": "mine:RaisesInTraining"}, "seed 0: ValueError: not in training (in forward, ", 0),
    ({"train/loss": "mine:loss"}, "seed 0: ZeroDivisionError: my loss (in loss, ", 0),
    ({"train/loss": "mine:vector_loss"}, "train.loss must return one number that depends on the outputs, got a ten", 0),
    ({"train/loss": "mine:constant_loss"}, "got a tensor of shape () without a gradient", 0),
    ({"train/loss": "mine:no_loss"}, "train.loss must return one number that depends on the outputs, got None", 0),
]


@pytest.mark.parametrize(("changes", "expected", "rows"), FAILURES, ids=lambda value: str(value)[:60])
def test_step_that_fails(changes: dict[str, Any], expected: str, rows: int) -> None:
    result = run(changes)
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    failed = [line for line in result.stderr.split("\n") if line.startswith("failed: ")]
    assert len(failed) == 1
    assert expected in failed[0]
    assert " missing; --retry-failed runs again what failed" in result.stderr
    assert ("no checkpoint is finished yet" in result.stdout) == (rows == 0)


def test_the_rest_of_the_study_is_done() -> None:
    """One of three chains diverges; a second run remembers it, and runs nothing."""
    for _ in range(2):
        result = run({"sweep": {"train.lr": [0.1, 1e30, 0.01]}, "chain": ["train"]})
        assert result.exit_code == 1
        assert result.stderr.count("failed: ") == 1
        assert "1 row is missing; --retry-failed runs again what failed" in result.stderr
    table = invoke("table", "wrong.yaml", "--format", "csv")
    assert table.exit_code == 1
    assert len(table.stdout.strip().split("\n")) == 3  # the head and two rows
    assert "training diverged" in table.stderr


def test_unwritable_store() -> None:
    Path("taken").write_text("a file")
    for store in ("taken", "taken/runs"):
        said = the_error(run({}, "--store", store))
        assert said == f"store '{store}' cannot be written (Not a directory); name another folder with --store" or (
            said == f"store '{store}' cannot be written (File exists); name another folder with --store"
        )


def test_store_of_a_later_version() -> None:
    Path("runs/steps").mkdir(parents=True)
    Path("runs/overparam-store.json").write_bytes(sealed("overparam-store.json", {"format": 99}))
    expected = "store 'runs' has format 99, and this overparam reads format 2 alone; name another folder with --store"
    expected += ", or update"
    assert the_error(run({})) == expected
    assert the_error(invoke("table", "wrong.yaml")) == expected


@pytest.mark.parametrize("option", ["--report", "--log"])
def test_impossible_places(option: str) -> None:
    Path("taken").write_text("a file")
    Path("folder").mkdir()
    assert the_error(run({}, option, "taken/x")).startswith(f"{option} 'taken/x' cannot be written (")
    assert the_error(run({}, option, "folder")) == f"{option} 'folder' cannot be written (Is a directory)"
    assert not Path("runs").exists()


def test_missing_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERPARAM_DATA", str(folder))
    monkeypatch.setenv("OVERPARAM_CACHE", str(folder / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    monkeypatch.setenv("OVERPARAM_MIRROR", f"http://127.0.0.1:{closed}")
    monkeypatch.setattr("overparam.worlds.files.SYSTEM_FOLDERS", ())
    said = the_error(run({"world": {"dataset": "mnist"}}))
    assert said.startswith("cannot find train-images-idx3-ubyte.gz of the dataset 'mnist': looked in ")
    assert "(no connection); put the files into a folder and name it in OVERPARAM_DATA" in said


def test_damaged_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    monkeypatch.setenv("OVERPARAM_DATA", str(folder))
    assert str(folder / "cifar-10-python.tar.gz") in the_error(run({"world": {"dataset": "cifar-10"}}))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            ["run", "wrong.yaml", "--set", "train.lr=-1"],
            "error: chain[0]: Train.lr: input should be greater than 0, got -1",
        ),
        (["table", "wrong.yaml"], "error: there is no store 'runs'"),
    ],
    ids=["run", "table"],
)
def test_the_program_itself(folder: Path, args: list[str], expected: str) -> None:
    """As the user meets it: a process of its own."""
    Path("wrong.yaml").write_text(yaml.safe_dump(BASE))
    command = [sys.executable, "-m", "overparam", *args]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().split("\n")) == 1
    assert done.stderr.startswith(expected)
