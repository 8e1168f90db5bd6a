"""Study files: those that come with overparam, and the user's own, read and not yet understood."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

from overparam.errors import SpecError, suggest
from overparam.files import why
from overparam.lab.dialect import parse_yaml

LARGEST = 1_000_000  # bytes of a study file


def text_of(path: str | Path) -> str:
    """Return the text of a study file; raises :class:`SpecError` if there is none."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content[:LARGEST].decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = why(error, path) if isinstance(error, OSError) else "it is not text in UTF-8"
        raise SpecError(f"study file {str(path)!r} cannot be read ({reason})") from None
    if len(content) > LARGEST:
        raise SpecError(f"study file {str(path)!r} cannot be a study: it has more than {LARGEST:,} bytes")
    return text


def built_in_studies() -> dict[str, str]:
    """Return the YAML texts of the studies that come with overparam, by name."""
    found = {}
    for paper in sorted(resources.files("overparam.papers").iterdir(), key=lambda p: p.name):
        if paper.is_dir():
            for file in sorted(paper.iterdir(), key=lambda p: p.name):
                if file.name.endswith(".yaml"):
                    text = file.read_text(encoding="utf-8")
                    found[_name(text, file.name)] = text
    return found


def _name(text: str, source: str) -> str:
    """Return the name of a study that comes with overparam; to parse all of them takes longer than a command may."""
    found = re.search(r"^name: *([\w.-]+)$", text, re.M)
    return found[1] if found else str(parse_yaml(text, source)["name"])


def starter(path: Path, like: str = "") -> str:
    """Return the text of a study to begin with, to be written to ``path``, after which it is named.

    Args:
        path: of the file.
        like: the name of a study that comes with overparam, whose text is then returned; none: the one with comments.

    Raises:
        SpecError: no such study comes with overparam.
    """
    if like:
        if like not in (known := built_in_studies()):
            raise SpecError(f"no study {like!r} comes with overparam{suggest(like, known)} (known: {', '.join(known)})")
        return known[like]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("._-")[:100] or "my-study"
    text = resources.files("overparam.lab").joinpath("starter.yaml").read_text(encoding="utf-8")
    return text.replace("{name}", name).replace("{file}", str(path))


def study_name(name: Any) -> str:
    """Return ``name`` if results can be found under it; raises :class:`SpecError`."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise SpecError(f"name must be letters, digits, '.', '_' and '-', at most 100, got {name!r}")
    return name
