"""Ownership of a shard: eager when the owner dies, by the lease when it does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from podium_coordinator.store import task_runs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.errors import DatabaseUnavailableError, FencedError
from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.leadership import LOCK, Leadership, Owner
from podium_coordinator.store.statements import FENCE
from tests.store.activity import scalar, until_gone, until_waiting
from tests.store.builders import born, store_run
from tests.store.children import COMMAND, ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from podium_coordinator.store.pools import Connection

Candidates = "Callable[..., Leadership]"
NAME = "podium-leadership-0"


@pytest.fixture
async def candidate(database: str) -> AsyncIterator[Callable[..., Leadership]]:
    made: list[Leadership] = []

    def make(holder: str = "a", lease: float = 60.0, shard: int = 0) -> Leadership:
        made.append(Leadership(database, shard, holder, f"{holder}:7450", lease))
        return made[-1]

    yield make
    for each in made:
        await each.release()


@contextlib.asynccontextmanager
async def waiting(standby: Leadership, conn: Connection) -> AsyncIterator[asyncio.Task[int]]:
    """A standby that waits for the lock; its task has to be done in the end."""
    task = asyncio.create_task(standby.acquire())
    await until_waiting(conn, NAME)
    yield task
    async with asyncio.timeout(20):
        await task


async def expire(conn: Connection) -> None:
    await conn.execute("UPDATE leadership SET lease_until = clock_timestamp() - interval '1 s'")


async def test_each_acquisition_raises_the_epoch(candidate: Callable[..., Leadership]) -> None:
    owner = candidate()
    assert [await owner.acquire(), await owner.acquire()] == [1, 2]


async def test_an_owner_is_known_by_its_lease(conn: Connection, candidate: Callable[..., Leadership]) -> None:
    assert await Leadership.owner(conn, 0) is None
    epoch = await candidate("alice").acquire()
    owner = await Leadership.owner(conn, 0)
    assert isinstance(owner, Owner)
    assert (owner.epoch, owner.holder, owner.address) == (epoch, "alice", "alice:7450")
    await expire(conn)
    assert await Leadership.owner(conn, 0) is None


async def test_shards_have_owners_of_their_own(conn: Connection, candidate: Callable[..., Leadership]) -> None:
    assert await candidate("a", shard=0).acquire() == 1
    assert await candidate("b", shard=1).acquire() == 1
    assert await scalar(conn, "SELECT string_agg(holder, ',' ORDER BY shard) FROM leadership") == "a,b"


async def test_a_renewal_prolongs_the_lease(conn: Connection, candidate: Callable[..., Leadership]) -> None:
    owner = candidate()
    await owner.acquire()
    await expire(conn)
    assert await owner.renew()
    assert await Leadership.owner(conn, 0) is not None


async def test_whoever_owns_nothing_renews_nothing(candidate: Callable[..., Leadership]) -> None:
    assert not await candidate().renew()


async def test_a_standby_takes_over_the_moment_the_owner_releases(
    conn: Connection, candidate: Callable[..., Leadership]
) -> None:
    owner, standby = candidate("a"), candidate("b")
    await owner.acquire()
    async with waiting(standby, conn) as task:
        await owner.release()
    assert task.result() == 2


async def test_a_standby_takes_over_the_moment_the_owners_connection_ends(
    conn: Connection, candidate: Callable[..., Leadership]
) -> None:
    owner, standby = candidate("a"), candidate("b")
    await owner.acquire()
    assert owner._link is not None
    async with waiting(standby, conn) as task:
        await conn.execute("SELECT pg_terminate_backend(%s)", [owner._link.info.backend_pid])
    assert task.result() == 2
    assert not await owner.renew()


async def test_the_lease_of_an_owner_that_is_frozen_is_taken_over_though_it_holds_the_lock(
    conn: Connection, candidate: Callable[..., Leadership]
) -> None:
    frozen, standby = candidate("a", lease=0.2), candidate("b")
    await frozen.acquire()
    async with asyncio.timeout(20):
        assert await standby.acquire() == 2
    assert await scalar(conn, "SELECT holder FROM leadership") == "b"
    assert not await frozen.renew()


async def test_an_owner_whose_process_is_frozen_loses_the_shard_and_learns_it_when_it_thaws(
    database: str, candidate: Callable[..., Leadership]
) -> None:
    frozen = await asyncio.create_subprocess_exec(
        *COMMAND, "hold", database, "0.5", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert frozen.stdout is not None
    async with asyncio.timeout(60):
        assert await frozen.stdout.readline() == b"1\n"
        frozen.send_signal(signal.SIGSTOP)
        successor = candidate("b")
        assert await successor.acquire() == 2
        frozen.send_signal(signal.SIGCONT)
        assert await frozen.stdout.readline() == b"lost\n"
        await frozen.wait()
    assert await successor.renew()


async def test_an_owner_whose_process_is_killed_is_followed_at_once(
    conn: Connection, database: str, candidate: Callable[..., Leadership]
) -> None:
    owner = await asyncio.create_subprocess_exec(
        *COMMAND, "hold", database, "600", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    async with asyncio.timeout(60):
        assert await owner.stdout.readline() == b"1\n"
        async with waiting(candidate("b"), conn) as task:
            owner.kill()
        assert task.result() == 2
        await owner.wait()


async def test_the_new_owner_has_the_lock_so_that_the_next_one_waits(
    conn: Connection, candidate: Callable[..., Leadership]
) -> None:
    await candidate("a", lease=0.1).acquire()
    second, third = candidate("b"), candidate("c")
    await second.acquire()
    async with waiting(third, conn) as task:
        assert not task.done()
        assert await scalar(conn, "SELECT epoch FROM leadership") == 2
        await second.release()


async def test_a_standby_waits_on_while_the_lease_is_renewed(
    conn: Connection, candidate: Callable[..., Leadership]
) -> None:
    owner, standby = candidate("a", lease=0.3), candidate("b")
    await owner.acquire()
    async with waiting(standby, conn) as task:
        for _ in range(40):
            assert await owner.renew()
            await asyncio.wait([task], timeout=0.02)
        assert not task.done()
        await owner.release()


async def test_an_owner_that_lost_its_connection_finds_its_lock_again(
    conn: Connection, candidate: Callable[..., Leadership]
) -> None:
    owner = candidate("a")
    await owner.acquire()
    assert owner._link is not None
    await conn.execute("SELECT pg_terminate_backend(%s)", [owner._link.info.backend_pid])
    await until_gone(conn, NAME)
    assert await owner.renew()
    assert await scalar(conn, "SELECT pg_try_advisory_lock(%s, 0)", LOCK) is False


async def test_of_many_candidates_each_epoch_has_one_owner(candidate: Callable[..., Leadership]) -> None:
    candidates = [candidate(str(number), lease=0.05) for number in range(5)]
    epochs = await asyncio.gather(*(each.acquire() for each in candidates))
    assert sorted(epochs) == sorted(set(epochs))
    assert [await each.renew() for each in candidates].count(True) == 1


async def test_a_takeover_ends_a_commit_of_the_old_owner_that_never_ends(
    conn: Connection, database: str, candidate: Callable[..., Leadership]
) -> None:
    """A client that froze between fence and COMMIT would hold the epoch's row for as long as it is frozen."""
    old = await candidate("a", lease=0.1).acquire()
    stuck = await journal_connection(database, 0)
    await stuck.execute("SET idle_in_transaction_session_timeout = 0")
    await stuck.set_autocommit(False)
    await stuck.execute(FENCE, {"shard": 0, "epoch": old})
    async with asyncio.timeout(30):
        assert await candidate("b").acquire() == old + 1
    await until_gone(conn, "podium-journal-0")
    await stuck.close()


