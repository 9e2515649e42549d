"""The unix socket on which workers reach the session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from podium_agent import frames

if TYPE_CHECKING:
    import socket

    from podium_agent.frames import Header

log = structlog.get_logger(__name__)


class WorkerListener(Protocol):
    """Who hears what workers say."""

    def worker_hello(self, header: Header, transport: asyncio.WriteTransport) -> bool:
        """A worker has connected; False when it is not one of ours."""

    def worker_said(self, worker: str, header: Header, body: bytes) -> None:
        """A worker has something to tell."""

    def worker_hung_up(self, worker: str) -> None:
        """A worker's connection has ended; all it had sent has been heard."""


class WorkerProtocol(asyncio.Protocol):
    """One worker's connection."""

    def __init__(self, listener: WorkerListener) -> None:
        self._listener = listener
        self._buffer = frames.FrameBuffer(decode)
        self._transport: asyncio.WriteTransport | None = None
        self._worker = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way back."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - sockets' transports are
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand each whole frame on."""
        try:
            for header, body in self._buffer.feed(data):
                self._heard(header, body)
        except frames.FrameError:
            log.exception("worker_frame_unreadable", worker=self._worker)
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that nothing more will come."""
        del exc
        if self._worker:
            self._listener.worker_hung_up(self._worker)

    def _heard(self, header: Header, body: bytes) -> None:
        if header["op"] != "hello":
            self._listener.worker_said(self._worker, header, body)
        elif self._transport is not None:
            self._worker = header["worker"]
            if not self._listener.worker_hello(header, self._transport):
                log.warning("worker_unknown", worker=self._worker)
                self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def decode(encoded: bytes) -> object:
    """Return a header's JSON.

    Raises:
        FrameError: It is none.
    """
    try:
        return msgspec.json.decode(encoded)
    except msgspec.DecodeError as error:
        raise frames.FrameError(f"A frame's header is not JSON: {error}") from error


async def serve(listener: WorkerListener, listening: socket.socket) -> None:
    """Accept workers, for as long as the process lives, on a socket that the spawner has bound and keeps."""
    await asyncio.get_running_loop().create_server(lambda: WorkerProtocol(listener), sock=listening)
