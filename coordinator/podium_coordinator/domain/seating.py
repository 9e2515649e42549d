"""The agents as placement sees them, and which of them has room. Pure.

An agent's load is derived from the live attempts it holds.

Finding the least loaded agent with room must not cost by the number of agents: with a thousand of them most have
nothing to do with a turn. So a bench, a heap of candidates, is kept for each kind of task that was asked for lately. A
seat that was found full leaves its bench, and comes back when something about it has changed: that alone is noted, in a
log that each bench reads on from where it left off. Entries that a later change has overtaken are dropped when they
come up. What it all costs is a few heap operations per attempt placed or released.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from podium_coordinator.domain.graph import SchedulingClass

MOST_LIVE_ATTEMPTS = 1024
"""Live attempts an agent may hold, whatever they ask for."""

MOST_BENCHES = 256
LONGEST_LOG = 4_096


@dataclass(slots=True)
class Changes:
    """Seats that have changed since the last look, and whether in any other way than by taking what was `offered`."""

    seats: list[Seat] = field(default_factory=list)
    others: bool = False
    offered: Seat | None = None
    """The seat that was found last, until it takes something."""


@dataclass(slots=True, eq=False)
class Seat:
    """An agent as placement sees it; `live` maps (run, task run) to the class of the attempt it holds there."""

    agent_id: UUID
    name: str
    cpu_millis: int
    memory_bytes: int
    labels: frozenset[tuple[str, str]] = frozenset()
    open: bool = True
    live: dict[tuple[UUID, int], SchedulingClass] = field(default_factory=dict)
    cpu_used: int = 0
    memory_used: int = 0
    changes: Changes | None = None
    """Where a change of this seat is noted, once until it is read."""
    noted: bool = False
    stamp: int = 0
    """Counts the changes that were read."""

    def take(self, run_id: UUID, index: int, needs: SchedulingClass) -> None:
        """Hold an attempt, in place of any earlier one of the same task run."""
        self.release(run_id, index)
        self.live[run_id, index] = needs
        self.cpu_used += needs.cpu_millis
        self.memory_used += needs.memory_bytes
        changes = self.changes
        if changes is not None and changes.offered is self:
            changes.offered = None
            self._note(changes)
        else:
            self.note()

    def release(self, run_id: UUID, index: int) -> None:
        """Let an attempt go; harmless if it was not held."""
        needs = self.live.pop((run_id, index), None)
        if needs is not None:
            self.cpu_used -= needs.cpu_millis
            self.memory_used -= needs.memory_bytes
            self.note()

    def note(self) -> None:
        """Say that something about the seat has changed."""
        if self.changes is not None:
            self.changes.others = True
            self._note(self.changes)

    def _note(self, changes: Changes) -> None:
        if not self.noted:
            self.noted = True
            changes.seats.append(self)

    def could_ever_fit(self, needs: SchedulingClass) -> bool:
        """Whether the agent, empty, has room for such an attempt and the labels it asks for."""
        return (
            needs.cpu_millis <= self.cpu_millis
            and needs.memory_bytes <= self.memory_bytes
            and self.labels.issuperset(needs.agent_labels)
        )

    def room(self, needs: SchedulingClass, window: float) -> bool:
        """Whether one more such attempt may be sent, given `window` times the agent's capacity."""
        return (
            len(self.live) < MOST_LIVE_ATTEMPTS
            and (needs.cpu_millis == 0 or self.cpu_used + needs.cpu_millis <= self.cpu_millis * window)
            and (needs.memory_bytes == 0 or self.memory_used + needs.memory_bytes <= self.memory_bytes * window)
        )

    @property
    def load(self) -> float:
        """The larger of the parts of cpu and memory in use; above 1 while attempts queue at the agent."""
        cpu = self.cpu_used / self.cpu_millis if self.cpu_millis else 0.0
        memory = self.memory_used / self.memory_bytes if self.memory_bytes else 0.0
        return cpu if cpu > memory else memory  # noqa: FURB136 - twice as fast, and asked for each placement


