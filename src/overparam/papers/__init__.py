"""Papers as studies: one folder a paper, with its settings, its claims, its sections and its numbers beside ours."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any

from overparam.errors import SpecError
from overparam.registry import suggest

if TYPE_CHECKING:
    import polars as pl

    from overparam.report import Material, Section, Verdict


def paper_names() -> list[str]:
    """Return the names of the papers, which are those of their folders with hyphens."""
    folders = (path for path in resources.files("overparam.papers").iterdir() if path.joinpath("README.md").is_file())
    return sorted(folder.name.replace("_", "-") for folder in folders)


def check_paper(name: Any) -> str:
    """Return the name of a paper, or ``""`` for none; raises :class:`SpecError` for another."""
    if name != "" and name not in (known := paper_names()):
        raise SpecError(f"paper {name!r} is not known{suggest(str(name), known)} (known: {', '.join(known)})")
    return str(name)


def part_of(paper: str, part: str) -> Any:
    """Return the module ``claims`` or ``sections`` of a paper, or None if it has none."""
    folder = paper.replace("-", "_")
    if not paper or not resources.files("overparam.papers").joinpath(folder, f"{part}.py").is_file():
        return None
    return import_module(f"overparam.papers.{folder}.{part}")


def claims_for(paper: str, frame: pl.DataFrame, missing: int = 0) -> list[Verdict]:
    """Test the claims of a paper on a study's table; with rows ``missing`` from the study each is "not tested"."""
    from overparam.papers.references import sources

    found, whose = part_of(paper, "claims"), sources(paper)
    judged = [claim(frame, missing) for claim in found.CLAIMS] if found else []
    return [replace(verdict, sources=whose.get(verdict.id, ())) for verdict in judged]


def sections_for(paper: str, material: Material) -> tuple[list[Section], str]:
    """Return the sections of a study's page, the paper's own where it has some, and the arm that charts show first."""
    from overparam.report import general_sections

    own = part_of(paper, "sections")
    verdicts = claims_for(paper, material.frame, material.missing) if len(material.frame) else []
    if own is not None and material.axis.column == "density":
        return own.sections(material, verdicts), own.main_label(material)
    told: list[Section] = general_sections(material, verdicts)
    return told, ""
