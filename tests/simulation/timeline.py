"""Time that passes only when something happens: a heap of what is due, in seconds from the beginning."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Action = Callable[[], object]


class Timeline:
    """What is due when. Of two things due at once, the one that was planned first happens first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._due: list[tuple[float, int, Action]] = []
        self._order = count()

    @property
    def instant(self) -> datetime:
        """The present, as clocks on walls show it."""
        return BEGINNING + timedelta(seconds=self.now)

    def at(self, when: float, action: Action) -> None:
        heapq.heappush(self._due, (max(when, self.now), next(self._order), action))

    def after(self, delay: float, action: Action) -> None:
        heapq.heappush(self._due, (self.now + delay, next(self._order), action))

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._due:
            return False
        self.now, _, action = heapq.heappop(self._due)
        self.steps += 1
        action()
        return True
