"""Workflow versions: written once, never changed."""

# ruff: noqa: S608 - statements are put together from constants only: LiteralString, which mypy checks
from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

from psycopg.rows import class_row

from podium.errors import OverloadedError, WorkflowNotFoundError
from podium_coordinator.domain.records import WorkflowRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podium_coordinator.store.pools import Connection

_WITHOUT_SPEC: Final[LiteralString] = "workflow, version, digest, bundle, task_count, created_at"

REGISTER: Final[LiteralString] = f"""
    WITH newest AS (
        SELECT version, digest FROM workflow_version WHERE workflow = %(workflow)s ORDER BY version DESC LIMIT 1
    )
    INSERT INTO workflow_version (workflow, version, digest, spec, bundle, task_count)
    SELECT %(workflow)s, coalesce((SELECT version FROM newest), 0) + 1, %(digest)s, %(spec)s, %(bundle)s, %(task_count)s
    WHERE NOT EXISTS (SELECT FROM newest WHERE digest = %(digest)s)
    ON CONFLICT (workflow, version) DO NOTHING
    RETURNING {_WITHOUT_SPEC}
"""

NEWEST: Final[LiteralString] = f"""
    SELECT {_WITHOUT_SPEC} FROM workflow_version WHERE workflow = %(workflow)s ORDER BY version DESC LIMIT 1
"""

GET: Final[LiteralString] = f"""
    SELECT {_WITHOUT_SPEC}, spec FROM workflow_version
    WHERE workflow = %(workflow)s AND (%(version)s = 0 OR version = %(version)s)
    ORDER BY version DESC
    LIMIT 1
"""

LIST_NEWEST: Final[LiteralString] = f"""
    SELECT DISTINCT ON (workflow) {_WITHOUT_SPEC} FROM workflow_version
    WHERE workflow > %(after)s
    ORDER BY workflow, version DESC
    LIMIT %(limit)s
"""

LIST_VERSIONS: Final[LiteralString] = f"""
    SELECT {_WITHOUT_SPEC} FROM workflow_version
    WHERE workflow = %(workflow)s AND (%(before)s::int IS NULL OR version < %(before)s)
    ORDER BY version DESC
    LIMIT %(limit)s
"""

_TRIES: Final = 20


async def register(
    conn: Connection, name: str, digest: bytes, spec: bytes, bundle: bytes | None, task_count: int
) -> tuple[WorkflowRecord, bool]:
    """Store a new version and return it and True; or the newest one and False, when its digest is the same.

    Args:
        conn: In autocommit, or in a transaction of isolation read committed.
        name: The workflow's name.
        digest: Equal for equal definitions and bundles.
        spec: A serialized `podium.v1.WorkflowSpec`.
        bundle: The SHA-256 of the code; None without code.
        task_count: Number of tasks in the definition.

    Raises:
        OverloadedError: Others registered the same name again and again.
    """
    wanted = {"workflow": name, "digest": digest, "spec": spec, "bundle": bundle, "task_count": task_count}
    for _ in range(_TRIES):
        created = await _one(conn, REGISTER, wanted)
        if created is not None:
            return created, True
        newest = await _one(conn, NEWEST, wanted)
        if newest is not None and newest.digest == digest:
            return newest, False
        # Somebody else took the version's number in between.
    raise OverloadedError(f"Others register workflow {name} at the same time; try again.", workflow=name)


async def get(conn: Connection, name: str, version: int = 0) -> WorkflowRecord:
    """Return one version with its definition; version 0 is the newest.

    Raises:
        WorkflowNotFoundError: There is no such workflow or version.
    """
    found = await _one(conn, GET, {"workflow": name, "version": version})
    if found is None:
        what = f"no version {version} of workflow {name}" if version else f"no workflow {name}"
        raise WorkflowNotFoundError(f"There is {what}.", workflow=name, version=version)
    return found


async def list_newest(conn: Connection, after: str, limit: int) -> list[WorkflowRecord]:
    """Return the newest versions, without definitions, of at most `limit` workflows by name, after the name `after`."""
    return await _many(conn, LIST_NEWEST, {"after": after, "limit": limit})


async def list_versions(conn: Connection, name: str, before: int | None, limit: int) -> list[WorkflowRecord]:
    """Return at most `limit` versions without definitions, newest first, older than version `before`.

    Raises:
        WorkflowNotFoundError: There is no such workflow.
    """
    found = await _many(conn, LIST_VERSIONS, {"workflow": name, "before": before, "limit": limit})
    if not found and before is None:
        raise WorkflowNotFoundError(f"There is no workflow {name}.", workflow=name)
    return found


async def _one(conn: Connection, query: LiteralString, parameters: Mapping[str, object]) -> WorkflowRecord | None:
    async with conn.cursor(row_factory=class_row(WorkflowRecord)) as cursor:
        return await (await cursor.execute(query, parameters)).fetchone()


async def _many(conn: Connection, query: LiteralString, parameters: Mapping[str, object]) -> list[WorkflowRecord]:
    async with conn.cursor(row_factory=class_row(WorkflowRecord)) as cursor:
        return await (await cursor.execute(query, parameters)).fetchall()
