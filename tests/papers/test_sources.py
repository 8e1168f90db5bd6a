"""Every claim says whose it is, and every paper's folder has its works in one place."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from overparam.papers import claims_for, paper_names, part_of
from overparam.papers.numbers import numbers_of
from overparam.papers.references import references, software, sources

FIELD = re.compile(r"  [a-z]+ = \{.+\},?")


@pytest.mark.parametrize("paper", paper_names())
def test_every_claim_says_whose_it_is(paper: str) -> None:
    assert set(sources(paper)) == {claim.id for claim in part_of(paper, "claims").CLAIMS}


@pytest.mark.parametrize("paper", paper_names())
def test_works_are_whole_and_in_the_readme(paper: str) -> None:
    readme = resources.files("overparam.papers").joinpath(paper.replace("-", "_"), "README.md").read_text("utf-8")
    for work in references(paper):
        assert re.fullmatch(r"[a-z]+(19|20)\d\d[a-z]+", work.key)
        assert str(work.year) in work.key
        assert all(", " in name for name in work.authors)
        assert work.arxiv == "" or re.fullmatch(r"\d{4}\.\d{4,5}", work.arxiv)
        assert work.link.startswith("https://")
        first, *fields, last = work.bibtex.splitlines()
        assert (first, last) == (f"@{'inproceedings' if work.venue else 'misc'}{{{work.key},", "}")
        assert all(FIELD.fullmatch(field) for field in fields)
    if works := references(paper):
        assert works[0].link in readme or works[0].title in readme


def test_keys_and_papers_are_named_once() -> None:
    works = [work for paper in paper_names() for work in references(paper)]
    assert len({work.key for work in works}) == len(works)
    assert len({work.link for work in works}) == len(works)
    assert references("") == []
    assert software().key == "overparam"


def test_verdicts_carry_their_works() -> None:
    numbers = numbers_of("sparse-double-descent-claims")
    verdicts = {verdict.id: verdict for verdict in claims_for("sparse-double-descent", numbers.frame)}
    assert [source.short for source in verdicts["SDD-1"].sources] == ["He et al., 2022"]
    assert [source.short for source in verdicts["E1-10"].sources] == ["after He et al., 2022"]
