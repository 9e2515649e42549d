"""Runs the console sessions of a page as a reader would, and compares what they print."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ANYTHING = "..."
"""In what a page says is printed: any text here, or any lines where it stands alone."""

_BETWEEN = "\x1e"


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a session, and what the page says it prints on stdout."""

    command: str
    printed: str


def steps(page: Path, heading: str) -> list[Step]:
    """Return the commands in the ```console blocks below a heading, up to the next one of the same level."""
    level, _, _ = heading.partition(" ")
    section = page.read_text("utf-8").split(f"\n{heading}\n", 1)[1]
    section = re.split(rf"^{level} ", section, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [step for block in blocks for step in _steps_of(block)]


def _steps_of(block: str) -> list[Step]:
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [_step(part.splitlines()) for part in parts]


def _step(lines: list[str]) -> Step:
    more = 1
    while more < len(lines) and lines[more].startswith("> "):
        more += 1
    command = "\n".join([lines[0], *(line[2:] for line in lines[1:more])])
    return Step(command, "\n".join(lines[more:]))


def perform(session: list[Step], *, folder: Path, environment: dict[str, str], seconds: float) -> list[str]:
    """Run all commands in one shell that stops at the first failure; return what each printed on stdout.

    Raises:
        subprocess.CalledProcessError: A command failed.
        subprocess.TimeoutExpired: All together took longer than `seconds`.
    """
    script = "\n".join(f"{step.command}\nprintf '{_BETWEEN}'" for step in session)
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=seconds,
    )
    return told.stdout.split(_BETWEEN)[:-1]


def agrees(printed: str, actual: str) -> bool:
    """Whether a command printed what the page says, runs of blanks taken as one."""
    pieces = [re.escape(" ".join(piece.split())) for piece in printed.split(ANYTHING)]
    return re.fullmatch(r"\s*.*\s*".join(pieces), " ".join(actual.split()), re.DOTALL) is not None
