"""A model of the tables: applies the rows of a batch as the database does, and refuses what does not fit a live row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from podium.model.spec import WorkflowSpec
from podium_coordinator.domain.graph import Graph, compile_graph
from podium_coordinator.domain.records import (
    AttemptBorn,
    AttemptEnded,
    AttemptRecord,
    AttemptRuns,
    RunCancelling,
    RunEnded,
    RunRecord,
    RunStarted,
    TaskRunEnded,
)
from podium_coordinator.domain.reload import StoredRun
from podium_coordinator.domain.run import Effects
from podium_coordinator.domain.states import AttemptState, RunState

LIVE_RUN = (RunState.QUEUED, RunState.RUNNING, RunState.CANCELLING)
LIVE_ATTEMPT = (AttemptState.ASSIGNED, AttemptState.RUNNING)


class RowMismatchError(AssertionError):
    """A row of a batch does not fit what is stored."""


def expect(fits: bool, what: object) -> None:
    if not fits:
        raise RowMismatchError(f"does not fit what is stored: {what}")


@dataclass
class StoredWorkflow:
    """What a run is a run of."""

    spec: WorkflowSpec
    graph: Graph


class Database:
    """The rows. `attempts` are by run, task and number, `ended` by run and task."""

    def __init__(self) -> None:
        self.epoch = 0
        self.workflows: dict[UUID, StoredWorkflow] = {}
        self.runs: dict[UUID, RunRecord] = {}
        self.attempts: dict[tuple[UUID, int, int], AttemptRecord] = {}
        self.ended: dict[tuple[UUID, int], TaskRunEnded] = {}
        self.tokens: set[bytes] = set()

    def take_over(self) -> int:
        self.epoch += 1
        return self.epoch

    def insert_run(self, run_id: UUID, spec: WorkflowSpec, now: datetime) -> None:
        expect(run_id not in self.runs, run_id)
        self.workflows[run_id] = StoredWorkflow(spec, compile_graph(spec))
        self.runs[run_id] = RunRecord(
            run_id, 0, spec.name, 1, len(spec.tasks), b"{}", RunState.QUEUED, None, bytes(16), now
        )

    def unfinished(self) -> list[RunRecord]:
        return [run for run in self.runs.values() if run.state in LIVE_RUN]

    def attempts_of(self, run_id: UUID, task: int | None = None) -> list[AttemptRecord]:
        rows = [row for (run, of, _), row in self.attempts.items() if run == run_id and task in (None, of)]
        return sorted(rows, key=lambda row: (row.task, row.number))

    def stored(self, run_id: UUID) -> StoredRun:
        ended = [row for (run, _), row in self.ended.items() if run == run_id]
        return StoredRun(self.runs[run_id], self.attempts_of(run_id), ended)

    def apply(self, epoch: int, batch: Effects) -> None:
        """Commit the rows of a batch, all of them; raises RowMismatchError if one does not fit."""
        expect(epoch == self.epoch, f"epoch {epoch} is not {self.epoch}")
        for started in batch.runs_started:
            self._start_run(started)
        for born in batch.attempts_born:
            self._insert_attempt(born)
        for running in batch.attempts_running:
            self._run_attempt(running)
        for ended in batch.attempts_ended:
            self._end_attempt(ended)
        for task_run in batch.task_runs_ended:
            self._end_task_run(task_run)
        for cancelling in batch.runs_cancelling:
            self._cancel_run(cancelling)
        for run_ended in batch.runs_ended:
            self._end_run(run_ended)
        self._check_one_live(batch)

    def _start_run(self, row: RunStarted) -> None:
        run = self.runs[row.run_id]
        expect(run.state is RunState.QUEUED, row)
        self.runs[row.run_id] = replace(run, state=RunState.RUNNING, started_at=row.at)

    def _cancel_run(self, row: RunCancelling) -> None:
        run = self.runs[row.run_id]
        expect(run.state is RunState.RUNNING, row)
        expect(row.outcome in (RunState.CANCELLED, RunState.FAILED), row)
        self.runs[row.run_id] = replace(run, state=RunState.CANCELLING, reason=row.reason, outcome=row.outcome)

    def _end_run(self, row: RunEnded) -> None:
        run = self.runs[row.run_id]
        expect(run.state in LIVE_RUN and row.state not in LIVE_RUN, row)
        self.runs[row.run_id] = replace(
            run, state=row.state, reason=row.reason, finished_at=row.at, counts=dict(row.counts)
        )

    def _insert_attempt(self, row: AttemptBorn) -> None:
        key = (row.run_id, row.task, row.number)
        expect(self.runs[row.run_id].state is RunState.RUNNING, row)
        expect(key not in self.attempts and row.token not in self.tokens, row)
        expect(row.number == 1 or (row.run_id, row.task, row.number - 1) in self.attempts, row)
        self.tokens.add(row.token)
        self.attempts[key] = AttemptRecord(
            row.task, row.map_index, row.number, row.token, row.agent_id, "", AttemptState.ASSIGNED, row.at
        )

    def _run_attempt(self, row: AttemptRuns) -> None:
        key = (row.run_id, row.task, row.number)
        stored = self.attempts[key]
        expect(stored.state is AttemptState.ASSIGNED and stored.token == row.token, row)
        self.attempts[key] = replace(stored, state=AttemptState.RUNNING, started_at=row.at)

    def _end_attempt(self, row: AttemptEnded) -> None:
        key = (row.run_id, row.task, row.number)
        stored = self.attempts[key]
        expect(stored.state in LIVE_ATTEMPT and stored.token == row.token and row.state not in LIVE_ATTEMPT, row)
        self.attempts[key] = replace(
            stored,
            state=row.state,
            started_at=row.started_at,
            finished_at=row.at,
            failure=row.failure,
            closes=row.closes,
            retry_at=row.retry_at,
        )

    def _end_task_run(self, row: TaskRunEnded) -> None:
        expect((row.run_id, row.task) not in self.ended, row)
        self.ended[row.run_id, row.task] = row

    def _check_one_live(self, batch: Effects) -> None:
        """At most one attempt of a task run is live; none once another closed it or the task run ended otherwise."""
        touched = {(row.run_id, row.task) for row in batch.attempts_born}
        touched |= {(row.run_id, row.task) for row in batch.attempts_ended}
        touched |= {(row.run_id, row.task) for row in batch.task_runs_ended}
        for run_id, task in touched:
            rows = self.attempts_of(run_id, task)
            live = sum(row.state in LIVE_ATTEMPT for row in rows)
            closing = sum(row.closes for row in rows) + ((run_id, task) in self.ended)
            expect(live + closing <= 1, f"task {task} has {live} live attempts and {closing} ends")
            expect(all(not row.closes for row in rows[:-1]), f"task {task} went on after it was closed")
