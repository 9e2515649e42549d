"""Local admission: which of the assignments that wait at the agent may begin. Pure.

The coordinator may send a few more than fit. They wait here and begin in the order they came, each as soon as what it
asks for is free; one that does not fit holds back those behind it, so that large tasks are never passed over for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Demand:
    """What an attempt holds while it executes: thousandths of a core, and bytes."""

    cpu_millis: int
    memory_bytes: int


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
        self._waiting: OrderedDict[str, Demand] = OrderedDict()
        self._held: dict[str, Demand] = {}
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

    @property
    def holding(self) -> int:
        """How many hold something."""
        return len(self._held)

    def offer(self, token: str, demand: Demand) -> Verdict:
        """Queue an assignment, unless it can never begin here."""
        if self._closed:
            return Verdict.CLOSED
        if demand.cpu_millis > self._capacity.cpu_millis or demand.memory_bytes > self._capacity.memory_bytes:
            return Verdict.TOO_LARGE
        if len(self._waiting) >= self._queue_limit:
            return Verdict.QUEUE_FULL
        self._waiting[token] = demand
        return Verdict.QUEUED

    def hold(self, token: str, demand: Demand) -> None:
        """Count an attempt that executes already, from before this process started."""
        self._held[token] = demand

    def begin(self, room: int) -> list[str]:
        """Return who may begin now, at most `room` of them, in order of arrival; they hold their demand from now on."""
        if not self._waiting:
            return []
        used = self.used
        cpu, memory = used.cpu_millis, used.memory_bytes
        begun: list[str] = []
        while self._waiting and len(begun) < room:
            token, demand = next(iter(self._waiting.items()))
            cpu, memory = cpu + demand.cpu_millis, memory + demand.memory_bytes
            if cpu > self._capacity.cpu_millis or memory > self._capacity.memory_bytes:
                break
            del self._waiting[token]
            self._held[token] = demand
            begun.append(token)
        return begun

    def release(self, token: str) -> None:
        """Free what an attempt holds, or its place in the queue."""
        self._held.pop(token, None)
        self._waiting.pop(token, None)

    def close(self) -> None:
        """Queue nothing from now on."""
        self._closed = True

    def reopen(self) -> None:
        """Queue again."""
        self._closed = False
