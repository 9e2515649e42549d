"""Puts and gets blobs in chunks, each checked against its name, taken up again where a connection broke."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

from podium.channels import Channels
from podium.errors import DigestMismatchError, FieldViolation, InvalidDigestError, UnavailableError
from podium.following import Patience
from podium.results import BlobRef
from podium.v1 import blob_pb2

CHUNK_BYTES = 1024 * 1024
MAX_NAMES = 1_000
TRANSFER_SECONDS = 3_600.0
"""How long one transfer may take."""

_PATIENCE_SECONDS = 30.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


class AsyncBlobs:
    """The blobs of a cluster: immutable bytes named by their SHA-256 in lower-case hexadecimal."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def stat(self, names: Sequence[str]) -> dict[str, int]:
        """Return the sizes in bytes of those of the blobs that are stored."""
        sizes: dict[str, int] = {}
        for start in range(0, len(names), MAX_NAMES):
            request = blob_pb2.StatBlobsRequest(sha256=names[start : start + MAX_NAMES])
            answer = await self._channels.call(lambda endpoint: endpoint.blobs.StatBlobs, request)
            sizes.update(answer.sizes)
        return sizes

    async def put(self, source: bytes | Path) -> BlobRef:
        """Store bytes or a file unless they are stored already.

        Raises:
            BlobTooLargeError: They are over the coordinator's limit.
            DigestMismatchError: The file changed while it was sent.
            OSError: The file cannot be read.
        """

        def opened() -> BinaryIO:
            return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)

        blob = await asyncio.to_thread(_identify, opened)
        if blob.sha256 not in await self.stat([blob.sha256]):
            await self._send(blob, opened)
        return blob

    async def get(self, sha256: str) -> bytes:
        """Return a blob's bytes. Raises as `download`."""
        buffer = io.BytesIO()
        await self._receive(sha256, buffer)
        return buffer.getvalue()

    async def download(self, sha256: str, path: Path) -> None:
        """Write a blob to a file, which appears once it is whole.

        Raises:
            BlobNotFoundError: It is not stored.
            InvalidDigestError: `sha256` is no blob's name.
            DigestMismatchError: The bytes that came are not those the name promises.
            OSError: The file cannot be written.
        """
        partial = path.parent / f".podium-{secrets.token_hex(8)}"
        try:
            with await asyncio.to_thread(_create, partial) as file:
                await self._receive(sha256, file)
            await asyncio.to_thread(partial.replace, path)
        finally:
            _discard(partial)

    async def _send(self, blob: BlobRef, opened: Callable[[], BinaryIO]) -> None:
        patience = Patience(_PATIENCE_SECONDS)
        while True:
            try:
                await self._channels.upload(
                    lambda endpoint: endpoint.blobs.PutBlob, lambda: _chunks(blob.sha256, opened), TRANSFER_SECONDS
                )
            except UnavailableError as error:
                await patience.wait(error)
            else:
                return

    async def _receive(self, sha256: str, target: BinaryIO) -> None:
        if not _SHA256.fullmatch(sha256):
            what = f"It must be 64 hexadecimal digits in lower case, and is {sha256[:80]!r}."
            raise InvalidDigestError(f"{sha256[:80]!r} is no blob's name.", (FieldViolation("sha256", what),))
        digest = hashlib.sha256()
        async with aclosing(self._pieces(sha256)) as pieces:
            async for data in pieces:
                await asyncio.to_thread(target.write, data)
                digest.update(data)
        if digest.hexdigest() != sha256:
            raise DigestMismatchError(
                f"The blob {sha256} came with other bytes than its name promises; get it again.",
                sha256=sha256,
                received=digest.hexdigest(),
            )

    async def _pieces(self, sha256: str) -> AsyncGenerator[bytes, None]:
        """Yield a blob's bytes, going on from where a connection broke."""
        offset = 0
        patience = Patience(_PATIENCE_SECONDS)
        while True:
            request = blob_pb2.GetBlobRequest(sha256=sha256, offset=offset)
            stream = self._channels.stream(lambda endpoint: endpoint.blobs.GetBlob, request, TRANSFER_SECONDS)
            try:
                async with aclosing(stream):
                    async for message in stream:
                        patience.answered()
                        offset += len(message.data)
                        yield message.data
            except UnavailableError as error:
                await patience.wait(error)
            else:
                return


class AsyncBlobMethods:
    """What clients offer of blobs by themselves."""

    blobs: AsyncBlobs

    async def put_blob(self, source: bytes | Path) -> BlobRef:
        """Store bytes or a file, and return the name and the size of the blob."""
        return await self.blobs.put(source)

    async def get_blob(self, sha256: str) -> bytes:
        """Return a blob's bytes. Raises BlobNotFoundError."""
        return await self.blobs.get(sha256)


async def _chunks(sha256: str, opened: Callable[[], BinaryIO]) -> AsyncIterator[blob_pb2.PutBlobRequest]:
    with opened() as file:
        yield blob_pb2.PutBlobRequest(sha256=sha256, data=await asyncio.to_thread(file.read, CHUNK_BYTES))
        while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield blob_pb2.PutBlobRequest(data=data)


def _identify(opened: Callable[[], BinaryIO]) -> BlobRef:
    with opened() as file:
        digest = hashlib.sha256()
        size = 0
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            size += len(data)
    return BlobRef(digest.hexdigest(), size)


def _create(path: Path) -> BinaryIO:
    return path.open("xb")


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)
