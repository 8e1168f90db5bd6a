"""Ten steps of every optimiser against its update rule, written out by hand in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from overparam import Checkpoint
from overparam.checkpoint import state_of
from overparam.constraints import masked
from overparam.streams import torch_stream
from overparam.train import OPTIMISERS, SGD, Adam, AdamW, RMSprop, TrainSettings, fit
from small import built, half_pruned, vectors

EPSILON = 1e-8  # of Adam's denominator, torch's default
EXACT = {"rtol": 1e-11, "atol": 1e-13}  # ten steps in float64, sums in another order

CASES = {
    "sgd": {},
    "momentum": {"optimizer": SGD(momentum=0.9)},
    "nesterov": {"optimizer": SGD(momentum=0.9, nesterov=True)},
    "weight decay": {"optimizer": SGD(weight_decay=0.05)},
    "l1": {"l1": 0.01},
    "all of sgd": {"optimizer": SGD(momentum=0.8, nesterov=True, weight_decay=0.05), "l1": 0.01},
    "adam": {"optimizer": "adam", "lr": 0.02},
    "adam with decay": {"optimizer": Adam(weight_decay=0.05, betas=(0.8, 0.9)), "lr": 0.02, "l1": 0.01},
    "adamw": {"optimizer": AdamW(weight_decay=0.05), "lr": 0.02, "l1": 0.01},
    "rmsprop": {"optimizer": RMSprop(alpha=0.9), "lr": 0.02},
    "all of rmsprop": {"optimizer": RMSprop(alpha=0.9, momentum=0.5, weight_decay=0.05), "lr": 0.02, "l1": 0.01},
}


class Double(nn.Module):
    """A small network in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6, dtype=torch.float64), nn.Linear(6, 3, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(inputs.double())))


def start(density: float) -> Checkpoint:
    torch.manual_seed(0)
    state = state_of(Double())
    masks = {name: torch.ones_like(state[name], dtype=torch.bool) for name in ("first.weight", "second.weight")}
    return half_pruned(Checkpoint(state, masked(masks), {}), density)


def by_hand(begin: Checkpoint, settings: TrainSettings, data: object, seed: int) -> dict[str, Tensor]:
    """Train as the papers write it, lr dropping by ten at the sixth step."""
    rule = OPTIMISERS.resolve(settings.optimizer)
    module = begin.load_into(Double())
    weights = dict(module.named_parameters())
    first = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    step = 0
    for epoch in range(2):
        for batch in data.batches(settings.batch_size, torch_stream(seed, "order", epoch)):
            lr = settings.lr * (1 if step < 6 else 0.1)
            step += 1
            gradients = torch.autograd.grad(cross_entropy(module(batch.inputs), batch.targets), list(weights.values()))
            with torch.no_grad():
                for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                    if name in begin.masks:
                        gradient = (gradient + settings.l1 * weight.sign()) * begin.masks[name]
                    if isinstance(rule, AdamW):
                        weight *= 1 - lr * rule.weight_decay
                    else:
                        gradient = gradient + rule.weight_decay * weight
                    if isinstance(rule, SGD):
                        velocity = first[name] = rule.momentum * first[name] + gradient
                        weight -= lr * (gradient + rule.momentum * velocity if rule.nesterov else velocity)
                    elif isinstance(rule, RMSprop):
                        second[name] = rule.alpha * second[name] + (1 - rule.alpha) * gradient**2
                        first[name] = rule.momentum * first[name] + gradient / (second[name].sqrt() + EPSILON)
                        weight -= lr * first[name]
                    else:
                        one, two = rule.betas
                        first[name] = one * first[name] + (1 - one) * gradient
                        second[name] = two * second[name] + (1 - two) * gradient**2
                        mean, square = first[name] / (1 - one**step), second[name] / (1 - two**step)
                        weight -= lr * mean / (square.sqrt() + EPSILON)
    assert step == 10
    return {name: weight.detach() for name, weight in weights.items()}


@pytest.mark.parametrize("density", [1.0, 0.4])
@pytest.mark.parametrize("case", CASES)
def test_ten_steps_agree_with_the_update_rule(case: str, density: float) -> None:
    data, begin = built(vectors()), start(density)
    settings = TrainSettings(
        **{"lr": 0.3, "epochs": 2, "batch_size": 10, "schedule": {"multistep": {"milestones": ["6it"]}}, **CASES[case]}
    )
    fitted = fit(begin.load_into(Double()), data, settings, masks=begin.masks, seed=5)
    expected = by_hand(begin, settings, data, seed=5)
    for name, weight in expected.items():
        torch.testing.assert_close(fitted.state[name], weight, **EXACT)
        assert not torch.equal(weight, begin.state[name]), "a reference that does not move proves nothing"


def test_the_loss_of_the_curve_is_the_mean_over_the_batches_as_they_came() -> None:
    data, begin = built(vectors()), start(1.0)
    settings = TrainSettings(lr=1e-12, epochs=1, batch_size=20)  # so small that the weights stay
    fitted = fit(begin.load_into(Double()), data, settings, seed=1)
    module = begin.load_into(Double())
    losses = [cross_entropy(module(x.inputs), x.targets).item() for x in data.batches(20, torch_stream(1, "order", 0))]
    assert [x["iteration"] for x in fitted.curve] == [3]
    assert fitted.curve[0]["loss"] == pytest.approx(sum(losses) / 3, rel=1e-9)
