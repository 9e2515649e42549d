"""The session's end of its talk with the spawner: one JSON message a packet (see podium_agent.spawner)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

PACKET_LIMIT = 128 * 1024


class SpawnerGoneError(Exception):
    """The spawner closed the connection: this process must end."""


class WorkerWatcher(Protocol):
    """Who hears of workers' fates."""

    def worker_exited(self, worker: str, code: int) -> None:
        """A worker's whole process tree is gone; `code` is minus the signal's number when one ended the worker."""


class SpawnerClient:
    """Asks the spawner to start and end workers."""

    def __init__(self, channel: socket.socket, on_gone: Callable[[], None]) -> None:
        self._channel = channel
        self._channel.setblocking(False)
        self._on_gone = on_gone
        self._unsent: deque[bytes] = deque()
        self._first: asyncio.Future[dict[str, Any]] | None = None
        self.watcher: WorkerWatcher | None = None

    async def ready(self) -> dict[str, Any]:
        """Begin to listen; return the state of things: `living` {worker: pid}, `exited` {worker: code}, `draining`."""
        loop = asyncio.get_running_loop()
        self._first = loop.create_future()
        loop.add_reader(self._channel, self._read)
        self._send({"op": "ready"})
        return await self._first

    def start(self, worker: str) -> None:
        """Start a worker under a name never used before."""
        self._send({"op": "start", "worker": worker})

    def end(self, worker: str, grace: float) -> None:
        """End a worker's process tree: TERM, `grace` seconds, KILL."""
        self._send({"op": "end", "worker": worker, "grace": grace})

    def noted(self, worker: str) -> None:
        """Say that a worker's exit needs not be told again."""
        self._send({"op": "noted", "worker": worker})

    def _read(self) -> None:
        try:
            packet = self._channel.recv(PACKET_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet:
            self._heard(json.loads(packet))
        else:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._on_gone()

    def _heard(self, event: dict[str, Any]) -> None:
        if event["event"] == "workers" and self._first is not None:
            self._first.set_result(event)
        elif event["event"] == "exited" and self.watcher is not None:
            self.watcher.worker_exited(event["worker"], event["code"])

    def _send(self, order: dict[str, Any]) -> None:
        self._unsent.append(json.dumps(order).encode())
        self._flush()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._unsent:
            try:
                self._channel.send(self._unsent[0])
            except BlockingIOError:
                loop.add_writer(self._channel, self._flush)
                return
            except OSError:
                self._unsent.clear()
                return
            self._unsent.popleft()
        loop.remove_writer(self._channel)
