"""Reads and writes blobs at the coordinator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from podium.v1 import blob_pb2, blob_pb2_grpc
from podium_agent.rpc.channel import SessionEndedError, calls_on_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from podium_agent.rpc.channel import CurrentChannel

CHUNK = 512 * 1024
STALL = 300.0
"""Seconds one blob may take at most."""


MOST_NAMES = 1000
TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
PASSING = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}
)


class BlobClient:
    """Calls of BlobService over the current session's channel; each waits for a session first.

    A failed call raises grpc.aio.AioRpcError, or SessionEndedError when the session ended under it.
    """

    def __init__(self, channel: CurrentChannel) -> None:
        self._channel = channel

    async def get(self, sha256: str) -> AsyncIterator[bytes]:
        """Read a blob in pieces; goes on where it was when the session ends in between.

        Raises:
            SessionEndedError, grpc.aio.AioRpcError: It was tried `TRIES` times in a row without a new byte.
        """
        offset, tries = 0, 0
        while True:
            tries += 1
            try:
                async for piece in self._read(sha256, offset):
                    offset, tries = offset + len(piece), 0
                    yield piece
            except (SessionEndedError, grpc.aio.AioRpcError) as error:
                if tries >= TRIES or not passes(error):
                    raise
                await asyncio.sleep(min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE))
            else:
                return

    async def _read(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        stub = blob_pb2_grpc.BlobServiceStub(await self._channel.get())
        call = stub.GetBlob(blob_pb2.GetBlobRequest(sha256=sha256, offset=offset), timeout=STALL)
        try:
            with calls_on_session():
                async for response in call:
                    yield response.data
        finally:
            call.cancel()

    async def missing(self, names: Collection[str]) -> set[str]:
        """Return which of the blobs are not stored."""
        missing: set[str] = set()
        stub = blob_pb2_grpc.BlobServiceStub(await self._channel.get())
        for asked in batched(sorted(names), MOST_NAMES):
            with calls_on_session():
                response = await stub.StatBlobs(blob_pb2.StatBlobsRequest(sha256=asked), timeout=30)
            missing.update(set(asked) - set(response.sizes))
        return missing

    async def put(self, sha256: str, path: Path) -> None:
        """Store a file as a blob.

        Raises:
            OSError: The file cannot be read.
        """
        stub = blob_pb2_grpc.BlobServiceStub(await self._channel.get())
        with await asyncio.to_thread(path.open, "rb") as file, calls_on_session():
            await stub.PutBlob(_pieces(sha256, file), timeout=STALL)


def passes(error: Exception) -> bool:
    """Whether another try may fare better than the call that raised `error`."""
    return not isinstance(error, grpc.aio.AioRpcError) or error.code() in PASSING


def batched(names: list[str], size: int) -> Iterator[list[str]]:
    """Yield `names` in lists of at most `size`."""
    return (names[start : start + size] for start in range(0, len(names), size))


async def _pieces(sha256: str, file: BinaryIO) -> AsyncIterator[blob_pb2.PutBlobRequest]:
    yield blob_pb2.PutBlobRequest(sha256=sha256, data=await asyncio.to_thread(file.read, CHUNK))
    while piece := await asyncio.to_thread(file.read, CHUNK):
        yield blob_pb2.PutBlobRequest(data=piece)
