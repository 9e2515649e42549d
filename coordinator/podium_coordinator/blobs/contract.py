"""What a blob store does, and the check every blob passes on its way in."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import obstore.exceptions
import structlog

from podium.errors import BlobNotFoundError, BlobTooLargeError, DigestMismatchError, FieldViolation, UnavailableError
from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterator

_log = structlog.stdlib.get_logger("podium.blobs")

BLOCK_BYTES: Final = 1 << 20
"""Bytes are read, hashed and written in blocks of this size, each in one step off the event loop."""


class BlobStore(Protocol):
    """Holds the bytes of blobs. A name that is stored always has all of its bytes."""

    async def put(self, sha256: bytes, chunks: AsyncIterable[bytes], limit: int) -> int:
        """Store what `chunks` yields under its name, and return its size in bytes. Nothing is kept when it fails.

        Raises:
            DigestMismatchError: The bytes are not those the name promises.
            BlobTooLargeError: There are more than `limit` of them.
            BlobStoreError: The store does not work.
        """

    def read(self, sha256: bytes, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield a blob's bytes from `offset`, in blocks of at most `BLOCK_BYTES`. Raises BlobNotFoundError."""

    async def size(self, sha256: bytes) -> int | None:
        """Return a blob's size in bytes; None when it is not stored."""

    async def delete(self, sha256: bytes) -> None:
        """Delete a blob; nothing happens when it is not stored."""


class BlobStoreError(UnavailableError):
    """The place where blobs are kept does not work: a full disk, a missing right, an object store that is away."""

    reason = "BLOB_STORE_UNAVAILABLE"


def not_stored(sha256: bytes) -> BlobNotFoundError:
    """Return the error for a blob that is not there."""
    return BlobNotFoundError(f"No blob {sha256.hex()} is stored.", sha256=sha256.hex())


@contextmanager
def told_as_unavailable() -> Iterator[None]:
    """Turn failures of a disk or an object store into BlobStoreError; what they say goes to the log only."""
    try:
        yield
    except (OSError, obstore.exceptions.BaseError) as error:
        _log.exception(Event.BLOB_STORE_FAILED)
        raise BlobStoreError(
            "The coordinator cannot reach its blob store; its log tells more. Try again once that is mended."
        ) from error


class Intake:
    """Counts and hashes a blob's bytes as they pass."""

    def __init__(self, sha256: bytes, limit: int) -> None:
        self.size = 0
        self._sha256 = sha256
        self._limit = limit
        self._hash = hashlib.sha256()

    def feed(self, block: bytes) -> None:
        """Take the next bytes. Blocking: call it off the event loop.

        Raises:
            BlobTooLargeError: They pass the limit.
        """
        self.size += len(block)
        if self.size > self._limit:
            message = f"The blob is over the limit of {self._limit} bytes (setting max_blob_bytes)."
            raise BlobTooLargeError(message, limit=self._limit, sha256=self._sha256.hex())
        self._hash.update(block)

    def finish(self) -> int:
        """Return the size. Raises DigestMismatchError when the bytes are not those the name promises."""
        found = self._hash.digest()
        if found == self._sha256:
            return self.size
        violation = FieldViolation("sha256", f"the {self.size} bytes that came hash to {found.hex()}")
        raise DigestMismatchError(
            f"The bytes hash to {found.hex()}, not to {self._sha256.hex()}.",
            (violation,),
            found=found.hex(),
            sha256=self._sha256.hex(),
            size=self.size,
        )


async def in_blocks(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Gather chunks of any size into blocks of about `BLOCK_BYTES`, the last one shorter; no bytes make no block."""
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        if len(gathered) >= BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


async def checked(chunks: AsyncIterable[bytes], intake: Intake) -> AsyncGenerator[bytes, None]:
    """Yield blocks that `intake` has seen; where they are not what was promised, raise its refusal at the end."""
    async for block in in_blocks(chunks):
        await asyncio.to_thread(intake.feed, block)
        yield block
    intake.finish()
