"""What a release needs: one version everywhere, every file in the package, extras that a developer has."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import overparam
from overparam.papers.references import software

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_one_version_everywhere() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["project"]["version"] == cited["version"] == overparam.__version__ == software().version
    assert cited["title"] == software().title
    assert [author["name"] for author in cited["authors"]] == list(software().authors)


def test_a_developer_has_every_extra() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    named = {part for line in extras["dev"] if line.startswith("overparam[") for part in line[10:-1].split(",")}
    assert named == set(extras) - {"dev"}


def test_every_file_of_the_source_is_in_the_package() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: which files belong to the source is not known")
    listed = subprocess.run(["git", "ls-files", "src/overparam"], cwd=ROOT, capture_output=True, text=True, check=True)
    package = ROOT / "src/overparam"
    globs = PROJECT["tool"]["setuptools"]["package-data"]["overparam"]
    packed = {path for glob in globs for path in package.glob(glob)}
    files = {ROOT / name for name in listed.stdout.splitlines()}
    assert {path for path in files if path.suffix != ".py" and path.is_file()} - packed == set()
    assert all((path.parent / "__init__.py").exists() for path in files if path.suffix == ".py")


@pytest.mark.parametrize(
    "name", ["CONTRIBUTING.md", "SECURITY.md", "NOTICE", "LICENSE", "CHANGELOG.md", "CITATION.cff"]
)
def test_what_a_project_says_of_itself_is_there(name: str) -> None:
    assert len((ROOT / name).read_text()) > 300
