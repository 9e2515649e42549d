"""Runs as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from podium.cli.show import states
from podium.cli.show.quantity import between, moment
from podium.cli.show.table import Row, Table, card, number
from podium.model.states import TASK_RUN_TERMINAL, TaskRunState

if TYPE_CHECKING:
    from podium.resources import RunInfo


def table(runs: Sequence[RunInfo], now: datetime) -> Table:
    """Return one row per run; how long it took, or has taken up to `now`."""
    titles = ("RUN", "WORKFLOW", "VERSION", "STATE", "CREATED", "TOOK", "REASON")
    return Table(titles, [_row(run, now) for run in runs])


def _row(run: RunInfo, now: datetime) -> Row:
    return [
        run.run_id,
        run.workflow,
        number(run.version),
        states.state(run.state),
        moment(run.create_time),
        number(between(run.start_time, run.end_time, now)),
        run.reason,
    ]


def details(run: RunInfo, now: datetime) -> str:
    """Return all that is known of a run, one field a line."""
    return card(
        [
            ("run", run.run_id),
            ("workflow", f"{run.workflow} version {run.version}"),
            ("state", states.state(run.state)),
            ("reason", run.reason),
            ("tasks", str(run.task_count)),
            ("of these", states.counts(run.counts or {})),
            ("parameters", json.dumps(dict(run.params), ensure_ascii=False) if run.params else ""),
            ("created", moment(run.create_time)),
            ("started", moment(run.start_time)),
            ("ended", moment(run.end_time)),
            ("took", between(run.start_time, run.end_time, now)),
            ("request id", run.request_id),
            ("trace", run.trace_id),
        ]
    )


def progress(run: RunInfo, now: datetime) -> str:
    """Return how far a run has come, on one line: "flow: running, 3 of 12 tasks done, 2 running, 3.2s"."""
    far = f"{done(run)} of {run.task_count} tasks done"
    parts = (f"{run.workflow}: {run.state}", far, notable(run), between(run.start_time, run.end_time, now))
    return ", ".join(part for part in parts if part)


def notable(run: RunInfo) -> str:
    """Return how many task runs are in the states worth a word while the run goes on: "2 running, 1 failed"."""
    return states.counts({state: count for state, count in (run.counts or {}).items() if state in _NOTABLE})


def done(run: RunInfo) -> int:
    """Return how many task runs have ended."""
    return sum(count for state, count in (run.counts or {}).items() if state in TASK_RUN_TERMINAL)


_NOTABLE = frozenset(TaskRunState) - {
    TaskRunState.PENDING,
    TaskRunState.SCHEDULED,
    TaskRunState.ASSIGNED,
    TaskRunState.SUCCEEDED,
}
