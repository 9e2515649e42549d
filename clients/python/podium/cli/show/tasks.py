"""Task runs, attempts and failures as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from podium.cli.show.quantity import between, moment, size
from podium.cli.show.states import failure, state
from podium.cli.show.table import Row, Table, number
from podium.model.states import Failure, TaskRunState

if TYPE_CHECKING:
    from podium.resources import Attempt, TaskRun


def table(task_runs: Sequence[TaskRun], now: datetime) -> Table:
    """Return one row per task run: its newest attempt, how long that took, and why it failed."""
    return Table(("TASK", "STATE", "ATTEMPTS", "AGENT", "TOOK", "FAILURE"), [_row(run, now) for run in task_runs])


def _row(run: TaskRun, now: datetime) -> Row:
    return [
        run.label,
        state(run.state),
        number(run.attempt),
        run.agent,
        number(_took(run, now)),
        _failure(run),
    ]


def _took(run: TaskRun, now: datetime) -> str:
    """Return how long the newest attempt took; the end of one that is to be tried again is not told here."""
    return "" if run.state is TaskRunState.RETRYING else between(run.start_time, run.end_time, now)


def _failure(run: TaskRun) -> str:
    again = f"next try {moment(run.retry_time)}" if run.retry_time else ""
    return "; ".join(part for part in (failure(run.failure), again) if part)


def attempts(found: Sequence[Attempt], now: datetime) -> Table:
    """Return one row per attempt: where it ran, how long it waited at the agent and took, and why it failed."""
    titles = ("TASK", "ATTEMPT", "STATE", "AGENT", "ASSIGNED", "WAITED", "TOOK", "LOG", "FAILURE")
    return Table(titles, [_attempt(attempt, now) for attempt in found])


def _attempt(attempt: Attempt, now: datetime) -> Row:
    return [
        label(attempt),
        number(attempt.number),
        state(attempt.state),
        attempt.agent,
        moment(attempt.assign_time),
        number(between(attempt.assign_time, attempt.start_time or attempt.end_time, now)),
        number(between(attempt.start_time, attempt.end_time, now)),
        number(size(attempt.log_bytes)),
        failure(attempt.failure),
    ]


def label(attempt: Attempt) -> str:
    """Return the name of the attempt's task run: "load", or "load[3]" for an element of a mapped task."""
    return attempt.task if attempt.map_index < 0 else f"{attempt.task}[{attempt.map_index}]"


def failed(run: TaskRun) -> str:
    """Return a failed task run with its remote traceback, which is indented."""
    head = f"{click.style(run.label, bold=True)} {run.state} on {run.agent or 'no agent'}, attempt {run.attempt}"
    return "\n".join([head, *_why(run.failure)])


def _why(cause: Failure | None) -> list[str]:
    if cause is None:
        return []
    traceback = cause.traceback.rstrip().splitlines()
    told = bool(traceback and cause.message) and cause.message in traceback[-1]
    return [f"  {line}" for line in (*traceback, *([] if told else [failure(cause)]))]
