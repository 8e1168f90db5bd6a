"""Distributions with entry points as pip would install them, in a folder on ``sys.path``."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def installed(
    folder: Path, name: str, offers: Mapping[str, Mapping[str, str]], modules: Mapping[str, str], version: str = "1.0"
) -> Iterator[Path]:
    """Install a distribution that offers things, import paths by kind and name, while the block runs."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = [
        f"[overparam.{kind}]\n" + "".join(f"{given} = {path}\n" for given, path in things.items())
        for kind, things in offers.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        for module in modules:
            sys.modules.pop(module, None)
