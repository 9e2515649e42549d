"""A run read back from its rows. The rows are the truth; what they leave unsaid follows from them.

A task run without a row is pending or ready, and which of the two its upstreams tell. In a run that is being cancelled
it is cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from podium.model.rules import judge
from podium_coordinator.domain.graph import Graph
from podium_coordinator.domain.lifecycle import BAD, apply_verdict, column, finish_run_if_done, ready, spread
from podium_coordinator.domain.records import AttemptRecord, RunRecord, TaskRunEnded
from podium_coordinator.domain.retry import Tries, charge
from podium_coordinator.domain.run import (
    CODES,
    TERMINAL_CODES,
    Effects,
    LiveAttempt,
    RetryTimer,
    Run,
    new_run,
)
from podium_coordinator.domain.states import ATTEMPT_LIVE, RUN_TERMINAL, AttemptState, RunState, TaskRunState

CLOSED = {
    AttemptState.SUCCEEDED: TaskRunState.SUCCEEDED,
    AttemptState.SKIPPED: TaskRunState.SKIPPED,
    AttemptState.CANCELLED: TaskRunState.CANCELLED,
    AttemptState.UNKNOWN: TaskRunState.UNKNOWN,
}
"""The end of a task run by the end of the attempt that closed it; all others failed it."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run's rows; `attempts` by task, map index and number."""

    record: RunRecord
    attempts: Sequence[AttemptRecord]
    ended: Sequence[TaskRunEnded]


def reload(stored: StoredRun, graph: Graph, now: datetime, effects: Effects) -> Run:
    """Rebuild a run; `effects` gets what is ready and which timers to set, and ends of runs that are done.

    Raises:
        ValueError: The run has ended.
    """
    record = stored.record
    if record.state in RUN_TERMINAL:
        raise ValueError(f"Run {record.run_id} has ended; there is nothing to resume.")
    run = new_run(record.run_id, graph)
    run.state, run.outcome, run.reason = record.state, record.outcome, record.reason
    for attempt in stored.attempts:
        _take_attempt(run, attempt)
    for ended in stored.ended:
        _place(run, ended.task, ended.state)
    if run.state is RunState.QUEUED:
        return run
    _recount(run)
    if run.state is RunState.CANCELLING:
        _cancel_rest(run)
    else:
        _resume(run, stored.attempts, now, effects)
    finish_run_if_done(run, now, effects)
    return run


def _take_attempt(run: Run, attempt: AttemptRecord) -> None:
    """Attempts come in order, so the newest of a task run has the last word."""
    index = attempt.task
    run.numbers[index] = attempt.number
    if attempt.state in ATTEMPT_LIVE:
        run.attempts[index] = LiveAttempt(
            attempt.number, attempt.token, attempt.agent_id, attempt.assigned_at, attempt.state, attempt.started_at
        )
        live = TaskRunState.RUNNING if attempt.state is AttemptState.RUNNING else TaskRunState.ASSIGNED
        _place(run, index, live)
        return
    if attempt.failure is not None:
        tries = run.tries.setdefault(index, Tries())
        charge(tries, attempt.failure.kind, executing=attempt.started_at is not None)
    if attempt.closes:
        _place(run, index, CLOSED.get(attempt.state, TaskRunState.FAILED))
    elif attempt.retry_at is not None:
        _place(run, index, TaskRunState.RETRYING)
    else:
        _place(run, index, TaskRunState.PENDING)


def _place(run: Run, index: int, state: TaskRunState) -> None:
    run.counts[run.states[index]] -= 1
    run.states[index] = CODES[state]
    run.counts[CODES[state]] += 1


def _recount(run: Run) -> None:
    """Tell every task run how its upstreams ended."""
    run.unended = 0
    for index, code in enumerate(run.states):
        if code not in TERMINAL_CODES:
            run.unended += 1
            continue
        state = run.state_of(index)
        if state is TaskRunState.CANCELLED:
            continue
        run.doomed = run.doomed or (state in BAD and bool(run.graph.decisive[run.task_of(index)]))
        tally = column(run, state)
        for child in run.graph.children_of(run.task_of(index)):
            tally[child] += 1


def _cancel_rest(run: Run) -> None:
    for index, code in enumerate(run.states):
        if code not in TERMINAL_CODES and index not in run.attempts:
            _place(run, index, TaskRunState.CANCELLED)
            run.unended -= 1


def _resume(run: Run, attempts: Iterable[AttemptRecord], now: datetime, effects: Effects) -> None:
    due = {a.task: a for a in attempts if run.state_of(a.task) is TaskRunState.RETRYING}
    for attempt in due.values():
        delay = max(0.0, (attempt.retry_at - now).total_seconds()) if attempt.retry_at else 0.0
        effects.retry_timers.append(RetryTimer(run.run_id, attempt.task, attempt.number, delay))
    for index in range(len(run.states)):
        if run.state_of(index) is not TaskRunState.PENDING:
            continue
        if run.numbers[index]:
            ready(run, index, effects)  # taken back: it was ready once
        elif apply_verdict(run, index, judge(run.graph.rule(index), run.tally(index)), now, effects):
            spread(run, index, now, effects)
