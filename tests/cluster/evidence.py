"""What there is to compare after a fault: the ledger, the rows in Postgres, and what clients were told.

The rows are read by plain SQL and judged by the oracle alone, so that no fault of the product can hide itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from podium.v1 import workflow_pb2

TaskKey = tuple[str, str, int]
"""A task run: run id, task key, map index."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as the ledger has it. Times in nanoseconds of the monotonic clock; `ended` None: it never did."""

    run: str
    task: str
    map_index: int
    attempt: int
    started: int
    ended: int | None = None
    output: str = ""

    @property
    def key(self) -> TaskKey:
        """The task run."""
        return self.run, self.task, self.map_index


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One row of `attempt`; `output` is JSON text or None."""

    run: str
    task: str
    map_index: int
    number: int
    token: str
    state: str
    closes: bool
    output: bytes | None = None

    @property
    def key(self) -> TaskKey:
        """The task run."""
        return self.run, self.task, self.map_index


@dataclass(frozen=True, slots=True)
class RunRow:
    """One row of `run`, with the edges of its workflow and its task runs that ended without an attempt."""

    run: str
    state: str
    upstreams: Mapping[str, tuple[str, ...]]
    ended_without_attempt: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Acknowledged:
    """What clients were told, and must hold for ever."""

    runs: set[str] = field(default_factory=set)
    ended_runs: dict[str, str] = field(default_factory=dict)
    """The end states of runs."""
    ended_tasks: dict[TaskKey, tuple[str, int]] = field(default_factory=dict)
    """The end states of task runs, and which attempt was theirs."""
    outputs: dict[TaskKey, Any] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)
    """When a run was told to have ended by cancellation, in nanoseconds of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All there is. `expected` has the right outputs by task run, those that are known beforehand."""

    ledger: tuple[Execution, ...]
    runs: Mapping[str, RunRow]
    attempts: tuple[AttemptRow, ...]
    acknowledged: Acknowledged
    expected: Mapping[TaskKey, Any] = field(default_factory=dict)
    pending_commands: int = 0


def read_ledger(path: Path) -> tuple[Execution, ...]:
    """Return all executions in the order of their starts."""
    starts: dict[str, dict[str, Any]] = {}
    ends: dict[str, dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        (starts if entry["kind"] == "start" else ends)[entry["execution"]] = entry
    assert ends.keys() <= starts.keys(), "an execution ended in the ledger that never started"
    return tuple(_execution(entry, ends.get(name, {})) for name, entry in starts.items())


def _execution(start: Mapping[str, Any], end: Mapping[str, Any]) -> Execution:
    return Execution(
        start["run"],
        start["task"],
        start["map_index"],
        start["attempt"],
        start["time"],
        end.get("time"),
        end.get("output", ""),
    )


def read_rows(conninfo: str, run_ids: Iterable[str]) -> tuple[dict[str, RunRow], tuple[AttemptRow, ...], int]:
    """Return the rows of some runs, their attempts, and how many commands wait."""
    wanted = list(run_ids)
    with psycopg.connect(conninfo, autocommit=True) as link:
        keys = _task_keys(link, wanted)
        runs = {run: _run_row(link, run, keys[run]) for run in keys}
        attempts = [
            AttemptRow(run, list(keys[run])[task], map_index, number, token, state, closes, output)
            for run, task, map_index, number, token, state, closes, output in link.execute(
                "SELECT run_id::text, task, map_index, number, token::text, state, closes, output FROM podium.attempt"
                " WHERE run_id::text = ANY(%s) ORDER BY run_id, task, map_index, number",
                [wanted],
            )
        ]
        [waiting] = link.execute("SELECT count(*) FROM podium.command WHERE applied_at IS NULL").fetchone() or (0,)
    return runs, tuple(attempts), waiting


def _task_keys(link: psycopg.Connection, run_ids: list[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the tasks of each run in their order, each with its upstreams."""
    rows = link.execute(
        "SELECT run_id::text, spec FROM podium.run JOIN podium.workflow_version USING (workflow, version)"
        " WHERE run_id::text = ANY(%s)",
        [run_ids],
    )
    specs = {run: workflow_pb2.WorkflowSpec.FromString(spec) for run, spec in rows}
    return {run: {task.key: tuple(task.upstream) for task in spec.tasks} for run, spec in specs.items()}


def _run_row(link: psycopg.Connection, run: str, upstreams: Mapping[str, tuple[str, ...]]) -> RunRow:
    row = link.execute("SELECT state FROM podium.run WHERE run_id = %s", [run]).fetchone()
    assert row is not None
    keys = list(upstreams)
    ended = link.execute("SELECT task, state FROM podium.task_run WHERE run_id = %s", [run]).fetchall()
    return RunRow(run, row[0], upstreams, {keys[task]: state for task, state in ended})
