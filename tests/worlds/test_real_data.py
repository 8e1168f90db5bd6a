"""On the published files, if the machine has them: name their folder in OVERPARAM_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from overparam.errors import DataError
from overparam.worlds import LabelNoise, World, files, load_dataset
from overparam.worlds.builtin import FILES

NAMED = os.environ.get(files.DATA, "")  # read before the fixture hides it
SYSTEM = files.SYSTEM_FOLDERS


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.DATA, NAMED)
    monkeypatch.setattr(files, "SYSTEM_FOLDERS", SYSTEM)


def need(dataset: str) -> None:
    if files.find(dataset, [["train-images-idx3-ubyte.gz"]]) is None:
        pytest.skip(f"{dataset} is not on this machine; name its folder in OVERPARAM_DATA")


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_published_files(name: str) -> None:
    need(name)
    data = load_dataset(name)
    assert data.train_inputs.shape == (60_000, 1, 28, 28)
    assert data.test_inputs.shape == (10_000, 1, 28, 28)
    assert data.notes() == ()  # they have the published checksums
    assert data.mean is not None
    assert data.std is not None
    mean, std = data._computed
    assert data.mean[0] == pytest.approx(mean[0], abs=1e-4)  # the usual constants
    assert data.std[0] == pytest.approx(std[0], abs=1e-4)


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize(("one", "other"), [("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")])
def test_published_files_of_one_dataset_do_not_pass_as_another(one: str, other: str, tmp_path: Path) -> None:
    need(one)
    for path in files.find(one, [[file.name for file in FILES[one]]]) or []:
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte.* of the dataset '{one}' and cannot be .*'{other}'"):
        load_dataset(other, folder=tmp_path)


@pytest.mark.usefixtures("real_data")
def test_the_papers_world_on_mnist() -> None:
    need("mnist")
    data = World("mnist", label_noise=LabelNoise("random-labels", 0.2)).build()
    assert data.noise_realised == pytest.approx(0.18, abs=0.002)
    subset = World("mnist", train_size=10_000, label_noise=LabelNoise("symmetric", 0.2)).build()
    assert subset.noise_realised == 0.2
    assert len(subset.train) == 10_000
    assert torch.bincount(subset.train.targets).min() > 800
    asymmetric = World("mnist", label_noise=LabelNoise("asymmetric", 0.4)).build()
    changed = asymmetric.train.targets != asymmetric.train.clean
    pairs = torch.stack([asymmetric.train.clean[changed], asymmetric.train.targets[changed]])
    assert {tuple(pair) for pair in pairs.T.tolist()} == {(2, 7), (3, 8), (5, 6), (6, 5)}


def test_image_archive(real_data: None, tmp_path: Path) -> None:
    path = next((folder / "cifar10-jpeg.tar.xz" for folder in files.data_folders()), tmp_path)
    if not path.is_file() or not os.environ.get("OVERPARAM_SLOW_TESTS"):
        pytest.skip("decodes 60,000 images in half a minute; set OVERPARAM_SLOW_TESTS=1")
    data = World({"path": "cifar10-jpeg.tar.xz", "size": [32, 32]}).build()  # type: ignore[arg-type]
    assert data.train.inputs.shape == (50_000, 3, 32, 32)
    assert torch.bincount(data.test.targets).tolist() == [1000] * 10
