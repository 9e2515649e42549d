"""Reading a shard's rows back into memory. The epoch must have been raised before: nobody else writes them now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from podium_coordinator.app.catalog import Catalog, Compiled
from podium_coordinator.app.events import RunArrived
from podium_coordinator.app.live import admit
from podium_coordinator.app.shard import Shard
from podium_coordinator.domain.records import AgentRecord, AttemptRecord, RunRecord
from podium_coordinator.domain.reload import StoredRun, reload
from podium_coordinator.domain.run import Effects, new_run
from podium_coordinator.domain.states import AgentState, RunState
from podium_coordinator.store import agents, task_runs
from podium_coordinator.store.pools import Connection, Pool

PAGE = 1000
ATTEMPTS_PAGE = 2000


async def expect_agents(shard: Shard, pool: Pool) -> None:
    """Give agents that were in session before a takeover a full term to come back."""
    after = ""
    while True:
        async with pool.connection() as conn:
            page = await agents.list_agents(conn, after, PAGE)
        for record in page:
            _expect(shard, record)
        if len(page) < PAGE:
            return
        after = page[-1].name


def _expect(shard: Shard, record: AgentRecord) -> None:
    if record.state is not AgentState.LOST:
        now = asyncio.get_running_loop().time()
        agent = shard.board.fleet.expect(record.agent_id, record.name, now)
        agent.host, agent.connected_at, agent.recorded = record.host, record.connected_at, record


async def read_back(record: RunRecord, pool: Pool, catalog: Catalog) -> RunArrived:
    """Read one run back; what its rows leave to be done comes as effects."""
    compiled = await catalog.get(record.workflow, record.version)
    if record.state is RunState.QUEUED:
        return RunArrived(admit(record, new_run(record.run_id, compiled.graph), compiled), Effects())
    graph = compiled.graph
    wanted = [task for task in range(graph.size) if graph.consumers[task]]
    async with pool.connection() as conn:
        attempts = await _attempts(conn, record.run_id)
        ended = await task_runs.load_ended_task_runs(conn, record.run_id)
        outputs = await task_runs.load_outputs(conn, record.run_id, wanted) if wanted else {}
    # Nobody else has a hand on it yet; and of a large run it takes long.
    return await asyncio.to_thread(_rebuilt, StoredRun(record, attempts, ended), compiled, outputs)


async def _attempts(conn: Connection, run_id: UUID) -> list[AttemptRecord]:
    """Read in pages, between which the loop may turn."""
    attempts: list[AttemptRecord] = []
    while True:
        after = (attempts[-1].task, attempts[-1].map_index, attempts[-1].number) if attempts else None
        page = await task_runs.list_attempts(conn, run_id, after, ATTEMPTS_PAGE)
        attempts += page
        if len(page) < ATTEMPTS_PAGE:
            return attempts


def _rebuilt(stored: StoredRun, compiled: Compiled, outputs: dict[tuple[int, int], bytes]) -> RunArrived:
    effects = Effects()
    run = reload(stored, compiled.graph, datetime.now(UTC), effects)
    live = admit(stored.record, run, compiled)
    live.outputs.update({task: output for (task, _), output in outputs.items() if live.wanted[task] > 0})
    return RunArrived(live, effects)


def just_submitted(record: RunRecord, catalog: Catalog) -> RunArrived | None:
    """Return a run whose workflow version is at hand."""
    compiled = catalog.cached(record.workflow, record.version)
    if compiled is None:
        return None
    return RunArrived(admit(record, new_run(record.run_id, compiled.graph), compiled), Effects())
