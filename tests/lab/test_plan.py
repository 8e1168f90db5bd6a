from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from overparam import (
    Chain,
    LabelNoise,
    LrRewind,
    Measure,
    Prune,
    Reinit,
    Repeat,
    Rewind,
    SpecError,
    Study,
    Train,
    World,
)
from overparam.lab.order import Order
from overparam.lab.plan import Node, Plan
from small import MLP, vectors

TRAIN = {"epochs": 2, "batch_size": 16}
TICKET = ["train", {"repeat": 3, "steps": ["prune", {"rewind": "init"}, "train"]}]


def study(chain: Any = TICKET, **changes: Any) -> Study:
    given = {"train": TRAIN, "prune": {"fraction": 0.2}, "probes": ["accuracy", "density"], **changes}
    return Study("s", given.pop("world", World(vectors())), "mlp", chain, **given)


def plan(chain: Any = TICKET, **changes: Any) -> Plan:
    return study(chain, **changes).plan


def kinds(plan: Plan) -> Counter[str]:
    return Counter(node.part.name if node.part else "init" for node in plan.steps.values())


def test_what_is_measured_without_a_training_has_a_row(tmp_path: Path) -> None:
    training = Train(epochs=1, batch_size=25)
    chain = Chain(training, Prune(fraction=0.5), Measure(), training, Measure())
    frame = Study("m", World(vectors()), MLP, chain, probes=["accuracy"]).run(tmp_path, jobs=1, threads=1).frame
    assert frame["kind"].to_list() == ["train", "measure", "train", "measure"]
    assert frame["density"].to_list() == [1.0, 0.5, 0.5, 0.5]
    accuracies = frame["train_loss"].to_list()
    assert accuracies[1] != accuracies[0]
    assert accuracies[3] == accuracies[2], "it changes nothing"


def test_one_chain_is_one_path() -> None:
    made = plan()
    assert kinds(made) == {"init": 1, "train": 4, "prune": 3, "rewind": 3}
    nodes = list(made.steps.values())
    assert [node.start for node in nodes[1:]] == [node.fingerprint for node in nodes[:-1]]
    assert [(row.level, row.step, row.kind) for row in made.rows] == [
        (0, 0, "train"),
        (1, 3, "train"),
        (2, 6, "train"),
        (3, 9, "train"),
    ]
    assert len(made.measurements) == 8
    assert all(len(row.measurements) == 2 for row in made.rows)
    assert nodes[3].title == "rewind (level 1)"


def test_three_criteria_share_the_dense_training() -> None:
    made = plan(sweep={"prune.criterion": ["magnitude", "gradient", "random"]})
    assert kinds(made) == {"init": 1, "train": 1 + 3 * 3, "prune": 9, "rewind": 9}
    assert len(made.rows) == 12, "but each chain has a row for it"
    assert len({row.node for row in made.rows}) == 10
    assert len(made.measurements) == 2 * 10


def test_three_noise_rates_share_the_initialisation_alone() -> None:
    made = plan(sweep={"world.label_noise.rate": [0.0, 0.2, 0.4]})
    assert kinds(made) == {"init": 1, "train": 12, "prune": 9, "rewind": 9}
    assert len(made.worlds) == 3


def test_no_noise_and_noise_of_rate_zero_are_one_world() -> None:
    none, zero = ({"world.label_noise": noise} for noise in (None, LabelNoise("symmetric", 0)))
    made = plan(variants={"none": none, "zero": zero})
    assert len(made.worlds) == 1
    assert len(made.steps) == 11
    assert len(made.rows) == 8


def test_seeds_share_nothing() -> None:
    made = plan(sweep={"seed": [0, 1]})
    assert kinds(made) == {"init": 2, "train": 8, "prune": 6, "rewind": 6}
    assert len(made.networks) == 1


