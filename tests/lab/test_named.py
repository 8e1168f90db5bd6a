"""Checkpoints by name, and as files that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from test_contents import GIVEN
from typer.testing import CliRunner, Result

from overparam import Results, SpecError, Study, load_results
from overparam.cli import app
from overparam.lab.named import names, split_name

ARMS: dict[str, Any] = {**GIVEN, "variants": {"magnitude": {}, "by chance": {"prune.criterion": "random"}}}


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named")
    Study.from_mapping(ARMS).run(folder, jobs=1, threads=1)
    return folder


@pytest.fixture(scope="module")
def results(done: Path) -> Results:
    return load_results(done, "crit")


@pytest.mark.parametrize(
    ("name", "study", "place"),
    [
        ("a/0/3", "a", {"seed": 0, "level": 3}),
        ("a@1f/by chance/0/3", "a@1f", {"arm": "by chance", "seed": 0, "level": 3}),
        ("a/b/1/2/3", "a", {"arm": "b", "seed": 1, "level": 2, "step": 3}),
        ("a/half/full/1/2", "a", {"arm": "half/full", "seed": 1, "level": 2}),
    ],
)
def test_names_are_taken_apart(name: str, study: str, place: dict[str, Any]) -> None:
    assert split_name(name) == (study, place)


@pytest.mark.parametrize("name", ["a/", "/0/1", "a/b", "a/b/0", "a/b/0/x", "a/-1/2"])
def test_names_of_another_form(name: str) -> None:
    with pytest.raises(SpecError, match="must have the form STUDY/ARM/SEED/LEVEL"):
        split_name(name)


def test_every_checkpoint_has_a_name_that_leads_back(done: Path, results: Results) -> None:
    told = list(names(results))
    assert told == invoke("get", "crit", "--store", done).stdout.splitlines()
    assert len(set(told)) == len(results.labelled)
    for name, node in zip(told, results.labelled["fingerprint"].to_list(), strict=True):
        assert results.at(**split_name(name)[1])["fingerprint"] == node


def test_weights_are_the_state_of_the_network(done: Path, results: Results, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    result = invoke("get", "crit/by chance/1/1", "-o", path, "--store", done)
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    found = results.at(arm="by chance", seed=1, level=1)
    module, weights = found.module(), load_file(path)
    assert module.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())
    module.load_state_dict(weights, strict=True)
    with safe_open(path, "np") as opened:
        about = opened.metadata()
    assert {"arm": "by chance", "seed": "1", "level": "1", "holds": "weights"}.items() <= about.items()
    assert about["fingerprint"] == found["fingerprint"]


def test_masks(done: Path, results: Results, tmp_path: Path) -> None:
    found = results.at(arm="magnitude", seed=0, level=1)
    for path in (tmp_path / "masks.npz", tmp_path / "masks.safetensors"):
        assert invoke("get", "crit/magnitude/0/1", "--masks", "-o", path, "--store", done).exit_code == 0
        there = np.load(path) if path.suffix == ".npz" else load_file(path)
        assert set(there) == set(found.masks)
        assert all(np.array_equal(np.asarray(there[name]), mask.numpy()) for name, mask in found.masks.items())
        assert all(there[name].dtype in (np.dtype(bool), torch.bool) for name in there)
    assert sum(int(mask.sum()) for mask in found.masks.values()) == found["kept"]


def test_what_it_scores(done: Path) -> None:
    assert invoke("get", "crit/magnitude/0/1", "--store", done).stdout.startswith("arm 'magnitude', seed 0, level 1")


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (("crit/magnitud/0/1",), "did you mean 'magnitude'"),
        (("crit/magnitude/7/1",), "has no seed 7"),
        (("crit/0/1",), "say more of arm"),
        (("crat/0/1",), "did you mean 'crit'"),
        (("crit/magnitude/0/1", "-o", "model.bin"), "must end in .safetensors or .npz"),
        (("crit/magnitude/0/1", "-o", "none/model.npz"), "cannot be written"),
    ],
)
def test_what_cannot_be_got_is_told(args: tuple[str, ...], match: str, done: Path) -> None:
    result = invoke("get", *args, "--store", done)
    assert (result.exit_code, result.stdout) == (2, "")
    assert match in result.stderr


def test_another_what(results: Results, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="weights or masks"):
        results.at(arm="magnitude", seed=0, level=1).save(tmp_path / "a.npz", "biases")
