"""References across the chains of a study: what they mean, what is wrong with others, and what is run for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam import (
    Chain,
    LearningDistance,
    MaskOverlap,
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
from overparam.lab.references import Reference
from overparam.length import Length
from overparam.train import Distill
from small import images, vectors

TRAIN = {"epochs": 2, "batch_size": 16}
TEACHER = {"network": {"name": "mlp", "hidden": [12]}, "chain": [{"train": {"label": "dense"}}, "prune", "train"]}
PAIR = {"teacher": TEACHER, "student": {"chain": [{"train": {"loss": {"distill": {"teacher": "teacher/last"}}}}]}}


def study(chain: Any = ("train",), **changes: Any) -> Study:
    given = {"train": TRAIN, "prune": {"fraction": 0.2}, "probes": [], **changes}
    return Study("s", given.pop("world", World(vectors())), "mlp", list(chain), **given)


def plan(chain: Any = ("train",), **changes: Any) -> Plan:
    return study(chain, **changes).plan


def taught(reference: str, **changes: Any) -> dict[str, Any]:
    return {"chain": [{"train": {"loss": {"distill": {"teacher": reference}}}}], **changes}


def student(made: Plan, place: int = -1) -> Node:
    return [node for node in made.steps.values() if node.given][place]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("init", (None, "init", None)),
        ("500it", (None, None, "500it")),
        ("dense@2ep", (None, "dense", "2ep")),
        ("teacher/last", ("teacher", "last", None)),
        ("teacher/dense@2ep", ("teacher", "dense", "2ep")),
        ("teacher/500it", ("teacher", None, "500it")),
        ("a/b/last", ("a/b", "last", None)),
        ("/last", ("", "last", None)),
    ],
)
def test_references_are_taken_apart(text: str, parts: tuple[Any, ...]) -> None:
    found = Reference.of(text)
    assert (found.variant, found.label, found.point and str(found.point), found.seeds) == (*parts, 0)


@given(st.text(max_size=30))
def test_any_text_is_a_reference_or_refused_in_words(text: str) -> None:
    try:
        found = Reference.of(text)
    except SpecError:
        return
    assert found.text == text


def test_a_teacher_in_another_variant_has_the_same_coordinates() -> None:
    made = plan(variants=PAIR, sweep={"world.label_noise.rate": [0.0, 0.2], "seed": [0, 1]})
    students = [node for node in made.steps.values() if node.given]
    assert len(students) == 4
    for node in students:
        teacher = made.nodes[node.given["teacher/last"].node]
        assert teacher.title.startswith("train (level 1), teacher")
        assert (teacher.seed, teacher.world) == (node.seed, node.world)
        assert teacher.network != node.network
    assert len({node.given["teacher/last"].node for node in students}) == 4


def test_labels_and_points_of_another_chain() -> None:
    made = plan(variants={"teacher": TEACHER, "student": taught("teacher/dense@1ep")})
    source = student(made).given["teacher/dense@1ep"]
    dense = made.nodes[source.node]
    assert (dense.position, source.point) == (0, "1ep")
    assert dense.part.save == (Length.of("1ep"),), "the training that is named keeps the point, wherever it is"
    assert next(iter(row.node for row in made.rows)) == source.node, "and is that of the teacher's own row"
    bare = student(plan(variants={"teacher": TEACHER, "student": taught("teacher/2it")})).given["teacher/2it"]
    assert bare.point == "2it"


def test_the_points_of_a_later_training() -> None:
    chain = [{"train": {"label": "first"}}, "prune", {"train": {"label": "second"}}, {"rewind": "second@1ep"}, "train"]
    nodes = list(plan(chain).steps.values())
    assert [node.part.save for node in nodes if node.trains] == [(), (Length.of("1ep"),), ()]
    assert nodes[4].given["second@1ep"].node == nodes[3].fingerprint


def test_previous_is_the_training_before() -> None:
    """Born-again networks: each generation learns from the one before it."""
    chain = Chain(Train(**TRAIN), Repeat(2, Reinit(), Train(**TRAIN, loss=Distill("previous"))))
    nodes = list(plan(chain.steps).steps.values())
    assert [node.given["previous"].node for node in nodes if node.given] == [nodes[1].fingerprint, nodes[3].fingerprint]
    first = plan([{"train": {"loss": {"distill": {"teacher": "previous"}}}}])
    assert student(first).given["previous"].node == next(iter(first.steps)), "the initialisation where there is none"


def test_probes_look_at_other_checkpoints() -> None:
    chain = ["train", "prune", "train", "prune", {"train": {"label": "end"}}]
    probes = [LearningDistance("previous"), LearningDistance(), MaskOverlap("last"), MaskOverlap("seed+1")]
    made = plan(chain, probes=probes, sweep={"seed": [0, 1]})
    for experiment, seed in ((0, 0), (1, 1)):
        rows = [row for row in made.rows if row.experiment == experiment]
        inits = {node.seed: name for name, node in made.nodes.items() if node.part is None}
        found = [[next(iter(made.nodes[m].given.values())) for m in row.measurements] for row in rows]
        assert [each[0].node for each in found] == [inits[seed], *(row.node for row in rows[:-1])]
        assert {each[1].node for each in found} == {inits[seed]}
        assert {each[2].node for each in found} == {rows[-1].node}, "a probe may look at what comes later"
        others = [made.nodes[each[3].node] for each in found]
        assert [(node.seed, node.position) for node in others] == [(seed + 1, row.step) for row in rows]


def test_a_chain_that_is_referred_to_is_run_without_rows() -> None:
    chain = ["train", {"rewind": "3it"}, "train"]
    made = plan(chain, probes=[MaskOverlap("seed+1")], sweep={"seed": [0, 1]})
    assert {node.seed for node in made.steps.values()} == {0, 1, 2}
    assert {row.experiment for row in made.rows} == {0, 1}
    assert {node.seed for node in made.measurements.values()} == {0, 1}
    longer = plan(chain, probes=[MaskOverlap("seed+1")], sweep={"seed": [0, 1, 2]})
    assert set(made.steps) <= set(longer.steps), "a further seed finds what was run for its neighbour"
    alone = plan(chain, probes=[MaskOverlap("seed+2")], seed=5)
    assert {node.seed for node in alone.steps.values()} == {5, 7}


def test_a_seed_that_a_variant_sets_is_its_own() -> None:
    made = plan(variants={"teacher": {**TEACHER, "seed": 7}, "student": taught("teacher/last")})
    assert made.nodes[student(made).given["teacher/last"].node].seed == 7


CIRCLE = {"a": taught("b/last"), "b": taught("a/last")}
WRONG = [
    ({"variants": CIRCLE}, "in a circle: train in 'a' refers to 'b/last', and train in 'b' refers to 'a/last'"),
    ({"chain": [{"rewind": "last"}, "train"]}, "references go in a circle: rewind refers to 'last'"),
    ({"variants": {**PAIR, "student": taught("teecher/last")}}, "no variant .teecher.; did you mean .teacher."),
    ({"chain": taught("teacher/last")["chain"]}, r"there is no variant 'teacher' \(the study has none\)"),
    ({"variants": {**PAIR, "student": taught("teacher/desne")}}, "known in variant 'teacher'; did you mean 'dense'"),
    ({"variants": {**PAIR, "student": taught("teacher/last@500")}}, "must end in a point of training such as '500it'"),
    ({"variants": {**PAIR, "student": taught("teacher/previous")}}, "another chain has no place before this one"),
    ({"chain": [{"rewind": "init@3it"}, "train"]}, "the initialisation has no points"),
    ({"chain": ["train", {"prune": {"label": "p"}}, {"rewind": "p@3it"}, "train"]}, "but prune does not train"),
    ({"chain": ["train", {"rewind": "seed\\+1"}, "train"]}, "is not known here"),
    ({"probes": [MaskOverlap("seed+0")]}, r"'seed.0' must be seed.1, seed.2, ...: how many seeds further on"),
    ({"chain": ["train", {"rewind": "seed+1"}, "train"]}, "probes alone can look at the same place of another seed"),
    ({"chain": ["train", {"rewind": "last@99it"}, "train"]}, "references go in a circle"),
    ({"chain": ["train", {"rewind": "previous@99it"}, "train"]}, "99it: the training ends at 2ep"),
    ({"chain": [{"train": {"label": "last"}}]}, "'last' has a meaning of its own"),
    ({"chain": [{"train": {"label": "seed+1"}}]}, "has a meaning of its own"),
    ({"chain": [{"train": {"label": "a/b"}}]}, "must be a name without '/' and '@', got 'a/b'"),
    ({"probes": [MaskOverlap("desne")], "chain": [{"train": {"label": "dense"}}]}, "refers to .desne..*.dense."),
    ({"probes": [MaskOverlap(), MaskOverlap()]}, "probes has 'mask-overlap' twice"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_what_cannot_be_is_told_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        study(**changes).checked()


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        ({"world.dataset": vectors(classes=4)}, taught("teacher/last"), "it has 4 outputs where 3 are needed"),
        ({"world.dataset": vectors(width=5)}, taught("teacher/last"), r"it fails on inputs of shape \(4,\)"),
        (
            {"network": {"name": "mlp", "hidden": [12]}},
            {"chain": ["train", {"rewind": "teacher/last"}, "train"]},
            r"rewind refers to 'teacher/last', whose network 'mlp' does not fit: its tensor .* is of shape \(12, 4\)",
        ),
    ],
)  # fmt: skip
def test_a_network_that_does_not_fit_is_told_before_anything_runs(teacher: Any, student: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan(variants={"teacher": teacher, "student": student})
    fitting = {"network": {"name": "mlp", "hidden": [12]}}
    assert plan(variants={"teacher": fitting, "student": taught("teacher/last")}).rows


def test_the_teacher_belongs_to_the_fingerprint() -> None:
    nodes = []
    for rate in (0.1, 0.2):
        made = plan(variants={"teacher": {**TEACHER, "train.lr": rate}, "student": taught("teacher/last")})
        nodes.append(student(made).fingerprint)
    assert nodes[0] != nodes[1]


def test_measurements_go_first_where_no_place_is_left_and_beside_the_chain_else() -> None:
    made = plan(["train", "prune", "train"], probes=["accuracy", "density"])
    _, dense, prune, last = made.steps
    measured = [name for name, node in made.measurements.items() if node.start == dense]
    alone, beside = Order(made), Order(made)
    for order in (alone, beside):
        for name in (prune, *measured):
            order.offer(made.nodes[name])
    assert [alone.take(dense).fingerprint for _ in range(3)] == [*measured, prune]
    assert beside.take(dense, places=2).fingerprint == prune
    assert beside.take(None, places=1).fingerprint in measured
    assert alone.width(made.steps.values()) == 1
    assert len(alone.descendants(dense)) == 2, "steps alone are counted"
    assert made.nodes[last].start == prune


def test_measurements_beside_the_next_step_give_the_same_table(tmp_path: Path) -> None:
    """One chain and two workers: one goes on, the other measures."""
    chain = Chain(Train(**TRAIN), Repeat(2, Prune(fraction=0.5), Rewind(), Train(**TRAIN)))
    probes = ["accuracy", "density", LearningDistance(), MaskOverlap("last"), LearningDistance("previous")]
    made = study(chain.steps, world=World(images()), probes=probes)
    one = made.run(tmp_path / "one", jobs=1, threads=1)
    two = made.run(tmp_path / "two", jobs=2, threads=1)
    assert two.frame.equals(one.frame)
    assert two.layers.equals(one.layers)
    assert one.frame["learning_distance_previous"][0] == one.frame["learning_distance"][0]
    assert one.frame["mask_overlap_last"].to_list() == pytest.approx([0.25, 0.5, 1.0], abs=0.02)
    assert "mask_overlap_last" in one.layers.columns
