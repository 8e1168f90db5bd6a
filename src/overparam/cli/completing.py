"""What the shell offers for completion: answers within its patience, so it looks at names of files alone."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path

import typer


def one_of(*words: str) -> Callable[[], list[str]]:
    """Return a completion that offers ``words``."""
    return lambda: list(words)


def studies(incomplete: str) -> list[str]:
    """Offer the studies that come with overparam, folders, and study files."""
    from overparam.lab.study_files import built_in_studies

    return _beginning([*built_in_studies(), *_files(incomplete)], incomplete)


def results(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the studies that the store has, with their revisions once a name has an ``@``, and study files."""
    titles = sorted(path.name for path in Path(ctx.params.get("store") or "runs").glob("studies/*@*"))
    names = titles if "@" in incomplete else dict.fromkeys(title.partition("@")[0] for title in titles)
    return _beginning([*names, *_files(incomplete)], incomplete)


def _files(incomplete: str) -> list[str]:
    paths = sorted(glob.glob(f"{glob.escape(incomplete)}*"))
    return [f"{path}/" if Path(path).is_dir() else path for path in paths if _may_lead_to_a_study(Path(path))]


def _may_lead_to_a_study(path: Path) -> bool:
    return path.is_dir() or path.suffix in (".yaml", ".yml")


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
