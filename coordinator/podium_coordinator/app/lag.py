"""How late the event loop is, measured by itself: the time by which a timer comes after it was due.

A loop that is late answers nobody: agents, callers and the lease all wait. A tick every `INTERVAL` seconds notes how
late it comes, and what it missed while it was held up, so that a stall of a second counts as one and not as a single
odd tick.
Every `WINDOW` seconds the ticks become one line of the log, `process.loop_lagged`, unless none was `NOTABLE` or later:

- `seconds`, `ticks`: the length of the window, and how many ticks it had;
- `p99_ms`, `most_ms`: the least bound that 99 % of the ticks kept, and the latest tick;
- `late`: how many ticks were late by at most each of `BOUNDS`, and, last, by more.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog

from podium_coordinator.structured_logs import Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

log = structlog.stdlib.get_logger(__name__)

INTERVAL: Final = 0.2
WINDOW: Final = 5.0
NOTABLE: Final = 0.02
BOUNDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds."""


class Lag:
    """A histogram of bounded size; times in seconds."""

    def __init__(self) -> None:
        self.late = [0] * (len(BOUNDS) + 1)
        self.most = 0.0

    def note(self, late: float) -> None:
        """Count a tick that came `late`, and those that would have come meanwhile."""
        self.most = max(self.most, late)
        missed = int(late / INTERVAL)
        if missed > WINDOW / INTERVAL:  # a machine that slept, say: what is beyond a window is one count
            self.late[-1] += missed - int(WINDOW / INTERVAL)
            late, missed = WINDOW, int(WINDOW / INTERVAL)
        for back in range(missed + 1):
            self.late[bisect_left(BOUNDS, late - back * INTERVAL)] += 1

    @property
    def ticks(self) -> int:
        """How many were counted."""
        return sum(self.late)


def bound_of(late: Sequence[int], share: float) -> float:
    """Return the least of `BOUNDS` that `share` of the ticks kept; infinity when more came later than the last."""
    wanted, seen = share * sum(late), 0
    for count, bound in zip(late, (*BOUNDS, float("inf")), strict=True):
        seen += count
        if seen >= wanted:
            return bound
    return float("inf")


@asynccontextmanager
async def lag_told() -> AsyncIterator[None]:
    """Measure the running loop until the end of the block, and log it."""
    measuring = asyncio.create_task(_measure(), name="lag")
    try:
        yield
    finally:
        measuring.cancel()
        await asyncio.wait([measuring])


async def _measure() -> None:
    clock = asyncio.get_running_loop().time
    while True:
        lag, began = Lag(), clock()
        while clock() - began < WINDOW:
            due = clock() + INTERVAL
            await asyncio.sleep(INTERVAL)
            lag.note(max(0.0, clock() - due))
        if lag.most >= NOTABLE:
            _tell(lag, clock() - began)


def _tell(lag: Lag, seconds: float) -> None:
    bound = bound_of(lag.late, 0.99)
    log.info(
        Event.LOOP_LAGGED,
        seconds=round(seconds, 1),
        ticks=lag.ticks,
        p99_ms=round(1000 * min(bound, lag.most), 1),
        most_ms=round(1000 * lag.most, 1),
        late=lag.late,
    )
