"""Reads an attempt's log wherever it is: in the folder while it grows, in the attempt's row, or in a blob.

All three hold the same bytes from the log's start, so a reader that has come to some place in one goes on there in
another.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from podium.errors import AttemptNotFoundError
from podium_coordinator.domain.states import ATTEMPT_LIVE, RUN_TERMINAL, TASK_RUN_TERMINAL
from podium_coordinator.logs.folder import AttemptName
from podium_coordinator.store import logs as rows
from podium_coordinator.store import task_runs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from podium_coordinator.blobs.keeper import BlobKeeper
    from podium_coordinator.logs.folder import LogFolder
    from podium_coordinator.rpc.following import Follower
    from podium_coordinator.store.logs import AttemptLog
    from podium_coordinator.store.pools import Pool

PATIENCE: Final = 10.0
"""Seconds a reader waits for the rest of a log whose attempt has ended."""

_LOOKS_APART: Final = 0.1
"""Seconds at least between two looks at an attempt, however much happens in its run."""


@dataclass(slots=True)
class _Place:
    """How far a reader has come: `offset` bytes from the start."""

    offset: int = 0


class LogReader:
    """Reads and follows logs."""

    def __init__(
        self, folder: LogFolder, blobs: BlobKeeper, pool: Pool, follower: Follower, patience: float = PATIENCE
    ) -> None:
        """`pool` gives connections that read."""
        self._folder = folder
        self._blobs = blobs
        self._pool = pool
        self._follower = follower
        self._patience = patience

    async def read(self, name: AttemptName) -> AsyncGenerator[bytes, None]:
        """Yield a log as far as it is known now; number 0 is the newest attempt. Raises AttemptNotFoundError."""
        found = await self._row(name)
        async with aclosing(self._rest(replace(name, number=found.number), found, _Place())) as pieces:
            async for piece in pieces:
                yield piece

    async def tail(self, name: AttemptName) -> AsyncGenerator[bytes, None]:
        """Yield a log, and go on until its attempt has ended and the log is complete.

        Number 0 is the newest attempt; when there is none yet, the first, once there is.

        Raises:
            AttemptNotFoundError: There is no such attempt, or the task run ended without any.
        """
        name = await self._named(name)
        place = _Place()
        with self._folder.follow(name) as changed:
            ending = asyncio.create_task(self._ended(name, changed))
            try:
                while not ending.done():
                    changed.clear()
                    async with aclosing(self._from_folder(name, place)) as pieces:
                        async for piece in pieces:
                            yield piece
                    if not ending.done():
                        await changed.wait()
                await ending
                async with aclosing(self._after_end(name, place, changed)) as pieces:
                    async for piece in pieces:
                        yield piece
            finally:
                ending.cancel()
                await asyncio.gather(ending, return_exceptions=True)

    async def _named(self, name: AttemptName) -> AttemptName:
        """Return the attempt that is meant, waiting for the first if there is none."""
        if name.number:
            await self._row(name)
            return name
        async with aclosing(self._follower.ticks(name.run_id)) as ticks:
            async for state in ticks:
                try:
                    return replace(name, number=(await self._row(name)).number)
                except AttemptNotFoundError:
                    if state in RUN_TERMINAL or await self._over(name):
                        raise
                await asyncio.sleep(_LOOKS_APART)
        raise AttemptNotFoundError(
            f"Task {name.task} of run {name.run_id} ended without an attempt.", run_id=str(name.run_id), task=name.task
        )

    async def _over(self, name: AttemptName) -> bool:
        """Whether a task run without attempts will never have one."""
        async with self._pool.connection() as conn:
            found = await task_runs.list_task_runs(conn, name.run_id, name.task - 1, 1)
        return bool(found) and found[0].task == name.task and found[0].state in TASK_RUN_TERMINAL

    async def _ended(self, name: AttemptName, changed: asyncio.Event) -> None:
        """Return once the attempt has ended; wake the reader then, or when that cannot be found out."""
        try:
            async with aclosing(self._follower.ticks(name.run_id)) as ticks:
                async for _ in ticks:
                    if (await self._row(name)).state not in ATTEMPT_LIVE:
                        return
                    await asyncio.sleep(_LOOKS_APART)
        finally:
            changed.set()

    async def _after_end(self, name: AttemptName, place: _Place, changed: asyncio.Event) -> AsyncGenerator[bytes, None]:
        """Yield the rest of a log whose attempt has ended, waiting a bounded time for what is on its way."""
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            changed.clear()
            found = await self._row(name)
            async with aclosing(self._rest(name, found, place)) as pieces:
                async for piece in pieces:
                    yield piece
            if self._complete(name, found, place) or asyncio.get_running_loop().time() >= deadline:
                return
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                continue

    def _complete(self, name: AttemptName, found: AttemptLog, place: _Place) -> bool:
        if found.inline is not None or found.blob is not None or place.offset >= found.log_bytes:
            return True
        return self._folder.closed(name) and place.offset >= self._folder.size(name)

    async def _rest(self, name: AttemptName, found: AttemptLog, place: _Place) -> AsyncGenerator[bytes, None]:
        """Yield what there is from a place on."""
        if found.inline is not None:
            rest, place.offset = found.inline[place.offset :], len(found.inline)
            if rest:
                yield rest
            return
        source = self._from_folder(name, place) if found.blob is None else self._from_blob(found.blob, place)
        async with aclosing(source) as pieces:
            async for piece in pieces:
                yield piece

    async def _from_folder(self, name: AttemptName, place: _Place) -> AsyncGenerator[bytes, None]:
        while piece := await self._folder.read(name, place.offset):
            place.offset += len(piece)
            yield piece

    async def _from_blob(self, sha256: bytes, place: _Place) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._blobs.read(sha256, place.offset)) as blocks:
            async for block in blocks:
                place.offset += len(block)
                yield block

    async def _row(self, name: AttemptName) -> AttemptLog:
        async with self._pool.connection() as conn:
            return await rows.attempt_log(conn, name.run_id, name.task, name.map_index, name.number)
