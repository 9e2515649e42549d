"""Records as messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from podium.v1 import agent_pb2, run_pb2, workflow_pb2
from podium.wire import json_to_struct
from podium_coordinator.domain.states import AgentState, AttemptState, FailureKind, RunState, TaskRunState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from podium_coordinator.domain.fleet import Agent
    from podium_coordinator.domain.records import (
        AgentRecord,
        AttemptRecord,
        Failure,
        RunRecord,
        TaskRunRecord,
        WorkflowRecord,
    )

RUN_STATES: Final[Mapping[RunState, run_pb2.RunState.ValueType]] = {
    state: run_pb2.RunState.Value(f"RUN_STATE_{state.name}") for state in RunState
}
TASK_RUN_STATES: Final[Mapping[TaskRunState, run_pb2.TaskRunState.ValueType]] = {
    state: run_pb2.TaskRunState.Value(f"TASK_RUN_STATE_{state.name}") for state in TaskRunState
}
ATTEMPT_STATES: Final[Mapping[AttemptState, run_pb2.AttemptState.ValueType]] = {
    state: run_pb2.AttemptState.Value(f"ATTEMPT_STATE_{state.name}") for state in AttemptState
}
AGENT_STATES: Final[Mapping[AgentState, agent_pb2.AgentState.ValueType]] = {
    state: agent_pb2.AgentState.Value(f"AGENT_STATE_{state.name}") for state in AgentState
}
FAILURE_KINDS: Final[Mapping[FailureKind, run_pb2.FailureKind.ValueType]] = {
    kind: run_pb2.FailureKind.Value(f"FAILURE_KIND_{kind.name}") for kind in FailureKind
}


def workflow(record: WorkflowRecord) -> workflow_pb2.Workflow:
    """Return a version; with its definition, if the record has it. Slow for a large definition."""
    message = workflow_pb2.Workflow(
        name=record.workflow,
        version=record.version,
        digest=record.digest.hex(),
        bundle=record.bundle.hex() if record.bundle else "",
        create_time=time(record.created_at),
        task_count=record.task_count,
    )
    if record.spec is not None:
        message.spec.ParseFromString(record.spec)
    return message


def run(record: RunRecord, counts: Mapping[TaskRunState, int] | None = None) -> run_pb2.Run:
    """Return a run, with counts where they are given."""
    return run_pb2.Run(
        run_id=str(record.run_id),
        workflow=record.workflow,
        version=record.version,
        state=RUN_STATES[record.state],
        params=params(record.params),
        create_time=time(record.created_at),
        start_time=time(record.started_at),
        end_time=time(record.finished_at),
        reason=record.reason,
        trace_id=record.trace_id.hex(),
        task_count=record.task_count,
        counts=None if counts is None else run_counts(counts),
        request_id=record.request_id or "",
    )


def params(stored: bytes) -> Struct:
    """Return a run's parameters."""
    return json_to_struct(msgspec.json.decode(stored))


def run_counts(counts: Mapping[TaskRunState, int]) -> run_pb2.TaskRunCounts:
    """Return how many task runs are in each state."""
    return run_pb2.TaskRunCounts(**{state.value: count for state, count in counts.items()})


def task_run(record: TaskRunRecord, key: str) -> run_pb2.TaskRun:
    """Return a task run of the task `key`."""
    return run_pb2.TaskRun(
        task=key,
        map_index=record.map_index,
        state=TASK_RUN_STATES[record.state],
        attempt=record.attempt,
        failure=failure(record.failure),
        assign_time=time(record.assigned_at),
        start_time=time(record.started_at),
        end_time=time(record.finished_at),
        retry_time=time(record.retry_at),
        agent=record.agent,
    )


def attempt(record: AttemptRecord, key: str) -> run_pb2.Attempt:
    """Return an attempt of the task `key`."""
    return run_pb2.Attempt(
        task=key,
        map_index=record.map_index,
        number=record.number,
        state=ATTEMPT_STATES[record.state],
        agent=record.agent,
        assign_time=time(record.assigned_at),
        start_time=time(record.started_at),
        end_time=time(record.finished_at),
        failure=failure(record.failure),
        log_bytes=record.log_bytes,
    )


def failure(given: Failure | None) -> run_pb2.Failure | None:
    """Return why something failed; None where nothing did."""
    if given is None:
        return None
    return run_pb2.Failure(
        kind=FAILURE_KINDS[given.kind],
        message=given.message,
        traceback=given.traceback,
        exception_type=given.exception_type,
        exit_code=given.exit_code,
    )


def agent(record: AgentRecord, seen: Agent | None) -> agent_pb2.Agent:
    """Return an agent, with its usage where the shard's owner sees it."""
    message = agent_pb2.Agent(
        name=record.name,
        agent_id=str(record.agent_id),
        state=AGENT_STATES[record.state],
        host=agent_pb2.HostFacts.FromString(record.host),
        connect_time=time(record.connected_at),
        last_heard_time=time(record.changed_at),
        draining=record.draining,
    )
    if seen is not None:
        message.cpu_millis_used = seen.seat.cpu_used
        message.memory_bytes_used = seen.seat.memory_used
        message.live_attempts = len(seen.seat.live)
        if seen.last_heard_at is not None:
            message.last_heard_time.FromDatetime(seen.last_heard_at)
    return message


def time(given: datetime | None) -> Timestamp | None:
    """Return an instant; None where there is none."""
    if given is None:
        return None
    message = Timestamp()
    message.FromDatetime(given)
    return message
