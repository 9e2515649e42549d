"""Task runs, attempts and outputs as the database knows them. A pending task run has no row."""

# ruff: noqa: S608 - statements are put together from constants only: LiteralString, which mypy checks
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg.rows import args_row, kwargs_row

from podium_coordinator.domain.records import AttemptRecord, TaskRunEnded, TaskRunRecord
from podium_coordinator.domain.states import AttemptState, TaskRunState
from podium_coordinator.store.values import load_failure

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from podium_coordinator.store.pools import Connection

LAST_INDEX: Final = 2**31 - 1
"""A map index after all others."""

# What the newest attempt says about its task run. One that ended without closing it leaves a next try, now or later.
_STATE: Final[LiteralString] = """
    CASE
        WHEN a.state IN ('assigned', 'running') THEN a.state
        WHEN NOT a.closes AND a.retry_at IS NOT NULL THEN 'retrying'
        WHEN NOT a.closes THEN 'scheduled'
        WHEN a.state IN ('succeeded', 'skipped', 'cancelled', 'unknown') THEN a.state
        ELSE 'failed'
    END
"""

# In a run that has ended or is being cancelled nothing starts again, so what waits for its next try is cancelled.
_KNOWN: Final[LiteralString] = f"""
    WITH newest AS (
        SELECT DISTINCT ON (a.task, a.map_index)
            a.task, a.map_index, a.number, a.agent_id, a.assigned_at, a.started_at, a.finished_at, a.retry_at,
            a.failure, {_STATE} AS state
        FROM attempt AS a
        WHERE a.run_id = %(run_id)s AND (a.task, a.map_index) > (%(after_task)s, %(after_map_index)s)
        ORDER BY a.task, a.map_index, a.number DESC
        LIMIT %(scan)s
    ), ended AS (
        SELECT t.task, t.map_index, t.state, t.failure, t.finished_at
        FROM task_run AS t
        WHERE t.run_id = %(run_id)s AND (t.task, t.map_index) > (%(after_task)s, %(after_map_index)s)
        ORDER BY t.task, t.map_index
        LIMIT %(scan)s
    ), stopped AS (
        SELECT r.finished_at FROM run AS r
        WHERE r.run_id = %(run_id)s AND r.state NOT IN ('queued', 'running', 'paused')
    ), known AS (
        SELECT
            task, map_index,
            CASE
                WHEN e.state IS NOT NULL THEN e.state
                WHEN n.state IN ('retrying', 'scheduled') AND EXISTS (SELECT FROM stopped) THEN 'cancelled'
                ELSE n.state
            END AS state,
            coalesce(n.number, 0) AS attempt,
            CASE WHEN e.state IS NULL THEN n.failure ELSE e.failure END AS failure,
            n.agent_id, n.assigned_at, n.started_at,
            CASE
                WHEN e.state IS NOT NULL THEN e.finished_at
                WHEN n.state NOT IN ('retrying', 'scheduled') THEN n.finished_at
                ELSE (SELECT finished_at FROM stopped)
            END AS finished_at,
            n.retry_at
        FROM newest AS n FULL JOIN ended AS e USING (task, map_index)
    )
"""

LIST_TASK_RUNS: Final[LiteralString] = f"""
    {_KNOWN}
    SELECT
        k.task, k.map_index, k.state, k.attempt, k.failure, coalesce(g.name, '') AS agent, k.assigned_at, k.started_at,
        k.finished_at, CASE WHEN k.state = 'retrying' THEN k.retry_at END AS retry_at
    FROM known AS k LEFT JOIN agent AS g USING (agent_id)
    WHERE %(states)s::text[] IS NULL OR k.state = ANY (%(states)s)
    ORDER BY k.task, k.map_index
    LIMIT %(limit)s
"""

COUNT_TASK_RUNS: Final[LiteralString] = f"{_KNOWN} SELECT k.state, count(*) FROM known AS k GROUP BY k.state"

LIST_ATTEMPTS: Final[LiteralString] = """
    SELECT
        a.task, a.map_index, a.number, uuid_send(a.token) AS token, a.agent_id, coalesce(g.name, '') AS agent, a.state,
        a.assigned_at,
        a.started_at, a.finished_at, a.failure, a.closes, a.retry_at, a.log_bytes
    FROM attempt AS a LEFT JOIN agent AS g USING (agent_id)
    WHERE a.run_id = %(run_id)s
      AND (a.task, a.map_index, a.number) > (%(after_task)s, %(after_map_index)s, %(after_number)s)
      AND (%(task)s::int IS NULL OR a.task = %(task)s)
    ORDER BY a.task, a.map_index, a.number
    LIMIT %(limit)s
"""

_OUTPUTS: Final[LiteralString] = """
    FROM attempt
    WHERE run_id = %(run_id)s AND state = 'succeeded' AND closes
      AND (%(tasks)s::int[] IS NULL OR task = ANY (%(tasks)s))
"""

