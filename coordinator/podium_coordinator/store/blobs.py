"""Which blobs are stored, how large they are and when somebody last wanted them. The bytes are elsewhere.

`blob_guard` says in which order rows and bytes come and go, so that none is lost.
"""

# ruff: noqa: S608 - statements are put together from constants only: LiteralString, which mypy checks
from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from podium_coordinator.store.pools import Connection

RECORD: Final[LiteralString] = """
    INSERT INTO blob (sha256, size) VALUES (%s, %s)
    ON CONFLICT (sha256) DO UPDATE SET wanted_at = clock_timestamp()
"""

SIZES: Final[LiteralString] = "SELECT sha256, size FROM blob WHERE sha256 = ANY (%s)"

# Locks in the order of the key, so that two callers cannot wait for each other.
TOUCH: Final[LiteralString] = """
    UPDATE blob SET wanted_at = clock_timestamp()
    WHERE sha256 IN (SELECT sha256 FROM blob WHERE sha256 = ANY (%s) ORDER BY sha256 FOR UPDATE)
    RETURNING sha256, size
"""

_COLLECTABLE: Final[LiteralString] = """
    b.wanted_at < clock_timestamp() - %(older_than)s
    AND NOT EXISTS (SELECT FROM attempt_blob AS a WHERE a.sha256 = b.sha256)
    AND NOT EXISTS (SELECT FROM workflow_version AS w WHERE w.bundle = b.sha256)
"""

UNREFERENCED: Final[LiteralString] = f"""
    SELECT b.sha256 FROM blob AS b WHERE {_COLLECTABLE} ORDER BY b.wanted_at LIMIT %(limit)s
"""

FORGET: Final[LiteralString] = f"DELETE FROM blob AS b WHERE b.sha256 = %(sha256)s AND {_COLLECTABLE}"


async def record_blob(conn: Connection, sha256: bytes, size: int) -> None:
    """Note that a blob of `size` bytes is stored, and wanted now."""
    await conn.execute(RECORD, [sha256, size])


async def sizes(conn: Connection, names: Sequence[bytes]) -> dict[bytes, int]:
    """Return the sizes in bytes of those blobs that are stored."""
    cursor = await conn.execute(SIZES, [list(names)])
    return dict(await cursor.fetchall())


async def touch(conn: Connection, names: Sequence[bytes]) -> dict[bytes, int]:
    """Note that blobs are wanted now; return the sizes of those stored, which are safe for the grace period."""
    cursor = await conn.execute(TOUCH, [list(names)])
    return dict(await cursor.fetchall())


async def unreferenced(conn: Connection, older_than: timedelta, limit: int = 1000) -> list[bytes]:
    """Return blobs, at most `limit`, that no attempt and no workflow refers to and nobody wanted for that long."""
    cursor = await conn.execute(UNREFERENCED, {"older_than": older_than, "limit": limit})
    return [row[0] for row in await cursor.fetchall()]


async def forget(conn: Connection, sha256: bytes, older_than: timedelta) -> bool:
    """Delete the blob's row if it is still unreferenced and that old; True: the bytes may go."""
    cursor = await conn.execute(FORGET, {"sha256": sha256, "older_than": older_than})
    return cursor.rowcount == 1
