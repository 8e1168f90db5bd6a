from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skips import lines, unlisted

CARD = "no CUDA card here: what holds on one was not tested"


def test_reasons_are_counted_and_told() -> None:
    assert unlisted([CARD, "no browser", "no browser"]) == ["no browser"]
    assert list(lines([CARD, CARD, "no browser"])) == [
        f"   2  {CARD}",
        "   1  no browser  (not in the list of tests/skips.py)",
    ]


@pytest.mark.parametrize(("why", "asked", "code"), [("no browser", "", 0), ("no browser", "listed", 1)])
def test_a_skip_that_is_not_in_the_list_fails_the_run_where_that_is_asked_for(
    why: str, asked: str, code: int, tmp_path: Path
) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(f"import pytest\ndef test_no(): pytest.skip({why!r})\ndef test_yes(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "skips", "-c", os.devnull, "--rootdir", tmp_path, path]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OVERPARAM_SKIPS": asked}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stdout
    assert why in done.stdout
