"""What users ask of a shard's owner, as rows, and the hint that wakes it. A hint may be lost; a row is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString

from psycopg.rows import class_row

from podium_coordinator.store.values import text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime
    from uuid import UUID

    from podium_coordinator.store.pools import Connection

CHANNEL: Final = "podium_shard"
"""Name of the channel; the shard's number is the payload."""

INSERT: Final[LiteralString] = """
    INSERT INTO command (command_id, run_id, shard, kind, reason)
    SELECT %(command_id)s, run_id, shard, %(kind)s, %(reason)s FROM run WHERE run_id = %(run_id)s
    ON CONFLICT (command_id) DO NOTHING
"""

PENDING: Final[LiteralString] = """
    SELECT command_id, run_id, kind, reason, created_at FROM command
    WHERE shard = %s AND applied_at IS NULL
    ORDER BY created_at, command_id
    LIMIT %s
"""

NOTIFY: Final[LiteralString] = "SELECT pg_notify(%s, %s)"


@dataclass(frozen=True, slots=True)
class Command:
    """One wish; `kind` is a word such as cancel."""

    command_id: UUID
    run_id: UUID
    kind: str
    reason: str
    created_at: datetime


async def insert_command(conn: Connection, command_id: UUID, run_id: UUID, kind: str, reason: str) -> None:
    """Store a command for the owner of the run's shard. Repeating a call is harmless; an unknown run gets none."""
    await conn.execute(INSERT, {"command_id": command_id, "run_id": run_id, "kind": kind, "reason": text(reason)})


async def pending_commands(conn: Connection, shard: int, limit: int = 1000) -> list[Command]:
    """Return the oldest commands of a shard that are not applied yet, at most `limit`."""
    async with conn.cursor(row_factory=class_row(Command)) as cursor:
        return await (await cursor.execute(PENDING, [shard, limit])).fetchall()


async def notify(conn: Connection, shard: int) -> None:
    """Hint to the shard's owner, wherever it is, that there are new runs or commands."""
    await conn.execute(NOTIFY, [CHANNEL, str(shard)])


async def hints(conn: Connection, shard: int) -> AsyncGenerator[None, None]:
    """Yield once for each hint to a shard, and once at the start, when listening has begun; ends with the connection.

    The connection serves nothing else meanwhile.
    """
    await conn.execute("LISTEN podium_shard")
    yield
    async for notification in conn.notifies():
        if notification.payload == str(shard):
            yield
