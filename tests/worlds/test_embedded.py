"""The datasets in the package are scikit-learn's, bit for bit, and a damaged file is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from overparam.errors import DataError
from overparam.worlds import embedded
from overparam.worlds.embedded import DIABETES_FEATURES, diabetes_arrays, digit_arrays


def test_digits_are_those_of_scikit_learn() -> None:
    images, labels = digit_arrays()
    theirs = datasets.load_digits()
    assert images.dtype == labels.dtype == np.uint8
    assert np.array_equal(images, theirs.images)
    assert np.array_equal(labels, theirs.target)


def test_diabetes_is_that_of_scikit_learn() -> None:
    features, target = diabetes_arrays()
    theirs = datasets.load_diabetes(scaled=False)
    assert features.dtype == target.dtype == np.float64
    assert features.tobytes() == theirs.data.tobytes()
    assert target.tobytes() == theirs.target.tobytes()
    assert list(DIABETES_FEATURES) == theirs.feature_names


@pytest.mark.parametrize("name", embedded.SHA256)
def test_files_are_small_and_have_their_notice(name: str) -> None:
    assert (embedded.FOLDER / name).stat().st_size < 50_000
    assert name in (Path(__file__).parents[2] / "NOTICE").read_text()


def test_a_damaged_or_missing_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in embedded.SHA256:
        shutil.copy(embedded.FOLDER / name, tmp_path)
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    content = bytearray((tmp_path / "digits.npz").read_bytes())
    content[1000] ^= 1
    (tmp_path / "digits.npz").write_bytes(content)
    (tmp_path / "diabetes.npz").unlink()
    with pytest.raises(DataError, match="is not the file that came with overparam; install it again"):
        digit_arrays()
    with pytest.raises(DataError, match=r"cannot be read .*; install overparam again"):
        diabetes_arrays()
