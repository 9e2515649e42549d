"""Unpacked bundles, one folder each, named by the SHA-256 of the zip."""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from podium.bundle import unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from podium_agent.store.blobs import BlobCache

KEPT = 16


class BundleStore:
    """Unpacks each bundle once; keeps the `KEPT` used last, and all that workers are bound to."""

    def __init__(self, folder: Path, blobs: BlobCache, in_use: Callable[[], set[str]]) -> None:
        self._folder = folder
        self._blobs = blobs
        self._in_use = in_use
        self._unpacked: OrderedDict[str, None] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime):
            if path.suffix:
                shutil.rmtree(path)
            else:
                self._unpacked[path.name] = None

    def path(self, sha256: str) -> Path:
        """Return where a bundle is when it is unpacked."""
        return self._folder / sha256

    def has(self, sha256: str) -> bool:
        """Whether the bundle is unpacked."""
        if sha256 not in self._unpacked:
            return False
        self._unpacked.move_to_end(sha256)
        return True

    async def unpack(self, sha256: str) -> Path:
        """Return the bundle's folder, fetching and unpacking it if need be.

        Raises:
            PodiumError, grpc.RpcError, OSError: It cannot be fetched or unpacked.
        """
        while not self.has(sha256):
            task = self._tasks.get(sha256)
            if task is None:
                task = asyncio.create_task(self._unpack(sha256))
                self._tasks[sha256] = task
                task.add_done_callback(lambda _: self._tasks.pop(sha256, None))
            await asyncio.shield(task)
        return self.path(sha256)

    async def _unpack(self, sha256: str) -> None:
        archive = await self._blobs.hold(sha256)
        try:
            with suppress(FileExistsError):  # a bundle's folder appears whole or not at all
                await asyncio.to_thread(unpack, archive, self.path(sha256))
        finally:
            self._blobs.let_go([sha256])
        self._unpacked[sha256] = None
        await self._remove_old()

    async def _remove_old(self) -> None:
        in_use = self._in_use()
        idle = [sha256 for sha256 in self._unpacked if sha256 not in in_use]
        for sha256 in idle[: max(len(self._unpacked) - KEPT, 0)]:
            if sha256 != next(reversed(self._unpacked)):
                del self._unpacked[sha256]
                await asyncio.to_thread(shutil.rmtree, self.path(sha256), True)
