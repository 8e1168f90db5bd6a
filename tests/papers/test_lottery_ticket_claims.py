"""The claims about tickets on made-up tables, of which is known what is true."""

from __future__ import annotations

from typing import Any

import pytest
from arms_made_up import Curve, table

from overparam import Study
from overparam.lab import built_in_studies, parse_yaml
from overparam.papers import claims_for

DENSITIES = [0.8**level for level in range(19)]
TICKET = {"criterion": "magnitude", "retraining": "rewind", "mask": None}
REINIT, SHUFFLED = {**TICKET, "retraining": "reinit"}, {**TICKET, "mask": "shuffled"}


def verdicts(frame: Any, **missing: int) -> dict[str, str]:
    return {one.id: one.verdict for one in claims_for("lottery-ticket", frame, **missing)}


def hypothesis(gain: float, loss: float, faster: float = 0.5) -> Any:
    """Tickets that gain, controls that lose more and more, and early stopping that comes sooner."""

    def early(factor: float) -> Curve:
        return lambda density: round(5000 * (factor if density < 0.9 else 1))

    def behind(density: float) -> float:
        return 0.98 - loss * max(0.0, 0.25 - density) * 10

    return table(
        {
            "": (
                lambda density: 0.98 + (gain if density < 0.9 else 0),
                {**TICKET, "early_stop_iteration": early(faster)},
            ),
            "reinit": (behind, {**REINIT, "early_stop_iteration": early(1.2)}),
            "shuffled": (behind, {**SHUFFLED, "early_stop_iteration": early(1.2)}),
        },
        DENSITIES,
    )


def test_the_hypothesis_as_the_paper_has_it() -> None:
    found = verdicts(hypothesis(gain=0.003, loss=0.02))
    assert {found[f"LTH-{number}"] for number in range(1, 7)} == {"supported"}
    assert {found[name] for name in ("LTH-7", "LRR-1", "LMC-1", "E1-9", "E1-9s", "E2-7")} == {"not tested"}


def test_the_opposite_is_contradicted() -> None:
    found = verdicts(hypothesis(gain=-0.01, loss=-0.02, faster=3.0))
    assert {found[f"LTH-{number}"] for number in range(1, 7)} == {"contradicted"}


def test_a_ticket_like_the_dense_network_is_as_good_and_no_better() -> None:
    found = verdicts(hypothesis(gain=0.0, loss=0.0, faster=1.0))
    assert found["LTH-3"] == "supported"
    assert found["LTH-1"] in ("inconclusive", "contradicted")


def test_part_of_a_study_tests_nothing() -> None:
    assert set(verdicts(hypothesis(0.003, 0.02), missing=3).values()) == {"not tested"}


def test_without_controls_the_dense_network_is_compared_with_alone() -> None:
    frame = hypothesis(0.003, 0.02)
    found = verdicts(frame.filter(frame["variant"] == ""))
    assert found["LTH-1"] == found["LTH-3"] == found["LTH-4"] == "supported"
    assert found["LTH-2"] == found["LTH-5"] == found["LTH-6"] == "not tested"


def barriers(ticket: float, shuffled: float) -> Any:
    heights = {"ticket": ticket, "shuffled": shuffled, "reinit": 0.05, "dense": 0.0}
    return table(
        {name: (lambda _: 0.97, {**TICKET, "test_error_barrier": height}) for name, height in heights.items()}, [0.036]
    )


@pytest.mark.parametrize(
    ("ticket", "shuffled", "verdict"),
    [(0.001, 0.05, "supported"), (0.03, 0.05, "contradicted"), (0.001, 0.01, "contradicted")],
)
def test_stability_on_paper(ticket: float, shuffled: float, verdict: str) -> None:
    assert verdicts(barriers(ticket, shuffled))["LMC-1"] == verdict


