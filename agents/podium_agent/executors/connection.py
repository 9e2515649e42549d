"""A worker's connection to the session, which comes back when the session does.

Theory of operation
-------------------
The socket it connects to belongs to the spawner, so connecting works while there is no session: the next one finds the
connection waiting. With its hello a worker passes both ends of a new pipe. Orders come over the socket, several ahead;
the right to execute one is its ticket, four bytes in the pipe, which the worker takes one at a time. The session keeps
the reading end too, and takes tickets back as it likes; an order whose ticket never comes is forgotten. When a session
dies, so do the tickets it gave: what is still in the pipe counts no more as soon as the worker notices, which it does
at the latest when it tells its ends, as it does every millisecond and before it waits.

After each connect the worker says who it is, and repeats the ends it told last, since nobody knows whether the session
before had taken them up.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from podium_agent import frames, records

if TYPE_CHECKING:
    from collections.abc import Callable

    from podium_agent.frames import Header
    from podium_agent.records import Task

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
NO_TICKET = -1


class Connection:
    """Orders from and frames to the session. Sending is safe from any thread; all else is for the main thread.

    Args:
        path: Where the session listens.
        hello: Who this is.
        shared: Told of each order that attempts will refer to; a header without values for "none of those before".
    """

    def __init__(self, path: str, hello: Header, shared: Callable[[Header, bytes], None]) -> None:
        self._path = path
        self._hello = hello
        self._shared = shared
        self._lock = threading.RLock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._tickets = -1
        self._poll = select.poll()
        self._tasks: dict[int, Task] = {}
        self._connected = False
        self._executing = False
        self._told: list[bytes] = []

    def fileno(self) -> int:
        """Return the descriptor while the connection stands, else -1."""
        return self._socket.fileno() if self._connected else -1

    def connect(self) -> None:
        """Connect and say hello."""
        with self._lock:
            self._connect()

    def close(self) -> None:
        """End the connection, and its pipe."""
        with self._lock:
            self._socket.close()
            if self._tickets >= 0:
                self._poll.unregister(self._tickets)
                os.close(self._tickets)
            self._connected, self._tickets = False, -1

    # Orders

    def ticket(self) -> int:
        """Take the next ticket; `NO_TICKET` when there is none now."""
        try:
            taken = os.read(self._tickets, records.TICKET.size)
        except BlockingIOError:
            return NO_TICKET
        if taken:
            return int.from_bytes(taken, "big")
        self.connect()
        return NO_TICKET

    def wait(self) -> None:
        """Return when there may be a ticket, or the session is gone."""
        self._poll.poll()

    def task(self, ticket: int) -> Task | None:
        """Return the task a ticket is for; None when the session that gave the ticket is gone."""
        tasks = self._tasks
        while ticket not in tasks:
            frame = None
            with contextlib.suppress(OSError, frames.FrameError):
                frame = frames.receive(self._socket)
            if frame is None:
                self.connect()
                return None
            header, body = frame
            if header:
                self._shared(header, body)
            else:
                tasks.update(records.unpack_tasks(body))
        while (earlier := next(iter(tasks))) < ticket:
            del tasks[earlier]
        return tasks.pop(ticket)

    # What there is to tell

    def begin(self) -> None:
        """Note that an attempt executes: from now on the capturing thread sees to the connection."""
        with self._lock:
            self._executing = True
            if not self._connected:
                self._connect()

    def end(self) -> None:
        """Note that no attempt executes."""
        with self._lock:
            self._executing = False

    def tell_ends(self, frame: bytes) -> bool:
        """Send ends of attempts, once more after the next connect; return whether the session is the one before."""
        with self._lock:
            self._told.append(frame)
            if self._send(frame):
                del self._told[:-1]
                return True
            self._connect()
            return False

    def tell(self, header: Header, body: bytes = b"") -> None:
        """Send what may be lost."""
        with self._lock:
            self._send(frames.pack(header, body))

    def lost(self) -> None:
        """Note, in the capturing thread, that the other end is gone."""
        with self._lock:
            if not self._is_broken():
                return
            self._connected = False
            if self._executing:
                self._connect()

    def _is_broken(self) -> bool:
        """Whether the other end is gone, and not merely that of a connection before this one."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _send(self, frame: bytes) -> bool:
        try:
            self._socket.sendall(frame)
        except OSError:
            self._connected = False
            return False
        return True

    def _connect(self) -> None:
        pause = FIRST_PAUSE
        while not self._try_to_connect():
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        self._tasks.clear()
        self._shared({}, b"")

    def _try_to_connect(self) -> bool:
        self.close()
        self._socket = socket.socket(socket.AF_UNIX)
        self._tickets, writing_end = os.pipe()
        self._poll.register(self._tickets, select.POLLIN)
        os.set_blocking(self._tickets, False)
        hello = frames.pack({**self._hello, "op": "hello"})
        try:
            self._socket.connect(self._path)
            socket.send_fds(self._socket, [hello], [self._tickets, writing_end])
            self._socket.sendall(b"".join(self._told))
        except OSError:
            return False
        finally:
            os.close(writing_end)
        self._connected = True
        return True
