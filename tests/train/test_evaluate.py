from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from overparam.streams import torch_stream
from overparam.train import evaluate
from overparam.train import evaluate as evaluate_function
from overparam.train.evaluate import CHUNK

WIDTH, CLASSES = 5, 3


def case(size: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    inputs = torch.randn(size, WIDTH, generator=torch_stream(size, "evaluate"))
    labels = torch.randint(CLASSES, (size,), generator=torch_stream(size, "labels"))
    return nn.Linear(WIDTH, CLASSES), inputs, labels


@pytest.mark.parametrize("size", [1, 63, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_scores_agree_with_direct_computation(size: int) -> None:
    module, inputs, labels = case(size)
    (score,) = evaluate(module, inputs, labels)
    with torch.no_grad():
        outputs = module(inputs).double()
    right = outputs.softmax(1)[torch.arange(size), labels]
    assert score.loss == pytest.approx(cross_entropy(outputs, labels).item(), rel=1e-6)
    assert score.accuracy == pytest.approx((outputs.argmax(1) == labels).double().mean().item(), abs=1e-12)
    assert score.soft_error == pytest.approx(1 - right.mean().item(), rel=1e-6)


def test_values_on_paper() -> None:
    # scores (0, 0) and (ln 3, 0): the right class has the chances 1/2 and 3/4
    inputs = torch.tensor([[0.0, 0.0], [torch.tensor(3.0).log(), 0.0]])
    (score,) = evaluate(nn.Identity(), inputs, torch.tensor([0, 0]))
    assert score.loss == pytest.approx((torch.tensor(2.0).log() + torch.tensor(4 / 3).log()).item() / 2, rel=1e-6)
    assert score.accuracy == 1.0
    assert score.soft_error == pytest.approx(1 - (1 / 2 + 3 / 4) / 2, rel=1e-6)


def test_several_labels_are_measured_in_one_pass() -> None:
    module, inputs, labels = case(40)
    other = (labels + 1) % CLASSES
    assert evaluate(module, inputs, labels, other) == [
        *evaluate(module, inputs, labels),
        *evaluate(module, inputs, other),
    ]


@given(cut=st.integers(1, 70))
def test_the_chunk_does_not_matter(cut: int) -> None:
    module, inputs, labels = case(64)
    (whole,) = evaluate(module, inputs, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(evaluate_function.__wrapped__.__globals__, "CHUNK", cut)
        (parts,) = evaluate(module, inputs, labels)
    assert parts == pytest.approx(whole, rel=1e-6)


def test_another_loss_is_averaged_over_examples() -> None:
    module, inputs, labels = case(CHUNK + 3)
    (score,) = evaluate(module, inputs, labels, loss=lambda outputs, targets: outputs[:, 0].square().mean())
    with torch.no_grad():
        assert score.loss == pytest.approx(module(inputs)[:, 0].square().mean().item(), rel=1e-5)


def test_each_part_keeps_its_mode_and_dropout_is_off() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, CLASSES)).train()
    module[1].eval()  # as one does to freeze its statistics
    _, inputs, labels = case(30)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert evaluate(module, inputs, labels) == evaluate(module, inputs, labels)
    assert [part.training for part in module.modules()] == [True, True, False, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
