"""Batches, statement by statement, on a real Postgres."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import uuid4

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from podium_coordinator.domain.records import Failure, RunCancelling, RunEnded, RunStarted
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState
from podium_coordinator.store import blobs, commands, runs, task_runs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.errors import JournalMismatchError
from podium_coordinator.store.journal import Journal, journal_connection
from tests.store.activity import until_waiting
from tests.store.builders import AGENT, NOON, at, bear, born, ended, runs_now, skipped, store_run

if TYPE_CHECKING:
    from uuid import UUID

    from podium_coordinator.store.pools import Connection

FAILURE = Failure(FailureKind.EXIT_CODE, "it ended with 3", "line 1\nline 2", "ValueError", exit_code=3)


async def row_of(conn: Connection, run_id: UUID, columns: LiteralString) -> tuple[Any, ...]:
    row = await (await conn.execute("SELECT " + columns + " FROM attempt WHERE run_id = %s", [run_id])).fetchone()  # noqa: S608 - constants
    assert row is not None
    return row


def test_a_new_batch_is_empty_and_one_with_a_change_is_not() -> None:
    assert Batch().empty
    assert not Batch(commands_applied=[uuid4()]).empty


async def test_an_empty_batch_needs_no_database() -> None:
    async def nowhere() -> Connection:
        raise AssertionError

    await Journal(nowhere, 0).commit(0, Batch())


async def test_a_queued_run_is_started(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    await journal.commit(0, Batch(runs_started=[RunStarted(run.run_id, at(1))]))
    stored = await runs.get_run(conn, run.run_id)
    assert (stored.state, stored.started_at) == (RunState.RUNNING, at(1))


async def test_a_run_is_not_started_twice(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    start = Batch(runs_started=[RunStarted(run.run_id, at(1))])
    await journal.commit(0, start)
    with pytest.raises(JournalMismatchError, match="runs_started hit 0 rows, not 1"):
        await journal.commit(0, start)


async def test_a_run_that_is_cancelled_says_why_and_where_it_is_bound(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    await journal.commit(0, Batch(runs_cancelling=[RunCancelling(run.run_id, "no\0 need", RunState.CANCELLED)]))
    stored = await runs.get_run(conn, run.run_id)
    assert (stored.state, stored.reason, stored.outcome) == (RunState.CANCELLING, "no\ufffd need", RunState.CANCELLED)


async def test_the_end_of_a_run_is_stored_with_its_counts(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    counts = {TaskRunState.SUCCEEDED: 2, TaskRunState.SKIPPED: 1}
    await journal.commit(0, Batch(runs_ended=[RunEnded(run.run_id, RunState.SUCCEEDED, "", at(9), counts)]))
    stored = await runs.get_run(conn, run.run_id)
    assert (stored.state, stored.finished_at, stored.counts) == (RunState.SUCCEEDED, at(9), counts)


async def test_a_run_that_has_ended_does_not_change_again(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    await journal.commit(0, Batch(runs_ended=[RunEnded(run.run_id, RunState.FAILED, "why", at(9), {})]))
    for again in (
        Batch(runs_ended=[RunEnded(run.run_id, RunState.SUCCEEDED, "", at(10), {})]),
        Batch(runs_cancelling=[RunCancelling(run.run_id, "", RunState.CANCELLED)]),
        Batch(runs_started=[RunStarted(run.run_id, at(10))]),
    ):
        with pytest.raises(JournalMismatchError):
            await journal.commit(0, again)
    assert (await runs.get_run(conn, run.run_id)).state is RunState.FAILED


async def test_an_attempt_is_born_runs_and_ends(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    assert await row_of(conn, run.run_id, "state, uuid_send(token), agent_id, assigned_at") == (
        "assigned",
        attempt.token,
        AGENT,
        at(1),
    )
    await journal.commit(0, Batch(attempts_running=[runs_now(attempt)]))
    assert await row_of(conn, run.run_id, "state, started_at") == ("running", at(2))
    end = ended(attempt, output=b"[1]", log=b"said", log_bytes=4, retry_at=at(8), closes=False, failure=FAILURE)
    await journal.commit(0, Batch(attempts_ended=[end]))
    columns = "state, started_at, finished_at, output, log, log_bytes, retry_at, closes"
    assert await row_of(conn, run.run_id, columns) == (
        "succeeded",
        at(2),
        at(3),
        b"[1]",
        b"said",
        4,
        at(8),
        False,
    )
    (stored,) = await task_runs.load_attempts(conn, run.run_id)
    assert stored.failure == FAILURE


async def test_an_attempt_may_be_born_run_and_end_in_one_batch(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    attempt = born(run.run_id)
    end = ended(attempt, started_at=at(2.5))
    await journal.commit(0, Batch(attempts_born=[attempt], attempts_running=[runs_now(attempt)], attempts_ended=[end]))
    assert await row_of(conn, run.run_id, "state, started_at") == ("succeeded", at(2.5))


@pytest.mark.parametrize("late", ["running", "ended"])
async def test_a_report_with_another_token_changes_nothing(conn: Connection, journal: Journal, late: str) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    batches = {
        "running": Batch(attempts_running=[runs_now(attempt, token=uuid4().bytes)]),
        "ended": Batch(attempts_ended=[ended(attempt, token=uuid4().bytes)]),
    }
    with pytest.raises(JournalMismatchError, match="hit 0 rows, not 1"):
        await journal.commit(0, batches[late])
    assert await row_of(conn, run.run_id, "state") == ("assigned",)


async def test_an_attempt_ends_once(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    await journal.commit(0, Batch(attempts_ended=[ended(attempt)]))
    with pytest.raises(JournalMismatchError):
        await journal.commit(0, Batch(attempts_ended=[ended(attempt, AttemptState.FAILED)]))
    with pytest.raises(JournalMismatchError):
        await journal.commit(0, Batch(attempts_running=[runs_now(attempt)]))
    assert await row_of(conn, run.run_id, "state") == ("succeeded",)


async def test_an_attempt_is_not_born_twice(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    with pytest.raises(JournalMismatchError, match="attempt_pkey"):
        await bear(journal, run.run_id, number=attempt.number)


async def test_a_batch_holds_as_a_whole_or_not_at_all(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    missing = born(run.run_id, 1)
    with pytest.raises(JournalMismatchError, match="attempts_ended hit 0 rows, not 1"):
        await journal.commit(0, Batch(attempts_born=[born(run.run_id)], attempts_ended=[ended(missing)]))
    assert await task_runs.load_attempts(conn, run.run_id) == []


async def test_a_journal_goes_on_after_a_batch_it_refused(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    with pytest.raises(JournalMismatchError):
        await journal.commit(0, Batch(attempts_ended=[ended(born(run.run_id))]))
    await bear(journal, run.run_id)
    assert len(await task_runs.load_attempts(conn, run.run_id)) == 1


async def test_task_runs_end_without_an_attempt(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    ends = [skipped(run.run_id, 0), skipped(run.run_id, 2, state=TaskRunState.FAILED, failure=FAILURE)]
    await journal.commit(0, Batch(task_runs_ended=ends))
    assert await task_runs.load_ended_task_runs(conn, run.run_id) == ends


async def test_blobs_of_an_output_are_referred_to(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    attempt = await bear(journal, run.run_id)
    files = ((b"a" * 32, 5, "a\0.csv"), (b"a" * 32, 5, "copy.csv"), (b"b" * 32, 6, "b.csv"), (b"b" * 32, 6, "b.csv"))
    await journal.commit(0, Batch(attempts_ended=[ended(attempt, blobs=files)]))
    rows = await (await conn.execute("SELECT sha256, size, name, purpose FROM attempt_blob ORDER BY 1, 3")).fetchall()
    assert rows == [
        (b"a" * 32, 5, "a\ufffd.csv", "output"),
        (b"a" * 32, 5, "copy.csv", "output"),
        (b"b" * 32, 6, "b.csv", "output"),
    ]
    await blobs.record_blob(conn, b"a" * 32, 5)


async def test_commands_are_applied_once(conn: Connection, journal: Journal) -> None:
    run = await store_run(conn)
    command_id = uuid4()
    await commands.insert_command(conn, command_id, run.run_id, "cancel", "")
    await journal.commit(0, Batch(commands_applied=[command_id]))
    assert await commands.pending_commands(conn, 0) == []
    with pytest.raises(JournalMismatchError, match="commands_applied"):
        await journal.commit(0, Batch(commands_applied=[command_id]))


async def test_a_thousand_attempts_of_many_runs_go_in_one_batch(conn: Connection, journal: Journal) -> None:
    stored = [await store_run(conn) for _ in range(5)]
    attempts = [born(run.run_id, task) for run in stored for task in range(200)]
    await journal.commit(0, Batch(attempts_born=attempts, attempts_running=[runs_now(each) for each in attempts]))
    await journal.commit(0, Batch(attempts_ended=[ended(each, output=b"x" * 1000) for each in attempts]))
    for run in stored:
        assert len(await task_runs.load_outputs(conn, run.run_id, None)) == 200


async def test_updates_find_their_rows_by_key_however_large_the_table_has_become(
    conn: Connection, journal: Journal
) -> None:
    """The plans are made, and kept, while the table is as good as empty and Postgres would rather scan it."""
    if conn.info.server_version < 150_000:
        pytest.skip("NOT RUN: before version 15 Postgres does not tell what it has read in time.")
    run = await store_run(conn)
    for task in range(8):
        await journal.commit(0, Batch(attempts_ended=[ended(await bear(journal, run.run_id, task))]))
    await journal.commit(0, Batch(attempts_born=[born(run.run_id, task) for task in range(10, 5000)]))
    last = await bear(journal, run.run_id, 5000)
    before = await scanned(journal)
    await journal.commit(0, Batch(attempts_ended=[ended(last)]))
    assert await scanned(journal) - before == 0


async def test_ends_stay_on_the_page_where_their_attempts_were_born(conn: Connection, journal: Journal) -> None:
    """Such an update costs no entry in the index, and two thirds of the WAL."""
    run, size, ahead = await store_run(conn), 100, 3
    attempts = [born(run.run_id, task) for task in range(20 * size)]
    batches = [attempts[start : start + size] for start in range(0, len(attempts), size)]
    for number, batch in enumerate(batches):
        done = [ended(each, output=b"null") for each in batches[number - ahead]] if number >= ahead else []
        await journal.commit(0, Batch(attempts_born=batch, attempts_ended=done))
    assert journal._pipeline is not None
    await journal._pipeline.link.execute("SELECT pg_stat_force_next_flush()")
    query = "SELECT n_tup_hot_upd::float / n_tup_upd FROM pg_stat_user_tables WHERE relname = 'attempt'"
    row = await (await journal._pipeline.link.execute(query)).fetchone()
    assert row is not None
    assert row[0] > 0.75


async def scanned(journal: Journal) -> int:
    """Rows of the table of attempts that scans have read, what the journal's session has not told yet included."""
    assert journal._pipeline is not None
    await journal._pipeline.link.execute("SELECT pg_stat_force_next_flush()")
    query = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'attempt'"
    row = await (await journal._pipeline.link.execute(query)).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_lost_race_is_run_again(conn: Connection, other: Connection, database: str) -> None:
    """Somebody else holds the row when the journal comes, for longer than the journal's patience with one lock."""
    journal = Journal(partial(journal_connection, database, 0, lock_timeout=0.1), 0)
    run = await store_run(conn)
    async with other.transaction():
        await other.execute("SELECT 1 FROM run WHERE run_id = %s FOR UPDATE", [run.run_id])
        commit = asyncio.create_task(journal.commit(0, Batch(runs_started=[RunStarted(run.run_id, NOON)])))
        await until_waiting(conn, "podium-journal-0", waits=True)
        await until_waiting(conn, "podium-journal-0", waits=False)
    await commit
    await journal.close()
    assert (await runs.get_run(conn, run.run_id)).state is RunState.RUNNING


async def test_the_journals_commits_wait_for_the_disk_whatever_the_database_says(
    conn: Connection, journal: Journal, database: str
) -> None:
    name = conninfo_to_dict(database)["dbname"]
    await conn.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(str(name))))
    run = await store_run(conn)
    await bear(journal, run.run_id)
    assert journal._pipeline is not None
    row = await (await journal._pipeline.link.execute("SHOW synchronous_commit")).fetchone()
    assert row == ("on",)
