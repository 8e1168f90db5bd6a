"""What a loss is called with: targets, or the whole batch where its second parameter is called ``batch``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from overparam.steps import Prune, Train
from overparam.train import TrainSettings, evaluate, fit
from overparam.train.losses import on_batch
from overparam.worlds import Batch
from small import MLP, begin, built, context_of, same_bits, vectors

DATA = built(vectors(), label_noise={"kind": "symmetric", "rate": 0.3})


def on_true_labels(outputs: Tensor, batch: Batch) -> Tensor:
    """Train as if there were no label noise, which only the batch tells."""
    assert batch.indices is not None
    assert torch.equal(DATA.train.fetch(batch.indices).inputs, batch.inputs)
    return cross_entropy(outputs, batch.targets if batch.clean is None else batch.clean)


class AsAnObject:
    def __call__(self, outputs: Tensor, batch: Batch) -> Tensor:
        return on_true_labels(outputs, batch)


class AsAModule(nn.Module):
    def forward(self, outputs: Tensor, batch: Batch) -> Tensor:
        return on_true_labels(outputs, batch)


@pytest.mark.parametrize("loss", [on_true_labels, AsAnObject(), AsAModule()], ids=["function", "object", "module"])
def test_one_that_asks_for_the_batch_gets_it(loss: Any) -> None:
    clean = built(vectors())
    settings = {"epochs": 3, "batch_size": 8, "lr": 0.2}
    start = begin(MLP, DATA)
    noisy = fit(start.load_into(MLP.build((4,), 3, 0)), DATA, TrainSettings(**settings, loss=loss))
    expected = fit(start.load_into(MLP.build((4,), 3, 0)), clean, TrainSettings(**settings))
    assert same_bits(noisy.state, expected.state)


def test_all_others_get_the_targets() -> None:
    outputs, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    for loss in (cross_entropy, nn.CrossEntropyLoss(), lambda x, y: cross_entropy(x, y)):
        assert torch.equal(on_batch(loss)(outputs, Batch(outputs, targets)), cross_entropy(outputs, targets))


def test_evaluation_and_pruning_call_it_alike() -> None:
    start = begin(MLP, DATA)
    examples = DATA.train.examples()
    module = start.load_into(MLP.build((4,), 3, 0))
    found = evaluate(module, examples, DATA.task, lambda outputs, batch: cross_entropy(outputs, batch.targets))
    assert found == pytest.approx(evaluate(module, examples, DATA.task), rel=1e-6)
    fields = {"criterion": "gradient", "fraction": 0.5, "batch_size": 20}
    pruned = Prune(**fields, loss=on_true_labels).run(start, context_of(MLP, DATA)).checkpoint
    clean = Prune(**fields).run(start, context_of(MLP, built(vectors()))).checkpoint
    assert same_bits(pruned.masks, clean.masks)
    assert Train(epochs=1, loss=on_true_labels).parameters() != Train(epochs=1).parameters()
