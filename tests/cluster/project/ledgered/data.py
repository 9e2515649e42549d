"""Workflows that hand values and files on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from podium import shell, task, workflow

from .ledger import pass_gate


@task(cpu=0.5)
def number(value: int) -> dict[str, Any]:
    """Return a value with parts."""
    return {"value": value, "text": "é ☃", "none": None, "large": 2**70, "list": [1, 2.5, True]}


@task(cpu=0.5)
def double(parts: dict[str, Any]) -> int:
    """Use the whole of it."""
    value: int = parts["value"]
    return 2 * value


@task(cpu=0.5)
def add(left: int, right: int, rest: dict[str, Any]) -> dict[str, Any]:
    """Join two branches."""
    return {"sum": left + right, "large": rest["parts"]["large"]}


@workflow
def diamond(value: int = 20) -> None:
    """One, two side by side, one: data flows whole, in part, and within other values."""
    top = number(value)
    add(double(top), number.options(key="right")(1)["value"], {"parts": top})


def seen(folders: list[str]) -> list[str]:
    """Return what can be seen in folders that are to be hidden."""
    found = []
    for folder in folders:
        try:
            found += [str(path) for path in Path(folder).iterdir()]
        except OSError:
            continue
    return found


@task(cpu=0.5, labels={"name": "a1"})
def produce(size: int, hidden: list[str]) -> dict[str, Any]:
    """Write two files on the first agent, and hand them on."""
    first, second = Path("first.bin"), Path("folder") / "second.txt"
    second.parent.mkdir()
    first.write_bytes(os.urandom(1024) * (size // 1024))
    second.write_text("two")
    return {"files": [first, second], "sha256": sha256(first), "seen": seen(hidden), "folder": str(Path.cwd())}


@task(cpu=0.5, labels={"name": "a2"})
def consume(made: dict[str, Any], hidden: list[str]) -> dict[str, Any]:
    """Read them on the second agent, and say what else is to be seen there."""
    first, second = made["files"]
    return {
        "same": sha256(first) == made["sha256"],
        "names": [first.name, second.name],
        "text": second.read_text(),
        "copied": not Path(made["folder"]).exists() or Path(made["folder"]) not in first.parents,
        "seen": made["seen"] + seen(hidden),
        "again": first,
    }


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@workflow
def files(size: int, hidden: list[str]) -> None:
    """A file made on one agent is read on the other."""
    consume(produce(size, hidden), hidden)


@task(cpu=0.5)
def large(size: int) -> list[str]:
    """Return a value too large to travel inline."""
    return ["x" * 1000] * (size // 1000)


@task(cpu=0.5)
def length(values: list[str]) -> int:
    """Count it downstream."""
    return sum(map(len, values))


@workflow
def large_values(size: int) -> None:
    """A large value between two tasks."""
    length(large(size))


@workflow
def shells(word: str) -> None:
    """Programs, with and without a shell, given values by their environment."""
    echo = shell("""echo "said $WORD in $(basename "$PWD" | wc -c)"; printf err >&2""", env={"WORD": word}, key="echo")
    shell(["/bin/sh", "-c", 'test "$NUMBER" = 3'], env={"NUMBER": 3}, key="exec") >> echo
    shell("exit 7", key="fails", retries=1, delay=0.01).after(echo)


GREETING = "first version"


@task(cpu=0.5)
def greet() -> str:
    """Say which version this is."""
    return GREETING


@task(cpu=0.5)
def greet_again(before: str) -> list[str]:
    """Say it once more, after the gate."""
    pass_gate("pinned")
    return [before, GREETING]


@workflow
def pinned() -> None:
    """Both tasks say the same, whatever is deployed meanwhile."""
    greet_again(greet())
