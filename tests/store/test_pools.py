"""Connections have limits, and survive their server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolTimeout

from podium.errors import InvalidSettingError
from podium_coordinator.store.errors import DatabaseUnavailableError
from podium_coordinator.store.pools import options, read_pool, time_limit, write_connection, write_pool
from tests.store.activity import scalar
from tests.store.builders import store_workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from podium_coordinator.store.pools import Connection, Pool


@contextlib.asynccontextmanager
async def opened(pool: Pool) -> AsyncIterator[Pool]:
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def setting(conn: Connection, name: str) -> Any:
    return await scalar(conn, "SELECT current_setting(%s)", name)


@pytest.mark.parametrize("name", ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"])
@pytest.mark.parametrize("kind", [read_pool, write_pool])
async def test_every_pooled_connection_has_limits(database: str, kind: Any, name: str) -> None:
    async with opened(kind(database, 1)) as pool, pool.connection() as link:
        assert await setting(link, name) != "0"


async def test_a_read_pool_cannot_write(database: str) -> None:
    async with opened(read_pool(database, 1)) as pool, pool.connection() as link:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await store_workflow(link)


async def test_a_write_pool_writes_durably(conn: Connection, database: str) -> None:
    lax = options(database, "x", extra={"synchronous_commit": "off"})
    async with opened(write_pool(lax, 1)) as pool, pool.connection() as link:
        await store_workflow(link)
        assert await setting(link, "synchronous_commit") == "on"


async def test_a_pool_is_whole_again_after_its_sessions_were_ended(conn: Connection, database: str) -> None:
    async with opened(read_pool(database, 2)) as pool:
        async with pool.connection() as first, pool.connection() as second:
            sessions = [first.info.backend_pid, second.info.backend_pid]
        await conn.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [sessions])
        for _ in range(4):
            async with pool.connection() as link:
                assert await scalar(link, "SELECT 1") == 1


async def test_a_caller_does_not_wait_for_ever_for_a_busy_pool(database: str) -> None:
    pool = read_pool(database, 1)
    pool.timeout = 0.05
    async with opened(pool), pool.connection():
        with pytest.raises(PoolTimeout):
            async with pool.connection():
                pass


async def test_a_transaction_that_is_forgotten_is_ended_by_the_server(database: str) -> None:
    link = await write_connection(database, "test", idle_in_transaction_timeout=0.05)
    await link.set_autocommit(False)
    await link.execute("SELECT 1")
    async with asyncio.timeout(10):
        with pytest.raises(psycopg.OperationalError):
            await anext(link.notifies())
    await link.close()


async def test_what_takes_longer_than_its_limit_is_cut_off(conn: Connection) -> None:
    with pytest.raises(psycopg.OperationalError), time_limit(conn, 0.05):
        await conn.execute("SELECT pg_sleep(5)")
    assert conn.closed


async def test_without_a_server_connecting_says_so() -> None:
    with pytest.raises(DatabaseUnavailableError):
        await write_connection("host=/nowhere dbname=none", "test")


async def test_a_standby_is_refused_for_writing(conn: Connection, database: str) -> None:
    name = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    await conn.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    with pytest.raises(DatabaseUnavailableError, match="read-only"):
        await write_connection(database, "test")


@pytest.mark.parametrize("address", ["host", "postgresql://u:s3cret@[/x", "host=a s3cret"])
def test_an_address_that_cannot_be_read_is_refused_without_being_quoted(address: str) -> None:
    with pytest.raises(InvalidSettingError) as caught:
        options(address, "test")
    assert "s3cret" not in str(caught.value)


def test_what_a_url_says_is_kept() -> None:
    given = conninfo_to_dict(
        options("postgresql://me:s3cret@db:5433/x?connect_timeout=9&options=-c%20work_mem%3D1MB&sslmode=require", "us")
    )
    assert (given["user"], given["password"], given["host"], given["port"]) == ("me", "s3cret", "db", "5433")
    assert (given["connect_timeout"], given["sslmode"], given["application_name"]) == ("9", "require", "us")
    assert str(given["options"]).startswith("-c work_mem=1MB -c search_path=podium -c statement_timeout=10000")
