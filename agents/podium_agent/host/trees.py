"""Ends a worker with all that descends from it: TERM, grace, KILL, until none is left.

A tree is gone only when its root has been reaped and no member lives; until then its resources are not free. Members
are remembered by id and start time, so that those who become orphans when the root dies are still known as its own.

The root is sent TERM again and again during the grace: Python handles a signal that arrives just before a system call
only when the call returns, and a task may be about to sleep for an hour.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podium_agent.host import processes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from podium_agent.host.processes import Process


REPEAT = 0.25
"""Seconds between repeats of TERM."""


@dataclass(slots=True)
class Tree:
    """A worker's processes; `status` as waitpid gives it, `deadline` on the monotonic clock in seconds."""

    pid: int
    status: int | None = None
    deadline: float | None = None
    repeat_at: float = 0.0
    members: dict[int, Process] = field(default_factory=dict)

    @property
    def ending(self) -> bool:
        """Whether its end has begun, asked for or not."""
        return self.deadline is not None

    def begin(self, now: float, grace: float) -> None:
        """Ask all of it to end; what still lives `grace` seconds from now is killed. A repeat can only hasten it."""
        deadline = now + grace
        if self.deadline is not None:
            self.deadline = min(self.deadline, deadline)
            return
        self.deadline, self.repeat_at = deadline, now + REPEAT
        self._adopt(processes.living())
        if grace > 0:
            self._signal(signal.SIGTERM)

    def reaped(self, status: int, now: float) -> None:
        """Note that the root has ended; left alone, its descendants have no reason to live."""
        self.status = status
        if self.deadline is None:
            self.deadline = now

    def advance(self, now: float, living: Collection[Process], orphans: Iterable[Process]) -> bool:
        """Carry the end on; return whether the whole tree is gone.

        Args:
            now: The monotonic clock, in seconds.
            living: Every process of the host.
            orphans: Processes that became the spawner's children by the death of a parent.
        """
        self._adopt(living)
        if self.status is not None:
            self._adopt_orphans(orphans, living)
        self._forget_dead(living)
        if self.deadline is not None and now >= self.deadline:
            self._signal(signal.SIGKILL)
        elif self.pid in self.members and now >= self.repeat_at:
            self.repeat_at = now + REPEAT
            processes.send(self.members[self.pid], signal.SIGTERM)
        return self.status is not None and not self.members

    def _adopt(self, living: Collection[Process]) -> None:
        roots = {self.pid, *self.members} if self.status is None else set(self.members)
        for process in living:
            if process.pid == self.pid and self.status is None:
                self.members[process.pid] = process
        for process in processes.descendants(roots, living):
            self.members[process.pid] = process

    def _adopt_orphans(self, orphans: Iterable[Process], living: Collection[Process]) -> None:
        for orphan in orphans:
            self.members[orphan.pid] = orphan
        for process in processes.descendants(set(self.members), living):
            self.members[process.pid] = process

    def _forget_dead(self, living: Collection[Process]) -> None:
        alive = {(process.pid, process.started) for process in living}
        self.members = {pid: p for pid, p in self.members.items() if (pid, p.started) in alive}

    def _signal(self, signum: int) -> None:
        for process in self.members.values():
            processes.send(process, signum)


def strays(me: int, known: Collection[int], living: Collection[Process], trees: Collection[Tree]) -> list[Process]:
    """Return the children of `me` that it did not start and that no tree counts as its own."""
    owned = {pid for tree in trees for pid in tree.members}
    return [p for p in living if p.parent == me and p.pid not in known and p.pid not in owned]