@dataclass(slots=True)
class Bench:
    """Candidates for one kind of task, the least loaded at the top; `read` tells how far it has read the log."""

    needs: SchedulingClass
    window: float
    heap: list[tuple[float, int, int, int, Seat]]
    read: int

    def top(self) -> Seat | None:
        """Return the first open seat with room, left at the top."""
        heap = self.heap
        while heap:
            _, _, _, stamp, seat = heap[0]
            fits = stamp == seat.stamp and seat.open and seat.could_ever_fit(self.needs)
            if fits and seat.room(self.needs, self.window):
                return seat
            heapq.heappop(heap)
        return None


class Seating:
    """All seats."""

    def __init__(self, seats: Iterable[Seat] = ()) -> None:
        self._seats: list[Seat] = []
        self._changes = Changes()
        self._log: list[Seat] = []
        self._benches: OrderedDict[tuple[SchedulingClass, float], Bench] = OrderedDict()
        self._order: dict[Seat, int] = {}
        self._last: Bench | None = None
        """Where the last seat was found; it is still at the top there."""
        self.idle: set[Seat] = set()
        """Open seats with room for more work than they have, as of the last look."""
        self.crowded: set[Seat] = set()
        """Seats at which attempts queue, as of the last look."""
        for seat in seats:
            self.add(seat)

    def add(self, seat: Seat) -> None:
        """Take a seat in."""
        self._order[seat] = len(self._seats)
        self._seats.append(seat)
        seat.changes, seat.noted = self._changes, False
        seat.note()

    def best(self, needs: SchedulingClass, window: float) -> Seat | None:
        """Return the least loaded open seat with room for such an attempt, of equals the one with fewest attempts."""
        bench = self._last
        if bench is not None and bench.needs is needs and bench.window == window and not self._changes.others:
            # Nothing has changed but what was given to the seats found here, each of which was entered anew since.
            heapq.heapreplace(bench.heap, self._entry(bench.heap[0][4]))
        else:
            bench = self._bench(needs, window)
        seat = self._changes.offered = bench.top()
        self._last = bench if seat is not None else None
        return seat

    def look(self) -> None:
        """Take note of what has changed."""
        for seat in self._changes.seats:
            seat.noted = False
            seat.stamp += 1
            load = seat.load
            _put(self.idle, seat, seat.open and load < 1.0)
            _put(self.crowded, seat, load > 1.0)
        self._last = None
        self._log += self._changes.seats
        self._changes.seats.clear()
        self._changes.others, self._changes.offered = False, None
        if len(self._log) > LONGEST_LOG:
            self._log.clear()
            self._benches.clear()

    @property
    def lopsided(self) -> bool:
        """Whether attempts queue at one agent while another has room, as of the last look."""
        return bool(self.idle and self.crowded)

    def _bench(self, needs: SchedulingClass, window: float) -> Bench:
        self.look()
        bench = self._benches.get((needs, window))
        if bench is None:
            fitting = [self._entry(seat) for seat in self._seats if seat.could_ever_fit(needs)]
            bench = Bench(needs, window, fitting, len(self._log))
            heapq.heapify(bench.heap)
            self._benches[needs, window] = bench
            if len(self._benches) > MOST_BENCHES:
                self._benches.popitem(last=False)
        for seat in dict.fromkeys(self._log[bench.read :]):  # once each: a seat has one entry that is valid
            heapq.heappush(bench.heap, self._entry(seat))
        bench.read = len(self._log)
        return bench

    def _entry(self, seat: Seat) -> tuple[float, int, int, int, Seat]:
        return seat.load, len(seat.live), self._order[seat], seat.stamp, seat


def _put(seats: set[Seat], seat: Seat, belongs: bool) -> None:
    if belongs:
        seats.add(seat)
    else:
        seats.discard(seat)
