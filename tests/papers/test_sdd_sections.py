"""The page of Sparse Double Descent: its headline, phases and claims stand in it, and what is missing is said."""

from __future__ import annotations

import re

import polars as pl
import pytest
from pages import Elements, make
from synthetic import arm, study

from overparam.papers.sparse_double_descent.phases import phases
from overparam.papers.sparse_double_descent.sections import main_arm, sections
from overparam.report import Material

PAPER = "sparse-double-descent"


def test_the_page_says_the_finding_the_claims_and_how_it_was_made(tmp_path):
    page = Elements(make(tmp_path, arm(), PAPER))
    assert page.text.index("Test accuracy falls from") < page.text.index("Phases")
    for words in (
        *("supported", "not tested", "numbers of SDD-1", "two cores", "name: my-study", "Worst before the best"),
        "sparse double descent over density",
    ):
        assert words in page.text
    assert sum("data-panel" in attrs for _, attrs in page.tags) == 6


@pytest.mark.parametrize(
    ("frame", "missing", "words"),
    [(arm().head(14), 70, "14 of 84 rows"), (arm().head(40), 0, "40 of 56 rows")],
    ids=["told", "seen"],
)
def test_an_unfinished_study_is_said_to_be_so_first_and_nothing_is_decided(tmp_path, frame, missing, words):
    text = make(tmp_path, frame, PAPER, missing)
    page = Elements(text)
    assert page.text.index(f"Incomplete: {words}") < page.text.index("What test accuracy does")
    for word in ("supported", "contradicted", "inconclusive"):
        assert word not in page.text
    tables = text[text.index(">Phases</h2>") :]
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", tables, re.S)
    assert "none (incomplete)" in cells
    assert not {"light", "critical", "sweet", "collapsed", "yes", "no"} & set(cells)


def test_double_descent_is_spoken_of_only_where_there_is_label_noise():
    def words(frame):
        made = sections(Material(frame))
        return " ".join(
            [section.title + " ".join(section.text) for section in made] + [t.finding for t in made[-1].tables]
        )

    clean = words(study(arm(noise_rate=0.0), arm(noise_rate=0.0, depth=0, criterion="random")))
    assert "and falls again" in clean
    assert "double descent" not in clean.lower()
    assert "double descent" in words(arm())


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
    page = Elements(make(tmp_path, frame, PAPER, failures=["prune (seed 1): the layer fc1 is empty"]))
    assert words in page.text
    assert "the layer fc1 is empty" in page.text


def test_the_page_opens_with_the_papers_setting():
    frame = study(
        arm(variant="clean", noise_rate=0.0, depth=0), arm(variant="random", criterion="random"), arm(variant="main")
    )
    assert main_arm(phases(frame)).arm.label.startswith("main")
    assert main_arm([]) is None


def test_every_level_has_its_phase_and_the_turns_stand_out():
    (table,) = sections(Material(arm()))[-1].tables
    words = [row[-1] for row in table.rows]
    assert (words[0], words[12], words[-1]) == ("light", "trough", "collapsed")
    assert [words[row] for row in sorted(table.strong)] == ["trough", "peak"]
