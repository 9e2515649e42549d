"""One attempt as the session knows it, and all of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podium_agent.domain.admission import Demand
from podium_agent.domain.attempt import UNSTARTED, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podium.v1 import session_pb2
    from podium_agent.frames import Header


@dataclass(slots=True)
class Result:
    """What a worker (or the session for it) said at an attempt's end: the header, the output, the inline log."""

    header: Header
    output: bytes = b""
    log: bytes = b""


@dataclass(slots=True)
class Attempt:
    """An attempt and all that is known of it. Times are seconds since the Unix epoch.

    `holding` is what survives the session in the worker's journal: the attempt's name, what it holds, when it began
    and when it must end. `assignment` is there until a worker has the order.
    """

    token: str
    reference: session_pb2.AttemptReference
    holding: Header
    state: State = State.QUEUED
    assignment: session_pb2.Assignment | None = None
    worker: str = ""
    exit_code: int = 0
    started_at: float | None = None
    preparing: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    result: Result | None = None
    report: session_pb2.AttemptFinished | None = None
    pinned: list[str] = field(default_factory=list)

    @property
    def demand(self) -> Demand:
        """What it holds while it executes."""
        return Demand(self.holding["cpu_millis"], self.holding["memory_bytes"])

    def stop_timer(self) -> None:
        """Let its timeout never come."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Attempts:
    """All attempts the agent holds, by token in hexadecimal."""

    def __init__(self) -> None:
        self._by_token: dict[str, Attempt] = {}
        self._changed = asyncio.Event()
        self.reported = 0

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._by_token.values()))

    def get(self, token: str) -> Attempt | None:
        """Return an attempt; None when it is not held."""
        return self._by_token.get(token)

    def add(self, attempt: Attempt) -> None:
        """Hold an attempt."""
        self._by_token[attempt.token] = attempt

    def forget(self, attempt: Attempt) -> None:
        """Hold an attempt no more."""
        del self._by_token[attempt.token]
        self._changed.set()

    def moved(self, before: State, after: State) -> None:
        """Note that an attempt has changed its state."""
        if State.REPORTED in (before, after):
            self.reported += (after is State.REPORTED) - (before is State.REPORTED)
            self._changed.set()

    def unstarted(self) -> list[Attempt]:
        """Return those that have not begun."""
        return [attempt for attempt in self._by_token.values() if attempt.state in UNSTARTED]

    async def wait_until_executed(self) -> None:
        """Return when nothing executes or is being uploaded."""
        while any(attempt.state is not State.REPORTED for attempt in self._by_token.values()):
            await self._wait_for_change()

    async def wait_until_acknowledged(self) -> None:
        """Return when nothing is held."""
        while self._by_token:
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
