from __future__ import annotations

import pytest

from overparam import Length, SpecError
from overparam.train import Multistep, StopAt, TrainSettings
from overparam.train.losses import LOSSES, cross_entropy

WRONG = {
    "neither epochs nor length": ({}, r"needs either epochs .* or length"),
    "both": ({"epochs": 1, "length": "1ep"}, r"needs either epochs .* or length"),
    "no length": ({"length": "0it"}, r"longer than nothing"),
    "lr 0": ({"epochs": 1, "lr": 0}, r"TrainSettings.lr: .*greater than 0, got 0"),
    "lr infinite": ({"epochs": 1, "lr": float("inf")}, r"lr: .*finite"),
    "unknown optimiser": (
        {"epochs": 1, "optimizer": "lion"},
        r"optimizer: unknown optimiser 'lion' .known: adam, adamw, rmsprop, sgd; your own",
    ),
    "momentum 1": ({"epochs": 1, "optimizer": {"sgd": {"momentum": 1}}}, r"momentum: .*less than 1"),
    "momentum of adam": ({"epochs": 1, "optimizer": {"adam": {"momentum": 0.9}}}, r"Adam.momentum: no such field"),
    "nesterov alone": ({"epochs": 1, "optimizer": {"sgd": {"nesterov": True}}}, r"nesterov needs a momentum above 0"),
    "milestones and cosine": (
        {"epochs": 1, "schedule": {"cosine": {"milestones": [1]}}},
        r"Cosine.milestones: no such",
    ),
    "multistep without": ({"epochs": 1, "schedule": "multistep"}, r"Multistep.milestones: is required"),
    "no milestones": ({"epochs": 1, "schedule": {"multistep": {"milestones": []}}}, r"milestones: .* at least 1 item"),
    "half an iteration": (
        {"epochs": 1, "schedule": {"multistep": {"milestones": ["1.5it"]}}},
        r"must be whole, got '1.5",
    ),
    **{
        f"the old {name}": (
            {"epochs": 1, name: 0.5},
            rf"{name}: no such field any more: it belongs to the optimizer, as",
        )
        for name in ("momentum", "nesterov", "betas", "weight_decay")
    },
    **{
        f"the old {name}": (
            {"epochs": 1, name: [1]},
            rf"{name}: no such field any more: it belongs to the schedule, as",
        )
        for name in ("milestones", "gamma")
    },
    "batch 0": ({"epochs": 1, "batch_size": 0}, r"batch_size"),
    "evaluate never": ({"epochs": 1, "evaluate_every": "0it"}, r"evaluate_every must be longer"),
    "stop at nothing": ({"epochs": 1, "stop_at": {}}, r"needs a threshold .* or patience"),
    "accuracy above 1": (
        {"epochs": 1, "stop_at": {"train_accuracy": 99}},
        r"train_accuracy: .*less than or equal to 1",
    ),
    "unknown loss": ({"epochs": 1, "loss": "crossentropy"}, r"did you mean 'cross-entropy'"),
    "unknown key": ({"epochs": 1, "learning_rate": 1}, r"no such field"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_refused_with_a_reason(case: str) -> None:
    given, message = WRONG[case]
    with pytest.raises(SpecError, match=message):
        TrainSettings(**given)


def test_settings_read_what_a_study_file_holds() -> None:
    dropping = {"multistep": {"milestones": ["2ep", 3]}}
    settings = TrainSettings(length="500it", schedule=dropping, stop_at={"train_loss": 0.1}, save=["5it"])
    assert settings.duration == Length(500, "it")
    assert settings.schedule == {"multistep": {"milestones": ["2ep", "3ep"]}}
    assert settings == TrainSettings(
        length="500it", schedule=Multistep(("2ep", 3)), stop_at={"train_loss": 0.1}, save=["5it"]
    )
    assert settings.stop_at == StopAt(train_loss=0.1)
    assert settings.save == (Length(5, "it"),)
    assert TrainSettings(epochs=2.5).duration == Length(2.5, "ep")


def test_losses_come_by_name_by_path_and_as_they_are() -> None:
    assert LOSSES.resolve("cross-entropy") is cross_entropy
    assert LOSSES.resolve("torch.nn.functional:nll_loss").__name__ == "nll_loss"
    assert LOSSES.resolve(cross_entropy) is cross_entropy
