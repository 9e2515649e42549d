"""Faults on purpose, for tests: a hard exit at a named point, and a commit whose success is not told.

Both are off unless their variable is set:

- `PODIUM_CRASH_AT=name` or `name:3`: the process exits the first (third) time it comes to that point, as if killed;
- `PODIUM_RAISE_AFTER_COMMIT=2,5`: the second and the fifth commit of the journal raise although they were done.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from podium_coordinator.store.errors import InvalidSettingError, UnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import Collection

    from podium_coordinator.store.batch import Batch

CRASH_AT: Final = "PODIUM_CRASH_AT"
RAISE_AFTER_COMMIT: Final = "PODIUM_RAISE_AFTER_COMMIT"

CRASH_POINTS: Final = frozenset(
    {
        "migrate.before_commit",
        "migrate.after_commit",
        "leadership.after_epoch",
        "journal.before_commit",
        "journal.after_commit",
    }
)
"""Every point there is; each is hit by a test."""

_EXIT_CODE: Final = 137

_passed: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """Exit at once, without any cleaning up, if the environment says so.

    Raises:
        KeyError: The name is not declared in `CRASH_POINTS`.
    """
    if name not in CRASH_POINTS:
        raise KeyError(name)
    chosen = os.environ.get(CRASH_AT)
    if chosen is None:
        return
    wanted, _, time = chosen.partition(":")
    if wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(time or 1):
        os._exit(_EXIT_CODE)


def check_settings() -> None:
    """Refuse a variable that would do nothing because it is misspelt; called at start.

    Raises:
        InvalidSettingError: There is no such crash point, or a number is none.
    """
    name, _, time = os.environ.get(CRASH_AT, "").partition(":")
    if name and (name not in CRASH_POINTS or not (time or "1").isdecimal()):
        raise InvalidSettingError(
            f"{CRASH_AT}: there is no crash point {name}; there are {', '.join(sorted(CRASH_POINTS))}.",
            setting=CRASH_AT,
        )
    _chosen_commits()


class Commits(Protocol):
    """What the shard loop needs of a journal."""

    async def commit(self, epoch: int, batch: Batch) -> None:
        """Commit a batch under an epoch."""


class RaiseAfterCommit:
    """A journal that commits and then says that it does not know."""

    def __init__(self, journal: Commits, commits: Collection[int]) -> None:
        """Raise after these commits, counted from 1."""
        self._journal = journal
        self._commits = frozenset(commits)
        self._count = 0

    async def commit(self, epoch: int, batch: Batch) -> None:
        """Commit, then raise `UnknownOutcomeError` if it is this one's turn."""
        await self._journal.commit(epoch, batch)
        self._count += 1
        if self._count in self._commits:
            raise UnknownOutcomeError("A fault on purpose: this commit was done.")


def with_faults(journal: Commits) -> Commits:
    """Return the journal, behind `RaiseAfterCommit` if the environment says so."""
    commits = _chosen_commits()
    return RaiseAfterCommit(journal, commits) if commits else journal


def _chosen_commits() -> frozenset[int]:
    chosen = os.environ.get(RAISE_AFTER_COMMIT, "")
    try:
        return frozenset(int(number) for number in chosen.split(",") if number.strip())
    except ValueError:
        raise InvalidSettingError(
            f"{RAISE_AFTER_COMMIT} must be numbers with commas between them, not {chosen!r}.",
            setting=RAISE_AFTER_COMMIT,
        ) from None
