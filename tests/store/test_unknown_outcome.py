"""Commits whose outcome nobody knows are told as such, and those that were surely rolled back are not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from podium_coordinator.store import task_runs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.errors import DatabaseUnavailableError, UnknownOutcomeError
from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.leadership import Leadership
from podium_coordinator.store.plan import plan
from tests.store.activity import scalar, until_gone, until_waiting
from tests.store.builders import born, new_run_id
from tests.store.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from podium_coordinator.store.pools import Connection
    from tests.store.proxy import Proxy

NAME = "podium-journal-0"


@pytest.fixture
async def network(database: str, short_folder: Path) -> AsyncIterator[tuple[Proxy, str]]:
    folder = short_folder / f"net{time.monotonic_ns()}"
    folder.mkdir()
    async with proxied(database, folder) as made:
        yield made


@pytest.fixture
async def far_journal(network: tuple[Proxy, str]) -> AsyncIterator[Journal]:
    """A journal behind a network that may break; connected, and quick to give up."""
    _, through = network
    journal = Journal(partial(journal_connection, through, 0), 0, commit_timeout=0.5, connect_timeout=1.0)
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    yield journal
    await journal.close()


async def attempts(conn: Connection) -> int:
    count: int = await scalar(conn, "SELECT count(*) - 1 FROM attempt")
    return count


@pytest.mark.parametrize("hang_up", [True, False])
async def test_a_commit_whose_answer_is_lost_is_unknown_though_it_was_done(
    conn: Connection, network: tuple[Proxy, str], far_journal: Journal, hang_up: bool
) -> None:
    proxy, _ = network
    proxy.mute = True
    commit = asyncio.create_task(far_journal.commit(0, Batch(attempts_born=[born(new_run_id())])))
    await proxy.swallowed.wait()
    if hang_up:
        proxy.hang_up()
    with pytest.raises(UnknownOutcomeError):
        await commit
    assert await attempts(conn) == 1


@pytest.mark.parametrize("hang_up", [True, False])
async def test_a_commit_that_never_arrives_is_unknown_too(
    conn: Connection, network: tuple[Proxy, str], far_journal: Journal, hang_up: bool
) -> None:
    proxy, _ = network
    proxy.deaf = True
    commit = asyncio.create_task(far_journal.commit(0, Batch(attempts_born=[born(new_run_id())])))
    await proxy.swallowed.wait()
    if hang_up:
        proxy.hang_up()
    with pytest.raises(UnknownOutcomeError):
        await commit
    proxy.hang_up()
    await until_gone(conn, NAME)
    assert await attempts(conn) == 0


async def test_a_connection_that_ended_between_commits_is_opened_anew(
    conn: Connection, network: tuple[Proxy, str], far_journal: Journal
) -> None:
    network[0].hang_up()
    await until_gone(conn, NAME)
    await far_journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    assert await attempts(conn) == 1


async def test_a_session_that_the_server_ended_between_commits_is_opened_anew(
    conn: Connection, journal: Journal
) -> None:
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    assert journal._pipeline is not None
    await conn.execute("SELECT pg_terminate_backend(%s)", [journal._pipeline.link.info.backend_pid])
    await until_gone(conn, NAME)
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    assert await attempts(conn) == 1


async def test_a_session_that_is_ended_in_the_middle_of_a_commit_leaves_it_unknown(
    conn: Connection, other: Connection, journal: Journal
) -> None:
    await other.set_autocommit(False)
    await other.execute("SELECT 1 FROM leadership FOR UPDATE")
    commit = asyncio.create_task(journal.commit(0, Batch(attempts_born=[born(new_run_id())])))
    await until_waiting(conn, NAME)
    await conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [NAME])
    with pytest.raises(UnknownOutcomeError):
        await commit
    await other.rollback()


async def test_a_commit_that_is_interrupted_leaves_nothing_half_done(
    conn: Connection, other: Connection, journal: Journal
) -> None:
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    await other.set_autocommit(False)
    await other.execute("SELECT 1 FROM leadership FOR UPDATE")
    commit = asyncio.create_task(journal.commit(0, Batch(attempts_born=[born(new_run_id())])))
    await until_waiting(conn, NAME)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    await other.rollback()
    await until_gone(conn, NAME)
    assert await attempts(conn) == 0
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))


async def test_a_fault_between_two_statements_commits_nothing_of_the_first(conn: Connection, journal: Journal) -> None:
    """The pipeline ends with a Sync even then, which commits whatever was sent outside of a transaction."""
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    assert journal._pipeline is not None
    statements = plan(0, 0, Batch(attempts_born=[born(new_run_id())]))
    with pytest.raises(KeyError, match="it"):
        await journal._send(journal._pipeline, [*statements, ("SELECT %(it)s", {})])
    await journal.close()
    await until_gone(conn, NAME)
    assert await attempts(conn) == 0


async def test_a_new_epoch_waits_for_or_fences_off_a_commit_that_is_still_on_its_way(
    conn: Connection, other: Connection, database: str, network: tuple[Proxy, str], far_journal: Journal
) -> None:
    """Afterwards the rows say what happened, and nothing can change that any more."""
    proxy, _ = network
    run_id = new_run_id()
    proxy.mute = True
    with pytest.raises(UnknownOutcomeError):
        await far_journal.commit(0, Batch(attempts_born=[born(run_id)]))
    owner = Leadership(database, 0, "a", "a:1", 60.0)
    assert await owner.acquire() == 1
    assert len(await task_runs.load_attempts(conn, run_id)) == 1
    await owner.release()


async def test_without_a_database_nothing_was_written() -> None:
    nowhere = Journal(partial(journal_connection, "host=/nowhere dbname=none", 0), 0, connect_timeout=0.1)
    with pytest.raises(DatabaseUnavailableError):
        await nowhere.commit(0, Batch(attempts_born=[born(new_run_id())]))


async def test_a_server_that_takes_no_writes_is_unavailable(conn: Connection, journal: Journal) -> None:
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    assert journal._pipeline is not None
    await journal._pipeline.link.execute("SET default_transaction_read_only = on")
    with pytest.raises(DatabaseUnavailableError):
        await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))


async def test_a_statement_over_its_time_was_rolled_back(conn: Connection, other: Connection, journal: Journal) -> None:
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    assert journal._pipeline is not None
    await journal._pipeline.link.execute("SET statement_timeout = '50ms'")
    await other.set_autocommit(False)
    await other.execute("SELECT 1 FROM leadership FOR UPDATE")
    with pytest.raises(DatabaseUnavailableError, match="57014"):
        await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    await other.rollback()
    assert await attempts(conn) == 0


async def test_a_frozen_server_session_does_not_hold_the_journal_for_longer_than_its_limit(
    conn: Connection, database: str
) -> None:
    journal = Journal(partial(journal_connection, database, 0), 0, commit_timeout=0.3)
    await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    assert journal._pipeline is not None
    frozen = journal._pipeline.link.info.backend_pid
    os.kill(frozen, signal.SIGSTOP)
    try:
        with pytest.raises(UnknownOutcomeError):
            await journal.commit(0, Batch(attempts_born=[born(new_run_id())]))
    finally:
        os.kill(frozen, signal.SIGCONT)
    await journal.close()
