"""Fixtures for every folder of tests. Postgres here is the embedded one, as users run it: durable, on a socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from podium_coordinator.store.embedded import EmbeddedPostgres
from podium_coordinator.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="pod-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(short_folder: Path) -> Iterator[EmbeddedPostgres]:
    """One running server for this worker's session. Tests that harm a server start their own.

    PODIUM_TEST_POSTGRES_BIN names the folder of another version's programs, to run everything against that.
    """
    programs = os.environ.get("PODIUM_TEST_POSTGRES_BIN")
    server = EmbeddedPostgres(short_folder / "pg", Path(programs) if programs else None)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database that nobody is connected to."""
    name = "podium_template"
    with psycopg.connect(postgres.conninfo, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name}")
    migrate(make_conninfo(postgres.conninfo, dbname=name))
    return name


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A fresh, migrated database: how to connect to it."""
    with _database(postgres.conninfo, template) as conninfo:
        yield conninfo


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A fresh database without our schema: how to connect to it."""
    with _database(postgres.conninfo, "template1") as conninfo:
        yield conninfo


@contextlib.contextmanager
def _database(server: str, template: str) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex}"
    # Not STRATEGY file_copy: it makes a checkpoint, which takes longer here than to copy the few pages through the log.
    with psycopg.connect(server, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as link:
        link.execute(f"DROP DATABASE {name} WITH (FORCE)")
