"""Brings a database's schema up to date. Several coordinators may do so at once.

Migrations are the numbered files of `migrations/`, named for what they do. Each runs once, in a transaction of its own,
and its text is remembered: a file that was changed after it was applied is refused, and so is a database that knows
migrations which this code does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

import psycopg

from podium_coordinator.store.errors import DatabaseUnavailableError, MigrationError, PostgresVersionError
from podium_coordinator.store.faults import crash_point
from podium_coordinator.store.pools import SCHEMA, options

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOOR: Final = 14
"""The oldest major version of Postgres that will do."""

LOCK: Final = 0x706F6469756D
"""Key of the advisory lock under which migrations run."""

_LOCK_TIMEOUT: Final = 120.0

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version    int PRIMARY KEY,
        name       text NOT NULL,
        checksum   bytea NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `checksum` is the SHA-256 of its text."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> bytes:
        """What is remembered of the text."""
        return hashlib.sha256(self.text.encode()).digest()


def migrations() -> list[Migration]:
    """Return all there are, by version."""
    files = resources.files("podium_coordinator.store") / "migrations"
    found = [file for file in files.iterdir() if file.name.endswith(".sql")]
    return sorted(map(_read, found), key=lambda migration: migration.version)


def migrate(conninfo: str, steps: Sequence[Migration] | None = None) -> int:
    """Apply what is missing and return the schema's version.

    Raises:
        PostgresVersionError: The server is older than 14.
        MigrationError: One was changed after it was applied, the database is newer than this code, or one failed.
        DatabaseUnavailableError: No connection, or another coordinator's migration took too long.
    """
    wanted = list(migrations() if steps is None else steps)
    try:
        with psycopg.connect(options(conninfo, "podium-migrate", statement_timeout=0), autocommit=True) as link:
            _check_server(link)
            _lock(link)
            return _apply(link, wanted)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(f"The database could not be migrated: {error}") from error


def _read(file: resources.abc.Traversable) -> Migration:
    number, _, name = file.name.removesuffix(".sql").partition("_")
    return Migration(int(number), name, file.read_text("utf-8"))


def _check_server(link: psycopg.Connection) -> None:
    major = link.info.server_version // 10_000
    if major < FLOOR:
        raise PostgresVersionError(
            f"The database server is Postgres {major}; Podium needs {FLOOR} or newer.", found=major, floor=FLOOR
        )


def _lock(link: psycopg.Connection) -> None:
    # Held until the connection closes. Must not run inside a pooler that shares connections between transactions.
    link.execute("SELECT set_config('lock_timeout', %s, false)", [f"{_LOCK_TIMEOUT:g}s"])
    link.execute("SELECT pg_advisory_lock(%s)", [LOCK])


def _apply(link: psycopg.Connection, wanted: Sequence[Migration]) -> int:
    _make_schema(link)
    applied = {
        row[0]: (row[1], row[2]) for row in link.execute("SELECT version, name, checksum FROM schema_migrations")
    }
    _refuse_strange(applied, wanted)
    for step in wanted:
        if step.version not in applied:
            _run(link, step)
    return max((step.version for step in wanted), default=0)


def _make_schema(link: psycopg.Connection) -> None:
    # Asked for first: "IF NOT EXISTS" wants the right to create schemas even when an administrator has made it.
    try:
        with link.transaction():
            if link.execute("SELECT to_regnamespace(%s) IS NULL", [SCHEMA]).fetchone() == (True,):
                link.execute(f"CREATE SCHEMA {SCHEMA}")
            link.execute(_TABLE)
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(
            f"The account {link.info.user} may not make the schema {SCHEMA} in database {link.info.dbname}. Let it:"
            f' GRANT CREATE ON DATABASE "{link.info.dbname}" TO "{link.info.user}".',
            account=link.info.user,
            database=link.info.dbname,
        ) from error


def _refuse_strange(applied: dict[int, tuple[str, bytes]], wanted: Sequence[Migration]) -> None:
    known = {step.version: step for step in wanted}
    for version, (name, checksum) in sorted(applied.items()):
        if version not in known:
            raise MigrationError(
                f"The database has migration {version} ({name}), which this version of Podium does not know:"
                " upgrade Podium, or restore the database from before.",
                version=version,
                name=name,
            )
        if known[version].checksum != checksum:
            raise MigrationError(
                f"Migration {version} ({name}) was changed after the database applied it: use the release that made"
                " the database, or one after it.",
                version=version,
                name=name,
            )


def _run(link: psycopg.Connection, step: Migration) -> None:
    try:
        with link.transaction():
            link.execute(step.text.encode(), prepare=False)
            link.execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
                [step.version, step.name, step.checksum],
            )
            crash_point("migrate.before_commit")
        crash_point("migrate.after_commit")
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise MigrationError(
            f"Migration {step.version} ({step.name}) failed: {error}", version=step.version, name=step.name
        ) from error
