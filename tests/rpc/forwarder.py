"""A network between a client and a coordinator that a test can break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Forwarder:
    """Forwards TCP until told otherwise; the limits end the next connection after so many bytes down or up."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.connections = 0
        self.down_limit: int | None = None
        self.up_limit: int | None = None
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, far_writer]
        down, up = self.down_limit, self.up_limit
        self.down_limit = self.up_limit = None
        self._tasks += [
            asyncio.create_task(self._pump(reader, far_writer, up)),
            asyncio.create_task(self._pump(far_reader, writer, down)),
        ]

    def hang_up(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.close()

    async def close(self) -> None:
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
                if limit is not None and (limit := limit - len(data)) < 0:
                    break
        writer.close()


@contextlib.asynccontextmanager
async def forwarding(target: str) -> AsyncIterator[Forwarder]:
    """Listen on a free port of the loopback in front of `target`."""
    forwarder = Forwarder(target)
    server = await asyncio.start_server(forwarder.serve, "127.0.0.1", 0)
    forwarder.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield forwarder
    finally:
        server.close()
        await forwarder.close()


@contextlib.asynccontextmanager
async def refusing() -> AsyncIterator[str]:
    """Give an address where every connection ends at once."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Give an address that takes connections and never says a word."""
    done = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        done.set()
        server.close()
