"""Pages made of tables, and what stands in them."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from typing import Any

from overparam.papers import sections_for
from overparam.report import Material, write_page

FACTS = {"overparam": "0.1.0", "machine": "two cores"}


class Elements(HTMLParser):
    """Every start tag with its attributes, and all text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def make(tmp_path, frame, paper="", missing=0, axis="density", verdicts=(), **changes):
    """Write the page of a table and return its text; ``verdicts`` are further ones than the paper's."""
    material = Material(frame, axis, missing=missing)
    sections, main = sections_for(paper, material)
    if verdicts:
        from overparam.report.general import claims

        sections += claims(verdicts)
    settings = {
        "name": "my-study",
        "spec_yaml": "name: my-study",
        "facts": FACTS,
        "main": main,
    }
    path = write_page(tmp_path / "report.html", sections=sections, material=material, **(settings | changes))
    return path.read_text(encoding="utf-8")


def book_of(text: str) -> dict[str, Any]:
    """Return what the scripts of a page know: charts, rows, packed tables."""
    return json.loads(unpacked(text, "book"))


def unpacked(text: str, name: str) -> str:
    """Return a packed text of a page."""
    packet = re.search(rf'id="{name}">(.*?)</script>', text, re.S).group(1)
    return gzip.decompress(base64.b64decode(packet, validate=True)).decode()
