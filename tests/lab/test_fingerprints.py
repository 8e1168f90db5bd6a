from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overparam import (
    Accuracy,
    Augmentation,
    Chain,
    Dataset,
    Density,
    LabelNoise,
    LrRewind,
    Network,
    Prune,
    Repeat,
    Rewind,
    SpecError,
    Study,
    Train,
    World,
)
from overparam.lab.fingerprint import LENGTH, canonical, fingerprint
from overparam.steps import Step
from small import conv_net, images, vectors

TRAIN = Train(epochs=2, batch_size=16)
LAST = Chain(TRAIN, Prune(fraction=0.5), Rewind(), TRAIN)


def of(
    world: Any = None, network: Any = "mlp", chain: Any = LAST, probes: Any = ("accuracy",), **others: Any
) -> tuple[list[str], str]:
    """The fingerprints of the steps of a study, in order, and that of its last measurement."""
    study = Study("s", World(vectors()) if world is None else world, network, chain, probes=probes, **others)
    plan = study.plan
    return list(plan.steps), plan.rows[-1].measurements[-1]


def differ_from(place: int, one: list[str], two: list[str]) -> bool:
    """Whether two lists are equal before ``place`` and differ everywhere from it on."""
    same = [a == b for a, b in zip(one, two, strict=True)]
    return all(same[:place]) and not any(same[place:])


def test_canonical_json_on_paper() -> None:
    assert canonical({"b": (1, 2.5), "a": {"y": None, "x": "é"}}) == '{"a":{"x":"\\u00e9","y":null},"b":[1,2.5]}'
    # the SHA-256 of the two bytes {}
    assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"[:LENGTH]


WORDS = st.text(alphabet='ab é\n"', max_size=3)


@given(st.dictionaries(WORDS, st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), WORDS)))
def test_the_order_of_keys_does_not_matter(values: dict[str, Any]) -> None:
    if any(value in (float("inf"), float("-inf")) for value in values.values()):
        with pytest.raises(ValueError, match="not JSON compliant"):
            fingerprint(values)
        return
    turned = dict(reversed(values.items()))
    assert fingerprint(values) == fingerprint(turned)
    assert json.loads(canonical(values)) == values
    assert fingerprint({**values, "one more": 1}) != fingerprint(values)


def test_types_are_told_apart() -> None:
    found = [fingerprint(value) for value in (1, 1.0, "1", True, [1], None, "", [], {})]
    assert len(set(found)) == len(found)


def test_the_same_study_has_the_same_fingerprints() -> None:
    assert of() == of()
    assert of(network=Network("mlp")) == of(network={"name": "mlp"}) == of(network="mlp", probes=[Accuracy()])


def test_names_and_labels_do_not_matter() -> None:
    labelled = Chain(replace(TRAIN, label="dense"), Prune(fraction=0.5, label="x"), Rewind(), TRAIN)
    assert of(chain=labelled) == of()
    assert of(description="much to say") == of()
    by_label = Chain(replace(TRAIN, label="dense"), Rewind("dense"), TRAIN)
    assert of(chain=by_label)[0][:2] == of()[0][:2]


def test_a_seed_changes_everything_and_the_world_s_all_but_the_initialisation() -> None:
    assert differ_from(0, of()[0], of(seed=1)[0])
    assert differ_from(1, of()[0], of(World(vectors(), seed=1))[0])


WORLDS = [
    World(vectors(seed=1)),
    World(vectors(), train_size=40),
    World(vectors(), test_size=20),
    World(vectors(), label_noise=LabelNoise("symmetric", 0.2)),
    World(vectors(), label_noise=LabelNoise("symmetric", 0.4)),
    World(vectors(), label_noise=LabelNoise("pair-flip", 0.4)),
    World(replace(vectors(), mean=(0.5,), std=(1.0,))),
    World(replace(vectors(), mean=(0.5,), std=(1.0,)), normalize=False),
]


def test_each_world_has_fingerprints_of_its_own() -> None:
    found = [of(world) for world in (World(vectors()), *WORLDS)]
    for place, (steps, probe) in enumerate(found):
        for other, other_probe in found[place + 1 :]:
            assert differ_from(1, steps, other)
            assert probe != other_probe


