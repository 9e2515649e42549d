"""A worker's connection to the session, which comes back when the session does.

The socket it connects to belongs to the spawner, so connecting works while there is no session: the next one finds the
connection waiting. After each connect the worker says who it is, what it executes, and repeats its last result, since
nobody knows whether the session before had taken it up.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from podium_agent import frames

if TYPE_CHECKING:
    from podium_agent.frames import Header

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0


class Connection:
    """Frames to and from the session. Sending is safe from any thread; receiving is for the main thread."""

    def __init__(self, path: str, hello: Header) -> None:
        self._path = path
        self._hello = hello
        self._lock = threading.RLock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._connected = False
        self._holding: Header | None = None
        self._result: bytes = b""

    def fileno(self) -> int:
        """Return the descriptor while the connection stands, else -1."""
        return self._socket.fileno() if self._connected else -1

    def connect(self) -> None:
        """Connect and say hello."""
        with self._lock:
            self._connect()

    def receive(self) -> tuple[Header, bytes]:
        """Wait for an order, through as many sessions as it takes."""
        while True:
            with contextlib.suppress(OSError, frames.FrameError):
                frame = frames.receive(self._socket)
                if frame is not None:
                    return frame
            self.connect()

    def begin(self, holding: Header) -> None:
        """Note that an attempt begins; the result before it has been taken up."""
        with self._lock:
            self._holding, self._result = holding, b""
            if not self._connected:
                self._connect()

    def finish(self, frame: bytes) -> None:
        """Send the attempt's result, and once more after each reconnect until the next attempt begins."""
        with self._lock:
            self._holding, self._result = None, frame
            if not self._send(self._result):
                self._connect()

    def tell(self, header: Header, body: bytes = b"") -> None:
        """Send what may be lost."""
        with self._lock:
            self._send(frames.pack(header, body))

    def lost(self) -> bool:
        """Note that the other end is gone; return whether this thread must see to it, being in an attempt."""
        with self._lock:
            self._connected = False
            if self._holding is None:
                return False
            self._connect()
            return True

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

    def _try_to_connect(self) -> bool:
        self._socket.close()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(self._path)
            self._socket.sendall(frames.pack({**self._hello, "op": "hello", "holding": self._holding}) + self._result)
        except OSError:
            return False
        self._connected = True
        return True
