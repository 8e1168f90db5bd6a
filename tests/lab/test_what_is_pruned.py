"""A study says what its densities are shares of, prunes what it is asked to, and tells of layers that collapse."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from overparam import Chain, Checkpoint, Dataset, Network, Prune, Repeat, Results, Store, Study, Train, World
from overparam.cli import app
from overparam.lab.weights import checkpoint_from_bytes
from overparam.streams import torch_stream
from small import zeros_are_clean

TOKENS = 40


class Reader(nn.Module):
    """Embedding, recurrent layer, a linear layer under weight norm, and a head that is the embedding once more."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.memory = nn.Embedding(TOKENS, 6), nn.GRU(6, 6, batch_first=True)
        self.mix = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.head, self.last = nn.Linear(6, TOKENS, bias=False), nn.Linear(TOKENS, 3)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.memory(self.embed(x.long()))
        return self.last(self.head(torch.relu(self.mix(states[:, -1]))))


class Plain(nn.Module):
    """The same with an embedding of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.memory, self.last = nn.Embedding(TOKENS, 6), nn.GRU(6, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.memory(self.embed(x.long()))[0][:, -1])


def tokens() -> Dataset:
    parts: list[Tensor] = []
    for name, size in (("train", 60), ("test", 30)):
        inputs = torch.randint(0, TOKENS, (size, 5), generator=torch_stream(0, "tokens", name))
        parts += [inputs.float(), inputs.sum(1) % 3]
    return Dataset("tokens", *parts)


TRAIN = Train(epochs=1, batch_size=20, lr=0.1, optimizer={"sgd": {"momentum": 0.9, "weight_decay": 0.01}})


def study(network: type[nn.Module], *steps: object) -> Study:
    return Study("reading", World(tokens()), Network(network), Chain(TRAIN, *steps), probes=["density", "cost"])


def last(results: Results, store: Path) -> Checkpoint:
    fingerprint = results.frame.sort("level")["fingerprint"][-1]
    return checkpoint_from_bytes(Store(store).weights(fingerprint))


@pytest.mark.parametrize("engine", ["dense", "sparse", "auto"])
def test_recurrent_weights_are_pruned_to_zero_under_every_engine(tmp_path: Path, engine: str) -> None:
    rounds = Repeat(2, Prune(fraction=0.5, scope="uniform"), TRAIN)
    results = study(Plain, rounds).run(tmp_path, jobs=1, engine=engine)
    assert not results.failures
    found = last(results, tmp_path)
    assert list(found.masks) == ["memory.weight_ih_l0", "memory.weight_hh_l0", "last.weight"]
    assert zeros_are_clean(found)
    assert all(int((found.state[name] != 0).sum()) == int(mask.sum()) for name, mask in found.masks.items())
    everything = TOKENS * 6 + 2 * 108 + 2 * 18 + 18 + 3
    table = results.frame.sort("level")
    assert table["kept"].to_list() == [234, 117, 58]
    assert table["parameters"].to_list() == [everything] * 3
    assert table["density_of_all"].to_list() == [(everything - gone) / everything for gone in (0, 117, 176)]
    memory = results.layers.filter(results.layers["layer"] == "memory.weight_hh_l0")
    assert memory["multiply_adds"].to_list() == [5 * 108] * 3  # five tokens


def test_what_is_left_out_is_named_in_results_and_on_the_page(tmp_path: Path) -> None:
    results = study(Plain, Prune(fraction=0.5, scope="uniform"), TRAIN).run(tmp_path, jobs=1)
    (remark,) = results.remarks
    assert remark.startswith(
        "of 513 parameters pruning leaves out 46.8%, besides biases and norms: embed.weight (embedding"
    )
    row = results.layers.filter(results.layers["layer"] == "embed.weight")
    assert row["masked"].to_list() == [0, 0]
    assert remark in results.report(tmp_path / "page.html").read_text()


def test_an_embedding_is_pruned_when_asked(tmp_path: Path) -> None:
    results = study(Plain, Prune(density=0.25, scope="uniform", include=("embedding",)), TRAIN).run(tmp_path, jobs=1)
    found = last(results, tmp_path)
    assert found.weights == 234 + 240
    assert found.kept == 119  # 118.5
    assert zeros_are_clean(found)
    assert results.remarks == []


@pytest.mark.parametrize("name", ["head.weight", "embed.weight", "embedding"])
def test_a_tied_tensor_is_spared_by_each_name_and_role(tmp_path: Path, name: str) -> None:
    results = study(Reader, Prune(density=0.25, scope="uniform", exclude=(name,)), TRAIN).run(tmp_path, jobs=1)
    assert not results.failures
    found = last(results, tmp_path)
    assert bool(found.masks["embed.weight"].all())
    assert not found.masks["memory.weight_hh_l0"].all()
    assert "mix.parametrizations.weight.original1 (parametrised, " in results.remarks[0]


def test_collapsed_layers_are_named(tmp_path: Path) -> None:
    results = study(Plain, Prune(density=0.02), TRAIN).run(tmp_path, jobs=1)
    assert results.frame.sort("level")["collapsed_layers"].to_list() == [0, 3]
    remark = results.remarks[-1]
    assert remark.startswith("layer collapse: memory.weight_ih_l0 in 1 of 2 checkpoints, from level 1 on, down to ")
    assert "use a scope that gives every layer its share" in remark


def test_check_tells_before_anything_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reading.py").write_text(
        "from torch import nn\n\ndef net(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 30)), "
        "nn.Linear(30, classes))\n"
    )
    (tmp_path / "reading.yaml").write_text(
        "name: reading\nworld: digits\nnetwork: 'reading:net'\nchain: [{train: 1ep}, {prune: 0.5}, {train: 1ep}]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    try:
        result = CliRunner().invoke(app, ["check", "reading.yaml"])
    finally:
        sys.modules.pop("reading", None)
    assert result.exit_code == 0, result.output
    assert "network reading:net: of 2,290 parameters pruning leaves out 85.2%" in result.output
