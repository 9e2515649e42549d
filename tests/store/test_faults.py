"""Faults on purpose: every crash point of the store is hit by a process that dies there."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import pytest

from podium_coordinator.store import faults, task_runs
from podium_coordinator.store.batch import Batch
from podium_coordinator.store.errors import InvalidSettingError, UnknownOutcomeError
from podium_coordinator.store.faults import CRASH_POINTS, RaiseAfterCommit, check_settings, crash_point, with_faults
from podium_coordinator.store.pools import options
from tests.store.builders import born, new_run_id
from tests.store.children import COMMAND, ROOT

if TYPE_CHECKING:
    from podium_coordinator.store.journal import Journal
    from podium_coordinator.store.pools import Connection

RUN = str(UUID(int=1))
KILLED = 137


def crash(point: str, *arguments: str) -> int:
    """Run a child that is to die at a point; return its exit code."""
    environment = os.environ | {faults.CRASH_AT: point}
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, env=environment, check=False, timeout=60).returncode


def count(database: str, query: str) -> int:
    with psycopg.connect(options(database, "test")) as link:
        row = link.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


@pytest.mark.parametrize(("point", "rows"), [("journal.before_commit", 0), ("journal.after_commit", 1)])
def test_a_process_dies_at_a_crash_point_of_the_journal(database: str, point: str, rows: int) -> None:
    assert crash(point, "commit", database, RUN) == KILLED
    assert count(database, "SELECT count(*) FROM attempt") == rows


def test_a_process_dies_after_it_raised_the_epoch_and_the_next_owner_need_not_wait(database: str) -> None:
    assert crash("leadership.after_epoch", "acquire", database) == KILLED
    assert count(database, "SELECT epoch FROM leadership") == 1
    assert crash("", "acquire", database) == 0
    assert count(database, "SELECT epoch FROM leadership") == 2


@pytest.mark.parametrize(("point", "tables"), [("migrate.before_commit", 0), ("migrate.after_commit", 1)])
def test_a_process_dies_at_a_crash_point_of_a_migration(empty_database: str, point: str, tables: int) -> None:
    assert crash(point, "migrate", empty_database) == KILLED
    assert count(empty_database, "SELECT count(*) FROM pg_tables WHERE tablename = 'attempt'") == tables
    assert crash("", "migrate", empty_database) == 0
    assert count(empty_database, "SELECT count(*) FROM schema_migrations") == 1


def test_every_crash_point_of_the_store_is_hit_by_a_test_here() -> None:
    here = {"journal.before_commit", "journal.after_commit", "leadership.after_epoch"}
    here |= {"migrate.before_commit", "migrate.after_commit"}
    stores = {point for point in CRASH_POINTS if point.split(".")[0] in {"journal", "leadership", "migrate"}}
    assert stores == here


def test_a_crash_point_can_wait_for_a_later_time(database: str) -> None:
    assert crash("journal.after_commit:2", "commit", database, RUN) == 0


def test_a_crash_point_that_is_not_declared_is_a_fault() -> None:
    with pytest.raises(KeyError):
        crash_point("journal.never")


@pytest.mark.parametrize(
    ("variable", "value"),
    [(faults.CRASH_AT, "journal.never"), (faults.CRASH_AT, "journal.after_commit:x"), (faults.RAISE_AFTER_COMMIT, "x")],
)
def test_a_misspelt_fault_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettingError, match=variable):
        check_settings()


async def test_a_commit_that_was_done_can_be_told_as_unknown(conn: Connection, journal: Journal) -> None:
    run_id = new_run_id()
    unsure = RaiseAfterCommit(journal, [2])
    await unsure.commit(0, Batch(attempts_born=[born(run_id, 0)]))
    with pytest.raises(UnknownOutcomeError):
        await unsure.commit(0, Batch(attempts_born=[born(run_id, 1)]))
    await unsure.commit(0, Batch(attempts_born=[born(run_id, 2)]))
    assert len(await task_runs.load_attempts(conn, run_id)) == 3


async def test_the_environment_chooses_which_commits_are_unknown(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_faults(journal) is journal
    monkeypatch.setenv(faults.RAISE_AFTER_COMMIT, "1, 3")
    unsure = with_faults(journal)
    with pytest.raises(UnknownOutcomeError):
        await unsure.commit(0, Batch(attempts_born=[born(new_run_id())]))
    await unsure.commit(0, Batch(attempts_born=[born(new_run_id())]))
