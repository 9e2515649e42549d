"""Blobs in an object store: S3, Google Cloud Storage, Azure, or a process's memory, chosen by a URL."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import obstore
import obstore.exceptions
import obstore.store

from podium.errors import FieldViolation, InvalidSettingError
from podium_coordinator.blobs.contract import BLOCK_BYTES, Intake, checked, not_stored, told_as_unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

_PART_BYTES: Final = 8 << 20
_PARTS_AT_ONCE: Final = 4


class ObjectStore:
    """Keeps the blob abcd... as the object `prefix/ab/cd...`."""

    def __init__(self, store: obstore.store.ObjectStore) -> None:
        self._store = store

    @classmethod
    def from_url(cls, url: str) -> ObjectStore:
        """Return the store `url` names, such as "s3://bucket/prefix". Keys come from the provider's own variables.

        Raises:
            InvalidSettingError: The URL cannot be used.
        """
        try:
            return cls(obstore.store.from_url(url))
        except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
            description = f"{url} cannot be used: {error}"
            raise InvalidSettingError(
                f"blob_store: {description}", (FieldViolation("blob_store", description),), setting="blob_store"
            ) from error

    async def put(self, sha256: bytes, chunks: AsyncIterable[bytes], limit: int) -> int:
        """Store a blob; see `BlobStore.put`. Small ones go in one request, large ones in parts."""
        intake = Intake(sha256, limit)
        async with aclosing(checked(chunks, intake)) as blocks:
            head = await _gathered(blocks, _PART_BYTES)
            if len(head) < _PART_BYTES:
                await self._send(sha256, head)
            else:
                await self._send(sha256, _joined(head, blocks))
        return intake.size

    async def read(self, sha256: bytes, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield a blob's bytes; see `BlobStore.read`."""
        size = await self.size(sha256)
        if size is None:
            raise not_stored(sha256)
        if offset >= size:
            return
        with told_as_unavailable():
            answer = await obstore.get_async(self._store, _key(sha256), options={"range": {"offset": offset}})
            async for part in answer.stream(min_chunk_size=BLOCK_BYTES):
                for start in range(0, len(part), BLOCK_BYTES):
                    yield bytes(part[start : start + BLOCK_BYTES])

    async def size(self, sha256: bytes) -> int | None:
        """Return a blob's size in bytes; None when it is not stored."""
        with told_as_unavailable():
            try:
                meta = await obstore.head_async(self._store, _key(sha256))
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                return None
            return meta["size"]

    async def delete(self, sha256: bytes) -> None:
        """Delete a blob; nothing happens when it is not stored."""
        with told_as_unavailable():
            try:
                await obstore.delete_async(self._store, _key(sha256))
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                return

    async def _send(self, sha256: bytes, body: bytes | AsyncIterator[bytes]) -> None:
        with told_as_unavailable():
            await obstore.put_async(
                self._store, _key(sha256), body, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )


def _key(sha256: bytes) -> str:
    name = sha256.hex()
    return f"{name[:2]}/{name[2:]}"


async def _gathered(blocks: AsyncIterator[bytes], enough: int) -> bytes:
    gathered = bytearray()
    async for block in blocks:
        gathered += block
        if len(gathered) >= enough:
            break
    return await asyncio.to_thread(bytes, gathered)


async def _joined(head: bytes, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for block in blocks:
        yield block
