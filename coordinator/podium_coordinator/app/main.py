"""The coordinator's process: settings, database, shard, server, signals.

SIGTERM or SIGINT drains: health turns NOT_SERVING, watchers are sent elsewhere, the shard is given up so that another
coordinator takes it over at once, and calls under way may end. A second signal ends the process fast; nothing is lost
either way, since nothing is acknowledged before it is committed.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from podium.errors import PodiumError
from podium.version import __version__
from podium_coordinator import structured_logs
from podium_coordinator.app import collection
from podium_coordinator.app.catalog import Catalog
from podium_coordinator.app.lag import lag_told
from podium_coordinator.app.notify import notify_service_manager
from podium_coordinator.app.owner import Owner, Stores
from podium_coordinator.app.services import add_services
from podium_coordinator.app.shard import Rhythm
from podium_coordinator.app.tracing import Tracing
from podium_coordinator.domain.fleet import Terms
from podium_coordinator.domain.records import WorkflowRecord
from podium_coordinator.rpc.database import Database
from podium_coordinator.rpc.server import CoordinatorServer, ServerOptions
from podium_coordinator.settings import CoordinatorSettings
from podium_coordinator.store import workflows
from podium_coordinator.store.embedded import EmbeddedPostgres
from podium_coordinator.store.faults import check_settings, with_faults
from podium_coordinator.store.journal import Journal, journal_connection
from podium_coordinator.store.leadership import Leadership
from podium_coordinator.store.migrate import migrate
from podium_coordinator.store.pools import Connection, Pool, read_pool, write_pool
from podium_coordinator.structured_logs import Event

log = structlog.stdlib.get_logger("podium.process")

SHARD = 0
FAST = 130


def main(flags: Mapping[str, Any] | None = None) -> int:
    """Run a coordinator until it is told to stop; return the process's exit status."""
    try:
        settings = CoordinatorSettings.load(flags)
        check_settings()
        structured_logs.configure(settings.log_format, settings.log_level)
        log.info(Event.STARTING, version=__version__, data_dir=str(settings.data_dir))
        return _run(settings)
    except PodiumError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201 - the process has no other way to say it
        return 1


def _run(settings: CoordinatorSettings) -> int:
    postgres = _embedded(settings)
    try:
        database = postgres.start() if postgres else _url(settings)
        migrate(database)
        return asyncio.run(_serve(settings, database, postgres))
    finally:
        if postgres is not None:
            postgres.stop()


def _embedded(settings: CoordinatorSettings) -> EmbeddedPostgres | None:
    if settings.database_url is not None:
        return None
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return EmbeddedPostgres(settings.data_dir / "postgres", settings.postgres_bin)


def _url(settings: CoordinatorSettings) -> str:
    assert settings.database_url is not None  # noqa: S101 - asked before; for the type checker
    return settings.database_url.get_secret_value()


async def _serve(settings: CoordinatorSettings, database: str, postgres: EmbeddedPostgres | None) -> int:
    stopping = _Signals()
    collection.begin()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lag_told())
        pools = await stack.enter_async_context(_pools(settings, database))
        tracing = Tracing.from_environment(settings.traced_task_runs)
        stack.push_async_callback(tracing.close)
        server = CoordinatorServer(_server_options(settings))
        owner = _owner(settings, database, pools, tracing, postgres)
        add_services(server, settings, pools, owner, stack)
        addresses = await server.start()
        stack.push_async_callback(server.stop, 0.0)
        owning = asyncio.create_task(owner.run(addresses[0]))
        await server.serving(True)
        notify_service_manager("READY=1")
        await stopping.asked.wait()
        log.info(Event.STOPPING)
        notify_service_manager("STOPPING=1")
        await server.drain()
        owning.cancel()
        await asyncio.wait([owning])
        await _first(stopping.again.wait(), server.stop(settings.drain_timeout))
    return FAST if stopping.again.is_set() else 0


async def _first(*works: Any) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Signals:
    """What the operator asks for: to stop, and to stop faster."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.again = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._heard)

    def _heard(self) -> None:
        (self.again if self.asked.is_set() else self.asked).set()


@asynccontextmanager
async def _pools(settings: CoordinatorSettings, database: str) -> AsyncIterator[Database]:
    pools = Database(read_pool(database, settings.read_pool_size), write_pool(database, settings.write_pool_size))
    await pools.read.open()
    await pools.write.open()
    try:
        yield pools
    finally:
        await pools.read.close()
        await pools.write.close()


def _server_options(settings: CoordinatorSettings) -> ServerOptions:
    return ServerOptions(
        listen=settings.listen,
        insecure_listen=settings.insecure_listen,
        max_message_bytes=settings.max_message_bytes,
        call_timeout=settings.call_timeout,
    )


def _owner(
    settings: CoordinatorSettings, database: str, pools: Database, tracing: Tracing, postgres: EmbeddedPostgres | None
) -> Owner:
    revive = _reviver(postgres)

    async def connect() -> Connection:
        await revive()
        return await journal_connection(database, SHARD)

    stores = Stores(
        database=database,
        leadership=lambda address: Leadership(database, SHARD, socket.gethostname(), address, settings.lease),
        journal=with_faults(Journal(connect, SHARD)),
        pool=pools.read,
        catalog=Catalog(_reader(pools.read)),
        tracing=tracing,
    )
    rhythm = Rhythm(settings.heartbeat_interval, Terms(settings.disconnected_after, settings.lost_after))
    return Owner(SHARD, stores, rhythm, settings.lease, revive)


def _reviver(postgres: EmbeddedPostgres | None) -> Callable[[], Awaitable[None]]:
    """Return what restarts a dead embedded Postgres. Launching is the main thread's, waiting is not."""

    async def revive() -> None:
        if postgres is None or postgres.running():
            return
        postgres.launch()
        await asyncio.to_thread(postgres.wait_ready)
        log.warning(Event.POSTGRES_RESTARTED, pid=postgres.pid)

    return revive


def _reader(pool: Pool) -> Callable[[str, int], Awaitable[WorkflowRecord]]:
    async def read(workflow: str, version: int) -> WorkflowRecord:
        async with pool.connection() as conn:
            return await workflows.get(conn, workflow, version)

    return read
