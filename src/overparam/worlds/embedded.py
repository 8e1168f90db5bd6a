"""The two small datasets that come with the package, as arrays; NOTICE says whose they are."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from overparam.errors import DataError

Array = np.ndarray[Any, Any]

FOLDER = Path(__file__).with_name("embedded_files")
SHA256 = {
    "digits.npz": "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e",
    "diabetes.npz": "fc8a039876df93040630bf8cd5aafb812d23427c1454ebdc90fafe8bdde1bc3c",
}
DIABETES_FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
"""The columns of :func:`diabetes_arrays`: age in years, sex (1 or 2), body mass index, mean blood pressure, and six
measurements of blood serum."""


def digit_arrays() -> tuple[Array, Array]:
    """Return handwritten digits: images ``(1797, 8, 8)`` of whole numbers 0 to 16, and labels ``(1797,)``; uint8.

    The test set of Alpaydin and Kaynak's Optical Recognition of Handwritten Digits (UCI, 1998). Raises
    :class:`DataError` if the file in the package is damaged.
    """
    kept = _arrays("digits.npz")
    return kept["images"], kept["labels"]


def diabetes_arrays() -> tuple[Array, Array]:
    """Return ten features of diabetes patients ``(442, 10)``, as measured, and the targets ``(442,)``; float64.

    The target is a measure of how the disease progressed within a year, 25 to 346 (Efron et al., Least Angle
    Regression, 2004). Raises :class:`DataError` if the file in the package is damaged.
    """
    kept = _arrays("diabetes.npz")
    return kept["features"], kept["target"]


def _arrays(name: str) -> dict[str, Array]:
    try:
        content = (FOLDER / name).read_bytes()
    except OSError as error:
        raise DataError(f"{FOLDER / name} cannot be read ({error.strerror}); install overparam again") from None
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise DataError(f"{FOLDER / name} is not the file that came with overparam; install it again")
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        return dict(kept)
