"""Which agent gets which ready task. Pure decisions over a view of the agents.

Ready task runs wait in one queue per scheduling class, so that a round costs by classes, agents and placements and not
by tasks that wait. Within a class, runs take turns: a small run does not wait behind all of a large one. An agent's
load is derived from the live attempts it holds.

Agents admit by their own free resources, so one may be sent more than fits: `window` tells, per agent, how many times
its capacity. It is above one only for tasks known to be short; the agent then has its next task at hand when one ends.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from podium_coordinator.domain.graph import SchedulingClass
from podium_coordinator.domain.run import Run
from podium_coordinator.domain.states import RunState, TaskRunState

MOST_LIVE_ATTEMPTS = 1024
"""Live attempts an agent may hold, whatever they ask for."""


@dataclass(slots=True)
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

    def take(self, run_id: UUID, index: int, needs: SchedulingClass) -> None:
        """Hold an attempt, in place of any earlier one of the same task run."""
        self.release(run_id, index)
        self.live[run_id, index] = needs
        self.cpu_used += needs.cpu_millis
        self.memory_used += needs.memory_bytes

    def release(self, run_id: UUID, index: int) -> None:
        """Let an attempt go; harmless if it was not held."""
        needs = self.live.pop((run_id, index), None)
        if needs is not None:
            self.cpu_used -= needs.cpu_millis
            self.memory_used -= needs.memory_bytes

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
        return max(cpu, memory)


@dataclass(frozen=True, slots=True)
class Placement:
    """A task run and the agent it goes to."""

    run: Run
    index: int
    seat: Seat


class ReadyQueue:
    """Ready task runs by scheduling class, then by run, in the order they became ready. Nothing in it is empty."""

    def __init__(self) -> None:
        self._classes: dict[SchedulingClass, OrderedDict[UUID, tuple[Run, deque[int]]]] = {}

    def push(self, run: Run, index: int) -> None:
        """Add a task run that has become ready."""
        turns = self._classes.setdefault(run.graph.scheduling_class(run.task_of(index)), OrderedDict())
        if run.run_id not in turns:
            turns[run.run_id] = (run, deque())
        turns[run.run_id][1].append(index)

    def classes(self) -> list[SchedulingClass]:
        """Return the classes something may wait in: highest priority first, then those that were served longest ago."""
        return sorted(self._classes, key=lambda needs: -needs.priority)

    def first(self, needs: SchedulingClass) -> tuple[Run, int] | None:
        """Return the next task run of a class; those that do not wait any more are dropped on the way."""
        while turns := self._classes.get(needs):
            run, waiting = next(iter(turns.values()))
            if run.state is RunState.RUNNING and run.state_of(waiting[0]) is TaskRunState.SCHEDULED:
                return run, waiting[0]
            self.pop(needs)
        return None

    def pop(self, needs: SchedulingClass) -> None:
        """Take the first task run of a class; its run goes to the back of the class, the class behind all others."""
        turns = self._classes.pop(needs)
        run_id, (run, waiting) = turns.popitem(last=False)
        waiting.popleft()
        if waiting:
            turns[run_id] = (run, waiting)
        if turns:
            self._classes[needs] = turns

    def discard(self, run_id: UUID) -> None:
        """Forget all that waits of a run."""
        for needs, turns in list(self._classes.items()):
            if turns.pop(run_id, None) and not turns:
                del self._classes[needs]

    def __bool__(self) -> bool:
        return bool(self._classes)


Window = Callable[[Run, int], float]
"""Gives, for a task run, how many times its capacity an agent may be sent of such tasks; 1 or more."""


def place(queue: ReadyQueue, seats: Iterable[Seat], window: Window, most: int) -> Iterator[Placement]:
    """Yield up to `most` placements; the caller makes each true before asking for the next.

    Least loaded agents first, of equally loaded ones that with the fewest attempts. A class nothing has room for is
    passed over: smaller tasks behind it may go. Classes of one priority take turns at going first, call by call.
    """
    seats = [seat for seat in seats if seat.open]
    for needs in queue.classes():
        if most <= 0:
            return
        for placement in _place_class(queue, needs, seats, window, most):
            most -= 1
            yield placement


def _place_class(
    queue: ReadyQueue, needs: SchedulingClass, seats: list[Seat], window: Window, most: int
) -> Iterator[Placement]:
    heap = [(seat.load, len(seat.live), order, seat) for order, seat in enumerate(seats) if seat.could_ever_fit(needs)]
    heapq.heapify(heap)
    while heap and most > 0 and (first := queue.first(needs)) is not None:
        run, index = first
        seat = _with_room(heap, needs, window(run, index))
        if seat is None:
            return
        queue.pop(needs)
        most -= 1
        yield Placement(run, index, seat)
        heapq.heapreplace(heap, (seat.load, len(seat.live), heap[0][2], seat))


def _with_room(heap: list[tuple[float, int, int, Seat]], needs: SchedulingClass, window: float) -> Seat | None:
    """Return the least loaded agent with room, left at the top of the heap; full ones are dropped from it."""
    while heap:
        if heap[0][3].room(needs, window):
            return heap[0][3]
        heapq.heappop(heap)
    return None
