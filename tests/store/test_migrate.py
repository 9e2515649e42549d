"""Migrations: once each, by however many at once, and never on a database they do not know."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from podium_coordinator.store.errors import DatabaseUnavailableError, MigrationError
from podium_coordinator.store.migrate import LOCK, Migration, migrate, migrations
from podium_coordinator.store.pools import options
from tests.store.children import COMMAND, ROOT

if TYPE_CHECKING:
    from typing import Any

TABLE = Migration(1, "first", "CREATE TABLE first (id int)")
SECOND = Migration(2, "second", "CREATE TABLE second (id int); INSERT INTO first VALUES (2)")
BROKEN = Migration(3, "broken", "CREATE TABLE third (id int); SELECT 1 / 0")


def query(database: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(options(database, "test")) as link:
        return link.execute(text.encode()).fetchall()


def applied(database: str) -> list[tuple[Any, ...]]:
    return query(database, "SELECT version, name FROM schema_migrations ORDER BY version")


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [step.version for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_an_empty_database_is_brought_up_to_date(empty_database: str) -> None:
    assert migrate(empty_database) == len(migrations())
    assert applied(empty_database) == [(step.version, step.name) for step in migrations()]


def test_what_was_applied_is_not_applied_again(empty_database: str) -> None:
    assert [migrate(empty_database, [TABLE]), migrate(empty_database, [TABLE])] == [1, 1]


def test_only_what_is_missing_is_applied(empty_database: str) -> None:
    migrate(empty_database, [TABLE])
    assert migrate(empty_database, [TABLE, SECOND]) == 2
    assert query(empty_database, "SELECT id FROM first") == [(2,)]


def test_several_processes_may_migrate_at_once(empty_database: str) -> None:
    children = [
        subprocess.Popen([*COMMAND, "migrate", empty_database], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)
    ]
    told = [child.communicate(timeout=60)[0].strip() for child in children]
    assert told == [str(len(migrations())).encode()] * 4
    assert len(applied(empty_database)) == len(migrations())


def test_a_migration_that_fails_leaves_nothing_of_itself_and_what_came_before(empty_database: str) -> None:
    with pytest.raises(MigrationError, match=r"Migration 3 \(broken\) failed: division by zero"):
        migrate(empty_database, [TABLE, SECOND, BROKEN])
    assert applied(empty_database) == [(1, "first"), (2, "second")]
    assert query(empty_database, "SELECT count(*) FROM pg_tables WHERE tablename = 'third'") == [(0,)]


def test_a_migration_that_was_changed_afterwards_is_refused(empty_database: str) -> None:
    migrate(empty_database, [TABLE])
    with pytest.raises(MigrationError, match=r"Migration 1 \(first\) was changed"):
        migrate(empty_database, [replace(TABLE, text="CREATE TABLE first (id bigint)")])


def test_a_database_that_is_newer_than_the_code_is_refused(empty_database: str) -> None:
    migrate(empty_database, [TABLE, SECOND])
    with pytest.raises(MigrationError, match=r"migration 2 \(second\), which this version of Podium does not know"):
        migrate(empty_database, [TABLE])


def test_our_tables_are_in_a_schema_of_their_own(empty_database: str) -> None:
    migrate(empty_database)
    assert query(empty_database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert query(empty_database, "SELECT count(*) > 8 FROM pg_tables WHERE schemaname = 'podium'") == [(True,)]


def test_an_account_without_the_right_to_make_the_schema_is_told_which_one_it_lacks(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as link:
        link.execute("CREATE ROLE powerless LOGIN")
        try:
            with pytest.raises(MigrationError, match=r'GRANT CREATE ON DATABASE .* TO "powerless"'):
                migrate(make_conninfo(empty_database, user="powerless"))
            link.execute("CREATE SCHEMA podium AUTHORIZATION powerless")
            assert migrate(make_conninfo(empty_database, user="powerless")) == len(migrations())
            link.execute("DROP OWNED BY powerless")
        finally:
            link.execute("DROP ROLE powerless")


def test_waiting_for_another_coordinators_migration_has_an_end(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podium_coordinator.store.migrate._LOCK_TIMEOUT", 0.05)
    with psycopg.connect(empty_database) as busy:
        busy.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
            migrate(empty_database)


def test_without_a_server_migrating_says_so() -> None:
    with pytest.raises(DatabaseUnavailableError):
        migrate("host=/nowhere dbname=none")


def test_every_primary_key_under_a_run_begins_with_the_run(database: str) -> None:
    """The tables can then be partitioned by time, and retention can drop partitions."""
    rows = query(
        database,
        """
        SELECT c.relname, a.attname
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE i.indisprimary AND n.nspname = 'podium' AND c.relname IN ('run', 'attempt', 'task_run', 'attempt_blob')
        """,
    )
    assert {column for _, column in rows} == {"run_id"}
    assert len(rows) == 4


@pytest.mark.parametrize("table", ["attempt", "agent", "leadership", "blob"])
def test_no_column_that_changes_often_is_indexed(database: str, table: str) -> None:
    keys = {"attempt": "attempt_pkey", "agent": "agent_name_key agent_pkey"}
    indexes = query(database, "SELECT indexname, tablename FROM pg_indexes ORDER BY 1")
    assert " ".join(name for name, of in indexes if of == table) == keys.get(table, f"{table}_pkey")


def test_the_epochs_are_in_a_logged_table(database: str) -> None:
    assert query(database, "SELECT relpersistence FROM pg_class WHERE relname = 'leadership'") == [("p",)]
