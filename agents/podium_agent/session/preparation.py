"""Gets what an attempt needs before a worker can execute it: bundle unpacked, blobs of its inputs fetched."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc

from podium.errors import PodiumError
from podium.results import blob_reference, file_references
from podium_agent import frames

if TYPE_CHECKING:
    from pathlib import Path

    from podium_agent.session.attempts import Attempt
    from podium_agent.store.blobs import BlobCache
    from podium_agent.store.bundles import BundleStore

MARKS = (b'"$file"', b'"$blob"')


class PreparationError(Exception):
    """The attempt cannot be given what it needs; `kind` is a failure kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Preparer:
    """Knows where bundles and blobs are."""

    def __init__(self, bundles: BundleStore, blobs: BlobCache) -> None:
        self.bundles = bundles
        self.blobs = blobs

    def ready(self, attempt: Attempt) -> bool:
        """Whether there is nothing to fetch."""
        bundle = attempt.order.bundle
        return (not bundle or self.bundles.has(bundle)) and not (attempt.inputs and _with_blobs(attempt))

    async def prepare(self, attempt: Attempt) -> None:
        """Fetch what is missing; what is fetched stays pinned under `attempt.pinned`.

        Raises:
            PreparationError: Something cannot be fetched.
        """
        try:
            if attempt.order.bundle:
                await self.bundles.unpack(attempt.order.bundle)
            for output in _with_blobs(attempt):
                await self._hold_all(attempt, json.loads(output))
        except (PodiumError, grpc.aio.AioRpcError, OSError, ValueError) as error:
            text = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
            raise PreparationError("internal", f"The agent could not fetch what the task needs: {text}") from error

    async def _hold_all(self, attempt: Attempt, value: Any) -> None:
        """Pin the blobs a value refers to, and those that a value kept in a blob refers to."""
        whole = blob_reference(value)
        if whole is not None:
            path = await self._hold(attempt, whole.sha256)
            value = json.loads(await asyncio.to_thread(path.read_bytes))
        for file in file_references(value):
            await self._hold(attempt, file.sha256)

    async def _hold(self, attempt: Attempt, sha256: str) -> Path:
        path = await self.blobs.hold(sha256)
        attempt.pinned = [*(attempt.pinned or ()), sha256]
        return path

    def own_inputs(self, attempt: Attempt) -> bytes:
        """Return what a worker needs beside order and arguments (see records.Task); mostly nothing."""
        if not attempt.inputs:
            return b""
        header = {
            "inputs": [(item.task, len(item.output)) for item in attempt.inputs],
            "blobs": {sha256: str(self.blobs.path(sha256)) for sha256 in attempt.pinned or ()},
        }
        return frames.pack(header, b"".join([item.output for item in attempt.inputs]))


def _with_blobs(attempt: Attempt) -> list[bytes]:
    return [item.output for item in attempt.inputs if any(mark in item.output for mark in MARKS)]