def test_retraining_modes_share_training_and_first_pruning() -> None:
    modes = {
        mode: {"chain": ["train", {"repeat": 3, "steps": ["prune", *steps]}]}
        for mode, steps in {
            "rewind": [{"rewind": "init"}, "train"],
            "finetune": [{"finetune": {**TRAIN, "lr": 0.01}}],
            "lr-rewind": [{"lr-rewind": "init"}, "train"],
            "reinit": ["reinit", "train"],
        }.items()
    }
    made = plan(chain=["train"], variants=modes)
    assert kinds(made) == {
        "init": 1,
        "train": 1 + 3 * 3,
        "finetune": 3,
        "prune": 1 + 4 * 2,  # the first is shared
        "rewind": 3,
        "lr-rewind": 3,
        "reinit": 3,
    }
    assert {row.experiment for row in made.rows} == {0, 1, 2, 3}


def test_the_longer_of_two_chains_contains_the_shorter() -> None:
    made = plan(chain=["train"], variants={str(n): {"chain": TICKET[:1] * n} for n in (1, 2, 3)})
    assert kinds(made) == {"init": 1, "train": 3}
    assert len(made.rows) == 6


def named(node: Node) -> dict[str, tuple[str, str | None]]:
    return {name: (source.node, source.point) for name, source in node.given.items()}


def test_references_name_what_is_rewound_to() -> None:
    chain = Chain(
        Train(**TRAIN, label="dense"),
        Prune(fraction=0.2),
        Rewind("5it"),
        Train(**TRAIN, label="second"),
        Rewind("init"),
        Rewind("dense"),
        Rewind("second"),
        Train(called="finetune", **TRAIN),
    )
    nodes = list(plan(chain=chain).steps.values())
    init, dense, prune, late, second, first, to_dense, to_second, _ = nodes
    assert named(late) == {"5it": (dense.fingerprint, "5it")}
    assert [str(point) for point in dense.part.save] == ["5it"]
    assert second.part.save == (), "the first training alone keeps the point"
    assert named(first) == {"init": (init.fingerprint, None)}
    assert named(to_dense) == {"dense": (dense.fingerprint, None)}
    assert named(to_second) == {"second": (second.fingerprint, None)}
    assert late.parents == (prune.fingerprint, dense.fingerprint)
    assert to_second.parents == (to_dense.fingerprint, second.fingerprint)


