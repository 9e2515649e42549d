"""The fence: nothing is committed under an epoch that has passed, in whatever order two owners meet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from psycopg.errors import DatabaseError, LockNotAvailable

from podium_coordinator.store import task_runs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.columns import Bigint, Int
from podium_coordinator.store.errors import FENCED, FencedError
from podium_coordinator.store.plan import plan
from podium_coordinator.store.statements import BEAR_ATTEMPTS, FENCE
from tests.store.activity import scalar, until_waiting
from tests.store.builders import born, ended, new_run_id, runs_now, store_run
from tests.store.dumping import take_columns

if TYPE_CHECKING:
    from uuid import UUID

    from podium_coordinator.store.journal import Journal
    from podium_coordinator.store.pools import Connection

TAKE_OVER = "UPDATE leadership SET epoch = epoch + 1 WHERE shard = 0 RETURNING epoch"


async def attempts_of(conn: Connection, run_id: UUID) -> int:
    return len(await task_runs.load_attempts(conn, run_id))


async def test_an_epoch_that_has_passed_cannot_commit(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    await conn.execute(TAKE_OVER)
    with pytest.raises(FencedError):
        await journal.commit(0, Batch(attempts_born=[born(run.run_id)]))
    assert await attempts_of(conn, run.run_id) == 0
    await journal.commit(1, Batch(attempts_born=[born(run.run_id)]))
    assert await attempts_of(conn, run.run_id) == 1


async def test_an_epoch_that_has_not_come_cannot_commit(journal: Journal) -> None:
    with pytest.raises(FencedError):
        await journal.commit(1, Batch(attempts_born=[born(new_run_id())]))


async def test_the_fence_tells_even_when_much_was_to_come_after_it(conn: Connection, journal: Journal) -> None:
    """The answers to what the server skips come in pieces; the first error must be the one that is told."""
    attempts = [born(new_run_id(), task) for task in range(3000)]
    batch = Batch(
        attempts_born=attempts,
        attempts_running=[runs_now(each) for each in attempts[:1500]],
        attempts_ended=[ended(each, output=b"x" * 500) for each in attempts[1500:]],
    )
    await conn.execute(TAKE_OVER)
    for _ in range(10):
        with pytest.raises(FencedError):
            await journal.commit(0, batch)


async def test_a_takeover_waits_for_a_commit_that_is_under_way(conn: Connection, other: Connection) -> None:
    run = await store_run(conn)
    await other.set_autocommit(False)
    await other.execute(FENCE, {"shard": 0, "epoch": 0})
    takeover = asyncio.create_task(conn.execute(TAKE_OVER))
    async with asyncio.timeout(20):
        watch = await other.execute("SELECT 1")
        await watch.fetchone()
        await until_waiting(other, "test")
    assert not takeover.done()
    await _bear(other, run.run_id)
    await other.commit()
    await takeover
    assert await attempts_of(conn, run.run_id) == 1


async def test_a_commit_that_meets_a_takeover_waits_for_it_and_fails(
    conn: Connection, other: Connection, journal: Journal
) -> None:
    run = await store_run(conn)
    await other.set_autocommit(False)
    await other.execute(TAKE_OVER)
    commit = asyncio.create_task(journal.commit(0, Batch(attempts_born=[born(run.run_id)])))
    await until_waiting(conn, "podium-journal-0")
    await other.commit()
    with pytest.raises(FencedError):
        await commit
    assert await attempts_of(conn, run.run_id) == 0


async def test_a_commit_that_meets_a_takeover_that_is_given_up_goes_on(
    conn: Connection, other: Connection, journal: Journal
) -> None:
    run = await store_run(conn)
    await other.set_autocommit(False)
    await other.execute(TAKE_OVER)
    commit = asyncio.create_task(journal.commit(0, Batch(attempts_born=[born(run.run_id)])))
    await until_waiting(conn, "podium-journal-0")
    await other.rollback()
    await commit
    assert await attempts_of(conn, run.run_id) == 1


async def test_commits_do_not_wait_for_a_renewal_of_the_lease_to_be_read_anew(
    conn: Connection, other: Connection, journal: Journal
) -> None:
    """A renewal makes a new version of the row; the fence must find its epoch unchanged there."""
    run = await store_run(conn)
    await other.set_autocommit(False)
    await other.execute("UPDATE leadership SET lease_until = clock_timestamp() WHERE shard = 0")
    commit = asyncio.create_task(journal.commit(0, Batch(attempts_born=[born(run.run_id)])))
    await until_waiting(conn, "podium-journal-0")
    await other.commit()
    await commit
    assert await attempts_of(conn, run.run_id) == 1


async def test_the_lock_of_the_fence_holds_until_the_commit(conn: Connection, other: Connection) -> None:
    await other.set_autocommit(False)
    await other.execute(FENCE, {"shard": 0, "epoch": 0})
    with pytest.raises(LockNotAvailable):
        await conn.execute("SELECT 1 FROM leadership WHERE shard = 0 FOR NO KEY UPDATE NOWAIT")
    await other.commit()
    assert await scalar(conn, "SELECT epoch FROM leadership WHERE shard = 0 FOR NO KEY UPDATE NOWAIT") == 0


async def test_two_commits_of_one_owner_do_not_wait_for_each_other_at_the_fence(
    conn: Connection, other: Connection, journal: Journal
) -> None:
    run = await store_run(conn)
    await other.set_autocommit(False)
    await other.execute(FENCE, {"shard": 0, "epoch": 0})
    await journal.commit(0, Batch(attempts_born=[born(run.run_id)]))
    await other.rollback()


async def test_the_fence_comes_first_in_every_batch() -> None:
    attempt = born(new_run_id())
    statements = plan(3, 9, Batch(attempts_born=[attempt], attempts_ended=[ended(attempt)]))
    assert statements[0] == (FENCE, {"shard": Int.of(3), "epoch": Bigint.of(9)})


async def test_a_shard_nobody_knows_cannot_be_written(conn: Connection) -> None:
    with pytest.raises(DatabaseError) as caught:
        await conn.execute(FENCE, {"shard": 5, "epoch": 0})
    assert caught.value.sqlstate == FENCED


async def _bear(conn: Connection, run_id: UUID) -> None:
    take_columns(conn)
    ((_, parameters),) = [each for each in plan(0, 0, Batch(attempts_born=[born(run_id)])) if each[0] == BEAR_ATTEMPTS]
    await conn.execute(BEAR_ATTEMPTS, parameters)
