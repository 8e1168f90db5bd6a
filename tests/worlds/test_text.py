"""Text read from a file: tokens, windows, what comes next, what is wrong with it; regressions, measured and drawn."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import torch

from overparam import SpecError, World
from overparam.errors import DataError
from overparam.worlds import NextToken, load_dataset
from overparam.worlds.text import windows

WORDS = "the cat sat on the mat — and the dog on the log.\n" * 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "words.txt").write_text(WORDS, encoding="utf-8")
    with gzip.open(tmp_path / "packed.txt.gz", "wb") as file:
        file.write(WORDS.encode())
    (tmp_path / "broken.txt").write_bytes(b"caf\xe9 " * 100)
    monkeypatch.setenv("OVERPARAM_DATA", str(tmp_path))
    return tmp_path


def given(**fields: Any) -> dict[str, Any]:
    return {"text": {"path": "words.txt", "context": 8, **fields}}


def test_each_target_is_the_character_after_its_place(folder: Path) -> None:
    data = load_dataset(given())
    characters = sorted(set(WORDS))
    assert data.task == NextToken(len(characters))
    whole = "".join(characters[token] for token in data.train_inputs.flatten())
    following = "".join(characters[token] for token in data.train_targets.flatten())
    assert WORDS.startswith(whole)
    assert following == WORDS[1 : len(whole) + 1]
    tested = "".join(characters[token] for token in data.test_inputs.flatten())
    cut = len(WORDS) - round(0.1 * len(WORDS))
    assert WORDS[cut:].startswith(tested), "the last tenth, none of which is trained on"
    assert len(whole) < cut


def test_a_packed_file_is_the_same_and_bytes_are_bytes(folder: Path) -> None:
    plain, packed = load_dataset(given()), load_dataset(given(path="packed.txt.gz"))
    assert packed.digest() == plain.digest()
    assert World(given(path="packed.txt.gz")).identity() == World(given()).identity()
    assert World(given(context=9)).identity() != World(given()).identity()
    raw = load_dataset(given(level="byte"))
    assert raw.task == NextToken(256)
    assert WORDS.encode().startswith(bytes(raw.train_inputs.flatten().tolist()))


def test_windows_leave_out_what_has_no_next() -> None:
    inputs, targets = windows(torch.arange(9), 4)
    assert inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert targets.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert windows(torch.arange(8), 4)[0].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"path": "none.txt"}, DataError, "cannot find the text 'none.txt': looked for "),
        ({"path": "broken.txt"}, DataError, "is not UTF-8 .* take level: byte"),
        ({"path": 3}, SpecError, "path must be that of a text file, got 3"),
        ({"level": "word"}, SpecError, "level must be one of char, byte, got 'word'"),
        ({"context": 0}, SpecError, "context must be a number of tokens from 1 on, got 0"),
        ({"context": 500}, SpecError, "context must be below 20, .* got 500"),
        ({"test": 1}, SpecError, r"test must be a share in \(0, 1\) such as 0.1, got 1"),
        ({"lines": 2}, SpecError, "has no field 'lines'"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_dataset(given(**fields))


def test_diabetes_is_normalised_by_its_training_set() -> None:
    data = World("diabetes").build()
    assert (len(data.train), len(data.test)) == (342, 100)
    torch.testing.assert_close(data.train.inputs.mean(0), torch.zeros(10), atol=1e-5, rtol=0)
    assert float(data.train.targets.square().mean()) == pytest.approx(1, abs=1e-5)
    design = torch.cat([data.train.inputs, torch.ones(342, 1)], 1).double()
    weights = torch.linalg.lstsq(design, data.train.targets.double()).solution
    errors = torch.cat([data.test.inputs, torch.ones(100, 1)], 1).double() @ weights - data.test.targets
    assert 0.3 < float(errors.square().mean()) < 0.7, "least squares explains about half of it, as is known"


@pytest.mark.parametrize("hidden", [0, 30])
def test_a_teacher_is_learned_down_to_its_noise(hidden: int) -> None:
    fields = {"train": 400, "inputs": 5, "hidden": hidden, "noise": 0.2}
    data = load_dataset({"teacher": fields})
    design = data.train_inputs.double()
    residual = torch.linalg.lstsq(design, data.train_targets.double())
    mean = float((design @ residual.solution - data.train_targets).square().mean())
    assert (mean == pytest.approx(0.04, rel=0.2)) == (hidden == 0), "only the linear one is linear"
    assert float(data.test_targets.square().mean()) == pytest.approx(1, abs=0.5)
    again = load_dataset({"teacher": {**fields, "test": 10}})
    assert torch.equal(again.train_targets, data.train_targets)
    endless = World({"teacher": fields}, endless=100).build()
    one, other = endless.train.fetch(torch.tensor([4, 9])), endless.train.fetch(torch.tensor([9]))
    assert torch.equal(one.targets[1], other.targets[0])
    with pytest.raises(SpecError, match="inputs must be a whole number from 1 on, got 0"):
        load_dataset({"teacher": {"inputs": 0}})
