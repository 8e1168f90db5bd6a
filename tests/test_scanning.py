"""Scans: each layer pruned alone, by hand and in a study, on the terminal and as files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from torch import nn
from typer.testing import CliRunner

import overparam
from overparam import Chain, Dataset, Prune, Scan, SpecError, Study, Train, World, scan
from overparam.cli import app
from overparam.probes import Sensitivity
from overparam.prune import apply_masks, prune
from overparam.scanning import study_of
from overparam.train.evaluate import evaluate
from small import vectors

WORLD = World(vectors(test=90))


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3))


def accuracy(module: nn.Module) -> float:
    data = WORLD.build()
    return evaluate(module, data.test.examples(), data.task)["accuracy"]


@pytest.mark.parametrize("criterion", ["magnitude", "gradient", "random"])
def test_each_number_is_that_of_the_network_with_one_layer_pruned(criterion: str) -> None:
    module = net()
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    found = scan(module, WORLD, criterion=criterion, densities=[0.5, 0.25], tolerance=0.05)
    assert all(torch.equal(weight, before[name]) for name, weight in module.state_dict().items())
    assert found.frame["layer"].unique(maintain_order=True).to_list() == ["0.weight", "2.weight", "4.weight"]
    assert found.frame.filter(density=1.0)["scan_accuracy"].to_list() == [accuracy(net())] * 3
    if criterion != "magnitude":
        return
    for layer, at, measured in found.frame.select("layer", "density", "scan_accuracy").iter_rows():
        pruned = net()
        others = [name for name in ("0.weight", "2.weight", "4.weight") if name != layer]
        apply_masks(pruned, prune(pruned, density=at, exclude=others))
        assert accuracy(pruned) == measured


def test_a_layer_bears_what_costs_no_more_than_the_tolerance_on_the_way_down() -> None:
    """The first layer passes its input on through a large weight and a small one that does nothing."""
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[0].weight.data = torch.tensor([[5.0, 0.01], [0.01, 5.0]])
    module[1].weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    inputs = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    labels = (inputs[:, 1] > inputs[:, 0]).long()
    found = scan(module, Dataset("two", inputs, labels, inputs, labels), densities=[0.5, 0.25])
    assert found.suggested == {"0.weight": 0.5, "1.weight": 0.5}, "one row of the second tells the classes, too"
    assert found.together["scan_density_together"].to_list() == [0.5]
    assert "50 % of the weights, accuracy" in found.sentence()


def test_what_layers_bear_together_is_measured_together() -> None:
    found = scan(net(), WORLD, densities=[0.5], tolerance=1.0)
    pruned = net()
    apply_masks(pruned, prune(pruned, density=0.5, scope="uniform"))
    assert found.together["scan_accuracy_together"].to_list() == [accuracy(pruned)]
    assert found.suggested == dict.fromkeys(found.suggested, 0.5)


def test_units_and_networks_that_are_pruned_already() -> None:
    units = scan(net(), WORLD, pattern="units", densities=[0.5])
    assert units.frame.filter(layer="4.weight")["density"].to_list() == [1.0], "outputs cannot go"
    written = units.table()
    assert [row[-1] for row in written.rows][-1] == "–"
    assert "–: cannot be pruned so alone, or is sparser already" in written.note
    assert units.frame.filter(layer="0.weight").height == 2
    sparse = net()
    masks = prune(sparse, density=0.4, scope="uniform")
    apply_masks(sparse, masks)
    found = scan(sparse, WORLD, masks=masks, densities=[0.5, 0.2])
    assert all(0.35 < at < 0.45 or at == 0.2 for at in found.frame["density"]), "half is more than is left"


def study(**fields: object) -> Study:
    chain = Chain(Train(epochs=2, batch_size=25), Prune(fraction=0.5), Train(epochs=2, batch_size=25))
    given = {"name": "own", "world": WORLD, "network": {"name": "mlp", "hidden": [8]}, "chain": chain}
    return Study(**{**given, "sweep": {"seed": [0, 1]}, **fields})  # type: ignore[arg-type]


def test_a_scan_of_a_study_is_one_of_its_dense_network(tmp_path: Path) -> None:
    whole = study().run(tmp_path, jobs=1, threads=1)
    probe = Sensitivity(densities=(0.5, 0.1))
    results = study_of(study(), probe).run(tmp_path, jobs=1, threads=1)
    assert results.facts["run"].startswith("0 steps run"), "the trainings are there"
    found = Scan.of(results, probe)
    dense = whole.frame.filter(level=0).sort("seed")["test_accuracy"]
    assert found.together.sort("seed")["scan_accuracy"].to_list() == dense.to_list()
    assert found.frame.group_by("seed").len()["len"].to_list() == [6, 6]
    worst = found.frame.group_by("layer").agg(pl.col("scan_density").max())
    assert found.suggested == dict(worst.iter_rows())


def test_the_command_prints_a_table_and_writes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = {"name": "c", "world": "small:vectors", "network": {"name": "mlp", "hidden": [8]}, "chain": ["train"]}
    Path("c.yaml").write_text(yaml.safe_dump({**written, "train": {"epochs": 2, "batch_size": 25}}))
    shared = ["scan", "c.yaml", "--jobs", "1", "--densities", "0.5,0.2", "--tolerance", "0.1"]
    done = CliRunner().invoke(app, [*shared, "--save", "c.png", "--save", "c.svg", "--save", "c.csv"])
    assert done.exit_code == 0, done.output
    assert "fc1.weight" in done.stdout
    assert "Each layer at what it bears, together:" in " ".join(done.stdout.split())
    assert Path("c.png").read_bytes()[:4] == b"\x89PNG"
    assert Path("c.svg").read_text().startswith("<svg")
    assert pl.read_csv("c.csv").columns[:4] == ["seed", "chain", "layer", "weights"]
    again = CliRunner().invoke(app, shared)
    assert again.stdout.splitlines()[:6] == done.stdout.splitlines()[:6]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--densities", "0.1,0.5"], "densities must fall, each once, got [0.1, 0.5]"),
        (["--densities", "much"], "densities"),
        (["--criterion", "magnitud"], "did you mean 'magnitude'"),
        (["--tolerance", "0"], "tolerance"),
        (["--pattern", "2:4"], "pattern 2:4 says how many weights stay, so there is no density to scan"),
        (["--save", "x.txt"], "a scan cannot be written as 'x.txt'; end it in .png, .svg"),
    ],
)
def test_wrong_options_are_named(options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["scan", "sparse-double-descent", *options])
    assert done.exit_code != 0
    assert message in done.stderr


def test_a_network_that_cannot_be_pruned_is_refused() -> None:
    with pytest.raises(SpecError, match="pattern 2:4 says how many weights stay, so there is no density to scan"):
        scan(net(), WORLD, pattern="2:4")
    with pytest.raises(
        SpecError, match="pattern heads takes what several layers have in common, so none can be scanned"
    ):
        scan(net(), WORLD, pattern="heads")
    broken = net()
    broken[0].weight.data[0, 0] = torch.nan
    with pytest.raises(SpecError, match=r"the module's '0.weight' is not finite in 1 of [\d,]+ places"):
        scan(broken, WORLD)
    with pytest.raises(SpecError, match="no linear, convolution or recurrent weights"):
        overparam.scan(nn.Flatten(), WORLD)
