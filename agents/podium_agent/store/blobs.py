"""A bounded local cache of blobs, named by their SHA-256.

Blobs are read-only files `ab/abcd...`. What is used least recently is removed first when the cache is over its size;
blobs in use are pinned. A file whose size or time has changed since it was cached was tampered with by a task that runs
as root or as the agent's own user, and is fetched anew. Requests for one blob at the same time share one fetch.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from podium.errors import DigestMismatchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path


class BlobSource(Protocol):
    """Where blobs come from."""

    def get(self, sha256: str) -> AsyncIterator[bytes]:
        """Read a blob in pieces."""


@dataclass(slots=True)
class _Entry:
    size: int
    changed: int


class BlobCache:
    """See the module's text. `capacity` in bytes; a single blob over it is kept while it is pinned."""

    def __init__(self, folder: Path, source: BlobSource, capacity: int) -> None:
        self._folder = folder
        self._source = source
        self._capacity = capacity
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0
        self._pins: Counter[str] = Counter()
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._read_folder()

    def _read_folder(self) -> None:
        found = []
        for path in self._folder.glob("??/*"):
            if path.suffix:
                path.unlink()
            else:
                found.append((path.stat(), path.name))
        for stat, name in sorted(found, key=lambda item: item[0].st_atime_ns):
            self._enter(name, stat)

    def path(self, sha256: str) -> Path:
        """Return where a blob is when it is cached."""
        return self._folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether the blob is cached and untouched."""
        entry = self._entries.get(sha256)
        if entry is None:
            return False
        try:
            stat = self.path(sha256).stat()
        except FileNotFoundError:
            stat = None
        if stat is None or (stat.st_size, stat.st_mtime_ns) != (entry.size, entry.changed):
            self._remove(sha256)
            return False
        self._entries.move_to_end(sha256)
        return True

    async def hold(self, sha256: str) -> Path:
        """Return where the blob is, fetched if need be, and pin it.

        Raises:
            DigestMismatchError: What came is not the blob.
            PodiumError, grpc.RpcError, OSError: It cannot be fetched or kept.
        """
        self._pins[sha256] += 1
        try:
            while not self.has(sha256):
                await self._fetch(sha256)
        except BaseException:
            self.let_go([sha256])
            raise
        return self.path(sha256)

    def let_go(self, names: Iterable[str]) -> None:
        """Take pins away."""
        for sha256 in names:
            self._pins[sha256] -= 1
            if self._pins[sha256] <= 0:
                del self._pins[sha256]
        self._shrink()

    def adopt(self, sha256: str, file: Path) -> None:
        """Move a file, known to hold the blob, into the cache."""
        path = self.path(sha256)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file.chmod(0o400)
        file.replace(path)
        self._enter(sha256, path.stat())
        self._shrink()

    async def _fetch(self, sha256: str) -> None:
        task = self._fetches.get(sha256)
        if task is None:
            task = asyncio.create_task(self._download(sha256))
            self._fetches[sha256] = task
            task.add_done_callback(lambda _: self._fetches.pop(sha256, None))
        await asyncio.shield(task)

    async def _download(self, sha256: str) -> None:
        part = self.path(sha256).with_suffix(f".{uuid.uuid4().hex}")
        part.parent.mkdir(mode=0o700, exist_ok=True)
        digest = hashlib.sha256()
        try:
            with part.open("wb") as file:
                async for piece in self._source.get(sha256):
                    await asyncio.to_thread(_take, file.fileno(), digest, piece)
            if digest.hexdigest() != sha256:
                raise DigestMismatchError(f"Blob {sha256} arrived with other bytes.", sha256=sha256)
            self.adopt(sha256, part)
        finally:
            part.unlink(missing_ok=True)

    def _enter(self, sha256: str, stat: os.stat_result) -> None:
        self._forget(sha256)
        self._entries[sha256] = _Entry(stat.st_size, stat.st_mtime_ns)
        self._size += stat.st_size

    def _forget(self, sha256: str) -> None:
        entry = self._entries.pop(sha256, None)
        if entry is not None:
            self._size -= entry.size

    def _remove(self, sha256: str) -> None:
        self._forget(sha256)
        self.path(sha256).unlink(missing_ok=True)

    def _shrink(self) -> None:
        for sha256 in list(self._entries):
            if self._size <= self._capacity:
                return
            if sha256 not in self._pins:
                self._remove(sha256)


def _take(descriptor: int, digest: hashlib._Hash, piece: bytes) -> None:
    digest.update(piece)
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]
