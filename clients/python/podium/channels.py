"""Channels to the coordinators: addresses, limits, keepalive, retries, and which of several addresses answers."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from podium.errors import ClientClosedError, InvalidAddressError

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else grpc writes its own notes to the user's stderr

import grpc

from podium.remote_errors import from_rpc_error
from podium.v1 import agent_pb2_grpc, blob_pb2_grpc, log_pb2_grpc, run_pb2_grpc, workflow_pb2_grpc
from podium.version import __version__

if TYPE_CHECKING:
    from grpc.aio import (
        Channel,
        StreamUnaryCall,
        StreamUnaryMultiCallable,
        UnaryStreamCall,
        UnaryStreamMultiCallable,
        UnaryUnaryCall,
        UnaryUnaryMultiCallable,
    )

Q = TypeVar("Q")
A = TypeVar("A")

if TYPE_CHECKING:
    Answered: TypeAlias = UnaryUnaryCall[Any, A] | StreamUnaryCall[Any, A]
    Call: TypeAlias = UnaryUnaryCall[Any, Any] | StreamUnaryCall[Any, Any] | UnaryStreamCall[Any, Any]

DEFAULT_ADDRESS = "127.0.0.1:7450"
DEFAULT_PORT = 7450
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_ADDRESSES = 16

_MAX_METADATA_BYTES = 64 * 1024
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\])(?::(?P<port>\d{1,5}))?")
_HIGHEST_PORT = 65_535

OUTAGE_SECONDS, STRANGER_SECONDS = 10.0, 2.0
"""Seconds for which a call is made again: where a coordinator has answered before, and where none ever has."""

QUIET_SECONDS, PROBE_SECONDS = 8.0, 4.0
"""Where there are several addresses: after how long without a word a coordinator is asked whether it is well, and how
long it may take to say so. One whose process stands still goes on to answer pings for as long as its host does."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

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
    ("grpc.max_reconnect_backoff_ms", 1_000),
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


_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""What a call ends with that no coordinator answers. CANCELLED comes from one that ends, for calls it has not taken up:
a call that is cancelled here ends with CancelledError."""
_SENDING_FAILED = "Internal error from Core"
"""The details, under INTERNAL, of a call that gRPC ends by itself because it was sending while the connection broke."""
_SILENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def _unanswered(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call has no answer of a coordinator's, and may have one from another."""
    if error.code() is grpc.StatusCode.INTERNAL:
        return error.details() == _SENDING_FAILED
    return error.code() in _UNANSWERED


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
        self._check = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes
        )

    async def is_well(self) -> bool:
        """Whether the coordinator's own code answers, whatever the answer is."""
        try:
            await self._check(b"", timeout=PROBE_SECONDS)
        except grpc.aio.AioRpcError as error:
            return error.code() not in _SILENT
        return True