LOAD_OUTPUTS: Final[LiteralString] = f"SELECT task, map_index, coalesce(output, 'null') {_OUTPUTS}"
OUTPUTS_SIZE: Final[LiteralString] = f"SELECT coalesce(sum(octet_length(output)), 0)::bigint {_OUTPUTS}"

LOAD_ENDED: Final[LiteralString] = """
    SELECT run_id, task, map_index, state, finished_at AS at, failure FROM task_run
    WHERE run_id = %s
    ORDER BY task, map_index
"""


async def list_task_runs(
    conn: Connection,
    run_id: UUID,
    after_task: int,
    limit: int,
    *,
    after_map_index: int = LAST_INDEX,
    states: Collection[TaskRunState] = (),
) -> list[TaskRunRecord]:
    """Return at most `limit` task runs that have rows, by task and map index, after the position given (-1: all).

    States other than those asked for are left out; none asked for: all. A task run without a row is pending or
    scheduled, or, in a run that has ended or is being cancelled, cancelled: the caller fills these in. An unknown run
    has none.
    """
    parameters = _position(run_id, after_task, after_map_index) | {
        "states": sorted(states) or None,
        "limit": limit,
        # Without a filter the first rows of the merge are among the first of each part.
        "scan": None if states else limit,
    }
    async with conn.cursor(row_factory=args_row(_task_run)) as cursor:
        return await (await cursor.execute(LIST_TASK_RUNS, parameters)).fetchall()


async def count_task_runs(conn: Connection, run_id: UUID) -> dict[TaskRunState, int]:
    """Return how many of a run's task runs that have rows are in each state; states without any are left out."""
    cursor = await conn.execute(COUNT_TASK_RUNS, _position(run_id, -1, LAST_INDEX) | {"scan": None})
    return {TaskRunState(state): count for state, count in await cursor.fetchall()}


async def load_ended_task_runs(conn: Connection, run_id: UUID) -> list[TaskRunEnded]:
    """Return the task runs of a run that ended without an attempt deciding it, by task and map index."""
    async with conn.cursor(row_factory=kwargs_row(_ended)) as cursor:
        return await (await cursor.execute(LOAD_ENDED, [run_id])).fetchall()


async def load_attempts(conn: Connection, run_id: UUID) -> list[AttemptRecord]:
    """Return all attempts of a run, by task, map index and number."""
    return await list_attempts(conn, run_id, None, None)


async def list_attempts(
    conn: Connection,
    run_id: UUID,
    after: tuple[int, int, int] | None,
    limit: int | None,
    *,
    task: int | None = None,
) -> list[AttemptRecord]:
    """Return at most `limit` attempts of a run, or of one of its tasks, that come after (task, map index, number)."""
    after_task, after_map_index, after_number = after or (-1, LAST_INDEX, LAST_INDEX)
    parameters = _position(run_id, after_task, after_map_index)
    parameters |= {"after_number": after_number, "task": task, "limit": limit}
    async with conn.cursor(row_factory=args_row(_attempt)) as cursor:
        return await (await cursor.execute(LIST_ATTEMPTS, parameters)).fetchall()


async def load_outputs(conn: Connection, run_id: UUID, tasks: Sequence[int] | None) -> dict[tuple[int, int], bytes]:
    """Return the outputs of succeeded task runs by (task, map index): of `tasks`, or of all.

    A task run that succeeded without an output has `null`. The caller bounds what it asks for by `outputs_size`.
    """
    cursor = await conn.execute(LOAD_OUTPUTS, {"run_id": run_id, "tasks": tasks}, binary=True)
    return {(task, map_index): output for task, map_index, output in await cursor.fetchall()}


async def outputs_size(conn: Connection, run_id: UUID, tasks: Sequence[int] | None) -> int:
    """Return how many bytes `load_outputs` would return."""
    cursor = await conn.execute(OUTPUTS_SIZE, {"run_id": run_id, "tasks": tasks})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _position(run_id: UUID, after_task: int, after_map_index: int) -> dict[str, Any]:
    return {"run_id": run_id, "after_task": after_task, "after_map_index": after_map_index}


# Runs have up to 100,000 of these: by name the columns would take twice as long as in the order of the statement.


def _task_run(
    task: int,
    map_index: int,
    state: str,
    attempt: int,
    failure: bytes | None,
    agent: str,
    *times: datetime | None,
) -> TaskRunRecord:
    return TaskRunRecord(task, map_index, TaskRunState(state), attempt, load_failure(failure), agent, *times)


def _attempt(
    task: int,
    map_index: int,
    number: int,
    token: bytes,
    agent_id: UUID,
    agent: str,
    state: str,
    *rest: Any,
) -> AttemptRecord:
    assigned_at, started_at, finished_at, failure, closes, retry_at, log_bytes = rest
    life = (AttemptState(state), assigned_at, started_at, finished_at, load_failure(failure))
    return AttemptRecord(task, map_index, number, token, agent_id, agent, *life, closes, retry_at, log_bytes)


def _ended(*, state: str, failure: bytes | None, **columns: Any) -> TaskRunEnded:
    return TaskRunEnded(state=TaskRunState(state), failure=load_failure(failure), **columns)
