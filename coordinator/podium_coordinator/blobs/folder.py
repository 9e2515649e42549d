"""Blobs in a folder: one file each, named by its hash, which appears whole or not at all."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Final

from podium_coordinator.blobs.contract import BLOCK_BYTES, Intake, in_blocks, not_stored, told_as_unavailable
from podium_coordinator.folders import make_private

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable

_UNFINISHED: Final = "unfinished"


class FolderStore:
    """Keeps the blob abcd... as the file `root/ab/cd...`. Uploads grow apart, and are renamed when they are whole."""

    def __init__(self, root: Path) -> None:
        """Make the folder, with mode 0700, and delete what uploads cut off by a crash have left. Blocking.

        Raises:
            InvalidSettingError: The folder cannot be used.
        """
        self._root = root
        self._unfinished = root / _UNFINISHED
        make_private(root)
        make_private(self._unfinished)
        for left in self._unfinished.iterdir():
            left.unlink()

    async def put(self, sha256: bytes, chunks: AsyncIterable[bytes], limit: int) -> int:
        """Store a blob; see `BlobStore.put`."""
        intake = Intake(sha256, limit)
        upload = _Upload(self._unfinished / f"{sha256.hex()}.{secrets.token_hex(8)}", intake)
        try:
            async for block in in_blocks(chunks):
                with told_as_unavailable():
                    await asyncio.to_thread(upload.write, block)
            size = intake.finish()
            with told_as_unavailable():
                await asyncio.to_thread(upload.publish, self._path(sha256))
        finally:
            await asyncio.shield(asyncio.to_thread(upload.discard))
        return size

    async def read(self, sha256: bytes, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield a blob's bytes; see `BlobStore.read`."""
        file = await asyncio.to_thread(_open_at, self._path(sha256), offset)
        if file is None:
            raise not_stored(sha256)
        try:
            while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
                yield block
        finally:
            file.close()

    async def size(self, sha256: bytes) -> int | None:
        """Return a blob's size in bytes; None when it is not stored."""
        with told_as_unavailable():
            return await asyncio.to_thread(_size_of, self._path(sha256))

    async def delete(self, sha256: bytes) -> None:
        """Delete a blob; nothing happens when it is not stored."""
        with told_as_unavailable():
            await asyncio.to_thread(self._path(sha256).unlink, missing_ok=True)

    def _path(self, sha256: bytes) -> Path:
        name = sha256.hex()
        return self._root / name[:2] / name[2:]


class _Upload:
    """A file that grows apart and takes its place when it is whole. All methods block.

    A call that is cancelled leaves what it was doing at work in a thread: `discard` waits for that, or forestalls it.
    """

    def __init__(self, path: Path, intake: Intake) -> None:
        self._path = path
        self._intake = intake
        self._file: IO[bytes] | None = None
        self._lock = Lock()
        self._discarded = False

    def write(self, block: bytes) -> None:
        with self._lock:
            self._intake.feed(block)
            self._opened().write(block)

    def publish(self, target: Path) -> None:
        """Put the file on the disk for good under its name."""
        with self._lock:
            file = self._opened()
            file.flush()
            os.fsync(file.fileno())
            file.close()
            target.parent.mkdir(mode=0o700, exist_ok=True)
            self._path.replace(target)
        _sync_folder(target.parent)
        _sync_folder(target.parent.parent)

    def discard(self) -> None:
        """Leave nothing behind; nothing happens after `publish`."""
        with self._lock:
            self._discarded = True
            if self._file is not None:
                with suppress(OSError):  # a full disk may refuse the buffered rest, which is unwanted anyway
                    self._file.close()
            self._path.unlink(missing_ok=True)

    def _opened(self) -> IO[bytes]:
        if self._discarded:
            raise ValueError("The upload was discarded.")
        if self._file is None:
            self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        return self._file


def _open_at(path: Path, offset: int) -> IO[bytes] | None:
    with told_as_unavailable():
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        file.seek(min(offset, os.fstat(file.fileno()).st_size))  # beyond it, the kernel minds very large ones
        return file


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
