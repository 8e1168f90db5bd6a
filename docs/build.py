"""``make docs``: the pages of this folder, those of the papers and the generated reference as a site in ``build/site``.

Needs no network. Fails on a link that leads nowhere, on a page that is not in the navigation, and on an entry of the
navigation without a page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer
import yaml

from overparam.cli import app
from overparam.reference import commands, pages

ROOT = Path(__file__).parents[1]
DOCS, BUILD, PAPERS = ROOT / "docs", ROOT / "build", ROOT / "src" / "overparam" / "papers"
CONFIG = ROOT / "mkdocs.yml"


def main() -> None:
    """Write the site."""
    shutil.rmtree(BUILD / "docs", ignore_errors=True)
    shutil.copytree(DOCS, BUILD / "docs", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path in BUILD.glob("docs/*.md"):
        path.write_text(re.sub(r"\]\(\.\./src/overparam/papers/(\w+)/README\.md", r"](papers/\1.md", path.read_text()))
    for path, text in generated().items():
        (BUILD / "docs" / path).parent.mkdir(parents=True, exist_ok=True)
        (BUILD / "docs" / path).write_text(text, encoding="utf-8")
    config = yaml.safe_load(CONFIG.read_text())
    config["nav"] = navigation(config["nav"])
    check(config["nav"])
    (BUILD / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", "mkdocs.yml"]
    done = subprocess.run(command, cwd=BUILD, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True)
    sys.exit(done.stdout.rpartition("Traceback")[0] + done.stderr.partition("Traceback")[0] if done.returncode else 0)


def generated() -> dict[str, str]:
    """Return the pages that no one writes, by path."""
    root: Any = typer.main.get_command(app)
    changes = {"changelog.md": (ROOT / "CHANGELOG.md").read_text()}
    return {**pages.pages(), "reference/commands.md": commands.page(root), **papers(), **changes}


def navigation(written: list[Any]) -> list[Any]:
    """Return the navigation with the parts filled in that are generated, which have a name only."""
    known = papers()
    made = {"Papers": [{heading(text): path} for path, text in known.items()], "Reference": pages.navigation()}
    return [{entry: made[entry]} if isinstance(entry, str) else entry for entry in written]


def check(navigation: list[Any]) -> None:
    """End with a sentence if a page and the navigation do not know of each other."""
    named, there = set(paths(navigation)), {str(p.relative_to(BUILD / "docs")) for p in BUILD.glob("docs/**/*.md")}
    if named != there:
        sys.exit(f"{CONFIG.name}: nav lacks {sorted(there - named)} and has without a page {sorted(named - there)}")


def paths(navigation: Any) -> list[str]:
    """Return the pages that a navigation names."""
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [path for part in parts for path in paths(part)]


def papers() -> dict[str, str]:
    """Return a list of the papers and the page of each, with links that lead to where the site has things."""
    texts = {f"papers/{path.parent.name}.md": path.read_text() for path in sorted(PAPERS.glob("*/README.md"))}
    listed = "\n".join(f"- [{heading(text)}]({Path(path).name}): {cited(text)}" for path, text in texts.items())
    intro = (
        "Each has a study, or several, at a scale that a laptop can do, its claims as tests, its numbers beside ours."
    )
    return {"papers/index.md": f"# Papers\n\n{intro}\n\n{listed}\n"} | {p: relinked(text) for p, text in texts.items()}


def heading(text: str) -> str:
    """Return the title of a page."""
    return text.partition("\n")[0].removeprefix("# ")


def cited(text: str) -> str:
    """Return the line of authors, year and address."""
    return " ".join(text.split("\n\n")[1].split())


def relinked(text: str) -> str:
    """Return a text of a paper's folder with its links to pages of the documentation mended; files are no pages."""
    text = re.sub(r"\]\((?:\.\./)+docs/", "](../", text)
    return re.sub(r"\[([^]]+)\]\((?!http|\.\./|#)[^)]+\)", r"\1", text)


if __name__ == "__main__":
    main()
