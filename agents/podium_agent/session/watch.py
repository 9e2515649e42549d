"""Watches what workers execute: tells of attempts that began a while ago, and lets none wait behind a long one.

Nothing is asked of the worker, which may be busy or stuck: its journal says what it has finished and what it executes,
and what it has not taken is recalled. Looks only while some attempt has not been seen to end or to take long.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from podium_agent.session.attempts import Attempt
    from podium_agent.session.lanes import Lane
    from podium_agent.session.outbox import Outbox
    from podium_agent.session.pool import Pool

INTERVAL = 0.02
"""Seconds the first in a lane may execute before those behind it are dealt elsewhere."""
STARTED_AFTER = 50_000
"""Microseconds an attempt must execute before its start is told apart from its end."""


class Reader(Protocol):
    """Who can say more of a lane."""

    def read_on(self, lane: Lane) -> None:
        """Take up what the worker has written down and not told."""

    def recall(self, lane: Lane) -> None:
        """Queue again what the worker has not taken."""

    def begin(self) -> None:
        """Begin whatever fits now."""


class Watch:
    """See the module's text."""

    def __init__(self, pool: Pool, outbox: Outbox, reader: Reader) -> None:
        self._pool = pool
        self._outbox = outbox
        self._reader = reader
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Look soon."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def _look(self) -> None:
        self._timer = None
        latest = asyncio.get_running_loop().time() - INTERVAL * 0.9
        again = [self._look_at(lane, latest) for lane in self._pool.busy()]
        self._reader.begin()
        if any(again):
            self.arm()

    def _look_at(self, lane: Lane, latest: float) -> bool:
        """Return whether to look at a lane again."""
        first = first_in(lane)
        if first is None:
            return False
        if lane.since > latest or first.told_started:
            return not first.told_started
        self._reader.read_on(lane)
        lane.stuck = True
        first = first_in(lane)
        if first is None or not first.started or len(lane.dealt) > 1:
            self._reader.recall(lane)
            first = first_in(lane)
        return first is not None and not self._tell_started(first)

    def _tell_started(self, attempt: Attempt) -> bool:
        """Tell that an attempt has begun, if it did a while ago."""
        if attempt.started and time.time_ns() // 1000 - attempt.started >= STARTED_AFTER:
            attempt.told_started = True
            self._outbox.start(attempt)
        return attempt.told_started


def first_in(lane: Lane) -> Attempt | None:
    """Return the attempt that a worker executes, or will next."""
    return next(iter(lane.dealt.values()), None)
