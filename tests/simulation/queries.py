"""The store's queries that an owner makes, over a wire to the model: the same names and signatures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from podium.errors import RunNotFoundError
from podium_coordinator.domain.records import (
    AgentRecord,
    AttemptRecord,
    RunRecord,
    TaskRunEnded,
    TaskRunRecord,
    WorkflowRecord,
)
from podium_coordinator.store.commands import Command
from podium_coordinator.store.errors import DatabaseUnavailableError
from tests.simulation.store import Store, Wire
from tests.simulation.tables import RunRows, Tables
from tests.simulation.view import by_rows


class ModelConnection:
    """A connection for reading, and for hints."""

    def __init__(self, store: Store, wire: Wire) -> None:
        self.store = store
        self.wire = wire

    @property
    def tables(self) -> Tables:
        return self.store.tables

    async def __aenter__(self) -> ModelConnection:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class ModelPool:
    """A pool of one coordinator."""

    def __init__(self, store: Store, wire: Wire) -> None:
        self._link = ModelConnection(store, wire)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[ModelConnection]:
        yield self._link

    async def read_workflow(self, workflow: str, version: int) -> WorkflowRecord:
        """Read a workflow version, for the catalog."""
        del version
        return await self._link.wire.call(lambda: self._link.tables.workflows[workflow].record)


async def unfinished_runs(conn: ModelConnection, shard: int) -> list[RunRecord]:
    del shard
    return await conn.wire.call(conn.tables.unfinished)


async def get_run(conn: ModelConnection, run_id: UUID) -> RunRecord:
    def find() -> RunRecord | None:
        rows = conn.tables.runs.get(run_id)
        return rows.run if rows else None

    found = await conn.wire.call(find)
    if found is None:
        raise RunNotFoundError(f"There is no run {run_id}.", run_id=str(run_id))
    return found


async def pending_commands(conn: ModelConnection, shard: int) -> list[Command]:
    del shard
    return await conn.wire.call(conn.tables.pending_commands)


async def hints(conn: ModelConnection, shard: int) -> AsyncIterator[None]:
    """Yield once, then for each hint; a broken connection ends it."""
    del shard
    news = asyncio.Event()
    conn.wire.listen(news.set)
    yield
    while True:
        await news.wait()
        news.clear()
        if conn.wire.take_break(news.set):
            raise DatabaseUnavailableError("The connection broke.")
        yield


async def list_attempts(
    conn: ModelConnection, run_id: UUID, after: tuple[int, int, int] | None, limit: int
) -> list[AttemptRecord]:
    def find() -> list[AttemptRecord]:
        rows = [row for rows in conn.tables.runs[run_id].attempts for row in rows]
        return [row for row in rows if after is None or (row.task, row.map_index, row.number) > after][:limit]

    return await conn.wire.call(find)


async def load_ended_task_runs(conn: ModelConnection, run_id: UUID) -> list[TaskRunEnded]:
    return await conn.wire.call(lambda: list(conn.tables.runs[run_id].ended.values()))


async def load_outputs(conn: ModelConnection, run_id: UUID, tasks: list[int]) -> dict[tuple[int, int], bytes]:
    def find() -> dict[tuple[int, int], bytes]:
        outputs = conn.tables.runs[run_id].outputs
        return {(task, -1): outputs[task] for task in tasks if task in outputs}

    return await conn.wire.call(find)


async def list_task_runs(conn: ModelConnection, run_id: UUID, after: int, limit: int) -> list[TaskRunRecord]:
    return await conn.wire.call(lambda: _task_runs(conn.tables.runs[run_id], after)[:limit])


async def list_agents(conn: ModelConnection, after: str, limit: int) -> list[AgentRecord]:
    def find() -> list[AgentRecord]:
        rows = sorted(conn.tables.agents.values(), key=lambda agent: agent.name)
        return [agent for agent in rows if agent.name > after][:limit]

    return await conn.wire.call(find)


def _task_runs(rows: RunRows, after: int) -> list[TaskRunRecord]:
    known = ((index, by_rows(rows, index)) for index in range(after + 1, len(rows.tasks)))
    return [
        TaskRunRecord(index, -1, state, attempt=len(rows.attempts[index]))
        for index, state in known
        if state is not None
    ]


RUNS: Any = SimpleNamespace(unfinished_runs=unfinished_runs, get_run=get_run)
COMMANDS: Any = SimpleNamespace(pending_commands=pending_commands, hints=hints)
TASK_RUNS: Any = SimpleNamespace(
    list_attempts=list_attempts,
    load_ended_task_runs=load_ended_task_runs,
    load_outputs=load_outputs,
    list_task_runs=list_task_runs,
)
AGENTS: Any = SimpleNamespace(list_agents=list_agents)
