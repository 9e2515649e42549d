"""Streams that outlive their connections: a run's changes, agents' changes, a growing log."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

from podium.channels import OUTAGE_SECONDS, Channels
from podium.errors import DeadlineError, PodiumError, UnavailableError
from podium.model.states import RUN_TERMINAL
from podium.v1 import agent_pb2, log_pb2, run_pb2
from podium.wire import run_state_from_proto

A = TypeVar("A")
LogMessage = TypeVar("LogMessage", log_pb2.TailLogResponse, log_pb2.ReadLogResponse)

STREAM_SECONDS = 600.0
"""How long one stream lives; it is then opened anew, so that none outlasts the coordinator that serves it."""

PATIENCE_SECONDS = 300.0
"""How long no coordinator may answer before a stream is given up."""

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


class Patience:
    """Paces reconnects: pauses grow from 0.2 s to 5 s, and after `limit` seconds without an answer it runs out."""

    def __init__(self, limit: float = PATIENCE_SECONDS) -> None:
        self._limit = limit
        self._pause = _FIRST_PAUSE
        self._since: float | None = None

    def answered(self) -> None:
        """Note that the coordinator has answered."""
        self._pause = _FIRST_PAUSE
        self._since = None

    async def wait(self, cause: PodiumError) -> None:
        """Pause before the next try; raise `cause` when it has gone on for too long."""
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        if now - self._since >= self._limit:
            raise cause
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients, guards nothing
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


async def watch_run(
    channels: Channels, run_id: str, *, run_only: bool
) -> AsyncGenerator[run_pb2.WatchRunResponse, None]:
    """Yield what holds of a run now, then each change, until the run has ended.

    After a break the first message is a snapshot again. Raises as `Channels.call`.
    """
    request = run_pb2.WatchRunRequest(run_id=run_id, run_only=run_only)
    async for message in _again_and_again(
        lambda: channels.stream(lambda endpoint: endpoint.runs.WatchRun, request, STREAM_SECONDS)
    ):
        yield message
        if run_state_from_proto(message.run.state) in RUN_TERMINAL:
            return


async def watch_agents(channels: Channels) -> AsyncGenerator[agent_pb2.WatchAgentsResponse, None]:
    """Yield all agents, then those that change, without end. After a break all of them are yielded again."""
    request = agent_pb2.WatchAgentsRequest()
    async for message in _again_and_again(
        lambda: channels.stream(lambda endpoint: endpoint.agents.WatchAgents, request, STREAM_SECONDS)
    ):
        yield message


async def tail_log(channels: Channels, request: log_pb2.TailLogRequest) -> AsyncGenerator[list[log_pb2.LogEntry], None]:
    """Yield an attempt's log and what is added to it until the attempt ends; after a break only what is new."""
    async for entries in _whole_log(
        lambda: channels.stream(lambda endpoint: endpoint.logs.TailLog, request, STREAM_SECONDS), Patience()
    ):
        yield entries


async def read_log(channels: Channels, request: log_pb2.ReadLogRequest) -> AsyncGenerator[list[log_pb2.LogEntry], None]:
    """Yield an attempt's log as far as it is known; after a break what was not yet told."""
    async for entries in _whole_log(
        lambda: channels.stream(lambda endpoint: endpoint.logs.ReadLog, request, STREAM_SECONDS),
        Patience(OUTAGE_SECONDS),
    ):
        yield entries


async def _whole_log(
    open_stream: Callable[[], AsyncGenerator[LogMessage, None]], patience: Patience
) -> AsyncGenerator[list[log_pb2.LogEntry], None]:
    """Yield the entries of a stream that tells a log from its beginning, opening it anew whenever it breaks."""
    told = 0
    while True:
        position = 0
        try:
            async with aclosing(open_stream()) as stream:
                async for message in stream:
                    patience.answered()
                    fresh, position = _after(told, position, message.entries)
                    told = max(told, position)
                    yield fresh
        except (UnavailableError, DeadlineError) as error:
            await patience.wait(error)
        else:
            return


def _after(told: int, position: int, entries: Iterable[log_pb2.LogEntry]) -> tuple[list[log_pb2.LogEntry], int]:
    """Return what of `entries` lies beyond the first `told` bytes of the log, and where they end.

    Args:
        told: Bytes of the log that need no telling again.
        position: Where in the log the entries begin, in bytes.
        entries: Pieces of the log, in order.
    """
    fresh = []
    for entry in entries:
        seen = min(max(told - position, 0), len(entry.data))
        position += len(entry.data)
        if seen < len(entry.data):
            fresh.append(log_pb2.LogEntry(time=entry.time, stream=entry.stream, data=entry.data[seen:]))
    return fresh, position


async def _again_and_again(open_stream: Callable[[], AsyncGenerator[A, None]]) -> AsyncGenerator[A, None]:
    """Yield the messages of a stream that has no end of its own, opening it anew whenever it breaks or ends."""
    patience = Patience()
    while True:
        cause: PodiumError = UnavailableError("The coordinator ended the stream.")
        try:
            async with aclosing(open_stream()) as stream:
                async for message in stream:
                    patience.answered()
                    yield message
        except (UnavailableError, DeadlineError) as error:
            cause = error
        await patience.wait(cause)
