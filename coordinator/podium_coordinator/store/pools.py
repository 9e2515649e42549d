"""Opens connections, each with its time limits: no statement, lock or forgotten transaction may last for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import AsyncConnection, conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from podium_coordinator.store.errors import DatabaseUnavailableError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA: Final = "podium"
APPLICATION: Final = "podium"

_NETWORK: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# A server's administrator may have relaxed durability for other uses of it; what we acknowledge must be on the disk.
_DURABLE: Final = """
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')
"""

# A page is the first rows in a key's order. Before Postgres has counted the rows of a large run it takes it for a small
# one, and would rather gather and sort all of it for each page: measured at 90,000 attempts, 60 ms instead of 4.
_READING: Final = {"default_transaction_read_only": "on", "enable_bitmapscan": "off", "jit": "off"}

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]


def options(
    database: str,
    application: str,
    *,
    statement_timeout: float = 10.0,
    lock_timeout: float = 5.0,
    idle_in_transaction_timeout: float = 10.0,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Return `database` (a URL or conninfo) with our schema, limits and name; times in seconds, 0 for no limit.

    What the URL says about the network wins over our defaults. `extra` are further settings of the session by name.

    Raises:
        InvalidSettingError: `database` is neither a URL nor a conninfo.
    """
    settings = {
        "search_path": SCHEMA,
        "statement_timeout": f"{statement_timeout * 1000:.0f}",
        "lock_timeout": f"{lock_timeout * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{idle_in_transaction_timeout * 1000:.0f}",
        "timezone": "UTC",
        "client_min_messages": "warning",
        **(extra or {}),
    }
    given = _parsed(database)
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
    given["options"] = f"{given.get('options') or ''} {ours}".strip()
    return conninfo.make_conninfo("", **(_NETWORK | given | {"application_name": application}))


def _parsed(database: str) -> dict[str, Any]:
    try:
        return dict(conninfo.conninfo_to_dict(database))
    except psycopg.ProgrammingError:
        # Its text may quote a part of a password.
        raise InvalidSettingError(
            "The database's address cannot be read: it has to be like postgresql://user:password@host:5432/name,"
            " with special characters in the password percent-encoded.",
            setting="database_url",
        ) from None


def read_pool(database: str, size: int) -> Pool:
    """Return a pool of `size` connections that cannot write; open it with `await pool.open()`.

    Statements may take 10 s. With all connections busy a caller waits 5 s (`PoolTimeout`), and at most 200 callers
    wait (`TooManyRequests`).
    """
    return _pool(options(database, f"{APPLICATION}-read", extra=_READING), size)


def write_pool(database: str, size: int) -> Pool:
    """Return a pool for the rows the API writes; as `read_pool` otherwise."""
    return _pool(_to_primary(options(database, f"{APPLICATION}-write")), size, durable)


async def write_connection(database: str, application: str, **limits: Any) -> Connection:
    """Open one connection of its own, in autocommit, whose commits are durable. `limits` are those of `options`.

    Raises:
        DatabaseUnavailableError: It could not be opened.
    """
    address = _to_primary(options(database, application, **limits))
    try:
        link = await psycopg.AsyncConnection.connect(address, autocommit=True)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(f"The database cannot be reached: {error}") from error
    try:
        await durable(link)
    except psycopg.OperationalError as error:
        await link.close()
        raise DatabaseUnavailableError(f"The database cannot be used: {error}") from error
    except BaseException:  # cancelled: nobody else knows of the connection yet
        await link.close()
        raise
    return link


def _to_primary(address: str) -> str:
    """Have writes refuse a standby at once, and find the primary where the address names several hosts."""
    given = _parsed(address)
    return conninfo.make_conninfo("", **({"target_session_attrs": "read-write"} | given))


async def durable(link: Connection) -> None:
    """Make the connection's commits wait for the disk, whatever the server's default."""
    await link.execute(_DURABLE)


@contextlib.contextmanager
def time_limit(link: Connection, seconds: float) -> Iterator[None]:
    """Cut the connection off when the block takes longer: what waits for it then gets an `OperationalError`.

    Unlike cancelling, which asks the server and waits for its answer, this works on a network that is gone.
    """
    watchdog = asyncio.get_running_loop().call_later(seconds, _cut, link)
    try:
        yield
    finally:
        watchdog.cancel()


def _cut(link: Connection) -> None:
    if not link.closed:
        with socket.socket(fileno=os.dup(link.fileno())) as twin:
            twin.shutdown(socket.SHUT_RDWR)


def _pool(database: str, size: int, configure: Any = None) -> Pool:
    return AsyncConnectionPool(
        database,
        min_size=min(1, size),
        max_size=size,
        max_waiting=200,
        timeout=5.0,
        kwargs={"autocommit": True},
        check=AsyncConnectionPool.check_connection,
        configure=configure,
        open=False,
    )
