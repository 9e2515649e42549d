"""Events that are due at an instant of the loop's monotonic clock; one call of the loop waits for the first of them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from podium_coordinator.app.events import Event


class Timers:
    """A heap of future events. There is no removing: whoever gets a void event ignores it."""

    def __init__(self, deliver: Callable[[Event], None]) -> None:
        self._deliver = deliver
        self._heap: list[tuple[float, int, Event]] = []
        self._order = count()
        self._handle: asyncio.TimerHandle | None = None

    def after(self, delay: float, event: Event) -> None:
        """Deliver `event` in `delay` seconds."""
        loop = asyncio.get_running_loop()
        at = loop.time() + delay
        heapq.heappush(self._heap, (at, next(self._order), event))
        if self._handle is None or at < self._handle.when():
            self._arm(loop)

    def close(self) -> None:
        """Deliver nothing more."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = loop.call_at(self._heap[0][0], self._fire)

    def _fire(self) -> None:
        loop = asyncio.get_running_loop()
        self._handle = None
        while self._heap and self._heap[0][0] <= loop.time():
            self._deliver(heapq.heappop(self._heap)[2])
        if self._heap:
            self._arm(loop)
