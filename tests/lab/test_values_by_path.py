"""Setting values by dotted path, as sweeps, variants and ``--set`` do."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from overparam import Augmentation, Chain, LabelNoise, Network, Prune, Repeat, SpecError, Study, Train, World
from overparam.lab.experiment import with_value
from overparam.steps import Step
from overparam.train import StopAt
from small import vectors

DOCUMENT = {
    "world": {"dataset": "digits", "label_noise": {"kind": "pair-flip", "rate": 0.1}},
    "network": "lenet-300-100",
    "train": {"epochs": 2, "stop_at": {"train_loss": 0.1}},
    "chain": ["train"],
    "seed": 0,
}


@pytest.mark.parametrize(
    ("path", "value", "head", "expected"),
    [
        ("seed", 3, "seed", 3),
        ("world", "mnist", "world", "mnist"),
        ("world.train_size", 9, "world", {**DOCUMENT["world"], "train_size": 9}),
        ("world.label_noise", {"rate": 0.4}, "world", {"dataset": "digits", "label_noise": {"rate": 0.4}}),
        ("world.label_noise.kind", "a", "world", {"dataset": "digits", "label_noise": {"kind": "a", "rate": 0.1}}),
        ("world.label_noise", None, "world", {"dataset": "digits", "label_noise": None}),
        ("world.augmentation.crop", 2, "world", {**DOCUMENT["world"], "augmentation": {"crop": 2}}),
        ("network", "conv-2", "network", "conv-2"),
        ("network.width", 0.5, "network", {"name": "lenet-300-100", "width": 0.5}),
        ("train.lr", 0.5, "train", {**DOCUMENT["train"], "lr": 0.5}),
        ("train.epochs", 5, "train", {"stop_at": {"train_loss": 0.1}, "epochs": 5}),
        ("train.length", "5it", "train", {"stop_at": {"train_loss": 0.1}, "length": "5it"}),
        ("train.stop_at.train_loss", 1.0, "train", {"epochs": 2, "stop_at": {"train_loss": 1.0}}),
        ("prune.density", 0.5, "prune", {"density": 0.5}),
        ("lr-rewind.to", "5it", "lr-rewind", {"to": "5it"}),
        ("chain", ["train", "prune"], "chain", ["train", "prune"]),
    ],
)  # fmt: skip
def test_one_value_is_set_and_the_document_stays(path: str, value: Any, head: str, expected: Any) -> None:
    before = copy.deepcopy(DOCUMENT)
    changed = with_value(DOCUMENT, path, value)
    assert changed[head] == expected
    assert {key: entry for key, entry in changed.items() if key != head} == {
        key: entry for key, entry in DOCUMENT.items() if key != head
    }
    assert before == DOCUMENT


def test_values_are_set_inside_objects() -> None:
    document = {
        "world": World("digits", label_noise=LabelNoise("pair-flip", 0.1)),
        "network": Network("mlp", {"hidden": [9]}),
        "chain": Chain(Train(epochs=1)),
    }
    world = with_value(document, "world.label_noise.rate", 0.3)["world"]
    assert world == World("digits", label_noise=LabelNoise("pair-flip", 0.3))
    assert with_value(document, "world.augmentation", {"flip": True})["world"].augmentation == Augmentation(flip=True)
    assert with_value(document, "world.augmentation.crop", 2)["world"].augmentation == Augmentation(crop=2)
    assert with_value(document, "network.hidden", [3])["network"] == Network("mlp", {"hidden": [3]})
    assert with_value(document, "network.options.hidden", [4])["network"] == Network("mlp", {"hidden": [4]})
    assert with_value(document, "network.init", "pytorch")["network"] == Network("mlp", {"hidden": [9]}, "pytorch")
    assert with_value({**document, "world": vectors()}, "world.seed", 4)["world"]["seed"] == 4


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("probes", r"cannot set 'probes': no chain has it, the study has; write it in the study file"),
        ("device", r"cannot set 'device': no chain has it, the study has; .* such as --device cpu"),
        ("learning_rate", r"cannot set 'learning_rate': it must start with one of world, network, seed, chain"),
        ("wrold.seed", r"did you mean 'world'"),
        ("train.learning_rate", r"cannot set 'train.learning_rate': no such field .known: .*lr"),
        ("prune.criterio", r"did you mean 'criterion'"),
        ("seed.more", r"0 has no parts"),
        ("world.dataset.name", r"'digits' has no parts"),
    ],
)
def test_wrong_paths_are_named(path: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        with_value(DOCUMENT, path, 1)


def test_a_wrong_path_into_an_object_is_named() -> None:
    with pytest.raises(SpecError, match=r"cannot set 'world.sede': no field 'sede'; did you mean 'seed'"):
        with_value({"world": World("digits")}, "world.sede", 1)


def steps(study: Study) -> list[Step]:
    return [step for experiment in study.experiments for step in experiment.chain.flat()]


@pytest.mark.parametrize(
    ("given", "path", "value", "expected"),
    [
        ({"epochs": 60}, "train.length", "5it", Train(length="5it")),
        ({"length": "60it"}, "train.epochs", 3, Train(epochs=3)),
        ({"epochs": 60}, "train.epochs", 3, Train(epochs=3)),
    ],
)
def test_epochs_and_length_replace_each_other(given: Any, path: str, value: Any, expected: Train) -> None:
    for chain in (["train"], Chain(Train(**given)), [{"train": {}}]):
        study = Study("s", vectors(), "mlp", chain, train=given).with_changes({path: value})
        assert steps(study) == [expected]
        swept = Study("s", vectors(), "mlp", chain, train=given, sweep={path: [value]})
        assert steps(swept) == [expected]


def test_a_path_reaches_every_step_of_its_kind_whoever_set_the_field() -> None:
    chain = [
        "train",
        {"train": {"lr": 5, "optimizer": {"sgd": {"momentum": 0.5}}}},
        {"train": {"epochs": 7}},
        {"train": "9it"},
        {"repeat": 2, "steps": [Train(epochs=8, lr=6), {"finetune": {"epochs": 1, "lr": 7}}]},
        Repeat(1, Train(length="8it")),
    ]
    study = Study("s", vectors(), "mlp", chain, train={"epochs": 1})
    given = steps(study)
    assert [step.lr for step in given] == [0.1, 5, 0.1, 0.1, 6, 7, 6, 7, 0.1]
    assert [step.lr for step in steps(study.with_changes({"train.lr": 2}))] == [2, 2, 2, 2, 2, 7, 2, 7, 2]
    lengths = [str(step.duration) for step in given]
    assert lengths == ["1ep", "1ep", "7ep", "9it", "8ep", "1ep", "8ep", "1ep", "8it"]
    for path, value in (("train.length", "3it"), ("train.epochs", 3)):
        found = steps(study.with_changes({path: value}))
        expected = {"train": str(value) if path == "train.length" else "3ep", "finetune": "1ep"}
        assert [str(step.duration) for step in found] == [expected[step.name] for step in found]
        assert [step.lr for step in found] == [step.lr for step in given], "the rest is as it was"
    assert steps(study) == given
    assert steps(study.with_changes({"finetune.lr": 2}))[5].lr == 2
    changed = steps(study.with_changes({"train.optimizer.sgd.momentum": 0.9}))
    assert [step.optimizer for step in changed][:3] == [{"sgd": {"momentum": 0.9}}] * 3
    decayed = steps(study.with_changes({"train.optimizer.sgd.weight_decay": 0.1}))
    assert decayed[1].optimizer == {"sgd": {"momentum": 0.5, "weight_decay": 0.1}}
    assert decayed[8].optimizer == {"sgd": {"weight_decay": 0.1}}, "a step object has its part set, too"


def test_a_part_of_a_setting_is_set_where_it_stands() -> None:
    inner = Train(epochs=1, stop_at={"train_loss": 0.1, "train_accuracy": 0.9})
    for chain in (["train"], [{"train": {"stop_at": {"train_loss": 0.1, "train_accuracy": 0.9}}}], Chain(inner)):
        settings = {"epochs": 1, "stop_at": {"train_loss": 0.1, "train_accuracy": 0.9}}
        study = Study("s", vectors(), "mlp", chain, train=settings, sweep={"train.stop_at.train_loss": [0.5, 0.6]})
        assert [step.stop_at for step in steps(study)] == [StopAt(0.5, 0.9), StopAt(0.6, 0.9)]


def test_a_whole_is_set_before_its_parts() -> None:
    variants = {"v": {"train.lr": 3, "chain": ["train", {"train": {"lr": 4}}]}}
    study = Study("s", vectors(), "mlp", ["train"], train={"epochs": 1}, variants=variants)
    assert [step.lr for step in steps(study)] == [3, 3]


@pytest.mark.parametrize(
    "sweep",
    [
        {"finetune.lr": [0.1, 0.2]},
        {"seed": [0, 1], "prune.criterion": ["random", "magnitude"]},
        {"rewind.to": ["init", "5it"], "seed": [0, 1]},
    ],
)
def test_a_sweep_that_changes_nothing_is_refused(sweep: dict[str, Any]) -> None:
    study = Study("s", vectors(), "mlp", ["train"], train={"epochs": 1}, sweep=sweep)
    with pytest.raises(SpecError, match=r"sweep.(finetune.lr|prune.criterion|rewind.to) changes nothing: no chain has"):
        study.experiments  # noqa: B018


def test_a_sweep_need_not_change_every_variant() -> None:
    variants = {"dense": {"chain": ["train"]}, "pruned": {}}
    sweep = {"prune.criterion": ["random", "magnitude"]}
    study = Study("s", vectors(), "mlp", ["train", {"prune": 0.5}], train={"epochs": 1}, variants=variants, sweep=sweep)
    assert len(study.experiments) == 4


def test_density_and_fraction_replace_each_other() -> None:
    study = Study("s", vectors(), "mlp", ["prune"], prune={"fraction": 0.2}, sweep={"prune.density": [0.5, 0.1]})
    assert steps(study) == [Prune(density=0.5), Prune(density=0.1)]


def test_with_changes_adds_and_replaces_sweeps() -> None:
    study = Study("s", vectors(), "mlp", ["train"], train={"epochs": 1}, sweep={"seed": [0, 1], "train.lr": [1, 2]})
    changed = study.with_changes({"seed": 5}, {"train.lr": [3], "train.epochs": [1, 2]})
    assert changed.sweep == {"train.lr": [3], "train.epochs": [1, 2]}
    assert [(e.seed, *e.chain.flat()) for e in changed.experiments] == [
        (5, Train(epochs=1, lr=3)),
        (5, Train(epochs=2, lr=3)),
    ]
    assert study.sweep == {"seed": [0, 1], "train.lr": [1, 2]}, "the study it came from stays"
    assert len(study.experiments) == 4
