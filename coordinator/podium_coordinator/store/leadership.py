"""Who owns a shard.

Theory of operation. The row of `leadership` says it: the epoch is the ownership, the lease says for how long others
leave it alone, by the database's clock. An owner holds an advisory lock as well, on a connection that does nothing
else; the lock frees the instant the owner's process dies, and whoever waits for it takes over at once, long before the
lease runs out. That is safe because the lock proves nothing: the epoch fences every write (see `journal`), so a
takeover that was too eager costs a moment and corrupts nothing.

The lease covers what the lock cannot see: an owner that is frozen, or cut off while the server still believes in its
connection. Once it has run out, a standby ends the old owner's connections, so that the lock is free and no transaction
stays open, and takes over.

A takeover raises the epoch first and reads afterwards. Raising waits for commits of the old owner that are under way;
should one of them never end because its owner froze in the middle, it is ended with its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString

import psycopg
from psycopg import errors
from psycopg.rows import class_row

from podium_coordinator.store.errors import DatabaseUnavailableError
from podium_coordinator.store.faults import crash_point
from podium_coordinator.store.journal import application
from podium_coordinator.store.pools import time_limit, write_connection

if TYPE_CHECKING:
    from datetime import datetime

    from podium_coordinator.store.pools import Connection

LOCK: Final = 0x706F6469
"""First half of the advisory lock's key; the shard is the second."""

TRY_LOCK: Final[LiteralString] = "SELECT pg_try_advisory_lock(%s, %s)"
LOCK_SHARD: Final[LiteralString] = "SELECT pg_advisory_lock(%s, %s)"
SET_LOCK_TIMEOUT: Final[LiteralString] = "SELECT set_config('lock_timeout', %s, false)"

MAKE: Final[LiteralString] = "INSERT INTO leadership (shard) VALUES (%s) ON CONFLICT DO NOTHING"

REMAINING: Final[LiteralString] = """
    SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 FROM leadership WHERE shard = %s
"""

RAISE: Final[LiteralString] = """
    UPDATE leadership
    SET epoch = epoch + 1, holder = %(holder)s, address = %(address)s, session = pg_backend_pid(),
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE shard = %(shard)s AND (%(locked)s OR lease_until < clock_timestamp())
    RETURNING epoch
"""

RENEW: Final[LiteralString] = """
    UPDATE leadership
    SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s), session = pg_backend_pid()
    WHERE shard = %(shard)s AND epoch = %(epoch)s
    RETURNING epoch
"""

RELEASE: Final[LiteralString] = """
    UPDATE leadership SET lease_until = 'epoch', holder = '', address = ''
    WHERE shard = %(shard)s AND epoch = %(epoch)s
"""

OWNER: Final[LiteralString] = """
    SELECT shard, epoch, holder, address, lease_until FROM leadership
    WHERE shard = %s AND lease_until >= clock_timestamp()
"""

# Only the owner whose lease has run out, and only while it holds the lock: a standby that has just got the lock, and is
# about to raise the epoch, is another session. (Advisory locks of other databases are none of our business.)
END_OWNER: Final[LiteralString] = """
    SELECT pg_terminate_backend(k.pid) FROM leadership AS l JOIN pg_locks AS k ON k.pid = l.session
    WHERE l.shard = %(shard)s AND l.lease_until < clock_timestamp()
      AND k.locktype = 'advisory' AND k.classid = %(class)s::oid AND k.objid = %(shard)s::oid AND k.objsubid = 2
      AND k.granted AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

END_JOURNALS: Final[LiteralString] = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = %(application)s AND datname = current_database() AND xact_start IS NOT NULL
"""

