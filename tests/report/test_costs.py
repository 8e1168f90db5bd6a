"""Costs as columns, axes and picture: what they are made of, and which networks no other beats."""

import polars as pl
import pytest

from overparam.errors import SpecError
from overparam.report.arms import MEASURED, arms
from overparam.report.axis import AXES, check_axis
from overparam.report.costs import COSTS, MADE, with_costs
from overparam.report.general import costs, general_sections
from overparam.report.measure import ACCURATE, measure_for
from overparam.report.pareto import EQUAL, PARENT, cost_table, tradeoffs, words
from overparam.report.pareto_chart import pareto_chart
from overparam.report.sections import Material

SIZES = {"pruned": [1000, 500, 250, 125], "small": [250]}
ACCURACY = {"pruned": [0.90, 0.91, 0.89, 0.60], "small": [0.88]}


def table(**columns: object) -> pl.DataFrame:
    """A network of 1000 weights that is pruned to 125, and a small dense one of 250; two seeds."""
    rows = [
        {
            **{"variant": variant, "seed": seed, "chain": 10 * number + seed, "level": level, "step": level},
            **{"density": kept / SIZES[variant][0], "kept": kept, "weights": SIZES[variant][0]},
            **{"test_accuracy": ACCURACY[variant][level] + 0.001 * seed, "stored_bits": 32 * kept + 8 * 1000},
            **{"multiply_adds_effective": 3 * kept, "seconds": 2.0 - level / 4, "seconds_before": 2.0 * level},
            "latency_sparse": 1e-6 * (100 + kept),
            "criterion": "magnitude" if variant == "pruned" else "none",
            **columns,
        }
        for number, variant in enumerate(SIZES)
        for seed in (0, 1)
        for level, kept in enumerate(SIZES[variant])
    ]
    return pl.DataFrame(rows)


def test_costs_are_made_of_what_was_measured():
    row = with_costs(table()).filter(variant="pruned", seed=0, level=2).row(0, named=True)
    expected = {"sparsity": 0.75, "compression_ratio": 4.0, "stored_bytes": 2000.0, "seconds_all": 5.5}
    assert {name: row[name] for name in expected} == expected
    assert row["milliseconds"] == pytest.approx(0.35)
    assert set(with_costs(table().drop("stored_bits")).columns) & {"stored_bytes", "sparsity"} == {"sparsity"}
    assert set(MADE) <= MEASURED, "no measurement of its own on the page"


def test_each_cost_is_an_axis_with_its_own_words():
    for cost in COSTS:
        assert AXES.get(cost.column).column == cost.column
        (pruned, *_) = arms(with_costs(table()), cost.column) if cost.column in with_costs(table()).columns else [None]
        assert pruned is None or len(pruned.places) == 4
    assert check_axis("sparsity", {}, {}, False) == "sparsity"
    assert check_axis("stored_bytes", {}, {"stored_bits": "int"}, False) == "stored_bytes"
    with pytest.raises(SpecError, match="neither swept nor measured"):
        check_axis("stored_bytes", {}, {"test_loss": "float"}, False)


def test_levels_along_a_cost_are_those_of_the_density_though_each_seed_measures_its_own():
    once = (
        table()
        .filter(variant="pruned")
        .with_columns(
            pl.col("density").alias("prune.density"),
            chain=pl.col("seed") * 10 + pl.col("level"),
            level=pl.min_horizontal("level", 1),
            seconds=5.0 - 4 * pl.col("seed") * pl.col("density"),
        )
    )
    (found,) = arms(once.with_columns(pl.when(pl.col("level") > 0).then(pl.col("prune.density"))), "seconds")
    assert found.places == [0, 1, 2, 3]
    assert found.at("density", 2) == {0: 0.25, 1: 0.25}


def test_the_front_has_the_networks_that_no_other_beats_and_names_the_dense_ones():
    (found,) = tradeoffs(arms(with_costs(table())), ACCURATE)
    assert [cost.column for cost in found.drawn] == ["kept", "stored_bytes", "milliseconds", "seconds_all"]
    kept = next(cost for cost in COSTS if cost.column == "kept")
    assert [each["kept"] for each in found.front(kept)] == [125, 250, 500], "the dense parent is beaten by half of it"
    kinds = {(each.arm, each["kept"]): each.kind for each in found.networks if each.kind}
    assert kinds == {("pruned", 1000): PARENT, ("small", 250): EQUAL}
    assert "smaller from the start" in words(found)
    assert len(found.shown(kept)) == 5


def test_a_network_far_below_all_else_does_not_squeeze_the_picture():
    bad = (
        table()
        .filter(variant="pruned", level=1)
        .with_columns(variant=pl.lit("bad"), chain=pl.col("chain") + 50, test_accuracy=pl.col("test_accuracy") - 0.85)
    )
    (found,) = tradeoffs(arms(with_costs(pl.concat([table(), bad]))), ACCURATE)
    assert {each.arm for each in found.shown(found.drawn[0])} == {"pruned", "small"}
    assert len(found.networks) == 6


def test_without_a_small_dense_network_the_page_says_that_it_is_missing():
    (found,) = tradeoffs(arms(with_costs(table().filter(variant="pruned"))), ACCURATE)
    assert "No smaller dense network was trained from scratch" in words(found)


def test_each_kind_of_data_has_a_front_of_its_own_and_a_loss_is_better_when_less():
    frames = [table(noise_rate=rate).with_columns(pl.col("chain") + 100 * n) for n, rate in enumerate((0.0, 0.2))]
    frame = with_costs(pl.concat(frames)).with_columns(test_loss=1 - pl.col("test_accuracy"))
    found = tradeoffs(arms(frame), measure_for("test_loss"))
    assert [each.condition for each in found] == ["no label noise", "20 % label noise"]
    assert [each["kept"] for each in found[0].front(found[0].drawn[0])] == [125, 250, 500]
    chart = pareto_chart(found, "Loss over cost").to_dict()
    assert {row["panel"] for row in chart["datasets"]["networks"]} == {"no label noise", "20 % label noise"}
    assert tradeoffs(arms(frame), measure_for("seed")) == []


def test_the_table_tells_what_each_cost_measures_and_marks_the_front():
    (found,) = tradeoffs(arms(with_costs(table())), ACCURATE)
    shown = cost_table(found)
    assert [column.head for column in shown.columns][:3] == ["network", "test accuracy", "weights"]
    assert "milliseconds: one example through the network, as sparse as it is, measured" in shown.note
    assert {shown.rows[row][0] for row, _ in shown.best} >= {("pruned", "50 %, 500 weights (level 1)")}


def test_costs_stand_on_the_page_where_they_differ():
    titles = [section.title for section in general_sections(Material(table()))]
    assert "What it costs" in titles
    assert costs(arms(table().filter(variant="small"))) == []
