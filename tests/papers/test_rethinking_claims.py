"""The claims of Rethinking the Value of Network Pruning on made-up tables, of which is known what is true."""

from __future__ import annotations

from typing import Any

import pytest
from arms_made_up import Curve, table
from polars import DataFrame, concat

from overparam import Study
from overparam.lab import built_in_studies, parse_yaml
from overparam.papers import claims_for

DENSITIES = [0.5, 0.25, 0.125, 0.0625]
KINDS = ("iterative", "one-shot", "units", "late")


def verdicts(frame: Any) -> dict[str, str]:
    return {one.id: one.verdict for one in claims_for("rethinking", frame)}


def rising(base: float, most: float) -> Curve:
    return lambda density: base + most * (1 - density)


def figure(edge: dict[tuple[str, float], float], large: float = 0.01) -> Any:
    """Tickets that are above random weights by an edge that grows, at two rates; the large one is better."""
    parts = []
    for place, rate in enumerate((0.1, 0.01)):
        base = 0.97 + (large if rate == 0.1 else 0)
        made: dict[str, tuple[Curve, dict[str, Any]]] = {}
        for kind in KINDS:
            most = edge.get((kind, rate), 0.0)
            made[f"{kind}, ticket"] = (rising(base, most), {"train.lr": rate})
            made[f"{kind}, random"] = (rising(base, 0.0), {"train.lr": rate})
        frame = table(made, DENSITIES)
        parts.append(frame.with_columns(frame["chain"] + 1000 * place))
    return concat(parts)


def test_as_the_paper_has_it() -> None:
    found = verdicts(figure({("iterative", 0.01): 0.005, ("one-shot", 0.01): 0.005, ("late", 0.1): 0.01}))
    assert found.pop("RETH-1") == "not tested"
    assert set(found.values()) == {"supported"}


def test_the_opposite_is_contradicted() -> None:
    edges = {(kind, rate): -0.02 for kind in KINDS for rate in (0.1, 0.01)} | {("units", 0.01): 0.02}
    found = verdicts(figure(edges, large=-0.05))
    assert {found[f"RETH-{number}"] for number in range(2, 7)} == {"contradicted"}


def test_an_edge_within_the_noise_is_no_difference_and_one_of_a_point_is() -> None:
    found = verdicts(figure({("iterative", 0.1): 0.02}))
    assert found["RETH-3"] == "contradicted"
    assert verdicts(figure({}))["RETH-3"] == "supported"


@pytest.mark.parametrize(("gain", "verdict"), [(0.005, "supported"), (0.0, "supported"), (-0.01, "contradicted")])
def test_scratch(gain: float, verdict: str) -> None:
    made = {"units, finetuned": 0.97, "units, scratch-E": 0.965, "units, scratch-B": 0.97 + gain}
    frame = table({name: (rising(at, 0.0), {}) for name, at in made.items()}, DENSITIES)
    (found,) = (one for one in claims_for("rethinking", frame) if one.id == "RETH-1")
    assert found.verdict == verdict
    assert found.numbers["units, scratch-E minus finetuned"] == pytest.approx(-0.005, abs=0.0005)


def test_studies_have_the_arms_that_claims_look_for() -> None:
    texts = built_in_studies()
    figure_7, scratch = (
        {each.variant for each in Study.from_mapping(parse_yaml(texts[name], name)).experiments}
        for name in ("rethinking", "rethinking-scratch")
    )
    assert {f"{kind}, {what}" for kind in KINDS for what in ("ticket", "random")} <= figure_7
    assert {
        f"{what}, {how}" for what in ("units", "weights") for how in ("finetuned", "scratch-E", "scratch-B")
    } <= scratch


def test_what_a_table_lacks_is_swept_or_measured():
    row = {"chain": 0, "level": 0, "density": 1.0, "variant": "a", "seed": 0, "test_accuracy": 0.9}
    bare = DataFrame([row])
    told = {found.id: found.explanation for found in claims_for("rethinking", bare)}
    assert told["RETH-4"] == "The results lack train.lr; sweep train.lr."
