"""Stores the files of a finished attempt as blobs, before its end is told."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from podium_agent.rpc.blobs import BlobClient
    from podium_agent.session.attempts import Attempt
    from podium_agent.store.blobs import BlobCache
    from podium_agent.store.folder import DataFolder

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
FOR_GOOD = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
"""Answers that another try would not change."""


class UploadRefusedError(Exception):
    """The coordinator does not take a file; the text says why."""


@dataclass(frozen=True, slots=True)
class Settler:
    """Uploads what an attempt set aside, however long the coordinator is away."""

    folder: DataFolder
    client: BlobClient
    cache: BlobCache

    def needed(self, attempt: Attempt) -> bool:
        """Whether the attempt set files aside."""
        return bool(attempt.result and attempt.result.header["blobs"])

    async def settle(self, attempt: Attempt) -> None:
        """Store the attempt's files; they move into the cache, where the next task probably wants them.

        Raises:
            UploadRefusedError: One is refused for good.
        """
        assert attempt.result is not None  # noqa: S101 - the caller asked `needed`
        names = {sha256 for sha256, _, _ in attempt.result.header["blobs"]}
        folder = self.folder.files / attempt.token
        files = {sha256: folder / sha256 for sha256 in names if (folder / sha256).exists()}
        await self._store(files)
        for sha256, path in files.items():
            self.cache.adopt(sha256, path)
        await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _store(self, files: Mapping[str, Path]) -> None:
        pause = FIRST_PAUSE
        while files:
            try:
                for sha256 in sorted(await self.client.missing(files)):
                    await self.client.put(sha256, files[sha256])
            except grpc.aio.AioRpcError as error:
                if error.code() in FOR_GOOD:
                    raise UploadRefusedError(error.details() or str(error.code())) from error
                log.info("upload_put_off", error=error.details(), pause_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return

    def discard(self, attempt: Attempt) -> None:
        """Remove files that nobody will ask for."""
        shutil.rmtree(self.folder.files / attempt.token, ignore_errors=True)
