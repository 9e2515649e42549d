"""A model of the tables: applies the rows of a batch as the statements of the journal do, with their guards.

A batch that does not fit what is stored raises RowMismatchError. In the product nothing of it would then be written; in
a simulation it is the end of the world, so that half of it may be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from podium.model.spec import TaskSpec, WorkflowSpec
from podium.wire import workflow_to_proto
from podium_coordinator.domain.records import (
    AgentRecord,
    AttemptBorn,
    AttemptEnded,
    AttemptRecord,
    AttemptRuns,
    RunCancelling,
    RunEnded,
    RunRecord,
    RunStarted,
    TaskRunEnded,
    WorkflowRecord,
)
from podium_coordinator.domain.states import AttemptState, RunState
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.commands import Command

LIVE_RUN = (RunState.QUEUED, RunState.RUNNING, RunState.CANCELLING)
LIVE_ATTEMPT = (AttemptState.ASSIGNED, AttemptState.RUNNING)


class RowMismatchError(AssertionError):
    """A row of a batch does not fit what is stored."""


def expect(fits: bool, what: object) -> None:
    if not fits:
        raise RowMismatchError(f"does not fit what is stored: {what}")


@dataclass
class StoredWorkflow:
    """A workflow version; `parents` has, for each task, the positions of those it waits for."""

    spec: WorkflowSpec
    record: WorkflowRecord
    parents: list[list[int]]


@dataclass
class RunRows:
    """A run's rows: attempts by task and in order of their numbers, ends without an attempt by task."""

    run: RunRecord
    workflow: StoredWorkflow
    attempts: list[list[AttemptRecord]]
    ended: dict[int, TaskRunEnded] = field(default_factory=dict)
    outputs: dict[int, bytes] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        return self.workflow.spec.tasks

    def attempt(self, task: int, number: int) -> AttemptRecord:
        expect(0 <= task < len(self.attempts) and 0 < number <= len(self.attempts[task]), (task, number))
        return self.attempts[task][number - 1]


class Tables:
    """All rows. `places` finds attempts by token; rows stay for good."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.workflows: dict[str, StoredWorkflow] = {}
        self.runs: dict[UUID, RunRows] = {}
        self.requests: dict[str, UUID] = {}
        self.places: dict[bytes, tuple[UUID, int, int]] = {}
        self.agents: dict[UUID, AgentRecord] = {}
        self.commands: dict[UUID, Command] = {}
        self.applied: set[UUID] = set()

    def register(self, spec: WorkflowSpec, now: datetime) -> StoredWorkflow:
        definition = workflow_to_proto(spec).SerializeToString()
        position = {task.key: index for index, task in enumerate(spec.tasks)}
        parents = [[position[key] for key in task.upstream] for task in spec.tasks]
        record = WorkflowRecord(spec.name, 1, b"", None, len(spec.tasks), now, definition)
        stored = self.workflows[spec.name] = StoredWorkflow(spec, record, parents)
        return stored

    def insert_run(self, record: RunRecord) -> tuple[RunRecord, bool]:
        """Return the run and True, or the one that the same request made before and False."""
        assert record.request_id is not None
        earlier = self.requests.get(record.request_id)
        if earlier is not None:
            return self.runs[earlier].run, False
        workflow = self.workflows[record.workflow]
        self.requests[record.request_id] = record.run_id
        self.runs[record.run_id] = RunRows(record, workflow, [[] for _ in workflow.spec.tasks])
        return record, True

    def unfinished(self) -> list[RunRecord]:
        return sorted((rows.run for rows in self.runs.values() if rows.run.state in LIVE_RUN), key=lambda r: r.run_id)

    def pending_commands(self) -> list[Command]:
        return [command for command in self.commands.values() if command.command_id not in self.applied]

    def find(self, token: bytes) -> AttemptRecord | None:
        """Return the attempt with a token, if there is one."""
        place = self.places.get(token)
        return None if place is None else self.runs[place[0]].attempts[place[1]][place[2] - 1]

    def apply(self, batch: Batch) -> None:
        """Commit the rows of a batch, in the order in which the journal does it."""
        for started in batch.runs_started:
            self._start_run(started)
        for cancelling in batch.runs_cancelling:
            self._cancel_run(cancelling)
        for born in batch.attempts_born:
            self._bear_attempt(born)
        ended_tokens = {row.token for row in batch.attempts_ended}
        for running in batch.attempts_running:
            if running.token not in ended_tokens:
                self._run_attempt(running)
        for ended in batch.attempts_ended:
            self._end_attempt(ended)
        for task_run in batch.task_runs_ended:
            self._end_task_run(task_run)
        self._apply_rest(batch)

    def _apply_rest(self, batch: Batch) -> None:
        for run_ended in batch.runs_ended:
            self._end_run(run_ended)
        for changed in batch.agents_changed:
            self.agents[changed.agent.agent_id] = changed.agent
        for command in dict.fromkeys(batch.commands_applied):
            expect(command in self.commands and command not in self.applied, f"command {command}")
            self.applied.add(command)

    def _start_run(self, row: RunStarted) -> None:
        rows = self.runs[row.run_id]
        expect(rows.run.state is RunState.QUEUED, row)
        rows.run = replace(rows.run, state=RunState.RUNNING, started_at=row.at)

    def _cancel_run(self, row: RunCancelling) -> None:
        rows = self.runs[row.run_id]
        expect(rows.run.state in LIVE_RUN, row)
        rows.run = replace(rows.run, state=RunState.CANCELLING, reason=row.reason, outcome=row.outcome)

    def _end_run(self, row: RunEnded) -> None:
        rows = self.runs[row.run_id]
        expect(rows.run.state in LIVE_RUN, row)
        rows.run = replace(rows.run, state=row.state, reason=row.reason, finished_at=row.at, counts=dict(row.counts))

    def _bear_attempt(self, row: AttemptBorn) -> None:
        attempts = self.runs[row.run_id].attempts[row.task]
        expect(row.number not in {attempt.number for attempt in attempts} and row.token not in self.places, row)
        self.places[row.token] = (row.run_id, row.task, len(attempts) + 1)
        attempts.append(
            AttemptRecord(
                row.task, row.map_index, row.number, row.token, row.agent_id, "", AttemptState.ASSIGNED, row.at
            )
        )

    def _run_attempt(self, row: AttemptRuns) -> None:
        rows = self.runs[row.run_id]
        stored = rows.attempt(row.task, row.number)
        expect(stored.state is AttemptState.ASSIGNED and stored.token == row.token, row)
        rows.attempts[row.task][row.number - 1] = replace(stored, state=AttemptState.RUNNING, started_at=row.at)

    def _end_attempt(self, row: AttemptEnded) -> None:
        rows = self.runs[row.run_id]
        stored = rows.attempt(row.task, row.number)
        expect(stored.state in LIVE_ATTEMPT and stored.token == row.token, row)
        rows.attempts[row.task][row.number - 1] = replace(
            stored,
            state=row.state,
            started_at=row.started_at or stored.started_at,
            finished_at=row.at,
            failure=row.failure,
            closes=row.closes,
            retry_at=row.retry_at,
        )
        if row.closes and row.output is not None:
            rows.outputs[row.task] = row.output

    def _end_task_run(self, row: TaskRunEnded) -> None:
        rows = self.runs[row.run_id]
        expect(row.task not in rows.ended, row)
        rows.ended[row.task] = row
