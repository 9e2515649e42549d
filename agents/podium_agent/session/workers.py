"""The unix socket on which workers reach the session, and what comes with each connection: a pipe of tickets."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from podium_agent import frames, records

if TYPE_CHECKING:
    from podium_agent.frames import Header

log = structlog.get_logger(__name__)

CHUNK = 256 * 1024
PIPE_BYTES = 64 * 1024


class WorkerListener(Protocol):
    """Who hears what workers say."""

    def worker_hello(self, header: Header, channel: Channel) -> bool:
        """A worker has connected; False when it is not one of ours."""

    def worker_said(self, worker: str, header: Header, body: bytes) -> None:
        """A worker has something to tell; without a header it is ends of attempts."""

    def worker_hung_up(self, worker: str) -> None:
        """A worker's connection has ended; all it had sent has been heard."""


class Channel:
    """One worker's connection: frames both ways, and tickets, which can be taken back.

    The pipe's reading end is the worker's own, shared; it serves until `dispose`, after the connection's end too.
    """

    def __init__(self, connection: socket.socket, listener: WorkerListener) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = connection
        self._listener = listener
        self._buffer = frames.FrameBuffer(decode)
        self._unsent = bytearray()
        self._pipe: list[int] = []
        self._worker = ""
        connection.setblocking(False)
        self._loop.add_reader(connection, self._read)

    def deal(self, told: bytes, tickets: bytes) -> None:
        """Send frames, and tickets for the tasks in them."""
        self._send(told)
        if self._pipe:
            try:
                os.write(self._pipe[1], tickets)
            except BrokenPipeError:
                return  # the worker is gone, which the spawner tells

    def recall(self) -> list[int]:
        """Take back the tickets that the worker has not taken."""
        try:
            taken = os.read(self._pipe[0], PIPE_BYTES) if self._pipe else b""
        except BlockingIOError:
            taken = b""
        return [ticket for (ticket,) in records.TICKET.iter_unpack(taken)]

    def dispose(self) -> None:
        """End the connection, and its pipe."""
        self._close()
        for descriptor in self._pipe:
            os.close(descriptor)
        self._pipe.clear()

    def _send(self, data: bytes) -> None:
        if self._unsent or self._socket.fileno() < 0:
            self._unsent += data
            return
        sent = 0
        try:
            sent = self._socket.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # reading says that the worker is gone
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            self._loop.add_writer(self._socket, self._write_on)

    def _write_on(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._socket.recv(CHUNK) if self._pipe else self._receive_pipe()
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        try:
            for header, body in self._buffer.feed(data):
                self._heard(header, body)
        except frames.FrameError:
            log.exception("worker_frame_unreadable", worker=self._worker)
            self._hang_up()

    def _receive_pipe(self) -> bytes:
        """Receive a worker's first words, with the ends of its pipe."""
        data, self._pipe, _, _ = socket.recv_fds(self._socket, CHUNK, 2)
        return data

    def _heard(self, header: Header, body: bytes) -> None:
        if header.get("op") != "hello":
            self._listener.worker_said(self._worker, header, body)
            return
        self._worker = header["worker"]
        if not self._listener.worker_hello(header, self):
            log.warning("worker_unknown", worker=self._worker)
            self._worker = ""
            self.dispose()

    def _hang_up(self) -> None:
        self._close()
        if self._worker:
            self._listener.worker_hung_up(self._worker)
        else:
            self.dispose()

    def _close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()


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
    listening.setblocking(False)

    def accept() -> None:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("worker_not_accepted", error=str(error))
            return
        Channel(connection, listener)

    asyncio.get_running_loop().add_reader(listening, accept)
