"""Reads and writes blobs at the coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.v1 import blob_pb2, blob_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from podium_agent.rpc.channel import CurrentChannel

CHUNK = 512 * 1024
STALL = 300.0
"""Seconds one blob may take at most."""


class BlobClient:
    """Calls of BlobService over the current session's channel. Failed calls raise grpc.aio.AioRpcError."""

    def __init__(self, channel: CurrentChannel) -> None:
        self._channel = channel

    async def get(self, sha256: str) -> AsyncIterator[bytes]:
        """Read a blob in pieces."""
        stub = blob_pb2_grpc.BlobServiceStub(await self._channel.get())
        call = stub.GetBlob(blob_pb2.GetBlobRequest(sha256=sha256), timeout=STALL)
        try:
            async for response in call:
                yield response.data
        finally:
            call.cancel()

    async def missing(self, names: Collection[str]) -> set[str]:
        """Return which of the blobs are not stored."""
        stub = blob_pb2_grpc.BlobServiceStub(await self._channel.get())
        response = await stub.StatBlobs(blob_pb2.StatBlobsRequest(sha256=sorted(names)), timeout=30)
        return set(names) - set(response.sizes)

    async def put(self, sha256: str, path: Path) -> None:
        """Store a file as a blob."""
        stub = blob_pb2_grpc.BlobServiceStub(await self._channel.get())
        await stub.PutBlob(_pieces(sha256, path), timeout=STALL)


async def _pieces(sha256: str, path: Path) -> AsyncIterator[blob_pb2.PutBlobRequest]:
    with path.open("rb") as file:
        yield blob_pb2.PutBlobRequest(sha256=sha256, data=file.read(CHUNK))
        while piece := file.read(CHUNK):
            yield blob_pb2.PutBlobRequest(data=piece)
