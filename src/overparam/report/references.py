"""Where a sentence comes from: author, year, title, link, and the same as BibTeX."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from overparam.report.latex import escape, one_line
from overparam.report.words import listing


@dataclass(frozen=True)
class Reference:
    """A paper, or a program.

    Args:
        key: what ``\\cite`` takes, e.g. ``"he2022sparse"``.
        authors: each as ``"Family, Given"``; a name without a comma is an organisation's.
        title, year: as printed.
        venue: the conference in full; empty for a preprint, or a program.
        arxiv: the number of its preprint, without a version.
        url: its address, where that is not its preprint's.
        version: of a program.
    """

    key: str
    authors: tuple[str, ...]
    title: str
    year: int
    venue: str = ""
    arxiv: str = ""
    url: str = ""
    version: str = ""

    @property
    def link(self) -> str:
        """Its address; empty if it has none."""
        return self.url or (f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else "")

    @property
    def short(self) -> str:
        """Who and when, e.g. ``"He et al., 2022"``."""
        families = [name.partition(",")[0] for name in self.authors]
        return f"{listing(families) if len(families) < 3 else f'{families[0]} et al.'}, {self.year}"

    @property
    def text(self) -> str:
        """Authors, year, title, where it was published, and its address, in one line."""
        names = [" ".join(reversed([part.strip() for part in name.split(",", 1)])) for name in self.authors]
        what = f"{self.title}, version {self.version}" if self.version else self.title
        where = self.venue or (f"arXiv:{self.arxiv}" if self.arxiv else "")
        told = [f"{listing(names)} ({self.year})", what.rstrip("."), where, self.link]
        return ". ".join(part for part in told if part).replace("?. ", "? ")

    @property
    def bibtex(self) -> str:
        """The entry, as text that ends in a line's end; its signs are those of LaTeX, its letters UTF-8."""
        kind = "inproceedings" if self.venue else "misc"
        fields = ",\n".join(f"  {name} = {{{value}}}" for name, value in self._fields())
        return f"@{kind}{{{self.key},\n{fields}\n}}\n"

    def _fields(self) -> Iterator[tuple[str, str]]:
        yield "author", " and ".join(escape(name) if "," in name else f"{{{escape(name)}}}" for name in self.authors)
        yield "title", f"{{{escape(self.title)}}}"  # twice in braces: styles keep its capitals
        yield "year", str(self.year)
        if self.venue:
            yield "booktitle", escape(self.venue)
        if self.version:
            yield "version", escape(self.version)
            yield "note", f"Version {escape(self.version)}"
        if self.arxiv:
            yield from (("eprint", self.arxiv), ("archiveprefix", "arXiv"))
        if self.link:
            yield "url", one_line(self.link).replace("%", r"\%")


@dataclass(frozen=True)
class Source:
    """Where a claim comes from.

    Args:
        reference: the work.
        stated: whether the claim is the work's own; if not, it is a question that was put after reading it.
    """

    reference: Reference
    stated: bool = True

    @property
    def short(self) -> str:
        """Who and when, e.g. ``"He et al., 2022"``, or ``"after He et al., 2022"``."""
        return f"{'' if self.stated else 'after '}{self.reference.short}"
