"""The one gRPC channel to the coordinator the agent is in session with."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from podium.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEEPALIVE = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


def connect(address: str) -> grpc.aio.Channel:
    """Open a channel to a coordinator."""
    return grpc.aio.insecure_channel(address, options=KEEPALIVE)


class CurrentChannel:
    """Hands out the channel while there is a session; whoever needs it otherwise waits."""

    def __init__(self) -> None:
        self._channel: grpc.aio.Channel | None = None
        self._there = asyncio.Event()

    def set(self, channel: grpc.aio.Channel) -> None:
        """A session has begun."""
        self._channel = channel
        self._there.set()

    def clear(self) -> None:
        """The session has ended."""
        self._channel = None
        self._there.clear()

    async def get(self) -> grpc.aio.Channel:
        """Wait for a session and return its channel."""
        while self._channel is None:
            await self._there.wait()
        return self._channel


class SessionEndedError(UnavailableError):
    """The session ended while a call was under way on its channel."""

    reason = "SESSION_ENDED"


@contextmanager
def calls_on_session() -> Iterator[None]:
    """Tell the end of the channel, which gRPC shows as a cancellation, from a cancellation of the task itself.

    Raises:
        SessionEndedError: The channel was closed under the call.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise SessionEndedError("The session with the coordinator ended during a call.") from None
