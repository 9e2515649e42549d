"""Sends attempts' logs to the coordinator, apart from control, and follows them while they grow.

Theory of operation
-------------------
Every log is a file that only grows, named after its attempt. Workers say when one has grown; nothing is polled. All
logs share one stream, with at most one piece of each under way: the answer tells how much the coordinator has stored,
and the next piece begins there, be it further (it had some from an earlier session) or back (it lost some). When an
attempt has ended and its log is complete, the last piece says so; once all is stored, the local file is removed.

A log never holds a result back. What the coordinator has not taken within the bounds below is given up.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import structlog

from podium.v1 import session_pb2, session_pb2_grpc
from podium_agent.rpc.channel import SessionEndedError, calls_on_session
from podium_agent.store.logs import discard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from podium_agent.rpc.channel import CurrentChannel

log = structlog.get_logger(__name__)

PIECE = 256 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
MOST_LOGS = 10_000


@dataclass(slots=True)
class _Followed:
    """A log on its way: bytes stored at the coordinator, bytes the file is known to have, whether it is complete."""

    attempt: session_pb2.AttemptReference
    path: Path
    size: int = 0
    stored: int = 0
    complete: bool = False
    queued: bool = False
    under_way: bool = False
    said_last: bool = False

    @property
    def wants_to_speak(self) -> bool:
        return not self.under_way and (self.stored < self.size or (self.complete and not self.said_last))


class LogShipper:
    """See the module's theory of operation."""

    def __init__(self, channel: CurrentChannel) -> None:
        self._channel = channel
        self._logs: dict[bytes, _Followed] = {}
        self._ready: deque[_Followed] = deque()
        self._news = asyncio.Event()
        self._removed = asyncio.Event()

    def grew(self, attempt: session_pb2.AttemptReference, path: Path, size: int) -> None:
        """Note that a log has `size` bytes by now."""
        followed = self._follow(attempt, path)
        followed.size = max(followed.size, size)
        self._offer(followed)

    def ended(self, attempt: session_pb2.AttemptReference, path: Path) -> None:
        """Note that a log is complete as it is on disk."""
        followed = self._follow(attempt, path)
        followed.size = path.stat().st_size if path.exists() else 0
        followed.complete = True
        self._offer(followed)

    def follows(self, token: bytes) -> bool:
        """Whether some of an attempt's log was, or is to be, sent."""
        return token in self._logs

    def drop(self, attempt: session_pb2.AttemptReference, path: Path) -> None:
        """Send no more of a log, and remove it."""
        followed = self._logs.pop(attempt.token, None)
        if followed is not None:
            followed.complete, followed.said_last, followed.size = True, True, 0
        discard(path)
        self._removed.set()

    async def wait_until_sent(self) -> None:
        """Return when all complete logs are stored."""
        while any(followed.complete for followed in self._logs.values()):
            self._removed.clear()
            await self._removed.wait()

    async def run(self) -> None:
        """Send, for as long as the process lives."""
        pause = FIRST_PAUSE
        while True:
            await self._news.wait()
            channel = await self._channel.get()
            call = session_pb2_grpc.AgentSessionServiceStub(channel).AppendLogs(self._pieces())
            try:
                with calls_on_session():
                    async for response in call:
                        self._stored(response)
                        pause = FIRST_PAUSE
            except (grpc.aio.AioRpcError, SessionEndedError) as error:
                log.info("log_stream_broke", error=str(error), pause_seconds=pause)
            finally:
                call.cancel()
            self._start_over()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _follow(self, attempt: session_pb2.AttemptReference, path: Path) -> _Followed:
        followed = self._logs.get(attempt.token)
        if followed is None:
            while len(self._logs) >= MOST_LOGS:
                given_up = self._logs.pop(next(iter(self._logs)))
                log.warning("log_given_up", path=given_up.path.name)
                discard(given_up.path)
            followed = self._logs[attempt.token] = _Followed(attempt, path)
        return followed

    def _offer(self, followed: _Followed) -> None:
        if followed.wants_to_speak and not followed.queued:
            followed.queued = True
            self._ready.append(followed)
            self._news.set()

    def _start_over(self) -> None:
        self._ready.clear()
        for followed in self._logs.values():
            followed.queued = followed.under_way = followed.said_last = False
            self._offer(followed)
        if not self._ready:
            self._news.clear()

    async def _pieces(self) -> AsyncIterator[session_pb2.AppendLogsRequest]:
        while True:
            while self._ready:
                followed = self._ready.popleft()
                followed.queued = False
                if followed.wants_to_speak:
                    yield await self._piece(followed)
            self._news.clear()
            await self._news.wait()

    async def _piece(self, followed: _Followed) -> session_pb2.AppendLogsRequest:
        followed.under_way = True
        data = await asyncio.to_thread(
            _read, followed.path, followed.stored, min(PIECE, followed.size - followed.stored)
        )
        if not data:
            followed.size = followed.stored
        followed.said_last = followed.complete and followed.stored + len(data) >= followed.size
        return session_pb2.AppendLogsRequest(
            attempt=followed.attempt, offset=followed.stored, data=data, last=followed.said_last
        )

    def _stored(self, response: session_pb2.AppendLogsResponse) -> None:
        followed = self._logs.get(response.attempt.token)
        if followed is None:
            return
        followed.under_way = False
        followed.stored = response.stored
        if followed.said_last and followed.stored >= followed.size:
            del self._logs[response.attempt.token]
            discard(followed.path)
            self._removed.set()
            return
        followed.said_last = False
        self._offer(followed)


def _read(path: Path, offset: int, length: int) -> bytes:
    if length <= 0:
        return b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
