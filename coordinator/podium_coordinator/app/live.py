"""A run as the shard's owner holds it: the domain's state, and the bytes that flow between its tasks."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from podium.v1 import session_pb2
from podium_coordinator.app.catalog import Compiled
from podium_coordinator.domain.records import AttemptEnded, RunRecord, TaskRunEnded, TaskRunRecord
from podium_coordinator.domain.run import TERMINAL_CODES, Run
from podium_coordinator.domain.states import TASK_RUN_TERMINAL, RunState, TaskRunState


@dataclass(slots=True)
class LiveRun:
    """A run under way. `outputs` holds what pending tasks may still ask for, `wanted` how many of them there are."""

    record: RunRecord
    run: Run
    compiled: Compiled
    outputs: dict[int, bytes] = field(default_factory=dict)
    wanted: array[int] = field(default_factory=lambda: array("i"))
    counts: dict[TaskRunState, int] = field(default_factory=dict)
    ready_at: dict[int, tuple[datetime, datetime]] = field(default_factory=dict)
    """For traced runs: when a task run became ready first, and last."""
    sampled: bool = False
    """Whether the run is traced."""
    untold: int = 0
    """Task runs of a traced run that were left out of its trace."""
    orders: dict[tuple[int, bool], session_pb2.Order] = field(default_factory=dict)
    """What orders of this run have in common: by their number among the version's, and whether they are traced."""

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self.record.run_id

    def keep_output(self, ended: AttemptEnded) -> None:
        """Hold a result for those behind it."""
        if ended.output is not None and self.wanted[ended.task] > 0:
            self.outputs[ended.task] = ended.output

    def let_go(self, index: int) -> None:
        """Drop the inputs of a task run that has ended and that nobody else waits for."""
        for parent in self.compiled.graph.inputs.get(index, ()):
            self.wanted[parent] -= 1
            if self.wanted[parent] == 0:
                self.outputs.pop(parent, None)


def admit(record: RunRecord, run: Run, compiled: Compiled) -> LiveRun:
    """Hold a run; tasks that ended already want nothing."""
    live = LiveRun(record, run, compiled, wanted=compiled.graph.consumers[:], counts=run.tallied())
    for index in compiled.graph.inputs if run.state is not RunState.QUEUED else ():
        if run.states[index] in TERMINAL_CODES:
            live.let_go(index)
    return live


def task_run_record(live: LiveRun, index: int, agent: str, ended: AttemptEnded | TaskRunEnded | None) -> TaskRunRecord:
    """Return a task run as it stands, `ended` being the row of this batch that tells of its end, if there is one."""
    run = live.run
    attempt = run.attempts.get(index)
    state = run.state_of(index)
    of_attempt = ended if isinstance(ended, AttemptEnded) else None
    return TaskRunRecord(
        task=run.task_of(index),
        map_index=run.map_index_of(index),
        state=state,
        attempt=run.numbers[index],
        failure=ended.failure if ended else None,
        agent=agent,
        assigned_at=attempt.assigned_at if attempt else None,
        started_at=attempt.started_at if attempt else of_attempt.started_at if of_attempt else None,
        finished_at=ended.at if ended and state in TASK_RUN_TERMINAL else None,
        retry_at=of_attempt.retry_at if of_attempt and state is TaskRunState.RETRYING else None,
    )
