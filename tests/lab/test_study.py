from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from overparam import (
    Accuracy,
    Augmentation,
    Chain,
    Density,
    LabelNoise,
    Network,
    Prune,
    Repeat,
    Rewind,
    SpecError,
    Study,
    Train,
    World,
)
from overparam.checkpoint import Checkpoint
from overparam.lab import built_in_studies, parse_yaml
from overparam.probes import PROBES, Measurements, Probe, View
from overparam.spec import spec
from overparam.steps import STEPS
from small import vectors

YAML = """
name: ticket
description: a small one
world:
  dataset: digits
  train_size: 100
  label_noise: {kind: symmetric, rate: 0.2}
  augmentation: {crop: 1}
network: {name: mlp, init: glorot-normal, hidden: [9]}
train:
  {lr: 0.2, optimizer: {sgd: {momentum: 0.9}}, batch_size: 32, epochs: 4, stop_at: {train_loss: 0.1},
   schedule: {multistep: {milestones: [2, 100it]}}}
prune: {criterion: gradient, scope: {per-layer: {rates: {output: 0.5}}}, fraction: 0.2, exclude: [conv]}
chain:
  - {train: {label: dense, save: [3it]}}
  - repeat: 2
    steps:
      - prune
      - {rewind: 3it}
      - train
  - {prune: {density: 0.1}}
  - {rewind: dense}
  - {finetune: {length: 5it, world: {label_noise: null}}}
probes: [accuracy, density: {}]
seed: 3
sweep:
  train.l1: [0, 0.001]
"""


def in_python() -> Study:
    training = Train(
        optimizer={"sgd": {"momentum": 0.9}},
        lr=0.2,
        batch_size=32,
        epochs=4,
        schedule={"multistep": {"milestones": (2, "100it")}},
        stop_at={"train_loss": 0.1},
    )
    pruning = {"criterion": "gradient", "scope": {"per-layer": {"rates": {"output": 0.5}}}, "exclude": ("conv",)}
    return Study(
        "ticket",
        World("digits", train_size=100, label_noise=LabelNoise("symmetric", 0.2), augmentation=Augmentation(crop=1)),
        Network("mlp", {"hidden": [9]}, "glorot-normal"),
        Chain(
            replace(training, label="dense", save=("3it",)),
            Repeat(2, Prune(fraction=0.2, **pruning), Rewind("3it"), training),
            Prune(density=0.1, **pruning),
            Rewind("dense"),
            Train(called="finetune", length="5it", world={"label_noise": None}),
        ),
        probes=[Accuracy(), Density()],
        seed=3,
        sweep={"train.l1": [0, 0.001]},
    )


def prints(study: Study) -> tuple[list[str], list[str]]:
    plan = study.plan
    return list(plan.steps), list(plan.measurements)


def test_yaml_and_python_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "ticket.yaml").write_text(YAML)
    assert prints(Study.from_file(tmp_path / "ticket.yaml")) == prints(in_python())
    assert len(prints(in_python())[0]) == 1 + 2 * 10


@pytest.mark.parametrize("made", ["yaml", "python"])
def test_the_record_can_be_read_as_the_same_study(made: str) -> None:
    study = in_python() if made == "python" else Study.from_mapping(parse_yaml(YAML, "YAML"))
    again = Study.from_mapping(parse_yaml(study.yaml(), "record"))
    assert prints(again) == prints(study)
    assert again.yaml() == study.yaml()


def test_built_in_studies_can_be_planned_and_carry_what_they_are_listed_with() -> None:
    names = built_in_studies()
    assert "sparse-double-descent" in names
    for name, text in names.items():
        study = Study.named(name)
        assert study.name == name
        assert 20 < len(study.description) < 200
        if "mnist" not in text and "cifar" not in text:  # data that every machine has
            assert prints(Study.from_mapping(parse_yaml(text, name))) == prints(study)


def test_a_world_or_network_may_be_given_in_several_forms() -> None:
    chain = [Train(epochs=1)]
    worlds = ["digits", {"dataset": "digits"}, World("digits")]
    networks = ["mlp", {"name": "mlp"}, Network("mlp"), {"name": "mlp", "options": {}}, {"name": "mlp", "init": None}]
    found = {str(prints(Study("s", world, network, chain))) for world in worlds for network in networks}
    assert len(found) == 1
    assert Study("s", vectors(), "mlp", chain).experiments[0].world.dataset.name == "vectors"


def test_variants_and_sweeps_are_crossed_in_order() -> None:
    study = Study(
        "s",
        vectors(),
        "mlp",
        ["train", "prune", "train"],
        train={"epochs": 1},
        prune={"fraction": 0.5},
        variants={"base": None, "random": {"prune.criterion": "random", "train.epochs": 2}},
        sweep={"world.label_noise.rate": [0, 0.2], "seed": range(2)},
    )
    found = [
        (e.variant, e.coordinates["world.label_noise.rate"], e.seed, [*e.chain.flat()][1].criterion)
        for e in study.experiments
    ]
    assert found == [
        (variant, rate, seed, {"base": "magnitude", "random": "random"}[variant])
        for variant in ("base", "random")
        for rate in (0, 0.2)
        for seed in (0, 1)
    ]
    assert study.experiments[4].chain.steps[0] == Train(epochs=2)
    assert study.experiments[1].world.label_noise == LabelNoise("symmetric", 0)


def test_a_swept_value_wins_over_its_variant() -> None:
    changes = {"variants": {"v": {"train.lr": 5}}, "sweep": {"train.lr": [1, 2]}}
    study = Study("s", vectors(), "mlp", ["train"], train={"epochs": 1}, **changes)
    assert [step.lr for e in study.experiments for step in e.chain.flat()] == [1, 2]


