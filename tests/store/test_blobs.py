"""Which blobs there are, and which may go."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from podium_coordinator.store import blobs, logs, workflows
from podium_coordinator.store.batch import Batch
from tests.store.activity import until_waiting
from tests.store.builders import bear, ended, store_run

if TYPE_CHECKING:
    from podium_coordinator.store.journal import Journal
    from podium_coordinator.store.pools import Connection

HOUR = timedelta(hours=1)
A, B, C, D = (sha256(name).digest() for name in (b"a", b"b", b"c", b"d"))


async def record(conn: Connection, *names: bytes) -> None:
    for name in names:
        await blobs.record_blob(conn, name, 10)


async def age(conn: Connection) -> None:
    await conn.execute("UPDATE blob SET wanted_at = wanted_at - interval '2 h'")


async def test_blobs_that_are_stored_have_sizes(conn: Connection) -> None:
    await blobs.record_blob(conn, A, 3_000_000_000)
    await blobs.record_blob(conn, A, 3_000_000_000)
    assert await blobs.sizes(conn, [A, B]) == {A: 3_000_000_000}
    assert await blobs.sizes(conn, []) == {}


async def test_a_blob_nobody_refers_to_or_wants_may_go(conn: Connection) -> None:
    await record(conn, A, B)
    assert await blobs.unreferenced(conn, HOUR) == []
    await age(conn)
    assert sorted(await blobs.unreferenced(conn, HOUR)) == sorted([A, B])
    assert len(await blobs.unreferenced(conn, HOUR, 1)) == 1
    assert await blobs.forget(conn, A, HOUR)
    assert await blobs.sizes(conn, [A, B]) == {B: 10}


async def test_asking_about_a_blob_keeps_it(conn: Connection) -> None:
    await record(conn, A, B)
    await age(conn)
    assert await blobs.touch(conn, [A, C]) == {A: 10}
    assert await blobs.unreferenced(conn, HOUR) == [B]
    assert not await blobs.forget(conn, A, HOUR)


async def test_storing_a_blob_again_keeps_it(conn: Connection) -> None:
    await record(conn, A)
    await age(conn)
    await record(conn, A)
    assert await blobs.unreferenced(conn, HOUR) == []


async def test_a_blob_that_something_refers_to_stays(conn: Connection, journal: Journal) -> None:
    await record(conn, A, B, C, D)
    await workflows.register(conn, "bundled", b"d", b"", A, 1)
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    await journal.commit(0, Batch(attempts_ended=[ended(attempt, blobs=((B, 10, "b.csv"),))]))
    assert await logs.set_log_blob(conn, run.run_id, 0, -1, 1, C, 10)
    await age(conn)
    assert await blobs.unreferenced(conn, HOUR) == [D]
    for name in (A, B, C):
        assert not await blobs.forget(conn, name, HOUR)


async def test_storing_bytes_that_are_being_collected_waits_and_stores_them_anew(
    conn: Connection, other: Connection
) -> None:
    await record(conn, A)
    await age(conn)
    async with conn.transaction():
        assert await blobs.forget(conn, A, HOUR)
        again = asyncio.create_task(blobs.record_blob(other, A, 10))
        await until_waiting(conn, "test-other")
        assert not again.done()
    await again
    assert await blobs.sizes(conn, [A]) == {A: 10}


async def test_a_blob_that_was_wanted_in_the_meantime_is_not_forgotten(conn: Connection, other: Connection) -> None:
    await record(conn, A)
    await age(conn)
    async with other.transaction():
        await blobs.touch(other, [A])
        forget = asyncio.create_task(blobs.forget(conn, A, HOUR))
        await until_waiting(other, "test")
    assert not await forget
