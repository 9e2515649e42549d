"""Channels to the coordinators: addresses, limits, keepalive, retries, and which of several addresses answers."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from podium.errors import ClientClosedError, InvalidAddressError, UnavailableError

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else grpc writes its own notes to the user's stderr

import grpc

from podium.remote_errors import from_rpc_error
from podium.v1 import agent_pb2_grpc, blob_pb2_grpc, log_pb2_grpc, run_pb2_grpc, workflow_pb2_grpc
from podium.version import __version__

if TYPE_CHECKING:
    from grpc.aio import Channel, StreamUnaryMultiCallable, UnaryStreamMultiCallable, UnaryUnaryMultiCallable

Q = TypeVar("Q")
A = TypeVar("A")

DEFAULT_ADDRESS = "127.0.0.1:7450"
DEFAULT_PORT = 7450
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_ADDRESSES = 16

_MAX_METADATA_BYTES = 64 * 1024
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\])(?::(?P<port>\d{1,5}))?")
_HIGHEST_PORT = 65_535

# Every method is idempotent or carries a request id, so a call that did not get through is made again.
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
    }
)

_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.primary_user_agent", f"podium-python/{__version__}"),
)


def parse_addresses(text: str) -> tuple[str, ...]:
    """Return the addresses in "host1:port,host2:port"; the port is 7450 where it is left out.

    Raises:
        InvalidAddressError: One of them is no "host:port" and no "unix:PATH", or there is none or more than 16.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MAX_ADDRESSES:
        raise InvalidAddressError(f"{len(parts)} addresses are too many; the limit is {MAX_ADDRESSES}.", address=text)
    return tuple(_parse_address(part) for part in parts)


def _parse_address(text: str) -> str:
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text
    match = _HOST.fullmatch(text)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port <= _HIGHEST_PORT:
        raise InvalidAddressError(
            f'{text!r} is no address: write "host:port", as in "{DEFAULT_ADDRESS}"; several are joined by commas.',
            address=text,
        )
    return f"{match['host']}:{port}"


class Endpoint:
    """One address: its channel, and the stubs of all services over it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel: Channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.workflows = workflow_pb2_grpc.WorkflowServiceStub(self.channel)
        self.runs = run_pb2_grpc.RunServiceStub(self.channel)
        self.agents = agent_pb2_grpc.AgentServiceStub(self.channel)
        self.logs = log_pb2_grpc.LogServiceStub(self.channel)
        self.blobs = blob_pb2_grpc.BlobServiceStub(self.channel)


class Channels:
    """Calls whichever of the coordinators answers, beginning with the one that answered last.

    Channels are opened by the first call and belong to its event loop.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses
        self._endpoints: list[Endpoint | None] = [None] * len(addresses)
        self._current = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def call(
        self, method: Callable[[Endpoint], UnaryUnaryMultiCallable[Q, A]], request: Q, timeout: float = 30.0
    ) -> A:
        """Make a call and return its answer.

        Args:
            method: Picks the method from an endpoint's stubs.
            request: What to send.
            timeout: Seconds until an answer must be there.

        Raises:
            PodiumError: What the coordinator answered; UnavailableError when none of the addresses answers, and
                DeadlineError when the answer does not come in time.
        """

        async def once(endpoint: Endpoint) -> A:
            return await method(endpoint)(request, timeout=timeout)

        return await self._attempt(once)

    async def upload(
        self,
        method: Callable[[Endpoint], StreamUnaryMultiCallable[Q, A]],
        requests: Callable[[], AsyncIterator[Q]],
        timeout: float,
    ) -> A:
        """Make a call that sends many messages; `requests` begins them anew for each address. Raises as `call`."""

        async def once(endpoint: Endpoint) -> A:
            return await method(endpoint)(requests(), timeout=timeout)

        return await self._attempt(once)

    async def stream(
        self, method: Callable[[Endpoint], UnaryStreamMultiCallable[Q, A]], request: Q, timeout: float
    ) -> AsyncGenerator[A, None]:
        """Make a call that is answered by many messages, and yield them.

        A stream that breaks is not taken up again here; the next call goes to the next address. Raises as `call`.
        """
        endpoint = self._endpoint()
        call = method(endpoint)(request, timeout=timeout)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                self._move_on(endpoint)
            raise from_rpc_error(error, endpoint.address) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Close all channels; calls under way end."""
        self._closed = True
        for endpoint in self._endpoints:
            if endpoint is not None:
                await endpoint.channel.close()

    async def _attempt(self, once: Callable[[Endpoint], Awaitable[A]]) -> A:
        """Try one address after the other; return the first answer, and raise the last failure when there is none."""
        for remaining in reversed(range(len(self._addresses))):
            endpoint = self._endpoint()
            try:
                return await once(endpoint)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    self._move_on(endpoint)
                    if remaining:
                        continue
                raise from_rpc_error(error, endpoint.address) from None
        raise UnavailableError(f"No coordinator answers at {', '.join(self._addresses)}.")

    def _endpoint(self) -> Endpoint:
        self._check_usable()
        found = self._endpoints[self._current]
        if found is None:
            found = self._endpoints[self._current] = Endpoint(self._addresses[self._current])
        return found

    def _move_on(self, endpoint: Endpoint) -> None:
        """Make the address after `endpoint` the current one, unless another call has done so already."""
        if endpoint.address == self._addresses[self._current]:
            self._current = (self._current + 1) % len(self._addresses)

    def _check_usable(self) -> None:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("The client is closed; make a new one.")
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise ClientClosedError(
                "The client belongs to another event loop or process; make one in each that needs one."
            )
