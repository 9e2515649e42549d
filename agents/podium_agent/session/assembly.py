"""Puts the session's parts together, and runs them from recovery to drain."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from podium.v1 import session_pb2
from podium_agent.domain.admission import Admission, Demand
from podium_agent.host.facts import cores, host_facts, offered_cpu_millis, offered_memory
from podium_agent.rpc.blobs import BlobClient
from podium_agent.rpc.channel import CurrentChannel
from podium_agent.rpc.link import Link
from podium_agent.session import workers
from podium_agent.session.attempts import Attempts
from podium_agent.session.conductor import Conductor
from podium_agent.session.desk import Desk
from podium_agent.session.effects import Parts
from podium_agent.session.endings import Endings
from podium_agent.session.health import DiskHealth
from podium_agent.session.logs import LogShipper
from podium_agent.session.orders import Orders
from podium_agent.session.outbox import Outbox
from podium_agent.session.pool import Pool
from podium_agent.session.preparation import Preparer
from podium_agent.session.recovery import Recovery
from podium_agent.session.settlement import Settler
from podium_agent.session.spawner import SpawnerClient
from podium_agent.session.supervision import Supervisor
from podium_agent.session.tracing import SpanForwarder
from podium_agent.store.blobs import BlobCache
from podium_agent.store.bundles import BundleStore
from podium_agent.store.journal import Journal, JournalWriter

if TYPE_CHECKING:
    import socket

    from podium_agent.settings import AgentSettings
    from podium_agent.store.folder import DataFolder

log = structlog.get_logger(__name__)

PROTOCOL_VERSION = 1
LEAST_WORKERS, WORKERS_PER_CORE = 32, 8
ACKNOWLEDGED_WITHIN = 30.0
"""Seconds a drain waits for results and logs to be taken; results stay in the journal for the next start."""


class SpawnerGoneError(Exception):
    """The spawner has closed its end: there is nobody to start workers."""


class Agent:
    """The session's parts."""

    def __init__(self, folder: DataFolder, settings: AgentSettings, channel: socket.socket) -> None:
        self._folder, self._settings = folder, settings
        self._draining = asyncio.Event()
        self._supervisor = Supervisor()
        self._spawner = SpawnerClient(channel, self._spawner_gone)
        self._outbox = Outbox()
        self._admission = Admission(
            Demand(offered_cpu_millis(settings), offered_memory(settings)), settings.queue_limit
        )
        self._current = CurrentChannel()
        self._logs = LogShipper(self._current)
        self._journal = Journal(folder.journal)
        limit = settings.max_workers or max(LEAST_WORKERS, WORKERS_PER_CORE * cores())
        warm = min(max(offered_cpu_millis(settings) // 1000, 1), cores(), limit)
        self._pool = Pool(self._spawner, warm, limit, settings.recycle_after)
        self._endings = Endings(folder, settings.log_tail)
        self._attempts = Attempts()
        self._health = DiskHealth(folder.journal, self._health_changed)
        self._conductor = Conductor(self._parts())
        self._spans = SpanForwarder()
        self._desk = Desk(folder, self._pool, self._conductor, self._journal, self._endings, self._spans)
        self._pool.employer = self._conductor
        self._spawner.watcher = self._desk
        self._link = Link(
            settings.coordinators,
            self._hello,
            self._conductor,
            self._outbox,
            self._current,
            lambda: self._admission.waiting > 0 or self._pool.ahead,
        )

    def _parts(self) -> Parts:
        client = BlobClient(self._current)
        cache = BlobCache(self._folder.blobs, client, self._settings.cache_size)
        bundles = BundleStore(self._folder.bundles, cache, lambda: self._pool.bundles)
        return Parts(
            attempts=self._attempts,
            orders=Orders(self._folder),
            admission=self._admission,
            outbox=self._outbox,
            pool=self._pool,
            preparer=Preparer(bundles, cache),
            settler=Settler(self._folder, client, cache),
            endings=self._endings,
            logs=self._logs,
            journal=self._journal,
            writer=JournalWriter(self._folder.journal, "session"),
            health=self._health,
            supervisor=self._supervisor,
            grace=self._settings.grace,
        )

    def drain(self) -> None:
        """Take no new work, give back what has not begun, and end when the rest is done."""
        log.info("draining")
        self._draining.set()

    async def run(self, listening: socket.socket) -> None:
        """Work until drained.

        Raises:
            IncompatibleAgentError: The coordinator refuses this version.
            SpawnerGoneError: The spawner is gone.
        """
        recovery = Recovery(
            self._folder,
            self._journal,
            self._spawner,
            self._pool,
            self._conductor,
            self._desk,
            self._logs,
            self._settings.log_tail,
            lambda: workers.serve(self._desk, listening),
        )
        if await recovery.run():
            self.drain()
        self._pool.warm_up()
        self._supervisor.spawn(self._link.run(), "link")
        self._supervisor.spawn(self._logs.run(), "logs")
        self._supervisor.spawn(self._spans.run(), "spans")
        try:
            await self._until_drained()
        finally:
            await self._supervisor.close()

    async def _until_drained(self) -> None:
        drained = asyncio.create_task(self._drain())
        failed = asyncio.create_task(self._supervisor.failed())
        try:
            done, _ = await asyncio.wait({drained, failed}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            drained.cancel()
            failed.cancel()

    async def _drain(self) -> None:
        await self._draining.wait()
        self._admission.close()
        self._pool.close()
        self._outbox.drain()
        self._conductor.give_back_unstarted()
        await self._attempts.wait_until_executed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
                await self._attempts.wait_until_acknowledged()
                await self._logs.wait_until_sent()
        await self._spans.close()
        log.info("drained")

    def _hello(self) -> session_pb2.Hello:
        return session_pb2.Hello(
            protocol_version=PROTOCOL_VERSION,
            agent_id=self._folder.agent_id(),
            name=self._settings.name,
            host=host_facts(self._settings),
        )

    def _health_changed(self, healthy: bool) -> None:
        if not healthy:
            self._admission.close()
            self._outbox.drain()
            self._conductor.give_back_unstarted()
        elif not self._draining.is_set():
            self._admission.reopen()
            self._outbox.draining = False
            self._link.renew()

    def _spawner_gone(self) -> None:
        async def fail() -> None:
            raise SpawnerGoneError("The spawner has closed its end.")

        self._supervisor.spawn(fail(), "spawner")
