"""BlobService: puts, gets and asks about blobs."""

# ruff: noqa: N802 - the names are the contract's

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from podium.v1 import blob_pb2 as pb
from podium.v1 import blob_pb2_grpc
from podium_coordinator.rpc import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from podium_coordinator.blobs.keeper import BlobKeeper

    Context = grpc.aio.ServicerContext[object, object]


class BlobService(blob_pb2_grpc.BlobServiceServicer):
    """Serves podium.v1.BlobService."""

    def __init__(self, blobs: BlobKeeper) -> None:
        self._blobs = blobs

    async def PutBlob(self, request_iterator: AsyncIterator[pb.PutBlobRequest], context: Context) -> pb.PutBlobResponse:
        """Store a blob; see the contract."""
        del context
        first = await anext(request_iterator, pb.PutBlobRequest())
        sha256 = parse.digest(first.sha256)
        return pb.PutBlobResponse(size=await self._blobs.put(sha256, _data(first, request_iterator)))

    async def GetBlob(self, request: pb.GetBlobRequest, context: Context) -> AsyncIterator[pb.GetBlobResponse]:
        """Read a blob; see the contract."""
        del context
        async with aclosing(self._blobs.read(parse.digest(request.sha256), parse.offset(request.offset))) as blocks:
            async for block in blocks:
                yield pb.GetBlobResponse(data=block)

    async def StatBlobs(self, request: pb.StatBlobsRequest, context: Context) -> pb.StatBlobsResponse:
        """Tell which blobs are stored; see the contract."""
        del context
        found = await self._blobs.stat(parse.digests(request.sha256))
        return pb.StatBlobsResponse(sizes={sha256.hex(): size for sha256, size in found.items()})


async def _data(first: pb.PutBlobRequest, others: AsyncIterator[pb.PutBlobRequest]) -> AsyncIterator[bytes]:
    yield parse.chunk(first.data)
    async for request in others:
        yield parse.chunk(request.data)
