"""What studies and results print of themselves: short, true, and harmless in a notebook whatever they are called."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from overparam import Branch, Chain, Prune, Reinit, Repeat, Results, Rewind, Study, Train
from small import MLP, vectors

NASTY = "<img src=x onerror=alert(1)>"
TRAIN = Train(epochs=1, batch_size=25)
CHAIN = Chain(TRAIN, Repeat(2, Prune(fraction=0.5), Rewind(), TRAIN), Branch("new", Reinit(), TRAIN))


def study(**fields: object) -> Study:
    variants = {NASTY: {}, "other": {"prune.criterion": "random"}}
    return Study("shown", vectors(), MLP, CHAIN, variants=variants, sweep={"seed": range(2)}, **fields)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return study().run(tmp_path_factory.mktemp("cards") / "runs", jobs=1, threads=1)


def test_a_study_is_a_few_lines() -> None:
    lines = dict(re.findall(r"^  (\w+) +(.*)$", repr(study(description="Why not")), re.M))
    assert lines["about"] == "Why not"
    assert lines["world"] == "vectors"
    assert lines["network"] == "mlp, hidden [8]"
    assert lines["chain"] == "train → 2 × (prune → rewind → train) → branch new: (reinit → train)"
    assert lines["sweep"] == "seed: 0, 1"
    assert lines["plan"].startswith("8 chains, 16 trainings at most")


def test_trainings_are_counted_as_the_plan_has_them_where_chains_share_none() -> None:
    alone = Study("alone", vectors(), MLP, CHAIN, sweep={"seed": range(3)})
    trainings = sum(node.trains for node in alone.plan.nodes.values())
    assert f"6 chains, {trainings} trainings at most" in repr(alone)


def test_a_study_that_cannot_be_run_is_shown_too() -> None:
    assert "cannot be run: " in repr(Study("bad", "nowhere", MLP, [TRAIN]))


def test_results_are_a_few_lines(results: Results) -> None:
    lines = repr(results).split("\n")
    assert lines[0].startswith(f"Results of shown@{results.revision}: 16 of 16 rows, run 2")
    assert len(lines) < 10
    assert all(len(line) < 130 for line in lines)
    assert f"{NASTY}; {NASTY}, new; other; other, new" in lines[1]
    assert "100 % to 25 %, 3 places" in repr(results)


def test_what_is_missing_and_what_failed_is_said(results: Results) -> None:
    some = replace(results, absent=results.frame.head(2), failures=["train: diverged"])
    assert "missing  2 rows" in repr(some)
    assert "failed   train: diverged" in repr(some)


@pytest.mark.parametrize("other", [{}, {"frame": pl.DataFrame()}, {"failures": [f"</script>{NASTY}"]}])
def test_a_notebook_shows_text_as_text(results: Results, other: dict[str, object]) -> None:
    for html in (replace(results, **other)._repr_html_(), study(description=NASTY)._repr_html_()):
        assert NASTY not in html
        assert "<script" not in html
        tags = set(re.findall(r"<(\w+)", html))
        assert tags <= {"div", "strong", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "p", "pre"}
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert "\x1b" not in repr(study(description="\x1b[31mred\nline"))


def test_a_card_of_results_reads_no_store(results: Results, tmp_path: Path) -> None:
    assert repr(replace(results, store=tmp_path / "gone")) == repr(results)


def test_what_is_behind_them_is_a_line_each(results: Results) -> None:
    assert repr(study().checked()) == "Plan of 36 steps (14 trainings), 56 measurements and 16 rows"
    checkpoint = results.at(variant="other", seed=0, level=2).checkpoint
    assert repr(checkpoint) == "Checkpoint(4 tensors, 14 of 56 weights kept, level 2, position 0it)"
