"""A network that a test can break: a proxy in front of one server, which works in a thread of its own.

Bytes that are held back arrive when the way is free again, as TCP would see to it; bytes that are swallowed never do,
and the connection had better be reset after that. What is set holds for the connections there are and for new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PIECE = 1 << 16
START_SECONDS = 10.0
TICK = 0.005
"""Seconds after which a way that is shut is tried again."""

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@dataclass(slots=True)
class Way:
    """One direction. All of it may be set from any thread at any time."""

    delay: float = 0.0
    """Seconds that each piece takes on its way."""
    held: bool = False
    """Nothing passes, and nothing is lost."""
    swallowed: bool = False
    """What is sent is taken and thrown away."""
    left: int | None = None
    """After so many bytes a connection ends, once, in the middle of whatever it is."""
    hold_after: int | None = None
    """After so many bytes nothing more passes, in the middle of whatever it is."""
    passed: int = 0
    """Bytes so far."""


class Network:
    """The proxy. `up` is the way to the server, `down` the way back."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        """Prepare; `target` is where the server answers: host and port, or the path of a unix socket."""
        self.up, self.down = Way(), Way()
        self.refusing = False
        """New connections end at once."""
        self.port = 0
        self.connections = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._writers: set[Writer] = set()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)

    @property
    def address(self) -> str:
        """Where to connect instead of to the server."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Let nothing pass either way until `heal`."""
        self.up.held = self.down.held = True

    def heal(self) -> None:
        """Let everything pass, at once, what was held back first."""
        for way in (self.up, self.down):
            way.delay, way.held, way.swallowed, way.left, way.hold_after = 0.0, False, False, None, None
        self.refusing = False

    def reset(self) -> None:
        """End all connections with a reset, as a host that was restarted does."""
        self._call(self._reset)

    def _reset(self) -> None:
        for writer in self._writers:
            link: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()

    # The thread.

    def start(self) -> None:
        """Listen; return when connections are taken."""
        self._thread.start()
        assert self._ready.wait(START_SECONDS), "the network does not listen"

    def stop(self) -> None:
        """End all connections and the thread."""
        self._call(self._reset)
        self._call(self._loop.stop)
        self._thread.join(START_SECONDS)

    def _call(self, work: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(work)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await self._far()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        with contextlib.suppress(asyncio.CancelledError):  # asyncio's server asks how its tasks ended
            await asyncio.gather(self._pump(reader, far_writer, self.up), self._pump(far_reader, writer, self.down))
        self._writers -= {writer, far_writer}

    async def _far(self) -> tuple[Reader, Writer]:
        if self.refusing:
            raise ConnectionRefusedError
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pump(self, reader: Reader, writer: Writer, way: Way) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                if way.delay:
                    await asyncio.sleep(way.delay)
                if way.hold_after is not None and len(data) > way.hold_after:
                    writer.write(data[: way.hold_after])
                    data = data[way.hold_after :]
                    way.hold_after, way.held = None, True
                while way.held:  # noqa: ASYNC110 - it is set from other threads
                    await asyncio.sleep(TICK)
                torn = way.left is not None and len(data) >= way.left
                if way.left is not None:
                    data = data[: way.left]
                    way.left = None if torn else way.left - len(data)
                if not way.swallowed:
                    way.passed += len(data)
                    writer.write(data)
                    await writer.drain()
                if torn:
                    break
        writer.close()


@contextlib.contextmanager
def network(target: tuple[str, int] | str) -> Iterator[Network]:
    """Have a network in front of a server within the block."""
    made = Network(target)
    made.start()
    try:
        yield made
    finally:
        made.stop()
