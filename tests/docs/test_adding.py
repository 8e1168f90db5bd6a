"""Adding a thing takes one file, an import, a row of the contract suite and a line of the docs; a test says what lacks.

And a user's own: the files of docs/extending.md, as they stand there, by import path in a study file and as a plug-in.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from overparam import Results, Study
from overparam.cli import app
from overparam.constraints import CONSTRAINTS
from overparam.lab import parse_yaml
from overparam.lab.journal import FileJournal
from overparam.lab.results import MEASURED
from overparam.loggers import LOGGERS
from overparam.probes import PROBES
from overparam.prune import CRITERIA, PATTERNS, SCOPES
from overparam.registry import Registry
from overparam.steps import STEPS
from overparam.train import OPTIMISERS, SCHEDULES
from overparam.train.events import EVENTS
from plug_in import installed

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
TEXT = PAGE.read_text()
MOST_LINES = 30


@dataclass(frozen=True)
class Kind:
    """Where the things of a kind have their files, their contract rows and their lines."""

    registry: Registry[Any]
    folder: str
    contract: str
    rows: str | None  # the mapping that has a row for each by name; None: the suite makes each with its usual fields
    heading: str


KINDS = {
    "criterion": Kind(CRITERIA, "prune/criteria", "prune/test_criteria.py", "SAMPLES", "Criteria"),
    "scope": Kind(SCOPES, "prune/scopes", "prune/test_scopes.py", None, "Scopes"),
    "pattern": Kind(PATTERNS, "prune/patterns", "prune/test_patterns.py", "CASES", "Patterns"),
    "step": Kind(STEPS, "steps", "steps/test_step_contract.py", "CASES", "Steps"),
    "probe": Kind(PROBES, "probes", "probes/test_probe_contract.py", None, "Probes"),
    "optimiser": Kind(OPTIMISERS, "train/optimisers", "train/test_optimisers.py", "SAMPLES", "Optimisers"),
    "schedule": Kind(SCHEDULES, "train/schedules", "train/test_schedules.py", "SAMPLES", "Schedules"),
    "event": Kind(EVENTS, "train/events", "train/test_events.py", "CASES", "Events"),
    "logger": Kind(LOGGERS, "loggers", "loggers/test_loggers.py", "CASES", "Loggers"),
    "constraint": Kind(CONSTRAINTS, "constraints", "constraints/test_constraint_contract.py", None, "Constraints"),
}


def rows(kind: Kind) -> set[str]:
    """The names that the contract suite has a row for, read from its text: it need not be collected."""
    text = (ROOT / "tests" / kind.contract).read_text()
    assert re.search(rf"\b{next(n for n, v in globals().items() if v is kind.registry)}\b", text), (
        "it walks the registry"
    )
    if kind.rows is None:
        return set(kind.registry)
    for node in ast.parse(text).body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and target.id == kind.rows and isinstance(node.value, ast.Dict):
            return {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    raise AssertionError(f"{kind.contract} has no {kind.rows}")


def missing(kind: Kind, name: str) -> list[str]:
    """Say what a registered thing lacks."""
    thing = kind.registry.get(name)
    home = Path(inspect.getsourcefile(thing) or "")
    folder = ROOT / "src" / "overparam" / kind.folder
    section = TEXT.partition(f"### {kind.heading}\n")[2].partition("\n### ")[0]
    package = importlib.import_module(f"overparam.{kind.folder.replace('/', '.')}")
    checks = {
        f"a file of its own in {kind.folder}/ (it is in {home.name})": home.parent == folder
        and home.stem != "__init__",
        f"its import in {kind.folder}/__init__.py": thing.__name__ in vars(package),
        f"a row in tests/{kind.contract}": name in rows(kind),
        f"a line under {kind.heading} in docs/extending.md": f"- `{name}`: " in section,
        "a docstring whose first line says what it is": len(kind.registry.summary(name)) > 10,
    }
    return [f"{kind.registry.kind} {name!r} lacks {what}" for what, there in checks.items() if not there]


@pytest.mark.parametrize("kind", KINDS)
def test_everything_registered_has_what_it_takes(kind: str) -> None:
    assert [line for name in KINDS[kind].registry for line in missing(KINDS[kind], name)] == []


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        pass

    monkeypatch.setattr(CRITERIA, "_things", {**CRITERIA._things, "nothing": Nothing})
    assert missing(KINDS["criterion"], "nothing") == [
        "criterion 'nothing' lacks a file of its own in prune/criteria/ (it is in test_adding.py)",
        "criterion 'nothing' lacks its import in prune/criteria/__init__.py",
        "criterion 'nothing' lacks a row in tests/prune/test_criteria.py",
        "criterion 'nothing' lacks a line under Criteria in docs/extending.md",
        "criterion 'nothing' lacks a docstring whose first line says what it is",
    ]


def test_the_page_lists_nothing_that_is_not_there() -> None:
    for kind in KINDS.values():
        section = TEXT.partition(f"### {kind.heading}\n")[2].partition("\n### ")[0]
        assert set(re.findall(r"^- `([\w-]+)`: ", section, re.M)) == set(kind.registry)


FILES: dict[str, str] = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", TEXT, re.M | re.S))
(STUDY,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S)
OFFERS = {
    **{"criterion": {"drift": "drift:Drift"}, "scope": {"wide-first": "wide_first:WideFirst"}},
    **{"step": {"shrink": "shrink:Shrink"}, "probe": {"weight-norm": "weight_norm:WeightNorm"}},
    **{"optimiser": {"lion": "lion:Lion"}, "schedule": {"triangle": "triangle:triangle"}},
    **{"loss": {"smooth": "smooth:smooth"}, "event": {"shed": "shed:Shed"}},
}


def test_each_of_a_user_s_own_is_one_short_file_and_the_table_says_so() -> None:
    table = dict(re.findall(r"^\| an? [\w ]+ \| `(\w+\.py)` \| (\d+) \|$", TEXT, re.M))
    assert {name: int(lines) for name, lines in table.items()} == {n: body.count("\n") for n, body in FILES.items()}
    assert max(body.count("\n") for body in FILES.values()) <= MOST_LINES
    assert {path.partition(":")[0] + ".py" for each in OFFERS.values() for path in each.values()} == set(FILES)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with the files of the page, in which they run."""
    for name, body in FILES.items():
        (tmp_path / name).write_text(body)
    (tmp_path / "mine.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    forget()


def forget() -> None:
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def ran(results: Results) -> int:
    assert results.failures == []
    assert results.complete
    return int(results.facts["run"].split()[0])


def by_name(value: Any) -> Any:
    """The same study with the names of the plug-in in place of import paths."""
    names = {path: name for each in OFFERS.values() for name, path in each.items()}
    if isinstance(value, dict):
        return {by_name(key): by_name(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [by_name(entry) for entry in value]
    for path, name in names.items():
        value = value.replace(path, name) if isinstance(value, str) else value
    return value


@pytest.mark.parametrize("engine", ["auto", "sparse"])
def test_a_study_file_names_everything_by_import_path(folder: Path, engine: str) -> None:
    alone = Study.from_file("mine.yaml").run("alone", jobs=1, threads=1, engine=engine)
    assert ran(alone) == 2 * (1 + 1 + 1) + 4 * 2, "what is swept comes after the pruning"
    frame = alone.frame.drop(MEASURED, strict=False)
    assert frame["criterion"].unique().to_list() == ["drift:Drift"]
    assert frame["weight_norm"].is_finite().all()
    assert frame.filter(step=3)["density"].max() < 0.5, "pruned by half, and the event sheds more"
    if engine == "auto":
        workers = Study.from_file("mine.yaml").run("workers", jobs=2, threads=1)
        assert workers.frame.drop(MEASURED, strict=False).equals(frame)
    recorded = Study.from_mapping(parse_yaml(alone.spec, "record"))
    assert ran(recorded.run("alone", jobs=1, threads=1, engine=engine)) == 0, "the record is the study"


def test_a_changed_file_never_finds_old_results(folder: Path) -> None:
    before = list(Study.from_file("mine.yaml").plan.steps)
    for name, (old, new) in {
        **{"shrink.py": ("* start.state", "/ start.state"), "drift.py": (".abs()", ".abs() * 2")},
        **{"wide_first.py": ("round(1000 *", "round(999 *"), "shed.py": ("round((1", "int((1")},
        **{"lion.py": (".sign()", ".sign() * 1.0"), "triangle.py": ("(1 - at)", "(1.0 - at)")},
        **{"smooth.py": ("label_smoothing=amount", "label_smoothing=2 * amount")},
    }.items():
        (folder / name).write_text(FILES[name].replace(old, new))
        assert FILES[name].replace(old, new) != FILES[name]
        forget()
        assert list(Study.from_file("mine.yaml").plan.steps) != before, name
        (folder / name).write_text(FILES[name])
    forget()
    assert list(Study.from_file("mine.yaml").plan.steps) == before


def test_it_is_stopped_in_the_middle_and_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped within trainings, after the journal was written: optimiser, schedule and event go on where they were."""
    whole = Study.from_file("mine.yaml").run("whole", jobs=1, threads=1)
    monkeypatch.setenv("OVERPARAM_JOURNAL_SECONDS", "0")
    save, saves = FileJournal.save, []

    def stopping(self: FileJournal, *args: Any) -> None:
        save(self, *args)
        saves.append(self)
        if len(saves) in (2, 5):
            raise KeyboardInterrupt

    monkeypatch.setattr(FileJournal, "save", stopping)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            Study.from_file("mine.yaml").run("stopped", jobs=1, threads=1)
        forget()
    stopped = Study.from_file("mine.yaml").run("stopped", jobs=1, threads=1)
    assert len(saves) > 5
    assert stopped.frame.drop(MEASURED, strict=False).equals(whole.frame.drop(MEASURED, strict=False))


def test_an_installed_package_offers_them_by_name(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    by_path = Study.from_file("mine.yaml").run("runs", jobs=1, threads=1)
    for name in FILES:
        (folder / name).unlink()
    forget()
    with installed(
        tmp_path_factory.mktemp("site"), "my-things", OFFERS, {n.removesuffix(".py"): b for n, b in FILES.items()}
    ):
        study = Study.from_mapping(by_name(parse_yaml(STUDY, "page")))
        found = study.run("runs", jobs=1, threads=1)
        assert ran(found) == 0, "the same things are found again, however they are named"
        assert found.frame["weight_norm"].equals(by_path.frame["weight_norm"])
        assert ran(study.run("anew", jobs=2, threads=1)) == ran(by_path)
        listed = CliRunner().invoke(app, ["list", "steps"])
        assert "shrink" in listed.stdout
        assert "(my-things 1.0)" in listed.stdout
    with pytest.raises(ValueError, match="no such field 'shrink'"):
        Study.from_mapping(by_name(parse_yaml(STUDY, "page")))
