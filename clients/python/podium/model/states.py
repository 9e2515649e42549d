"""The states of runs, task runs, attempts and agents, and why things fail. The values are what the database holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskRunState(StrEnum):
    """Where a task run stands."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    ASSIGNED = "assigned"
    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class AttemptState(StrEnum):
    """Where an attempt stands."""

    ASSIGNED = "assigned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    TAKEN_BACK = "taken_back"
    SKIPPED = "skipped"


class AgentState(StrEnum):
    """How the coordinator sees an agent."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    LOST = "lost"


class FailureKind(StrEnum):
    """What kind of thing went wrong."""

    USER_ERROR = "user_error"
    EXIT_CODE = "exit_code"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT_START = "timeout_start"
    TIMEOUT_RUN = "timeout_run"
    HEARTBEAT = "heartbeat"
    AGENT_LOST = "agent_lost"
    PREEMPTED = "preempted"
    REJECTED_INPUT = "rejected_input"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


RUN_TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
TASK_RUN_TERMINAL = frozenset(
    {
        TaskRunState.SUCCEEDED,
        TaskRunState.FAILED,
        TaskRunState.SKIPPED,
        TaskRunState.UPSTREAM_FAILED,
        TaskRunState.CANCELLED,
        TaskRunState.UNKNOWN,
    }
)
ATTEMPT_LIVE = frozenset({AttemptState.ASSIGNED, AttemptState.RUNNING})
INFRASTRUCTURE = frozenset({FailureKind.AGENT_LOST, FailureKind.PREEMPTED, FailureKind.INTERNAL})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed, in the terms of `podium.v1.Failure`."""

    kind: FailureKind
    message: str
    traceback: str = ""
    exception_type: str = ""
    exit_code: int | None = None
