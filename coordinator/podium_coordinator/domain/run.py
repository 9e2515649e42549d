"""A run in memory: flat arrays, one entry per task run. `lifecycle` moves it; nothing else may.

A task run is named by its index. For tasks that are not mapped it is the task's position in the definition; the
elements of mapped tasks will follow behind them, which is why code asks `task_of` and `map_index_of`.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, fields
from datetime import datetime
from uuid import UUID

from podium.model.rules import Tally
from podium_coordinator.domain.graph import Graph
from podium_coordinator.domain.records import (
    AttemptBorn,
    AttemptEnded,
    AttemptRuns,
    RunCancelling,
    RunEnded,
    RunStarted,
    TaskRunEnded,
)
from podium_coordinator.domain.retry import Tries
from podium_coordinator.domain.states import TASK_RUN_TERMINAL, AttemptState, RunState, TaskRunState

STATES = tuple(TaskRunState)
CODES = {state: code for code, state in enumerate(STATES)}
TERMINAL_CODES = frozenset(CODES[state] for state in TASK_RUN_TERMINAL)
PENDING, SCHEDULED = CODES[TaskRunState.PENDING], CODES[TaskRunState.SCHEDULED]


@dataclass(slots=True)
class LiveAttempt:
    """An attempt that has not ended. At most one per task run."""

    number: int
    token: bytes
    agent_id: UUID
    assigned_at: datetime
    state: AttemptState = AttemptState.ASSIGNED
    started_at: datetime | None = None
    delivered: bool = field(default=False, compare=False)
    """Whether the agent is known to hold it, or to have held it."""
    recalled: bool = field(default=False, compare=False)
    """Whether the agent was asked to give it back."""
    traced: bool = field(default=False, compare=False)
    """Whether the agent was told to trace it."""


@dataclass(slots=True)
class Run:
    """One run of one workflow version."""

    run_id: UUID
    graph: Graph
    state: RunState
    states: bytearray
    numbers: array[int]
    succeeded: array[int]
    failed: array[int]
    upstream_failed: array[int]
    skipped: array[int]
    counts: list[int]
    attempts: dict[int, LiveAttempt] = field(default_factory=dict)
    tries: dict[int, Tries] = field(default_factory=dict)
    unended: int = 0
    doomed: bool = False
    outcome: RunState | None = None
    reason: str = ""

    def state_of(self, index: int) -> TaskRunState:
        """Return where a task run stands."""
        return STATES[self.states[index]]

    def task_of(self, index: int) -> int:
        """Return the position in the definition of a task run's task."""
        return index

    def map_index_of(self, _: int) -> int:
        """Return the map index of a task run; -1 when its task is not mapped."""
        return -1

    def index_of(self, task: int, map_index: int) -> int | None:
        """Return the task run of that name, if there is one."""
        return task if map_index == -1 and 0 <= task < len(self.states) else None

    def tally(self, index: int) -> Tally:
        """Return how the direct upstream task runs of a task run stand."""
        return Tally(
            self.graph.parents[self.task_of(index)],
            self.succeeded[index],
            self.failed[index],
            self.upstream_failed[index],
            self.skipped[index],
        )

    def tallied(self) -> dict[TaskRunState, int]:
        """Return how many task runs are in each state; states without any are left out."""
        return {STATES[code]: count for code, count in enumerate(self.counts) if count}


def new_run(run_id: UUID, graph: Graph) -> Run:
    """Return a queued run whose task runs are all pending."""
    size = graph.size
    counts = [0] * len(STATES)
    counts[CODES[TaskRunState.PENDING]] = size
    empty = bytes(4 * size)
    return Run(
        run_id=run_id,
        graph=graph,
        state=RunState.QUEUED,
        states=bytearray(bytes([CODES[TaskRunState.PENDING]]) * size),
        numbers=array("i", empty),
        succeeded=array("i", empty),
        failed=array("i", empty),
        upstream_failed=array("i", empty),
        skipped=array("i", empty),
        counts=counts,
        unended=size,
    )


@dataclass(frozen=True, slots=True)
class RetryTimer:
    """Ask again in `delay` seconds: the next try of a task run is due then, if attempt `number` is still its newest."""

    run_id: UUID
    index: int
    number: int
    delay: float


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Ask again in `delay` seconds whether a task run still waits for attempt `number + 1` to start."""

    run_id: UUID
    index: int
    number: int
    delay: float


@dataclass(frozen=True, slots=True)
class StopAttempt:
    """The agent is to end an attempt."""

    run_id: UUID
    index: int
    attempt: LiveAttempt


@dataclass(slots=True)
class Released:
    """An attempt no longer holds its agent."""

    run_id: UUID
    index: int
    attempt: LiveAttempt


@dataclass(slots=True)
class Effects:
    """What the steps of a batch decided: rows to commit first, then what to do."""

    runs_started: list[RunStarted] = field(default_factory=list)
    runs_cancelling: list[RunCancelling] = field(default_factory=list)
    runs_ended: list[RunEnded] = field(default_factory=list)
    attempts_born: list[AttemptBorn] = field(default_factory=list)
    attempts_running: list[AttemptRuns] = field(default_factory=list)
    attempts_ended: list[AttemptEnded] = field(default_factory=list)
    task_runs_ended: list[TaskRunEnded] = field(default_factory=list)
    ready: list[tuple[Run, int]] = field(default_factory=list)
    retry_timers: list[RetryTimer] = field(default_factory=list)
    start_timers: list[StartTimer] = field(default_factory=list)
    stops: list[StopAttempt] = field(default_factory=list)
    released: list[Released] = field(default_factory=list)
    changed: list[tuple[Run, int]] = field(default_factory=list)

    def merge(self, other: Effects) -> None:
        """Add what other steps decided."""
        for part in fields(self):
            getattr(self, part.name).extend(getattr(other, part.name))
