from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from overparam.worlds import files

# the first call of a torch function can take a second: no deadline, everything else as it was
settings.register_profile("worlds", settings(), deadline=None)
settings.load_profile("worlds")


@pytest.fixture(autouse=True)
def no_data_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test has an empty cache of its own, and sees neither the machine's data nor a proxy."""
    monkeypatch.setenv(files.CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(files.DATA, raising=False)
    monkeypatch.delenv(files.MIRROR, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(files, "SYSTEM_FOLDERS", ())
