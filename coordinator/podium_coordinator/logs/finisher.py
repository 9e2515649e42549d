"""Makes blobs of finished logs, in the background, so that the folder holds logs of attempts under way only.

A log is finished when its attempt has ended and its last piece came. The one may be known before the other, so each
offers the log here; what cannot be finished yet is looked at again after a while. When the last piece never comes (the
agent is gone), what there is becomes the blob after some patience. Offers are hints: a log whose offer was lost, to a
full queue or a crash, is found by `sweep`, at the start and from time to time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from podium.errors import AttemptNotFoundError, UnavailableError
from podium_coordinator.domain.states import ATTEMPT_LIVE
from podium_coordinator.store import logs as rows
from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from podium_coordinator.blobs.keeper import BlobKeeper
    from podium_coordinator.logs.folder import AttemptName, LogFolder
    from podium_coordinator.store.logs import AttemptLog
    from podium_coordinator.store.pools import Pool

_log = structlog.stdlib.get_logger("podium.logs")

MOST_OFFERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: `missing` for the rest of a log whose attempt has ended, `trouble` after a failed try.

    A complete log whose attempt has not ended is looked at after `ending`, then after twice that, up to `missing`.
    """

    missing: float = 60.0
    trouble: float = 30.0
    ending: float = 1.0


class LogFinisher:
    """A queue of logs to finish, and the task that does it. Belongs to one event loop."""

    def __init__(self, folder: LogFolder, blobs: BlobKeeper, pool: Pool, patience: Patience | None = None) -> None:
        """`pool` gives connections that write."""
        self._folder = folder
        self._blobs = blobs
        self._pool = pool
        self._patience = patience or Patience()
        self._offers: asyncio.Queue[AttemptName] = asyncio.Queue(MOST_OFFERS)
        self._waiting: dict[AttemptName, asyncio.TimerHandle] = {}
        self._known_ended: set[AttemptName] = set()
        self._looks: dict[AttemptName, int] = {}

    def offer(self, name: AttemptName) -> None:
        """Hint that a log may be finished: its last piece came, or its attempt ended. Cheap; never blocks."""
        later = self._waiting.pop(name, None)
        if later is not None:
            later.cancel()
        if self._folder.holds(name) and not self._offers.full():
            self._offers.put_nowait(name)

    def sweep(self) -> int:
        """Offer every log in the folder; return how many there are."""
        names = self._folder.names()
        for name in names:
            self.offer(name)
        if names:
            _log.info(Event.LOGS_SWEPT, count=len(names))
        return len(names)

    async def run(self) -> None:
        """Finish what is offered, beginning with what an earlier process left, until cancelled."""
        self.sweep()
        try:
            while True:
                await self._try(await self._offers.get())
        finally:
            for later in self._waiting.values():
                later.cancel()
            self._waiting.clear()

    async def _try(self, name: AttemptName) -> None:
        try:
            again = await self.finish(name)
        except UnavailableError as error:
            _log.warning(Event.LOG_NOT_STORED, run_id=str(name.run_id), task=name.task, error=error.message)
            again = self._patience.trouble
        except Exception:  # noqa: BLE001 - one log's fault must not hold up the others; it is logged
            _log.exception(Event.LOG_NOT_STORED, run_id=str(name.run_id), task=name.task)
            again = self._patience.trouble
        if again is None:
            self._known_ended.discard(name)
            self._looks.pop(name, None)
        elif len(self._waiting) < MOST_OFFERS:
            self._waiting[name] = asyncio.get_running_loop().call_later(again, self.offer, name)

    async def finish(self, name: AttemptName) -> float | None:
        """Move a log to where finished ones are; return after how many seconds to look again, None when it is done."""
        if not self._folder.holds(name):
            return None
        found = await self._row(name)
        if found is not None and found.state in ATTEMPT_LIVE:
            return self._until_ended(name) if self._folder.closed(name) else None
        if found is not None and found.inline is None and found.blob is None:
            if self._must_wait(name, found):
                return self._patience.missing
            await self._store(name)
        await self._folder.remove(name)
        return None

    def _until_ended(self, name: AttemptName) -> float:
        looks = self._looks[name] = self._looks.get(name, -1) + 1
        return min(self._patience.missing, self._patience.ending * float(1 << min(looks, 10)))

    def _must_wait(self, name: AttemptName, found: AttemptLog) -> bool:
        """Whether more of the log may come: once, for a log that is shorter than its attempt's end said."""
        if self._folder.closed(name) or name in self._known_ended or self._folder.size(name) >= found.log_bytes > 0:
            return False
        self._known_ended.add(name)
        return True

    async def _row(self, name: AttemptName) -> AttemptLog | None:
        async with self._pool.connection() as conn:
            try:
                return await rows.attempt_log(conn, name.run_id, name.task, name.map_index, name.number)
            except AttemptNotFoundError:
                return None

    async def _store(self, name: AttemptName) -> None:
        data = await self._folder.whole(name)
        if not data:
            return
        sha256 = await self._blobs.put_bytes(data)
        async with self._pool.connection() as conn:
            await rows.set_log_blob(conn, name.run_id, name.task, name.map_index, name.number, sha256, len(data))
        _log.debug(Event.LOG_STORED, run_id=str(name.run_id), task=name.task, number=name.number, size=len(data))
