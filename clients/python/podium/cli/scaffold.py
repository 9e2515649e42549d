"""The folder that `podium init` writes: a working pipeline, its test, and what to keep out of version control."""

from __future__ import annotations

from pathlib import Path

from podium.errors import ConflictError

_PIPELINE = '''\
"""Counts the words of two texts side by side, then adds them up."""

from podium import task, workflow


@task(retries=2)
def count(text: str) -> int:
    return len(text.split())


@task
def total(counts: list[int]) -> int:
    print(f"{sum(counts)} words in {len(counts)} texts")
    return sum(counts)


@workflow
def words(first: str = "the quick brown fox", second: str = "jumps over the lazy dog") -> None:
    total([count(first), count(second)])
'''

_TEST = '''\
"""Runs the whole pipeline in this process: no coordinator, no agent."""

from pipeline import words


def test_it_counts_the_words_of_both_texts() -> None:
    result = words.test(first="to be or not", second="to be")
    assert result.outputs["total"] == 6
'''

_GITIGNORE = """\
__pycache__/
.pytest_cache/
.venv/
.podium/
"""

FILES = {"pipeline.py": _PIPELINE, "test_pipeline.py": _TEST, ".gitignore": _GITIGNORE}


def write(folder: Path) -> list[Path]:
    """Write the files into a folder, which is made when absent, and return their paths.

    Raises:
        ConflictError: One of the files is there already; nothing was written.
        OSError: The folder cannot be written.
    """
    paths = [folder / name for name in FILES]
    there = [path for path in paths if path.exists() or path.is_symlink()]
    if there:
        raise ConflictError(f"{there[0]} is there already; nothing was written.", file=str(there[0]))
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, FILES.values(), strict=True):
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return paths
