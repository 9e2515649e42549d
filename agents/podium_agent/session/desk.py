"""Receives workers: what they say on their socket, and what the spawner says of them.

A worker's exit is acted on only when its connection has ended too, so that nothing it said before it died is lost.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from podium_agent.frames import Header
    from podium_agent.session.conductor import Conductor
    from podium_agent.session.endings import Endings
    from podium_agent.session.pool import Pool
    from podium_agent.session.tracing import SpanForwarder
    from podium_agent.session.workers import Channel
    from podium_agent.store.folder import DataFolder
    from podium_agent.store.journal import Journal

log = structlog.get_logger(__name__)


class Desk:
    """Hears workers and the spawner; tells the pool and the conductor."""

    def __init__(
        self,
        folder: DataFolder,
        pool: Pool,
        conductor: Conductor,
        journal: Journal,
        endings: Endings,
        spans: SpanForwarder,
    ) -> None:
        self._folder = folder
        self._pool = pool
        self._conductor = conductor
        self._journal = journal
        self._endings = endings
        self._spans = spans
        self._connected: set[str] = set()
        self._exited: dict[str, int] = {}
        self._news = asyncio.Event()

    async def wait_for_hellos(self) -> None:
        """Return when every worker that may be idle has said so, or is gone."""
        while self._pool.silent():
            self._news.clear()
            await self._news.wait()

    def worker_hello(self, header: Header, channel: Channel) -> bool:
        """A worker has connected."""
        worker = header["worker"]
        lane = self._pool.hello(worker)
        if lane is None or worker in self._exited:
            return False
        self._connected.add(worker)
        self._conductor.connected(lane, lane.connect(channel))
        self._news.set()
        return True

    def worker_said(self, worker: str, header: Header, body: bytes) -> None:
        """A worker has something to tell."""
        if not header:
            lane = self._pool.lane(worker)
            if lane is not None:
                self._conductor.ends(lane, body)
            return
        match header["op"]:
            case "log":
                self._conductor.log_grew(bytes.fromhex(header["token"]), header["size"])
            case "refused":
                self._conductor.refused(header)
            case "spans":
                self._spans.forward(body)

    def worker_hung_up(self, worker: str) -> None:
        """A worker's connection has ended."""
        self._connected.discard(worker)
        if worker in self._exited:
            self._gone(worker)

    def worker_exited(self, worker: str, code: int) -> None:
        """The spawner says that a worker and all its processes are gone."""
        self._exited[worker] = code
        if worker not in self._connected:
            self._gone(worker)

    def _gone(self, worker: str) -> None:
        code = self._exited.pop(worker)
        lane = self._pool.lane(worker)
        if lane is None:
            return
        left = self._conductor.worker_gone(lane, code)
        self._pool.gone(lane)
        if left:
            log.info("worker_ended_in_attempt", worker=worker, code=code)
        else:
            if words := self._endings.last_words(worker):
                log.warning("worker_ended", worker=worker, code=code, last_words=words)
            self._pool.buried(worker)
            self._journal.writer_gone(worker)
        shutil.rmtree(self._folder.scratch / worker, ignore_errors=True)
        self._conductor.begin()
        self._news.set()
