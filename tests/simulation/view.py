"""What the rows say of task runs: the oracle's own reading of them.

The product's way of reading rows back (`reload`) is one of the things under test, so nothing of it is used here.
"""

from __future__ import annotations

from collections.abc import Iterable

from podium_coordinator.domain.records import AttemptRecord
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
from tests.simulation.tables import LIVE_ATTEMPT, RunRows
from tests.unit.domain.semantics import INFRASTRUCTURE_KINDS, upstreams, verdict

T = TaskRunState
CLOSED_BY = {
    AttemptState.SUCCEEDED: T.SUCCEEDED,
    AttemptState.SKIPPED: T.SKIPPED,
    AttemptState.CANCELLED: T.CANCELLED,
    AttemptState.FAILED: T.FAILED,
    AttemptState.TIMED_OUT: T.FAILED,
    AttemptState.LOST: T.FAILED,
}
OVER = (RunState.CANCELLING, RunState.CANCELLED, RunState.FAILED, RunState.SUCCEEDED)


def own_failures(ends: Iterable[AttemptRecord]) -> int:
    return sum(row.failure is not None and row.failure.kind not in INFRASTRUCTURE_KINDS for row in ends)


def losses(ends: Iterable[AttemptRecord]) -> int:
    return sum(row.failure is not None and row.failure.kind in INFRASTRUCTURE_KINDS for row in ends)


def downs(ends: Iterable[AttemptRecord]) -> int:
    """Count the losses of an agent while it was executing the task run."""
    lost = (row for row in ends if row.failure is not None and row.failure.kind is FailureKind.AGENT_LOST)
    return sum(row.started_at is not None for row in lost)


def stored_states(rows: RunRows) -> list[TaskRunState]:
    """Return where every task run stands by the rows; what has none follows from its upstreams."""
    over = rows.run.state in OVER
    found = [by_rows(rows, index) for index in range(len(rows.tasks))]
    if over or rows.run.state is RunState.QUEUED:
        return [(T.CANCELLED if over else T.PENDING) if state in (None, T.RETRYING) else state for state in found]
    known = [T.PENDING if state is None else state for state in found]
    return [
        state or verdict(task.trigger_rule, upstreams(known[parent] for parent in waits_for))
        for state, task, waits_for in zip(found, rows.tasks, rows.workflow.parents, strict=True)
    ]


def by_rows(rows: RunRows, index: int) -> TaskRunState | None:
    """Return the state a task run's rows give it; None when it has none or its last attempt was taken back."""
    if index in rows.ended:
        return rows.ended[index].state
    attempts = rows.attempts[index]
    if not attempts:
        return None
    newest = attempts[-1]
    if newest.state in LIVE_ATTEMPT:
        return T.RUNNING if newest.state is AttemptState.RUNNING else T.ASSIGNED
    if newest.closes:
        return CLOSED_BY[newest.state]
    return T.RETRYING if newest.retry_at else None
