"""Takes what an attempt prints, at the level of file descriptors 1 and 2, into its log.

Theory of operation
-------------------
A worker's stdout and stderr are two pipes. One thread of the worker blocks in poll() on their reading ends. Whoever
reads holds a lock: the thread when poll() returns, or the main thread at an attempt's end, which reads both pipes
itself until they are empty. So the end of an attempt needs no sentinel in the pipes and waits for nobody: what the
attempt wrote before it ended is in its log, and what comes later belongs to the next. (Children that could still
write have been killed before.) The pipes never report an end, since the worker itself holds their writing ends. An
attempt that prints nothing costs one poll(); its log is made with the first thing it prints.

The thread also watches the worker's connection to the session, and tells the session about growing logs: at most
every `NOTICE_PAUSE` seconds, and only of attempts older than `NOTICE_AGE` seconds.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from podium_agent.host import prctl

if TYPE_CHECKING:
    from collections.abc import Callable

    from podium_agent.store.logs import LogWriter

CHUNK = 1 << 20
NOTICE_AGE = 0.2
NOTICE_PAUSE = 0.1


class Listener(Protocol):
    """Whom the capturing thread serves besides the log."""

    def fileno(self) -> int:
        """Return the descriptor of the connection to watch; -1 when there is none to watch now."""

    def hung_up(self) -> None:
        """The other end of that connection is gone."""

    def log_grew(self, size: int) -> None:
        """The current attempt's log has `size` bytes."""


class Capture:
    """The pipes, the thread and the current attempt's log."""

    def __init__(self, outputs: tuple[int, int], listener: Listener) -> None:
        self._streams = dict(zip(outputs, (1, 2), strict=True))
        self._listener = listener
        self._lock = threading.Lock()
        self._log: LogWriter | None = None
        self._open: Callable[[], LogWriter] | None = None
        self._written = select.poll()
        for descriptor in outputs:
            self._written.register(descriptor, select.POLLIN)
        self._began = 0.0
        self._noticed, self._noticed_at = 0, 0.0
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="podium-capture", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def begin(self, open_log: Callable[[], LogWriter]) -> None:
        """From now on output belongs to the log that `open_log` makes."""
        self._began, self._noticed, self._noticed_at = time.monotonic(), 0, 0.0
        self._open = open_log

    def end(self) -> LogWriter | None:
        """Take what is still in Python's, C's and the kernel's buffers; return the closed log, None of a silent one."""
        flush_streams()
        with self._lock:
            if self._written.poll(0):
                self._read_all()
            log, self._log, self._open = self._log, None, None
        if log is not None:
            log.close()
        return log

    def watch_connection(self) -> None:
        """Look again at which connection there is to watch."""
        os.write(self._waker, b"w")

    def _watch(self) -> None:
        while True:
            descriptors = self._wait()
            if self._wake in descriptors:
                os.read(self._wake, 4096)
            with self._lock:
                for descriptor in self._streams.keys() & descriptors:
                    self._read(descriptor)
                size = self._notice()
            if size:
                self._listener.log_grew(size)
            if self._listener.fileno() in descriptors:
                self._listener.hung_up()

    def _wait(self) -> set[int]:
        poll = select.poll()
        for descriptor in (*self._streams, self._wake):
            poll.register(descriptor, select.POLLIN)
        connection = self._listener.fileno()
        if connection >= 0:
            poll.register(connection, select.POLLRDHUP)
        return {descriptor for descriptor, _ in poll.poll(self._patience())}

    def _patience(self) -> float | None:
        """Return the milliseconds until a notice that is due later; None when none is."""
        log = self._log
        if log is None or log.size == self._noticed:
            return None
        return max(self._due() - time.monotonic(), 0.0) * 1000 + 1

    def _due(self) -> float:
        return max(self._began + NOTICE_AGE, self._noticed_at + NOTICE_PAUSE)

    def _notice(self) -> int:
        """Return the size to tell of now, or 0."""
        if self._log is None or self._log.size == self._noticed or time.monotonic() < self._due():
            return 0
        self._noticed, self._noticed_at = self._log.size, time.monotonic()
        return self._noticed

    def _read_all(self) -> None:
        for descriptor in self._streams:
            while self._read(descriptor):
                pass

    def _read(self, descriptor: int) -> bool:
        if self._log is None and self._open is not None:
            self._log = self._open()  # first: the process may die at any time, and what was read must not die with it
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        if self._log is not None:
            self._log.write(self._streams[descriptor], data)
        return True


def flush_streams() -> None:
    """Write out the buffers of Python's and C's standard streams; a stream that user code broke is left alone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    prctl.flush_c_streams()
