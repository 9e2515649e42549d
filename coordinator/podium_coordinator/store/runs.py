"""Runs as rows: the API makes them, the journal changes them, everybody reads them."""

# ruff: noqa: S608 - statements are put together from constants only: LiteralString, which mypy checks
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString

from psycopg.errors import ForeignKeyViolation
from psycopg.rows import kwargs_row

from podium.errors import RequestIdReusedError, RunNotFoundError, WorkflowNotFoundError
from podium_coordinator.domain.records import RunRecord
from podium_coordinator.domain.states import RunState, TaskRunState
from podium_coordinator.store.values import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any
    from uuid import UUID

    from podium_coordinator.store.pools import Connection

_COLUMNS: Final[LiteralString] = """
    run_id, shard, workflow, version, task_count, params, state, request_id, trace_id, created_at, started_at,
    finished_at, reason, outcome, counts
"""

INSERT: Final[LiteralString] = """
    INSERT INTO run (run_id, shard, workflow, version, task_count, params, state, request_id, fingerprint, trace_id,
                     created_at)
    VALUES (%(run_id)s, %(shard)s, %(workflow)s, %(version)s, %(task_count)s, %(params)s, %(state)s, %(request_id)s,
            %(fingerprint)s, %(trace_id)s, %(created_at)s)
    ON CONFLICT (request_id) DO NOTHING
"""

# Not for one run: columns take it half as long again.
INSERT_MANY: Final[LiteralString] = """
    INSERT INTO run (run_id, shard, workflow, version, task_count, params, state, request_id, fingerprint, trace_id,
                     created_at)
    SELECT * FROM unnest(%(run_id)s::uuid[], %(shard)s::int[], %(workflow)s::text[], %(version)s::int[],
                         %(task_count)s::int[], %(params)s::bytea[], %(state)s::text[], %(request_id)s::text[],
                         %(fingerprint)s::bytea[], %(trace_id)s::bytea[], %(created_at)s::timestamptz[])
    ON CONFLICT (request_id) DO NOTHING
    RETURNING run_id
"""

BY_REQUEST_IDS: Final[LiteralString] = f"""
    SELECT fingerprint AS stored_fingerprint, {_COLUMNS} FROM run WHERE request_id = ANY (%s)
"""

GET: Final[LiteralString] = f"SELECT {_COLUMNS} FROM run WHERE run_id = %s"

UNFINISHED: Final[LiteralString] = f"""
    SELECT {_COLUMNS} FROM run
    WHERE shard = %s AND state IN ('queued', 'running', 'paused', 'cancelling')
    ORDER BY run_id
"""

LIST: Final[LiteralString] = f"""
    SELECT {_COLUMNS} FROM run
    WHERE (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
      AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s))
      AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
      AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
      AND (%(after)s::uuid IS NULL OR run_id < %(after)s)
    ORDER BY run_id DESC
    LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; conditions are joined with "and", those left out hold for all."""

    workflow: str | None = None
    states: frozenset[RunState] = frozenset()
    created_from: datetime | None = None
    created_before: datetime | None = None


async def insert_run(conn: Connection, run: RunRecord, fingerprint: bytes) -> tuple[RunRecord, bool]:
    """Store a new run, queued; return it and True, or the run an equal request made before and False.

    Args:
        conn: In autocommit, or in a transaction of isolation read committed.
        run: Its `request_id`, unless None, makes repeats of the request safe.
        fingerprint: Equal for equal requests, such as a digest.

    Raises:
        RequestIdReusedError: The request id came before, with another request.
        WorkflowNotFoundError: There is no such version.
    """
    try:
        inserted = await conn.execute(INSERT, _run_parameters(run) | {"fingerprint": fingerprint})
    except ForeignKeyViolation as error:
        raise WorkflowNotFoundError(
            f"There is no version {run.version} of workflow {run.workflow}.", workflow=run.workflow, version=run.version
        ) from error
    if inserted.rowcount:
        return run, True
    outcome = _repeated(run, fingerprint, await _made_before(conn, [text(run.request_id or "")]))
    if isinstance(outcome, RequestIdReusedError):
        raise outcome
    return outcome


