"""Weights from files: state dicts however they are nested or wrapped; nothing is run that a file says."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from overparam.errors import DataError, SpecError
from overparam.networks import read_weights, with_weights


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return net()


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def ways(module: nn.Module) -> dict[str, Any]:
    state = module.state_dict()
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    return {
        "alone": state,
        "beside an optimiser's state": {"epoch": 3, "model_state_dict": state, "optimizer": optimiser.state_dict()},
        "of DataParallel": {f"module.{name}": each for name, each in state.items()},
        "of a framework": {"state_dict": {f"model.{name}": each for name, each in state.items()}, "version": "2"},
        "under a key of its own": {"student": state, "lr": 0.1},
    }


@pytest.mark.parametrize("way", ways(net()))
def test_a_state_dict_is_found(way: str, module: nn.Module, tmp_path: Path) -> None:
    torch.save(ways(module)[way], tmp_path / "file.pt")
    assert same(with_weights(net(), tmp_path / "file.pt"), module)


def test_safetensors(module: nn.Module, tmp_path: Path) -> None:
    save_file(module.state_dict(), tmp_path / "file.safetensors")
    assert same(with_weights(net(), tmp_path / "file.safetensors"), module)


def test_names_that_a_wrapper_could_have_put_there_stay(tmp_path: Path) -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = net()

    torch.manual_seed(1)
    whole = Whole()
    torch.save(whole.state_dict(), tmp_path / "file.pt")
    assert same(with_weights(Whole(), tmp_path / "file.pt"), whole)


def test_extra_state_is_loaded_too(tmp_path: Path) -> None:
    class Counting(nn.Linear):
        count = 0

        def get_extra_state(self) -> dict[str, int]:
            return {"count": self.count}

        def set_extra_state(self, state: dict[str, int]) -> None:
            self.count = state["count"]

    counted = Counting(2, 2)
    counted.count = 7
    torch.save(counted.state_dict(), tmp_path / "file.pt")
    assert with_weights(Counting(2, 2), tmp_path / "file.pt").count == 7
    with pytest.raises(SpecError, match=r"the module has no place for 1 tensor \(_extra_state\)"):
        with_weights(nn.Linear(2, 2), tmp_path / "file.pt")


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)

    def __init__(self, path: str) -> None:
        self.path = path


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": Evil(str(tmp_path / "run"))}, tmp_path / "evil.pt")
    with pytest.raises(
        DataError, match=r"evil\.pt: holds Python objects \(\w+\.mkdir\).*torch\.save\(model\.state_dict"
    ):
        read_weights(tmp_path / "evil.pt")
    assert not (tmp_path / "run").exists()


def test_what_is_refused_is_told_in_one_sentence(module: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save(module, path)
    refused(path, "holds Python objects (torch.nn.modules.container.Sequential)", "write the weights alone")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what made the file
        torch.jit.trace(module.eval(), torch.ones(1, 3)).save(str(path))
    refused(path, "is a TorchScript program", "torch.jit.load")
    torch.save(module.state_dict(), path)
    path.write_bytes(path.read_bytes()[:500])
    refused(path, "cannot be read as weights")
    path.write_bytes(b"")
    refused(path, "cannot be read as weights")
    path.write_bytes(b"no file of torch's")
    refused(path, "cannot be read as weights")
    path.write_bytes(pickle.dumps([1, 2]))
    refused(path, "")
    (tmp_path / "x.safetensors").write_bytes(b"12345678")
    refused(tmp_path / "x.safetensors", "cannot be read as weights")
    refused(tmp_path / "none.pt", "is not there")
    refused(tmp_path, "is not there")


def refused(path: Path, *parts: str) -> None:
    with pytest.raises((DataError, SpecError)) as error:
        read_weights(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_what_holds_no_state_dict_or_several(module: nn.Module, tmp_path: Path) -> None:
    path, state = tmp_path / "file.pt", module.state_dict()
    for content, message in (
        ([1.0], "holds a list and no state dict"),
        ({"epoch": 3}, "holds no state dict; name one by key=... (it has epoch)"),
        ({"teacher": state, "student": state}, "holds more than one state dict; name one by key=..."),
    ):
        torch.save(content, path)
        with pytest.raises(SpecError, match=re.escape(message)):
            read_weights(path)
    assert len(read_weights(path, key="teacher")) == len(state)
    with pytest.raises(SpecError, match="no state dict under 'studnt'; did you mean 'student'"):
        read_weights(path, key="studnt")


def test_what_does_not_fit_is_named(module: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save(module.state_dict(), path)
    with pytest.raises(SpecError, match=r"the file lacks 2 tensors \(3.weight, 3.bias\)"):
        with_weights(nn.Sequential(*net(), nn.Linear(2, 2)), path)
    with pytest.raises(SpecError, match=r"the module has no place for 2 tensors \(2.weight, 2.bias\)"):
        with_weights(nn.Sequential(*list(net())[:2]), path)
    with pytest.raises(SpecError, match=r"'0.weight' has the shape \(4, 3\), in Sequential it has \(4, 5\)"):
        with_weights(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), path)
