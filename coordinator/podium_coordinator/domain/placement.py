"""Which agent gets which ready task. Pure decisions over a view of the agents.

Ready task runs wait in one queue per scheduling class, so that a round costs by classes and placements, and neither by
tasks that wait nor by agents that have nothing to do with it (`seating`). Within a class, runs take turns: a small run
does not wait behind all of a large one.

Agents admit by their own free resources, so one may be sent more than fits: `window` tells, per task run, how many
times its capacity. It is above one only for tasks known to be short; the agent then has its next task at hand when one
ends.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from podium_coordinator.domain.graph import SchedulingClass
from podium_coordinator.domain.run import SCHEDULED, Run
from podium_coordinator.domain.seating import Seat, Seating
from podium_coordinator.domain.states import RunState


@dataclass(slots=True)
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
        self._waiting(run, run.graph.scheduling_class(run.task_of(index))).append(index)

    def push_all(self, run: Run, indexes: Iterable[int]) -> None:
        """Add task runs of one run that have become ready."""
        if len(run.graph.classes) == 1:
            self._waiting(run, run.graph.classes[0]).extend(indexes)
        else:
            for index in indexes:
                self.push(run, index)

    def _waiting(self, run: Run, needs: SchedulingClass) -> deque[int]:
        turns = self._classes.get(needs)
        if turns is None:
            turns = self._classes[needs] = OrderedDict()
        if run.run_id not in turns:
            turns[run.run_id] = (run, deque())
        return turns[run.run_id][1]

    def classes(self) -> list[SchedulingClass]:
        """Return the classes something may wait in: highest priority first, then those that were served longest ago."""
        return sorted(self._classes, key=lambda needs: -needs.priority)

    def first(self, needs: SchedulingClass) -> tuple[Run, int] | None:
        """Return the next task run of a class; those that do not wait any more are dropped on the way."""
        while turns := self._classes.get(needs):
            run, waiting = next(iter(turns.values()))
            if run.state is RunState.RUNNING and run.states[waiting[0]] == SCHEDULED:
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
"""Gives, for a task run, how many times its capacity an agent may be sent of such tasks; 1 or more. Few values."""


def place(queue: ReadyQueue, seating: Seating, window: Window, most: int) -> Iterator[Placement]:
    """Yield up to `most` placements; the caller makes each true before asking for the next.

    Least loaded agents first, of equally loaded ones that with the fewest attempts. A class nothing has room for is
    passed over: smaller tasks behind it may go. Classes of one priority take turns at going first, call by call.
    """
    seating.look()
    for needs in queue.classes():
        if most <= 0:
            return
        for placement in _place_class(queue, needs, seating, window, most):
            most -= 1
            yield placement


def _place_class(
    queue: ReadyQueue, needs: SchedulingClass, seating: Seating, window: Window, most: int
) -> Iterator[Placement]:
    while most > 0 and (first := queue.first(needs)) is not None:
        run, index = first
        seat = seating.best(needs, window(run, index))
        if seat is None:
            return
        queue.pop(needs)
        most -= 1
        yield Placement(run, index, seat)
