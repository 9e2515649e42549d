"""The link to the coordinator: one bidirectional stream at a time.

Theory of operation
-------------------
The addresses are tried in turn until one welcomes the agent, with a pause after each round. The pause has jitter and
grows; while a coordinator answers that the shard has no owner yet it stays short, for it soon has one. Then a reader
and a writer share the stream. The writer sends whatever the outbox has, as soon as the stream takes it, and an empty
message when there was nothing for a heartbeat's interval: so heartbeats are made by the loop that does the work, on
the stream that carries it, and say what was heard last. A coordinator that is silent for three intervals is given up,
and the next address is tried. Attempts go on meanwhile: nothing is ended because the coordinator is silent.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Protocol

import grpc
import structlog

from podium.errors import IncompatibleAgentError, NoOwnerError, PodiumError
from podium.remote_errors import from_rpc_error
from podium.v1 import session_pb2, session_pb2_grpc
from podium.wire import duration_to_seconds
from podium_agent.rpc import channel as channels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podium_agent.session.outbox import Outbox

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE_WITHOUT_OWNER = 0.1, 5.0, 0.5
WELCOME_PATIENCE = 10.0
SILENT_INTERVALS = 3
DEFAULT_HEARTBEAT = 3.0
GATHER = 0.004
"""Least seconds between two messages while work waits at the agent: what there is to say gathers meanwhile."""

Call = grpc.aio.StreamStreamCall[session_pb2.ConnectRequest, session_pb2.ConnectResponse]


class Holder(Protocol):
    """Whom the link speaks for."""

    def held(self) -> list[session_pb2.HeldAttempt]:
        """Return what is held, for the hello of a new stream, and line up the reports to repeat on it."""

    def heard(self, response: session_pb2.ConnectResponse) -> None:
        """Apply a message of the coordinator's."""


class StreamEndedError(Exception):
    """The coordinator ended the stream without saying why."""


class Link:
    """See the module's theory of operation."""

    def __init__(
        self,
        addresses: Sequence[str],
        hello: Callable[[], session_pb2.Hello],
        holder: Holder,
        outbox: Outbox,
        current: channels.CurrentChannel,
        busy: Callable[[], bool],
    ) -> None:
        self._addresses = addresses
        self._hello = hello
        self._holder = holder
        self._outbox = outbox
        self._current = current
        self._busy = busy
        self._sequence = self._heard = 0
        self._pause = FIRST_PAUSE
        self._renew = asyncio.Event()

    def renew(self) -> None:
        """End the stream, if there is one, and begin another."""
        self._renew.set()

    async def run(self) -> None:
        """Keep a session with one of the coordinators.

        Raises:
            IncompatibleAgentError: The coordinator speaks another version of the protocol.
        """
        while True:
            longest = LONGEST_PAUSE
            for address in self._addresses:
                self._renew.clear()
                if await self._try(address) == NoOwnerError.reason:
                    longest = LONGEST_PAUSE_WITHOUT_OWNER
            self._pause = min(self._pause, longest)
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            self._pause *= 2

    async def _try(self, address: str) -> str:
        """Hold a session until it ends; return the reason that was given, if any."""
        try:
            await self._session(address)
        except grpc.aio.AioRpcError as error:
            return _explain(address, from_rpc_error(error, address))
        except (StreamEndedError, asyncio.InvalidStateError):
            log.info("session_ended", address=address)
        except TimeoutError:
            log.warning("coordinator_silent", address=address)
        return ""

    async def _session(self, address: str) -> None:
        channel = channels.connect(address)
        call: Call | None = None
        try:
            call = session_pb2_grpc.AgentSessionServiceStub(channel).Connect()
            interval = await self._begin(call, address)
            self._pause = FIRST_PAUSE
            self._current.set(channel)
            await self._converse(call, interval)
        finally:
            self._current.clear()
            if call is not None:
                call.cancel()
            await channel.close()

    async def _begin(self, call: Call, address: str) -> float:
        """Say hello and wait for the welcome; return the interval of heartbeats in seconds."""
        self._sequence, self._heard = 1, 0
        hello = self._hello()
        hello.held.extend(self._holder.held())
        async with asyncio.timeout(WELCOME_PATIENCE):
            await call.write(session_pb2.ConnectRequest(sequence=1, hello=hello, draining=self._outbox.draining))
            response = await _read(call)
        welcome = response.welcome
        log.info(
            "session_began",
            address=address,
            epoch=welcome.epoch,
            coordinator=welcome.coordinator_version,
            held=len(hello.held),
        )
        self._holder.heard(response)
        self._heard = response.sequence
        return duration_to_seconds(welcome.heartbeat_interval) or DEFAULT_HEARTBEAT

    async def _converse(self, call: Call, interval: float) -> None:
        tasks = [
            asyncio.create_task(self._listen(call, interval)),
            asyncio.create_task(self._speak(call, interval)),
            asyncio.create_task(self._renew.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _listen(self, call: Call, interval: float) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as patience:
            while True:
                patience.reschedule(loop.time() + interval * SILENT_INTERVALS)
                response = await _read(call)
                self._holder.heard(response)
                self._heard = response.sequence  # only now: it says that all assigned so far is held

    async def _speak(self, call: Call, interval: float) -> None:
        loop = asyncio.get_running_loop()
        spoken = 0.0
        while True:
            await self._wait_for_news(interval)
            early = spoken + GATHER - loop.time()
            if early > 0 and self._busy():
                await asyncio.sleep(early)
            self._sequence += 1
            request = self._outbox.take(self._sequence)
            request.heard = self._heard
            spoken = loop.time()
            await call.write(request)

    async def _wait_for_news(self, interval: float) -> None:
        try:
            async with asyncio.timeout(interval):
                await self._outbox.wait()
        except TimeoutError:
            return


async def _read(call: Call) -> session_pb2.ConnectResponse:
    response = await call.read()
    if isinstance(response, session_pb2.ConnectResponse):
        return response
    raise StreamEndedError("The coordinator ended the stream.")


def _explain(address: str, error: PodiumError) -> str:
    """Log why a session failed, and return the reason; raises what no other try can mend."""
    if isinstance(error, IncompatibleAgentError):
        raise error
    log.warning("session_failed", address=address, reason=error.reason, error=error.message)
    return error.reason
