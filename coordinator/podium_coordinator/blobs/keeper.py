"""Blobs as the rest of the coordinator sees them: bytes in a store, and rows that say which are there and wanted."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from podium_coordinator.blobs.contract import BLOCK_BYTES, BlobStoreError, Intake, checked
from podium_coordinator.store import blobs as rows
from podium_coordinator.store.blob_guard import alone_with
from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence

    from podium_coordinator.blobs.contract import BlobStore
    from podium_coordinator.store.pools import Connection, Pool

_log = structlog.stdlib.get_logger("podium.blobs")

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class BlobRules:
    """`limit` is the most bytes of one blob; `grace` how long one that nothing refers to stays after it was wanted."""

    limit: int = 2 << 30
    grace: timedelta = timedelta(hours=1)


class BlobKeeper:
    """Stores, finds and collects blobs. The order of its steps is what `store/blob_guard.py` explains."""

    def __init__(self, store: BlobStore, pool: Pool, rules: BlobRules) -> None:
        """`pool` gives connections that write."""
        self._store = store
        self._pool = pool
        self._rules = rules

    async def put(self, sha256: bytes, chunks: AsyncIterable[bytes]) -> int:
        """Store a blob unless it is stored; return its size in bytes. It is kept for the grace period at least.

        Raises:
            DigestMismatchError: The bytes are not those the name promises.
            BlobTooLargeError: There are more of them than the limit.
            BlobStoreError: The store does not work.
        """
        known = await self._wanted(sha256)
        if known is not None and await self._store.size(sha256) == known:
            async for _ in checked(chunks, Intake(sha256, self._rules.limit)):
                pass
            return known
        size = await self._store.put(sha256, chunks, self._rules.limit)
        async with self._pool.connection() as conn:
            await rows.record_blob(conn, sha256, size)
        return size

    async def put_bytes(self, data: bytes) -> bytes:
        """Store `data`; return its name."""
        sha256 = (await asyncio.to_thread(hashlib.sha256, data)).digest()
        await self.put(sha256, _sliced(data))
        return sha256

    async def stat(self, names: Sequence[bytes]) -> dict[bytes, int]:
        """Return the sizes of those blobs that are stored; they are kept for the grace period at least."""
        async with self._pool.connection() as conn:
            return await rows.touch(conn, names)

    def read(self, sha256: bytes, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield a blob's bytes from `offset`. Raises BlobNotFoundError, BlobStoreError."""
        return self._store.read(sha256, offset)

    async def collect(self) -> int:
        """Delete the blobs that nothing refers to and nobody wanted for the grace period; return how many."""
        collected = 0
        while True:
            async with self._pool.connection() as conn:
                names = await rows.unreferenced(conn, self._rules.grace, _BATCH)
            gone = [name for name in names if await self._collect_one(name)]
            collected += len(gone)
            if len(names) < _BATCH or not gone:
                break
        if collected:
            _log.info(Event.BLOBS_COLLECTED, count=collected)
        return collected

    async def _wanted(self, sha256: bytes) -> int | None:
        async with self._pool.connection() as conn, alone_with(conn, sha256):
            return (await rows.touch(conn, [sha256])).get(sha256)

    async def _collect_one(self, sha256: bytes) -> bool:
        async with self._pool.connection() as conn, alone_with(conn, sha256):
            size = (await rows.sizes(conn, [sha256])).get(sha256)
            if size is None or not await rows.forget(conn, sha256, self._rules.grace):
                return False
            return await self._delete(conn, sha256, size)

    async def _delete(self, conn: Connection, sha256: bytes, size: int) -> bool:
        try:
            await self._store.delete(sha256)
        except BlobStoreError:
            _log.warning(Event.BLOB_LEFT_BEHIND, sha256=sha256.hex(), size=size)
            await rows.record_blob(conn, sha256, size)
            return False
        return True


async def _sliced(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), BLOCK_BYTES):
        yield data[start : start + BLOCK_BYTES]