_PATIENCE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a shard; `address` is where its API answers."""

    shard: int
    epoch: int
    holder: str
    address: str
    lease_until: datetime


class Leadership:
    """One candidate for, or owner of, a shard. One call at a time."""

    def __init__(self, database: str, shard: int, holder: str, address: str, lease: float) -> None:
        """Prepare; nothing is opened yet.

        Args:
            database: URL or conninfo.
            shard: What to own.
            holder: Who we are, for people.
            address: Where our API answers.
            lease: Seconds an ownership holds without being renewed; renew at least three times as often.
        """
        self._database = database
        self._shard = shard
        self._holder = holder
        self._address = address
        self._lease = lease
        self._epoch: int | None = None
        self._link: Connection | None = None
        self._locked = False

    async def acquire(self) -> int:
        """Wait until the shard is ours and return its new epoch; read the shard's rows only afterwards.

        An owner may call it again, to fence off a commit of its own whose outcome is unknown.

        Raises:
            DatabaseUnavailableError: The database cannot be reached; call again.
        """
        try:
            return await self._acquire()
        except psycopg.OperationalError as error:
            await self._disconnect()
            raise DatabaseUnavailableError(f"The shard cannot be taken over: {error}") from error
        except asyncio.CancelledError:
            await self._disconnect()
            raise

    async def renew(self) -> bool:
        """Prolong the lease; False: the epoch is another one, the shard is lost. Takes two thirds of a lease at most.

        Raises:
            DatabaseUnavailableError: The database cannot be reached; whether the shard is still ours will show.
        """
        if self._epoch is None:
            return False
        try:
            kept = await self._renew()
        except psycopg.OperationalError:
            # Whoever took over has ended our connection, or the server restarted: a new connection tells.
            kept = await self._renew_anew()
        if not kept:
            self._epoch = None
            await self._disconnect()
        return kept

    async def release(self) -> None:
        """Give the shard up, if it is ours, so that another one takes over at once; never fails."""
        if self._epoch is not None:
            with contextlib.suppress(psycopg.OperationalError, DatabaseUnavailableError):
                link = await self._connected()
                with time_limit(link, _PATIENCE):
                    await link.execute(RELEASE, self._parameters())
        self._epoch = None
        await self._disconnect()

    @staticmethod
    async def owner(conn: Connection, shard: int) -> Owner | None:
        """Return who owns a shard by the database's clock, or None."""
        async with conn.cursor(row_factory=class_row(Owner)) as cursor:
            return await (await cursor.execute(OWNER, [shard])).fetchone()

    async def _renew(self) -> bool:
        link = await self._connected()
        with time_limit(link, max(self._lease / 3, _PATIENCE)):
            await self._try_lock(link)
            cursor = await link.execute(RENEW, self._parameters())
            return cursor.rowcount == 1

    async def _renew_anew(self) -> bool:
        await self._disconnect()
        try:
            return await self._renew()
        except psycopg.OperationalError as error:
            await self._disconnect()
            raise DatabaseUnavailableError(f"The lease cannot be renewed: {error}") from error

    async def _acquire(self) -> int:
        await (await self._connected()).execute(MAKE, [self._shard])
        while True:
            link = await self._connected()
            if not await self._try_lock(link) and not await self._wait_for_lock(link):
                continue
            epoch = await self._raise_epoch(link)
            if epoch is not None:
                self._epoch = epoch
                crash_point("leadership.after_epoch")
                return epoch

    async def _try_lock(self, link: Connection) -> bool:
        """Take the lock if nobody else has it."""
        if not self._locked:
            row = await (await link.execute(TRY_LOCK, [LOCK, self._shard])).fetchone()
            self._locked = bool(row and row[0])
        return self._locked

    async def _wait_for_lock(self, link: Connection) -> bool:
        """Wait as long as the lease holds; False: look again. True without the lock when its holder cannot be ended."""
        remaining = await self._remaining(link)
        if remaining > 0:
            return await self._lock_within(link, remaining)
        await link.execute(END_OWNER, {"class": LOCK, "shard": self._shard})
        await self._lock_within(link, min(_PATIENCE, self._lease))
        return True

    async def _remaining(self, link: Connection) -> float:
        """Return for how many seconds the lease holds; zero or less: it has run out."""
        row = await (await link.execute(REMAINING, [self._shard])).fetchone()
        return float(row[0]) if row else 0.0

    async def _lock_within(self, link: Connection, seconds: float) -> bool:
        await link.execute(SET_LOCK_TIMEOUT, [f"{max(1, round(seconds * 1000))}ms"])
        try:
            await link.execute(LOCK_SHARD, [LOCK, self._shard])
        except errors.LockNotAvailable:
            return False
        self._locked = True
        return True

    async def _raise_epoch(self, link: Connection) -> int | None:
        """Raise the epoch; None: without the lock, and the lease holds (again)."""
        await link.execute(SET_LOCK_TIMEOUT, [f"{_PATIENCE * 1000:.0f}ms"])
        wanted = {**self._parameters(), "holder": self._holder, "address": self._address, "locked": self._locked}
        while True:
            try:
                row = await (await link.execute(RAISE, wanted)).fetchone()
            except errors.LockNotAvailable:
                await link.execute(END_JOURNALS, {"application": application(self._shard)})
                continue
            return int(row[0]) if row else None

    def _parameters(self) -> dict[str, object]:
        return {"shard": self._shard, "lease": self._lease, "epoch": self._epoch}

    async def _connected(self) -> Connection:
        if self._link is None or self._link.closed:
            self._locked = False
            self._link = await write_connection(
                self._database, f"podium-leadership-{self._shard}", statement_timeout=0, lock_timeout=_PATIENCE
            )
        return self._link

    async def _disconnect(self) -> None:
        """Close the connection, and with it give the lock back."""
        self._locked = False
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()
