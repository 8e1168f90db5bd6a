"""Results set against each other from Python: any axis and measure, colour, dash and panel as asked."""

import polars as pl
import pytest
from test_compared import GAINS, table

from overparam.errors import SpecError
from overparam.report.arms import arms
from overparam.report.contrast import contrast
from overparam.report.roles import families, roles, values_of
from overparam.report.sections import Material


def study() -> pl.DataFrame:
    """Branches of three trunks, under two rates of label noise, at two learning rates: 36 arms."""
    variants = [f"{trunk}{branch}" for trunk in ("one", "two", "three") for branch in ("", ", ticket", ", random")]
    frames = [
        table(
            {name: [0.01 * n, 0.011 * n, 0.0] for n, name in enumerate(variants)},
            **{"train.lr": lr, "noise_rate": rate},
        )
        for lr in (0.1, 0.01)
        for rate in (0.0, 0.2)
    ]
    return pl.concat(each.with_columns(pl.col("chain") + 1000 * n) for n, each in enumerate(frames))


def test_colour_is_the_method_and_dash_the_condition():
    few = values_of(arms(study().filter(pl.col("variant").is_in(["one", "two"]), noise_rate=0.0)))
    found = roles(few)
    assert (found.colour, found.dash, found.facet) == (("variant",), ("train.lr",), ())
    assert [look.dash for look in found.looks(few)] == ["lr 0.1", "lr 0.1", "lr 0.01", "lr 0.01"]


def test_of_many_arms_panels_are_trunks_and_colours_their_branches():
    values = values_of(arms(study().filter(noise_rate=0.0)))
    found = roles(values)
    assert (found.colour, found.dash, found.facet) == (("branch",), ("train.lr",), ("family",))
    looks = found.looks(values)
    assert len(set(looks)) == len(looks) == 18
    assert {look.colour for look in looks} == {"itself", "ticket", "random"}


def test_the_trunk_of_a_study_with_branches_is_called_by_what_it_does():
    frame = table({"": GAINS["a"], "reinit": GAINS["c"]}, criterion="magnitude")
    frame = frame.with_columns(retraining=pl.when(variant="").then(pl.lit("rewind")).otherwise(pl.lit("reinit")))
    assert [arm.label for arm in arms(frame)] == ["magnitude, rewind", "reinit"]
    assert families(["", "reinit"]) == {"": ("", ""), "reinit": ("", "reinit")}


def test_whatever_is_asked_for_all_arms_look_different_or_it_is_refused():
    for asked in ({"facet": "noise_rate"}, {"colour": "train.lr"}, {"dash": "branch", "facet": ["lr", "noise_rate"]}):
        found = contrast(Material(study()), **asked)
        looks = found.roles.looks(values_of(found.arms))
        assert len(set(looks)) == len(looks) == 36
    with pytest.raises(SpecError, match="differ in variant would look alike"):
        contrast(Material(study()), colour="train.lr", dash="noise_rate", facet="train.lr")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"y": "test_acuracy"}, "y 'test_acuracy' is neither swept nor measured; did you mean 'test_accuracy'"),
        ({"x": "widht"}, "x 'widht' is neither"),
        ({"colour": "study"}, "colour 'study'"),
        ({"facet": "density"}, "changes along the line of an arm"),
        ({"better": "higher"}, "better must be more or less, got 'higher'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(asked, words):
    with pytest.raises(SpecError, match=words):
        contrast(Material(study()), **asked)
    with pytest.raises(SpecError, match="run the study first"):
        contrast(Material(study().clear()))


def test_the_frame_has_what_the_table_says_and_differences_are_paired():
    found = contrast(Material(table(GAINS)))
    row = found.frame.row(by_predicate=(pl.col("arm") == "c") & (pl.col("density") == 0.5), named=True)
    assert (row["best"], row["open"], row["n"]) == (False, False, 3)
    assert row["behind"] == pytest.approx(-0.05)
    apart = found.differences("c")
    assert apart["difference"].to_list() == pytest.approx([0.05] * 4)
    assert apart.filter(arm="b")["difference_low"][0] < 0.05 < apart.filter(arm="b")["difference_high"][0]
    assert found.ranks["arm"].to_list() == ["a", "b", "c"]
    with pytest.raises(SpecError, match="against 'd' is no arm here"):
        found.differences("d")


def test_any_axis_and_measure_and_which_way_is_better():
    frame = table(GAINS).with_columns(norm=pl.col("test_accuracy") * 2)
    found = contrast(Material(frame), "norm", "compression_ratio", better="less")
    assert found.arms[0].axis.column == "compression_ratio"
    assert found.sentence.startswith("“c” has the best norm over 2 places from compression ratio 1")
    assert "“a”" in contrast(Material(frame)).sentence
    assert "Nobody has said" in contrast(Material(frame), "norm").sentence


def test_half_a_study_has_no_best_and_arms_that_never_meet_are_not_compared():
    assert contrast(Material(table(GAINS), missing=2)).sentence.startswith("Incomplete: 18 of 20 rows")
    apart = table({"a": GAINS["a"], "b": GAINS["b"]}, levels=4)
    apart = apart.filter((pl.col("variant") == "a") == (pl.col("level") < 2))
    assert "No two arms were measured at one place" in contrast(Material(apart)).sentence


def test_a_contrast_prints_its_sentence_shows_its_table_and_draws_its_chart(tmp_path):
    found = contrast(Material(study()), facet="noise_rate")
    assert str(found).startswith(found.sentence[:40])
    assert "<table>" in found._repr_html_()
    panels = {row["panel"] for row in found.chart().to_dict()["datasets"]["arms"]}
    assert panels == {"no label noise", "20 % label noise"}
    assert found.save(tmp_path / "one.json").exists()
