"""What a coordinator tells about workflows, runs, tasks, attempts, agents and logs. Times are aware, in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from podium.logformat import LogStream
from podium.model.spec import JsonValue, WorkflowSpec
from podium.model.states import (
    RUN_TERMINAL,
    TASK_RUN_TERMINAL,
    AgentState,
    AttemptState,
    Failure,
    RunState,
    TaskRunState,
)
from podium.v1 import agent_pb2, log_pb2, run_pb2, workflow_pb2
from podium.wire import (
    agent_state_from_proto,
    attempt_state_from_proto,
    failure_from_proto,
    run_state_from_proto,
    struct_to_json,
    task_run_state_from_proto,
    time_from_proto,
    workflow_from_proto,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

NOT_MAPPED = -1
"""The map index of a task that is not mapped."""


@dataclass(frozen=True, slots=True)
class WorkflowVersion:
    """One version of a workflow. `created` says whether the call that gave it made it; `spec` is None in lists."""

    name: str
    version: int
    digest: str
    bundle: str
    create_time: datetime | None
    task_count: int
    spec: WorkflowSpec | None = None
    created: bool = False


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run as it stood when it was read. `counts` is None in lists."""

    run_id: str
    workflow: str
    version: int
    state: RunState
    params: Mapping[str, JsonValue]
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    reason: str
    trace_id: str
    task_count: int
    counts: Mapping[TaskRunState, int] | None
    request_id: str

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.state in RUN_TERMINAL


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One task within a run. `map_index` is -1 for a task that is not mapped."""

    task: str
    map_index: int
    state: TaskRunState
    attempt: int
    failure: Failure | None
    assign_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    retry_time: datetime | None
    agent: str

    @property
    def finished(self) -> bool:
        """Whether the task run has ended."""
        return self.state in TASK_RUN_TERMINAL

    @property
    def label(self) -> str:
        """The task's key, with the map index where there is one: "load" or "load[3]"."""
        return self.task if self.map_index == NOT_MAPPED else f"{self.task}[{self.map_index}]"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a task run on an agent. `log_bytes` counts what is kept of its log."""

    task: str
    map_index: int
    number: int
    state: AttemptState
    agent: str
    assign_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    failure: Failure | None
    log_bytes: int


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What holds now (`snapshot`: what came before is void), or which task runs changed since the update before."""

    run: RunInfo
    task_runs: tuple[TaskRun, ...]
    snapshot: bool


@dataclass(frozen=True, slots=True)
class Agent:
    """The process on a host that executes attempts, and what its live attempts hold."""

    name: str
    agent_id: str
    state: AgentState
    hostname: str
    platform: str
    python_version: str
    podium_version: str
    cpu_millis: int
    memory_bytes: int
    disk_free_bytes: int
    labels: Mapping[str, str]
    connect_time: datetime | None
    last_heard_time: datetime | None
    cpu_millis_used: int
    memory_bytes_used: int
    live_attempts: int
    draining: bool


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A piece of an attempt's log; `data` may begin or end within a line."""

    time: datetime
    stream: LogStream
    data: bytes


def workflow_version(message: workflow_pb2.Workflow, *, created: bool = False) -> WorkflowVersion:
    """Read a workflow's version."""
    return WorkflowVersion(
        message.name,
        message.version,
        message.digest,
        message.bundle,
        _time(message, "create_time"),
        message.task_count,
        workflow_from_proto(message.spec) if message.HasField("spec") else None,
        created,
    )


def run_fields(message: run_pb2.Run) -> dict[str, Any]:
    """Read a run as the arguments of `RunInfo` and its subclasses."""
    return {
        "run_id": message.run_id,
        "workflow": message.workflow,
        "version": message.version,
        "state": run_state_from_proto(message.state),
        "params": struct_to_json(message.params),
        "create_time": time_from_proto(message.create_time),
        "start_time": _time(message, "start_time"),
        "end_time": _time(message, "end_time"),
        "reason": message.reason,
        "trace_id": message.trace_id,
        "task_count": message.task_count,
        "counts": _counts(message.counts) if message.HasField("counts") else None,
        "request_id": message.request_id,
    }


def task_run(message: run_pb2.TaskRun) -> TaskRun:
    """Read a task run."""
    return TaskRun(
        message.task,
        message.map_index,
        task_run_state_from_proto(message.state),
        message.attempt,
        failure_from_proto(message.failure) if message.HasField("failure") else None,
        _time(message, "assign_time"),
        _time(message, "start_time"),
        _time(message, "end_time"),
        _time(message, "retry_time"),
        message.agent,
    )


def attempt(message: run_pb2.Attempt) -> Attempt:
    """Read an attempt."""
    return Attempt(
        message.task,
        message.map_index,
        message.number,
        attempt_state_from_proto(message.state),
        message.agent,
        _time(message, "assign_time"),
        _time(message, "start_time"),
        _time(message, "end_time"),
        failure_from_proto(message.failure) if message.HasField("failure") else None,
        message.log_bytes,
    )


def agent(message: agent_pb2.Agent) -> Agent:
    """Read an agent."""
    host = message.host
    return Agent(
        message.name,
        message.agent_id,
        agent_state_from_proto(message.state),
        host.hostname,
        host.platform,
        host.python_version,
        host.podium_version,
        host.cpu_millis,
        host.memory_bytes,
        host.disk_free_bytes,
        dict(sorted(host.labels.items())),
        _time(message, "connect_time"),
        _time(message, "last_heard_time"),
        message.cpu_millis_used,
        message.memory_bytes_used,
        message.live_attempts,
        message.draining,
    )


def log_entries(messages: Iterable[log_pb2.LogEntry]) -> list[LogEntry]:
    """Read pieces of a log."""
    return [LogEntry(time_from_proto(item.time), LogStream(item.stream), item.data) for item in messages]


def _counts(message: run_pb2.TaskRunCounts) -> dict[TaskRunState, int]:
    return {state: getattr(message, state.value) for state in TaskRunState}


def _time(message: Message, field: str) -> datetime | None:
    return time_from_proto(getattr(message, field)) if message.HasField(field) else None
