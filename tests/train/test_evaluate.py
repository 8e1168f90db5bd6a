from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from overparam.streams import torch_stream
from overparam.train import evaluate, metrics
from overparam.train.evaluate import CHUNK, sums
from overparam.worlds import Batch, Classification

WIDTH, CLASSES = 5, 3


TASK = Classification(CLASSES)


def case(size: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    inputs = torch.randn(size, WIDTH, generator=torch_stream(size, "evaluate"))
    labels = torch.randint(CLASSES, (size,), generator=torch_stream(size, "labels"))
    return nn.Linear(WIDTH, CLASSES), inputs, labels


@pytest.mark.parametrize("size", [1, 63, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_scores_agree_with_direct_computation(size: int) -> None:
    module, inputs, labels = case(size)
    found = evaluate(module, Batch(inputs, labels), TASK)
    with torch.no_grad():
        outputs = module(inputs).double()
    right = outputs.softmax(1)[torch.arange(size), labels]
    assert found["loss"] == pytest.approx(cross_entropy(outputs, labels).item(), rel=1e-6)
    assert found["accuracy"] == pytest.approx((outputs.argmax(1) == labels).double().mean().item(), abs=1e-12)
    assert found["soft_error"] == pytest.approx(1 - right.mean().item(), rel=1e-6)
    assert {f"{name}_clean" for name in TASK.metrics} | set(TASK.metrics) == set(found), "no noise: no parts"


def test_values_on_paper() -> None:
    # scores (0, 0) and (ln 3, 0): the right class has the chances 1/2 and 3/4
    inputs = torch.tensor([[0.0, 0.0], [torch.tensor(3.0).log(), 0.0]])
    found = evaluate(nn.Identity(), Batch(inputs, torch.tensor([0, 0])), Classification(2))
    assert found["loss"] == pytest.approx((torch.tensor(2.0).log() + torch.tensor(4 / 3).log()).item() / 2, rel=1e-6)
    assert found["accuracy"] == 1.0
    assert found["soft_error"] == pytest.approx(1 - (1 / 2 + 3 / 4) / 2, rel=1e-6)


@pytest.mark.parametrize("wrong", [0, 1, 13, 40])
def test_clean_and_noisy_parts_are_the_metrics_of_those_examples_alone(wrong: int) -> None:
    module, inputs, clean = case(40)
    noisy = torch.where(torch.arange(40) < wrong, (clean + 1) % CLASSES, clean)
    found = evaluate(module, Batch(inputs, noisy, clean=clean), TASK)
    parts = {"": (slice(None), noisy), "_clean": (slice(None), clean)}
    if wrong < 40:
        parts["_clean_part"] = (slice(wrong, None), noisy)
    if wrong:
        parts["_noisy_part"] = (slice(0, wrong), noisy)
    expected = {
        f"{name}{suffix}": value
        for suffix, (which, targets) in parts.items()
        for name, value in evaluate(module, Batch(inputs[which], targets[which]), TASK).items()
        if name in TASK.metrics
    }
    assert found == pytest.approx(expected, rel=1e-6)


@given(cut=st.integers(1, 70))
def test_the_chunk_does_not_matter(cut: int) -> None:
    module, inputs, labels = case(64)
    batch = Batch(inputs, labels)
    whole = sums(module, batch, TASK)
    parts = [sums(module, batch.part(start, start + cut), TASK) for start in range(0, 64, cut)]
    together = {name: sum(float(part[name]) for part in parts) for name in whole}
    assert together == pytest.approx({name: float(value) for name, value in whole.items()}, rel=1e-6)
    assert metrics(lambda examples: sums(module, examples, TASK), TASK, batch)["loss"] == float(whole["loss"]) / 64


def test_another_loss_is_averaged_over_examples() -> None:
    module, inputs, labels = case(CHUNK + 3)
    found = evaluate(module, Batch(inputs, labels), TASK, lambda outputs, batch: outputs[:, 0].square().mean())
    with torch.no_grad():
        assert found["loss"] == pytest.approx(module(inputs)[:, 0].square().mean().item(), rel=1e-5)


def test_each_part_keeps_its_mode_and_dropout_is_off() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, CLASSES)).train()
    module[1].eval()  # as one does to freeze its statistics
    batch = Batch(*case(30)[1:])
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert evaluate(module, batch, TASK) == evaluate(module, batch, TASK)
    assert [part.training for part in module.modules()] == [True, True, False, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