def test_the_latest_of_equal_labels_counts() -> None:
    chain = Chain(Train(**TRAIN), Repeat(2, Prune(fraction=0.2, label="p"), Rewind("p"), Train(**TRAIN)))
    nodes = list(plan(chain=chain).steps.values())
    found = [node.given["p"].node for node in nodes if node.given]
    assert found == [nodes[2].fingerprint, nodes[5].fingerprint]


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ([{"rewind": "5it"}, "train"], r"rewind refers to '5it': no training comes before it"),
        (["train", {"rewind": "dense"}, "train"], r"rewind refers to 'dense', which is not known here .*known: init"),
        ([{"train": {"label": "dense"}}, {"rewind": "desne"}, "train"], r"did you mean 'dense'"),
        (["train", {"rewind": "later"}, {"train": {"label": "later"}}], r"refers to 'later', which is not known here"),
        (["train", {"rewind": "99it"}, "train"], r"99it.*ends at 2ep"),
        ([{"train": {"schedule": {"multistep": {"milestones": [3, 2]}}}}], r"milestones must increase"),
        ([{"train": {"world": {"train_sise": 3}}}], r"train.world: .*train_size"),
        ([{"train": {"world": {"train_size": 9999}}}], r"train.world: .*at most 50"),
        (["prune"], r"no step that trains"),
        ([{"train": {"label": "init"}}], r"train.label: 'init' has a meaning of its own"),
        ([{"train": {"label": "5it"}}], r"train.label: '5it' has a meaning of its own"),
    ],
)
def test_what_cannot_work_is_told_before_anything_runs(chain: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        study(chain).checked()


def test_a_step_may_have_a_world_of_its_own() -> None:
    made = plan(chain=[{"train": {"world": {"label_noise": {"rate": 0.5}}}}, "prune", "train"])
    assert [node.world for node in made.steps.values()] == [0, 1, 0, 0]
    assert {measurement.world for measurement in made.measurements.values()} == {0}, "measured in the study's world"
    assert made.worlds[1].label_noise == LabelNoise("symmetric", 0.5)


def test_an_override_keeps_the_other_fields() -> None:
    world = World(vectors(), train_size=40, label_noise=LabelNoise("symmetric", 0.2), seed=3)
    made = plan([{"train": {"world": {"label_noise": None}}}], world=world)
    assert made.worlds[1].label_noise is None
    assert (made.worlds[1].train_size, made.worlds[1].seed) == (40, 3)


def test_a_plan_is_made_anew_as_the_user_s_code_may_have_changed() -> None:
    settings = {"by": 1.0}
    study = Study("s", World(vectors()), "mlp", [Train(**TRAIN, loss=lambda x, y: settings["by"] * x.square().mean())])
    before = list(study.plan.nodes)
    assert list(study.plan.nodes) == before
    settings["by"] = 2.0
    assert list(study.plan.nodes) != before


def offered(order: Order, names: list[str]) -> None:
    for name in names:
        order.offer(order.plan.nodes[name])


def titled(made: Plan, title: str) -> str:
    return next(name for name, node in made.nodes.items() if node.title == title)


def test_the_longest_way_goes_first() -> None:
    made = plan(variants={"short": {"chain": ["train", {"finetune": TRAIN}]}, "long": {}})
    finetune, prune = titled(made, "finetune (level 0), short"), titled(made, "prune (level 1), long")
    order = Order(made)
    offered(order, [finetune, prune])
    assert order.take(None).fingerprint == prune, "three trainings lie behind it"
    assert order.take(None).fingerprint == finetune
    assert order.take(None) is None
    assert len(order.descendants(titled(made, "train (level 0), shared by 2 arms"))) == 1 + 9
    assert order.width(made.steps.values()) == 2


def test_a_quick_child_of_the_last_step_goes_before_longer_ways() -> None:
    made = plan(sweep={"seed": [0, 1]})
    first, second = ([name for name, node in made.steps.items() if node.seed == seed] for seed in (0, 1))
    order = Order(made)
    offered(order, [second[1], first[5]])  # the dense training of one seed, a pruning of the other
    assert order.take(first[4]).fingerprint == first[5], "its checkpoint is in memory"
    offered(order, [first[5]])
    assert order.take(None).fingerprint == second[1], "more trainings lie behind it"


def test_an_order_takes_each_node_once_and_can_be_cleared() -> None:
    made = plan()
    order = Order(made)
    names = list(made.steps)
    offered(order, [names[3], names[1], names[3], names[1]])
    assert [order.take(None).fingerprint for _ in range(2)] == [names[1], names[3]]
    assert order.take(None) is None
    offered(order, names)
    order.clear()
    assert order.take(names[0]) is None
    offered(order, [names[2]])
    assert order.take(names[1]).fingerprint == names[2]
    assert order.take(names[1]) is None


def test_reinit_twice_is_two_nodes() -> None:
    made = plan(chain=Chain(Reinit(), Reinit(), LrRewind(), Train(**TRAIN)))
    assert kinds(made) == {"init": 1, "reinit": 2, "lr-rewind": 1, "train": 1}


def test_a_step_is_named_by_what_all_chains_that_share_it_have_in_common() -> None:
    made = plan(
        ["train", "prune", "train"], sweep={"train.lr": [0.1, 0.2], "prune.fraction": [0.3, 0.6], "seed": [0, 1]}
    )
    names = [made.nodes[row.node].name for row in made.rows]
    assert set(names) == {
        *(f"train (level 0), train.lr {lr}, shared by 2 arms, seed {seed}" for lr in (0.1, 0.2) for seed in (0, 1)),
        *(
            f"train (level 1), train.lr {lr}, prune.fraction {fraction}, seed {seed}"
            for lr in (0.1, 0.2)
            for fraction in (0.3, 0.6)
            for seed in (0, 1)
        ),
    }
    made = plan(["train", "prune", "train"], variants={"plain": {}, "random": {"prune.criterion": "random"}})
    assert [made.nodes[row.node].title for row in made.rows] == [
        "train (level 0), shared by 2 arms",
        "train (level 1), plain",
        "train (level 0), shared by 2 arms",
        "train (level 1), random",
    ]
