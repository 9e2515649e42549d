"""One attempt as the session knows it, and all of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podium.v1 import session_pb2
from podium_agent.domain.attempt import UNSTARTED, State
from podium_agent.records import Name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podium_agent.records import End, Success
    from podium_agent.session.lanes import Lane
    from podium_agent.session.orders import Order


@dataclass(slots=True, eq=False)
class Attempt:
    """An attempt and all that is known of it.

    `lane` is that of the worker that has it, or had it; `started` is in microseconds since the Unix epoch, 0 while the
    attempt is not known to have begun; `expected` is how long it is reckoned to take, in microseconds.
    """

    token: bytes
    order: Order
    task: int
    map_index: int
    number: int
    key: str
    arguments: bytes = b""
    inputs: Sequence[session_pb2.TaskInput] = ()
    state: State = State.QUEUED
    lane: Lane | None = None
    ticket: int = 0
    expected: int = 0
    started: int = 0
    told_started: bool = False
    exit_code: int = 0
    end: Success | End | None = None
    preparing: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    pinned: list[str] | None = None

    @property
    def name(self) -> Name:
        """How workers and journals call it."""
        return Name(self.token, self.order.number, self.task, self.map_index, self.number)

    @property
    def reference(self) -> session_pb2.AttemptReference:
        """How the coordinator calls it."""
        return session_pb2.AttemptReference(
            run_id=self.order.run_id, task=self.task, map_index=self.map_index, number=self.number, token=self.token
        )

    def stop_timer(self) -> None:
        """Let its timeout never come."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Attempts:
    """All attempts the agent holds, by token."""

    def __init__(self) -> None:
        self._by_token: dict[bytes, Attempt] = {}
        self._changed = asyncio.Event()
        self.reported = 0

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._by_token.values()))

    def get(self, token: bytes) -> Attempt | None:
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
        if before is not after and (after is State.REPORTED or before is State.REPORTED):
            self.reported += 1 if after is State.REPORTED else -1
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
