"""Which files of a folder belong to a project: all but what .gitignore names, and what never belongs to one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from podium.errors import InvalidBundleError

_IGNORE_FILE = ".gitignore"
_NEVER_FOLDERS = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".venv",
        "__pycache__",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".tox",
        ".nox",
        "node_modules",
    }
)
_NEVER_SUFFIXES = (".pyc", ".pyo")
_VENV_MARK = "pyvenv.cfg"


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A file of a project: its path within the project, with slashes, and where its bytes are."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class _Rules:
    """The patterns of one .gitignore, which hold from `folder` downwards."""

    folder: Path
    spec: GitIgnoreSpec

    def verdict(self, path: Path, *, folder: bool) -> bool | None:
        """Return whether the patterns leave `path` out; None when none of them matches."""
        name = path.relative_to(self.folder).as_posix() + ("/" if folder else "")
        return self.spec.check_file(name).include


def project_files(root: Path) -> Iterator[ProjectFile]:
    """Yield the files of a project, by name within each folder.

    The patterns of the .gitignore files in the project hold, and those of the folders above it up to the one that has
    `.git`. A link to a file inside the project counts as that file.

    Raises:
        InvalidBundleError: Something is neither file nor folder, or a link leads out, nowhere, or to a folder.
        OSError: A folder or a .gitignore cannot be read.
    """
    root = root.resolve()
    yield from _walk(root, root, _rules_above(root))


def _rules_above(root: Path) -> list[_Rules]:
    """Return the rules of the folders above `root`, outermost first, where it is part of a git repository."""
    parents = list(root.parents)
    top = next((index for index, folder in enumerate(parents) if (folder / ".git").exists()), None)
    if top is None or (root / ".git").exists():
        return []
    return [rules for folder in reversed(parents[: top + 1]) for rules in _rules_of(folder)]


def _rules_of(folder: Path) -> list[_Rules]:
    file = folder / _IGNORE_FILE
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return [_Rules(folder, GitIgnoreSpec.from_lines(lines))]


def _walk(folder: Path, root: Path, above: Sequence[_Rules]) -> Iterator[ProjectFile]:
    rules = [*above, *_rules_of(folder)]
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = folder / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if _left_out(path, rules, folder=is_folder):
            continue
        if is_folder:
            yield from _walk(path, root, rules)
        else:
            yield ProjectFile(path.relative_to(root).as_posix(), _source(path, root))


def _left_out(path: Path, rules: Sequence[_Rules], *, folder: bool) -> bool:
    if folder and (path.name in _NEVER_FOLDERS or path.name.endswith(".egg-info") or (path / _VENV_MARK).exists()):
        return True
    if not folder and path.name.endswith(_NEVER_SUFFIXES):
        return True
    verdicts = (rule.verdict(path, folder=folder) for rule in reversed(rules))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def _source(path: Path, root: Path) -> Path:
    """Return the file that `path` is, or links to."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise _refused(path, root, "is a link to nothing. Remove it, or name it in .gitignore") from None
    if not real.is_relative_to(root):
        raise _refused(path, root, f"is a link out of the project, to {real}. Copy the file into the project")
    if real.is_dir():
        raise _refused(path, root, "is a link to a folder. Put a folder in its place, or name it in .gitignore")
    if not real.is_file():
        raise _refused(path, root, "is neither a file nor a folder. Remove it, or name it in .gitignore")
    return real


def _refused(path: Path, root: Path, what: str) -> InvalidBundleError:
    name = path.relative_to(root).as_posix()
    return InvalidBundleError(f"{name!r} in {root} {what}.", file=str(path))