class Channels:
    """Calls whichever of the coordinators answers, beginning with the one that answered last.

    Every method is idempotent or carries a request id, so a call that nobody answered is made again: at the next
    address at once, and after a pause when all of them have been tried. Channels are opened by the first call and
    belong to its event loop.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses
        self._endpoints: list[Endpoint | None] = [None] * len(addresses)
        self._current = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._known = False

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
        return await self._attempt(lambda endpoint, seconds: method(endpoint)(request, timeout=seconds), timeout)

    async def upload(
        self,
        method: Callable[[Endpoint], StreamUnaryMultiCallable[Q, A]],
        requests: Callable[[], AsyncIterator[Q]],
        timeout: float,
    ) -> A:
        """Make a call that sends many messages; `requests` begins them anew for each try. Raises as `call`."""
        return await self._attempt(lambda endpoint, seconds: method(endpoint)(requests(), timeout=seconds), timeout)

    async def stream(
        self, method: Callable[[Endpoint], UnaryStreamMultiCallable[Q, A]], request: Q, timeout: float
    ) -> AsyncGenerator[A, None]:
        """Make a call that is answered by many messages, and yield them.

        A stream that breaks after its first message is not taken up again here; the next call goes to the next
        address. Raises as `call`.
        """
        tries = _Tries(timeout, self.patience, len(self._addresses))
        begun = False
        while True:
            endpoint = self._endpoint()
            call = method(endpoint)(request, timeout=tries.left())
            minder = self._mind(endpoint, call)
            try:
                async with minder:
                    async for answer in call:
                        begun = self._known = True
                        minder.heard()
                        yield answer
            except grpc.aio.AioRpcError as error:
                self._note(endpoint, error)
                if begun:
                    raise from_rpc_error(error, endpoint.address) from None
                await tries.failed(endpoint, error)
            else:
                return
            finally:
                call.cancel()

    async def close(self) -> None:
        """Close all channels; calls under way end."""
        self._closed = True
        for endpoint in self._endpoints:
            if endpoint is not None:
                await endpoint.channel.close()

    @property
    def patience(self) -> float:
        """Seconds for which calls are made again while no coordinator answers."""
        return OUTAGE_SECONDS if self._known else STRANGER_SECONDS

    def _mind(self, endpoint: Endpoint, call: Call) -> _Minder:
        return _Minder(endpoint, call, wanted=len(self._addresses) > 1)

    async def _attempt(self, once: Callable[[Endpoint, float], Answered[A]], timeout: float) -> A:
        """Try one address after the other, again and again, until one answers or it has taken too long."""
        tries = _Tries(timeout, self.patience, len(self._addresses))
        while True:
            endpoint = self._endpoint()
            call = once(endpoint, tries.left())
            try:
                async with self._mind(endpoint, call):
                    answer = await call
            except grpc.aio.AioRpcError as error:
                self._note(endpoint, error)
                await tries.failed(endpoint, error)
            else:
                self._known = True
                return answer
            finally:
                call.cancel()

    def _note(self, endpoint: Endpoint, error: grpc.aio.AioRpcError) -> None:
        """Begin the next call at the next address if this one does not answer."""
        if _unanswered(error):
            self._move_on(endpoint)

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


class _Tries:
    """The tries of one call: each address in turn, then a pause that grows, within the call's time and our patience."""

    def __init__(self, timeout: float, patience: float, addresses: int) -> None:
        now = asyncio.get_running_loop().time()
        self._deadline, self._until = now + timeout, now + min(timeout, patience)
        self._addresses = addresses
        self._failed = 0
        self._pause = _FIRST_PAUSE

    def left(self) -> float:
        """Return the seconds until an answer must be there."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def failed(self, endpoint: Endpoint, error: grpc.aio.AioRpcError) -> None:
        """Return when the call is to be made again; raise what the failure means when it is not."""
        if not _unanswered(error):
            raise from_rpc_error(error, endpoint.address) from None
        self._failed += 1
        if self._failed % self._addresses:
            return
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, guards nothing
        if asyncio.get_running_loop().time() + pause >= self._until:
            raise from_rpc_error(error, endpoint.address) from None
        await asyncio.sleep(pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class _Minder:
    """Ends a call whose coordinator does not say a word and, asked whether it is well, does not say so either."""

    def __init__(self, endpoint: Endpoint, call: Call, *, wanted: bool) -> None:
        self._endpoint = endpoint
        self._call = call
        self._wanted = wanted
        self._heard = False
        self._given_up = False
        self._task: asyncio.Task[None] | None = None

    def heard(self) -> None:
        """Note that the coordinator has said something."""
        self._heard = True

    async def __aenter__(self) -> None:
        if self._wanted:
            self._task = asyncio.create_task(self._watch())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._given_up and isinstance(error, asyncio.CancelledError | grpc.aio.AioRpcError):
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "It takes calls and is silent."
            ) from None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(QUIET_SECONDS)
            if not self._heard and not await self._endpoint.is_well():
                self._given_up = True
                self._call.cancel()
                return
            self._heard = False
