"""Which commit of the user's own repository results were made at: in the store, the facts, and what is cited."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from overparam.lab import Store, Study, load_results
from overparam.lab.repository import public, repository

STUDY = {
    "name": "mine",
    "world": "small:vectors",
    "network": {"name": "mlp", "hidden": [4]},
    "train": {"lr": 0.1, "batch_size": 10, "epochs": 1},
    "chain": ["train"],
}


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=me", "-c", "user.email=me@localhost", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", folder, *own, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A repository of a user's own with a study in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    git(folder, "add", "study.yaml")
    git(folder, "commit", "-qm", "a study")
    return folder


def test_a_commit_and_what_is_not_in_it_are_told(home: Path) -> None:
    commit = git(home, "rev-parse", "HEAD")
    assert repository(home) == f"project, commit {commit}"
    (home / "study.yaml").write_text("name: other\n")
    (home / "network.py").write_text("")
    (home / "page.html").write_text("")  # which decides no result
    (home / "sub").mkdir()
    assert repository(home / "sub") == f"project, commit {commit}, with 1 changed file and 1 new file beside it"
    git(home, "remote", "add", "origin", "https://me:secret@example.org/me/project.git?token=secret")
    assert repository(home).startswith(f"https://example.org/me/project, commit {commit}")


def test_without_a_repository_or_git_there_is_nothing(tmp_path: Path, home: Path, monkeypatch) -> None:
    assert repository(tmp_path) == ""
    assert repository(tmp_path / "not there") == ""
    git(tmp_path, "init", "-q")
    assert repository(tmp_path) == ""  # nothing was committed yet
    monkeypatch.setenv("PATH", str(tmp_path))
    assert repository(home) == ""


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://token@host.org/a/b.git", "https://host.org/a/b"),
        ("git@host.org:a/b.git", "host.org:a/b"),
        ("ssh://git@host.org:22/a/b", "ssh://host.org:22/a/b"),
        ("/home/me/b.git", ""),
        ("", ""),
    ],
)
def test_no_secret_of_an_address_is_kept(address: str, told: str) -> None:
    assert public(address) == told


def test_the_folder_of_the_script_that_runs_is_looked_at(home: Path, tmp_path: Path) -> None:
    (home / "run.py").write_text("from overparam.lab.repository import repository\nprint(repository())")
    done = subprocess.run([sys.executable, home / "run.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"project, commit {git(home, 'rev-parse', 'HEAD')}, with 1 new file beside it"


def test_a_result_says_at_which_commit_it_was_made(home: Path, tmp_path: Path) -> None:
    first = git(home, "rev-parse", "HEAD")
    results = Study.from_file(home / "study.yaml").with_changes({"seed": 0}).run(tmp_path / "runs", jobs=1)
    told = f"project, commit {first}"
    assert results.facts["repository"] == told
    assert f"The study lives in {told}." in results.citation().made
    assert f"<dd>{told}</dd>" in results.report(tmp_path / "page.html").read_text()
    record = Store(tmp_path / "runs", reading=True).newest(f"studies/mine@{results.revision}")
    assert record is not None
    assert record["made"] == {"overparam": results.facts["overparam"], "repository": told}
    git(home, "commit", "-qm", "later", "--allow-empty")
    Study.from_file(home / "study.yaml").run(tmp_path / "runs", jobs=1)
    # what was found in the store was made at the first commit, whatever the last run was at
    assert load_results(Store(tmp_path / "runs", reading=True), "mine").facts["repository"] == told
