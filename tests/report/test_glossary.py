"""The glossary: a sentence for each word, found where it stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam.report.glossary import ALONE, GLOSSARY, pieces, word_of


@pytest.mark.parametrize("word", sorted(GLOSSARY))
def test_each_word_has_one_sentence(word):
    sentence = GLOSSARY[word]
    assert word == word.lower()
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert ". " not in sentence.replace("et al. ", "")
    assert 20 < len(sentence) <= 160


def test_words_that_are_ours_are_there():
    assert {"level", "arm", "soft error", "critical", "density", "rewind", "ticket", "paired difference"} <= set(
        GLOSSARY
    )
    assert set(GLOSSARY) >= ALONE


def test_heads_and_cells_mean_a_word():
    assert [
        word_of(text) for text in ("Level", "levels", "Soft error", "distance", "train (noisy)", "weights", "")
    ] == [*("level", "level", "soft error", "learning distance", "noisy labels", None, None)]


def test_a_sentence_explains_each_word_once_and_no_part_of_another():
    text = "Arms differ in density. An arm of no armful density-like seeds; light, point at a place, 3 points."
    explained = {"seed"}
    assert [(piece, word) for piece, word in pieces(text, explained) if word] == [
        ("Arms", "arm"),
        ("density", "density"),
        ("points", "points"),
    ]
    assert explained == {"seed", "arm", "density", "points"}


@given(st.lists(st.sampled_from([*GLOSSARY, " ", "s", ", ", "-", "<b>", "x", "\n"]), max_size=12).map("".join))
def test_pieces_are_the_text(text):
    assert "".join(piece for piece, _ in pieces(text, set())) == text
