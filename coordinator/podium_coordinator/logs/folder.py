"""The logs of attempts under way, a file each: appended at offsets, followed by signals, bounded by a quota.

A log that nothing will be added to any more (the agent sent the last piece, or the quota is reached) is a file without
write permission: that is how a restarted coordinator knows. The agent keeps its logs below the quota by itself; what
passes it all the same is cut here, with a mark, and acknowledged, so that one attempt cannot hold up its agent's
others.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from podium.errors import UnavailableError
from podium.logformat import LogFormatError, LogStream, decode, encode
from podium_coordinator.folders import make_private
from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = structlog.stdlib.get_logger("podium.logs")

READ_BYTES: Final = 1 << 20
"""The most that one read returns."""

_WRITABLE: Final = 0o600
_CLOSED: Final = 0o400


class LogStoreError(UnavailableError):
    """The folder for logs does not work: a full disk or a missing right."""

    reason = "LOG_STORE_UNAVAILABLE"


@dataclass(frozen=True, slots=True, order=True)
class AttemptName:
    """Names an attempt: run, position of the task, map index (-1 without), number."""

    run_id: UUID
    task: int
    map_index: int
    number: int


@dataclass(slots=True)
class _Log:
    """What is known of a log. `size` is of the file; `closed`: nothing will be added."""

    size: int = 0
    closed: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class LogFolder:
    """Logs under `root`, as `<run>/<task>.<map index>.<number>`. Belongs to one event loop and one process."""

    def __init__(self, root: Path, quota: int) -> None:
        """Make the folder, with mode 0700, and look up what an earlier process left. Blocking.

        Raises:
            InvalidSettingError: The folder cannot be used.
        """
        self._root = root
        self._quota = quota
        self._followers: dict[AttemptName, set[asyncio.Event]] = {}
        make_private(root)
        self._logs = dict(_leftovers(root))

    async def append(self, name: AttemptName, offset: int, data: bytes, last: bool = False) -> int:
        """Add `data`, which begins `offset` bytes from the log's start; bytes already there are not written again.

        Returns:
            How many bytes from the start need not be sent again: less than `offset` after a gap.

        Raises:
            LogStoreError: The bytes could not be written.
        """
        log = self._logs.setdefault(name, _Log())
        async with log.lock:
            with _told_as_unavailable():
                stored = await asyncio.to_thread(self._write, name, log, offset, data, last)
        self._signal(name)
        return stored

    async def read(self, name: AttemptName, offset: int, limit: int = READ_BYTES) -> bytes | None:
        """Return at most `limit` bytes from `offset`; None when there is no such log."""
        if name not in self._logs:
            return None
        with _told_as_unavailable():
            return await asyncio.to_thread(_read, self._path(name), offset, limit)

    async def whole(self, name: AttemptName) -> bytes:
        """Return all of a log, which the quota bounds; nothing when there is no such log."""
        return await self.read(name, 0, self._quota + READ_BYTES) or b""

    async def remove(self, name: AttemptName) -> None:
        """Forget a log, once it is kept elsewhere, and tell those who follow it."""
        with _told_as_unavailable():
            await asyncio.to_thread(_unlink, self._path(name))
        self._logs.pop(name, None)
        self._signal(name)

    def names(self) -> list[AttemptName]:
        """Return the logs that are here."""
        return sorted(self._logs)

    def holds(self, name: AttemptName) -> bool:
        """Whether there is such a log."""
        return name in self._logs

    def size(self, name: AttemptName) -> int:
        """Return a log's size in bytes; 0 when there is none."""
        log = self._logs.get(name)
        return 0 if log is None else log.size

    def closed(self, name: AttemptName) -> bool:
        """Whether nothing will be added to a log."""
        log = self._logs.get(name)
        return log is not None and log.closed

    @contextmanager
    def follow(self, name: AttemptName) -> Iterator[asyncio.Event]:
        """Give an event that is set at each change of a log, which need not exist yet; the holder clears it."""
        changed = asyncio.Event()
        self._followers.setdefault(name, set()).add(changed)
        try:
            yield changed
        finally:
            followers = self._followers[name]
            followers.discard(changed)
            if not followers:
                del self._followers[name]

    def _signal(self, name: AttemptName) -> None:
        for changed in self._followers.get(name, ()):
            changed.set()

    def _path(self, name: AttemptName) -> Path:
        return self._root / str(name.run_id) / f"{name.task}.{name.map_index}.{name.number}"

    def _write(self, name: AttemptName, log: _Log, offset: int, data: bytes, last: bool) -> int:
        path = self._path(name)
        log.size, log.closed = _measured(path)
        if log.closed:
            return max(log.size, offset + len(data))
        if offset > log.size:
            return log.size
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _WRITABLE)
        try:
            return self._extend(descriptor, name, log, data[log.size - offset :], last)
        finally:
            os.close(descriptor)

    def _extend(self, descriptor: int, name: AttemptName, log: _Log, fresh: bytes, last: bool) -> int:
        stored = log.size + len(fresh)
        if stored > self._quota:
            log.size = _cut(descriptor, log.size, self._quota)
            _log.warning(Event.LOG_CUT, run_id=str(name.run_id), task=name.task, number=name.number, quota=self._quota)
            last = True
        else:
            _write_all(descriptor, fresh, log.size)
            log.size = stored
        if last:
            os.fsync(descriptor)
            os.fchmod(descriptor, _CLOSED)
            log.closed = True
        return stored


def _measured(path: Path) -> tuple[int, bool]:
    """Return a log's size and whether it is closed."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return 0, False
    return about.st_size, not about.st_mode & stat.S_IWUSR


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _log.exception(Event.LOG_STORE_FAILED)
        raise LogStoreError(
            "The coordinator cannot use its folder for logs; its own log tells more. Try again once that is mended."
        ) from error


def _cut(descriptor: int, size: int, quota: int) -> int:
    """End a log with whole records and a mark that says why; return its size."""
    whole = size - len(_rest(os.pread(descriptor, size, 0)))
    note = f"The log was cut here: it passed the coordinator's limit of {quota} bytes (setting max_log_bytes).\n"
    mark = encode(time.time(), LogStream.PODIUM, note.encode())
    os.ftruncate(descriptor, whole)
    _write_all(descriptor, mark, whole)
    return whole + len(mark)


def _rest(data: bytes) -> bytes:
    try:
        return decode(data)[1]
    except LogFormatError:
        return b""


def _write_all(descriptor: int, data: bytes, position: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, position)
        data, position = data[written:], position + written


def _read(path: Path, offset: int, limit: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return None


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):  # the run's other logs are still there
        path.parent.rmdir()


def _leftovers(root: Path) -> Iterator[tuple[AttemptName, _Log]]:
    for path in root.glob("*/*"):
        name = _parsed(path)
        if name is not None:
            yield name, _Log(*_measured(path))


def _parsed(path: Path) -> AttemptName | None:
    try:
        task, map_index, number = path.name.split(".")
        return AttemptName(UUID(path.parent.name), int(task), int(map_index), int(number))
    except ValueError:
        return None