def test_a_single_changed_number_in_the_data_is_seen() -> None:
    data = vectors()
    inputs, labels = data.test_inputs.clone(), data.train_targets.clone()
    inputs[3, 2] = inputs[3, 2].nextafter(torch.tensor(99.0))
    labels[7] = (labels[7] + 1) % 3
    assert differ_from(1, of()[0], of(World(replace(data, test_inputs=inputs)))[0])
    assert differ_from(1, of()[0], of(World(replace(data, train_targets=labels)))[0])
    assert of(World(replace(data, name="another name"))) == of()


def test_augmentation_is_part_of_the_world() -> None:
    found = [
        of(World(images(), augmentation=augmentation))[0]
        for augmentation in (None, Augmentation(crop=1), Augmentation(crop=2), Augmentation(flip=True))
    ]
    assert all(differ_from(1, one, two) for place, one in enumerate(found) for two in found[place + 1 :])


def test_each_network_has_fingerprints_of_its_own() -> None:
    world = World(images())
    networks = [
        Network("mlp"),
        Network("mlp", {"hidden": [7]}),
        Network("mlp", {"hidden": [7]}, "pytorch"),
        Network("lenet-300-100"),
        Network(conv_net),
        Network(conv_net, {"dropout": 0.2}),
    ]
    found = [of(world, network)[0] for network in networks]
    assert all(differ_from(0, one, two) for place, one in enumerate(found) for two in found[place + 1 :])


OTHER: dict[type[Step], dict[str, Any]] = {
    Train: {
        "optimizer": {"adam": {"betas": (0.8, 0.9)}},
        "lr": 0.2,
        "l1": 0.1,
        "batch_size": 15,
        "drop_last": True,
        "epochs": 3,
        "schedule": {"multistep": {"milestones": [1], "gamma": 0.5}},
        "warmup": 1,
        "stop_at": {"train_loss": 0.1},
        "loss": "torch.nn.functional:multi_margin_loss",
        "evaluate_every": 1,
        "save": ["1ep"],
    },
    Prune: {
        "criterion": "random",
        "fraction": 0.4,
        "scope": "per-layer",
        "exclude": ["output"],
        "counting": "all",
        "allow_empty": True,
        "batch_size": 100,
        "batches": 2,
        "loss": "torch.nn.functional:multi_margin_loss",
    },
}


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in OTHER.items() for field in fields])
def test_every_field_of_a_step_matters(kind: type[Step], field: str) -> None:
    start = TRAIN if kind is Train else Prune(fraction=0.5)
    changed = replace(start, **{field: OTHER[kind][field]})
    chains = [Chain(step, TRAIN, Prune(fraction=0.5), TRAIN) for step in (start, changed)]
    assert differ_from(1, *(of(chain=chain)[0] for chain in chains))


def test_fields_that_exclude_others_matter_too() -> None:
    trainings = [
        TRAIN,
        replace(TRAIN, optimizer={"sgd": {"momentum": 0.5}}),
        replace(TRAIN, optimizer={"sgd": {"momentum": 0.5, "nesterov": True}}),
        Train(length="2ep", batch_size=16),
    ]
    prunings = [
        Prune(fraction=0.5),
        Prune(density=0.5),
        Prune(fraction=0.5, scope="per-layer"),
        Prune(fraction=0.5, scope={"per-layer": {"rates": {"output": 0.5}}}),
    ]
    for steps in (trainings, prunings):
        found = [of(chain=Chain(step, TRAIN))[0] for step in steps]
        assert all(differ_from(1, one, two) for place, one in enumerate(found) for two in found[place + 1 :])


def test_the_kind_of_a_step_matters() -> None:
    one, two = (of(chain=Chain(step, TRAIN))[0] for step in (Rewind(), LrRewind()))
    assert differ_from(1, one, two)


def test_what_a_step_is_called_does_not_matter() -> None:
    """A finetuning with the settings of the training is that training: it is computed once."""
    one, two = (of(chain=Chain(step, TRAIN)) for step in (TRAIN, replace(TRAIN, called="finetune")))
    assert one == two


