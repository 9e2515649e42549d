"""Rows as values: what the store gives and takes, what watchers see. Times are aware UTC datetimes, tokens 16 bytes.

Rows of attempts are made by the ten thousand a second. They are not frozen only because making a frozen object costs
four times as much; nobody changes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from podium.model.states import Failure as Failure  # noqa: PLC0414 - rows hold it, so their readers find it here
from podium_coordinator.domain.states import AgentState, AttemptState, RunState, TaskRunState


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """One version of a workflow. `spec` is a serialized `podium.v1.WorkflowSpec`; None where a list leaves it out."""

    workflow: str
    version: int
    digest: bytes
    bundle: bytes | None
    task_count: int
    created_at: datetime
    spec: bytes | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `params` is a JSON object in UTF-8; `counts` is set once the run has ended.

    `outcome` is where a run in state cancelling is bound: cancelled, or failed when it took too long. A task run of an
    ended or cancelling run that has no row, or waits for its next try, is cancelled.
    """

    run_id: UUID
    shard: int
    workflow: str
    version: int
    task_count: int
    params: bytes
    state: RunState
    request_id: str | None
    trace_id: bytes
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str = ""
    outcome: RunState | None = None
    counts: dict[TaskRunState, int] | None = None


@dataclass(frozen=True, slots=True)
class TaskRunRecord:
    """One task run as far as it is known; `task` is the position in the definition, `agent` a name."""

    task: int
    map_index: int
    state: TaskRunState
    attempt: int = 0
    failure: Failure | None = None
    agent: str = ""
    assigned_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt, without its output and its log; `agent` is a name.

    `closes` says that its end ended the task run; `retry_at` that another try is due then.
    """

    task: int
    map_index: int
    number: int
    token: bytes
    agent_id: UUID
    agent: str
    state: AttemptState
    assigned_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failure: Failure | None = None
    closes: bool = False
    retry_at: datetime | None = None
    log_bytes: int = 0


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """One agent. `host` is a serialized `podium.v1.HostFacts`."""

    agent_id: UUID
    name: str
    state: AgentState
    host: bytes
    draining: bool
    connected_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What a watcher is told: the run as committed, and task runs that changed (all not pending, in a snapshot)."""

    run: RunRecord
    counts: dict[TaskRunState, int]
    task_runs: tuple[TaskRunRecord, ...]
    snapshot: bool


# What the shard loop commits, in one transaction.


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A queued run was taken up."""

    run_id: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class RunCancelling:
    """A run is being cancelled, for the `reason` a user gave, or stopped because it took too long (outcome failed)."""

    run_id: UUID
    reason: str
    outcome: RunState


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run ended."""

    run_id: UUID
    state: RunState
    reason: str
    at: datetime
    counts: dict[TaskRunState, int]


@dataclass(slots=True)
class AttemptBorn:
    """An attempt is given to an agent."""

    run_id: UUID
    task: int
    map_index: int
    number: int
    token: bytes
    agent_id: UUID
    at: datetime


@dataclass(slots=True)
class AttemptRuns:
    """An attempt began to execute."""

    run_id: UUID
    task: int
    map_index: int
    number: int
    token: bytes
    at: datetime


@dataclass(slots=True)
class AttemptEnded:
    """An attempt ended. `log` holds the whole of a small log; a large one becomes a blob later.

    `blobs` are the (sha256, size, name) its output refers to.
    """

    run_id: UUID
    task: int
    map_index: int
    number: int
    token: bytes
    state: AttemptState
    at: datetime
    started_at: datetime | None = None
    output: bytes | None = None
    failure: Failure | None = None
    closes: bool = False
    retry_at: datetime | None = None
    log: bytes | None = None
    log_bytes: int = 0
    blobs: tuple[tuple[bytes, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TaskRunEnded:
    """A task run ended without an attempt deciding it: skipped, upstream_failed, cancelled, or failed to start."""

    run_id: UUID
    task: int
    map_index: int
    state: TaskRunState
    at: datetime
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class AgentChanged:
    """An agent connected, or changed its state."""

    agent: AgentRecord
