"""The repository of the user's own that a study lives in: which commit, and what is not in it. Without git, nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

SECONDS = 2.0
"""How long git is waited for, each time."""

OWN = ("*.py", "*.yaml", "*.yml")
"""New files that decide results, by their names: others, such as pages and stores, are not counted."""

QUIET = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "--no-optional-locks")
"""A look changes nothing, and runs nothing of the repository's."""


def repository(folder: str | Path | None = None) -> str:
    """Return in words which commit of which repository a folder is at; ``""`` where there is none, or no git.

    Args:
        folder: where the study lives; None: where the script that runs lies, or else where the process works.
    """
    where = Path(folder) if folder is not None else _working()
    commit = _git(where, "rev-parse", "HEAD")
    top = _git(where, "rev-parse", "--show-toplevel")
    if not commit or not top:
        return ""
    home = public(_git(where, "config", "--get", "remote.origin.url") or "") or Path(top).name
    return f"{home}, commit {commit}{_changes(Path(top))}"


def made_by(folder: str | Path | None = None) -> dict[str, str]:
    """Return what is kept of each run: the version of overparam, and :func:`repository` where there is one."""
    found = repository(folder)
    return {"overparam": version("overparam"), **({"repository": found} if found else {})}


def public(address: str) -> str:
    """Return the address of a repository without what may be secret: user, password, query and fragment.

    >>> public("https://me:token@example.org/me/project.git")
    'https://example.org/me/project'
    """
    bare = re.sub(r"[?#].*", "", address.strip()).removesuffix(".git")
    return re.sub(r"^([a-z+]+://)?[^/@]*@", r"\1", bare) if "://" in bare or "@" in bare else ""


def _changes(top: Path) -> str:
    changed = _git(top, "status", "--porcelain", "--untracked-files=no")
    new = _git(top, "ls-files", "--others", "--exclude-standard", "--", *OWN)
    if changed is None or new is None:
        return ", changes not known"
    counts = [(len(lines.splitlines()), word) for lines, word in ((changed, "changed"), (new, "new"))]
    told = [f"{count} {word} file{'' if count == 1 else 's'}" for count, word in counts if count]
    return f", with {' and '.join(told)} beside it" if told else ""


def _working() -> Path:
    """Return the folder of the script that runs, if it is one of the user's, else that in which it runs."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    path = Path(script).resolve() if script else None
    installed = path is None or path.suffix != ".py" or {"overparam", "site-packages"} & {*path.parts}
    return Path.cwd() if installed or path is None else path.parent


def _git(folder: Path, *words: str) -> str | None:
    """Return what git says; None where it is not there, refuses, or takes too long."""
    named = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *QUIET, "-C", str(folder), *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            env={**named, "GIT_TERMINAL_PROMPT": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
