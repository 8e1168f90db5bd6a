"""Distillation against its formula, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from overparam import Dataset, Network, Prune, SpecError, Train
from overparam.checkpoint import Given
from overparam.train import LOSSES, Distill, TrainSettings
from overparam.train.checks import check_settings
from overparam.worlds import Batch, Regression
from small import CONV, MLP, begin, built, context_of, frozen, given, images, same_bits, vectors

BATCH = Batch(torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]))


def taught(settings: Distill, teacher: nn.Module) -> object:
    data = built(vectors())
    return settings.bound({settings.teacher: Given(begin(MLP, data), lambda: teacher)})


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (4.0, 0.9), (0.5, 0.0)])
def test_it_is_its_formula(temperature: float, weight: float) -> None:
    teacher, outputs = nn.Linear(4, 3), torch.randn(6, 3, requires_grad=True)
    loss = taught(Distill("t", temperature, weight), teacher)(outputs, BATCH)  # type: ignore[operator]
    wanted = (teacher(BATCH.inputs) / temperature).softmax(1)
    ours = (outputs / temperature).softmax(1)
    soft = (wanted * (wanted.log() - ours.log())).sum(1).mean()
    hard = functional.cross_entropy(outputs, BATCH.targets)
    assert loss.item() == pytest.approx((weight * temperature**2 * soft + (1 - weight) * hard).item(), rel=1e-5)


def test_a_student_that_says_the_same_learns_nothing_more() -> None:
    teacher = nn.Linear(4, 3)
    outputs = teacher(BATCH.inputs).detach().requires_grad_()
    loss = taught(Distill("t", weight=1.0), teacher)(outputs, BATCH)  # type: ignore[operator]
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert outputs.grad.abs().max() < 1e-6


def test_at_a_high_temperature_it_is_matching_scores() -> None:
    """Hinton et al., section 2.1: the gradient tends to ``(z - v) / classes``, of centred scores, over the batch."""
    teacher, outputs = nn.Linear(4, 3).double(), torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    batch = replace(BATCH, inputs=BATCH.inputs.double())
    taught(Distill("t", 1e4, 1.0), teacher)(outputs, batch).backward()  # type: ignore[operator]
    z, v = outputs.detach(), teacher(batch.inputs).detach()
    centred = (z - z.mean(1, keepdim=True)) - (v - v.mean(1, keepdim=True))
    assert torch.allclose(outputs.grad, centred / 3 / 6, atol=1e-4)


def test_the_teacher_is_in_evaluation_mode_and_stays_as_it_is() -> None:
    """Its batch norm would else follow the batches, and its dropout draw from the student's stream."""
    data = built(images())
    teacher, student = begin(CONV, data, 1), begin(MLP, data)
    looked = frozen(teacher)
    context = replace(context_of(MLP, data), given=given(CONV, data, {"teacher/last": teacher}))
    step = Train(epochs=2, batch_size=16, loss=Distill("teacher/last", weight=0.5))
    assert step.references() == ("teacher/last",)
    made = step.run(student, context).checkpoint
    assert frozen(teacher) == looked
    assert same_bits(made.state, step.run(student, context).checkpoint.state)
    plain = Train(epochs=2, batch_size=16).run(student, context).checkpoint
    assert not same_bits(made.state, plain.state)
    hard = Train(epochs=2, batch_size=16, loss=Distill("teacher/last", weight=0.0)).run(student, context).checkpoint
    assert all(torch.allclose(hard.state[name], plain.state[name], atol=1e-6) for name in plain.state)


@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_every_engine_learns_the_same(engine: str) -> None:
    data = built(vectors())
    start = Prune(density=0.3).run(begin(MLP, data), context_of(MLP, data)).checkpoint
    teachers = given(Network("mlp", {"hidden": [20]}), data, {"t": begin(Network("mlp", {"hidden": [20]}), data)})
    step = Train(epochs=2, batch_size=16, loss={"distill": {"teacher": "t"}})
    one, two = (
        step.run(start, replace(context_of(MLP, data, engine=each), given=teachers)).checkpoint
        for each in ("dense", engine)
    )
    assert all(torch.allclose(one.state[name], two.state[name], atol=1e-5) for name in one.state)


def test_it_can_be_written_in_a_study_file() -> None:
    step = Train(epochs=1, loss={"distill": {"teacher": "teacher/last", "temperature": 2}})
    assert LOSSES.resolve(step.loss) == Distill("teacher/last", 2.0)
    assert step.parameters() == Train(epochs=1, loss=Distill("teacher/last", 2.0)).parameters()
    assert step.parameters() != replace(step, loss=Distill("teacher/last", 3.0)).parameters()
    assert Distill("a", loss=Distill("b")).references() == ("a", "b"), "two teachers"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "teacher: is required"),
        ({"teacher": "t", "temperature": 0}, "temperature: .*greater than 0, got 0"),
        ({"teacher": "t", "weight": 1.5}, "weight: .*less than or equal to 1, got 1.5"),
        ({"teacher": "t", "temprature": 2}, "temprature.*did you mean 'temperature'"),
        ({"teacher": "t", "loss": "crossentropy"}, "did you mean 'cross-entropy'"),
    ],
)
def test_wrong_fields_are_told(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Train(epochs=1, loss={"distill": fields})


LINE = Dataset("line", *(torch.randn(20, width) for width in (4, 1, 4, 1)), task=Regression(1))


def test_real_numbers_are_learned_by_squared_errors() -> None:
    teacher, student = nn.Linear(4, 1), nn.Linear(4, 1)
    batch = Batch(LINE.train_inputs, LINE.train_targets)
    outputs = student(batch.inputs)
    loss = taught(Distill("t", weight=0.25, loss="mse"), teacher)(outputs, batch)  # type: ignore[operator]
    wanted = 0.25 * (outputs - teacher(batch.inputs)).square().mean() + 0.75 * (outputs - batch.targets).square().mean()
    torch.testing.assert_close(loss, wanted)


def test_a_loss_of_classes_does_not_fit_real_numbers() -> None:
    with pytest.raises(SpecError, match=r"distill.loss 'cross-entropy' does not fit the task.*take 'mse'"):
        check_settings(TrainSettings(epochs=1, loss=Distill("t")), built(LINE))


def test_without_its_teacher_it_is_no_loss() -> None:
    with pytest.raises(SpecError, match="needs its teacher"):
        Distill("teacher/last")(torch.zeros(2, 3), BATCH)
