"""The journal: the only writer of a shard's runs.

Theory of operation. The shard loop decides in memory and hands over a batch; a batch is one transaction, so it holds as
a whole or not at all, and only after `commit` returned may the loop tell anybody.

*Fence.* The first statement locks the shard's leadership row FOR SHARE, under the condition that its epoch is ours, and
fails if it is not. A takeover updates that row, so it waits for our commit, or we wait for it and fail. After a
takeover nothing of ours can be committed any more, and the new owner, who reads after it took over, has seen all of it.

*One round trip.* BEGIN, the statements and COMMIT go out in one pipeline; after an error the server skips the rest,
COMMIT included. Measured, this takes half the time of one statement after the other for a batch of one row; columns in
binary take a third of the time of text for a thousand. BEGIN costs nothing and has a reason: without it, what was
sent before an interruption would be committed by the Sync with which the pipeline ends.

*Outcome.* An error that the server reported, on a connection on which ROLLBACK then works, means that nothing was
written: a lost race (serialization, deadlock, lock timeout) is tried again here. Whatever else went wrong, since COMMIT
travels with the rest, leaves the outcome unknown, and only a new epoch tells: raising it waits for, or fences off, the
transaction that may still be on its way.

*Time.* Each statement and lock has a limit in the server, and the whole has one here: past it, the socket is cut.
"""

from __future__ import annotations

import asyncio
import random
import select
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors, pq

from podium_coordinator.store.errors import (
    FENCED,
    DatabaseUnavailableError,
    FencedError,
    JournalMismatchError,
    UnknownOutcomeError,
)
from podium_coordinator.store.faults import crash_point
from podium_coordinator.store.pipeline import Pipeline
from podium_coordinator.store.plan import plan
from podium_coordinator.store.pools import time_limit, write_connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from podium_coordinator.store.batch import Batch
    from podium_coordinator.store.pipeline import Statement
    from podium_coordinator.store.pools import Connection

TRIES: Final = 6
"""How often a batch that lost a race is sent before that counts as the database being unavailable."""

_LOST_A_RACE: Final = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)

# Of the server's errors, those that say something about its condition: resources, operator, system, internal, standby.
_CONDITIONS: Final = ("53", "57", "58", "XX", "25006")

# All the journal does is look up rows by their keys. A plan kept from when a table was small must not scan it later.
_BY_KEY: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


def application(shard: int) -> str:
    """Return what the journal's connection is called in `pg_stat_activity`; a takeover looks for it."""
    return f"podium-journal-{shard}"


async def journal_connection(database: str, shard: int, lock_timeout: float = 3.0) -> Connection:
    """Open a connection for a journal; it waits `lock_timeout` seconds for a lock before it tries again.

    Raises:
        DatabaseUnavailableError: It could not be opened.
    """
    return await write_connection(database, application(shard), lock_timeout=lock_timeout, extra=_BY_KEY)


class Journal:
    """Commits batches of one shard over one connection of its own, which it opens when there is none."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        shard: int,
        *,
        commit_timeout: float = 20.0,
        connect_timeout: float = 10.0,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            connect: Opens a connection, as `journal_connection` does.
            shard: Whose runs are written.
            commit_timeout: Seconds after which a commit under way is given up, its outcome unknown.
            connect_timeout: Seconds to go on trying to connect.
        """
        self._connect = connect
        self._shard = shard
        self._commit_timeout = commit_timeout
        self._connect_timeout = connect_timeout
        self._pipeline: Pipeline | None = None

    async def commit(self, epoch: int, batch: Batch) -> None:
        """Commit a batch under an epoch: all of it or nothing. One call at a time.

        An attempt in `attempts_running` that ends in the same batch is left to its end.

        Raises:
            FencedError: The epoch is not current: stop writing. Nothing was written.
            UnknownOutcomeError: Nobody knows whether it was written: take a new epoch, reload, decide again.
            JournalMismatchError: It does not fit what is stored, a fault of ours. Nothing was written.
            DatabaseUnavailableError: The database cannot be reached or takes no writes. Nothing was written, and the
                same batch may be committed later.
        """
        if batch.empty:
            return
        statements = plan(self._shard, epoch, batch)
        for tried in range(1, TRIES + 1):
            pipeline = await self._connected()
            crash_point("journal.before_commit")
            try:
                await self._send(pipeline, statements)
            except psycopg.Error as error:
                await self._refuse(pipeline.link, error, last=tried == TRIES)
                await asyncio.sleep(random.uniform(0.005, 0.02) * 2**tried)  # noqa: S311 - spreads retries
            except BaseException:
                await self.close()
                raise
            else:
                crash_point("journal.after_commit")
                return

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._pipeline is not None:
            link, self._pipeline = self._pipeline.link, None
            await link.close()

    async def _connected(self) -> Pipeline:
        if self._pipeline is not None and _alive(self._pipeline.link):
            return self._pipeline
        await self.close()
        self._pipeline = Pipeline(await self._open())
        return self._pipeline

    async def _open(self) -> Connection:
        """Connect, again and again for a while: a server that restarts is back in a moment."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._connect_timeout
        pause = 0.02
        while True:
            try:
                return await self._connect()
            except DatabaseUnavailableError:
                if clock() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _send(self, pipeline: Pipeline, statements: Sequence[Statement]) -> None:
        with time_limit(pipeline.link, self._commit_timeout):
            await pipeline.transact(statements)

    async def _refuse(self, link: Connection, error: psycopg.Error, *, last: bool) -> None:
        """Raise what a failed commit means; return if it lost a race and may be tried again."""
        state = error.sqlstate
        if state is None or not await self._rolled_back(link):
            await self.close()
            raise UnknownOutcomeError(f"The connection broke while committing: {error}") from error
        if state == FENCED:
            raise FencedError(f"Shard {self._shard} has another owner: {error}", shard=self._shard) from error
        raced = isinstance(error, _LOST_A_RACE)
        if raced and not last:
            return
        if raced or state.startswith(_CONDITIONS):
            await self.close()
            raise DatabaseUnavailableError(f"The database did not commit ({state}): {error}", sqlstate=state) from error
        raise JournalMismatchError(f"The database refused a batch ({state}): {error}", sqlstate=state) from error

    async def _rolled_back(self, link: Connection) -> bool:
        """Make sure that the server, which reported an error, has ended the transaction."""
        try:
            with time_limit(link, self._commit_timeout):
                await link.rollback()
        except psycopg.Error:
            return False
        return link.info.transaction_status is pq.TransactionStatus.IDLE


def _alive(link: Connection) -> bool:
    """Tell whether the connection is worth sending on: open, and its server has said nothing meanwhile."""
    if link.closed or link.info.transaction_status is not pq.TransactionStatus.IDLE:
        return False
    # Nothing is due on a connection that is idle, so it is a farewell, or news of settings: a new one costs little.
    poll = select.poll()
    poll.register(link.fileno(), select.POLLIN)
    return not poll.poll(0)
