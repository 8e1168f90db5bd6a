"""Results that last: they are of the study as it is now, whole, small, and what the README says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from overparam import Chain, Results, SpecError, StoreError, Study, Train, World
from overparam.cli import app
from overparam.lab import built_in_studies, parse_yaml
from overparam.lab.keep import keep, specification
from overparam.papers import claims_for, numbers
from overparam.papers.numbers import LARGEST, Numbers, kept, numbers_of, read, save
from overparam.papers.sparse_double_descent.summary import row
from small import vectors

HOURS = 8
SHARES = {  # minutes of the laptop's night, by paper
    "sparse-double-descent": 135,
    "learning-weights-connections": 30,
    "pruning-methods": 25,
    "deconstructing": 45,
    "at-initialisation": 30,
    "lottery-ticket": 60,
    "rethinking": 26,
    "filter-pruning": 20,
    "network-slimming": 20,
    "second-order": 36,
}
BESIDE_OTHER_WORK = {"han-five-curves", "filter-pruning"}
"""Recorded on cores that others were using, so that their seconds say little."""
STUDIES = {name: Study.from_mapping(parse_yaml(text, name), name) for name, text in built_in_studies().items()}


def test_every_paper_keeps_to_its_share_of_a_night() -> None:
    """A new paper needs a share; together the shares are no more than a night."""
    spent = dict.fromkeys((study.about.paper for study in STUDIES.values()), 0.0)
    for study in STUDIES.values():
        spent[study.about.paper] += study.about.laptop_minutes if study.about.edition == "laptop" else 0
    assert spent.keys() == SHARES.keys()
    assert all(minutes <= SHARES[paper] for paper, minutes in spent.items())
    assert sum(SHARES.values()) <= 60 * HOURS


def rows_of(study: Study) -> int:
    steps = [(step, place >= one.begins) for one in study.experiments for place, step in enumerate(one.chain.flat())]
    return sum(step.measured and here for step, here in steps)


@pytest.mark.parametrize("name", kept())
def test_kept_numbers_are_of_the_study_as_it_is_now(name: str) -> None:
    found, study = numbers_of(name), STUDIES[name]
    assert found.study == name
    assert found.edition == study.about.edition
    assert found.specification == specification(study.yaml()), "run the study and keep its numbers anew"
    assert len(found.frame) == rows_of(study), "counted without the data, which need not be here"
    assert found.seconds > 0
    if name not in BESIDE_OTHER_WORK:
        assert found.seconds <= 2 * 60 * study.about.laptop_minutes, "recorded on two cores"
    assert {"overparam", "torch", "processor", "cores", "threads", "steps made"} <= found.made.keys()
    assert len(kept()[name].read_bytes()) <= LARGEST


README = Path(numbers.__file__).with_name("sparse_double_descent").joinpath("README.md").read_text()
OURS = [name for name in kept() if name.startswith("sparse-double-descent")]


@pytest.mark.parametrize("name", OURS)
def test_the_readme_says_what_the_numbers_say(name: str) -> None:
    assert row(numbers_of(name)) in README


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sparse-double-descent-claims", ("SDD-1", "SDD-2", "SDD-3", "SDD-3k", "SDD-5", "SDD-9")),
        ("sparse-double-descent-criteria", ("SDD-4",)),
        ("sparse-double-descent-retraining", ("SDD-6", "SDD-7", "SDD-8")),
        ("sparse-double-descent-noise", ("SDD-10a", "SDD-10p")),
        ("sparse-double-descent-arms", ("SDD-11", "SDD-12", "SDD-13")),
        ("sparse-double-descent-early", ("SDD-14",)),
        ("sparse-double-descent-capacity", ("E1-10",)),
        ("sparse-double-descent-distilled", ("DSD-1", "DSD-2", "DSD-3")),
    ],
)
def test_the_readme_gives_the_verdicts_of_the_numbers(name: str, told: tuple[str, ...]) -> None:
    found = {verdict.id: verdict.verdict for verdict in claims_for("sparse-double-descent", numbers_of(name).frame)}
    for claim in told:
        assert f"| {claim} | {found[claim]} |" in README


@pytest.mark.parametrize(
    ("name", "paper", "supported", "contradicted"),
    [
        ("lottery-ticket", "lottery-ticket", {f"LTH-{place}" for place in range(1, 7)}, set()),
        ("lottery-ticket-instability", "lottery-ticket", set(), {"LMC-1"}),
        ("lottery-ticket-transfer", "lottery-ticket", {"E2-7"}, set()),
        ("lottery-ticket-retraining", "lottery-ticket", {"LTH-7", "LRR-1"}, set()),
        ("lottery-ticket-widths", "lottery-ticket", {"E1-9"}, set()),
        ("lottery-ticket-spare", "lottery-ticket", {"LTH-1", "LTH-3", "E1-9s"}, set()),
        ("network-slimming", "network-slimming", {f"SLIM-{place}" for place in range(1, 5)}, set()),
        ("han-five-curves", "learning-weights-connections", {"HAN-2", "HAN-T1", "E2-1"}, set()),
        ("han-biases", "learning-weights-connections", set(), set()),
        ("rethinking", "rethinking", {"RETH-2", "RETH-4", "RETH-5", "RETH-6"}, set()),
        ("rethinking-scratch", "rethinking", {"RETH-1"}, set()),
        ("deconstructing-criteria", "deconstructing", {"ZHOU-C"}, set()),
        ("deconstructing-pruned-weights", "deconstructing", {"ZHOU-2", "E2-5"}, set()),
        ("pruning-methods", "pruning-methods", set(), {"E2-9"}),
        ("filter-pruning", "filter-pruning", {"FILT-2"}, set()),
        ("deconstructing-kept-weights", "deconstructing", {"ZHOU-1"}, set()),
        ("deconstructing-supermasks", "deconstructing", {"ZHOU-3"}, set()),
        ("second-order-mlpnet", "second-order", {"OBS-3"}, set()),
        ("second-order-lenet", "second-order", {"OBD-1", "OBS-3", "FAM-1"}, set()),
        (
            *("at-initialisation", "at-initialisation"),
            {
                "PAI-3",
                *(f"CTS-{n}{search}" for n in (1, 3) for search in ("", "-loss", "-later")),
                "CTS-2",
                "CTS-2-loss",
                "CTS-2-later",
            },
            {"PAI-1", "CTS-4-loss", *(f"CTS-5{search}" for search in ("", "-loss", "-later"))},
        ),
    ],
)
def test_verdicts_are_those_that_the_readmes_of_the_papers_tell(
    name: str, paper: str, supported: set[str], contradicted: set[str]
) -> None:
    verdicts = claims_for(paper, numbers_of(name).frame)
    assert {one.id for one in verdicts if one.verdict == "supported"} == supported
    assert {one.id for one in verdicts if one.verdict == "contradicted"} == contradicted


def test_the_readme_gives_the_verdicts_on_digits() -> None:
    frame = numbers_of("sparse-double-descent").frame
    verdicts = {verdict.id: verdict.verdict for verdict in claims_for("sparse-double-descent", frame)}
    assert {name for name, verdict in verdicts.items() if verdict == "supported"} == {"SDD-2", "SDD-3k"}
    assert "SDD-2 and SDD-3k are supported, SDD-3 is contradicted, and SDD-1 is inconclusive" in README
    assert (verdicts["SDD-3"], verdicts["SDD-1"]) == ("contradicted", "inconclusive")


def study(name: str = "own", **fields: object) -> Study:
    return Study(name, World(vectors()), "mlp", Chain(Train(epochs=1, batch_size=25)), **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return study(sweep={"seed": [0, 1], "train.lr": [0.1, 0.01]}, edition="paper").run(
        tmp_path_factory.mktemp("keep"), jobs=1, threads=1
    )


def test_what_is_kept_is_read_back_to_seven_digits(results: Results, tmp_path: Path) -> None:
    found = read(keep(results, tmp_path / "own.json"))
    assert (found.study, found.edition, found.specification) == ("own", "paper", specification(results.spec))
    assert found.seconds == pytest.approx(results.frame["seconds"].sum(), abs=0.06)
    assert set(results.frame.columns) - set(found.frame.columns) == {"fingerprint", "peak_memory_bytes"}
    for name in found.frame.columns:
        ours, theirs = found.frame[name].to_list(), results.frame[name].to_list()
        assert ours == (pytest.approx(theirs, rel=1e-6) if results.frame.schema[name].is_float() else theirs)
    json.loads((tmp_path / "own.json").read_text())


def test_odd_values_are_kept_as_json(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [float("nan"), 1 / 3], "b": ['],"columns":{', "x"], "c": [None, None]})
    found = read(save(Numbers("odd", "laptop", "0" * 12, {}, 1.0, frame), tmp_path / "odd.json")).frame
    assert found["a"].to_list() == [None, 0.3333333]
    assert found["b"].to_list() == frame["b"].to_list()
    assert found["c"].to_list() == [None, None]


def test_too_many_numbers_and_unknown_studies_are_refused(tmp_path: Path) -> None:
    many = pl.DataFrame({"a": [n / 7 for n in range(30_000)]})
    with pytest.raises(SpecError, match=r"numbers of study 'many' take .* bytes, more than 200,000"):
        save(Numbers("many", "laptop", "0" * 12, {}, 1.0, many), tmp_path / "many.json")
    assert not (tmp_path / "many.json").exists()
    with pytest.raises(SpecError, match="no numbers of study 'sparse-double-decent' are kept; did you mean"):
        numbers_of("sparse-double-decent")


def test_part_of_a_study_is_not_kept(results: Results, tmp_path: Path) -> None:
    part = replace(results, frame=results.frame.head(3), absent=results.frame.tail(1))
    with pytest.raises(StoreError, match="3 of 4 rows of study 'own' are there; run it to the end"):
        keep(part, tmp_path / "part.json")


def test_another_specification_of_a_study_of_ours_is_refused(tmp_path: Path) -> None:
    other = study("sparse-double-descent", sweep={"seed": [0]}).run(tmp_path / "runs", jobs=1, threads=1)
    with pytest.raises(SpecError, match=r"another specification of 'sparse-double-.*: it differs in .*sweep\.seed"):
        keep(other, tmp_path / "x.json")
    store, goal = str(tmp_path / "runs"), str(tmp_path / "x.json")
    done = CliRunner().invoke(app, ["table", "sparse-double-descent", "--store", store, "--save", goal])
    assert done.exit_code != 0
    assert "another specification" in done.stderr
    assert not (tmp_path / "x.json").exists()


def test_a_specification_is_what_is_computed_and_nothing_else() -> None:
    plain = study()
    assert specification(plain.yaml()) == specification(study("other", engine="dense", axis="step").yaml())
    assert specification(plain.yaml()) != specification(study(seed=1).yaml())
