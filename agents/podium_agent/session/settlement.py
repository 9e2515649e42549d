"""Stores the files of a finished attempt as blobs, before its end is told."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import structlog

from podium_agent.records import End
from podium_agent.rpc.channel import SessionEndedError

if TYPE_CHECKING:
    from collections.abc import Collection
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


class UnsettledError(Exception):
    """A file cannot be stored, ever; `kind` is a failure kind, and the text says why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Settler:
    """Uploads what an attempt set aside, however long the coordinator is away."""

    folder: DataFolder
    client: BlobClient
    cache: BlobCache

    def needed(self, attempt: Attempt) -> bool:
        """Whether the attempt set files aside."""
        return isinstance(attempt.end, End) and bool(attempt.end.facts["blobs"])

    async def settle(self, attempt: Attempt) -> None:
        """Store the attempt's files; they move into the cache, where the next task probably wants them.

        Raises:
            UnsettledError: One is refused for good, or is gone.
        """
        assert isinstance(attempt.end, End)  # noqa: S101 - the caller asked `needed`
        names = {sha256 for sha256, _, _ in attempt.end.facts["blobs"]}
        folder = self.folder.files / attempt.token.hex()
        try:
            await self._store(names, folder)
            for sha256 in names:
                if (folder / sha256).exists():
                    self.cache.adopt(sha256, folder / sha256)
        except OSError as error:
            raise UnsettledError("internal", f"The agent lost a file of the task: {error}") from error
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _store(self, names: Collection[str], folder: Path) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                for sha256 in sorted(await self.client.missing(names)):
                    await self.client.put(sha256, folder / sha256)
            except (grpc.aio.AioRpcError, SessionEndedError) as error:
                if isinstance(error, grpc.aio.AioRpcError) and error.code() in FOR_GOOD:
                    text = error.details() or error.code().name
                    raise UnsettledError("user_error", f"The task's files cannot be stored: {text}") from error
                log.info("upload_put_off", error=str(error), pause_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return

    def discard(self, attempt: Attempt) -> None:
        """Remove files that nobody will ask for."""
        shutil.rmtree(self.folder.files / attempt.token.hex(), ignore_errors=True)
