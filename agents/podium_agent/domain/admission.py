"""Local admission: which of the assignments that wait at the agent may begin. Pure.

The coordinator may send more than fit. They wait here and begin in the order they came, each as soon as what it asks
for is free; one that does not fit holds back those behind it, so that large tasks are never passed over for ever. Who
holds something is an attempt, while it is prepared, or a worker: attempts that a worker executes one after the other
and that ask for the same hold it once, from the first to the last.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Demand:
    """What an attempt holds while it executes: thousandths of a core, and bytes."""

    cpu_millis: int
    memory_bytes: int


Holder: TypeAlias = bytes | str
"""An attempt's token, or a worker's name."""


class Verdict(Enum):
    """What becomes of an assignment that arrives."""

    QUEUED = "queued"
    TOO_LARGE = "too_large"
    QUEUE_FULL = "queue_full"
    CLOSED = "closed"


class Admission:
    """The agent's resources, who holds them, and who waits, by attempt token.

    Args:
        capacity: All there is to give.
        queue_limit: Most attempts that may wait.
    """

    def __init__(self, capacity: Demand, queue_limit: int) -> None:
        self._capacity = capacity
        self._queue_limit = queue_limit
        self._waiting: OrderedDict[bytes, Demand] = OrderedDict()
        self._held: dict[Holder, Demand] = {}
        self._closed = False

    @property
    def used(self) -> Demand:
        """What is held now, recomputed from who holds it."""
        cpu = memory = 0
        for demand in self._held.values():
            cpu += demand.cpu_millis
            memory += demand.memory_bytes
        return Demand(cpu, memory)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def offer(self, token: bytes, demand: Demand) -> Verdict:
        """Queue an assignment, unless it can never begin here."""
        if self._closed:
            return Verdict.CLOSED
        if demand.cpu_millis > self._capacity.cpu_millis or demand.memory_bytes > self._capacity.memory_bytes:
            return Verdict.TOO_LARGE
        if len(self._waiting) >= self._queue_limit:
            return Verdict.QUEUE_FULL
        self._waiting[token] = demand
        return Verdict.QUEUED

    def put_back(self, token: bytes, demand: Demand) -> None:
        """Queue once more, before all others, an attempt that was to begin and did not."""
        self._waiting[token] = demand
        self._waiting.move_to_end(token, last=False)

    def first(self) -> bytes | None:
        """Return who is next to begin."""
        return next(iter(self._waiting), None)

    def fits(self, demand: Demand) -> bool:
        """Whether as much is free."""
        used = self.used
        return (
            used.cpu_millis + demand.cpu_millis <= self._capacity.cpu_millis
            and used.memory_bytes + demand.memory_bytes <= self._capacity.memory_bytes
        )

    def admit(self, token: bytes) -> None:
        """Let an attempt that waits hold what it asks for."""
        self._held[token] = self._waiting.pop(token)

    def hold(self, holder: Holder, demand: Demand) -> None:
        """Count one who holds something already."""
        self._held[holder] = demand

    def pass_on(self, token: bytes, worker: str) -> None:
        """Have a worker hold what an attempt held."""
        self._held[worker] = self._held.pop(token)

    def release(self, holder: Holder) -> None:
        """Free what one holds."""
        self._held.pop(holder, None)

    def leave(self, token: bytes) -> None:
        """Free an attempt's place in the queue, and what it holds by itself."""
        self._waiting.pop(token, None)
        self._held.pop(token, None)

    def close(self) -> None:
        """Queue nothing from now on."""
        self._closed = True

    def reopen(self) -> None:
        """Queue again."""
        self._closed = False
