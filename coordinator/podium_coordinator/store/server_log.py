"""The embedded Postgres's log: what it writes to stderr, into a file and one predecessor of it, bounded in bytes.

Postgres's own collector bounds the age of a log but not its size. Its lines come through a pipe instead, and a thread
that does nothing else writes them; were it to fail at writing, it would go on reading, or Postgres would block.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
from pathlib import Path
from typing import Final

LIMIT: Final = 8 << 20
"""Bytes of one file."""

_CHUNK: Final = 64 << 10
_TAIL_BYTES: Final = 4096


class ServerLog:
    """Follows one pipe at a time."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        """Prepare; the file is made when there is something to write."""
        self.path = path
        self._limit = limit
        self._tail: collections.deque[bytes] = collections.deque(maxlen=64)
        self._ends: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> int:
        """Return the end of a new pipe for the server to write to; call `follow` once the server has it."""
        self.close()
        self._tail.clear()
        self._ends = os.pipe()
        return self._ends[1]

    def follow(self) -> None:
        """Begin to read; ends by itself when the last writer is gone."""
        if self._ends is None:
            return
        source, sink = self._ends
        os.close(sink)
        self._ends = None
        self._thread = threading.Thread(target=self._run, args=(source,), name="postgres-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait, for a moment, until what the server wrote last is in the file."""
        if self._ends is not None:
            for end in self._ends:
                os.close(end)
            self._ends = None
        if self._thread is not None:
            self._thread.join(timeout=1)
            self._thread = None

    def tail(self) -> str:
        """Return the last lines, at most 4 KiB, of the server that writes now or wrote last."""
        if self._thread is not None:
            self._thread.join(timeout=0.2)
        return b"".join(self._tail)[-_TAIL_BYTES:].decode("utf-8", "replace").strip()

    def _run(self, source: int) -> None:
        with os.fdopen(source, "rb", buffering=0) as pipe:
            while data := pipe.read(_CHUNK):
                self._tail.append(data[-_TAIL_BYTES:])
                with contextlib.suppress(OSError):
                    self._write(data)

    def _write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            if file.tell() + len(data) <= self._limit:
                file.write(data)
                return
        self.path.replace(self.path.with_suffix(".log.1"))
        with self.path.open("wb") as file:
            file.write(data[-self._limit :])