def test_parents_matter() -> None:
    steps = of(chain=Chain(TRAIN, Repeat(5, Prune(fraction=0.5))))[0]
    assert len(set(steps)) == 7


def test_a_version_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, probe = of()
    monkeypatch.setattr(Prune, "version", 99)
    assert differ_from(2, steps, of()[0])
    monkeypatch.undo()
    monkeypatch.setattr(Accuracy, "version", 99)
    assert of()[0] == steps
    assert of()[1] != probe


def test_probes_matter_to_measurements_only() -> None:
    assert of(probes=[Density()])[0] == of()[0]
    assert of(probes=[Density()])[1] != of()[1]


def test_the_world_of_a_step_matters() -> None:
    chain = Chain(replace(TRAIN, world={"train_size": 30}), *LAST.steps[1:])
    assert differ_from(1, of()[0], of(chain=chain)[0])
    same = Chain(replace(TRAIN, world={"label_noise": {"rate": 0.0}}), *LAST.steps[1:])
    assert of(chain=same) == of(), "a world of equal content is the same world"


class Factor:
    """A loss with state, as a user may write it."""

    scale: ClassVar[float] = 1.0

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.by * torch.nn.functional.cross_entropy(outputs, labels)


def test_a_loss_of_one_s_own_enters_by_content() -> None:
    def made(by: float) -> Any:
        return lambda outputs, labels: by * torch.nn.functional.cross_entropy(outputs, labels)

    def steps(loss: Any) -> list[str]:
        return of(chain=Chain(replace(TRAIN, loss=loss)))[0]

    losses = [
        "cross-entropy",
        made(1.0),
        made(2.0),
        Factor(1.0),
        Factor(2.0),
        torch.nn.CrossEntropyLoss(),
        torch.nn.CrossEntropyLoss(label_smoothing=0.1),
        torch.nn.functional.cross_entropy,
        lambda outputs, labels: (outputs.sum(1) - labels).square().mean(),
    ]
    found = [steps(loss) for loss in losses]
    assert all(differ_from(1, one, two) for place, one in enumerate(found) for two in found[place + 1 :])
    assert steps(made(1.0)) == found[1], "equal content, another object"
    assert steps(Factor(1.0)) == found[3]
    assert steps("torch.nn.functional:cross_entropy") == found[7], "by import path or as it is"


def test_what_has_no_content_is_refused() -> None:
    with pytest.raises(SpecError, match="cannot be part of a spec"):
        fingerprint({"a": object()})


def test_fingerprints_are_the_same_for_ever() -> None:
    """Pinned. A change here makes every stored result of the changed kind be computed again: it must be meant."""
    numbers = torch.arange(24, dtype=torch.float32).reshape(6, 4)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    data = Dataset("numbers", numbers, labels, numbers[:3].clone(), labels[:3].clone())
    world = World(data, label_noise=LabelNoise("symmetric", 0.5))
    study = Study(
        "pinned",
        world,
        {"name": "mlp", "hidden": [5]},
        Chain(Train(epochs=1), Prune(fraction=0.5), Rewind("1it"), Train(called="finetune", length="3it")),
        probes=["accuracy", "cost", "density", "learning-distance"],
    )
    assert [(node.title, node.fingerprint) for node in study.plan.steps.values()] == PINNED_STEPS
    assert list(study.plan.rows[0].measurements) == PINNED_PROBES


PINNED_STEPS = [
    ("initialisation", "aa72985dbbbdd1947da893049fc15f26"),
    ("train (level 0)", "9c684e8dd3118e34fafc9cf2c480f882"),
    ("prune (level 1)", "6e4eb736ba0e88ce8d9c14d20637b919"),
    ("rewind (level 1)", "83135375dd68418760787fb8d3ed8908"),
    ("finetune (level 1)", "faae44eedecb4dbc0ec3264b2c0e6e37"),
]

PINNED_PROBES = [
    "49d686bf66ed01b9ebbc5ff64f0e80ea",
    "45bd037c09c8f9a523171f6091cac1dd",
    "42d5beba2a86412387cd4267805af07b",
    "ac564f00522716b6dd6fa5e15f72d341",
]
