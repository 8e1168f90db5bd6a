"""The page of any study: whole, safe, of a reasonable size, and about its own axis."""

from __future__ import annotations

import re

import polars as pl
from pages import Elements, book_of, make
from synthetic import arm, study

from overparam.report.claims import Verdict
from overparam.report.page import library

EVIL = '<script>alert("x")</script> & </script>'


def test_nothing_in_the_page_is_fetched(tmp_path):
    text = make(tmp_path, arm())
    for tag, attrs in Elements(text).tags:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form")
        assert "src" not in attrs
        assert "href" not in attrs
        assert not any(name.startswith("on") for name in attrs)
    assert "default-src 'none'" in text
    own = text.replace(library(), "")
    assert re.findall(r"""(?:url\(|@import|https?://)[^"']*""", own) in (
        [],
        ["https://vega.github.io/schema/vega-lite/"],
    )
    assert "</script" not in library().lower()


def test_whatever_a_user_names_is_escaped(tmp_path):
    frame = study(arm(variant=EVIL), arm(variant="b")).with_columns(pl.lit(EVIL).alias("dataset"))
    wrong = Verdict("X", EVIL, "supported", {EVIL: 1.0}, EVIL)
    text = make(tmp_path, frame, name=EVIL, spec_yaml=EVIL, facts={EVIL: EVIL}, failures=[EVIL], verdicts=[wrong])
    assert "<script>alert" not in text
    # The page's own three scripts and no other, and the charts' data ends where it should.
    assert text.count("</script>") == 3
    book = book_of(text)
    assert book["labels"][0].startswith(EVIL)


def test_the_page_is_of_a_reasonable_size(tmp_path):
    frame = study(*(arm(variant=f"v{n}") for n in range(6)))
    assert len(make(tmp_path, frame)) < 1.6e6
    assert len(make(tmp_path, arm())) < 1.1e6


def test_equal_drawings_are_stored_once(tmp_path):
    frame = study(arm(variant="a"), arm(variant="b", worst=0.2), arm(variant="c", noise_rate=0.0, depth=0))
    text = make(tmp_path, frame)
    book = book_of(text)
    # Five panels, two of which look otherwise without noise, and the comparison.
    assert len(book["specs"]) == 8
    first, second, _ = book["charts"]["accuracy"]
    assert first["spec"] == second["spec"]
    assert first["data"] != second["data"]
