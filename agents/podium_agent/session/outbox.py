"""What there is to tell the coordinator, until the stream takes it: everything that is ready leaves in one message.

Ends and returns are told at once. That an attempt is held or has begun can wait a few milliseconds: for a short task it
then leaves in the same message as its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import MutableSequence
from typing import TypeVar

from podium.v1 import session_pb2

Message = TypeVar("Message")

NOT_URGENT = 0.005
"""Seconds that what is not urgent may wait for company."""

LARGEST_BATCH_ITEMS = 512
LARGEST_BATCH_BYTES = 2 * 1024 * 1024


class Outbox:
    """Bounded by what the agent may hold: each attempt is in each queue at most once."""

    def __init__(self) -> None:
        self._accepted: deque[session_pb2.AttemptReference] = deque()
        self._started: deque[session_pb2.AttemptStarted] = deque()
        self._finished: deque[session_pb2.AttemptFinished] = deque()
        self._returned: deque[session_pb2.AttemptReference] = deque()
        self._news = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self.draining = False

    def accept(self, attempt: session_pb2.AttemptReference) -> None:
        """Tell that an attempt is held."""
        self._accepted.append(attempt)
        self._soon()

    def start(self, started: session_pb2.AttemptStarted) -> None:
        """Tell that an attempt began."""
        self._started.append(started)
        self._soon()

    def finish(self, finished: session_pb2.AttemptFinished) -> None:
        """Tell that an attempt ended."""
        self._finished.append(finished)
        self._news.set()

    def give_back(self, attempt: session_pb2.AttemptReference) -> None:
        """Tell that an attempt will not be started."""
        self._returned.append(attempt)
        self._news.set()

    def drain(self) -> None:
        """Tell, from now on, that no new work is taken."""
        self.draining = True
        self._news.set()

    def restart(self) -> None:
        """Forget all: a new stream begins, and its hello says what holds."""
        for queue in (self._accepted, self._started, self._finished, self._returned):
            queue.clear()

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not (self._accepted or self._started or self._finished or self._returned)

    def _soon(self) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(NOT_URGENT, self._news.set)

    async def wait(self) -> None:
        """Return when there is something to tell."""
        await self._news.wait()

    def take(self) -> session_pb2.ConnectRequest:
        """Return the next message; what is over its bounds waits for the one after."""
        request = session_pb2.ConnectRequest(draining=self.draining)
        if self._later is not None:
            self._later.cancel()
            self._later = None
        room = LARGEST_BATCH_ITEMS
        room -= _move(self._accepted, request.accepted, room)
        room -= _move(self._returned, request.returned, room)
        room -= _move(self._started, request.started, room)
        self._take_finished(request, room)
        if self.empty:
            self._news.clear()
        else:
            self._news.set()
        return request

    def _take_finished(self, request: session_pb2.ConnectRequest, room: int) -> None:
        size = 0
        while self._finished and room > 0 and size < LARGEST_BATCH_BYTES:
            message = self._finished.popleft()
            size += message.ByteSize()
            room -= 1
            request.finished.append(message)


def _move(source: deque[Message], target: MutableSequence[Message], room: int) -> int:
    count = min(len(source), room)
    target.extend(source.popleft() for _ in range(count))
    return count