async def test_the_old_owners_journal_is_fenced_after_a_takeover(
    conn: Connection, database: str, candidate: Callable[..., Leadership]
) -> None:
    run = await store_run(conn)
    journal = Journal(partial(journal_connection, database, 0), 0)
    old = await candidate("a", lease=0.1).acquire()
    await journal.commit(old, Batch(attempts_born=[born(run.run_id, 0)]))
    new = await candidate("b").acquire()
    with pytest.raises(FencedError):
        await journal.commit(old, Batch(attempts_born=[born(run.run_id, 1)]))
    await journal.commit(new, Batch(attempts_born=[born(run.run_id, 2)]))
    await journal.close()
    assert [attempt.task for attempt in await task_runs.load_attempts(conn, run.run_id)] == [0, 2]


async def test_waiting_for_a_shard_can_be_given_up(conn: Connection, candidate: Callable[..., Leadership]) -> None:
    await candidate("a").acquire()
    standby = candidate("b")
    task = asyncio.create_task(standby.acquire())
    await until_waiting(conn, NAME)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await scalar(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 0


async def test_without_a_database_acquiring_says_so() -> None:
    nobody = Leadership("host=/nowhere dbname=none", 0, "a", "a:1", 5.0)
    with pytest.raises(DatabaseUnavailableError):
        await nobody.acquire()
    assert not await nobody.renew()
    await nobody.release()
