"""Where the log of an attempt is."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from podium.errors import AttemptNotFoundError
from podium_coordinator.domain.states import AttemptState
from podium_coordinator.store import logs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.logs import AttemptLog
from tests.store.builders import bear, ended, new_run_id, store_run

if TYPE_CHECKING:
    from podium_coordinator.store.journal import Journal
    from podium_coordinator.store.pools import Connection

BLOB, OTHER = sha256(b"log").digest(), sha256(b"other").digest()


async def test_a_small_log_is_in_the_attempts_row(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    assert await logs.attempt_log(conn, run.run_id, 0, -1, 1) == AttemptLog(
        1, UUID(bytes=attempt.token), AttemptState.ASSIGNED, None, None, 0
    )
    await journal.commit(0, Batch(attempts_ended=[ended(attempt, log=b"said", log_bytes=4)]))
    assert await logs.attempt_log(conn, run.run_id, 0, -1) == AttemptLog(
        1, UUID(bytes=attempt.token), AttemptState.SUCCEEDED, b"said", None, 4
    )


async def test_number_zero_is_the_newest_attempt(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    for number in (1, 2, 10):
        await bear(journal, run.run_id, number=number)
    assert (await logs.attempt_log(conn, run.run_id, 0, -1)).number == 10
    assert (await logs.attempt_log(conn, run.run_id, 0, -1, 2)).number == 2


@pytest.mark.parametrize("number", [0, 1])
async def test_an_attempt_that_is_not_there_is_not_found(conn: Connection, number: int) -> None:
    with pytest.raises(AttemptNotFoundError):
        await logs.attempt_log(conn, new_run_id(), 0, -1, number)


async def test_a_large_log_becomes_a_blob_once(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    assert not await logs.set_log_blob(conn, run.run_id, 0, -1, 1, BLOB, 5000)
    await journal.commit(0, Batch(attempts_ended=[ended(attempt, log_bytes=4096)]))
    for _ in range(2):
        assert await logs.set_log_blob(conn, run.run_id, 0, -1, 1, BLOB, 5000)
    assert not await logs.set_log_blob(conn, run.run_id, 0, -1, 1, OTHER, 1)
    assert not await logs.set_log_blob(conn, run.run_id, 0, -1, 9, OTHER, 1)
    stored = await logs.attempt_log(conn, run.run_id, 0, -1)
    assert (stored.blob, stored.log_bytes) == (BLOB, 5000)
