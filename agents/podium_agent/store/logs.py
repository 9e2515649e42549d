"""The file an attempt's log is kept in: its head, and of a large log its tail, with a marker between.

Theory of operation
-------------------
All that an attempt prints is written through to disk, so that the log survives whatever ends the attempt. Up to the
quota of the head it goes to `<name>.log`. After that it goes, alternately, to two files `<name>.tail0` and `.tail1`:
when one has the quota of the tail, the other is emptied and used, so that together they always hold at least the tail.
Each begins with the number of bytes written before it. When the attempt has ended, `complete` appends to the head a
marker that says how much was left out, and the tail, cut at a record. It works from the files alone, so that the
session can do it for a worker that died.

Standard library only: workers use it.
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING

from podium import logformat

if TYPE_CHECKING:
    from pathlib import Path

SMALL = 4096
"""Logs of at most this many bytes travel with the result."""

BEFORE = struct.Struct(">Q")
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def log_name(run_id: bytes, token: bytes, task: int, map_index: int, number: int) -> str:
    """Return the name of an attempt's log, without suffix: all that is needed to send it."""
    return f"{run_id.hex()}_{task}_{map_index}_{number}_{token.hex()}"


def read_log_name(name: str) -> tuple[bytes, bytes, int, int, int]:
    """Return what `log_name` made a name of.

    Raises:
        ValueError: It is not such a name.
    """
    run, task, map_index, number, token = name.split("_")
    return bytes.fromhex(run), bytes.fromhex(token), int(task), int(map_index), int(number)


class LogWriter:
    """Writes one attempt's log within its quotas, in bytes; never raises for a full or broken disk."""

    def __init__(self, path: Path, head: int, tail: int) -> None:
        self.path = path
        self._head, self._tail = head, tail
        self._written = self._size = 0
        self._descriptor = -1
        self._segment_left = 0
        self._segment = 0
        self._small: list[bytes] | None = []
        self._small_bytes = 0
        self.broken = ""

    @property
    def on_disk(self) -> bool:
        """Whether there is a file."""
        return self._written > 0

    @property
    def size(self) -> int:
        """Bytes in the attempt's file: those of the head until it is closed, then all that is kept."""
        return self._size

    def small(self) -> bytes | None:
        """Return the whole log when it is small, else None."""
        return None if self._small is None else b"".join(self._small)

    def write(self, stream: int, data: bytes) -> None:
        """Add what was read from one of the attempt's streams; what still fits the head goes there."""
        now = time.time()
        fits = len(data) if self._segment else data_within(self._head - self._written)
        for part in (data[:fits], data[fits:]):
            self._add(logformat.encode(now, stream, part))

    def _add(self, records: bytes) -> None:
        self._remember(records)
        if self.broken:
            return
        try:
            self._store(records)
        except OSError as error:
            self.broken = str(error)

    def close(self) -> None:
        """Complete the file, if there is one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._segment:
            try:
                complete(self.path, self._tail)
            except OSError as error:
                self.broken = str(error)
            self._size = self.path.stat().st_size if self.path.exists() else 0

    def _remember(self, records: bytes) -> None:
        if self._small is None:
            return
        self._small.append(records)
        self._small_bytes += len(records)
        if self._small_bytes > SMALL:
            self._small = None

    def _store(self, records: bytes) -> None:
        if not records:
            return
        if self._written == 0:
            self._descriptor = os.open(self.path, WRITE_FLAGS, 0o600)
        if not self._segment and self._written + len(records) <= self._head:
            write_all(self._descriptor, records)
            self._size += len(records)
        else:
            self._store_in_tail(records)
        self._written += len(records)

    def _store_in_tail(self, records: bytes) -> None:
        if not self._segment or len(records) > self._segment_left:
            os.close(self._descriptor)
            self._descriptor = -1
            path = tail_path(self.path, self._segment % 2)
            self._descriptor = os.open(path, WRITE_FLAGS | os.O_TRUNC, 0o600)
            write_all(self._descriptor, BEFORE.pack(self._written))
            self._segment += 1
            self._segment_left = max(self._tail, len(records))
        write_all(self._descriptor, records)
        self._segment_left -= len(records)


def data_within(room: int) -> int:
    """Return how many bytes of data fit `room` bytes of log, the headers of their records included."""
    whole, rest = divmod(max(room, 0), logformat.MAX_RECORD_BYTES + logformat.HEADER_BYTES)
    return whole * logformat.MAX_RECORD_BYTES + max(0, rest - logformat.HEADER_BYTES)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def tail_path(path: Path, segment: int) -> Path:
    """Return where one of the two pieces of a log's tail is."""
    return path.with_suffix(f".tail{segment}")


def complete(path: Path, quota: int) -> None:
    """Join the pieces a large log was written in; does nothing for a small or a complete one.

    Args:
        path: The log's file.
        quota: Bytes of tail to keep at most.
    """
    pieces = sorted(piece for segment in (0, 1) if (piece := _read_tail(path, segment)) is not None)
    if not pieces:
        return
    before = pieces[0][0]
    tail = b"".join(data for _, data in pieces)
    cut = _cut(tail, quota)
    head_size = path.stat().st_size if path.exists() else 0
    left_out = before + cut - head_size
    with path.open("ab") as file:
        if left_out > 0:
            text = f"[podium: {left_out} bytes of log left out here]\n"
            file.write(logformat.encode(time.time(), logformat.LogStream.PODIUM, text.encode()))
        file.write(memoryview(tail)[cut:])
    for segment in (0, 1):
        tail_path(path, segment).unlink(missing_ok=True)


def _read_tail(path: Path, segment: int) -> tuple[int, bytes] | None:
    try:
        data = tail_path(path, segment).read_bytes()
    except FileNotFoundError:
        return None
    if len(data) <= BEFORE.size:
        return None
    return BEFORE.unpack_from(data)[0], data[BEFORE.size :]


def _cut(tail: bytes, quota: int) -> int:
    """Return where the first record begins from which on the tail is within its quota."""
    records, rest = logformat.decode(tail)
    position, excess = 0, len(tail) - len(rest) - quota
    for record in records:
        if position >= excess:
            break
        position += logformat.HEADER_BYTES + len(record.data)
    return position


def discard(path: Path) -> None:
    """Remove a log and its pieces."""
    for part in (path, tail_path(path, 0), tail_path(path, 1)):
        part.unlink(missing_ok=True)


def append_output(path: Path, stream: int, source: Path) -> None:
    """Append to a log what a dead worker had printed and nobody had read, and remove `source`."""
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        return
    with path.open("ab") as file:
        file.write(logformat.encode(time.time(), stream, data))
    source.unlink(missing_ok=True)
