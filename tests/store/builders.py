"""Records with defaults: a test names only what matters to it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from podium_coordinator.domain.ids import uuid7
from podium_coordinator.domain.records import (
    AgentChanged,
    AgentRecord,
    AttemptBorn,
    AttemptEnded,
    AttemptRuns,
    RunRecord,
    TaskRunEnded,
)
from podium_coordinator.domain.states import AgentState, AttemptState, RunState, TaskRunState
from podium_coordinator.store import runs, workflows
from podium_coordinator.store.batch import Batch

if TYPE_CHECKING:
    from podium_coordinator.store.faults import Commits
    from podium_coordinator.store.pools import Connection

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AGENT = UUID(int=7)


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def new_run_id(seconds: float = 0) -> UUID:
    return uuid7(int(at(seconds).timestamp() * 1000), int.from_bytes(os.urandom(10)) >> 6)


def a_run(**changes: Any) -> RunRecord:
    run: dict[str, Any] = {
        "run_id": new_run_id(),
        "shard": 0,
        "workflow": "flights",
        "version": 1,
        "task_count": 3,
        "params": b"{}",
        "state": RunState.QUEUED,
        "request_id": None,
        "trace_id": bytes(16),
        "created_at": NOON,
    }
    return RunRecord(**run | changes)


def born(run_id: UUID, task: int = 0, **changes: Any) -> AttemptBorn:
    attempt: dict[str, Any] = {"map_index": -1, "number": 1, "token": uuid4().bytes, "agent_id": AGENT, "at": at(1)}
    return AttemptBorn(run_id=run_id, task=task, **attempt | changes)


def runs_now(attempt: AttemptBorn, **changes: Any) -> AttemptRuns:
    return AttemptRuns(**_name(attempt) | {"at": at(2)} | changes)


def ended(attempt: AttemptBorn, state: AttemptState = AttemptState.SUCCEEDED, **changes: Any) -> AttemptEnded:
    end: dict[str, Any] = {"state": state, "at": at(3), "closes": True}
    return AttemptEnded(**_name(attempt) | end | changes)


def skipped(run_id: UUID, task: int = 0, **changes: Any) -> TaskRunEnded:
    end: dict[str, Any] = {"map_index": -1, "state": TaskRunState.SKIPPED, "at": at(4)}
    return TaskRunEnded(run_id=run_id, task=task, **end | changes)


def an_agent(name: str = "web1", **changes: Any) -> AgentRecord:
    agent: dict[str, Any] = {
        "agent_id": uuid4(),
        "state": AgentState.CONNECTED,
        "host": b"facts",
        "draining": False,
        "connected_at": NOON,
        "changed_at": NOON,
    }
    return AgentRecord(name=name, **agent | changes)


def changed(agent: AgentRecord) -> AgentChanged:
    return AgentChanged(agent)


async def store_workflow(conn: Connection, name: str = "flights", digest: bytes = b"d") -> None:
    await workflows.register(conn, name, digest, b"spec", None, 3)


async def store_run(conn: Connection, **changes: Any) -> RunRecord:
    """Store a run, and the workflow it is of."""
    run = a_run(**changes)
    await store_workflow(conn, run.workflow)
    await runs.insert_run(conn, run, b"fingerprint")
    return run


async def bear(journal: Commits, run_id: UUID, task: int = 0, **changes: Any) -> AttemptBorn:
    """Commit a new attempt."""
    attempt = born(run_id, task, **changes)
    await journal.commit(0, Batch(attempts_born=[attempt]))
    return attempt


def _name(attempt: AttemptBorn) -> dict[str, Any]:
    return {
        "run_id": attempt.run_id,
        "task": attempt.task,
        "map_index": attempt.map_index,
        "number": attempt.number,
        "token": attempt.token,
    }
