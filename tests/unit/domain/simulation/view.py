"""What the rows say, committed ones and those of the batch under way together: the ledger's own reading of them.

The product's way of reading rows back (`reload`) is one of the things under test, so nothing of it is used here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from podium.model.spec import TaskSpec
from podium_coordinator.domain.records import AttemptBorn, AttemptEnded, AttemptRecord
from podium_coordinator.domain.run import Effects
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
from tests.unit.domain.semantics import INFRASTRUCTURE_KINDS, upstreams, verdict
from tests.unit.domain.simulation.database import LIVE_ATTEMPT, Database

T = TaskRunState
CLOSED_BY = {
    AttemptState.SUCCEEDED: T.SUCCEEDED,
    AttemptState.SKIPPED: T.SKIPPED,
    AttemptState.CANCELLED: T.CANCELLED,
    AttemptState.FAILED: T.FAILED,
    AttemptState.TIMED_OUT: T.FAILED,
    AttemptState.LOST: T.FAILED,
}
End = AttemptEnded | AttemptRecord
OVER = (RunState.CANCELLING, RunState.CANCELLED, RunState.FAILED, RunState.SUCCEEDED)


@dataclass(frozen=True)
class Current:
    """The attempt of a task run that has not ended."""

    number: int
    token: bytes
    agent_id: UUID
    running: bool

    @property
    def named(self) -> tuple[int, bytes, UUID]:
        return self.number, self.token, self.agent_id


def parents(tasks: tuple[TaskSpec, ...]) -> list[list[int]]:
    """Return, for each task, the positions of those it waits for."""
    position = {task.key: index for index, task in enumerate(tasks)}
    return [[position[key] for key in task.upstream] for task in tasks]


class View:
    """The rows of the database with the pending rows of one batch on top."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.pending = Effects()

    def births(self, run_id: UUID, index: int) -> list[AttemptBorn | AttemptRecord]:
        """Return all attempts of a task run, oldest first."""
        pending = [row for row in self.pending.attempts_born if (row.run_id, row.task) == (run_id, index)]
        return [*self.database.attempts_of(run_id, index), *pending]

    def ends(self, run_id: UUID, index: int) -> list[End]:
        """Return all attempts of a task run that have ended, oldest first."""
        stored = [row for row in self.database.attempts_of(run_id, index) if row.state not in LIVE_ATTEMPT]
        pending = [row for row in self.pending.attempts_ended if (row.run_id, row.task) == (run_id, index)]
        return [*stored, *pending]

    def current(self, run_id: UUID, index: int) -> Current | None:
        births = self.births(run_id, index)
        if not births or births[-1].number in {row.number for row in self.ends(run_id, index)}:
            return None
        newest = births[-1]
        pending = any(row.token == newest.token for row in self.pending.attempts_running)
        stored = isinstance(newest, AttemptRecord) and newest.state is AttemptState.RUNNING
        return Current(newest.number, newest.token, newest.agent_id, pending or stored)


def own_failures(ends: Iterable[End]) -> int:
    return sum(row.failure is not None and row.failure.kind not in INFRASTRUCTURE_KINDS for row in ends)


def losses(ends: Iterable[End]) -> int:
    return sum(row.failure is not None and row.failure.kind in INFRASTRUCTURE_KINDS for row in ends)


def downs(ends: Iterable[End]) -> int:
    """Count the losses of an agent that was executing the task run."""
    lost = (row for row in ends if row.failure is not None and row.failure.kind is FailureKind.AGENT_LOST)
    return sum(row.started_at is not None for row in lost)


def stored_states(database: Database, run_id: UUID) -> list[TaskRunState]:
    """Return where every task run stands by the committed rows alone."""
    tasks = database.workflows[run_id].spec.tasks
    over = database.runs[run_id].state in OVER
    found = [_by_rows(database, run_id, index) for index in range(len(tasks))]
    if over or database.runs[run_id].state is RunState.QUEUED:
        return [(T.CANCELLED if over else T.PENDING) if state in (None, T.RETRYING) else state for state in found]
    known = [T.PENDING if state is None else state for state in found]
    return [
        state or verdict(task.trigger_rule, upstreams(known[parent] for parent in waits_for))
        for state, task, waits_for in zip(found, tasks, parents(tasks), strict=True)
    ]


def _by_rows(database: Database, run_id: UUID, index: int) -> TaskRunState | None:
    """Return the state a task run's rows give it; None when it has none or its last attempt was taken back."""
    if (run_id, index) in database.ended:
        return database.ended[run_id, index].state
    rows = database.attempts_of(run_id, index)
    if not rows:
        return None
    newest = rows[-1]
    if newest.state in LIVE_ATTEMPT:
        return T.RUNNING if newest.state is AttemptState.RUNNING else T.ASSIGNED
    if newest.closes:
        return CLOSED_BY[newest.state]
    return T.RETRYING if newest.retry_at else None