async def insert_runs(
    conn: Connection, rows: Sequence[tuple[RunRecord, bytes]]
) -> list[tuple[RunRecord, bool] | RequestIdReusedError]:
    """Store new runs, queued, in one transaction; return for each what `insert_run` would return or raise, in order.

    Args:
        conn: In autocommit.
        rows: The runs, of stored versions, and their fingerprints; their own request ids may repeat, too.
    """
    if not rows:
        return []
    # In the order of their keys, so that two calls with the same request ids cannot lock each other up.
    ordered = sorted(rows, key=lambda row: row[0].request_id or "")
    cursor = await conn.execute(INSERT_MANY, _columns(ordered))
    made = {run_id for (run_id,) in await cursor.fetchall()}
    repeats = [text(run.request_id) for run, _ in rows if run.run_id not in made and run.request_id is not None]
    before = await _made_before(conn, repeats) if repeats else {}
    return [(run, True) if run.run_id in made else _repeated(run, mark, before) for run, mark in rows]


async def get_run(conn: Connection, run_id: UUID) -> RunRecord:
    """Return one run.

    Raises:
        RunNotFoundError: There is none.
    """
    async with conn.cursor(row_factory=kwargs_row(_run)) as cursor:
        run = await (await cursor.execute(GET, [run_id])).fetchone()
    if run is None:
        raise RunNotFoundError(f"There is no run {run_id}.", run_id=str(run_id))
    return run


async def list_runs(conn: Connection, which: RunFilter, after: UUID | None, limit: int) -> list[RunRecord]:
    """Return at most `limit` runs, newest first, that come after the run `after` in that order."""
    parameters = {
        "workflow": which.workflow,
        "states": sorted(which.states) or None,
        "created_from": which.created_from,
        "created_before": which.created_before,
        "after": after,
        "limit": limit,
    }
    async with conn.cursor(row_factory=kwargs_row(_run)) as cursor:
        return await (await cursor.execute(LIST, parameters)).fetchall()


async def unfinished_runs(conn: Connection, shard: int) -> list[RunRecord]:
    """Return all runs of a shard that have not ended, oldest first."""
    async with conn.cursor(row_factory=kwargs_row(_run)) as cursor:
        return await (await cursor.execute(UNFINISHED, [shard])).fetchall()


async def _made_before(conn: Connection, request_ids: Sequence[str]) -> dict[str, tuple[bytes, RunRecord]]:
    async with conn.cursor(row_factory=kwargs_row(_with_fingerprint)) as cursor:
        found = await (await cursor.execute(BY_REQUEST_IDS, [request_ids])).fetchall()
    return {run.request_id: (fingerprint, run) for fingerprint, run in found if run.request_id is not None}


def _repeated(
    run: RunRecord, fingerprint: bytes, before: Mapping[str, tuple[bytes, RunRecord]]
) -> tuple[RunRecord, bool] | RequestIdReusedError:
    request_id = text(run.request_id or "")
    known = before.get(request_id)
    if known is None or known[0] != fingerprint:
        return _reused(request_id)
    return known[1], False


def _reused(request_id: str) -> RequestIdReusedError:
    return RequestIdReusedError(
        f"Request id {request_id} came before, with another request: use a new one.", request_id=request_id
    )


def _columns(rows: Sequence[tuple[RunRecord, bytes]]) -> dict[str, list[Any]]:
    parameters = [_run_parameters(run) | {"fingerprint": fingerprint} for run, fingerprint in rows]
    return {name: [row[name] for row in parameters] for name in parameters[0]}


def _run_parameters(run: RunRecord) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "shard": run.shard,
        "workflow": run.workflow,
        "version": run.version,
        "task_count": run.task_count,
        "params": run.params,
        "state": run.state,
        "request_id": None if run.request_id is None else text(run.request_id),
        "trace_id": run.trace_id,
        "created_at": run.created_at,
    }


def _with_fingerprint(*, stored_fingerprint: bytes, **columns: Any) -> tuple[bytes, RunRecord]:
    return stored_fingerprint, _run(**columns)


def _run(**columns: Any) -> RunRecord:
    outcome, counts = columns.pop("outcome"), columns.pop("counts")
    return RunRecord(
        **columns | {"state": RunState(columns["state"])},
        outcome=None if outcome is None else RunState(outcome),
        counts=None if counts is None else {TaskRunState(state): count for state, count in counts.items()},
    )
