"""What the server is doing, asked until it is what a test waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, LiteralString

if TYPE_CHECKING:
    from podium_coordinator.store.pools import Connection

WAITING: Final[LiteralString] = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = %s AND datname = current_database() AND wait_event_type = 'Lock'
"""

SESSIONS: Final[LiteralString] = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()
"""


async def until_waiting(conn: Connection, application: str, *, waits: bool = True) -> None:
    """Return as soon as a session of that name waits for a lock, or none does."""
    async with asyncio.timeout(20):
        while bool(await scalar(conn, WAITING, application)) is not waits:
            pass


async def until_gone(conn: Connection, application: str) -> None:
    """Return as soon as there is no session of that name."""
    async with asyncio.timeout(20):
        while await scalar(conn, SESSIONS, application):
            pass


async def scalar(conn: Connection, query: LiteralString, *parameters: object) -> Any:
    """Return the first column of the first row."""
    row = await (await conn.execute(query, parameters)).fetchone()
    assert row is not None
    return row[0]
