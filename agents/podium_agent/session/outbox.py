"""What there is to tell the coordinator, until the stream takes it: everything that is ready leaves in one message.

Ends and returns are told at once. That attempts were taken up or have begun can wait a few milliseconds: for short
tasks it then leaves in the same message as their ends. Which ends a message told is remembered until the coordinator
says that it committed them, or the stream ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from podium.v1 import session_pb2
from podium_agent.records import Success
from podium_agent.rpc import messages

if TYPE_CHECKING:
    from podium_agent.session.attempts import Attempt

NOT_URGENT = 0.005
"""Seconds that what is not urgent may wait for company."""

LARGEST_BATCH_ITEMS = 1024
LARGEST_BATCH_BYTES = 2 * 1024 * 1024
OVERHEAD = 200
"""Bytes that an end is reckoned to take beside its output and its log."""


class Outbox:
    """Bounded by what the agent may hold: each attempt is in each queue at most once."""

    def __init__(self) -> None:
        self._started: deque[Attempt] = deque()
        self._ended: deque[Attempt] = deque()
        self._returned: deque[session_pb2.AttemptReference] = deque()
        self._told: deque[tuple[int, list[Attempt]]] = deque()
        self._news = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self.draining = False

    def start(self, attempt: Attempt) -> None:
        """Tell that an attempt began."""
        self._started.append(attempt)
        self.soon()

    def finish(self, attempt: Attempt) -> None:
        """Tell that an attempt ended."""
        self._ended.append(attempt)
        self._news.set()

    def give_back(self, attempt: session_pb2.AttemptReference) -> None:
        """Tell that an attempt will not be started."""
        self._returned.append(attempt)
        self._news.set()

    def drain(self) -> None:
        """Tell, from now on, that no new work is taken."""
        self.draining = True
        self._news.set()

    def soon(self) -> None:
        """Speak soon, be it only to say what was heard."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(NOT_URGENT, self._news.set)

    def restart(self) -> None:
        """Forget all: a new stream begins, and its hello says what holds."""
        for queue in (self._started, self._ended, self._returned, self._told):
            queue.clear()

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not (self._started or self._ended or self._returned)

    async def wait(self) -> None:
        """Return when there is something to tell."""
        await self._news.wait()

    def take(self, sequence: int) -> session_pb2.ConnectRequest:
        """Return the message with this number; what is over its bounds waits for the one after."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        request = session_pb2.ConnectRequest(sequence=sequence, draining=self.draining)
        room = LARGEST_BATCH_ITEMS
        while self._returned and room > 0:
            request.returned.append(self._returned.popleft())
            room -= 1
        while self._started and room > 0:
            request.started.append(messages.started(self._started.popleft()))
            room -= 1
        self._take_ended(request, room)
        if self.empty:
            self._news.clear()
        else:
            self._news.set()
        return request

    def committed(self, sequence: int) -> list[Attempt]:
        """Return the attempts whose ends were told up to a message, and not returned by this before."""
        attempts: list[Attempt] = []
        while self._told and self._told[0][0] <= sequence:
            attempts += self._told.popleft()[1]
        return attempts

    def _take_ended(self, request: session_pb2.ConnectRequest, room: int) -> None:
        told: list[Attempt] = []
        succeeded: dict[bytes, list[Attempt]] = {}
        size = 0
        while self._ended and len(told) < room and size < LARGEST_BATCH_BYTES:
            attempt = self._ended.popleft()
            end = attempt.end
            if end is None:
                continue
            told.append(attempt)
            size += len(end.output) + len(end.log) + OVERHEAD
            if type(end) is Success:
                succeeded.setdefault(attempt.order.run_id, []).append(attempt)
            else:
                request.finished.append(messages.finished(attempt))
        request.succeeded.extend(messages.successes(run_id, group) for run_id, group in succeeded.items())
        if told:
            self._told.append((request.sequence, told))
