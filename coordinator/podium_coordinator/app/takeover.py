"""Reading a shard's rows back into memory. The epoch must have been raised before: nobody else writes them now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from podium_coordinator.app.catalog import Catalog
from podium_coordinator.app.events import RunArrived
from podium_coordinator.app.live import admit
from podium_coordinator.app.shard import Shard
from podium_coordinator.domain.records import AgentRecord, RunRecord
from podium_coordinator.domain.reload import StoredRun, reload
from podium_coordinator.domain.run import Effects, new_run
from podium_coordinator.domain.states import AgentState, RunState
from podium_coordinator.store import agents, task_runs
from podium_coordinator.store.pools import Pool

PAGE = 1000


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
        attempts = await task_runs.load_attempts(conn, record.run_id)
        ended = await task_runs.load_ended_task_runs(conn, record.run_id)
        outputs = await task_runs.load_outputs(conn, record.run_id, wanted) if wanted else {}
    effects = Effects()
    run = reload(StoredRun(record, attempts, ended), graph, datetime.now(UTC), effects)
    live = admit(record, run, compiled)
    live.outputs.update({task: output for (task, _), output in outputs.items() if live.wanted[task] > 0})
    return RunArrived(live, effects)


def just_submitted(record: RunRecord, catalog: Catalog) -> RunArrived | None:
    """Return a run whose workflow version is at hand."""
    compiled = catalog.cached(record.workflow, record.version)
    if compiled is None:
        return None
    return RunArrived(admit(record, new_run(record.run_id, compiled.graph), compiled), Effects())