@pytest.mark.parametrize(("gain", "verdict"), [(0.01, "supported"), (-0.01, "contradicted")])
def test_retraining(gain: float, verdict: str) -> None:
    better = ("lr-rewound, iterative", "one-shot, lr-rewound", "rewound, iterative")
    worse = ("finetuned, iterative", "one-shot, finetuned", "one-shot, rewound")
    made = {name: (lambda _: 0.97 + gain, TICKET) for name in better} | {
        name: (lambda _: 0.97, TICKET) for name in worse
    }
    found = verdicts(table(made, [0.3, 0.1, 0.05]))
    assert found["LRR-1"] == found["LTH-7"] == verdict


@pytest.mark.parametrize(("slope", "verdict"), [(0.002, "supported"), (-0.002, "contradicted")])
def test_widths(slope: float, verdict: str) -> None:
    def made(doublings: int) -> tuple[Curve, dict[str, Any]]:
        return (lambda density: 0.97 + (slope * doublings if density < 1 else 0)), TICKET

    arms = {name: made(doublings) for name, doublings in {"0.25": -2, "0.5": -1, "1": 0, "2": 1, "4": 2}.items()}
    (found,) = (one for one in claims_for("lottery-ticket", table(arms, [1.0, 0.1])) if one.id == "E1-9")
    assert found.verdict == verdict
    assert found.numbers["width 4"] == pytest.approx(0.97 + 2 * slope, abs=0.001)
    assert found.numbers["width 4: share of seeds that match dense"] == (1.0 if slope > 0 else 0.0)


@pytest.mark.parametrize(("third", "verdict"), [(0.97, "supported"), (0.95, "contradicted")])
def test_spare_copies(third: float, verdict: str) -> None:
    """Three tickets of 5, 4.8 and 4.5 % of the weights, after levels of all, 95 and 90.2 %."""
    accuracies = {1.0: 0.97, 0.05: 0.97, 0.95: 0.97, 0.048: 0.965, 0.902: 0.97, 0.045: third}
    frame = table({"": (accuracies.__getitem__, TICKET)}, list(accuracies))
    (found,) = (one for one in claims_for("lottery-ticket", frame) if one.id == "E1-9s")
    assert found.verdict == verdict
    assert found.numbers["ticket 2"] == pytest.approx(-0.005, abs=0.001)


@pytest.mark.parametrize(("gain", "verdict"), [(0.01, "supported"), (-0.01, "contradicted")])
def test_transfer(gain: float, verdict: str) -> None:
    ways = ("sgd for adam", "adam for sgd", "adam for adam", "sgd for sgd", "random labels for adam")
    made = {f"{way}, ticket": (lambda _: 0.97 + gain, TICKET) for way in ways}
    made |= {f"{way}, shuffled": (lambda _: 0.97, SHUFFLED) for way in ways}
    (found,) = (one for one in claims_for("lottery-ticket", table(made, [0.16, 0.06])) if one.id == "E2-7")
    assert found.verdict == verdict
    assert found.numbers["own ticket minus sgd for adam"] == pytest.approx(0.0, abs=0.001)


def test_studies_have_the_arms_that_claims_look_for() -> None:
    texts = built_in_studies()
    found = {}
    for name in (
        "lottery-ticket",
        "lottery-ticket-retraining",
        "lottery-ticket-instability",
        "lottery-ticket-transfer",
    ):
        study = Study.from_mapping(parse_yaml(texts[name], name))
        found[name] = {each.variant for each in study.experiments}
    assert found["lottery-ticket"] == {"", "reinit", "shuffled"}
    assert {"lr-rewound, iterative", "one-shot, lr-rewound", "finetuned, iterative"} <= found[
        "lottery-ticket-retraining"
    ]
    assert {"rewound, iterative", "one-shot, rewound"} <= found["lottery-ticket-retraining"]
    assert {"ticket", "shuffled", "reinit", "dense"} <= found["lottery-ticket-instability"]
    assert {"sgd for adam, ticket", "adam for sgd, shuffled", "random labels for adam, ticket"} <= found[
        "lottery-ticket-transfer"
    ]
