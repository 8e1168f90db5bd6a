"""What a docstring says: its text, what each argument means, an example."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any

_SECTION = re.compile(r"^(Args|Attributes|Example):(.*)\n", re.MULTILINE)
_ENTRY = re.compile(r"^(\w+(?:, \w+)*)(?: \([^)]*\))?:\s+", re.MULTILINE)


@dataclass(frozen=True)
class Docstring:
    """A docstring in parts.

    Attributes:
        summary: its first paragraph, one line.
        text: all the rest but arguments and examples, as paragraphs.
        args: what each argument (or attribute, or field) means, by name.
        example: the lines under ``Example:``.
    """

    summary: str = ""
    text: str = ""
    args: dict[str, str] = field(default_factory=dict)
    example: str = ""


def docstring_of(thing: Any) -> Docstring:
    """Return the parts of a thing's own docstring; what a class inherits from another is not its own."""
    own = vars(thing).get("__doc__") if isinstance(thing, type) else getattr(thing, "__doc__", None)
    return parsed(inspect.cleandoc(own or ""))


def parsed(text: str) -> Docstring:
    """Return the parts of a docstring without indentation.

    >>> found = parsed("Prune.\\n\\nArgs:\\n    n, m: how many,\\n        of how many.\\n\\nReference: a paper")
    >>> found.summary, found.args, found.text
    ('Prune.', {'n': 'how many, of how many.', 'm': 'how many, of how many.'}, 'Reference: a paper')
    """
    args: dict[str, str] = {}
    example = ""
    while (found := _SECTION.search(text)) is not None:
        body = _indented(text[found.end() :])
        if found[1] == "Example":
            example = inspect.cleandoc(body)
        else:
            args |= entries(inspect.cleandoc(body))
        rest = text[found.end() + len(body) :].lstrip("\n")
        text = f"{text[: found.start()]}{f'Args: {found[2].strip()}' if found[2] else ''}{rest}"
    summary, _, rest = text.strip().partition("\n\n")
    return Docstring(" ".join(summary.split()), rest.strip(), args, example)


def entries(text: str) -> dict[str, str]:
    """Return what is said of each name in a block of entries ``name: words``; two names may share one."""
    starts = list(_ENTRY.finditer(text))
    ends = [*(found.start() for found in starts[1:]), len(text)]
    said: dict[str, str] = {}
    for found, end in zip(starts, ends, strict=False):
        words = " ".join(text[found.end() : end].split())
        said |= dict.fromkeys(found[1].split(", "), words)
    return said


def _indented(text: str) -> str:
    """Return the lines at the beginning that are indented or empty."""
    lines = text.splitlines(keepends=True)
    count = next((place for place, line in enumerate(lines) if line.strip() and not line.startswith(" ")), len(lines))
    return "".join(lines[:count])
