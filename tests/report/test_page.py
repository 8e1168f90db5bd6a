from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import polars as pl
import pytest
from synthetic import arm, study

from overparam.papers import claims_for
from overparam.report.claims import Verdict
from overparam.report.page import library, main_arm, write_page
from overparam.report.phases import phases

FACTS = {"overparam": "0.1.0", "machine": "two cores"}
EVIL = '<script>alert("x")</script> & </script>'


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


def make(tmp_path, frame, **changes):
    settings = {
        "name": "my-study",
        "spec_yaml": "name: my-study",
        "facts": FACTS,
        "verdicts": claims_for("sparse-double-descent", frame),
    }
    path = write_page(tmp_path / "report.html", frame=frame, **(settings | changes))
    return path.read_text(encoding="utf-8")


def test_the_page_says_the_finding_the_claims_and_how_it_was_made(tmp_path):
    page = Elements(make(tmp_path, arm()))
    assert page.text.index("Test accuracy falls from") < page.text.index("Phases")
    for words in (
        "supported",
        "not tested",
        "numbers of SDD-1",
        "two cores",
        "name: my-study",
        "Worst before the best",
    ):
        assert words in page.text
    assert sum(tag == "div" and attrs.get("class") == "chart" for tag, attrs in page.tags) == 5


@pytest.mark.parametrize(
    ("frame", "missing", "words"),
    [(arm().head(14), 70, "14 of 84 rows"), (arm().head(40), 0, "40 of 56 rows")],
    ids=["told", "seen"],
)
def test_an_unfinished_study_is_said_to_be_so_first_and_nothing_is_decided(tmp_path, frame, missing, words):
    text = make(tmp_path, frame, missing=missing, verdicts=claims_for("sparse-double-descent", frame, missing))
    page = Elements(text)
    assert page.text.index(f"Incomplete: {words}") < page.text.index("What test accuracy does")
    for word in ("supported", "contradicted", "inconclusive"):
        assert word not in page.text
    tables = text[text.index("<h2>Phases</h2>") :]
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", tables, re.S)
    assert not {"light", "critical", "sweet", "collapsed", "yes", "no", "<b>no</b>", "<b>yes</b>"} & set(cells)


def test_double_descent_is_spoken_of_only_where_there_is_label_noise(tmp_path):
    clean = study(arm(noise_rate=0.0), arm(noise_rate=0.0, depth=0, criterion="random"))
    page = Elements(make(tmp_path, clean, verdicts=[]))
    assert "and falls again" in page.text
    assert "double descent" not in page.text.lower()
    assert "double descent" in Elements(make(tmp_path, arm())).text


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
    book = json.loads(re.search(r'id="charts">(.*?)</script>', text, re.S).group(1))
    assert book["arms"][0]["label"].startswith(EVIL)


def test_the_page_is_of_a_reasonable_size(tmp_path):
    frame = study(*(arm(variant=f"v{n}") for n in range(6)))
    assert len(make(tmp_path, frame)) < 1.6e6
    assert len(make(tmp_path, arm())) < 1.1e6


def test_equal_drawings_are_stored_once(tmp_path):
    frame = study(arm(variant="a"), arm(variant="b", worst=0.2), arm(variant="c", noise_rate=0.0, depth=0))
    text = make(tmp_path, frame)
    book = json.loads(re.search(r'id="charts">(.*?)</script>', text, re.S).group(1))
    # Five panels, two of which look otherwise without noise, and the comparison.
    assert len(book["specs"]) == 8
    assert book["arms"][0]["accuracy"]["spec"] == book["arms"][1]["accuracy"]["spec"]
    assert book["arms"][0]["accuracy"]["data"] != book["arms"][1]["accuracy"]["data"]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pl.DataFrame(), "No checkpoint was measured"),
        (arm().clear(), "No checkpoint was measured"),
        (arm().drop("test_accuracy"), "Test accuracy was not measured"),
        (arm().drop("learning_distance"), "The learning distance was not measured"),
        (arm().drop("train_accuracy", "train_accuracy_clean"), "Train accuracy was not measured"),
        (arm().drop("kept", "weights", "variant", "dataset"), "down to this density"),
        (arm(levels=1), "no pruned network was measured"),
        (arm(seeds=[4]), "one seed, so there are no bands"),
        (arm().with_columns(pl.lit(float("nan")).alias("test_loss")), "Test accuracy falls"),
        (arm().with_columns(pl.lit(None, dtype=pl.Float64).alias("noise_rate")), "Test accuracy falls"),
    ],
    ids=["none", "empty", "no test", "no distance", "no train", "no counts", "dense", "one seed", "nan", "no rate"],
)
def test_what_is_missing_is_said_and_the_page_is_made(tmp_path, frame, words):
    page = Elements(make(tmp_path, frame, failures=["prune (seed 1): the layer fc1 is empty"]))
    assert words in page.text
    assert "the layer fc1 is empty" in page.text


def test_the_page_opens_with_the_papers_setting():
    frame = study(
        arm(variant="clean", noise_rate=0.0, depth=0), arm(variant="random", criterion="random"), arm(variant="main")
    )
    assert main_arm(phases(frame)).arm.label.startswith("main")
    assert main_arm([]) is None
