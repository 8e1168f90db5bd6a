"""The page of any study: whole, safe, of a reasonable size, and about its own axis."""

from __future__ import annotations

import base64
import gzip
import json
import re

import polars as pl
import pytest
import vl_convert
from pages import Elements, book_of, make
from synthetic import arm, study

from overparam.report.claims import Verdict
from overparam.report.packing import library

EVIL = '<script>alert("x")</script> & </script>'


def test_nothing_in_the_page_is_fetched(tmp_path):
    text = make(tmp_path, arm())
    for tag, attrs in Elements(text).tags:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base")
        assert not {"action", "formaction", "srcdoc"} & set(attrs)
        assert "src" not in attrs
        assert tag == "a" or "href" not in attrs  # a reader may follow a link; nothing follows it alone
        assert not any(name.startswith("on") for name in attrs)
    assert "default-src 'none'" in text
    own = text.replace(library(), "") + json.dumps(book_of(text))
    assert re.findall(r"""(?:url\(|@import|https?://)[^"']*""", own) == []


def test_whatever_a_user_names_is_escaped(tmp_path):
    frame = study(arm(variant=EVIL), arm(variant="b")).with_columns(pl.lit(EVIL).alias("dataset"))
    wrong = Verdict("X", EVIL, "supported", {EVIL: 1.0}, EVIL)
    text = make(tmp_path, frame, name=EVIL, spec_yaml=EVIL, facts={EVIL: EVIL}, failures=[EVIL], verdicts=[wrong])
    assert "<script>alert" not in text
    assert text.count("</script>") == 3  # what is packed, the library, the page's own; and no other
    book = book_of(text)
    assert book["labels"][0].startswith(EVIL)
    assert not re.search("[^A-Za-z0-9+/=]", re.search(r'id="book">(.*?)</script>', text, re.S).group(1))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-9], lambda whole: b"", lambda whole: b"no gzip"])
def test_a_damaged_library_is_made_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("OVERPARAM_CACHE", str(tmp_path))
    made = []
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda *given, **named: made.append(given) or "a script")
    first = library.__wrapped__()
    kept = next(tmp_path.glob("vega-*.js.gz"))
    assert library.__wrapped__() == first
    kept.write_bytes(damage(kept.read_bytes()))
    assert library.__wrapped__() == first
    assert len(made) == 2
    assert gzip.decompress(base64.b64decode(first)) == b"a script"


def test_rows_are_there_with_what_was_swept_and_measured(tmp_path):
    frame = study(arm(variant="a", levels=5), arm(variant="b", criterion="random", levels=5))
    rows = book_of(make(tmp_path, frame))["rows"]
    columns = {column["name"]: column for column in rows["columns"]}
    assert {name for name, column in columns.items() if column["swept"]} == {"variant", "criterion"}
    assert columns["criterion"]["values"][:5] == ["magnitude"] * 5  # of the dense network too, which knows it not yet
    assert columns["test_accuracy"]["values"] == [float(f"{value:.6g}") for value in frame["test_accuracy"]]
    assert not {"fingerprint", "chain", "seed", "weights"} & set(columns)
    assert rows["arm"] == [0] * 15 + [1] * 15
    assert rows["place"] == list(range(5)) * 6


def test_the_page_is_of_a_reasonable_size(tmp_path):
    frame = study(*(arm(variant=f"v{n}") for n in range(6)))
    assert len(make(tmp_path, frame)) < 0.75e6
    assert len(make(tmp_path, arm())) < 0.55e6


def test_equal_drawings_are_stored_once(tmp_path):
    frame = study(arm(variant="a"), arm(variant="b", worst=0.2), arm(variant="c", noise_rate=0.0, depth=0))
    text = make(tmp_path, frame)
    book = book_of(text)
    # Five panels, two of which look otherwise without noise, the comparison, and what networks cost.
    assert len(book["specs"]) == 9
    first, second, _ = book["charts"]["accuracy"]
    assert first["spec"] == second["spec"]
    assert first["series"] == second["series"]
