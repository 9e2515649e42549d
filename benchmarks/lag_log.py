"""What the coordinator's log says about the lag of its event loop, over all of a measurement."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from podium_coordinator.app.lag import BOUNDS, INTERVAL, WINDOW, bound_of

LINE = re.compile(r"process\.loop_lagged.*\blate=(\[[\d, ]+\])(?:.*\bmost_ms=([\d.]+))?")


@dataclass
class LagSeen:
    """The ticks of the loop by how late they were, and the latest one; known after the block."""

    late: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    most_ms: float = 0.0

    @property
    def p99_ms(self) -> float:
        """The least bound that 99 % of the ticks kept, in milliseconds; at most the latest tick."""
        return min(1000 * bound_of(self.late, 0.99), self.most_ms)


@asynccontextmanager
async def lag_of(log: Path) -> AsyncIterator[LagSeen]:
    """Gather the lag from the beginning of the block to its end; windows without a line had next to none."""
    seen, begin = LagSeen(), len(_text(log))
    clock = asyncio.get_running_loop().time
    began = clock()
    yield seen
    took = clock() - began
    await asyncio.sleep(WINDOW + 0.5)  # until the last window is told
    read(_text(log)[begin:], took, seen)


def _text(log: Path) -> str:
    return log.read_text()


def read(text: str, seconds: float, seen: LagSeen) -> None:
    """Add what a piece of the log tells of `seconds`."""
    for counts, most in LINE.findall(text):
        seen.late = [a + b for a, b in zip(seen.late, json.loads(counts), strict=True)]
        seen.most_ms = max(seen.most_ms, float(most or 0))
    seen.late[0] += max(0, round(seconds / INTERVAL) - sum(seen.late))
