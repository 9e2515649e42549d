"""A lock per blob name, for the moment in which its bytes are deleted.

Deleting a blob is two steps in two places: its row, then its bytes. Between them somebody could store the same bytes,
see that they are there, and lose them to the second step. So the two steps are taken under this lock, and whoever wants
to store a blob takes it once before looking: after that either the row is there and was just wanted, which keeps it, or
there is no row, and nobody deletes bytes without a row.

The row goes first. A crash between the steps leaves bytes without a row, which cost room and mislead nobody.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, LiteralString

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from podium_coordinator.store.pools import Connection

LOCK: Final[LiteralString] = "SELECT pg_advisory_lock(hashtextextended(%s, 7450))"
UNLOCK: Final[LiteralString] = "SELECT pg_advisory_unlock(hashtextextended(%s, 7450))"


@asynccontextmanager
async def alone_with(conn: Connection, sha256: bytes) -> AsyncIterator[None]:
    """Keep others from storing or deleting the blob's bytes until the block ends.

    The connection is in autocommit, and is closed when the block fails, since the lock goes with its session.
    """
    name = [sha256.hex()]
    try:
        await conn.execute(LOCK, name)
        yield
        await conn.execute(UNLOCK, name)
    except BaseException:
        await conn.close()
        raise