def test_settings_of_steps_with_a_hyphen() -> None:
    chain = ["train", "lr-rewind", "train"]
    given = {"name": "s", "world": vectors(), "network": "mlp", "chain": chain, "train": {"epochs": 1}}
    one = Study(**given, lr_rewind={"to": "1it"})
    two = Study.from_mapping({**given, "lr-rewind": {"to": "1it"}})
    assert prints(one) == prints(two) != prints(Study(**given))


def study(**changes: Any) -> Study:
    given = {"name": "s", "world": vectors(), "network": "mlp", "chain": [Train(epochs=1)], **changes}
    made = Study(**given)
    assert made.plan
    return made


WRONG = [
    ({"name": "a b"}, r"name must be letters"),
    ({"name": ""}, r"name must be letters"),
    ({"name": "x" * 101}, r"name must be .* at most 100"),
    ({"name": "../up"}, r"name must be letters"),
    ({"name": None}, r"name must be letters"),
    ({"description": 3}, r"description must be text"),
    ({"seed": -1}, r"seed must be a whole number, 0 or more, got -1"),
    ({"seed": 1.5}, r"seed must be a whole number"),
    ({"seed": True}, r"seed must be a whole number"),
    ({"world": "digitz"}, r"unknown dataset 'digitz'; did you mean 'digits'"),
    ({"world": {"train_size": 3}}, r"World.dataset: is required"),
    ({"network": {"hidden": [3]}}, r"network.name: is required"),
    ({"network": "mpl"}, r"unknown network 'mpl'"),
    ({"train": 3}, r"train must be a mapping of settings"),
    ({"train": {"epoch": 3}}, r"train.epoch: no such field; did you mean 'epochs'"),
    ({"trian": {"epochs": 3}}, r"study has no field 'trian'; did you mean 'train'"),
    ({"sweep": ["seed"]}, r"sweep must map"),
    ({"sweep": {"seed": 3}}, r"sweep.seed must be a list of at least one value"),
    ({"sweep": {"seed": []}}, r"sweep.seed must be a list of at least one value"),
    ({"sweep": {"seed": "012"}}, r"sweep.seed must be a list"),
    ({"sweep": {"seed": [0, 1, 0]}}, r"sweep.seed has 0 twice"),
    ({"sweep": {"sede": [0]}}, r"cannot set 'sede'"),
    ({"sweep": {"world.label_noise.rate": [0.1, 2]}}, r"rate: .*less than or equal to 1, got 2"),
    ({"variants": {}}, r"variants must map names to changes"),
    ({"variants": {"a": 3}}, r"variants.a must be a mapping"),
    ({"variants": {"a": {"prun.criterion": 3}}}, r"cannot set 'prun.criterion'"),
    ({"probes": "accuracy"}, r"probes must be a list"),
    ({"probes": ["acuracy"]}, r"unknown probe 'acuracy'; did you mean 'accuracy'"),
    ({"probes": [3]}, r"probe must be one of accuracy, .* a Probe, with a method measure"),
    ({"probes": [{"accuracy": {"more": 1}}]}, r"Accuracy.more: no such field"),
    ({"probes": ["cost", "accuracy", {"cost": {}}]}, r"probes has 'cost' twice"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_studies_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        study(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", r"must hold a mapping with the fields name"),
        ("name: s\nnetwork: mlp\nchain: [train]", r"world is required"),
        ("name: s\nworld:\nnetwork: mlp\nchain: [train]", r"world is required"),
        ("nmae: s", r"no such field 'nmae'; did you mean 'name'"),
        ("name: [s\nworld: x", r"line 2, column .*not valid YAML"),
        ("name: s\n\tworld: x", r"line 2, column 1: not valid YAML"),
    ],
)
def test_wrong_files_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        Study.from_file(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot be read"):
        Study.from_file(tmp_path / "nothing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"cannot be read"):
        Study.from_file(tmp_path / "binary.yaml")


def test_an_unknown_study_lists_the_known() -> None:
    with pytest.raises(SpecError, match=r"no study 'sparse-doubel-descent'; did you mean 'sparse-double-descent'"):
        Study.named("sparse-doubel-descent")


@pytest.mark.parametrize(("option", "value"), [("jobs", 0), ("jobs", True), ("threads", -1), ("threads", 1.5)])
def test_wrong_options_of_a_run(option: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"{option} must be a whole number, 1 or more"):
        study().run(tmp_path / "runs", **{option: value})
    assert not (tmp_path / "runs").exists()


def test_every_registered_thing_says_what_it_is() -> None:
    for registry in (STEPS, PROBES):
        assert all(registry.summary(name) for name in registry)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    given = study(
        seed=np.int64(2), sweep={"train.lr": np.array([0.1, 0.25]), "train.l1": [np.float64(0), np.float64(1)]}
    )
    same = study(seed=2, sweep={"train.lr": [0.1, 0.25], "train.l1": [0.0, 1.0]})
    assert prints(given) == prints(same)
    assert given.yaml() == same.yaml()
    assert given.run(tmp_path / "runs", jobs=1, engine="dense").frame["train.l1"].to_list() == [0.0, 1.0, 0.0, 1.0]


def test_two_probes_with_one_column_are_refused(tmp_path: Path) -> None:
    @spec
    class Other(Probe):
        kind: ClassVar[str] = "other"
        columns: ClassVar[Mapping[str, type]] = {"test_accuracy": float}

        def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
            return Measurements({"test_accuracy": 0.5})

    study = Study(
        "one", World("digits", train_size=50), "mlp", ["train"], train={"epochs": 1}, probes=["accuracy", Other()]
    )
    with pytest.raises(SpecError, match="accuracy and other both have a column 'test_accuracy'"):
        study.run(tmp_path)
