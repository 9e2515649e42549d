"""A network between a client and Postgres that a test can break, as a unix socket in front of the server's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Forwards bytes until told otherwise."""

    def __init__(self) -> None:
        self.deaf = False
        """Nothing more reaches the server."""
        self.mute = False
        """Nothing more reaches the client."""
        self.swallowed = asyncio.Event()
        """Something was not forwarded."""
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def serve(self, server: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(server)
        self._writers += [writer, up_writer]
        self._tasks += [
            asyncio.create_task(self._pump(reader, up_writer, to_server=True)),
            asyncio.create_task(self._pump(up_reader, writer, to_server=False)),
        ]

    def hang_up(self) -> None:
        """End all connections, on both sides."""
        for writer in self._writers:
            writer.close()

    async def close(self) -> None:
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if self.deaf if to_server else self.mute:
                    self.swallowed.set()
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxied(database: str, folder: Path) -> AsyncIterator[tuple[Proxy, str]]:
    """Serve a proxy in a folder; yields it and how to connect through it."""
    given = conninfo_to_dict(database)
    proxy = Proxy()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await proxy.serve(f"{given['host']}/{SOCKET}", reader, writer)

    server = await asyncio.start_unix_server(serve, folder / SOCKET)
    try:
        yield proxy, make_conninfo(database, host=str(folder))
    finally:
        server.close()
        await proxy.close()
